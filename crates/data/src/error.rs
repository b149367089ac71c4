//! What can go wrong between a folder and a batch.

use std::path::PathBuf;

use crate::Layout;

/// A failure to read, understand or transform detection data.
///
/// Every variant prints on one line and names the file at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The data set's folder does not exist, or is not a folder.
    #[error("{}: no such folder", path.display())]
    MissingFolder {
        /// What was asked for.
        path: PathBuf,
    },
    /// The folder holds none of the known layouts.
    #[error(
        "{}: not a data set: expected COCO (annotations/instances_SPLIT.json, SPLIT/_annotations.coco.json or \
         annotations.json), VOC (Annotations/*.xml and JPEGImages/) or YOLO (data.yaml, or images/ and labels/)",
        path.display()
    )]
    UnknownLayout {
        /// The folder.
        path: PathBuf,
    },
    /// The data set has several splits and none was named.
    #[error("{}: this {layout} data set has several splits, name one of: {}", path.display(), available.join(", "))]
    SplitNotNamed {
        /// The data set's folder.
        path: PathBuf,
        /// Its layout.
        layout: Layout,
        /// The splits that exist.
        available: Vec<String>,
    },
    /// The data set has no split of that name.
    #[error(
        "{}: this {layout} data set has no split '{split}'; it has: {}",
        path.display(),
        if available.is_empty() { "none".to_string() } else { available.join(", ") }
    )]
    UnknownSplit {
        /// The data set's folder.
        path: PathBuf,
        /// Its layout.
        layout: Layout,
        /// The split that was asked for.
        split: String,
        /// The splits that exist.
        available: Vec<String>,
    },
    /// An annotation file is not what its format says.
    #[error("{}: {cause}", path.display())]
    Annotations {
        /// The annotation file, or the folder of annotation files.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A line of a text file is not what its format says.
    #[error("{}:{line}: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// Annotated images are not on disk.
    #[error("{}: no such image ({missing} of {total} annotated images are missing)", first.display())]
    MissingImages {
        /// The first image that is missing.
        first: PathBuf,
        /// How many are missing.
        missing: usize,
        /// How many are annotated.
        total: usize,
    },
    /// An image could not be decoded.
    #[error("{}: {source}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// The decoder's reason.
        source: image::ImageError,
    },
    /// An image is not of the size its annotations were made for, so that its boxes cannot be trusted.
    #[error(
        "{}: the image is {}x{} pixels but was annotated as {}x{}",
        path.display(), found.0, found.1, annotated.0, annotated.1
    )]
    SizeMismatch {
        /// The image file.
        path: PathBuf,
        /// Width and height in the annotations.
        annotated: (u32, u32),
        /// Width and height of the decoded file, before any EXIF rotation.
        found: (u32, u32),
    },
    /// A decoder failed in a way that its authors did not foresee.
    #[error("{}: the decoder panicked: {cause}", path.display())]
    Decoder {
        /// The image file.
        path: PathBuf,
        /// What it said.
        cause: String,
    },
    /// More images cannot be read than a training can do without.
    #[error(
        "{count} of {total} images cannot be read, more than {} %: {cause}",
        100.0 * crate::SampleReader::MAX_UNREADABLE
    )]
    TooManyUnreadable {
        /// How many were met that cannot be read.
        count: usize,
        /// The number of images in the data set.
        total: usize,
        /// What is wrong with the last of them.
        cause: Box<DataError>,
    },
    /// There is no image of that index.
    #[error("image {index} was asked of a data set of {len}")]
    IndexOutOfRange {
        /// The index asked for.
        index: usize,
        /// The number of images.
        len: usize,
    },
    /// A configuration holds a value that means nothing.
    #[error("{field}: {cause}")]
    Config {
        /// The field at fault.
        field: &'static str,
        /// Why.
        cause: String,
    },
    /// An image could not be resized.
    #[error("cannot resize an image of {}x{} to {}x{}: {source}", from.0, from.1, to.0, to.1)]
    Resize {
        /// Width and height before.
        from: (u32, u32),
        /// Width and height after.
        to: (u32, u32),
        /// The resizer's reason.
        source: fast_image_resize::ResizeError,
    },
}

impl DataError {
    /// Whether one image is at fault, and others may be read all the same.
    pub fn is_of_an_image(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Image { .. } | Self::Decoder { .. } | Self::SizeMismatch { .. }
        )
    }

    /// What is wrong, without the file that it is wrong with.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Image { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }

    /// Attaches `path` to an I/O error.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
