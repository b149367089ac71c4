//! The interface of the writers of all layouts.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use super::report::{WriteFinding, WriteReport};
use super::splits::WrittenSplit;
use crate::{Category, DataError, Object};

/// The part of writing that depends on the layout.
pub(super) trait LayoutWriter: fmt::Debug + Sync {
    /// The folder for the images of a split, relative to the data set.
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
