//! A data set on disk, before any split is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::recognize;
use super::split::{Found, Role, Split};
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
    found: Arc<Found>,
    splits: Vec<String>,
}

/// A split that would be validated on if it had images.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// The name of the split.
    pub split: String,
    /// What was found in its place and cannot be read.
    pub left_out: LoadReport,
}

/// As in `split 'val' has no readable images`.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "split '{}' has no readable images", self.split)?;
        match self.left_out.is_clean() {
            true => Ok(()),
            false => write!(f, " ({})", self.left_out),
        }
    }
}

impl DataFolder {
    /// Recognizes the layout of the data set at `path`: a folder, or a file that describes a data set, such as
    /// `data.yaml`.
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`], [`DataError::UnknownLayout`], or the error of a file that lists splits and cannot be
    /// read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let found = recognize(path)?;
        let splits = found.splits.iter().map(|split| split.name.clone());
        Ok(Self {
            path: path.to_path_buf(),
            splits: splits.collect(),
            found: Arc::new(found),
        })
    }

    /// The folder, or the file that describes it, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.found.layout
    }

    /// Why this layout was recognized, such as `data.yaml`.
    pub fn evidence(&self) -> &str {
        &self.found.evidence
    }

    /// The names of the splits, sorted.
    pub fn splits(&self) -> &[String] {
        &self.splits
    }

    /// The split to train on: `train` or `training` in any case, a name that starts with such a word, or the only split.
    pub fn training_split(&self) -> Option<&str> {
        let only = || match self.splits.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        self.of_role(Role::Train, |_| true).or_else(only)
    }

    /// The split to validate on: `val`, `valid`, `validation` or `dev` in any case, a name that starts with such a word,
    /// else `test`. Splits without images do not count. `None` if there is none: then [`DetectionDataset::hold_out`] divides the
    /// training split.
    pub fn validation_split(&self) -> Option<&str> {
        let has_images = |split: &Split| !split.reader.is_empty();
        self.of_role(Role::Validation, has_images)
            .or_else(|| self.of_role(Role::Test, has_images))
    }

    /// The split whose name is exactly of that role, or else starts with such a word.
    fn of_role(&self, role: Role, fits: impl Fn(&Split) -> bool) -> Option<&str> {
        let find = |role_of: fn(&str) -> Option<Role>| {
            let mut splits = self.found.splits.iter();
            splits.find(|split| role_of(&split.name) == Some(role) && fits(split))
        };
        let split = find(Role::of).or_else(|| find(Role::of_word));
        split.map(|split| split.name.as_str())
    }

    /// Reads a split.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`], and those of the layout's reader.
    pub fn read(&self, split: &str) -> Result<DetectionDataset, DataError> {
        self.read_split(Some(split))
    }

    /// Reads a split, or the only one.
    pub(super) fn read_split(&self, split: Option<&str>) -> Result<DetectionDataset, DataError> {
        self.found.read(&self.path, split)
    }
}

impl DetectionDataset {
    /// Opens one split of the data set at `path`, in any layout: a folder, or a file that describes a data set.
    ///
    /// `split` may be `None` if there is only one. [`DataFolder`] lists them.
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`], [`DataError::UnknownLayout`], [`DataError::UnknownSplit`],
    /// [`DataError::SplitNotNamed`], and the errors of [`coco`](Self::coco), [`voc`](Self::voc) and
    /// [`yolo`](Self::yolo).
    pub fn open(path: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        DataFolder::open(path)?.read_split(split)
    }
}
