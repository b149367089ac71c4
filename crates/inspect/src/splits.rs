//! The splits of a data set.

use std::{fmt, path::Path};

use fcos_burn_data::{DataError, DataFolder, DetectionDataset, Division, ImageRecord, LoadReport};
use serde::Serialize;

use crate::picture::Picture;

/// The purpose of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Training.
    Training,
    /// Validation.
    Validation,
    /// Anything else, such as testing.
    Other,
}

/// A part of a data set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Split {
    /// The name.
    pub name: String,
    /// Its purpose.
    pub purpose: Purpose,
    /// The images and objects.
    pub dataset: DetectionDataset,
}

/// A split that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnreadSplit {
    /// The name.
    pub name: String,
    /// Its purpose.
    pub purpose: Purpose,
    /// Why it could not be read.
    pub cause: String,
}

/// The splits of a data set, and its layout on disk.
#[derive(Clone, Debug)]
pub struct Splits {
    name: String,
    layout: Option<String>,
    evidence: String,
    splits: Vec<Split>,
    unread: Vec<UnreadSplit>,
}

impl Splits {
    /// A data set with this name and no splits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            layout: None,
            evidence: String::new(),
            splits: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Adds a split.
    #[must_use]
    pub fn with_split(
        mut self,
        purpose: Purpose,
        name: impl Into<String>,
        dataset: DetectionDataset,
    ) -> Self {
        self.splits.push(Split {
            name: name.into(),
            purpose,
            dataset,
        });
        self
    }

    /// Reads all splits of a folder. A [division](DataFolder::division) selects the training and the validation split;
    /// its share of the training split is [held out](DetectionDataset::hold_out), as in training. Splits that cannot be
    /// read are listed with the cause.
    ///
    /// # Errors
    ///
    /// The error of the first split if none can be read.
    pub fn read(folder: &DataFolder, division: Option<&Division>) -> Result<Self, DataError> {
        let is_split =
            |known: &str, name: &str| folder.split(known).is_ok_and(|split| split == name);
        let purpose = |name: &str| match division {
            Some(division) if is_split(&division.train, name) => Purpose::Training,
            Some(division) if division.share.is_none() && is_split(&division.val, name) => {
                Purpose::Validation
            }
            None if folder.validation_split() == Some(name) => Purpose::Validation,
            _ => Purpose::Other,
        };
        let mut splits = Self::of_folder(folder);
        let mut first_error = None;
        for name in folder.splits() {
            match folder.read(name) {
                Ok(dataset) => splits = splits.with_split(purpose(name), name, dataset),
                Err(error) => {
                    splits.unread.push(UnreadSplit {
                        name: name.clone(),
                        purpose: purpose(name),
                        cause: error.to_string(),
                    });
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if splits.splits.is_empty() => Err(error),
            _ => Ok(match division {
                Some(division) => {
                    let splits = match division.share {
                        Some(share) => splits.with_held_out(share),
                        None => splits,
                    };
                    splits.with_left_out(folder.left_out(division))
                }
                None => splits,
            }),
        }
    }

    /// Reports what is left out with the validation split, or else with the training split.
    fn with_left_out(mut self, left_out: LoadReport) -> Self {
        let position = |purpose| {
            self.splits
                .iter()
                .position(|split| split.purpose == purpose)
        };
        let reported = position(Purpose::Validation).or_else(|| position(Purpose::Training));
        if let Some(split) = reported.and_then(|index| self.splits.get_mut(index)) {
            split.dataset = split.dataset.clone().with_report(left_out);
        }
        self
    }

    /// Reads one split of a folder.
    ///
    /// # Errors
    ///
    /// Same as [`DataFolder::read`].
    pub fn read_one(folder: &DataFolder, split: &str) -> Result<Self, DataError> {
        let dataset = folder.read(split)?;
        Ok(Self::of_folder(folder).with_split(Purpose::Other, split, dataset))
    }

    fn of_folder(folder: &DataFolder) -> Self {
        Self {
            layout: Some(folder.layout().to_string()),
            evidence: folder.evidence().to_string(),
            ..Self::new(folder.path().display().to_string())
        }
    }

    /// Divides the training split. A split with too few images stays whole.
    fn with_held_out(mut self, share: f64) -> Self {
        let is_training = |split: &Split| split.purpose == Purpose::Training;
        let Some(training) = self.splits.iter().position(is_training) else {
            return self;
        };
        let Ok((train, val)) = self.splits[training].dataset.hold_out(share) else {
            return self;
        };
        let parts = [
            Split {
                dataset: train,
                ..self.splits[training].clone()
            },
            Split {
                name: Division::HELD_OUT.to_owned(),
                purpose: Purpose::Validation,
                dataset: val,
            },
        ];
        self.splits.splice(training..=training, parts);
        self
    }

    /// The name of the data set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layout on disk; `None` if the data set was not read from a folder.
    pub fn layout(&self) -> Option<&str> {
        self.layout.as_deref()
    }

    /// Why this layout was recognized.
    pub fn evidence(&self) -> &str {
        &self.evidence
    }

    /// The splits.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// The splits that could not be read.
    pub fn unread(&self) -> &[UnreadSplit] {
        &self.unread
    }

    /// The index of the training split, or else of the first split.
    pub(crate) fn trained_on(&self) -> Option<usize> {
        let is_training = |split: &Split| split.purpose == Purpose::Training;
        let first = (!self.splits.is_empty()).then_some(0);
        self.splits.iter().position(is_training).or(first)
    }

    /// The file of a picture; `None` if it is not in a file.
    pub(crate) fn file(&self, picture: Picture) -> Option<&Path> {
        let split = self.splits.get(picture.split)?;
        split.dataset.image_file(picture.image)
    }

    /// The images of all splits.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = (Picture, &ImageRecord)> {
        self.splits.iter().enumerate().flat_map(|(split, of)| {
            let images = of.dataset.images().iter().enumerate();
            images.map(move |(image, record)| (Picture { split, image }, record))
        })
    }
}

/// Prints as in `bccd (VOC)`.
impl fmt::Display for Splits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.layout {
            Some(layout) => write!(f, " ({layout})"),
            None => Ok(()),
        }
    }
}
