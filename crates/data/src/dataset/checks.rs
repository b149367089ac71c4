//! Rules that every data set follows, from files or from code.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use super::{Category, ImageRecord, Object};
use crate::{Finding, LoadReport, list_names};

/// How far, in pixels, rounding may move a box outside its image.
const ROUNDING: f32 = 1e-2;

/// The object with its box clipped to an image of this size, `(width, height)` in pixels. `None` if the box is
/// degenerate or outside the image. The report counts dropped and clipped boxes under `place`.
pub(crate) fn admit(
    mut object: Object,
    (width, height): (u32, u32),
    place: impl fmt::Display,
    report: &mut LoadReport,
) -> Option<Object> {
    let annotated = object.bbox;
    if annotated.is_degenerate() {
        report.record(Finding::Degenerate, place);
        return None;
    }
    let clipped = annotated.clip(width, height);
    if clipped.is_degenerate() {
        report.record(Finding::Outside, place);
        return None;
    }
    let moved = [
        clipped.x1 - annotated.x1,
        clipped.y1 - annotated.y1,
        annotated.x2 - clipped.x2,
        annotated.y2 - clipped.y2,
    ];
    if moved.into_iter().any(|distance| distance > ROUNDING) {
        report.record(Finding::Clipped, place);
    }
    object.bbox = clipped;
    Some(object)
}

/// Fails if an id occurs twice. `kind` names what the ids belong to.
fn require_unique<T: Eq + Hash + Copy + fmt::Display>(
    kind: &str,
    ids: impl Iterator<Item = T>,
) -> Result<(), String> {
    match first_repeated(ids) {
        Some(id) => Err(format!("{kind} id {id} is used twice")),
        None => Ok(()),
    }
}

/// Fails unless image ids and category ids are unique, image sizes are positive and labels are indices of categories.
pub(super) fn require_consistent(
    categories: &[Category],
    images: &[ImageRecord],
) -> Result<(), String> {
    require_unique("category", categories.iter().map(|category| category.id))?;
    require_unique("image", images.iter().map(|image| image.id))?;
    for image in images {
        let name = &image.file_name;
        if image.width == 0 || image.height == 0 {
            let (width, height) = image.size();
            return Err(format!("{name} has a size of {width}x{height} pixels"));
        }
        let valid = 0..categories.len();
        if let Some(object) = (image.objects.iter()).find(|object| !valid.contains(&object.label)) {
            let (id, label, classes) = (object.id, object.label, valid.len());
            return Err(format!(
                "object {id} of {name} has the label {label}, but there are {classes} categories"
            ));
        }
    }
    Ok(())
}

/// Renumbers all objects if an id is zero or repeated. Evaluation finds objects by id, with 0 for "no match".
pub(super) fn number_objects(images: &mut [ImageRecord], report: &mut LoadReport) {
    let ids = || {
        let objects = images.iter().flat_map(|image| &image.objects);
        objects.map(|object| object.id)
    };
    // Ascending ids, the usual case, are unique without a set of all of them.
    let unique = || ids().is_sorted_by(|a, b| a < b) || first_repeated(ids()).is_none();
    if ids().all(|id| id > 0) && unique() {
        return;
    }
    renumber_objects(images);
    report.note("annotation ids were missing, zero or repeated, and were renumbered from 1");
}

/// Numbers all objects from 1.
pub(crate) fn renumber_objects(images: &mut [ImageRecord]) {
    let objects = images.iter_mut().flat_map(|image| &mut image.objects);
    for (object, id) in objects.zip(1..) {
        object.id = id;
    }
}

/// Adds a note if several classes have the same name. Only their indices distinguish them, so this is often a mistake
/// in the class list.
pub(super) fn note_equal_names(categories: &[Category], report: &mut LoadReport) {
    let (mut seen, mut repeated) = (HashSet::new(), Vec::new());
    for category in categories {
        let name = category.name.as_str();
        if !seen.insert(name) && !repeated.contains(&name) {
            repeated.push(name);
        }
    }
    if !repeated.is_empty() {
        let names = list_names(&repeated);
        report.note(format!("several classes have the same name: {names}"));
    }
}

fn first_repeated<T: Eq + Hash + Copy>(mut ids: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = HashSet::new();
    ids.find(|id| !seen.insert(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoundingBox;

    fn admitted(bbox: BoundingBox, report: &mut LoadReport) -> Option<Object> {
        admit(Object::new(1, bbox, 0), (20, 10), "a.jpg line 1", report)
    }

    #[test]
    fn boxes_end_up_inside_or_in_the_report() {
        let mut report = LoadReport::default();
        let kept = admitted(BoundingBox::new(15.0, 5.0, 25.0, 7.0), &mut report);
        assert_eq!(
            kept.map(|object| (object.bbox, object.area())),
            Some((BoundingBox::new(15.0, 5.0, 20.0, 7.0), 10.0))
        );
        for outside in [
            BoundingBox::new(20.0, 0.0, 24.0, 4.0),
            BoundingBox::new(-9.0, 0.0, -5.0, 4.0),
        ] {
            assert!(admitted(outside, &mut report).is_none());
        }
        for degenerate in [
            BoundingBox::new(1.0, 1.0, 1.0, 5.0),
            BoundingBox::new(1.0, 1.0, 5.0, 0.0),
            BoundingBox::new(1.0, f32::NAN, 5.0, 4.0),
        ] {
            assert!(admitted(degenerate, &mut report).is_none());
        }
        let counts = [Finding::Clipped, Finding::Outside, Finding::Degenerate]
            .map(|finding| report.tally(finding).count);
        assert_eq!(counts, [1, 2, 3]);
    }

    #[test]
    fn boxes_outside_the_image_by_rounding_are_clipped_silently() {
        let mut report = LoadReport::default();
        let object = admitted(BoundingBox::new(-0.001, 0.0, 20.001, 10.0), &mut report);
        assert_eq!(
            object.map(|object| object.bbox),
            Some(BoundingBox::new(0.0, 0.0, 20.0, 10.0))
        );
        assert!(report.is_clean());
    }
}
