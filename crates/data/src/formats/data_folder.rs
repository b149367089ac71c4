//! A data set on disk, before any split is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::recognize;
use super::split::{Found, Role, Split, is_trainval};
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

/// A split that would be used for validation if it had images and objects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// The name of the split.
    pub split: String,
    /// Why it is not used.
    pub cause: PassedOverCause,
    /// What was found in its folders but cannot be read.
    pub left_out: LoadReport,
}

/// Why a split is not used for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassedOverCause {
    /// It has no readable images.
    NoImages,
    /// It is a test split without objects: nothing can be measured on it.
    NoObjects,
}

impl PassedOverCause {
    /// Why a split with this role is not used; `None` if it is. A split for validation is used without objects, too.
    fn of(split: &Split, role: Role) -> Option<Self> {
        if split.reader.is_empty() {
            Some(Self::NoImages)
        } else if role == Role::Test && !split.reader.has_objects() {
            Some(Self::NoObjects)
        } else {
            None
        }
    }
}

/// Prints as in `split 'val' has no readable images`.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacks = match self.cause {
            PassedOverCause::NoImages => "no readable images",
            PassedOverCause::NoObjects => "no annotated objects",
        };
        write!(f, "split '{}' has {lacks}", self.split)?;
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

    /// The training split: `train` or `training` in any case, a name that starts with one of these words or has one of
    /// them, `trainval`, or the only split.
    pub fn training_split(&self) -> Option<&str> {
        let only = || match self.splits.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        let with_validation = || self.splits.iter().find(|name| is_trainval(name));
        let named = self.of_role(Role::Train);
        (named.first().map(|split| split.name.as_str()))
            .or_else(|| with_validation().map(String::as_str))
            .or_else(only)
    }

    /// The validation split: `val`, `valid`, `validation` or `dev` in any case, a name that starts with one of these
    /// words or has one of them, or else `test` if it has objects. Splits without images are
    /// [passed over](Self::passed_over). If this is `None`, [`DetectionDataset::hold_out`] divides the training split
    /// instead.
    pub fn validation_split(&self) -> Option<&str> {
        let splits = self.for_validation(&[Role::Validation, Role::Test]);
        self.first_usable(splits)
    }

    /// The validation split beside this training split, if it is another one. That of `trainval` has none of its images.
    pub(super) fn validation_split_beside(&self, train: &str) -> Option<&str> {
        let splits = self.for_validation(roles_beside(train));
        let found = self.first_usable(splits);
        found.filter(|split| !split.eq_ignore_ascii_case(train))
    }

    /// The splits that would take precedence over the [validation split](Self::validation_split) but have no images, or,
    /// if they are for testing, no objects.
    pub fn passed_over(&self) -> Vec<PassedOver> {
        self.passed_over_of(&[Role::Validation, Role::Test])
    }

    /// The splits that would take precedence over the validation split beside this training split.
    pub(super) fn passed_over_beside(&self, train: &str) -> Vec<PassedOver> {
        let mut passed_over = self.passed_over_of(roles_beside(train));
        passed_over.retain(|other| other.split != train);
        passed_over
    }

    fn passed_over_of(&self, roles: &[Role]) -> Vec<PassedOver> {
        let splits = self.for_validation(roles).into_iter();
        let passed_over = splits.map_while(|(split, role)| {
            Some(PassedOver {
                split: split.name.clone(),
                cause: PassedOverCause::of(split, role)?,
                left_out: split.reader.left_out(),
            })
        });
        passed_over.collect()
    }

    /// The splits with these roles, in order of preference.
    fn for_validation(&self, roles: &[Role]) -> Vec<(&Split, Role)> {
        let splits = roles.iter().map(|role| {
            let splits = self.of_role(*role).into_iter();
            splits.map(|split| (split, *role))
        });
        splits.flatten().collect()
    }

    fn first_usable<'a>(&'a self, splits: Vec<(&'a Split, Role)>) -> Option<&'a str> {
        let mut splits = splits.into_iter();
        let found = splits.find(|(split, role)| PassedOverCause::of(split, *role).is_none());
        found.map(|(split, _)| split.name.as_str())
    }

    /// The splits whose name is a word for the role, then the splits whose name starts with one, then the others.
    fn of_role(&self, role: Role) -> Vec<&Split> {
        let splits = self.found.splits.iter();
        let mut of_role: Vec<&Split> = splits
            .filter(|split| Role::of_split(&split.name) == Some(role))
            .collect();
        of_role.sort_by_key(|split| {
            let name = split.name.as_str();
            (
                Role::of(name) != Some(role),
                Role::of_word(name) != Some(role),
            )
        });
        of_role
    }

    /// The splits in the order of their names.
    pub(super) fn all(&self) -> &[Split] {
        &self.found.splits
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

/// The roles of validation splits beside this training split. The images of `val` are also in `trainval`.
fn roles_beside(train: &str) -> &'static [Role] {
    match is_trainval(train) {
        true => &[Role::Test],
        false => &[Role::Validation, Role::Test],
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
