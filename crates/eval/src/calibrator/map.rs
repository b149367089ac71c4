use serde::{Deserialize, Serialize};

/// How a [`CalibrationMap`] is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CalibrationMethod {
    /// Isotonic regression (Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass
    /// Probability Estimates", KDD 2002): the rising function with the least squared error. It is
    /// linear between the centers of its steps (Oron and Flournoy, "Centered Isotonic Regression", 2017),
    /// so that different scores stay different.
    Isotonic,
    /// Platt scaling (Platt, "Probabilistic Outputs for Support Vector Machines", 1999):
    /// `σ(a · logit(score) + b)` with `a > 0`, fitted by cross-entropy.
    Platt,
}

/// A rising function of the score, fitted so that it predicts another value: the IoU of a detection,
/// or whether it is correct.
///
/// ```
/// use fcos_burn_eval::calibrator::{CalibrationMap, CalibrationMethod};
///
/// // Scores that are twice the IoU.
/// let pairs: Vec<(f64, f64)> = (1..100).map(|i| (f64::from(i) / 100.0, f64::from(i) / 200.0)).collect();
/// let map = CalibrationMap::fit(CalibrationMethod::Isotonic, &pairs).unwrap();
/// assert!((map.apply(0.6) - 0.3).abs() < 1e-9);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CalibrationMap {
    /// Lines between points, in ascending order of both coordinates.
    Isotonic {
        /// The scores of the points; at least one.
        scores: Vec<f64>,
        /// Their values.
        values: Vec<f64>,
    },
    /// `σ(slope · logit(score) + intercept)`.
    Platt {
        /// Above 0.
        slope: f64,
        /// Any number.
        intercept: f64,
    },
}

/// The slope beyond the first and the last point, which keeps different scores different. If the lines leave [0, 1],
/// all values are compressed to it.
const END_SLOPE: f64 = 1e-3;

/// Scores are kept this far from 0 and 1, where the logit is infinite.
const LOGIT_MARGIN: f64 = 1e-6;

/// The least slope of Platt scaling.
const LEAST_SLOPE: f64 = 1e-3;

impl CalibrationMap {
    /// Fits a map to pairs of a score and the value that it should be, both in [0, 1].
    ///
    /// Platt scaling is drawn to the identity with the weight of one pair, so that it is defined for
    /// pairs that a threshold separates.
    ///
    /// `None` without pairs, or for a value that is outside [0, 1].
    pub fn fit(method: CalibrationMethod, pairs: &[(f64, f64)]) -> Option<Self> {
        let mut values = pairs.iter().flat_map(|(score, value)| [score, value]);
        if pairs.is_empty() || !values.all(|value| (0.0..=1.0).contains(value)) {
            return None;
        }
        Some(match method {
            CalibrationMethod::Isotonic => isotonic(pairs),
            CalibrationMethod::Platt => platt(pairs),
        })
    }

    /// The calibrated score, in [0, 1].
    pub fn apply(&self, score: f64) -> f64 {
        let value = match self {
            Self::Isotonic { scores, values } => interpolate(scores, values, score),
            Self::Platt { slope, intercept } => sigmoid(slope * logit(score) + intercept),
        };
        value.clamp(0.0, 1.0)
    }
}

/// Pools adjacent violators.
fn isotonic(pairs: &[(f64, f64)]) -> CalibrationMap {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Equal scores are one step. A step has a weight, and the sums of its scores and values.
    let mut steps: Vec<[f64; 3]> = Vec::new();
    for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
        let sum: f64 = equal.iter().map(|(_, value)| value).sum();
        let weight = equal.len() as f64;
        let mut step = [weight, weight * equal[0].0, sum];
        let mean = |step: &[f64; 3]| step[2] / step[0];
        while let Some(before) = steps.pop_if(|before| mean(before) >= mean(&step)) {
            step = [0, 1, 2].map(|part| before[part] + step[part]);
        }
        steps.push(step);
    }
    CalibrationMap::Isotonic {
        scores: steps
            .iter()
            .map(|[weight, scores, _]| scores / weight)
            .collect(),
        values: steps
            .iter()
            .map(|[weight, _, values]| values / weight)
            .collect(),
    }
}

