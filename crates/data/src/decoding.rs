//! Image files: which they are, their pixels and their sizes.

use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use image::error::DecodingError;
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, ImageResult, RgbImage};

use crate::files::{entries, open};
use crate::{DataError, panics};

/// Decodes the image at `path` to 8-bit RGB, by its content rather than by its extension.
///
/// Gray levels, palettes, 16-bit and CMYK colors become RGB. Alpha channels are dropped. Of an animation, the first frame
/// is taken. EXIF orientations are not applied: these are the pixels that
/// [`DetectionDataset::image`](crate::DetectionDataset::image) returns.
///
/// # Errors
///
/// [`DataError::Io`], [`DataError::Image`] or [`DataError::Decoder`] if the file cannot be read or decoded, is a truncated
/// JPEG file, or takes more than 512 MiB of memory.
pub fn read_image(path: &Path) -> Result<RgbImage, DataError> {
    let mut bytes = Vec::new();
    open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(DataError::io(path))?;
    Ok(guarded(path, || decode(&bytes))?.into_rgb8())
}

/// The files in `folder` whose extension is that of a supported image format, sorted by name.
///
/// # Errors
///
/// [`DataError::MissingFolder`], or [`DataError::Io`] if the folder cannot be read.
pub fn image_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, DataError> {
    let folder = folder.as_ref();
    if !folder.is_dir() {
        let path = folder.to_path_buf();
        return Err(DataError::MissingFolder { path });
    }
    let mut paths = entries(folder)?;
    paths.retain(|path| has_image_extension(path) && !path.is_dir());
    Ok(paths)
}

/// Whether a path ends with the extension of a supported image format.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp"];
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// Width and height of an image, from its header.
pub(crate) fn image_size(path: &Path) -> Result<(u32, u32), DataError> {
    let reader = open(path)
        .and_then(|file| ImageReader::new(BufReader::new(file)).with_guessed_format())
        .map_err(DataError::io(path))?;
    guarded(path, || reader.into_dimensions())
}

/// The result of a decoder on the file at `path`. Its panics become errors.
fn guarded<T>(path: &Path, decoder: impl FnOnce() -> ImageResult<T>) -> Result<T, DataError> {
    let decoded = panics::catch(decoder).map_err(|cause| DataError::Decoder {
        path: path.to_path_buf(),
        cause,
    })?;
    decoded.map_err(|source| DataError::Image {
        path: path.to_path_buf(),
        source,
    })
}

fn decode(bytes: &[u8]) -> ImageResult<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    // The decoder fills missing rows with gray.
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_complete(bytes) {
        let format = ImageFormat::Jpeg.into();
        let cause = "the file is truncated";
        return Err(ImageError::Decoding(DecodingError::new(format, cause)));
    }
    reader.decode()
}

/// Whether the first image of a JPEG file has an end-of-image marker (ITU-T T.81, annex B). Images inside segments, such
/// as thumbnails, do not count, and neither does anything after the marker, such as the video of a motion photo.
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

/// Whether a byte after 0xff makes a marker that matters here. Stuffed zeros, fill bytes and RST markers do not.
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
    fn a_jpeg_is_complete_with_its_own_end_marker() {
        assert!(jpeg_is_complete(COMPLETE));
        for length in 0..COMPLETE.len() {
            assert!(!jpeg_is_complete(&COMPLETE[..length]), "{length}");
        }
        // Data with markers after the end.
        let video = [COMPLETE, &[1, 2, 0xff, 0xda, 0xff, 0xd9, 3, 0xff, 0xda]].concat();
        assert!(jpeg_is_complete(&video));
        // A segment longer than the file.
        assert!(!jpeg_is_complete(&[
            0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 0xff, 0xd9
        ]));
    }
}
