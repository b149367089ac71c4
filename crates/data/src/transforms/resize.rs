//! Changes of scale.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageError, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Geometry, Sample};
use crate::DataError;

/// The largest side of a resized image, in pixels.
pub(super) const MAX_SIDE: u32 = 1 << 15;

/// How the pixels of a resized image are computed. Both variants are bilinear and give the same result when enlarging.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// From all source pixels that a new pixel covers, as in PIL and Detectron.
    #[default]
    Antialiased,
    /// From the four source pixels around the center of a new pixel, as in torchvision's detectors.
    Pointwise,
}

impl Interpolation {
    pub(crate) fn options(self) -> ResizeOptions {
        ResizeOptions::new().resize_alg(match self {
            Self::Antialiased => ResizeAlg::Convolution(FilterType::Bilinear),
            Self::Pointwise => ResizeAlg::Interpolation(FilterType::Bilinear),
        })
    }
}

/// Resizes every image to a fixed size or by its short side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Resize {
    /// To exactly this size, without keeping the aspect ratio.
    Fixed {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Keeps the aspect ratio: the shorter side becomes `short`, or less if the longer side would exceed `long`. Sides
    /// are rounded down to whole pixels, as in FCOS and torchvision.
    ShortSide {
        /// Pixels of the shorter side.
        short: u32,
        /// Largest number of pixels of the longer side.
        long: u32,
    },
}

impl Resize {
    /// Width and height after resizing an image of `width` x `height` pixels.
    ///
    /// ```
    /// use fcos_burn_data::transforms::Resize;
    /// let resize = Resize::ShortSide { short: 800, long: 1333 };
    /// assert_eq!(resize.target(640, 480), (1066, 800));
    /// assert_eq!(resize.target(2000, 500), (1333, 333));
    /// ```
    pub fn target(&self, width: u32, height: u32) -> (u32, u32) {
        match *self {
            Self::Fixed { width, height } => (width, height),
            Self::ShortSide { short, long } => {
                let (shorter, longer) =
                    (f64::from(width.min(height)), f64::from(width.max(height)));
                let factor = (f64::from(short) / shorter).min(f64::from(long) / longer);
                let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
                (side(width), side(height))
            }
        }
    }

    /// The same rule with all sides multiplied by `factor`, rounded to whole pixels and at least 1.
    ///
    /// ```
    /// use fcos_burn_data::transforms::Resize;
    /// let resize = Resize::ShortSide { short: 800, long: 1333 };
    /// assert_eq!(resize.scaled(0.5), Resize::ShortSide { short: 400, long: 667 });
    /// assert_eq!(resize.scaled(1.0), resize);
    /// ```
    #[must_use]
    pub fn scaled(&self, factor: f32) -> Self {
        let side = |side: u32| ((f64::from(side) * f64::from(factor)).round() as u32).max(1);
        match *self {
            Self::Fixed { width, height } => Self::Fixed {
                width: side(width),
                height: side(height),
            },
            Self::ShortSide { short, long } => Self::ShortSide {
                short: side(short),
                long: side(long),
            },
        }
    }

    /// A resized copy of an image.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`].
    pub fn image(
        &self,
        image: &RgbImage,
        interpolation: Interpolation,
    ) -> Result<RgbImage, DataError> {
        let size = self.target(image.width(), image.height());
        resampled(image, size, &interpolation.options())
    }

    /// Resizes the sample.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`].
    pub fn resize(
        &self,
        sample: Sample,
        interpolation: Interpolation,
    ) -> Result<Sample, DataError> {
        let (width, height) = sample.image().dimensions();
        resize_to(sample, self.target(width, height), interpolation)
    }
}

/// With [`Interpolation::Antialiased`].
impl Augmentation for Resize {
    fn apply(&self, sample: Sample, _rng: &mut dyn Rng) -> Result<Sample, DataError> {
        self.resize(sample, Interpolation::Antialiased)
    }

    fn validate(&self) -> Result<(), DataError> {
        match *self {
            Self::Fixed { width, height } => {
                DataError::require_in_range("fixed.width", width, 1..=MAX_SIDE)?;
                DataError::require_in_range("fixed.height", height, 1..=MAX_SIDE)
            }
            Self::ShortSide { short, long } => {
                DataError::require_in_range("short_side.short", short, 1..=MAX_SIDE)?;
                DataError::require_in_range("short_side.long", long, short..=MAX_SIDE)
            }
        }
    }
}

