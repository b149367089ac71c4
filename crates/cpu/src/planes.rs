//! Feature maps in parallel.

use rayon::prelude::*;

/// Values that are worth a task of their own.
pub const TASK: usize = 1 << 14;

/// `of` each plane of `pixels` values, in order; the last may have fewer.
pub fn map<T: Send>(
    values: &[f32],
    pixels: usize,
    of: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    values
        .par_chunks(pixels)
        .with_min_len((TASK / pixels).max(1))
        .enumerate()
        .map(|(plane, values)| of(plane, values))
        .collect()
}

/// Writes or changes each plane of `pixels` values; the last may have fewer.
pub fn each<T: Send>(values: &mut [T], pixels: usize, with: impl Fn(usize, &mut [T]) + Sync) {
    values
        .par_chunks_mut(pixels)
        .with_min_len((TASK / pixels).max(1))
        .enumerate()
        .for_each(|(plane, values)| with(plane, values));
}

/// What there is of each plane, added up over the images.
pub fn channel_sums(of_planes: impl IntoIterator<Item = f64>, channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for (plane, value) in of_planes.into_iter().enumerate() {
        sums[plane % channels] += value;
    }
    sums.into_iter().map(|sum: f64| sum as f32).collect()
}

/// The planes of all images in blocks of `size` channels, for a task each; in a block image
/// by image.
pub fn channel_blocks<T>(
    values: &mut [T],
    pixels: usize,
    channels: usize,
    size: usize,
) -> Vec<Vec<&mut [T]>> {
    let mut blocks = Vec::new();
    blocks.resize_with(channels.div_ceil(size), Vec::new);
    for (plane, values) in values.chunks_exact_mut(pixels).enumerate() {
        blocks[plane % channels / size].push(values);
    }
    blocks
}
