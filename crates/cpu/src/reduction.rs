//! Accurate sums of channels, bit-identical at every level of vector instructions.

use std::ops::Range;

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

/// Images in memory, one after the other: where the pixels of each begin, and where those of the last
/// one end.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    pub starts: &'a [usize],
    pub channels: usize,
}

/// A normalization of an image: (x - mean) · factor + shift for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    pub means: &'a [f32],
    pub factors: &'a [f32],
    pub shifts: &'a [f32],
}

impl Images<'_> {
    /// The sum of each channel of each image of `values`, `[pixels, channels]`.
    ///
    /// No partial sum in 32 bits has more than 32 terms. So the error relative to the sum of the
    /// absolute values is at most 31 · 2⁻²⁴, and typically about 2⁻²⁴, for any number of values.
    pub fn sums(self, values: &[f32]) -> Vec<f64> {
        self.sums_of(&Values(values)).map(|[sum]| sum).collect()
    }

    /// The sum of (x - m)² for each channel of each image of `values` and its mean m, each square
    /// rounded to 32 bits. As exact as [`sums`](Self::sums).
    pub fn squares(self, values: &[f32], means: &[f32]) -> Vec<f64> {
        let channels = self.channels;
        let squares = Squares {
            values,
            means,
            channels,
        };
        self.sums_of(&squares).map(|[sum]| sum).collect()
    }

    /// The sums of g and of g · (x - mean) for each channel of each image of a gradient and an input,
    /// each product rounded to 32 bits. As exact as [`sums`](Self::sums).
    ///
    /// If ReLU follows the normalization, the gradient counts only where its output is positive or NaN.
    pub fn products<'a>(
        self,
        gradient: &[f32],
        input: &[f32],
        normalization: impl Fn(usize) -> Affine<'a> + Sync,
        relu: bool,
    ) -> Vec<[f64; 2]> {
        let products = Products {
            gradient,
            input,
            normalization,
            relu,
        };
        self.sums_of(&products).collect()
    }

    /// The sums of terms over the pixels of each image, for each of its channels.
    fn sums_of<T: Terms<N>, const N: usize>(self, terms: &T) -> impl Iterator<Item = [f64; N]> {
        let channels = self.channels;
        let blocks: Vec<(usize, Range<usize>)> = (self.starts.windows(2).enumerate())
            .flat_map(|(image, bounds)| {
                let (start, end) = (bounds[0], bounds[1]);
                let blocks = (start..end).step_by(PIXELS);
                blocks.map(move |first| (image, first..end.min(first + PIXELS)))
            })
            .collect();
        let parts: Vec<Vec<[f64; N]>> = (blocks.par_iter())
            .map(|(image, pixels)| {
                dispatch(Sums {
                    terms,
                    image: *image,
                    pixels: pixels.clone(),
                    channels,
                })
            })
            .collect();
        let mut sums = vec![[0.0; N]; self.starts.len().saturating_sub(1) * channels];
        for ((image, _), part) in blocks.into_iter().zip(parts) {
            let of_image = &mut sums[image * channels..][..channels];
            for (sums, part) in of_image.iter_mut().zip(part) {
                for (sum, value) in sums.iter_mut().zip(part) {
                    *sum += value;
                }
            }
        }
        sums.into_iter()
    }
}

/// What is summed over pixels: for each channel `N` terms of each pixel.
trait Terms<const N: usize>: Sync {
    /// Constants of some channels, the same for all pixels of an image.
    type Columns<S: Simd>: Copy;

    fn columns<S: Simd>(&self, simd: S, image: usize, channels: Range<usize>) -> Self::Columns<S>;

    /// The terms of the channels of a pixel at these places.
    fn of_pixel<S: Simd>(
        &self,
        simd: S,
        columns: Self::Columns<S>,
        place: Range<usize>,
    ) -> [S::f32s; N];
}

struct Values<'a>(&'a [f32]);

