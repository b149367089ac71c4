//! Create ML: one JSON file per split.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::candidates::Candidates;
use super::class_name::ClassName;
use super::coco_file::Number;
use super::description::Place;
use super::inventory::Inventory;
use super::listed_objects::{ListedImage, ListedObject};
use super::listing::{ListedFile, Listings};
use super::split::Found;
use crate::files::{read_text, start_of};
use crate::{DataError, Layout};

/// Recognizes JSON files that list images with their annotations. If `given` is set, only that file is considered.
pub(super) fn find(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<Found>, DataError> {
    let candidates = Candidates::of(inventory, &["json"], |file| {
        given.is_none_or(|given| given == file)
    });
    let files = candidates.files.into_iter();
    let files = files.filter(|file| recognizes(&start_of(&inventory.root().join(file))));
    let mut files: Vec<&Path> = files.collect();
    files.sort();
    let files = files.into_iter().map(|file| ListedFile {
        path: file.to_path_buf(),
        splits: Vec::new(),
    });
    let listings = Listings {
        layout: Layout::CreateMl,
        inventory: Arc::clone(inventory),
        files: files.collect(),
        classes: Vec::new(),
        names: Vec::new(),
        read: |path| {
            let images = parse(&read_text(path)?);
            images.map_err(|cause| DataError::Annotations {
                path: path.to_path_buf(),
                cause,
            })
        },
    };
    Ok((!listings.files.is_empty()).then(|| listings.found().with_report(candidates.report)))
}

/// Names of the field with an image's file name. Names that tools write come first.
const FILE_NAME: [&str; 5] = [
    "image",
    "imagefilename",
    "imageFilename",
    "filename",
    "file_name",
];

/// Whether a text that starts like this is a list of objects that name an image and its annotations. Label Studio's
/// tasks, which have such words, too, name who completed them.
fn recognizes(start: &str) -> bool {
    let has = |key: &str| start.contains(&format!("\"{key}\""));
    start.trim_start().starts_with('[')
        && FILE_NAME.into_iter().any(has)
        && ["annotations", "annotation"].into_iter().any(has)
        && !has("completed_by")
}

/// The images in a file.
fn parse(text: &str) -> Result<Vec<ListedImage>, String> {
    let entries: Result<Vec<Entry>, _> = serde_json::from_str(text);
    let entries = entries.map_err(|error| format!("not Create ML annotations: {error}"))?;
    Ok(entries.into_iter().map(Entry::image).collect())
}

/// The entry of an image.
#[derive(Deserialize)]
struct Entry {
    #[serde(
        alias = "imagefilename",
        alias = "imageFilename",
        alias = "filename",
        alias = "file_name"
    )]
    image: Option<String>,
    #[serde(alias = "annotation")]
    annotations: Option<Vec<Annotation>>,
}

#[derive(Deserialize)]
struct Annotation {
    label: Option<ClassName>,
    coordinates: Option<Coordinates>,
}

/// The center and the size of a box.
#[derive(Deserialize)]
struct Coordinates {
    x: Option<Number>,
    y: Option<Number>,
    width: Option<Number>,
    height: Option<Number>,
}

impl Entry {
    fn image(self) -> ListedImage {
        let objects = self.annotations.into_iter().flatten().zip(1_usize..);
        let objects = objects.map(|(annotation, number)| ListedObject {
            class: annotation.label.map(|label| label.0).unwrap_or_default(),
            corners: annotation.coordinates.and_then(Coordinates::corners),
            iscrowd: false,
            place: Place::Annotation(number.to_string()),
        });
        ListedImage {
            file_name: self.image.unwrap_or_default(),
            size: None,
            unusable_size: None,
            split: None,
            objects: objects.collect(),
        }
    }
}

impl Coordinates {
    /// Left, top, right and bottom; `None` if a number is missing.
    fn corners(self) -> Option<[f64; 4]> {
        let (width, height) = (self.width?.finite()?, self.height?.finite()?);
        let (x, y) = (self.x?.finite()?, self.y?.finite()?);
        let (left, top) = (x - width / 2.0, y - height / 2.0);
        Some([left, top, left + width, top + height])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn boxes_are_given_by_their_centers() {
        let images = parse(
            r#"[{"image": "a.jpg", "annotations": [
                {"label": "cat", "coordinates": {"x": 20, "y": 10.5, "width": 8, "height": 5}},
                {"label": 7, "coordinates": {"x": 20, "y": 10.5, "width": null, "height": 5}},
                {"label": "dog"},
                {"coordinates": {"x": "20", "y": 10.5, "width": 8, "height": "5"}}
            ]},
            {"imagefilename": "b.jpg", "annotation": []},
            {"image": "c.jpg", "annotations": null},
            {"annotations": []}]"#,
        )
        .unwrap();
        let names: Vec<&str> = images
            .iter()
            .map(|image| image.file_name.as_str())
            .collect();
        assert_eq!(names, ["a.jpg", "b.jpg", "c.jpg", ""]);
        let objects = images[0].objects.iter();
        let objects: Vec<_> = objects
            .map(|object| {
                (
                    object.class.as_str(),
                    object.corners,
                    object.place.to_string(),
                )
            })
            .collect();
        assert_eq!(
            objects,
            [
                (
                    "cat",
                    Some([16.0, 8.0, 24.0, 13.0]),
                    "annotation 1".to_string()
                ),
                ("7", None, "annotation 2".to_string()),
                ("dog", None, "annotation 3".to_string()),
                (
                    "",
                    Some([16.0, 8.0, 24.0, 13.0]),
                    "annotation 4".to_string()
                ),
            ]
        );
        assert!(images[1].objects.is_empty() && images[2].objects.is_empty());
    }

    #[test]
    fn other_lists_are_not_mistaken_for_annotations() {
        assert!(recognizes(
            "\n[{\"annotation\": [], \"imagefilename\": \"a.jpg\"}]"
        ));
        for other in [
            r#"{"images": [], "annotations": []}"#,
            r#"[{"image_id": 1, "bbox": [1, 2, 3, 4]}]"#,
            "[]",
            "",
        ] {
            assert!(!recognizes(other), "{other}");
        }
    }

    #[test]
    fn errors_of_malformed_files_name_the_line() {
        let cause = parse("[{\"image\": \"a.jpg\",\n\"annotations\": [7]}]").unwrap_err();
        assert!(
            cause.contains("not Create ML") && cause.contains("line 2"),
            "{cause}"
        );
        assert!(!cause.contains('\n'));
    }
}
