//! Pictures of detections.

use std::{collections::HashSet, path::Path};

use fcos_burn_boxes::Detection;
use fcos_burn_data::Category;
use fcos_burn_plot::{DrawnBox, annotated};
use image::RgbImage;

/// Detections below this score are not drawn.
pub const DRAWN_SCORE: f32 = 0.3;

/// Shorter side in pixels to which smaller pictures are enlarged, so that labels can be read.
const PICTURE_SIDE: u32 = 480;

/// The image, enlarged if it is small, with the detections of at least
/// [`DRAWN_SCORE`].
pub fn picture(image: &RgbImage, detections: &[Detection], categories: &[Category]) -> RgbImage {
    let boxes: Vec<DrawnBox> = detections
        .iter()
        .filter(|detection| detection.score >= DRAWN_SCORE)
        .map(|detection| {
            let name = categories
                .get(detection.label)
                .map_or("?", |category| &category.name);
            DrawnBox {
                bbox: detection.bbox,
                text: format!("{name} {:.2}", detection.score),
                class: detection.label,
            }
        })
        .collect();
    annotated(image, &boxes, PICTURE_SIDE)
}

/// Names pictures after their images, each name once.
///
/// ```
/// use std::path::Path;
/// use fcos_burn_detect::pictures::PictureNames;
///
/// let mut names = PictureNames::default();
/// assert_eq!(names.name(Path::new("street/1.jpg")), "1.png");
/// assert_eq!(names.name(Path::new("harbor/1.jpg")), "1-2.png");
/// ```
#[derive(Clone, Debug, Default)]
pub struct PictureNames {
    /// In lower case: not every file system tells `a.png` from `A.png`.
    taken: HashSet<String>,
}

impl PictureNames {
    /// The image's name without folders, as PNG; numbered if an earlier image has it.
    pub fn name(&mut self, file: &Path) -> String {
        let stem = file.file_stem().unwrap_or(file.as_os_str());
        let stem = stem.to_string_lossy();
        let mut name = format!("{stem}.png");
        let mut number = 1;
        while !self.taken.insert(name.to_lowercase()) {
            number += 1;
            name = format!("{stem}-{number}.png");
        }
        name
    }
}