impl Terms<1> for Values<'_> {
    type Columns<S: Simd> = ();

    #[inline(always)]
    fn columns<S: Simd>(&self, _: S, _: usize, _: Range<usize>) {}

    #[inline(always)]
    fn of_pixel<S: Simd>(&self, simd: S, (): (), place: Range<usize>) -> [S::f32s; 1] {
        [load(simd, &self.0[place])]
    }
}

struct Squares<'a> {
    values: &'a [f32],
    means: &'a [f32],
    channels: usize,
}

impl Terms<1> for Squares<'_> {
    type Columns<S: Simd> = S::f32s;

    #[inline(always)]
    fn columns<S: Simd>(&self, simd: S, image: usize, channels: Range<usize>) -> S::f32s {
        load(simd, &self.means[image * self.channels..][channels])
    }

    #[inline(always)]
    fn of_pixel<S: Simd>(&self, simd: S, mean: S::f32s, place: Range<usize>) -> [S::f32s; 1] {
        let distance = simd.sub_f32s(load(simd, &self.values[place]), mean);
        [simd.mul_f32s(distance, distance)]
    }
}

struct Products<'a, F> {
    gradient: &'a [f32],
    input: &'a [f32],
    normalization: F,
    relu: bool,
}

impl<'n, F: Fn(usize) -> Affine<'n> + Sync> Terms<2> for Products<'_, F> {
    /// The means; with ReLU, also the factors and shifts.
    type Columns<S: Simd> = (S::f32s, Option<[S::f32s; 2]>);

    #[inline(always)]
    fn columns<S: Simd>(&self, simd: S, image: usize, channels: Range<usize>) -> Self::Columns<S> {
        let Affine {
            means,
            factors,
            shifts,
        } = (self.normalization)(image);
        let [means, factors, shifts] =
            [means, factors, shifts].map(|values| load(simd, &values[channels.clone()]));
        (means, self.relu.then_some([factors, shifts]))
    }

    // Not fused multiply-adds: not every level has them.
    #[inline(always)]
    fn of_pixel<S: Simd>(
        &self,
        simd: S,
        (mean, affine): Self::Columns<S>,
        place: Range<usize>,
    ) -> [S::f32s; 2] {
        let mut gradient = load(simd, &self.gradient[place.clone()]);
        let distance = simd.sub_f32s(load(simd, &self.input[place]), mean);
        if let Some([factor, shift]) = affine {
            let output = simd.add_f32s(simd.mul_f32s(distance, factor), shift);
            let zero = simd.splat_f32s(0.0);
            let is_clipped = simd.less_than_or_equal_f32s(output, zero);
            gradient = simd.select_f32s(is_clipped, zero, gradient);
        }
        [gradient, simd.mul_f32s(gradient, distance)]
    }
}

/// The sums over some pixels of an image.
struct Sums<'a, T, const N: usize> {
    terms: &'a T,
    image: usize,
    pixels: Range<usize>,
    channels: usize,
}

