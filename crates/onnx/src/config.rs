//! What an exported detector takes and returns.

use fcos_burn_model::ConfigError;

/// How a detector is exported. The default takes RGB bytes of any size and returns detections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnnxConfig {
    /// What the graph returns.
    pub outputs: Outputs,
    /// What the graph takes.
    pub pixels: Pixels,
    /// The number format of the stored weights.
    pub weights: WeightFormat,
    /// The number of images, or `None` for any number.
    pub batch: Option<usize>,
    /// `[height, width]` of the images in pixels, or `None` for any size.
    pub image_size: Option<[usize; 2]>,
}

/// The outputs of an exported detector.
///
/// Boxes are `[x1, y1, x2, y2]` in pixels of the input, clipped to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outputs {
    /// The head's predictions, maps for each level with stride `s`:
    ///
    /// - `class_logits_s`: `[batch, classes, height, width]`
    /// - `distances_s`: `[batch, 4, height, width]`, left, top, right and bottom in pixels
    /// - `centerness_logits_s` or `iou_logits_s`: `[batch, 1, height, width]`, if the head predicts
    ///   them
    Raw,
    /// Boxes and scores at all locations, level by level and each level in row-major order:
    ///
    /// - `boxes`: `[batch, locations, 4]`
    /// - `scores`: `[batch, locations, classes]`, the class probability p̂, or p̂^α·q^(1−α) with a
    ///   quality q, center-ness or IoU, and the score exponent α, normally 0.5
    Boxes,
    /// The detections of each image, by descending score, after thresholds and `NonMaxSuppression`
    /// within each class, or across classes if the detector suppresses so. With D = [`detections_per_image`]:
    ///
    /// - `boxes`: `[batch, D, 4]`
    /// - `scores`: `[batch, D]`
    /// - `labels`: `[batch, D]`, 64-bit integers
    /// - `counts`: `[batch]`, 64-bit integers, the number of detections. Rows from there on have
    ///   label −1, score 0 and a box of zeros.
    ///
    /// [`detections_per_image`]: fcos_burn_model::postprocess::PostprocessConfig::detections_per_image
    #[default]
    Detections,
}

/// The pixel values that an exported detector takes, as `images`: `[batch, 3, height, width]` in 32
/// bits, of the size of the resized image. The graph pads them to the multiple of pixels that the
/// detector's [`InputConfig`](fcos_burn_detect::InputConfig) asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pixels {
    /// RGB from 0 to 255, which the graph normalizes.
    #[default]
    RgbBytes,
    /// Normalized values, in the channel order of the detector's
    /// [`Normalization`](fcos_burn_data::Normalization).
    Normalized,
}

/// The number format in which convolution weights are stored. The graph computes in 32 bits with
/// either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightFormat {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, for a file of half the size. The weights are rounded.
    F16,
}

impl OnnxConfig {
    /// Sets [`outputs`](Self::outputs).
    #[must_use]
    pub fn with_outputs(self, outputs: Outputs) -> Self {
        Self { outputs, ..self }
    }

    /// Sets [`pixels`](Self::pixels).
    #[must_use]
    pub fn with_pixels(self, pixels: Pixels) -> Self {
        Self { pixels, ..self }
    }

    /// Sets [`weights`](Self::weights).
    #[must_use]
    pub fn with_weights(self, weights: WeightFormat) -> Self {
        Self { weights, ..self }
    }

    /// Sets [`batch`](Self::batch).
    #[must_use]
    pub fn with_batch(self, batch: Option<usize>) -> Self {
        Self { batch, ..self }
    }

    /// Sets [`image_size`](Self::image_size).
    #[must_use]
    pub fn with_image_size(self, image_size: Option<[usize; 2]>) -> Self {
        Self { image_size, ..self }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let batch = self.batch.map(|batch| ("batch", batch));
        let sides = self.image_size.into_iter().flatten();
        let sides = sides.map(|side| ("image_size", side));
        for (field, value) in batch.into_iter().chain(sides) {
            // Keeps products of lengths far below the range of 64-bit integers.
            let holds = (1..=1 << 15).contains(&value);
            ConfigError::ensure(holds, field, value, "from 1 to 32768")?;
        }
        Ok(())
    }
}