/// The value at `x` of the line through points in ascending order.
fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let (Some((first_x, last_x)), Some((first_y, last_y))) =
        (xs.first().zip(xs.last()), ys.first().zip(ys.last()))
    else {
        return x;
    };
    let lowest = (first_y - END_SLOPE * first_x).min(0.0);
    let highest = (last_y + END_SLOPE * (1.0 - last_x)).max(1.0);
    let value = match xs.partition_point(|known| *known <= x) {
        0 => first_y - END_SLOPE * (first_x - x),
        place if place < xs.len().min(ys.len()) => {
            let share = (x - xs[place - 1]) / (xs[place] - xs[place - 1]);
            ys[place - 1] + share * (ys[place] - ys[place - 1])
        }
        _ => last_y + END_SLOPE * (x - last_x),
    };
    (value - lowest) / (highest - lowest)
}

/// Newton's method on the cross-entropy, which is convex.
fn platt(pairs: &[(f64, f64)]) -> CalibrationMap {
    let pairs: Vec<(f64, f64)> = pairs
        .iter()
        .map(|(score, value)| (logit(*score), *value))
        .collect();
    let (mut slope, mut intercept) = (1.0, 0.0);
    let mut loss = cross_entropy(&pairs, slope, intercept);
    for _ in 0..100 {
        let (step_of_slope, step_of_intercept) = newton_step(&pairs, slope, intercept);
        // Halved until the loss falls.
        let halved = (0..30)
            .map(|halvings| 0.5_f64.powi(halvings))
            .find_map(|share| {
                let slope = f64::max(slope - share * step_of_slope, LEAST_SLOPE);
                let intercept = intercept - share * step_of_intercept;
                let found = cross_entropy(&pairs, slope, intercept);
                (found < loss).then_some((slope, intercept, found))
            });
        let Some((new_slope, new_intercept, found)) = halved else {
            break;
        };
        let gain = loss - found;
        (slope, intercept, loss) = (new_slope, new_intercept, found);
        if gain < 1e-12 * pairs.len() as f64 {
            break;
        }
    }
    CalibrationMap::Platt { slope, intercept }
}

/// The sum of the cross-entropies, and half the squared distance from the identity.
fn cross_entropy(pairs: &[(f64, f64)], slope: f64, intercept: f64) -> f64 {
    let entropy = |(x, target): &(f64, f64)| {
        let logit = slope * x + intercept;
        // ln(1 + e^o) − t o
        logit.max(0.0) + (-logit.abs()).exp().ln_1p() - target * logit
    };
    let sum: f64 = pairs.iter().map(entropy).sum();
    sum + 0.5 * ((slope - 1.0).powi(2) + intercept.powi(2))
}

