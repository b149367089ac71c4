//! Terms of two brain floats: the bits of the first one, and above them those of the second.

use burn::tensor::bf16;
use pulp::{Simd, WithSimd};

use crate::simd::dispatch;

/// Two values as one term.
#[inline(always)]
fn pair(first: f32, second: f32) -> f32 {
    let [first, second] = [first, second].map(|value| u32::from(bf16::from_f32(value).to_bits()));
    f32::from_bits(first | second << 16)
}

/// Writes the pairs of rows of `width` values in `source`, which begin at `starts`: the first and the
/// second, the third and the fourth, and so on, `[pairs, width]`. A last row without another is paired
/// with zeros.
pub fn pair_rows(source: &[f32], starts: &[usize], width: usize, output: &mut [f32]) {
    dispatch(PairRows {
        source,
        starts,
        width,
        output,
    });
}

struct PairRows<'a> {
    source: &'a [f32],
    starts: &'a [usize],
    width: usize,
    output: &'a mut [f32],
}

impl WithSimd for PairRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let row = |start: usize| &self.source[start..][..self.width];
        let outputs = self.output.chunks_exact_mut(self.width);
        for (starts, output) in self.starts.chunks(2).zip(outputs) {
            match *starts {
                [first, second] => {
                    let values = row(first).iter().zip(row(second));
                    for (output, (first, second)) in output.iter_mut().zip(values) {
                        *output = pair(*first, *second);
                    }
                }
                [first] => {
                    for (output, first) in output.iter_mut().zip(row(first)) {
                        *output = pair(*first, 0.0);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Rounds values to brain floats. Two of them, one after the other, are a pair.
#[inline(always)]
pub fn round(values: &[f32], output: &mut [u16]) {
    for (output, value) in output.iter_mut().zip(values) {
        *output = bf16::from_f32(*value).to_bits();
    }
}
