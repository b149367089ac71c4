//! Sums over soft comparisons of numbers.

/// Weighted numbers, the keys, that are compared with another number by the ramp
///
/// ```text
/// H(x) = 0 for x ≤ −δ,   x / 2δ + ½ for |x| ≤ δ,   1 for x ≥ δ
/// ```
///
/// or, with `δ = 0`, by the step that is 1 for `x ≥ 0`. Weights are added one after another. A sum of
/// weights takes O(log n), because the ramp is linear in the key between its corners: a Fenwick tree
/// has the sums of the weights and of their products with the keys.
pub(crate) struct RampSums<const W: usize> {
    /// In ascending order.
    keys: Vec<f64>,
    /// Sums of the weights, and of their products with the keys.
    tree: Vec<[[f64; 2]; W]>,
    total: [f64; W],
    delta: f64,
}

impl<const W: usize> RampSums<W> {
    /// Keys in ascending order, whose weights are 0.
    pub(crate) fn new(keys: Vec<f64>, delta: f64) -> Self {
        Self {
            tree: vec![[[0.0; 2]; W]; keys.len() + 1],
            total: [0.0; W],
            keys,
            delta,
        }
    }

    /// Adds to the weights of a key.
    pub(crate) fn add(&mut self, index: usize, weights: [f64; W]) {
        let key = self.keys[index];
        let mut node = index + 1;
        while node < self.tree.len() {
            for (sums, weight) in self.tree[node].iter_mut().zip(weights) {
                sums[0] += weight;
                sums[1] += weight * key;
            }
            node += node & node.wrapping_neg();
        }
        for (total, weight) in self.total.iter_mut().zip(weights) {
            *total += weight;
        }
    }

    /// `Σ w H(key − x)` for each of the weights: the weight of the keys that are at least `x`.
    pub(crate) fn at_least(&self, x: f64) -> [f64; W] {
        let until = self.keys.partition_point(|key| *key < x + self.delta);
        let from = self.keys.partition_point(|key| *key <= x - self.delta);
        let (until, from) = (self.before(until), self.before(from.min(until)));
        let slope = self.slope();
        std::array::from_fn(|w| {
            let [weight, product] = [0, 1].map(|part| until[w][part] - from[w][part]);
            let ramp = 0.5 * weight + slope * (product - x * weight);
            self.total[w] - until[w][0] + ramp
        })
    }

    /// The sums of the weights of the first `count` keys, and of their products with the keys.
    fn before(&self, count: usize) -> [[f64; 2]; W] {
        let mut sums = [[0.0; 2]; W];
        let mut node = count;
        while node > 0 {
            for (sum, part) in sums.iter_mut().zip(self.tree[node]) {
                sum[0] += part[0];
                sum[1] += part[1];
            }
            node -= node & node.wrapping_neg();
        }
        sums
    }

    /// The slope of the ramp.
    fn slope(&self) -> f64 {
        match self.delta {
            0.0 => 0.0,
            delta => 0.5 / delta,
        }
    }
}

impl RampSums<1> {
    /// `Σ w H(x − key)`, the weight of the keys that are at most `x`, as a line that holds wherever no
    /// `key ± δ` lies between there and `x`.
    pub(crate) fn at_most(&self, x: f64) -> Line {
        let from = self.keys.partition_point(|key| *key <= x - self.delta);
        let until = self.keys.partition_point(|key| *key < x + self.delta);
        let ([from], [until]) = (self.before(from), self.before(until.max(from)));
        let [weight, product] = [0, 1].map(|part| until[part] - from[part]);
        let slope = self.slope();
        Line {
            intercept: from[0] + 0.5 * weight - slope * product,
            slope: slope * weight,
        }
    }
}

/// A linear function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    intercept: f64,
    slope: f64,
}

impl Line {
    pub(crate) fn at(self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tensors::assert_close;

    fn ramp(x: f64, delta: f64) -> f64 {
        match delta {
            0.0 => f64::from(u8::from(x >= 0.0)),
            delta => (x / (2.0 * delta) + 0.5).clamp(0.0, 1.0),
        }
    }

    #[test]
    fn sums_are_those_of_all_comparisons() {
        // With equal keys, and queries at keys and at corners of the ramp.
        let keys = [-3.0, -1.5, -1.5, -1.0, 0.0, 0.25, 0.5, 0.5, 2.0];
        let weights = [0.5, 2.0, 0.25, 1.0, 3.0, 0.75, 1.5, 0.125, 4.0];
        for delta in [0.0, 0.5, 1.0, 10.0] {
            let mut sums = RampSums::<2>::new(keys.to_vec(), delta);
            let mut single = RampSums::<1>::new(keys.to_vec(), delta);
            for (index, weight) in weights.into_iter().enumerate() {
                sums.add(index, [weight, 1.0]);
                single.add(index, [weight]);
            }
            for x in [-9.0, -3.5, -1.5, -0.3, 0.0, 0.5, 0.9, 1.0, 2.5, 7.0] {
                let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                    keys.iter()
                        .zip(weights)
                        .map(|(key, weight)| f(*key, weight))
                        .sum()
                };
                let expected = [
                    sum(&|key, weight| weight * ramp(key - x, delta)),
                    sum(&|key, _| ramp(key - x, delta)),
                ];
                assert_close(&sums.at_least(x), &expected, 1e-12);
                let expected = sum(&|key, weight| weight * ramp(x - key, delta));
                assert_close(&[single.at_most(x).at(x)], &[expected], 1e-12);
            }
        }
    }

    #[test]
    fn no_keys_have_no_weight() {
        let sums = RampSums::<1>::new(Vec::new(), 0.5);
        assert_close(&sums.at_least(0.0), &[0.0], 0.0);
        assert_close(&[sums.at_most(0.0).at(0.0)], &[0.0], 0.0);
    }
}
