//! A data set on disk, before any split is read.

use std::path::{Path, PathBuf};

use super::split::Split;
use super::{coco, voc, yolo};
use crate::{DataError, DetectionDataset, Layout};

/// A data set on disk: its layout and its splits.
///
/// ```no_run
/// use fcos_burn_data::DataFolder;
///
/// let folder = DataFolder::open("my-images")?;
/// println!("{} data set, splits: {}", folder.layout(), folder.splits().join(", "));
/// if let Some(split) = folder.training_split() {
///     let dataset = folder.read(split)?;
///     println!("{dataset}");
/// }
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    layout: Layout,
    evidence: String,
    splits: Vec<String>,
}

impl DataFolder {
    /// Recognizes the layout of the data set at `path`: a folder, or the file that describes one, such as a `data.yaml`.
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`], [`DataError::UnknownLayout`], or the error of a file that lists splits and cannot be
    /// read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let layout = super::open::recognize(path)?;
        let splits = match layout {
            Layout::Coco => names(coco::splits(path)?),
            Layout::Voc => names(voc::splits(path)?),
            _ => names(yolo::splits(path)?),
        };
        Ok(Self {
            path: path.to_path_buf(),
            layout,
            evidence: String::new(),
            splits,
        })
    }

    /// The folder, or the file that describes it, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Why this layout was taken, such as `found data.yaml`.
    pub fn evidence(&self) -> &str {
        &self.evidence
    }

    /// The names of the splits, sorted.
    pub fn splits(&self) -> &[String] {
        &self.splits
    }

    /// The split to train on: `train` or `training` in any case, a name that starts with it, or the only split.
    pub fn training_split(&self) -> Option<&str> {
        let only = || match self.splits.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        self.named(&["train"]).or_else(only)
    }

    /// The split to validate on: `val`, `valid`, `validation` or `dev` in any case, a name that starts with one of these,
    /// else `test`. `None` if there is none: then [`DetectionDataset::hold_out`] divides the training split.
    pub fn validation_split(&self) -> Option<&str> {
        self.named(&["val", "dev"])
            .or_else(|| self.named(&["test"]))
    }

    /// The split that is called one of `prefixes`, or else starts with one.
    fn named(&self, prefixes: &[&str]) -> Option<&str> {
        let equal = |name: &str| prefixes.iter().any(|prefix| name == *prefix);
        let starting = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let find = |fits: &dyn Fn(&str) -> bool| {
            let mut splits = self.splits.iter();
            splits.find(|split| fits(&split.to_lowercase()))
        };
        find(&equal).or_else(|| find(&starting)).map(String::as_str)
    }

    /// Reads a split.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`], and those of the layout's reader.
    pub fn read(&self, split: &str) -> Result<DetectionDataset, DataError> {
        DetectionDataset::open(&self.path, Some(split))
    }
}

fn names<T>(splits: Vec<Split<T>>) -> Vec<String> {
    splits.into_iter().map(|split| split.name).collect()
}
