//! Statistics over several runs: mean, standard deviation, confidence intervals and quantiles.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean and standard deviation of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Number of values, at least 1.
    pub count: usize,
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation (with divisor n − 1). `None` for a single value.
    pub deviation: Option<f64>,
}

impl Summary {
    /// The summary of `values`. `None` without values.
    ///
    /// ```
    /// use fcos_burn_eval::statistics::Summary;
    ///
    /// let summary = Summary::of(&[1.0, 2.0, 3.0]);
    /// assert_eq!(summary.map(|s| (s.mean, s.deviation)), Some((2.0, Some(1.0))));
    /// assert_eq!(Summary::of(&[]), None);
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (count > 0).then(|| Self {
            count,
            mean,
            deviation: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()),
        })
    }

    /// Half the width of the confidence interval of the mean (Student's t), for values from a
    /// normal distribution and a confidence level such as 0.95. `None` for a single value, or a level outside (0, 1).
    ///
    /// If the values are differences whose mean is smaller than this, they do not differ
    /// significantly from 0.
    pub fn margin(&self, confidence: f64) -> Option<f64> {
        let deviation = self.deviation.filter(|_| is_level(confidence))?;
        let freedom = (self.count - 1) as f64;
        let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
        let quantile = t.inverse_cdf(0.5 + confidence / 2.0);
        Some(quantile * deviation / (self.count as f64).sqrt())
    }
}

/// The interval that contains a fraction `confidence` of the values, with equal tails on both
/// sides. Its ends are [quantiles](Quantiles). `None` without values, or for a fraction outside (0, 1).
pub fn percentile_interval(values: &[f64], confidence: f64) -> Option<[f64; 2]> {
    if !is_level(confidence) {
        return None;
    }
    let quantiles = Quantiles::new(values.iter().copied());
    let tail = (1.0 - confidence) / 2.0;
    Some([quantiles.at(tail)?, quantiles.at(1.0 - tail)?])
}

/// Whether this can be a confidence level.
fn is_level(confidence: f64) -> bool {
    confidence > 0.0 && confidence < 1.0
}

/// Quantiles of a sample.
#[derive(Clone, Debug)]
pub struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Takes the values in any order.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The quantile at a fraction in [0, 1], interpolated linearly between neighboring values.
    /// `None` without values.
    pub fn at(&self, fraction: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let place = fraction.clamp(0.0, 1.0) * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        Some(self.0[below] + (place - below as f64) * (self.0[above] - self.0[below]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Expected values: scipy.stats.t.interval(0.95, 4, mean, sem) and (0.99, 1, …).
    #[test]
    fn margins_match_scipy() {
        let summary = Summary::of(&[1.2, 0.4, 0.9, -0.3, 1.8]).unwrap();
        assert!((summary.mean - 0.8).abs() < 1e-12);
        assert!((summary.deviation.unwrap() - 0.796_868_872_525_461_3).abs() < 1e-12);
        assert!((summary.margin(0.95).unwrap() - 0.989_443_390_304_09).abs() < 1e-6);
        let summary = Summary::of(&[1.0, 2.0]).unwrap();
        assert!((summary.margin(0.99).unwrap() - 31.828_370_581_435_763).abs() < 1e-4);
    }

    #[test]
    fn a_single_value_has_no_spread() {
        let summary = Summary::of(&[3.0]).unwrap();
        assert_eq!((summary.deviation, summary.margin(0.95)), (None, None));
    }

    #[test]
    fn a_confidence_level_is_between_0_and_1() {
        let summary = Summary::of(&[1.0, 2.0]).unwrap();
        for level in [-0.5, 0.0, 1.0, 95.0, f64::NAN] {
            assert_eq!(summary.margin(level), None, "{level}");
            assert_eq!(percentile_interval(&[1.0, 2.0], level), None, "{level}");
        }
    }

    #[test]
    fn quantiles_are_interpolated_between_values() {
        let quantiles = Quantiles::new([4.0, 1.0, 3.0, 2.0]);
        let found = [0.0, 0.25, 0.5, 1.0].map(|fraction| quantiles.at(fraction));
        assert_eq!(found, [1.0, 1.75, 2.5, 4.0].map(Some));
        assert_eq!(Quantiles::new([]).at(0.5), None);
    }

    /// Expected values: numpy.quantile.
    #[test]
    fn percentile_intervals_match_numpy() {
        let values = [4.0, 1.0, 3.0, 2.0, 10.0];
        assert_eq!(percentile_interval(&values, 0.5), Some([2.0, 4.0]));
        let [low, high] = percentile_interval(&values, 0.95).unwrap();
        assert!((low - 1.1).abs() < 1e-12 && (high - 9.4).abs() < 1e-12);
        assert_eq!(percentile_interval(&[7.0], 0.95), Some([7.0, 7.0]));
        assert_eq!(percentile_interval(&[], 0.95), None);
    }
}
