//! Pictures in files.

use std::path::Path;

use image::RgbImage;

use crate::PlotError;

/// Writes a picture in the format given by the extension of `path`: PNG, JPEG, WebP, BMP,
/// GIF or TIFF. If this fails, no new file stays.
///
/// # Errors
///
/// [`PlotError::Draw`] names the file and the cause.
pub fn save_picture(path: &Path, picture: &RgbImage) -> Result<(), PlotError> {
    let is_new = !path.exists();
    picture.save(path).map_err(|error| {
        if is_new {
            // The first error is the one that is reported.
            let _ = std::fs::remove_file(path);
        }
        PlotError::Draw {
            path: path.to_owned(),
            cause: error.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;

    use super::*;

    #[test]
    fn a_saved_png_has_the_same_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let picture = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8, y as u8, 200]));
        save_picture(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), picture);
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["picture.unknown", "absent/picture.png"] {
            let path = folder.path().join(name);
            let error = save_picture(&path, &RgbImage::new(2, 2)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let notes = folder.path().join("notes.txt");
        std::fs::write(&notes, "mine").unwrap();
        assert!(save_picture(&notes, &RgbImage::new(2, 2)).is_err());
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), "mine");
    }
}
