//! Terms of two brain floats: the bits of the first one, and above them those of the second.

use burn::tensor::bf16;
#[cfg(target_arch = "x86_64")]
use pulp::{NullaryFnOnce, x86::V4};
use pulp::{Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::bf16::Bf16;
use crate::simd::dispatch;

/// Two values as one term.
#[inline(always)]
fn pair(first: f32, second: f32) -> f32 {
    let [first, second] = [first, second].map(|value| u32::from(bf16::from_f32(value).to_bits()));
    f32::from_bits(first | second << 16)
}

/// Writes the terms of two rows of one length.
#[inline(always)]
fn pair_two(first: &[f32], second: &[f32], output: &mut [f32]) {
    for (output, (first, second)) in output.iter_mut().zip(first.iter().zip(second)) {
        *output = pair(*first, *second);
    }
}

/// Writes the terms of rows of `width` values in `source`, which begin at `starts`: of the first and the
/// second, the third and the fourth, and so on, `[terms, width]`. A last row without another is paired
/// with zeros.
pub fn pair_rows(
    source: &[f32],
    starts: impl Iterator<Item = usize>,
    width: usize,
    output: &mut [f32],
) {
    let rows = PairRows {
        source,
        starts,
        width,
        output,
    };
    #[cfg(target_arch = "x86_64")]
    if let Some(bf16) = Bf16::new() {
        return bf16.vectorize(PairFast { rows, bf16 });
    }
    dispatch(rows);
}

/// Writes the terms of a matrix, `[rows, width]`: see [`pair_rows`].
pub fn pair_matrix(values: &[f32], rows: usize, width: usize, output: &mut [f32]) {
    pair_rows(values, (0..rows).map(|row| row * width), width, output);
}

/// See [`pair_rows`].
struct PairRows<'a, I> {
    source: &'a [f32],
    starts: I,
    width: usize,
    output: &'a mut [f32],
}

impl<I: Iterator<Item = usize>> PairRows<'_, I> {
    #[inline(always)]
    fn write(mut self, pair_two: impl Fn(&[f32], &[f32], &mut [f32])) {
        let row = |start: usize| &self.source[start..][..self.width];
        for output in self.output.chunks_exact_mut(self.width) {
            match (self.starts.next(), self.starts.next()) {
                (Some(first), Some(second)) => pair_two(row(first), row(second), output),
                (Some(first), None) => {
                    for (output, value) in output.iter_mut().zip(row(first)) {
                        *output = pair(*value, 0.0);
                    }
                }
                _ => {}
            }
        }
    }
}

/// With instructions that round.
#[cfg(target_arch = "x86_64")]
struct PairFast<'a, I> {
    rows: PairRows<'a, I>,
    bf16: Bf16,
}

#[cfg(target_arch = "x86_64")]
impl<I: Iterator<Item = usize>> NullaryFnOnce for PairFast<'_, I> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.rows.write(|first, second, output| {
            let [(first, first_rest), (second, second_rest)] =
                [first, second].map(V4::as_simd_f32s);
            let (output, output_rest) = V4::as_mut_simd_f32s(output);
            for (output, (first, second)) in output.iter_mut().zip(first.iter().zip(second)) {
                *output = self.bf16.pair(*first, *second);
            }
            pair_two(first_rest, second_rest, output_rest);
        });
    }
}

impl<I: Iterator<Item = usize>> WithSimd for PairRows<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.write(pair_two);
    }
}

/// Rounds values to brain floats. Two of them, one after the other, are a pair if the lower bytes of a number
/// come first, as on all processors with instructions for them.
#[inline(always)]
pub fn round(values: &[f32], output: &mut [u16]) {
    for (output, value) in output.iter_mut().zip(values) {
        *output = bf16::from_f32(*value).to_bits();
    }
}
