//! Data sets of any layout.

use std::path::Path;

use super::{coco, voc, yolo};
use crate::{DataError, DetectionDataset, Layout};

impl DetectionDataset {
    /// Opens one split of the data set in `dir`, in whatever layout it is.
    ///
    /// `split` may be `None` if there is only one. [`DataFolder`](crate::DataFolder) lists them.
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`], [`DataError::UnknownLayout`], [`DataError::UnknownSplit`],
    /// [`DataError::SplitNotNamed`], and the errors of [`coco`](Self::coco), [`voc`](Self::voc) and
    /// [`yolo`](Self::yolo).
    pub fn open(dir: impl AsRef<Path>, split: Option<&str>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        match recognize(dir)? {
            Layout::Coco => coco::open(dir, split),
            Layout::Voc => Self::voc(dir, split),
            _ => Self::yolo(dir, split),
        }
    }
}

/// The layout of the data set in `dir`, by the files in it.
pub(super) fn recognize(dir: &Path) -> Result<Layout, DataError> {
    let path = || dir.to_path_buf();
    if !dir.is_dir() {
        Err(DataError::MissingFolder { path: path() })
    } else if voc::recognizes(dir)? {
        Ok(Layout::Voc)
    } else if !coco::splits(dir)?.is_empty() {
        Ok(Layout::Coco)
    } else if yolo::recognizes(dir)? {
        Ok(Layout::Yolo)
    } else {
        Err(DataError::UnknownLayout { path: path() })
    }
}
