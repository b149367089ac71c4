//! The splits of a generated set.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// The number of images in a split. All annotations are kept in memory.
pub(crate) const IMAGES: RangeInclusive<usize> = 0..=1_000_000;

/// The width and the height of an image, in pixels.
pub(crate) const SIDES: RangeInclusive<u32> = 16..=4096;

/// A split of a generated data set. Splits have no image in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training.
    Train,
    /// For validation.
    Val,
}

impl Split {
    /// `train` or `val`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}
