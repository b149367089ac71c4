//! Layouts of data sets on disk.

use std::fmt;

/// The layout of a data set on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// One JSON file per split.
    Coco,
    /// One XML file per image, one list of images per split.
    Voc,
    /// One text file per image, one folder per split.
    Yolo,
    /// One table per split, with a row for each object.
    Csv,
    /// Create ML: one JSON file per split.
    CreateMl,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coco => "COCO",
            Self::Voc => "VOC",
            Self::Yolo => "YOLO",
            Self::Csv => "CSV",
            Self::CreateMl => "Create ML",
        })
    }
}
