//! Random compression.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Geometry, Sample};
use crate::DataError;
use crate::random::chance;

/// Gives the image the artifacts of JPEG compression, at a quality that is uniform between two values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct JpegArtifacts {
    /// Probability of artifacts, from 0 to 1.
    pub probability: f32,
    /// The lowest quality, from 1 to 100.
    pub min_quality: u8,
    /// The highest quality, from 1 to 100.
    pub max_quality: u8,
}

impl Default for JpegArtifacts {
    fn default() -> Self {
        Self {
            probability: 0.1,
            min_quality: 30,
            max_quality: 90,
        }
    }
}

impl JpegArtifacts {
    /// Sets the [probability](Self::probability).
    #[must_use]
    pub fn with_probability(mut self, probability: f32) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the [lowest](Self::min_quality) and the [highest](Self::max_quality) quality.
    #[must_use]
    pub fn with_quality(mut self, min: u8, max: u8) -> Self {
        (self.min_quality, self.max_quality) = (min, max);
        self
    }
}

impl Augmentation for JpegArtifacts {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !chance(self.probability, rng) {
            return Ok(sample);
        }
        let quality = rng.random_range(self.min_quality..=self.max_quality);
        let image = compressed(sample.image(), quality)
            .map_err(|error| DataError::augmentation("jpeg_artifacts", error))?;
        Ok(sample.map_to(image, Geometry::IDENTITY))
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)?;
        DataError::require_in_range("min_quality", self.min_quality, 1..=100)?;
        DataError::require_in_range("max_quality", self.max_quality, self.min_quality..=100)
    }
}

fn compressed(image: &RgbImage, quality: u8) -> image::ImageResult<RgbImage> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality).encode_image(image)?;
    Ok(image::load_from_memory_with_format(&file, ImageFormat::Jpeg)?.into_rgb8())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;

    use super::*;
    use crate::{BoundingBox, sample_rng};

    #[test]
    fn artifacts_grow_as_quality_falls() {
        let image = RgbImage::from_fn(67, 45, |x, y| {
            Rgb([
                (3 * x) as u8,
                (5 * y) as u8,
                if (x / 8 + y / 8) % 2 == 0 { 40 } else { 200 },
            ])
        });
        let sample = Sample::new(image.clone(), [(BoundingBox::new(3.0, 4.0, 20.5, 30.0), 2)]);
        let error = |quality| {
            let jpeg = JpegArtifacts::default()
                .with_probability(1.0)
                .with_quality(quality, quality);
            let result = jpeg
                .apply(sample.clone(), &mut sample_rng(0, 0, 0))
                .unwrap();
            assert_eq!(result.image().dimensions(), (67, 45));
            assert_eq!(
                (result.boxes(), result.labels()),
                (sample.boxes(), sample.labels())
            );
            let pairs = result.image().as_raw().iter().zip(image.as_raw());
            pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (3.0 * 67.0 * 45.0)
        };
        let errors = [100, 80, 40, 10].map(error);
        // Even at full quality, colors are subsampled.
        assert!(
            errors[0] < 4.0 && errors.is_sorted() && errors[3] > 2.0 * errors[0],
            "{errors:?}"
        );
    }
}
