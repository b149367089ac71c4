//! Distributions: quantiles and a histogram.

use fcos_burn_eval::statistics::Quantiles;
use serde::Serialize;

/// The largest number of bins in a histogram of whole numbers.
const MAX_BINS: usize = 24;

/// A histogram bin for the values in `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Bin {
    /// The smallest value.
    pub from: f64,
    /// The end of the values, exclusive.
    pub to: f64,
    /// The number of values.
    pub count: usize,
}

/// The distribution of values.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Distribution {
    /// The smallest value.
    pub min: f64,
    /// The 10% quantile.
    pub tenth: f64,
    /// The median.
    pub median: f64,
    /// The 90% quantile.
    pub ninetieth: f64,
    /// The largest value.
    pub max: f64,
    /// The histogram: adjacent bins. The first and the last are not empty.
    pub bins: Vec<Bin>,
}

impl Distribution {
    /// The distribution of positive values, in bins of half an octave: each bin starts at √2 times the start of the
    /// previous one, and one starts at 1. `None` without values.
    pub(crate) fn of_sizes(values: &[f64]) -> Option<Self> {
        let edge = |exponent: i64| (exponent as f64 / 2.0).exp2();
        // Rounding may put a value at an edge into either bin.
        let exponent = |value: f64| {
            let estimate = (2.0 * value.log2()).floor() as i64;
            match value {
                value if value >= edge(estimate + 1) => estimate + 1,
                value if value < edge(estimate) => estimate - 1,
                _ => estimate,
            }
        };
        Self::in_bins(values, exponent, edge)
    }

    /// The distribution of whole numbers, in bins of equal width. `None` without values.
    pub(crate) fn of_counts(values: &[usize]) -> Option<Self> {
        let range = values.iter().max()? - values.iter().min()? + 1;
        let width = range.div_ceil(MAX_BINS);
        let values: Vec<f64> = values.iter().map(|&value| value as f64).collect();
        let bin = |value: f64| (value as usize / width) as i64;
        Self::in_bins(&values, bin, |bin| bin as f64 * width as f64)
    }

    fn in_bins(
        values: &[f64],
        bin: impl Fn(f64) -> i64,
        edge: impl Fn(i64) -> f64,
    ) -> Option<Self> {
        let quantiles = Quantiles::new(values.iter().copied());
        let (min, max) = (quantiles.at(0.0)?, quantiles.at(1.0)?);
        let first = bin(min);
        let bins = (first..=bin(max)).map(|index| Bin {
            from: edge(index),
            to: edge(index + 1),
            count: 0,
        });
        let mut bins: Vec<Bin> = bins.collect();
        for &value in values {
            if let Some(bin) = bins.get_mut((bin(value) - first) as usize) {
                bin.count += 1;
            }
        }
        Some(Self {
            min,
            tenth: quantiles.at(0.1)?,
            median: quantiles.at(0.5)?,
            ninetieth: quantiles.at(0.9)?,
            max,
            bins,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn counts(distribution: &Distribution) -> Vec<(f64, usize)> {
        let bins = distribution.bins.iter();
        bins.map(|bin| ((bin.from * 100.0).round() / 100.0, bin.count))
            .collect()
    }

    #[test]
    fn sizes_are_in_bins_of_half_an_octave() {
        let values = [1.0, 1.4, 1.5, 2.0, 3.9, 0.5];
        let found = Distribution::of_sizes(&values).unwrap();
        let expected = [
            (0.5, 1),
            (0.71, 0),
            (1.0, 2),
            (1.41, 1),
            (2.0, 1),
            (2.83, 1),
        ];
        assert_eq!(counts(&found), expected);
        assert_eq!((found.min, found.median, found.max), (0.5, 1.45, 3.9));
        assert_eq!(Distribution::of_sizes(&[]), None);
    }

    #[test]
    fn values_at_edges_belong_to_the_bin_that_starts_there() {
        for exponent in -60..60_i64 {
            let edge = (exponent as f64 / 2.0).exp2();
            let found = Distribution::of_sizes(&[edge]).unwrap();
            assert_eq!((found.bins.len(), found.bins[0].from), (1, edge));
        }
    }

    #[test]
    fn whole_numbers_are_in_bins_of_equal_width() {
        let found = Distribution::of_counts(&[3, 5, 5, 6]).unwrap();
        assert_eq!(counts(&found), [(3.0, 1), (4.0, 0), (5.0, 2), (6.0, 1)]);
        let values: Vec<usize> = (0..100).collect();
        let found = Distribution::of_counts(&values).unwrap();
        assert!(found.bins.len() <= MAX_BINS);
        assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), 100);
        assert!(found.bins[1..].iter().all(|bin| bin.count <= 5));
    }
}
