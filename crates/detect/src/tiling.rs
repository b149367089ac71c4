//! Detection in large images, window by window.

use fcos_burn_boxes::Detection;
use fcos_burn_data::transforms::Resize;
use fcos_burn_model::{ConfigError, backbone::Backbone};
use image::{RgbImage, imageops};

use crate::{
    Detector, Error,
    seams::{Sides, View, merged},
};

/// How an image is divided into overlapping windows. See [`Detector::detect_tiled`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tiling {
    /// Width and height of a window in pixels of the image.
    pub size: (u32, u32),
    /// The share of a window's width and height by which neighbors overlap at least, from 0 to 0.9. Choose it so that
    /// most objects fit into the overlap: some window then sees them whole.
    pub overlap: f32,
    /// The size at which a window enters the network; `None` for its own size.
    pub resize: Option<Resize>,
    /// The largest number of windows that go through the network at once. A row of windows is the limit.
    pub batch_size: usize,
}

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Tiling {
    /// Windows of this width and height that overlap by a fifth and enter the network one by one
    /// at their own size.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            size: (width, height),
            overlap: 0.2,
            resize: None,
            batch_size: 1,
        }
    }

    /// Sets [`overlap`](Self::overlap).
    #[must_use]
    pub fn with_overlap(self, overlap: f32) -> Self {
        Self { overlap, ..self }
    }

    /// Sets [`resize`](Self::resize).
    #[must_use]
    pub fn with_resize(self, resize: Option<Resize>) -> Self {
        Self { resize, ..self }
    }

    /// Sets [`batch_size`](Self::batch_size).
    #[must_use]
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Checks every value except [`resize`](Self::resize).
    ///
    /// # Errors
    ///
    /// Names the first invalid value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (width, height) = self.size;
        for (field, side) in [("tiling.width", width), ("tiling.height", height)] {
            let holds = (16..=32_768).contains(&side);
            ConfigError::ensure(holds, field, side, "from 16 to 32768 pixels")?;
        }
        let holds = (0.0..=0.9).contains(&self.overlap);
        ConfigError::ensure(holds, "tiling.overlap", self.overlap, "from 0 to 0.9")?;
        let holds = self.batch_size > 0;
        ConfigError::ensure(holds, "tiling.batch_size", self.batch_size, "at least 1")
    }

    /// The windows over an image of this width and height, row by row.
    ///
    /// All have the same size: that of a tile, or of the image along a side on which it is smaller. Neighbors are a
    /// tile less the overlap apart, except that the last row and column are shifted inward to end with the image.
    ///
    /// ```
    /// use fcos_burn_detect::Tiling;
    ///
    /// let windows = Tiling::new(100, 80).windows((230, 60));
    /// let places: Vec<_> = windows.iter().map(|w| (w.x, w.y, w.width, w.height)).collect();
    /// assert_eq!(places, [(0, 0, 100, 60), (80, 0, 100, 60), (130, 0, 100, 60)]);
    /// ```
    pub fn windows(&self, (width, height): (u32, u32)) -> Vec<Window> {
        let overlap = self.overlap_pixels();
        let columns = starts(width, self.size.0, overlap[0]);
        let rows = starts(height, self.size.1, overlap[1]);
        let (width, height) = (width.min(self.size.0), height.min(self.size.1));
        let row = |y: u32| {
            let window = move |&x: &u32| Window {
                x,
                y,
                width,
                height,
            };
            columns.iter().map(window)
        };
        rows.into_iter().flat_map(row).collect()
    }

    /// The largest width and height of objects that are whole in some window, wherever they are.
    fn always_whole(&self, (width, height): (u32, u32)) -> [f32; 2] {
        let overlap = self.overlap_pixels();
        let largest = |side, tile, overlap: u32| {
            if side <= tile {
                f32::INFINITY
            } else {
                overlap as f32
            }
        };
        [
            largest(width, self.size.0, overlap[0]),
            largest(height, self.size.1, overlap[1]),
        ]
    }

    /// The pixels by which neighbors overlap at least, horizontally and vertically.
    fn overlap_pixels(&self) -> [u32; 2] {
        [self.size.0, self.size.1].map(|side| (self.overlap * side as f32) as u32)
    }
}

/// The first pixels of tiles that cover `length` pixels.
fn starts(length: u32, tile: u32, overlap: u32) -> Vec<u32> {
    let step = tile.saturating_sub(overlap).max(1);
    let last = length.saturating_sub(tile);
    let regular = (0..last).step_by(step as usize);
    regular.chain([last]).collect()
}

