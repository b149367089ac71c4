//! Changes of scale.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Geometry, Sample, require};
use crate::DataError;

/// The largest side that a configuration may ask for.
const MAX_SIDE: u32 = 1 << 15;

/// How the pixels of a resized image are computed. Bilinear either way, and the same where an image grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Over all pixels that a new one covers, as PIL and Detectron do.
    #[default]
    Antialiased,
    /// Between the four pixels around the centre of a new one, as torchvision's detectors do.
    Pointwise,
}

impl Interpolation {
    pub(crate) fn algorithm(self) -> ResizeAlg {
        match self {
            Self::Antialiased => ResizeAlg::Convolution(FilterType::Bilinear),
            Self::Pointwise => ResizeAlg::Interpolation(FilterType::Bilinear),
        }
    }
}

/// Resizes every image to a size, or into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// To exactly this size; the aspect ratio changes.
    Fixed {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The aspect ratio kept: the shorter side becomes `short`, or less where the longer one would exceed `long`; a
    /// part of a pixel is cut off, as in FCOS and torchvision.
    ShortSide {
        /// Pixels of the shorter side.
        short: u32,
        /// Most pixels of the longer side.
        long: u32,
    },
}

impl Resize {
    /// Width and height that an image of `width` x `height` pixels gets.
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

    /// Resizes the sample.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`].
    pub fn apply(&self, sample: Sample, interpolation: Interpolation) -> Result<Sample, DataError> {
        let (width, height) = sample.image().dimensions();
        resize_to(sample, self.target(width, height), interpolation)
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        match *self {
            Self::Fixed { width, height } => {
                require("resize.fixed.width", width, 1..=MAX_SIDE)?;
                require("resize.fixed.height", height, 1..=MAX_SIDE)
            }
            Self::ShortSide { short, long } => {
                require("resize.short_side.short", short, 1..=MAX_SIDE)?;
                require("resize.short_side.long", long, short..=MAX_SIDE)
            }
        }
    }
}

/// Resizes by a random factor, the same for both sides. Comes after [`Resize`], which would undo it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    /// Resizes the sample by a factor drawn evenly between the smallest and the largest, but to no side of more than
    /// 32,768 pixels.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`].
    pub fn apply(&self, sample: Sample, rng: &mut impl Rng) -> Result<Sample, DataError> {
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

    pub(super) fn validate(&self) -> Result<(), DataError> {
        require("scale_jitter.min", self.min, 0.01..=100.0)?;
        require("scale_jitter.max", self.max, self.min..=100.0)
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
    let image = resample(sample.image(), (width, height), interpolation).map_err(|source| {
        DataError::Resize {
            from: (old_width, old_height),
            to: (width, height),
            source,
        }
    })?;
    let scale = [
        width as f32 / old_width as f32,
        height as f32 / old_height as f32,
    ];
    Ok(sample.moved(
        image,
        Geometry {
            scale,
            offset: [0.0, 0.0],
        },
    ))
}

fn resample(
    image: &RgbImage,
    (width, height): (u32, u32),
    interpolation: Interpolation,
) -> Result<RgbImage, fast_image_resize::ResizeError> {
    let unsupported = fast_image_resize::ImageError::UnsupportedPixelType;
    let source = ImageRef::new(
        image.width(),
        image.height(),
        image.as_raw(),
        PixelType::U8x3,
    )
    .map_err(|_| unsupported)?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(interpolation.algorithm());
    Resizer::new().resize(&source, &mut target, &options)?;
    RgbImage::from_raw(width, height, target.into_vec()).ok_or(unsupported.into())
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
        let halve = |interpolation| resample(&stripes, (32, 4), interpolation).unwrap();
        let halved = halve(Interpolation::Antialiased);
        // Without antialiasing, every second column would survive alone: 0 or 200.
        assert!(
            halved
                .enumerate_pixels()
                .filter(|(x, _, _)| (2..30).contains(x))
                .all(|(_, _, p)| p[0].abs_diff(100) < 30)
        );
        let flat = RgbImage::from_pixel(33, 17, Rgb([7, 99, 201]));
        assert!(
            resample(&flat, (50, 9), Interpolation::Antialiased)
                .unwrap()
                .pixels()
                .all(|pixel| *pixel == Rgb([7, 99, 201]))
        );
    }

    #[test]
    fn the_short_side_rule_holds_for_both_orientations() {
        let resize = Resize::ShortSide {
            short: 100,
            long: 150,
        };
        assert_eq!(resize.target(200, 160), (125, 100));
        assert_eq!(resize.target(160, 200), (100, 125));
        assert_eq!(resize.target(400, 100), (150, 37));
        assert_eq!(resize.target(10_000, 1), (150, 1));
        // Half a pixel is cut off.
        assert_eq!(resize.target(400, 102), (150, 38));
    }
}
