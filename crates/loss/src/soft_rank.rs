//! Differentiable ranks, on the host.

/// Soft ranks of some values, from [Fast Differentiable Sorting and
/// Ranking](https://arxiv.org/abs/2002.08871) (Blondel et al., 2020) with quadratic regularization:
/// the point nearest to `values / ε` whose elements are a convex combination of the permutations of
/// `1, …, n`. The largest value gets the rank `n` if all others are smaller by more than `ε`.
pub(crate) struct SoftRanks {
    /// The rank of each value.
    pub(crate) ranks: Vec<f64>,
    /// Indices of the values in descending order.
    order: Vec<usize>,
    /// Lengths of the runs of `order` within which ranks follow the values.
    blocks: Vec<usize>,
    epsilon: f64,
}

impl SoftRanks {
    /// Ranks `values` in O(n log n). `epsilon` is positive.
    pub(crate) fn new(values: &[f64], epsilon: f64) -> Self {
        let count = values.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        // The projection onto the permutahedron is the isotonic regression of these differences.
        let excess = |place: usize| values[order[place]] / epsilon - (count - place) as f64;
        let blocks = non_increasing_blocks((0..count).map(excess));
        let mut ranks = vec![0.0; count];
        let mut start = 0;
        for &(length, mean) in &blocks {
            for &index in &order[start..start + length] {
                ranks[index] = values[index] / epsilon - mean;
            }
            start += length;
        }
        Self {
            ranks,
            order,
            blocks: blocks.into_iter().map(|(length, _)| length).collect(),
            epsilon,
        }
    }

    /// The gradient with respect to the values, given that with respect to the ranks.
    pub(crate) fn backward(&self, gradient: &[f64]) -> Vec<f64> {
        let mut found = vec![0.0; gradient.len()];
        let mut start = 0;
        for &length in &self.blocks {
            let block = &self.order[start..start + length];
            let sum: f64 = block.iter().map(|&index| gradient[index]).sum();
            for &index in block {
                found[index] = (gradient[index] - sum / length as f64) / self.epsilon;
            }
            start += length;
        }
        found
    }
}

/// The non-increasing sequence nearest to `values`, as runs of equal elements: the length and the
/// value of each. Pools adjacent violators.
fn non_increasing_blocks(values: impl Iterator<Item = f64>) -> Vec<(usize, f64)> {
    let mut blocks: Vec<(usize, f64)> = Vec::new();
    for value in values {
        let mut block = (1, value);
        while let Some((length, mean)) = blocks.pop_if(|(_, mean)| *mean <= block.1) {
            let total = length + block.0;
            let sum = mean * length as f64 + block.1 * block.0 as f64;
            block = (total, sum / total as f64);
        }
        blocks.push(block);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tensors::assert_close;

    #[test]
    fn values_far_apart_get_their_ranks_and_no_gradient() {
        let values = [0.8, 0.05, 0.5, 0.35, 0.2];
        let ranks = SoftRanks::new(&values, 0.01);
        assert_close(&ranks.ranks, &[5.0, 1.0, 4.0, 3.0, 2.0], 1e-12);
        assert_close(
            &ranks.backward(&[1.0, 2.0, 3.0, 4.0, 5.0]),
            &[0.0; 5],
            1e-12,
        );
    }

    /// Differences below ε are less than a rank, so that all values fall into one block.
    #[test]
    fn ranks_of_probabilities_with_a_regularization_of_1_are_the_probabilities_shifted() {
        let values = [0.99, 0.0, 0.31, 0.3, 0.7];
        let ranks = SoftRanks::new(&values, 1.0);
        let shift = 3.0 - values.iter().sum::<f64>() / 5.0;
        assert_close(&ranks.ranks, &values.map(|value| value + shift), 1e-12);
    }

    /// Of all points of the permutahedron, the nearest: no convex combination of permutations is
    /// nearer, by the inequality that defines a projection.
    #[test]
    fn ranks_are_the_nearest_point_of_the_permutahedron() {
        let values = [0.4, 0.41, 0.1, 0.43];
        let epsilon = 0.02;
        let ranks = SoftRanks::new(&values, epsilon).ranks;
        assert!((ranks.iter().sum::<f64>() - 10.0).abs() < 1e-9, "{ranks:?}");
        for code in 0..24 {
            let mut left = vec![1.0, 2.0, 3.0, 4.0];
            let mut rest = code;
            let corner: Vec<f64> = (1..=4)
                .rev()
                .map(|choices| {
                    let index = rest % choices;
                    rest /= choices;
                    left.remove(index)
                })
                .collect();
            let product: f64 = (0..4)
                .map(|i| (values[i] / epsilon - ranks[i]) * (corner[i] - ranks[i]))
                .sum();
            assert!(product < 1e-9, "{corner:?}: {product}");
        }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_ranks() {
        let values = [0.4, 0.41, 0.1, 0.43, 0.2, 0.205];
        let (epsilon, step) = (0.03, 1e-6);
        let weights = [0.3, -1.0, 2.0, 0.7, -0.2, 0.9];
        let product = |values: &[f64]| -> f64 {
            let ranks = SoftRanks::new(values, epsilon).ranks;
            ranks
                .iter()
                .zip(weights)
                .map(|(rank, weight)| rank * weight)
                .sum()
        };
        let slopes: Vec<f64> = (0..values.len())
            .map(|index| {
                let at = |offset: f64| {
                    let mut moved = values;
                    moved[index] += offset;
                    product(&moved)
                };
                (at(step) - at(-step)) / (2.0 * step)
            })
            .collect();
        assert!(slopes.iter().any(|slope| slope.abs() > 1.0), "{slopes:?}");
        let found = SoftRanks::new(&values, epsilon).backward(&weights);
        assert_close(&found, &slopes, 1e-6);
    }

    #[test]
    fn no_values_have_no_ranks() {
        let ranks = SoftRanks::new(&[], 0.1);
        assert!(ranks.ranks.is_empty() && ranks.backward(&[]).is_empty());
    }
}
