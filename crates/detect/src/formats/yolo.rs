//! YOLO: a text file for each image.

use std::{
    collections::HashMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use fcos_burn_data::Category;
use fcos_burn_model::file::write_whole;

use crate::{Error, ImageDetections, pictures::PictureNames};

/// The file of the class names, one per line.
pub const CLASSES: &str = "classes.txt";

/// The folder of the text files.
pub const LABELS: &str = "labels";

/// The columns of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Columns {
    /// `class cx cy w h`, as in data sets.
    #[default]
    Box,
    /// `class cx cy w h score`.
    BoxAndScore,
}

/// The lines of the detections in an image: class index, center and size of the box as fractions of the image's
/// width and height, and the score if `columns` has one. `categories` are those of the detector.
pub fn labels(image: &ImageDetections, columns: Columns, categories: &[Category]) -> String {
    let labels: HashMap<(u64, &str), usize> = (categories.iter())
        .map(|category| (category.id, category.name.as_str()))
        .zip(0..)
        .collect();
    let size = [image.width, image.height].map(f64::from);
    let mut text = String::new();
    for detection in &image.detections {
        let key = (detection.category_id, detection.category.as_str());
        let Some(label) = labels.get(&key) else {
            continue;
        };
        let [x, y, width, height] = detection.bbox;
        let center = [(x + width / 2.0) / size[0], (y + height / 2.0) / size[1]];
        let ([cx, cy], [w, h]) = (center, [width / size[0], height / size[1]]);
        // Writing to a string cannot fail.
        let _ = write!(text, "{label} {cx} {cy} {w} {h}");
        let _ = match columns {
            Columns::Box => writeln!(text),
            Columns::BoxAndScore => writeln!(text, " {}", detection.score),
        };
    }
    text
}

/// Writes [`CLASSES`], and a text file for each image in the subfolder [`LABELS`] of `dir`, which is created. The files
/// have the names of the [pictures](PictureNames). An image without detections has an empty file. Returns the files.
///
/// # Errors
///
/// Fails if a class name has a line break, which the list of classes cannot represent. Names the
/// file or folder that cannot be written.
pub fn write(
    dir: &Path,
    images: &[ImageDetections],
    columns: Columns,
    categories: &[Category],
) -> Result<Vec<PathBuf>, Error> {
    let folder = dir.join(LABELS);
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let list = dir.join(CLASSES);
    write_whole(&list, class_list(dir, categories)?.as_bytes()).map_err(Error::io(&list))?;
    let mut files = vec![list];
    let mut names = PictureNames::default();
    for image in images {
        let stem = names.stem(Path::new(&image.file), image.frame);
        let file = folder.join(format!("{stem}.txt"));
        let text = labels(image, columns, categories);
        fs::write(&file, text).map_err(Error::io(&file))?;
        files.push(file);
    }
    Ok(files)
}

/// The content of [`CLASSES`] in the folder `dir`.
///
/// # Errors
///
/// Fails if a class name has a line break.
pub(crate) fn class_list(dir: &Path, categories: &[Category]) -> Result<String, Error> {
    let mut list = String::new();
    for Category { name, .. } in categories {
        if name.contains(['\n', '\r']) {
            let cause = format!("the class name {name:?} has a line break");
            return Err(Error::io(&dir.join(CLASSES))(std::io::Error::other(cause)));
        }
        list.push_str(name);
        list.push('\n');
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_boxes::Detection;
    use fcos_burn_data::DetectionDataset;
    use image::RgbImage;

    use super::*;

    fn images(categories: &[Category]) -> [ImageDetections; 2] {
        let detection = |bbox, label| Detection {
            bbox,
            label,
            score: 0.25,
        };
        let found = [
            detection([1.5, 2.0, 11.25, 9.0], 1),
            detection([0.0, 0.0, 40.0, 30.0], 0),
        ];
        ["a.x.png", "b.png"].map(|file| {
            let found = if file == "b.png" { &[][..] } else { &found };
            ImageDetections::new(Path::new(file), (40, 30), found, categories)
        })
    }

    #[test]
    fn files_are_read_back_as_a_data_set() {
        let categories = Category::list(["cat", "red cup"]);
        let images = images(&categories);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &images, Columns::Box, &categories).unwrap();
        let pictures = dir.path().join("images");
        fs::create_dir(&pictures).unwrap();
        for image in &images {
            let pixels = RgbImage::new(image.width, image.height);
            pixels.save(pictures.join(&image.file)).unwrap();
        }
        let read = DetectionDataset::yolo(dir.path(), None).unwrap();
        let names = read
            .categories()
            .iter()
            .map(|category| category.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["cat", "red cup"]);
        assert_eq!(read.images().len(), 2);
        let objects = read.images()[0].objects.iter();
        let objects: Vec<_> = objects
            .map(|object| (object.label, object.bbox.to_xyxy()))
            .collect();
        assert_eq!(
            objects,
            [(1, [1.5, 2.0, 11.25, 9.0]), (0, [0.0, 0.0, 40.0, 30.0])]
        );
        assert!(read.images()[1].objects.is_empty());
    }

    #[test]
    fn scores_are_a_sixth_column() {
        let categories = Category::list(["cat", "red cup"]);
        let [image, _] = images(&categories);
        let text = labels(&image, Columns::BoxAndScore, &categories);
        assert_eq!(text.lines().nth(1), Some("0 0.5 0.5 1 1 0.25"));
    }

    #[test]
    fn class_names_with_line_breaks_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let categories = Category::list(["two\nlines"]);
        let error = write(dir.path(), &[], Columns::Box, &categories).unwrap_err();
        assert!(error.to_string().contains("line break"), "{error}");
    }
}
