//! The wording of statistics, in the table and on the page.

use fcos_burn_data::transforms::Resize;
use fcos_burn_page::text::{counted, grouped, rounded};

use crate::{
    classes::ClassConcerns,
    inspection::{Inspection, SplitCounts},
    splits::{Purpose, UnreadSplit},
    suggestion::{SuggestedSize, WITH_POINT},
};

/// A column of the table of splits.
pub(crate) type SplitColumn = (&'static str, fn(&SplitCounts) -> usize);

/// The columns of split counts to show. Columns of zeros are omitted, except for the main ones.
pub(crate) fn split_columns(inspection: &Inspection) -> Vec<SplitColumn> {
    let all: [SplitColumn; 7] = [
        ("images", |split| split.images),
        ("empty", |split| split.images_without_objects),
        ("objects", |split| split.objects),
        ("crowds", |split| split.crowds),
        ("most per image", |split| split.most_objects),
        ("duplicates", |split| split.repeated),
        ("also in training", |split| split.in_training),
    ];
    let shown = |(title, count): &SplitColumn| {
        let mut splits = inspection.splits.iter();
        matches!(*title, "images" | "objects") || splits.any(|split| count(split) > 0)
    };
    all.into_iter().filter(shown).collect()
}

/// Messages about splits that share images with the training split.
pub(crate) fn leaks(inspection: &Inspection) -> Vec<String> {
    let leaking = inspection.splits.iter();
    let leaking = leaking.filter(|split| split.in_training > 0);
    let messages = leaking.map(|split| {
        let (name, leaked) = (&split.name, grouped(split.in_training));
        let (are, images) = (if split.in_training == 1 { "is" } else { "are" }, counted(split.images, "image"));
        format!("{name}: {leaked} of {images} {are} also in the training split, so results on {name} will be too optimistic")
    });
    messages.collect()
}

/// Messages about splits that include others, as in `trainval: same images as train, val`. Omits the training split,
/// for which shared images are [leaks](leaks).
pub(crate) fn unions(inspection: &Inspection) -> Vec<String> {
    let splits = inspection.splits.iter();
    let unions = splits
        .filter(|split| split.purpose != Purpose::Training && !split.includes.is_empty())
        .map(|split| {
            let (name, others) = (&split.name, split.includes.join(", "));
            match split.own_images {
                0 => format!("{name}: same images as {others}"),
                own => format!("{name}: the images of {others}, and {} more", grouped(own)),
            }
        });
    unions.collect()
}

/// A name for the objects that levels are counted for, such as `training objects` or `objects of day`.
pub(crate) fn sized_objects(inspection: &Inspection) -> String {
    let split = inspection
        .sized
        .and_then(|split| inspection.splits.get(split));
    match split {
        Some(split) if split.purpose != Purpose::Training => format!("objects of {}", split.name),
        _ => "training objects".to_owned(),
    }
}

/// The display name of a split that was not read, as in `val (validation)`.
pub(crate) fn unread_name(split: &UnreadSplit) -> String {
    let name = &split.name;
    match split.purpose {
        Purpose::Training => format!("{name} (training)"),
        Purpose::Validation => format!("{name} (validation)"),
        Purpose::Other => name.clone(),
    }
}

/// Describes an input size, as in `160x120` or `shorter side 800, longer side at most 1333`.
pub(crate) fn described(resize: Resize) -> String {
    match resize {
        Resize::Fixed { width, height } => format!("{width}x{height}"),
        Resize::ShortSide { short, long } => {
            format!("shorter side {short}, longer side at most {long}")
        }
        other => format!("{other:?}"),
    }
}

/// The reasons for a suggestion, and which targets it misses.
pub(crate) fn reason(suggestion: &SuggestedSize) -> String {
    let one_decimal = |value: f64| rounded((10.0 * value).round() / 10.0);
    let points = format!(
        "{:.1}% of the objects get a point",
        100.0 * suggestion.with_point
    );
    let points = match (suggestion.points_suffice(), suggestion.large_enough()) {
        (true, _) => points,
        (false, true) => format!("{points}, since other objects cover the rest at every size"),
        (false, false) => format!("{points}, below the target of {:.0}%", 100.0 * WITH_POINT),
    };
    let side = one_decimal(suggestion.small_side);
    let side = format!("the smallest 10% have a median shorter side of {side} pixels");
    let wanted = rounded(suggestion.wanted_side);
    let side = match (suggestion.large_enough(), suggestion.limited) {
        (true, _) => side,
        (false, true) => format!(
            "{side}, below the target of {wanted}; larger sizes are slow: cut the images into tiles"
        ),
        (false, false) => format!(
            "{side}, below the target of {wanted}; images with a higher resolution would help"
        ),
    };
    format!("{points}, and {side}")
}

/// The concerns about classes, each with the class names.
pub(crate) fn concerns(concerns: &ClassConcerns) -> Vec<(&'static str, &[String])> {
    let all: [(_, &[String]); 4] = [
        ("rare classes", &concerns.rare),
        ("classes without training objects", &concerns.not_trained),
        (
            "classes without validation objects",
            &concerns.not_validated,
        ),
        ("classes without objects", &concerns.unused),
    ];
    all.into_iter()
        .filter(|(_, names)| !names.is_empty())
        .collect()
}
