//! The wording of statistics, in the table and on the page.

use fcos_burn_data::transforms::Resize;

use crate::{
    classes::ClassConcerns,
    findings::FindingCount,
    inspection::{Inspection, SplitCounts},
    splits::Purpose,
    suggestion::SuggestedSize,
};

/// A column of the table of splits.
pub(crate) type SplitColumn = (&'static str, fn(&SplitCounts) -> usize);

/// The counts of splits to show. Columns of zeros are left out, except for the main ones.
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

/// Warnings about validation splits that contain training images.
pub(crate) fn leaks(inspection: &Inspection) -> Vec<String> {
    let splits = inspection.splits.iter();
    let leaking =
        splits.filter(|split| split.purpose == Purpose::Validation && split.in_training > 0);
    let told = leaking.map(|split| {
        let (name, leaked, images) = (&split.name, grouped(split.in_training), grouped(split.images));
        format!("{name}: {leaked} of {images} images are also in the training split, so validation results will look too good")
    });
    told.collect()
}

/// Text from files, on one line.
pub(crate) fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A number with separators between thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with about two significant digits.
pub(crate) fn rounded(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 => format!("{value}"),
        value if value < 1.0 => format!("{value:.2}"),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// `part` of `whole` in percent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    format!("{:.1}%", 100.0 * part as f64 / whole.max(1) as f64)
}

/// As in `160x120`, or `shorter side 800, longer side at most 1333`.
pub(crate) fn described(resize: Resize) -> String {
    match resize {
        Resize::Fixed { width, height } => format!("{width}x{height}"),
        Resize::ShortSide { short, long } => {
            format!("shorter side {short}, longer side at most {long}")
        }
        other => format!("{other:?}"),
    }
}

/// What a suggestion is based on.
pub(crate) fn reason(suggestion: &SuggestedSize) -> String {
    let points = 100.0 * suggestion.with_point;
    let side = rounded((10.0 * suggestion.small_side).round() / 10.0);
    let text = format!(
        "{points:.1}% of the objects get a point, and the smallest 10% have a median shorter side of {side} pixels"
    );
    match suggestion.sufficient {
        true => text,
        false => format!("{text}; that is not enough, so larger images or tiling would help"),
    }
}

/// The concerns about classes, each with the names.
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

/// As in `train: degenerate boxes dropped: 1 (a.jpg object 3)`.
pub(crate) fn message(finding: &FindingCount) -> String {
    let more = match finding.count > finding.places.len() {
        true => ", …",
        false => "",
    };
    let (count, places) = (grouped(finding.count), finding.places.join(", "));
    format!(
        "{}: {}: {count} ({places}{more})",
        finding.split, finding.finding
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [7, 999, 1000, 1_234_567].map(grouped),
            ["7", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.126, 1.26, 12.6, 640.0].map(rounded),
            ["0.13", "1.3", "13", "640"]
        );
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(0, 0), "0.0%");
    }
}
