//! The order of samples in an epoch.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::random::keyed_rng;

/// The order of samples in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleOrder {
    /// The order of the data set, in every epoch.
    Sequential,
    /// A random permutation for each seed and epoch.
    Shuffled,
}

/// The indices `0..len` in the order of `epoch`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shuffled_epoch_visits_each_sample_once_in_a_different_order() {
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