fn newton_step(pairs: &[(f64, f64)], slope: f64, intercept: f64) -> (f64, f64) {
    let mut gradient = [slope - 1.0, intercept];
    let mut curvature = [1.0, 0.0, 1.0];
    for (x, target) in pairs {
        let probability = sigmoid(slope * x + intercept);
        let error = probability - target;
        gradient[0] += error * x;
        gradient[1] += error;
        let weight = probability * (1.0 - probability);
        curvature[0] += weight * x * x;
        curvature[1] += weight * x;
        curvature[2] += weight;
    }
    let [xx, x, one] = curvature;
    let determinant = xx * one - x * x;
    (
        (one * gradient[0] - x * gradient[1]) / determinant,
        (xx * gradient[1] - x * gradient[0]) / determinant,
    )
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(LOGIT_MARGIN, 1.0 - LOGIT_MARGIN);
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fit(method: CalibrationMethod, pairs: &[(f64, f64)]) -> CalibrationMap {
        CalibrationMap::fit(method, pairs).unwrap()
    }

    /// The steps of scikit-learn's `IsotonicRegression` for the same pairs.
    #[test]
    fn isotonic_regression_pools_adjacent_violators() {
        let pairs = [
            (0.1, 0.1),
            (0.2, 0.4),
            (0.3, 0.2),
            (0.3, 0.4),
            (0.5, 0.3),
            (0.6, 0.9),
            (0.9, 0.8),
        ];
        let CalibrationMap::Isotonic { scores, values } = fit(CalibrationMethod::Isotonic, &pairs)
        else {
            panic!("not isotonic");
        };
        // The four values from 0.2 to 0.5 are one step, and the last two.
        let expected = [(0.1, 0.1), (1.3 / 4.0, 1.3 / 4.0), (0.75, 0.85)];
        assert_eq!(scores.len(), 3);
        for ((score, value), (x, y)) in scores.iter().zip(&values).zip(expected) {
            assert!((score - x).abs() < 1e-12 && (value - y).abs() < 1e-12);
        }
    }

    /// No rising sequence is nearer: the inequality that defines the projection onto a convex cone.
    #[test]
    fn isotonic_steps_are_the_nearest_rising_values() {
        let targets = [0.5, 0.1, 0.3, 0.2, 0.9, 0.4, 0.6, 0.8, 0.7, 1.0];
        let pairs: Vec<(f64, f64)> = (0..10)
            .map(|i| (f64::from(i) / 10.0, targets[i as usize]))
            .collect();
        let CalibrationMap::Isotonic { scores, values } = fit(CalibrationMethod::Isotonic, &pairs)
        else {
            panic!("not isotonic");
        };
        // The step of each pair is that with the nearest center in a run whose mean is the center.
        let mut fitted = Vec::new();
        for (center, value) in scores.iter().zip(&values) {
            let length = (1..=10 - fitted.len()).find(|length| {
                let run = &pairs[fitted.len()..fitted.len() + length];
                let mean = run.iter().map(|pair| pair.0).sum::<f64>() / *length as f64;
                (mean - center).abs() < 1e-9
            });
            fitted.extend(vec![*value; length.unwrap()]);
        }
        assert_eq!(fitted.len(), 10);
        assert!(fitted.is_sorted());
        for start in 0..=10 {
            // The generators of the cone: constants, and steps from 0 to 1.
            let product: f64 = (start..10).map(|i| targets[i] - fitted[i]).sum();
            assert!(product < 1e-9, "{start}: {product}");
        }
    }

    #[test]
    fn platt_scaling_recovers_the_logistic_function() {
        let pairs: Vec<(f64, f64)> = (1..2000)
            .map(|i| f64::from(i) / 2000.0)
            .map(|score| (score, sigmoid(0.7 * logit(score) - 1.2)))
            .collect();
        let CalibrationMap::Platt { slope, intercept } = fit(CalibrationMethod::Platt, &pairs)
        else {
            panic!("not Platt scaling");
        };
        assert!((slope - 0.7).abs() < 0.01, "{slope}");
        assert!((intercept + 1.2).abs() < 0.01, "{intercept}");
    }

    #[test]
    fn the_mean_of_the_calibrated_scores_is_that_of_the_values() {
        let pairs: Vec<(f64, f64)> = (0..500)
            .map(|i| f64::from(i) / 500.0)
            .map(|score| (score, score * score))
            .collect();
        let mean: f64 = pairs.iter().map(|pair| pair.1).sum::<f64>() / 500.0;
        for method in [CalibrationMethod::Isotonic, CalibrationMethod::Platt] {
            let map = fit(method, &pairs);
            let calibrated = pairs.iter().map(|pair| map.apply(pair.0));
            let found = calibrated.sum::<f64>() / 500.0;
            assert!((found - mean).abs() < 0.003, "{method:?}: {found}, {mean}");
        }
    }

    #[test]
    fn maps_keep_the_order_of_scores() {
        // Values that fall with the score, and values that a threshold separates.
        let falling: Vec<(f64, f64)> = (0..50)
            .map(|i| f64::from(i) / 50.0)
            .map(|s| (s, 1.0 - s))
            .collect();
        let separated: Vec<(f64, f64)> = (0..50)
            .map(|i| (f64::from(i) / 50.0, f64::from(u8::from(i >= 25))))
            .collect();
        for pairs in [
            falling,
            separated,
            vec![(0.5, 0.0)],
            vec![(1.0, 1.0), (0.0, 0.0)],
        ] {
            for method in [CalibrationMethod::Isotonic, CalibrationMethod::Platt] {
                let map = fit(method, &pairs);
                let calibrated: Vec<f64> =
                    (1..100).map(|i| map.apply(f64::from(i) / 100.0)).collect();
                let in_range = |value: &f64| (0.0..=1.0).contains(value);
                assert!(calibrated.iter().all(in_range), "{map:?}");
                let rises = |pair: &[f64]| pair[0] < pair[1];
                assert!(calibrated.windows(2).all(rises), "{map:?}: {calibrated:?}");
            }
        }
    }

    #[test]
    fn nothing_is_fitted_to_values_out_of_range() {
        for method in [CalibrationMethod::Isotonic, CalibrationMethod::Platt] {
            for pairs in [&[][..], &[(0.5, 1.5)], &[(f64::NAN, 0.5)]] {
                assert_eq!(CalibrationMap::fit(method, pairs), None);
            }
        }
    }
}
