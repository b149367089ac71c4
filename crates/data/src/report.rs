//! What a reader found wrong with the annotations it read.

use std::collections::BTreeMap;
use std::fmt;

/// How many places a [`Tally`] remembers.
const EXAMPLES: usize = 5;

/// Something wrong with an annotation, or with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// Dropped: width or height is zero, negative or not a number.
    NoExtent,
    /// Dropped: the box lies wholly outside its image.
    Outside,
    /// Dropped: the annotation has no box.
    NoBox,
    /// Dropped: the annotation belongs to an image that the file does not list.
    UnknownImage,
    /// Dropped: the annotation belongs to a category that the file does not list.
    UnknownCategory,
    /// Dropped with its annotations: an image whose size is in no annotation file, and cannot be read from it.
    UnreadableImage,
    /// Dropped: an image that a split lists for a second time.
    Repeated,
    /// Kept: the box reached beyond its image and was cut at the border.
    Clipped,
}

impl Finding {
    /// Whether the annotation or image was left out.
    pub fn drops(self) -> bool {
        self != Self::Clipped
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoExtent => "without extent",
            Self::Outside => "outside the image",
            Self::NoBox => "without a box",
            Self::UnknownImage => "of an unlisted image",
            Self::UnknownCategory => "of an unlisted category",
            Self::UnreadableImage => "images that cannot be read",
            Self::Repeated => "images that are listed twice",
            Self::Clipped => "clipped to the image",
        })
    }
}

/// How often something was found, and where it was found first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often.
    pub count: usize,
    /// The first few places: an image's file name, and which of its annotations.
    pub examples: Vec<String>,
}

/// Everything a reader dropped or changed; empty for a clean data set.
///
/// Prints on one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    findings: BTreeMap<Finding, Tally>,
    notes: Vec<String>,
}

impl LoadReport {
    /// How often `finding` was made, and where first.
    pub fn tally(&self, finding: Finding) -> Tally {
        self.findings.get(&finding).cloned().unwrap_or_default()
    }

    /// All findings, each with its tally.
    pub fn findings(&self) -> impl Iterator<Item = (Finding, &Tally)> {
        self.findings
            .iter()
            .map(|(finding, tally)| (*finding, tally))
    }

    /// Remarks on the data set as a whole.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many annotations, and images with theirs, were left out.
    pub fn dropped(&self) -> usize {
        self.findings()
            .filter(|(finding, _)| finding.drops())
            .map(|(_, tally)| tally.count)
            .sum()
    }

    /// Whether nothing was dropped, changed or remarked on.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.notes.is_empty()
    }

    pub(crate) fn record(&mut self, finding: Finding, file: &str, place: impl fmt::Display) {
        let tally = self.findings.entry(finding).or_default();
        tally.count += 1;
        if tally.examples.len() < EXAMPLES {
            tally.examples.push(format!("{file} {place}"));
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("no annotation dropped or changed");
        }
        let findings = self.findings().map(|(finding, tally)| {
            let verb = if finding.drops() { "dropped " } else { "" };
            let more = if tally.count > tally.examples.len() {
                ", …"
            } else {
                ""
            };
            format!(
                "{verb}{} {finding} ({}{more})",
                tally.count,
                tally.examples.join(", ")
            )
        });
        let parts: Vec<String> = findings.chain(self.notes.iter().cloned()).collect();
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_counts_and_the_first_places_on_one_line() {
        let mut report = LoadReport::default();
        assert_eq!(report.to_string(), "no annotation dropped or changed");
        report.record(Finding::NoExtent, "a.jpg", "object 3");
        for line in 1..=7 {
            report.record(Finding::Clipped, "b.jpg", format_args!("line {line}"));
        }
        assert_eq!(report.dropped(), 1);
        assert_eq!(report.tally(Finding::Clipped).count, 7);
        assert_eq!(
            report.to_string(),
            "dropped 1 without extent (a.jpg object 3); 7 clipped to the image \
             (b.jpg line 1, b.jpg line 2, b.jpg line 3, b.jpg line 4, b.jpg line 5, …)"
        );
    }
}
