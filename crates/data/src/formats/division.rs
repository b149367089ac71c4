//! Which splits of a folder to train and to validate on.

use crate::{DataError, DataFolder};

/// What to train on and what to validate on: two splits, or two parts of one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Division {
    /// The split to train on.
    pub train: String,
    /// The split to validate on, or [`HELD_OUT`](Self::HELD_OUT).
    pub val: String,
    /// The share of the split to train on that is held out to validate on.
    pub share: Option<f64>,
}

impl Division {
    /// The name of the part that is held out.
    pub const HELD_OUT: &str = "held-out";

    /// The share that is held out by default.
    pub const VAL_SHARE: f64 = 0.2;

    /// The same with this share of the training split held out for validation.
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
    /// What to train and to validate on. Splits without a name are the
    /// [training split](Self::training_split) and the [validation split](Self::validation_split). If there is none to
    /// validate on, [`Division::VAL_SHARE`] of the split to train on is [held out](crate::DetectionDataset::hold_out).
    ///
    /// # Errors
    ///
    /// [`DataError::NoSplitFor`] if no split is recognizable as the one to train on.
    pub fn division(&self, train: Option<&str>, val: Option<&str>) -> Result<Division, DataError> {
        let train = train.or(self.training_split());
        let train = train.ok_or_else(|| self.no_split_for("training"))?;
        // The only split serves one purpose.
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

    /// The split to evaluate on: the one to validate on, or the only one.
    ///
    /// # Errors
    ///
    /// [`DataError::NoSplitFor`] if there are several splits and none to validate on.
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
