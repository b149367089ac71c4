//! Which splits of a folder are used for training and validation.

use crate::{DataError, DataFolder};

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
        let found = || {
            let split = self.validation_split();
            split.filter(|split| !split.eq_ignore_ascii_case(train))
        };
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
