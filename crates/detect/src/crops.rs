//! The pixels of each detection as a picture of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fcos_burn_boxes::Detection;
use fcos_burn_data::{Category, FileNames};
use fcos_burn_plot::save_picture;
use image::{RgbImage, imageops};

use crate::Error;

/// Characters that Windows does not allow in names.
const INVALID: &str = "<>:\"/\\|?*";

/// Names of devices of Windows, in upper case, which no file or folder can have.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// A folder with a subfolder for each class.
///
/// Subfolders are named like the classes. Characters that some systems do not allow are replaced
/// by `_`, and names that then differ at most in case are numbered.
#[derive(Clone, Debug)]
pub struct CropFolder {
    path: PathBuf,
    /// The name of the subfolder of each class.
    names: Vec<String>,
}

impl CropFolder {
    /// The folder at `path` for detections of these classes. Nothing is created yet.
    pub fn new(path: &Path, categories: &[Category]) -> Self {
        let mut names = FileNames::default();
        let name = |category: &Category| names.give(&valid(&category.name), "");
        Self {
            path: path.to_owned(),
            names: categories.iter().map(name).collect(),
        }
    }

    /// Writes the pixels in each box to `CLASS/STEM-N.png`, with N from 1 in the order of the detections. A box
    /// is extended to whole pixels and clipped to the image. Labels without a class are skipped.
    ///
    /// # Errors
    ///
    /// Names the file or folder that cannot be written.
    pub fn save(
        &self,
        stem: &str,
        image: &RgbImage,
        detections: &[Detection],
    ) -> Result<(), Error> {
        for (number, detection) in (1..).zip(detections) {
            let Some(name) = self.names.get(detection.label) else {
                continue;
            };
            let folder = self.path.join(name);
            fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
            let file = folder.join(format!("{stem}-{number}.png"));
            save_picture(&file, &crop(image, detection.bbox))?;
        }
        Ok(())
    }
}

/// The pixels that a box touches, at least one.
fn crop(image: &RgbImage, [x1, y1, x2, y2]: [f32; 4]) -> RgbImage {
    let span = |start: f32, end: f32, side: u32| {
        let first = (start.floor() as u32).min(side.saturating_sub(1));
        let last = (end.ceil() as u32).clamp(first, side).max(first + 1);
        (first, last - first)
    };
    let ((x, width), (y, height)) = (span(x1, x2, image.width()), span(y1, y2, image.height()));
    imageops::crop_imm(image, x, y, width, height).to_image()
}

/// A name that all systems allow for a folder.
fn valid(name: &str) -> String {
    let replace = |char: char| match char {
        char if char.is_control() || INVALID.contains(char) => '_',
        char => char,
    };
    let name: String = name.chars().map(replace).collect();
    let name = name.trim_end_matches(['.', ' ']);
    let upper = name.split('.').next().unwrap_or_default().to_uppercase();
    let is_port = |prefix| {
        let number = upper.strip_prefix(prefix);
        number.is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
    };
    match DEVICES.contains(&upper.as_str()) || is_port("COM") || is_port("LPT") {
        true => format!("_{name}"),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;

    use super::*;

    #[test]
    fn every_class_has_a_valid_folder_of_its_own() {
        let names = [
            "cat",
            "Cat",
            "a/b",
            "a?b",
            "..",
            "",
            "nul",
            "com1.x",
            "end. ",
            "name, with comma",
        ];
        let folder = CropFolder::new(Path::new("crops"), &Category::list(names));
        let expected = [
            "cat",
            "Cat-2",
            "a_b",
            "a_b-2",
            "_",
            "_-2",
            "_nul",
            "_com1.x",
            "end",
            "name, with comma",
        ];
        assert_eq!(folder.names, expected);
    }

    #[test]
    fn crops_have_the_pixels_of_their_boxes() {
        let image = RgbImage::from_fn(20, 10, |x, y| Rgb([x as u8, y as u8, 7]));
        let dir = tempfile::tempdir().unwrap();
        let folder = CropFolder::new(dir.path(), &Category::list(["cat", "dog"]));
        let detection = |bbox, label| Detection {
            bbox,
            label,
            score: 0.5,
        };
        let boxes = [
            detection([2.2, 3.0, 6.0, 4.5], 1),
            detection([-5.0, -5.0, 99.0, 99.0], 0),
            detection([20.0, 10.0, 20.0, 10.0], 0),
        ];
        folder.save("a", &image, &boxes).unwrap();
        let read = |name: &str| image::open(dir.path().join(name)).unwrap().into_rgb8();
        assert_eq!(read("cat/a-2.png"), image);
        let dog = read("dog/a-1.png");
        assert_eq!(dog.dimensions(), (4, 2));
        assert_eq!((dog[(0, 0)], dog[(3, 1)]), (image[(2, 3)], image[(5, 4)]));
        // A box without area has the nearest pixel.
        assert_eq!(read("cat/a-3.png")[(0, 0)], image[(19, 9)]);
    }
}
