//! Differences between a written data set and the original.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Layout, Tally};

/// Something that a layout cannot represent or that was written in a different form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WriteFinding {
    /// Skipped with its annotations: an image that cannot be read.
    UnreadableImage,
    /// Skipped: a crowd or difficult object, in a layout that cannot mark one.
    Crowd,
    /// Skipped: a box at most one pixel wide or high, in a layout whose corners cannot represent it.
    TooSmall,
    /// Skipped: a split without images.
    EmptySplit,
    /// Written: a box whose corners are not whole pixels, in a layout whose corners usually are.
    FractionalCorners,
    /// Written: an image that is not in a file, or whose file other tools would rotate, encoded as PNG.
    Encoded,
    /// Written: an image under another file name, since its name was taken or invalid.
    Renamed,
}

impl WriteFinding {
    /// Whether the annotation, image or split was skipped.
    fn skips(self) -> bool {
        match self {
            Self::UnreadableImage | Self::Crowd | Self::TooSmall | Self::EmptySplit => true,
            Self::FractionalCorners | Self::Encoded | Self::Renamed => false,
        }
    }
}

/// Prints as in `unreadable images skipped`.
impl fmt::Display for WriteFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnreadableImage => "unreadable images skipped",
            Self::Crowd => "crowd and difficult objects skipped because this layout cannot mark them",
            Self::TooSmall => "boxes at most one pixel wide or high skipped because this layout cannot represent them",
            Self::EmptySplit => "splits without images skipped",
            Self::FractionalCorners => {
                "boxes written with fractional coordinates, which some readers round"
            }
            Self::Encoded => "images encoded as PNG",
            Self::Renamed => "images renamed",
        })
    }
}

/// Summary of a written data set, with every difference from the original.
///
/// Prints on one line, such as `COCO: 2 splits, 10 images, 31 objects; images renamed: 1 (b/1.jpg to 1-2.jpg)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReport {
    layout: Layout,
    splits: Vec<String>,
    images: usize,
    objects: usize,
    findings: BTreeMap<WriteFinding, Tally>,
    remarks: Vec<String>,
}

impl WriteReport {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            splits: Vec::new(),
            images: 0,
            objects: 0,
            findings: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The names under which the splits were written.
    pub fn splits(&self) -> &[String] {
        &self.splits
    }

    /// The number of images that were written, over all splits.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The number of objects that were written, over all splits.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// How often `finding` occurred, and where.
    pub fn tally(&self, finding: WriteFinding) -> Tally {
        self.findings.get(&finding).cloned().unwrap_or_default()
    }

    /// All findings with their tallies.
    pub fn findings(&self) -> impl Iterator<Item = (WriteFinding, &Tally)> {
        self.findings
            .iter()
            .map(|(finding, tally)| (*finding, tally))
    }

    /// Information about the data set as a whole.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The number of images, objects and splits that were skipped.
    pub fn left_out(&self) -> usize {
        self.findings()
            .filter(|(finding, _)| finding.skips())
            .map(|(_, tally)| tally.count)
            .sum()
    }

    pub(super) fn record(&mut self, finding: WriteFinding, place: impl fmt::Display) {
        self.findings.entry(finding).or_default().add(place);
    }

    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    pub(super) fn count_split(&mut self, name: &str, images: usize, objects: usize) {
        self.splits.push(name.to_string());
        self.images += images;
        self.objects += objects;
    }
}

impl fmt::Display for WriteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (splits, images, objects) = (self.splits.len(), self.images, self.objects);
        let layout = self.layout;
        write!(
            f,
            "{layout}: {splits} splits, {images} images, {objects} objects"
        )?;
        for (finding, tally) in self.findings() {
            write!(f, "; {finding}: {tally}")?;
        }
        for remark in &self.remarks {
            write!(f, "; {remark}")?;
        }
        Ok(())
    }
}
