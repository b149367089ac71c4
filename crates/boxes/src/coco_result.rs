//! Detections in the format that COCO's evaluation reads.

use serde::{Deserialize, Serialize};

/// A detection in the [COCO results format](https://cocodataset.org/#format-results).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CocoResult {
    /// The id of the image in the annotations.
    pub image_id: u64,
    /// The id of the category in the annotations.
    pub category_id: u64,
    /// Box `[x, y, width, height]` in pixels of the original image, with its top left corner at
    /// `(x, y)`.
    pub bbox: [f64; 4],
    /// Score in [0, 1].
    pub score: f64,
}
