//! What the writers of all layouts have in common.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use super::report::{WriteFinding, WriteReport};
use super::splits::WrittenSplit;
use crate::{Category, DataError, Object};

/// What differs between layouts.
pub(super) trait LayoutWriter: fmt::Debug + Sync {
    /// The folder of the images of a split, in the data set.
    fn image_folder(&self, split: &str) -> PathBuf;

    /// Whether annotations state the size of their image.
    fn states_sizes(&self) -> bool;

    /// Why the layout cannot represent an object.
    fn obstacle(&self, object: &Object) -> Option<WriteFinding>;

    /// Writes everything but the images to `dir`. Labels are indices of `categories`.
    fn write(
        &self,
        dir: &Path,
        categories: &[Category],
        splits: &[WrittenSplit],
        report: &mut WriteReport,
    ) -> Result<(), DataError>;
}

pub(super) fn write_text(path: &Path, text: &str) -> Result<(), DataError> {
    fs::write(path, text).map_err(DataError::io(path))
}
