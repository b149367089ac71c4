//! Parallel loops over the chunks of a slice.

use rayon::prelude::*;

/// The number of values that are worth a task of their own.
pub const GRAIN: usize = 1 << 14;

/// Maps each chunk of `length` values, given its index; the last chunk may be shorter. The
/// results are in the order of the chunks.
pub fn map_chunks<T: Send>(
    values: &[f32],
    length: usize,
    map: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    values
        .par_chunks(length)
        .with_min_len((GRAIN / length).max(1))
        .enumerate()
        .map(|(index, chunk)| map(index, chunk))
        .collect()
}

/// Calls `update` with the index and the values of each chunk of `length` values; the last
/// chunk may be shorter.
pub fn for_each_chunk<T: Send>(
    values: &mut [T],
    length: usize,
    update: impl Fn(usize, &mut [T]) + Sync,
) {
    values
        .par_chunks_mut(length)
        .with_min_len((GRAIN / length).max(1))
        .enumerate()
        .for_each(|(index, chunk)| update(index, chunk));
}