/// Scales both sides by a random factor, uniform between `min` and `max`, but to at most 32,768 pixels per side. Must
/// come after [`Resize`], which would undo it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScaleJitter {
    /// The smallest factor.
    pub min: f32,
    /// The largest factor.
    pub max: f32,
}

impl Default for ScaleJitter {
    fn default() -> Self {
        Self {
            min: 0.75,
            max: 1.25,
        }
    }
}

impl ScaleJitter {
    /// Sets the [smallest](Self::min) and the [largest](Self::max) factor.
    #[must_use]
    pub fn with_range(mut self, min: f32, max: f32) -> Self {
        (self.min, self.max) = (min, max);
        self
    }
}

impl Augmentation for ScaleJitter {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        let factor = f64::from(rng.random_range(self.min..=self.max));
        let (width, height) = sample.image().dimensions();
        let factor = factor.min(f64::from(MAX_SIDE) / f64::from(width.max(height)));
        let side = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
        resize_to(
            sample,
            (side(width), side(height)),
            Interpolation::Antialiased,
        )
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("min", self.min, 0.01..=100.0)?;
        DataError::require_in_range("max", self.max, self.min..=100.0)
    }
}

fn resize_to(
    sample: Sample,
    (width, height): (u32, u32),
    interpolation: Interpolation,
) -> Result<Sample, DataError> {
    let (old_width, old_height) = sample.image().dimensions();
    if (old_width, old_height) == (width, height) {
        return Ok(sample);
    }
    let image = resampled(sample.image(), (width, height), &interpolation.options())?;
    let scale = [
        width as f32 / old_width as f32,
        height as f32 / old_height as f32,
    ];
    let geometry = Geometry {
        scale,
        ..Geometry::IDENTITY
    };
    Ok(sample.map_to(image, geometry))
}

/// The part of an image with this left and top edge, width and height, resized to `size` with antialiasing.
pub(super) fn resized_part(
    image: &RgbImage,
    [left, top, width, height]: [f64; 4],
    size: (u32, u32),
) -> Result<RgbImage, DataError> {
    let options = Interpolation::Antialiased.options();
    resampled(image, size, &options.crop(left, top, width, height))
}

fn resampled(
    image: &RgbImage,
    size: (u32, u32),
    options: &ResizeOptions,
) -> Result<RgbImage, DataError> {
    resample(image, size, options).map_err(|source| DataError::Resize {
        from: image.dimensions(),
        to: size,
        source: source.into(),
    })
}

fn resample(
    image: &RgbImage,
    (width, height): (u32, u32),
    options: &ResizeOptions,
) -> Result<RgbImage, ResizeError> {
    let unsupported = |_| ImageError::UnsupportedPixelType;
    let mut resized = RgbImage::new(width, height);
    // Of a known type of pixels: otherwise, the code for all of them would be compiled.
    let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
        .map_err(unsupported)?;
    let mut target = TypedImage::from_buffer(width, height, &mut resized).map_err(unsupported)?;
    Resizer::new().resize_typed(&source, &mut target, options)?;
    Ok(resized)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::Rgb;

    use super::*;

    #[test]
    fn halving_averages_and_keeps_flat_images_flat() {
        let stripes = RgbImage::from_fn(64, 8, |x, _| {
            Rgb(if x % 2 == 0 { [0; 3] } else { [200; 3] })
        });
        let halve = |interpolation: Interpolation| {
            resample(&stripes, (32, 4), &interpolation.options()).unwrap()
        };
        let halved = halve(Interpolation::Antialiased);
        // Without antialiasing, columns would be 0 or 200.
        assert!(
            halved
                .enumerate_pixels()
                .filter(|(x, _, _)| (2..30).contains(x))
                .all(|(_, _, p)| p[0].abs_diff(100) < 30)
        );
        let flat = RgbImage::from_pixel(33, 17, Rgb([7, 99, 201]));
        assert!(
            resample(&flat, (50, 9), &Interpolation::Antialiased.options())
                .unwrap()
                .pixels()
                .all(|pixel| *pixel == Rgb([7, 99, 201]))
        );
    }

    #[test]
    fn the_short_side_rule_works_in_both_orientations() {
        let resize = Resize::ShortSide {
            short: 100,
            long: 150,
        };
        assert_eq!(resize.target(200, 160), (125, 100));
        assert_eq!(resize.target(160, 200), (100, 125));
        assert_eq!(resize.target(400, 100), (150, 37));
        assert_eq!(resize.target(10_000, 1), (150, 1));
        // Rounded down from 38.25.
        assert_eq!(resize.target(400, 102), (150, 38));
    }
}
