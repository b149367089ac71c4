//! Detections with the names of their classes.

use std::path::Path;

use fcos_burn_boxes::{BoundingBox, Detection};
use fcos_burn_data::Category;
use serde::{Deserialize, Serialize};

/// The detections in an image, in the format of JSON files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageDetections {
    /// The image file, or the animation or video of the frame.
    pub file: String,
    /// The number of the frame of an animation or video, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// Width of the image in pixels.
    pub width: u32,
    /// Height of the image in pixels.
    pub height: u32,
    /// The detections, by descending score.
    pub detections: Vec<CategoryDetection>,
}

/// A detection with its category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CategoryDetection {
    /// Name of the category.
    pub category: String,
    /// Id of the category in the annotations that the detector was trained on.
    pub category_id: u64,
    /// Score in [0, 1].
    pub score: f32,
    /// Left, top, width and height in pixels of the image.
    pub bbox: [f64; 4],
}

impl ImageDetections {
    /// The detections in the image `file` of `(width, height)` pixels. Labels without a category
    /// are skipped.
    pub fn new(
        file: &Path,
        (width, height): (u32, u32),
        detections: &[Detection],
        categories: &[Category],
    ) -> Self {
        let detections = detections
            .iter()
            .filter_map(|detection| {
                let category = categories.get(detection.label)?;
                Some(CategoryDetection {
                    category: category.name.clone(),
                    category_id: category.id,
                    score: detection.score,
                    bbox: BoundingBox::from_xyxy(detection.bbox).to_xywh(),
                })
            })
            .collect();
        Self {
            file: file.display().to_string(),
            frame: None,
            width,
            height,
            detections,
        }
    }

    /// Sets [`frame`](Self::frame).
    #[must_use]
    pub fn with_frame(self, frame: Option<u64>) -> Self {
        Self { frame, ..self }
    }

    /// The name of the image, which no other one has: the file, and for frames their number after `#`.
    pub fn name(&self) -> String {
        match self.frame {
            Some(frame) => format!("{}#{frame}", self.file),
            None => self.file.clone(),
        }
    }
}
