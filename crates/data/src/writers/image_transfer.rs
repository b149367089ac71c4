//! Transferring images to a written data set.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader};

use crate::decoding::{is_image, read_header};
use crate::files::{file_name, last_part, open, stem};
use crate::{DataError, DetectionDataset};

/// How image files are transferred to a written data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ImageTransfer {
    /// Copies.
    #[default]
    Copy,
    /// Hard links, which take no space. Both folders must be on the same file system.
    HardLink,
    /// Symbolic links to the existing files.
    SymbolicLink,
}

impl ImageTransfer {
    fn apply(self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            Self::Copy => fs::copy(from, to).map(drop),
            // If `from` is a link, use the file that it points to.
            Self::HardLink => fs::hard_link(from.canonicalize()?, to),
            Self::SymbolicLink => symbolic_link(&from.canonicalize()?, to),
        }
    }
}

#[cfg(unix)]
fn symbolic_link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(windows)]
fn symbolic_link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(from, to)
}

/// Where the pixels of a written image come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A file. The written file gets this extension.
    File {
        path: PathBuf,
        stem: String,
        extension: String,
    },
    /// The data set, to be encoded as PNG.
    Pixels { stem: String },
}

impl Origin {
    /// The origin of the image at `index`.
    ///
    /// If annotations do not state the size of their image, readers apply the EXIF orientation. An image whose recorded
    /// size matches the stored pixels must then be encoded.
    pub(super) fn of(
        dataset: &DetectionDataset,
        index: usize,
        states_size: bool,
    ) -> Result<Self, DataError> {
        let record = dataset.record(index)?;
        let Some(path) = dataset.image_file(index) else {
            return Ok(Self::Pixels {
                stem: stem_of(&record.file_name),
            });
        };
        drop(open(path).map_err(DataError::io(path))?);
        if !states_size && read_header(path)?.upright() != record.size() {
            return Ok(Self::Pixels { stem: stem(path) });
        }
        if is_image(path) {
            let extension = path.extension().unwrap_or_default();
            return Ok(Self::File {
                path: path.to_path_buf(),
                stem: stem(path),
                extension: extension.to_string_lossy().into_owned(),
            });
        }
        // Without a known extension, other tools do not find the image.
        let format = ImageReader::open(path)
            .and_then(ImageReader::with_guessed_format)
            .map_err(DataError::io(path))?
            .format();
        let extension = format.and_then(|format| format.extensions_str().first());
        Ok(match extension {
            Some(extension) => Self::File {
                path: path.to_path_buf(),
                stem: file_name(path),
                extension: (*extension).to_string(),
            },
            None => Self::Pixels {
                stem: file_name(path),
            },
        })
    }

    pub(super) fn stem(&self) -> &str {
        match self {
            Self::File { stem, .. } | Self::Pixels { stem } => stem,
        }
    }

    pub(super) fn extension(&self) -> &str {
        match self {
            Self::File { extension, .. } => extension,
            Self::Pixels { .. } => "png",
        }
    }

    /// Writes the image at `index` to the file `to`.
    pub(super) fn put(
        &self,
        dataset: &DetectionDataset,
        index: usize,
        transfer: ImageTransfer,
        to: &Path,
    ) -> Result<(), Failure> {
        match self {
            Self::File { path, .. } => transfer.apply(path, to).map_err(|source| {
                let cause = format!("from {}: {source}", path.display());
                Failure::Target(DataError::io(to)(io::Error::new(source.kind(), cause)))
            }),
            Self::Pixels { .. } => {
                let pixels = dataset.image(index).map_err(Failure::Source)?;
                let saved = pixels.save_with_format(to, ImageFormat::Png);
                saved.map_err(|source| {
                    Failure::Target(DataError::Image {
                        path: to.to_path_buf(),
                        source,
                    })
                })
            }
        }
    }
}

/// Why an image could not be put into a data set.
#[derive(Debug)]
pub(super) enum Failure {
    /// The image cannot be read; others may still be written.
    Source(DataError),
    /// The destination cannot be written.
    Target(DataError),
}

/// The last component of a file name in annotations, possibly from another system, without an image extension.
fn stem_of(name: &str) -> String {
    let name = last_part(name);
    let path = Path::new(name);
    match is_image(path) {
        true => stem(path),
        false => name.to_string(),
    }
}
