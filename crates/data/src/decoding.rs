//! Image files: extensions, headers and pixels.

use std::fs::File;
use std::io::{BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use image::error::{DecodingError, ImageFormatHint, UnsupportedError, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits, RgbImage,
};

use walkdir::{DirEntry, WalkDir};

use crate::files::{entries, open};
use crate::{DataError, panics};

/// Extensions of supported image formats.
const READ: [&str; 11] = [
    "jpg", "jpeg", "jfif", "jpe", "mpo", "png", "bmp", "gif", "tif", "tiff", "webp",
];

/// Extensions of unsupported image formats.
const NOT_READ: [&str; 30] = [
    "avif", "heic", "heif", "hif", "jp2", "j2k", "jpx", "jpf", "jxl", "jxr", "dng", "cr2", "cr3",
    "nef", "nrw", "arw", "raf", "orf", "rw2", "pef", "srw", "psd", "tga", "dds", "exr", "hdr",
    "pfm", "ppm", "pgm", "qoi",
];

/// The pixels of an image to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// Upright: the EXIF orientation is applied.
    Upright,
    /// As stored.
    Stored,
}

/// The content of an image header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageHeader {
    /// Width and height of the stored pixels.
    pub stored: (u32, u32),
    /// The rotation or reflection that makes the stored pixels upright.
    pub orientation: Orientation,
}

impl ImageHeader {
    /// Width and height after the orientation is applied.
    pub fn upright(self) -> (u32, u32) {
        let (width, height) = self.stored;
        match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
            _ => self.stored,
        }
    }
}

/// Decodes the image at `path` to 8-bit RGB. The format is detected from the content, not from the extension.
///
/// The pixels are upright: an EXIF orientation is applied. Gray levels, palettes, 16-bit and CMYK colors are converted
/// to RGB. Alpha channels are dropped. Of an animation, the first frame is read; [`Animation`](crate::Animation) reads
/// all.
///
/// # Errors
///
/// [`DataError::Io`], [`DataError::Image`] or [`DataError::Decoder`] if the file cannot be read or decoded, is a
/// truncated JPEG file, or takes more than 512 MiB of memory.
pub fn read_image(path: impl AsRef<Path>) -> Result<RgbImage, DataError> {
    read_pixels(path.as_ref(), Pixels::Upright)
}

pub(crate) fn read_pixels(path: &Path, pixels: Pixels) -> Result<RgbImage, DataError> {
    let mut bytes = Vec::new();
    open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(DataError::io(path))?;
    Ok(guarded(path, || decode(&bytes, pixels))?.into_rgb8())
}

/// The image files of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageListing {
    /// Files in supported formats, sorted by name.
    pub images: Vec<PathBuf>,
    /// Image files in unsupported formats, such as AVIF, HEIC and camera formats, sorted by name.
    pub left_out: Vec<PathBuf>,
    /// Messages about subfolders that could not be read.
    pub unreadable: Vec<String>,
}

impl ImageListing {
    /// The image files in `folder`, recognized by extension. Subfolders are not searched.
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`], or [`DataError::Io`] if the folder cannot be read.
    pub fn of(folder: impl AsRef<Path>) -> Result<Self, DataError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            let path = folder.to_path_buf();
            return Err(DataError::MissingFolder { path });
        }
        let files = entries(folder)?.into_iter();
        Ok(Self::among(files.filter(|path| !path.is_dir())))
    }

    /// The image files among these files, recognized by extension, in their order.
    pub fn among(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut listing = Self::default();
        for file in files {
            if is_image(&file) {
                listing.images.push(file);
            } else if is_unread_image(&file) {
                listing.left_out.push(file);
            }
        }
        listing
    }

    /// The image files in `folder` and its subfolders, recognized by extension. Hidden subfolders are not searched. Links
    /// are followed, except to a folder that contains them. Subfolders that cannot be read are reported in
    /// [`unreadable`](Self::unreadable).
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`].
    pub fn of_tree(folder: impl AsRef<Path>) -> Result<Self, DataError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            let path = folder.to_path_buf();
            return Err(DataError::MissingFolder { path });
        }
        let is_shown = |entry: &DirEntry| {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            entry.depth() == 0 || !(is_hidden && entry.file_type().is_dir())
        };
        let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for entry in walk.into_iter().filter_entry(is_shown) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => files.push(entry.into_path()),
                // Everything in the folder is found without the link.
                Err(error) if error.loop_ancestor().is_some() => {}
                // A broken link is reported when it is read.
                Err(error)
                    if (error.io_error())
                        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
                        && error.path().is_some_and(Path::is_symlink) =>
                {
                    files.extend(error.path().map(Path::to_path_buf));
                }
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        Ok(Self {
            unreadable,
            ..Self::among(files)
        })
    }
}

