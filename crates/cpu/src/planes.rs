//! The planes of feature maps, in parallel.

use rayon::prelude::*;

/// Values that are worth a task of their own.
const TASK: usize = 1 << 14;

/// `of` each plane of `pixels` values, in order.
pub fn map<T: Send>(
    values: &[f32],
    pixels: usize,
    of: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    values
        .par_chunks_exact(pixels)
        .with_min_len((TASK / pixels).max(1))
        .enumerate()
        .map(|(plane, values)| of(plane, values))
        .collect()
}

/// Fills each plane of `output`.
pub fn fill(output: &mut [f32], pixels: usize, with: impl Fn(usize, &mut [f32]) + Sync) {
    output
        .par_chunks_exact_mut(pixels)
        .with_min_len((TASK / pixels).max(1))
        .enumerate()
        .for_each(|(plane, values)| with(plane, values));
}
