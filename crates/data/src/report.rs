//! Problems found in annotations.

use std::collections::BTreeMap;
use std::fmt;

/// The number of places that a [`Tally`] keeps.
const EXAMPLES: usize = 5;

/// A problem of an annotation or an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Finding {
    /// Dropped: a box whose width or height is zero, negative or not a number.
    Degenerate,
    /// Dropped: a box outside its image.
    Outside,
    /// Dropped: an annotation without a box or a segmentation to compute one from.
    NoBox,
    /// Dropped: an annotation of an image that the file does not list.
    UnknownImage,
    /// Dropped: an annotation of a category that the file does not list.
    UnknownCategory,
    /// Dropped with its annotations: an image that is not on disk.
    MissingImage,
    /// Dropped with its annotations: an image whose header cannot be read.
    UnreadableImage,
    /// Dropped with its annotations: an image whose size differs from its annotated size, so that its boxes cannot be
    /// trusted.
    SizeMismatch,
    /// Dropped: an image entry without a name or an id, or an object without a class.
    Incomplete,
    /// Dropped: an image file in an unsupported format, such as AVIF or HEIC.
    UnreadFormat,
    /// Dropped: a label file that belongs to no image.
    LabelsWithoutImage,
    /// Dropped: an image that a split lists again.
    Repeated,
    /// Dropped: an annotation with the same class and box as an earlier one of the same image.
    Duplicate,
    /// Kept: a box whose corners were swapped because `xmin > xmax` or `ymin > ymax`.
    SwappedCorners,
    /// Kept: a box with negative width or height, measured from the opposite corner.
    NegativeSize,
    /// Kept: a box that crossed the border of its image and was clipped.
    Clipped,
    /// Kept: an image whose annotated size is not a valid number of pixels; the size of the image file is used.
    UnusableSize,
    /// Kept: an image that is listed again with different objects, which were added to the earlier ones.
    Merged,
}

impl Finding {
    /// Whether the annotation or image was dropped.
    fn drops(self) -> bool {
        !matches!(
            self,
            Self::Clipped
                | Self::SwappedCorners
                | Self::NegativeSize
                | Self::UnusableSize
                | Self::Merged
        )
    }
}

/// Prints as in `degenerate boxes dropped`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Degenerate => "degenerate boxes dropped",
            Self::Outside => "boxes outside the image dropped",
            Self::NoBox => "annotations without a box dropped",
            Self::UnknownImage => "annotations of unlisted images dropped",
            Self::UnknownCategory => "annotations of unlisted categories dropped",
            Self::MissingImage => "missing images dropped",
            Self::UnreadableImage => "unreadable images dropped",
            Self::SizeMismatch => {
                "images dropped because their size differs from the annotated size, probably resized after annotation"
            }
            Self::Incomplete => "entries without an image or a class dropped",
            Self::UnreadFormat => "image files in unsupported formats skipped",
            Self::LabelsWithoutImage => "label files without an image skipped",
            Self::Repeated => "repeated images dropped",
            Self::Duplicate => "duplicate annotations dropped",
            Self::SwappedCorners => "boxes with xmin > xmax or ymin > ymax, corners swapped",
            Self::NegativeSize => {
                "boxes with negative width or height, measured from the opposite corner"
            }
            Self::Clipped => "boxes clipped to the image",
            Self::UnusableSize => {
                "invalid annotated sizes, replaced by the sizes of the images"
            }
            Self::Merged => "images annotated twice, objects merged",
        })
    }
}

/// How often something was found, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// How often.
    pub count: usize,
    /// The first few places: a file name, and the annotation in it.
    pub examples: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, place: impl fmt::Display) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(place.to_string());
        }
    }

    fn extend(&mut self, other: Self) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }
}

/// Prints as in `7 (a.jpg line 1, a.jpg line 4, …)`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = match self.count > self.examples.len() {
            true => ", …",
            false => "",
        };
        write!(f, "{} ({}{more})", self.count, self.examples.join(", "))
    }
}

/// Everything that was dropped or changed in the annotations of a data set; empty if they are clean.
///
/// Prints on one line, such as `degenerate boxes dropped: 1 (a.jpg object 3)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    findings: BTreeMap<Finding, Tally>,
    notes: Vec<String>,
    remarks: Vec<String>,
}

impl LoadReport {
    /// How often `finding` occurred, and where.
    pub fn tally(&self, finding: Finding) -> Tally {
        self.findings.get(&finding).cloned().unwrap_or_default()
    }

    /// All findings with their tallies.
    pub fn findings(&self) -> impl Iterator<Item = (Finding, &Tally)> {
        self.findings
            .iter()
            .map(|(finding, tally)| (*finding, tally))
    }

    /// Problems of the data set as a whole.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Information that is not a problem, such as how a split was divided.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The number of annotations and images that were dropped.
    pub fn dropped(&self) -> usize {
        self.findings()
            .filter(|(finding, _)| finding.drops())
            .map(|(_, tally)| tally.count)
            .sum()
    }

    /// Whether there are neither findings nor notes. Remarks do not count.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.notes.is_empty()
    }

    pub(crate) fn record(&mut self, finding: Finding, place: impl fmt::Display) {
        self.findings.entry(finding).or_default().add(place);
    }

    /// Appends another report.
    pub(crate) fn extend(&mut self, other: Self) {
        for (finding, tally) in other.findings {
            self.findings.entry(finding).or_default().extend(tally);
        }
        self.notes.extend(other.notes);
        self.remarks.extend(other.remarks);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("no annotations dropped or changed");
        }
        let findings = self
            .findings()
            .map(|(finding, tally)| format!("{finding}: {tally}"));
        let notes = self.notes.iter().cloned();
        let parts: Vec<String> = findings.chain(notes).collect();
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_appended_in_order() {
        let report = |places: std::ops::Range<usize>| {
            let mut report = LoadReport::default();
            for place in places.clone() {
                report.record(Finding::Clipped, place);
            }
            report.note(format!("note {}", places.start));
            report.remark(format!("remark {}", places.start));
            report
        };
        let mut joined = report(1..4);
        joined.extend(report(4..9));
        let tally = joined.tally(Finding::Clipped);
        assert_eq!(
            (tally.count, tally.examples),
            (8, ["1", "2", "3", "4", "5"].map(String::from).to_vec())
        );
        assert_eq!(joined.notes(), ["note 1", "note 4"]);
        assert_eq!(joined.remarks(), ["remark 1", "remark 4"]);
    }

    #[test]
    fn prints_counts_and_the_first_places_on_one_line() {
        let mut report = LoadReport::default();
        assert_eq!(report.to_string(), "no annotations dropped or changed");
        report.record(Finding::Degenerate, "a.jpg object 3");
        for line in 1..=7 {
            report.record(Finding::Clipped, format_args!("b.jpg line {line}"));
        }
        assert_eq!(report.dropped(), 1);
        assert_eq!(report.tally(Finding::Clipped).count, 7);
        assert_eq!(
            report.to_string(),
            "degenerate boxes dropped: 1 (a.jpg object 3); boxes clipped to the image: 7 \
             (b.jpg line 1, b.jpg line 2, b.jpg line 3, b.jpg line 4, b.jpg line 5, …)"
        );
    }
}