impl Window {
    /// The window's edges in an image of this size.
    fn view(self, (width, height): (u32, u32)) -> View {
        let (right, bottom) = (self.x + self.width, self.y + self.height);
        View {
            edges: [self.x, self.y, right, bottom].map(|edge| edge as f32),
            inner: Sides([self.x > 0, self.y > 0, right < width, bottom < height]),
        }
    }
}

impl<B: Backbone> Detector<B> {
    /// Detects objects that would be too small if the whole image were resized to the network's input: in overlapping
    /// windows of the original image. Boxes are xyxy in pixels of the image; detections are sorted by descending
    /// score. An image that fits into one window is detected by [`detect`](Self::detect).
    ///
    /// Each window enters the network at [`Tiling::resize`], by default at its own size, and not at the size of
    /// [`input`](Self::input). Choose the size such that objects are as large as in training.
    ///
    /// The image as a whole, resized as by [`detect`](Self::detect), is one more view. It contributes the objects that
    /// are wider or higher than the overlap, which the windows may only see in parts; the windows see
    /// all others whole, and larger.
    ///
    /// Every object is to be detected once. A box of a window is *cut* if it touches an edge of the window that is
    /// inside the image (to 1 pixel, or 5% of the box). First, boxes of different windows that are not cut suppress each
    /// other by their overlap, as greedy suppression does. Of the cut ones, a box is dropped if more than half of it lies in
    /// a box that is not cut. Cut boxes that continue each other across a seam are then joined, and take the higher of their
    /// scores: both reach into the overlap, from opposite sides, and their extents along the seam have an IoU of at least
    /// 0.5. What is left is suppressed by IoU, and dropped if more than half of it lies in another box, boxes with fewer cut
    /// edges first. All this happens within the classes that can suppress each other.
    ///
    /// With [test-time augmentation](crate::TestTimeAugmentation), a window is detected in all views, as an image is, and
    /// its views are merged first.
    ///
    /// The limit of detections holds for each window. The image may have more, unless
    /// [`with_max_detections`](Self::with_max_detections) sets a limit for it.
    ///
    /// Besides the image, at most a row of windows is in memory.
    ///
    /// # Errors
    ///
    /// Fails if `tiling` has an invalid value, if the image cannot be resized, or if the device fails.
    pub fn detect_tiled(&self, image: &RgbImage, tiling: &Tiling) -> Result<Vec<Detection>, Error> {
        tiling.validate()?;
        let windows = tiling.windows(image.dimensions());
        if windows.len() <= 1 {
            return Ok(self.detect(std::slice::from_ref(image))?.concat());
        }
        let mut found = self.large_objects(image, tiling)?;
        let columns = windows.iter().take_while(|window| window.y == 0).count();
        for windows in windows.chunks(tiling.batch_size.min(columns)) {
            let pixels = windows.iter().map(|window| {
                let Window {
                    x,
                    y,
                    width,
                    height,
                } = *window;
                imageops::crop_imm(image, x, y, width, height).to_image()
            });
            let own = Resize::Fixed {
                width: windows[0].width,
                height: windows[0].height,
            };
            let input = self
                .input()
                .clone()
                .with_resize(tiling.resize.unwrap_or(own));
            input.validate().map_err(|error| error.within("tiling"))?;
            let pixels: Vec<RgbImage> = pixels.collect();
            let detections = self.detect_inputs(vec![input.batch(&pixels)?])?;
            for (window, detections) in windows.iter().zip(detections) {
                let view = window.view(image.dimensions());
                found.extend(detections.into_iter().map(|mut detection| {
                    let offset = [window.x, window.y, window.x, window.y];
                    for (edge, offset) in detection.bbox.iter_mut().zip(offset) {
                        *edge += offset as f32;
                    }
                    (detection, view)
                }));
            }
        }
        let mut merged = merged(found, self.model().postprocess());
        merged.truncate(self.max_detections().unwrap_or(usize::MAX));
        Ok(merged)
    }

