//! Errors from reading a folder to assembling a batch.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::{Layout, LoadReport};

/// A failure to read, check or transform detection data.
///
/// Every variant prints on one line and names what caused it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A folder does not exist, or is not a folder.
    #[error("{}: no such folder", path.display())]
    MissingFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder to write to is not empty.
    #[error("{}: not an empty folder; existing files are never overwritten", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has none of the known layouts.
    #[error(
        "{}: not a data set: expected COCO (a JSON file with images, annotations and categories), VOC (an XML file for each \
         image), YOLO (data.yaml, or a text file for each image and classes.txt), CSV (rows of path, x1, y1, x2, y2, class, or \
         a header that names such columns) or Create ML (a JSON list of images with annotations), found {found}",
        path.display()
    )]
    UnknownLayout {
        /// The folder or file.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
    /// The data set has several splits and none was named.
    #[error("{}: this {layout} data set has several splits: name one of {}", path.display(), available.join(", "))]
    SplitNotNamed {
        /// The folder of the data set.
        path: PathBuf,
        /// Its layout.
        layout: Layout,
        /// The names of its splits.
        available: Vec<String>,
    },
    /// The data set has no split with this name.
    #[error(
        "{}: this {layout} data set has no split '{split}'; it has: {}",
        path.display(),
        if available.is_empty() { "none".to_string() } else { available.join(", ") }
    )]
    UnknownSplit {
        /// The folder of the data set.
        path: PathBuf,
        /// Its layout.
        layout: Layout,
        /// The name that was given.
        split: String,
        /// The names of its splits.
        available: Vec<String>,
    },
    /// No split has a name that shows its purpose.
    #[error(
        "{}: no split for {purpose} recognized: name one of {}",
        path.display(),
        available.join(", ")
    )]
    NoSplitFor {
        /// The folder of the data set.
        path: PathBuf,
        /// What a split is needed for.
        purpose: &'static str,
        /// The names of its splits.
        available: Vec<String>,
    },
    /// An annotation file is malformed.
    #[error("{}: {cause}", path.display())]
    Annotations {
        /// The annotation file, or the folder of annotation files.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A line of a text file is malformed.
    #[error("{}:{line}: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// A video stream is malformed or not supported.
    #[error("{}: {cause}", path.display())]
    Video {
        /// The file, or the name of the stream.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A frame of a video or an animation cannot be read or written.
    #[error("{}: frame {frame}: {source}", path.display())]
    Frame {
        /// The file, or the name of the stream.
        path: PathBuf,
        /// The frame, from 1.
        frame: u64,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The records of a data set contradict each other.
    #[error("{name}: {cause}")]
    Dataset {
        /// The name of the data set.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A data set has no training object.
    #[error(
        "{name}: no usable objects in {images} images{}{}{}",
        if searched.is_empty() { String::new() } else { format!("; searched for annotations in {searched}") },
        if *crowds > 0 { format!("; {crowds} crowd or difficult objects are excluded from training") } else { String::new() },
        appended(report)
    )]
    NoObjects {
        /// The name of the data set.
        name: String,
        /// The number of images.
        images: usize,
        /// The number of crowd objects.
        crowds: usize,
        /// Where annotations were searched for; empty if they were not read from files.
        searched: String,
        /// What was dropped.
        report: Box<LoadReport>,
    },
    /// More than half of the annotated images are not on disk.
    #[error("{}: no such image ({missing} of {total} annotated images are missing)", first.display())]
    MissingImages {
        /// The first missing image.
        first: PathBuf,
        /// The number of missing images.
        missing: usize,
        /// The number of annotated images.
        total: usize,
    },
    /// An image could not be decoded.
    #[error("{}: {source}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// The error of the decoder.
        source: image::ImageError,
    },
    /// A decoder panicked.
    #[error("{}: the decoder panicked: {cause}", path.display())]
    Decoder {
        /// The image file.
        path: PathBuf,
        /// The message of the panic.
        cause: String,
    },
    /// An [`ImageSource`](crate::ImageSource) failed.
    #[error("{image}: {source}")]
    ImageSource {
        /// The name of the image.
        image: String,
        /// The error of the source.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The size of an image differs from its annotated size, so its boxes cannot be trusted.
    #[error(
        "{image}: the image is {}x{} pixels but was annotated as {}x{}{}",
        found.0, found.1, annotated.0, annotated.1,
        match *found == (annotated.1, annotated.0) {
            true => "; width and height may be swapped in the annotation",
            false => "; it was probably resized after annotation",
        }
    )]
    SizeMismatch {
        /// The image file, or the file name in the record if the image is not in a file.
        image: String,
        /// Width and height in the annotations.
        annotated: (u32, u32),
        /// Width and height of the upright pixels.
        found: (u32, u32),
    },
    /// More images are unreadable than training tolerates.
    #[error("{count} of {total} images cannot be read, more than {}%: {cause}", 100.0 * limit)]
    TooManyUnreadable {
        /// The number of unreadable images found so far.
        count: usize,
        /// The number of images in the data set.
        total: usize,
        /// The tolerated fraction of all images.
        limit: f64,
        /// The error of the last one.
        cause: Box<DataError>,
    },
    /// There is no image with this index.
    #[error("image index {index} is out of range: the data set has {len} images")]
    IndexOutOfRange {
        /// The index.
        index: usize,
        /// The number of images.
        len: usize,
    },
    /// A configuration has a value that is not allowed.
    #[error("{field} is {value}, but must be {requirement}")]
    Config {
        /// The path of the field in the configuration, such as `horizontal_flip.probability`.
        field: String,
        /// The value.
        value: String,
        /// What is allowed.
        requirement: String,
    },
    /// An image could not be resized.
    #[error("cannot resize an image of {}x{} to {}x{}: {source}", from.0, from.1, to.0, to.1)]
    Resize {
        /// Width and height before.
        from: (u32, u32),
        /// Width and height after.
        to: (u32, u32),
        /// The error of the resizer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A configuration names an augmentation that does not exist.
    #[error("unknown augmentation '{name}'; known augmentations: {}", known.join(", "))]
    UnknownAugmentation {
        /// The name.
        name: String,
        /// The names of this crate's steps and of registered ones.
        known: Vec<String>,
    },
    /// An augmentation is registered under a name that is taken.
    #[error("an augmentation named '{name}' already exists")]
    AugmentationName {
        /// The name.
        name: String,
    },
    /// The options of a registered augmentation cannot be read.
    #[error("options of the augmentation '{name}': {source}")]
    AugmentationOptions {
        /// The name of the augmentation.
        name: String,
        /// The error of reading its JSON.
        source: serde_json::Error,
    },
    /// An [`Augmentation`](crate::transforms::Augmentation) from outside this crate failed.
    #[error("{name}: {source}")]
    Augmentation {
        /// The name of the augmentation.
        name: String,
        /// Its error.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The findings, notes and remarks of a report, each after a semicolon.
fn appended(report: &LoadReport) -> String {
    let mut text = match report.is_clean() {
        true => String::new(),
        false => format!("; {report}"),
    };
    for remark in report.remarks() {
        text.push_str("; ");
        text.push_str(remark);
    }
    text
}

impl DataError {
    /// The failure of an [`ImageSource`](crate::ImageSource) on the image with this name.
    ///
    /// ```
    /// let error = fcos_burn_data::DataError::image_source("frame 17", "connection closed");
    /// assert_eq!(error.to_string(), "frame 17: connection closed");
    /// ```
    pub fn image_source(
        image: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::ImageSource {
            image: image.into(),
            source: source.into(),
        }
    }

    /// The failure of the [`Augmentation`](crate::transforms::Augmentation) with this name.
    pub fn augmentation(
        name: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Augmentation {
            name: name.into(),
            source: source.into(),
        }
    }

    /// Adds the name of the step to an error in an augmentation's configuration.
    pub(crate) fn in_step(self, step: &str) -> Self {
        match self {
            Self::Config { .. } => self.within(step),
            other => Self::augmentation(step, other),
        }
    }

    /// An error in a configuration, seen from the configuration that contains it in its field `parent`: the path `min`
    /// becomes `parent.min`. Other errors stay as they are.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        match self {
            Self::Config {
                field,
                value,
                requirement,
            } => Self::Config {
                field: format!("{parent}.{field}"),
                value,
                requirement,
            },
            other => other,
        }
    }

    /// Fails with [`DataError::Config`] unless the `value` of `field` is in `range`.
    ///
    /// ```
    /// use fcos_burn_data::DataError;
    /// let error = DataError::require_in_range("probability", 1.5, 0.0..=1.0).unwrap_err();
    /// assert_eq!(error.to_string(), "probability is 1.5, but must be between 0 and 1");
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Config`].
    pub fn require_in_range<T: PartialOrd + Display>(
        field: &str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Self::Config {
            field: field.to_string(),
            value: value.to_string(),
            requirement: format!("between {} and {}", range.start(), range.end()),
        })
    }

    /// Whether a single image is at fault, so that others may still be readable.
    pub(crate) fn concerns_one_image(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::Image { .. }
                | Self::Decoder { .. }
                | Self::ImageSource { .. }
                | Self::SizeMismatch { .. }
        )
    }

    /// Whether the file does not exist.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_absent(source))
    }

    /// The cause, without the file.
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

/// Whether a file could not be found.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
