//! Input sizes that change from batch to batch.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Resize;
use super::resize::MAX_SIDE;
use crate::DataError;
use crate::random::keyed_rng;

/// Multi-scale training: the size of each batch is that of the input times a random factor, uniform between `min` and `max`
/// (Redmon and Farhadi, "YOLO9000", 2017).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MultiScale {
    /// The smallest factor, from 0.1 to 10.
    pub min: f32,
    /// The largest factor, from 0.1 to 10.
    pub max: f32,
}

impl MultiScale {
    /// Factors from `min` to `max`.
    pub fn new(min: f32, max: f32) -> Self {
        Self { min, max }
    }

    /// The size of a batch. It depends on nothing but the arguments. The factors must be [valid](Self::validate).
    ///
    /// Each side of a [fixed](Resize::Fixed) size is rounded to the nearest multiple of `multiple`, but not to 0. A
    /// [short side](Resize::ShortSide) and the limit of the long side have the same factor, and are rounded to whole
    /// pixels.
    ///
    /// ```
    /// use fcos_burn_data::transforms::{MultiScale, Resize};
    /// let resize = Resize::Fixed { width: 160, height: 120 };
    /// let larger = MultiScale::new(1.5, 1.5).of_batch(resize, 32, 0, 1, 0);
    /// assert_eq!(larger, Resize::Fixed { width: 256, height: 192 });
    /// ```
    pub fn of_batch(
        self,
        resize: Resize,
        multiple: usize,
        seed: u64,
        epoch: u64,
        batch: usize,
    ) -> Resize {
        let mut rng = keyed_rng(*b"scale...", seed, epoch, batch as u64);
        let factor = f64::from(rng.random_range(self.min..=self.max));
        let scaled = |side: u32, multiple: u32| {
            let multiple = multiple.clamp(1, MAX_SIDE);
            let count = (f64::from(side) * factor / f64::from(multiple)).round() as u32;
            count.clamp(1, MAX_SIDE / multiple) * multiple
        };
        match resize {
            Resize::Fixed { width, height } => {
                let multiple = u32::try_from(multiple).unwrap_or(MAX_SIDE);
                Resize::Fixed {
                    width: scaled(width, multiple),
                    height: scaled(height, multiple),
                }
            }
            Resize::ShortSide { short, long } => Resize::ShortSide {
                short: scaled(short, 1),
                long: scaled(long, 1),
            },
        }
    }

    /// Fails if a factor is not allowed.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`], whose field is `min` or `max`.
    pub fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("min", self.min, 0.1..=10.0)?;
        DataError::require_in_range("max", self.max, self.min..=10.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::collections::BTreeSet;

    use super::*;

    fn sizes(multi_scale: MultiScale, resize: Resize) -> BTreeSet<(u32, u32)> {
        let of_batch = |batch| multi_scale.of_batch(resize, 32, 7, 1, batch);
        let sizes = (0..300).map(|batch| match of_batch(batch) {
            Resize::Fixed { width, height } => (width, height),
            Resize::ShortSide { short, long } => (short, long),
        });
        sizes.collect()
    }

    #[test]
    fn fixed_sizes_are_multiples_within_the_range() {
        let resize = Resize::Fixed {
            width: 320,
            height: 240,
        };
        let sizes = sizes(MultiScale::new(0.75, 1.25), resize);
        let (widths, heights): (BTreeSet<u32>, BTreeSet<u32>) = sizes.into_iter().unzip();
        assert_eq!(
            widths.into_iter().collect::<Vec<_>>(),
            [256, 288, 320, 352, 384]
        );
        assert_eq!(
            heights.into_iter().collect::<Vec<_>>(),
            [192, 224, 256, 288]
        );
    }

    #[test]
    fn short_sides_keep_their_ratio_to_the_limit() {
        let resize = Resize::ShortSide {
            short: 400,
            long: 800,
        };
        let sizes = sizes(MultiScale::new(0.5, 2.0), resize);
        assert!(sizes.len() > 200);
        for (short, long) in sizes {
            assert!((200..=800).contains(&short) && long.abs_diff(2 * short) <= 1);
        }
    }

    #[test]
    fn sizes_stay_possible() {
        let resize = Resize::Fixed {
            width: MAX_SIDE,
            height: 1,
        };
        let large = MultiScale::new(10.0, 10.0);
        assert_eq!(
            large.of_batch(resize, 96, 0, 0, 0),
            Resize::Fixed {
                width: MAX_SIDE / 96 * 96,
                height: 96
            }
        );
        assert_eq!(
            large.of_batch(resize, usize::MAX, 0, 0, 0),
            Resize::Fixed {
                width: MAX_SIDE,
                height: MAX_SIDE
            }
        );
    }
}
