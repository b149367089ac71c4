//! Calibration: how well scores predict the IoU.

/// The usual number of bins of [`calibration_error`] (Guo et al., "On Calibration of Modern
/// Neural Networks", ICML 2017).
pub const CALIBRATION_BINS: usize = 15;

/// The expected calibration error (ECE) of scores as predictions of the IoU.
///
/// The `N` detections are divided by score into `bins` bins of equal width. The error is
///
/// `Σ_b n_b / N · |mean score in b − mean IoU in b|`
///
/// with `n_b` detections in bin `b`. It is in [0, 1], and 0 if the mean score equals the mean
/// IoU in every bin. Scores and IoUs are in [0, 1].
///
/// `None` if it is undefined: without detections or bins, for slices of different lengths, or
/// for a value outside [0, 1].
///
/// ```
/// use fcos_burn_eval::calibration::calibration_error;
///
/// let scores = [0.1, 0.3, 0.6, 0.8];
/// assert_eq!(calibration_error(&scores, &scores, 10), Some(0.0));
/// let error = calibration_error(&scores, &[0.5; 4], 2);
/// assert!(error.is_some_and(|error| (error - 0.25).abs() < 1e-12));
/// ```
pub fn calibration_error(scores: &[f64], ious: &[f64], bins: usize) -> Option<f64> {
    let defined = |values: &[f64]| values.iter().all(|value| (0.0..=1.0).contains(value));
    if scores.is_empty() || bins == 0 || scores.len() != ious.len() {
        return None;
    }
    if !defined(scores) || !defined(ious) {
        return None;
    }
    let mut excess = vec![0.0; bins];
    for (score, iou) in scores.iter().zip(ious) {
        // A score of 1 belongs to the last bin.
        let bin = ((score * bins as f64) as usize).min(bins - 1);
        excess[bin] += score - iou;
    }
    let sum: f64 = excess.iter().map(|excess: &f64| excess.abs()).sum();
    Some(sum / scores.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_error_follows_its_definition() {
        // Three bins: {0.1, 0.2}, {0.5}, {0.9, 1.0}.
        let scores = [0.9, 0.1, 0.5, 0.2, 1.0];
        let ious = [0.5, 0.3, 0.4, 0.2, 0.6];
        let bins = [
            (0.1 + 0.2_f64 - 0.3 - 0.2).abs(),
            0.1,
            (0.9 + 1.0 - 0.5 - 0.6_f64).abs(),
        ];
        let expected = bins.iter().sum::<f64>() / 5.0;
        let found = calibration_error(&scores, &ious, 3).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}, {expected}");
    }

    #[test]
    fn a_single_bin_compares_the_means() {
        let scores = [0.0, 0.25, 1.0];
        let ious = [0.5, 0.5, 0.5];
        let found = calibration_error(&scores, &ious, 1).unwrap();
        assert!((found - (1.25 - 1.5_f64).abs() / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_error_is_undefined_without_detections_and_outside_its_range() {
        assert_eq!(calibration_error(&[], &[], 15), None);
        assert_eq!(calibration_error(&[0.5], &[0.5], 0), None);
        assert_eq!(calibration_error(&[0.5], &[], 15), None);
        assert_eq!(calibration_error(&[f64::NAN], &[0.5], 15), None);
        assert_eq!(calibration_error(&[0.5], &[1.5], 15), None);
    }
}
