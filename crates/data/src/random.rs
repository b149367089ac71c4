//! Random numbers and orders that depend on nothing but what they are for.
//!
//! Each sample draws from a generator of its own, keyed by seed, epoch and index, so that the number of workers and the
//! order in which they finish change nothing.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The generator of one sample in one epoch.
///
/// ```
/// use fcos_burn_data::sample_rng;
/// use rand::Rng;
/// assert_eq!(sample_rng(7, 0, 3).next_u64(), sample_rng(7, 0, 3).next_u64());
/// assert_ne!(sample_rng(7, 0, 3).next_u64(), sample_rng(7, 1, 3).next_u64());
/// ```
pub fn sample_rng(seed: u64, epoch: u64, index: usize) -> ChaCha8Rng {
    keyed_rng(*b"sample..", seed, epoch, index as u64)
}

/// The order in which an epoch visits its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleOrder {
    /// As the data set lists them, in every epoch.
    Sequential,
    /// A permutation of its own for each seed and epoch.
    Shuffled,
}

/// The indices `0..len` in the order in which `epoch` visits them.
///
/// ```
/// use fcos_burn_data::{SampleOrder, epoch_order};
/// assert_eq!(epoch_order(4, 7, 0, SampleOrder::Sequential), [0, 1, 2, 3]);
/// ```
pub fn epoch_order(len: usize, seed: u64, epoch: u64, order: SampleOrder) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..len).collect();
    match order {
        SampleOrder::Sequential => {}
        SampleOrder::Shuffled => indices.shuffle(&mut keyed_rng(*b"order...", seed, epoch, 0)),
    }
    indices
}

/// A generator whose whole 256-bit key is what it is for: no two purposes share a stream.
pub(crate) fn keyed_rng(purpose: [u8; 8], seed: u64, major: u64, minor: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&purpose);
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&major.to_le_bytes());
    key[24..].copy_from_slice(&minor.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_epoch_visits_every_sample_once_in_an_order_of_its_own() {
        let first = epoch_order(100, 7, 0, SampleOrder::Shuffled);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(first, sorted);
        assert_eq!(first, epoch_order(100, 7, 0, SampleOrder::Shuffled));
        assert_ne!(first, epoch_order(100, 7, 1, SampleOrder::Shuffled));
        assert_ne!(first, epoch_order(100, 8, 0, SampleOrder::Shuffled));
    }
}