impl<T: Terms<N>, const N: usize> WithSimd for Sums<'_, T, N> {
    type Output = Vec<[f64; N]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<[f64; N]> {
        let (terms, channels) = (self.terms, self.channels);
        let mut sums = vec![[0.0; N]; channels];
        for first in self.pixels.clone().step_by(PIXEL_BLOCK) {
            let block = first..self.pixels.end.min(first + PIXEL_BLOCK);
            for start in (0..channels).step_by(S::F32_LANES) {
                let end = channels.min(start + S::F32_LANES);
                let columns = terms.columns(simd, self.image, start..end);
                let mut of_block = [simd.splat_f32s(0.0); N];
                for pixel in block.clone() {
                    let place = pixel * channels + start..pixel * channels + end;
                    let of_pixel = terms.of_pixel(simd, columns, place);
                    for (sum, term) in of_block.iter_mut().zip(of_pixel) {
                        *sum = simd.add_f32s(*sum, term);
                    }
                }
                for (index, of_block) in of_block.into_iter().enumerate() {
                    let of_block = [of_block];
                    let values: &[f32] = cast_slice(&of_block);
                    for (sums, value) in sums[start..end].iter_mut().zip(values) {
                        sums[index] += f64::from(*value);
                    }
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
            let [factors, shifts] = [0.5, 0.1].map(|mean| numbers(channels, mean));
            let results = Level::each(|level| {
                let images = Images {
                    starts: &[0, pixels],
                    channels,
                };
                let sums = images.sums(&a);
                let squares = images.squares(&a, &means[0]);
                let normalization = Affine {
                    means: &means[1],
                    factors: &factors,
                    shifts: &shifts,
                };
                let [plain, clipped] =
                    [false, true].map(|relu| images.products(&a, &b, |_| normalization, relu));
                let is_close = |found: f64, terms: &mut dyn Iterator<Item = f32>| {
                    let terms = terms.map(f64::from);
                    let (exact, scale) = terms.fold((0.0, 0.0), |(sum, scale), term| {
                        (sum + term, scale + term.abs())
                    });
                    (found - exact).abs() <= 1e-6 * scale
                };
                for channel in 0..channels {
                    let places = || (channel..a.len()).step_by(channels);
                    let distance = |place: usize| b[place] - means[1][channel];
                    let passes =
                        |place: &usize| distance(*place) * factors[channel] + shifts[channel] > 0.0;
                    let product = |place: usize| a[place] * distance(place);
                    let square = |place: usize| (a[place] - means[0][channel]).powi(2);
                    let found_and_terms: [(f64, &mut dyn Iterator<Item = f32>); 6] = [
                        (sums[channel], &mut places().map(|place| a[place])),
                        (squares[channel], &mut places().map(square)),
                        (plain[channel][0], &mut places().map(|place| a[place])),
                        (plain[channel][1], &mut places().map(product)),
                        (
                            clipped[channel][0],
                            &mut places().filter(passes).map(|place| a[place]),
                        ),
                        (
                            clipped[channel][1],
                            &mut places().filter(passes).map(product),
                        ),
                    ];
                    for (index, (found, terms)) in found_and_terms.into_iter().enumerate() {
                        assert!(is_close(found, terms), "{index}: {found}, {level:?}");
                    }
                }
                (sums, squares, plain, clipped)
            });
            assert!(results.iter().all(|sums| *sums == results[0]));
        }
    }

    #[test]
    fn images_have_sums_of_their_own() {
        let _level = Level::hold();
        let (starts, channels) = ([0, 1, 1, 1500, 1507], 5);
        let values = numbers(1507 * channels, 0.4);
        let means = numbers(4 * channels, 0.3);
        let images = Images {
            starts: &starts,
            channels,
        };
        let (sums, squares) = (images.sums(&values), images.squares(&values, &means));
        for image in 0..4 {
            let pixels = starts[image]..starts[image + 1];
            let values = &values[pixels.start * channels..pixels.end * channels];
            let means = &means[image * channels..][..channels];
            let alone = Images {
                starts: &[0, pixels.len()],
                channels,
            };
            let of_image = image * channels..(image + 1) * channels;
            assert_eq!(sums[of_image.clone()], alone.sums(values));
            assert_eq!(squares[of_image], alone.squares(values, means));
        }
    }

    #[test]
    fn gradients_pass_where_the_output_is_nan() {
        let _level = Level::hold();
        let (ones, nan) = ([1.0; 3], [f32::NAN, -5.0, 5.0]);
        let normalization = Affine {
            means: &[0.0],
            factors: &[1.0],
            shifts: &[0.0],
        };
        let images = Images {
            starts: &[0, 3],
            channels: 1,
        };
        let sums = images.products(&ones, &nan, |_| normalization, true);
        assert_eq!(sums[0][0], 2.0);
        assert!(sums[0][1].is_nan());
    }

    #[test]
    fn batch_sums_add_the_images_of_each_channel() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        assert_eq!(sum_over_batch(values, 3), [9.0, 18.0, 36.0]);
        assert_eq!(sum_over_batch(values, 2), [21.0, 42.0]);
    }
}
