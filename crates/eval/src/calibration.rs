//! Calibration: how well scores predict the IoU. [`calibrator`](crate::calibrator) makes scores
//! predict it.

use crate::matching::{Matching, Outcome};

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

/// The usual number of bins of [`localization_aware_error`].
pub const LOCALIZATION_AWARE_BINS: usize = 25;

/// The localization-aware expected calibration error (LaECE, Oksuz et al., [Towards Building
/// Self-Aware Object Detectors](https://arxiv.org/abs/2307.00934), CVPR 2023): the mean over the
/// classes that have detections of the [`calibration_error`] with the precision times the mean IoU of the
/// correct detections of a bin in place of its mean IoU.
///
/// A detection is correct if it finds an object in the matching. Those that find a crowd are left
/// out. Unlike in `calibration_error`, duplicates count as an IoU of 0, and rare classes count as much
/// as frequent ones.
///
/// `None` if it is undefined: without detections or bins, or for a score outside [0, 1].
pub fn localization_aware_error(matching: &Matching, bins: usize) -> Option<f64> {
    let mut by_class = vec![(Vec::new(), Vec::new()); matching.classes().len()];
    for image in matching.images() {
        let ious = image.ious();
        for (row, (detection, outcome)) in image.detections.iter().zip(&image.outcomes).enumerate()
        {
            let iou = match outcome {
                Outcome::Ignored => continue,
                Outcome::Correct { object } => ious.at((row, *object)).clamp(0.0, 1.0),
                _ => 0.0,
            };
            let (scores, targets) = &mut by_class[detection.label];
            scores.push(f64::from(detection.score));
            targets.push(iou);
        }
    }
    by_class.retain(|(scores, _)| !scores.is_empty());
    let errors = by_class
        .iter()
        .map(|(scores, ious)| calibration_error(scores, ious, bins));
    let sum: f64 = errors.sum::<Option<f64>>()?;
    (!by_class.is_empty()).then(|| sum / by_class.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_boxes::Detection;
    use fcos_burn_data::{
        DetectionDataset,
        shapes::{ShapesConfig, ShapesSplit},
    };

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
    fn the_localization_aware_error_is_a_mean_over_classes() {
        let shapes = ShapesConfig::default().with_val_images(30);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let mut images = dataset.images().iter().enumerate();
        let (index, image) = images.find(|(_, image)| image.objects.len() == 1).unwrap();
        let object = &image.objects[0];
        let found = |score: f32| Detection {
            bbox: object.bbox.to_xyxy(),
            label: object.label,
            score,
        };
        let other = Detection {
            bbox: [0.0, 0.0, 1.0, 1.0],
            label: (object.label + 1) % 6,
            score: 0.3,
        };
        // A correct detection and a duplicate in the same bin; another class has one on background.
        let detections = vec![(index, vec![found(0.9), found(0.86), other])];
        let matching = Matching::new(&dataset, &detections, 0.5).unwrap();
        let expected = (((0.9 + 0.86) / 2.0 - 0.5_f64).abs() + 0.3) / 2.0;
        let error = localization_aware_error(&matching, 5).unwrap();
        assert!((error - expected).abs() < 1e-6, "{error}");
        let none = Matching::new(&dataset, &[], 0.5).unwrap();
        assert_eq!(localization_aware_error(&none, 5), None);
        assert_eq!(localization_aware_error(&matching, 0), None);
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
