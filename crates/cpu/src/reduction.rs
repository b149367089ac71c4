//! Accurate sums of channels, bit-identical at every level of vector instructions.

use pulp::{Simd, WithSimd, bytemuck::cast_slice};
use rayon::prelude::*;

use crate::{product::load, simd::dispatch};

/// The sum over the images for each channel, given a value for each channel of each image,
/// `[batch, channels]`.
pub fn sum_over_batch(values: impl IntoIterator<Item = f64>, channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for (index, value) in values.into_iter().enumerate() {
        sums[index % channels] += value;
    }
    sums.into_iter().map(|sum: f64| sum as f32).collect()
}

/// The pixels whose values are added on one thread.
const PIXELS: usize = 1024;

/// The pixels whose values are added in 32 bits before their sums are added in 64.
const PIXEL_BLOCK: usize = 32;

/// The sum of each channel of `values`, `[pixels, channels]`.
///
/// No partial sum in 32 bits has more than 32 terms. So the error relative to the sum of the
/// absolute values is at most 31 · 2⁻²⁴, and typically about 2⁻²⁴, for any number of values.
pub fn channel_sums(values: &[f32], channels: usize) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = values
        .par_chunks((PIXELS * channels).max(1))
        .map(|values| dispatch(ChannelSums { values, channels }))
        .collect();
    add_up(parts, channels)
}

/// The sum of `(a - a_mean) * (b - b_mean)` for each channel of `a` and `b`, `[pixels, channels]`, and
/// its means, each product rounded to 32 bits. As exact as [`channel_sums`].
pub fn channel_covariances(inputs: [&[f32]; 2], means: [&[f32]; 2]) -> Vec<f64> {
    let channels = means[0].len();
    let chunk = (PIXELS * channels).max(1);
    let parts: Vec<Vec<f64>> = (inputs[0].par_chunks(chunk))
        .zip(inputs[1].par_chunks(chunk))
        .map(|(a, b)| {
            let inputs = [a, b];
            dispatch(ChannelCovariances { inputs, means })
        })
        .collect();
    add_up(parts, channels)
}

struct ChannelCovariances<'a> {
    inputs: [&'a [f32]; 2],
    means: [&'a [f32]; 2],
}

impl WithSimd for ChannelCovariances<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let channels = self.means[0].len();
        let mut sums = vec![0.0; channels];
        let [a, b] = self
            .inputs
            .map(|input| input.chunks(PIXEL_BLOCK * channels));
        for (a, b) in a.zip(b) {
            for start in (0..channels).step_by(S::F32_LANES) {
                let end = channels.min(start + S::F32_LANES);
                let means = self.means.map(|means| load(simd, &means[start..end]));
                let mut sum = simd.splat_f32s(0.0);
                for (a, b) in a.chunks_exact(channels).zip(b.chunks_exact(channels)) {
                    // Not a fused multiply-add: not every level has one.
                    let a = simd.sub_f32s(load(simd, &a[start..end]), means[0]);
                    let b = simd.sub_f32s(load(simd, &b[start..end]), means[1]);
                    sum = simd.add_f32s(sum, simd.mul_f32s(a, b));
                }
                let sum = [sum];
                let values: &[f32] = cast_slice(&sum);
                for (sum, value) in sums[start..].iter_mut().zip(values) {
                    *sum += f64::from(*value);
                }
            }
        }
        sums
    }
}

fn add_up(parts: Vec<Vec<f64>>, channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for part in parts {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sums
}

struct ChannelSums<'a> {
    values: &'a [f32],
    channels: usize,
}

impl WithSimd for ChannelSums<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let channels = self.channels;
        let mut sums = vec![0.0; channels];
        for block in self.values.chunks(PIXEL_BLOCK * channels) {
            for start in (0..channels).step_by(S::F32_LANES) {
                let count = S::F32_LANES.min(channels - start);
                let mut sum = simd.splat_f32s(0.0);
                for pixel in block.chunks_exact(channels) {
                    sum = simd.add_f32s(sum, load(simd, &pixel[start..start + count]));
                }
                let sum = [sum];
                let values: &[f32] = cast_slice(&sum);
                for (sum, value) in sums[start..].iter_mut().zip(values) {
                    *sum += f64::from(*value);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    /// Pseudo-random numbers between `mean` − 1 and `mean` + 1.
    fn numbers(count: usize, mean: f32) -> Vec<f32> {
        let number = |index: usize| ((index * 7919 + 13) as f32 * 78.233).sin() * 43_758.547;
        (0..count)
            .map(|index| mean + number(index).fract())
            .collect()
    }

    #[test]
    fn sums_of_channels_are_accurate_and_the_same_at_every_level() {
        for (pixels, channels) in [(1, 1), (33, 3), (5000, 17), (1025, 64), (70, 24)] {
            let (a, b) = (
                numbers(pixels * channels, 3.0),
                numbers(pixels * channels, -1.0),
            );
            let means = [numbers(channels, 2.9), numbers(channels, -0.8)];
            let results = Level::each(|level| {
                let sums = channel_sums(&a, channels);
                let products = channel_covariances([&a, &b], [&means[0], &means[1]]);
                for channel in 0..channels {
                    let of_channel = || (channel..a.len()).step_by(channels);
                    let exact: f64 = of_channel().map(|index| f64::from(a[index])).sum();
                    let terms = of_channel().map(|index| {
                        f64::from((a[index] - means[0][channel]) * (b[index] - means[1][channel]))
                    });
                    let (exact_product, scale) = terms.fold((0.0, 0.0), |(sum, scale), term| {
                        (sum + term, scale + term.abs())
                    });
                    let (sum, product) = (sums[channel], products[channel]);
                    assert!(
                        (sum - exact).abs() <= 1e-6 * exact,
                        "{sum}, {exact}, {level:?}"
                    );
                    assert!(
                        (product - exact_product).abs() <= 1e-6 * scale,
                        "{product} instead of {exact_product}, {level:?}"
                    );
                }
                (sums, products)
            });
            assert!(results.iter().all(|sums| *sums == results[0]));
        }
    }

    #[test]
    fn batch_sums_add_the_images_of_each_channel() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        assert_eq!(sum_over_batch(values, 3), [9.0, 18.0, 36.0]);
        assert_eq!(sum_over_batch(values, 2), [21.0, 42.0]);
    }
}
