//! References to images.

use serde::Serialize;

/// An image of one of the splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Picture {
    /// The index of the split.
    pub split: usize,
    /// The index of the image in it.
    pub image: usize,
}
