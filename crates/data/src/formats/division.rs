//! Which splits of a folder are used for training and validation.

use std::collections::HashSet;
use std::path::PathBuf;

use super::split::{Role, Split};
use crate::{DataError, DataFolder, LoadReport};

/// The training and validation data: two splits, or two parts of one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Division {
    /// The training split.
    pub train: String,
    /// The validation split, or [`HELD_OUT`](Self::HELD_OUT).
    pub val: String,
    /// The share of the training split that is held out for validation.
    pub share: Option<f64>,
}

impl Division {
    /// The name of the held-out part.
    pub const HELD_OUT: &str = "held-out";

    /// The share that is held out by default.
    pub const VAL_SHARE: f64 = 0.2;

    /// Two splits.
    pub fn new(train: impl Into<String>, val: impl Into<String>) -> Self {
        Self {
            train: train.into(),
            val: val.into(),
            share: None,
        }
    }

    /// Holds out this share of the training split for validation.
    #[must_use]
    pub fn with_val_share(self, share: f64) -> Self {
        Self {
            val: Self::HELD_OUT.to_owned(),
            share: Some(share),
            ..self
        }
    }
}

impl DataFolder {
    /// Chooses the training and validation data. The defaults are the [training split](Self::training_split) and the
    /// [validation split](Self::validation_split). Without a validation split, [`Division::VAL_SHARE`] of the training
    /// split is [held out](crate::DetectionDataset::hold_out).
    ///
    /// # Errors
    ///
    /// [`DataError::NoSplitFor`] if no training split is recognized.
    pub fn division(&self, train: Option<&str>, val: Option<&str>) -> Result<Division, DataError> {
        // Names that mean the same split.
        let own = |name| self.split(name).unwrap_or(name);
        let (train, val) = (train.map(own), val.map(own));
        let train = train.or(self.training_split());
        let train = train.ok_or_else(|| self.no_split_for("training"))?;
        // A single split is not used for both.
        let found = || self.validation_split_beside(train);
        let (val, share) = match val.or_else(found) {
            Some(val) => (val, None),
            None => (Division::HELD_OUT, Some(Division::VAL_SHARE)),
        };
        Ok(Division {
            train: train.to_owned(),
            val: val.to_owned(),
            share,
        })
    }

    /// Messages about the splits that a division does not use. A note for each that is not used at all, and a note or a
    /// remark for each that would have been validated on if it had images or objects. If the division is not the
    /// [default](Self::division), they are remarks. A `test` split beside a validation split is not used either, which
    /// is not reported. Nor are splits whose images are all in other splits, such as `trainval`.
    pub fn left_out(&self, division: &Division) -> LoadReport {
        let own = |name| self.split(name).unwrap_or(name);
        let train = own(division.train.as_str());
        let val = match division.share {
            Some(_) => None,
            None => Some(own(division.val.as_str())),
        };
        let default = self.division(None, None).ok();
        let is_default = default.is_some_and(|default| {
            default.train == train
                && default.share.is_some() == val.is_none()
                && val.is_none_or(|val| default.val == val)
        });
        let mut report = LoadReport::default();
        let mut passed_over = self.passed_over_beside(train);
        // One that was chosen by name is used, whatever other splits there are.
        if val.is_some_and(|val| self.validation_split_beside(train) != Some(val)) {
            passed_over.clear();
        }
        for split in &passed_over {
            let instead = match val {
                Some(val) => format!("'{val}' is validated on"),
                None => "a share is held out".to_string(),
            };
            let told = format!("{split}: {instead} instead");
            match split.left_out.is_clean() {
                true => report.remark(told),
                false => report.note(told),
            }
        }
        let is_told = |split: &Split| passed_over.iter().any(|other| other.split == split.name);
        let is_used = |split: &Split| split.name == train || val == Some(split.name.as_str());
        let is_for_testing = |name: &str| Role::of_split(name) == Some(Role::Test);
        let is_tested_on = val.is_some_and(is_for_testing);
        let is_kept = |split: &Split| is_for_testing(&split.name) && !is_tested_on;
        let (known, others): (Vec<&Split>, Vec<&Split>) = (self.all().iter())
            .partition(|split| is_used(split) || is_kept(split) || is_told(split));
        if others.is_empty() {
            return report;
        }
        let known = known.into_iter().flat_map(|split| split.reader.members());
        let known: HashSet<PathBuf> = known.collect();
        for split in others {
            let images = split.reader.members();
            let unused = images.difference(&known).count();
            let told = match unused {
                0 if images.is_empty() && !split.reader.is_empty() => {
                    without_use(split, "it cannot be read")
                }
                0 => continue,
                _ if unused == images.len() => without_use(split, &counted(unused)),
                _ => {
                    let of = format!("{unused} of {} in no other split", counted(images.len()));
                    without_use(split, &of)
                }
            };
            match is_default {
                true => report.note(told),
                false => report.remark(told),
            }
        }
        report
    }

    /// Messages about the splits for validation that are not evaluated, if this split is.
    pub fn left_out_of_evaluation(&self, evaluated: &str) -> LoadReport {
        let evaluated = self.split(evaluated).unwrap_or(evaluated);
        let role = Role::of_split(evaluated);
        let mut report = LoadReport::default();
        let is_other = |split: &&Split| {
            role.is_some() && Role::of_split(&split.name) == role && split.name != evaluated
        };
        for split in self.all().iter().filter(is_other) {
            match split.reader.members().len() {
                0 if split.reader.is_empty() => {}
                0 => report.note(format!(
                    "split '{}' cannot be read, and is not evaluated",
                    split.name
                )),
                images => report.note(format!(
                    "split '{}' ({}) is not evaluated",
                    split.name,
                    counted(images)
                )),
            }
        }
        report
    }

    /// The split to evaluate: the validation split, or the only split.
    ///
    /// # Errors
    ///
    /// [`DataError::NoSplitFor`] if there are several splits and none is for validation.
    pub fn evaluation_split(&self) -> Result<&str, DataError> {
        match (self.validation_split(), self.splits()) {
            (Some(split), _) => Ok(split),
            (None, [only]) => Ok(only),
            (None, _) => Err(self.no_split_for("validation")),
        }
    }

    fn no_split_for(&self, purpose: &'static str) -> DataError {
        DataError::NoSplitFor {
            path: self.path().to_path_buf(),
            purpose,
            available: self.splits().to_vec(),
        }
    }
}

/// The message about a split without a use.
fn without_use(split: &Split, images: &str) -> String {
    format!("split '{}' ({images}) is not used", split.name)
}

fn counted(images: usize) -> String {
    match images {
        1 => "1 image".to_string(),
        images => format!("{images} images"),
    }
}
