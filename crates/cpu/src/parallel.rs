//! Parallel loops over the chunks of a slice.

use rayon::prelude::*;

/// The number of values that are worth a task of their own.
pub const GRAIN: usize = 1 << 14;

/// Calls `update` with the index and the values of each chunk of `length` values; the last
/// chunk may be shorter.
pub fn for_each_chunk<T: Send>(
    values: &mut [T],
    length: usize,
    update: impl Fn(usize, &mut [T]) + Sync,
) {
    if values.len() <= length {
        // Other threads would only be woken.
        if !values.is_empty() {
            update(0, values);
        }
        return;
    }
    values
        .par_chunks_mut(length)
        .with_min_len((GRAIN / length).max(1))
        .enumerate()
        .for_each(|(index, chunk)| update(index, chunk));
}
