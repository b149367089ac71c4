//! CSV: a table with a row for each detection.

use std::path::Path;

use fcos_burn_boxes::BoundingBox;
use fcos_burn_model::file::write_whole;
use serde::{Deserialize, Serialize};

use crate::{Error, ImageDetections};

/// A row of the table, whose columns are named like the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// The image file, or the animation of the frame.
    pub file: String,
    /// The number of the frame of an animation, from 1.
    pub frame: Option<u64>,
    /// Width of the image in pixels.
    pub width: u32,
    /// Height of the image in pixels.
    pub height: u32,
    /// Name of the class.
    pub class: String,
    /// Id of the class in the annotations that the detector was trained on.
    pub class_id: u64,
    /// Score in [0, 1].
    pub score: f32,
    /// Left edge in pixels of the image.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

/// The rows of the detections in an image.
pub fn rows(image: &ImageDetections) -> impl Iterator<Item = Row> {
    image.detections.iter().map(|detection| {
        let BoundingBox { x1, y1, x2, y2 } = BoundingBox::from_xywh(detection.bbox);
        Row {
            file: image.file.clone(),
            frame: image.frame,
            width: image.width,
            height: image.height,
            class: detection.category.clone(),
            class_id: detection.category_id,
            score: detection.score,
            x1,
            y1,
            x2,
            y2,
        }
    })
}

/// Writes the table, separated by commas, with a header. Fields with commas, quotes or line breaks are quoted. Images
/// without detections have no row.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write(path: &Path, images: &[ImageDetections]) -> Result<(), Error> {
    let malformed =
        |error: &dyn std::fmt::Display| Error::io(path)(std::io::Error::other(error.to_string()));
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    let header = [
        "file", "frame", "width", "height", "class", "class_id", "score", "x1", "y1", "x2", "y2",
    ];
    writer
        .write_record(header)
        .map_err(|error| malformed(&error))?;
    for row in images.iter().flat_map(rows) {
        writer.serialize(row).map_err(|error| malformed(&error))?;
    }
    let text = writer.into_inner().map_err(|error| malformed(&error))?;
    write_whole(path, &text).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use fcos_burn_boxes::Detection;
    use fcos_burn_data::Category;

    use super::*;

    #[test]
    fn tables_are_read_back_whatever_the_names() {
        let categories = Category::list(["cup, \"red\"", "two\nlines", "=1+1"]);
        let detection = |label| Detection {
            bbox: [0.1, 2.0, 33.3, 4.75],
            label,
            score: 0.3,
        };
        let found = [detection(2), detection(0), detection(1)];
        let file = Path::new("a, b/\"c\".jpg");
        let images = [
            ImageDetections::new(Path::new("empty.png"), (5, 5), &[], &categories),
            ImageDetections::new(file, (40, 30), &found, &categories),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("found.csv");
        write(&path, &images).unwrap();
        let read: Vec<Row> = csv::Reader::from_path(&path)
            .unwrap()
            .deserialize()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, rows(&images[1]).collect::<Vec<Row>>());
        let classes: Vec<&str> = read.iter().map(|row| row.class.as_str()).collect();
        assert_eq!(classes, ["=1+1", "cup, \"red\"", "two\nlines"]);
        assert_eq!(
            [read[0].x1, read[0].y1, read[0].x2, read[0].y2],
            found[0].bbox
        );
        // A table without rows has a header.
        write(&path, &images[..1]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("file,frame,") && text.lines().count() == 1,
            "{text}"
        );
    }
}