/// The files in `folder` with the extension of a supported image format, sorted by name. [`ImageListing`] also has
/// files in unsupported formats.
///
/// # Errors
///
/// [`DataError::MissingFolder`], or [`DataError::Io`] if the folder cannot be read.
pub fn image_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, DataError> {
    Ok(ImageListing::of(folder)?.images)
}

/// Whether the extension belongs to a supported image format.
pub(crate) fn is_image(path: &Path) -> bool {
    has_extension(path, &READ)
}

/// Whether the extension belongs to an unsupported image format.
pub(crate) fn is_unread_image(path: &Path) -> bool {
    has_extension(path, &NOT_READ)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        extensions
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// How many bytes of a JPEG file are read for its header in the first and second attempt. The decoder takes whole
/// files.
const PREFIXES: [u64; 2] = [8 << 10, 256 << 10];

/// Size and orientation of the image at `path`. Reads as little of the file as possible.
pub(crate) fn read_header(path: &Path) -> Result<ImageHeader, DataError> {
    let mut file = open(path).map_err(DataError::io(path))?;
    let mut start = Vec::new();
    for length in PREFIXES {
        read_up_to(&mut file, &mut start, length).map_err(DataError::io(path))?;
        if image::guess_format(&start).ok() != Some(ImageFormat::Jpeg) {
            // Other decoders read only what they need.
            let rest = BufReader::new(File::open(path).map_err(DataError::io(path))?);
            return guarded(path, || {
                require_decoder(&start)?;
                header(ImageReader::new(rest))
            });
        }
        // The whole file was read, or it ended inside the header.
        if (start.len() as u64) < length {
            break;
        }
        if let Ok(header) = guarded(path, || header(ImageReader::new(Cursor::new(&start)))) {
            return Ok(header);
        }
    }
    read_up_to(&mut file, &mut start, u64::MAX).map_err(DataError::io(path))?;
    guarded(path, || header(ImageReader::new(Cursor::new(&start))))
}

/// Reads until `bytes` has this length or the file ends.
fn read_up_to(file: &mut File, bytes: &mut Vec<u8>, length: u64) -> std::io::Result<()> {
    let more = length.saturating_sub(bytes.len() as u64);
    file.take(more).read_to_end(bytes).map(drop)
}

fn header<R: std::io::BufRead + std::io::Seek>(reader: ImageReader<R>) -> ImageResult<ImageHeader> {
    let mut decoder = reader.with_guessed_format()?.into_decoder()?;
    Ok(ImageHeader {
        stored: decoder.dimensions(),
        orientation: orientation(&mut decoder),
    })
}

/// The orientation of an image; no transform if its metadata is malformed.
pub(crate) fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    // Some WebP writers put JPEG's marker before the metadata.
    let exif = decoder.exif_metadata().ok().flatten();
    let marked = exif
        .as_deref()
        .and_then(|exif| exif.strip_prefix(b"Exif\0\0"));
    let marked = marked.map(Orientation::from_exif_chunk);
    marked
        .unwrap_or_else(|| decoder.orientation().ok())
        .unwrap_or(Orientation::NoTransforms)
}

