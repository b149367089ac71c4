//! Pixels and sizes of image files.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::error::DecodingError;
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, ImageResult, RgbImage};

use crate::DataError;
use crate::loader::panic_message;

/// Decodes the image at `path`, by its content rather than by its extension, without applying an EXIF orientation: the
/// pixels that [`DetectionDataset::image`](crate::DetectionDataset::image) would give. Grey values, palettes, 16-bit and
/// CMYK colours become RGB, an alpha channel is dropped, and of an animation the first picture is taken.
///
/// # Errors
///
/// A file that cannot be read or decoded, or that would take more than 512 MiB of memory.
pub fn read_image(path: &Path) -> Result<RgbImage, DataError> {
    let mut bytes = Vec::new();
    open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(DataError::io(path))?;
    Ok(guarded(path, || decode(&bytes))?.into_rgb8())
}

/// Width and height of an image, from its header.
pub(crate) fn image_size(path: &Path) -> Result<(u32, u32), DataError> {
    let reader = open(path)
        .and_then(|file| ImageReader::new(BufReader::new(file)).with_guessed_format())
        .map_err(DataError::io(path))?;
    guarded(path, || reader.into_dimensions())
}

/// Opens a file. To open a pipe would be to wait for one who writes to it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// What a decoder gives for the file at `path`, also where it panics.
fn guarded<T>(path: &Path, decoder: impl FnOnce() -> ImageResult<T>) -> Result<T, DataError> {
    let decoded = catch_unwind(AssertUnwindSafe(decoder)).map_err(|panic| DataError::Decoder {
        path: path.to_path_buf(),
        cause: panic_message(panic.as_ref()),
    })?;
    decoded.map_err(|source| DataError::Image {
        path: path.to_path_buf(),
        source,
    })
}

fn decode(bytes: &[u8]) -> ImageResult<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    // The decoder would fill what is missing with grey.
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_whole(bytes) {
        let format = ImageFormat::Jpeg.into();
        let cause = "the file ends before its image does";
        return Err(ImageError::Decoding(DecodingError::new(format, cause)));
    }
    reader.decode()
}

/// Whether the first image of a JPEG file has an end (ITU-T T.81, annex B). Other images in its segments, such as a
/// thumbnail, do not count, and neither does what follows it, such as the film of a moving photograph.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
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
            // The end of the image.
            0xd9 => return true,
            // Its start, and one for private use: no segment follows.
            0xd8 | 0x01 => marker + 2,
            // A segment, whose length counts itself. Compressed data that comes after it has no markers.
            _ => match bytes.get(marker + 2..marker + 4) {
                Some(length) => {
                    marker + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]))
                }
                None => return false,
            },
        };
    }
}

/// Whether a byte behind 0xff makes a marker: not where it is a byte of compressed data, fills, or says that coding
/// restarts.
fn is_marker(byte: u8) -> bool {
    !matches!(byte, 0x00 | 0xff | 0xd0..=0xd7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, a segment with an image's end in it, a scan with stuffing and a restart, the end.
    const WHOLE: &[u8] = &[
        0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 0, 3, 1, 7, 0xff, 0,
        0xff, 0xd3, 9, 0xff, 0xd9,
    ];

    #[test]
    fn a_jpeg_is_whole_up_to_its_own_end() {
        assert!(jpeg_is_whole(WHOLE));
        for length in 0..WHOLE.len() {
            assert!(!jpeg_is_whole(&WHOLE[..length]), "{length}");
        }
        // The start of a scan in what follows.
        let film = [WHOLE, &[1, 2, 0xff, 0xda, 0xff, 0xd9, 3, 0xff, 0xda]].concat();
        assert!(jpeg_is_whole(&film));
        // A segment that claims more than there is.
        assert!(!jpeg_is_whole(&[
            0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 0xff, 0xd9
        ]));
    }
}
