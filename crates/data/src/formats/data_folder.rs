//! A data set on disk, before any split is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::recognize;
use super::split::{Found, Role, Split};
use crate::{DataError, DetectionDataset, Layout, LoadReport};

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

/// A split that would be used for validation if it had images.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// The name of the split.
    pub split: String,
    /// What was found in its folders but cannot be read.
    pub left_out: LoadReport,
}

/// Prints as in `split 'val' has no readable images`.
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
    /// [`DataError::MissingFolder`], [`DataError::UnknownLayout`], or the error of a file that lists splits and cannot
    /// be read.
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

    /// The path as given: the folder, or the file that describes the data set.
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

    /// The training split: `train` or `training` in any case, a name that starts with one of these words, or the only
    /// split.
    pub fn training_split(&self) -> Option<&str> {
        let only = || match self.splits.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        let named = self.of_role(Role::Train);
        named.first().map(|split| split.name.as_str()).or_else(only)
    }

    /// The validation split: `val`, `valid`, `validation` or `dev` in any case, a name that starts with one of these
    /// words, or else `test`. Splits without images are [passed over](Self::passed_over). If this is `None`,
    /// [`DetectionDataset::hold_out`] divides the training split instead.
    pub fn validation_split(&self) -> Option<&str> {
        let mut splits = self.for_validation().into_iter();
        let found = splits.find(|split| !split.reader.is_empty());
        found.map(|split| split.name.as_str())
    }

    /// The splits that would take precedence over the [validation split](Self::validation_split) but have no images.
    pub fn passed_over(&self) -> Vec<PassedOver> {
        let splits = self.for_validation().into_iter();
        let empty = splits.take_while(|split| split.reader.is_empty());
        let passed_over = empty.map(|split| PassedOver {
            split: split.name.clone(),
            left_out: split.reader.left_out(),
        });
        passed_over.collect()
    }

    /// The validation splits by name, in order of preference.
    fn for_validation(&self) -> Vec<&Split> {
        [self.of_role(Role::Validation), self.of_role(Role::Test)].concat()
    }

    /// The splits whose name is a word for the role, then the splits whose name starts with one.
    fn of_role(&self, role: Role) -> Vec<&Split> {
        let splits = self.found.splits.iter();
        let mut of_role: Vec<&Split> = splits
            .filter(|split| Role::of_word(&split.name) == Some(role))
            .collect();
        of_role.sort_by_key(|split| Role::of(&split.name) != Some(role));
        of_role
    }

    /// Resolves `split`, a split name in any case or a synonym such as `valid` for `val`, to the name of the split.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`].
    pub fn split(&self, split: &str) -> Result<&str, DataError> {
        let split = self.found.choose(&self.path, Some(split))?;
        Ok(&split.name)
    }

    /// Reads a split.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownSplit`], and the errors of the layout's reader.
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