    /// The objects that may be in no window as a whole, from the image as a whole.
    fn large_objects(
        &self,
        image: &RgbImage,
        tiling: &Tiling,
    ) -> Result<Vec<(Detection, View)>, Error> {
        let (width, height) = image.dimensions();
        let view = Window {
            x: 0,
            y: 0,
            width,
            height,
        }
        .view((width, height));
        let [most_width, most_height] = tiling.always_whole((width, height));
        let is_large =
            |Detection {
                 bbox: [x1, y1, x2, y2],
                 ..
             }: &Detection| { x2 - x1 > most_width || y2 - y1 > most_height };
        let batch = self.input().batch_of_large(image)?;
        let found = self.detect_inputs(vec![batch])?.concat();
        Ok(found
            .into_iter()
            .filter(is_large)
            .map(|detection| (detection, view))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::test_detector::{picture, untrained};

    #[test]
    fn windows_cover_every_pixel_and_have_the_full_size() {
        for size in [(230, 170), (100, 80), (99, 81), (20, 500), (101, 79)] {
            for overlap in [0.0, 0.2, 0.33, 0.9] {
                let windows = Tiling::new(100, 80).with_overlap(overlap).windows(size);
                let mut covered = vec![false; (size.0 * size.1) as usize];
                for window in &windows {
                    assert_eq!(
                        (window.width, window.height),
                        (size.0.min(100), size.1.min(80))
                    );
                    for y in window.y..window.y + window.height {
                        for x in window.x..window.x + window.width {
                            covered[(y * size.0 + x) as usize] = true;
                        }
                    }
                }
                assert!(covered.iter().all(|covered| *covered), "{size:?} {overlap}");
                let fits = size.0 <= 100 && size.1 <= 80;
                assert_eq!(windows.len() == 1, fits, "{size:?}");
            }
        }
    }

    /// In one dimension, and so in both: an interval of the length of the overlap is in one window.
    #[test]
    fn what_fits_into_the_overlap_is_whole_in_a_window() {
        let overlap = 30;
        let starts = starts(457, 100, overlap);
        for first in 0..=457 - overlap {
            let holds = |start: &u32| *start <= first && first + overlap <= start + 100;
            assert!(starts.iter().any(holds), "{first}");
        }
        // No window is superfluous.
        assert_eq!(starts, [0, 70, 140, 210, 280, 350, 357]);
    }

    #[test]
    fn invalid_tilings_are_refused() {
        for (tiling, field) in [
            (Tiling::new(8, 100), "width"),
            (Tiling::new(100, 100_000), "height"),
            (Tiling::new(100, 100).with_overlap(0.95), "overlap"),
            (Tiling::new(100, 100).with_overlap(f32::NAN), "overlap"),
            (Tiling::new(100, 100).with_batch_size(0), "batch_size"),
        ] {
            let error = tiling.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    fn detector() -> Detector {
        let resize = Resize::Fixed {
            width: 64,
            height: 64,
        };
        untrained(4, resize, 100)
    }

    #[test]
    fn an_image_of_one_tile_is_detected_without_tiles() {
        let detector = detector();
        let image = picture(90, 64);
        let expected = detector
            .detect(std::slice::from_ref(&image))
            .unwrap()
            .concat();
        assert!(!expected.is_empty());
        let found = detector.detect_tiled(&image, &Tiling::new(90, 64)).unwrap();
        assert_eq!(found, expected);
    }

    /// The batches do not matter, boxes are in the image, and a limit holds for the image.
    #[test]
    fn detections_of_tiles_are_in_pixels_of_the_image() {
        let detector = detector();
        let image = picture(150, 130);
        let tiling = Tiling::new(64, 64);
        let found = detector.detect_tiled(&image, &tiling).unwrap();
        assert!(found.len() > 100, "{}", found.len());
        assert!(
            found
                .iter()
                .any(|detection| detection.bbox[0] > 90.0 && detection.bbox[1] > 70.0)
        );
        for Detection {
            bbox: [x1, y1, x2, y2],
            ..
        } in &found
        {
            assert!(*x1 >= 0.0 && *y1 >= 0.0 && *x2 <= 150.0 && *y2 <= 130.0);
        }
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        let batched = detector
            .detect_tiled(&image, &tiling.clone().with_batch_size(2))
            .unwrap();
        assert_eq!(batched.len(), found.len());
        for (one, other) in batched.iter().zip(&found) {
            assert!((one.score - other.score).abs() < 1e-4);
        }
        let limited = detector.with_max_detections(7).unwrap();
        assert_eq!(limited.detect_tiled(&image, &tiling).unwrap().len(), 7);
    }
}
