//! Pictures of detections.

use std::path::Path;

use fcos_burn_boxes::Detection;
use fcos_burn_data::{Category, FileNames};
use fcos_burn_plot::{DrawnBox, annotated, draw_boxes};
use image::RgbImage;

/// Smaller pictures are enlarged to this shorter side in pixels, so that labels are legible.
const PICTURE_SIDE: u32 = 480;

/// Draws the detections on the image, which is enlarged if it is small.
pub fn picture(image: &RgbImage, detections: &[Detection], categories: &[Category]) -> RgbImage {
    annotated(image, &drawn_boxes(detections, categories), PICTURE_SIDE)
}

/// Draws the detections on a frame of a video, which keeps its size.
pub fn draw(frame: &mut RgbImage, detections: &[Detection], categories: &[Category]) {
    draw_boxes(frame, &drawn_boxes(detections, categories));
}

fn drawn_boxes(detections: &[Detection], categories: &[Category]) -> Vec<DrawnBox> {
    detections
        .iter()
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
        .collect()
}

/// Derives unique file names for pictures from the names of their images.
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
pub struct PictureNames(FileNames);

impl PictureNames {
    /// The file name of the image with the extension `.png`, numbered if it is already taken.
    pub fn name(&mut self, file: &Path) -> String {
        self.stem(file, None) + ".png"
    }

    /// The [`name`](Self::name) without the extension. `frame` is the number of a frame, which becomes a part of it:
    /// `street-000007`.
    pub fn stem(&mut self, file: &Path, frame: Option<u64>) -> String {
        let stem = file.file_stem().unwrap_or(file.as_os_str());
        let mut stem = stem.to_string_lossy().into_owned();
        stem.truncate(stem.floor_char_boundary(FileNames::MAX_STEM));
        if let Some(frame) = frame {
            stem += &format!("-{frame:06}");
        }
        self.0.unique(&stem)
    }
}