/// Runs a decoder on the file at `path`. Panics become errors.
pub(crate) fn guarded<T>(
    path: &Path,
    decoder: impl FnOnce() -> ImageResult<T>,
) -> Result<T, DataError> {
    let decoded = panics::catch(decoder).map_err(|cause| DataError::Decoder {
        path: path.to_path_buf(),
        cause,
    })?;
    decoded.map_err(|source| DataError::Image {
        path: path.to_path_buf(),
        source,
    })
}

/// Fails with the name of the format if `bytes` start like an image in an unsupported format. The extension is ignored:
/// HEIF files from phones are often renamed.
fn require_decoder(bytes: &[u8]) -> ImageResult<()> {
    let name = match (bytes.get(..4), bytes.get(4..8), bytes.get(8..12)) {
        (_, Some(b"ftyp"), Some(b"avif" | b"avis")) => "AVIF",
        (_, Some(b"ftyp"), Some([b'h', b'e', ..] | b"mif1" | b"msf1")) => "HEIF",
        (_, Some(b"jP  "), _) => "JPEG 2000",
        (Some([0xff, 0x0a, ..]), _, _) | (_, Some(b"JXL "), _) => "JPEG XL",
        _ => return Ok(()),
    };
    let hint = ImageFormatHint::Name(name.into());
    let kind = UnsupportedErrorKind::Format(hint.clone());
    Err(ImageError::Unsupported(
        UnsupportedError::from_format_and_kind(hint, kind),
    ))
}

fn decode(bytes: &[u8], pixels: Pixels) -> ImageResult<DynamicImage> {
    require_decoder(bytes)?;
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    // The decoder fills missing rows with gray.
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_complete(bytes) {
        let format = ImageFormat::Jpeg.into();
        let cause = "the file is truncated";
        return Err(ImageError::Decoding(DecodingError::new(format, cause)));
    }
    let mut decoder = reader.into_decoder()?;
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = orientation(&mut decoder);
    let mut image = DynamicImage::from_decoder(decoder)?;
    if pixels == Pixels::Upright {
        image.apply_orientation(orientation);
    }
    Ok(image)
}

/// Whether the first image of a JPEG file has an end-of-image marker (ITU-T T.81, annex B). Images inside segments,
/// such as thumbnails, are skipped. Anything after the marker, such as the video of a motion photo, is ignored.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let marker = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && is_marker(pair[1]));
        let Some(marker) = marker.map(|offset| at + offset) else {
            return false;
        };
        at = match bytes[marker + 1] {
            // EOI.
            0xd9 => return true,
            // SOI and TEM: no segment follows.
            0xd8 | 0x01 => marker + 2,
            // A segment, whose length includes the two bytes of the length. The entropy-coded data after SOS has no
            // markers except RST.
            _ => match bytes.get(marker + 2..marker + 4) {
                Some(length) => {
                    marker + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]))
                }
                None => return false,
            },
        };
    }
}

/// Whether a byte after 0xff makes a relevant marker. Stuffed zeros, fill bytes and RST markers are not.
fn is_marker(byte: u8) -> bool {
    !matches!(byte, 0x00 | 0xff | 0xd0..=0xd7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, a segment that contains EOI, a scan with a stuffed zero and RST, EOI.
    const COMPLETE: &[u8] = &[
        0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 0, 3, 1, 7, 0xff, 0,
        0xff, 0xd3, 9, 0xff, 0xd9,
    ];

    #[test]
    fn a_jpeg_is_complete_if_it_has_its_own_end_marker() {
        assert!(jpeg_is_complete(COMPLETE));
        for length in 0..COMPLETE.len() {
            assert!(!jpeg_is_complete(&COMPLETE[..length]), "{length}");
        }
        // Data with markers after the end of the image.
        let video = [COMPLETE, &[1, 2, 0xff, 0xda, 0xff, 0xd9, 3, 0xff, 0xda]].concat();
        assert!(jpeg_is_complete(&video));
        // A segment longer than the file.
        assert!(!jpeg_is_complete(&[
            0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 0xff, 0xd9
        ]));
    }
}
