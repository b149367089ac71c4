//! Predicted scores, for predictions of any value.

use crate::predictions::ImagePredictions;

/// The logit of a class at a location; −∞ if it is NaN, or if nothing is predicted for the class.
pub(super) fn logit(predictions: &ImagePredictions<'_>, location: usize, class: usize) -> f64 {
    match predictions.class_logits(location).get(class) {
        Some(logit) if !logit.is_nan() => f64::from(*logit),
        _ => f64::NEG_INFINITY,
    }
}

/// The probability of a class at a location, `σ(logit)`; 0 where the logit is NaN.
pub(super) fn score(predictions: &ImagePredictions<'_>, location: usize, class: usize) -> f64 {
    1.0 / (1.0 + (-logit(predictions, location, class)).exp())
}
