//! Soft-NMS: overlap lowers scores (Bodla et al., <https://arxiv.org/abs/1704.04503>).

use crate::{Detection, iou};

/// The lowest score that a decayed detection keeps.
pub(crate) const MIN_SCORE: f32 = 0.001;

/// Yields the detections by descending decayed score. Each one multiplies the scores of those that are left, and that it
/// relates to, by `decay` of the IoU.
pub(crate) fn soft_nms(
    mut open: Vec<Detection>,
    relates: impl Fn(&Detection, &Detection) -> bool,
    decay: impl Fn(f32) -> f32,
) -> impl Iterator<Item = Detection> {
    std::iter::from_fn(move || {
        // Of equal scores, the first.
        let best = (open.iter().enumerate())
            .reduce(|best, other| match other.1.score.total_cmp(&best.1.score) {
                std::cmp::Ordering::Greater => other,
                _ => best,
            })
            .map(|(place, _)| place)?;
        let best = open.remove(best);
        open.retain_mut(|other| {
            if !relates(&best, other) {
                return true;
            }
            let factor = decay(iou(&best.bbox, &other.bbox));
            other.score *= factor;
            factor == 1.0 || other.score >= MIN_SCORE
        });
        Some(best)
    })
}

/// The factor of the linear method.
pub(crate) fn linear(iou: f32, threshold: f32) -> f32 {
    if iou > threshold { 1.0 - iou } else { 1.0 }
}

/// The factor of the Gaussian method.
pub(crate) fn gaussian(iou: f32, sigma: f32) -> f32 {
    (-(iou * iou) / sigma).exp()
}

#[cfg(test)]
mod tests {
    use crate::{Detection, Nms, NmsMethod, Suppression};

    const GAUSSIAN: NmsMethod = NmsMethod::SoftGaussian { sigma: 0.5 };

    /// A box of 10 × 10 pixels.
    fn detection(x: f32, label: usize, score: f32) -> Detection {
        let bbox = [x, 0.0, x + 10.0, 10.0];
        Detection { bbox, label, score }
    }

    fn scores(nms: Nms, detections: &[Detection]) -> Vec<f32> {
        let found = nms.apply(detections.to_vec(), usize::MAX);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        found.iter().map(|detection| detection.score).collect()
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
        for (one, other) in found.iter().zip(expected) {
            assert!((one - other).abs() < 1e-6, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn every_better_detection_decays_a_score() {
        // IoUs: 6/14 of neighbors, 2/18 of the first and the last.
        let detections = [
            detection(0.0, 0, 0.9),
            detection(4.0, 0, 0.8),
            detection(8.0, 0, 0.7),
        ];
        let (near, far) = (6.0f32 / 14.0, 2.0f32 / 18.0);
        let factor = |iou: f32| (-iou * iou / 0.5).exp();
        // The last one is better than the decayed one in the middle.
        let last = 0.7 * factor(far);
        let middle = 0.8 * factor(near) * factor(near);
        let nms = Nms::new(0.4).with_method(GAUSSIAN);
        assert_close(&scores(nms, &detections), &[0.9, last, middle]);
        // Only neighbors exceed the threshold of the linear method.
        let middle = 0.8 * (1.0 - near) * (1.0 - near);
        let nms = nms.with_method(NmsMethod::SoftLinear);
        assert_close(&scores(nms, &detections), &[0.9, 0.7, middle]);
    }

    #[test]
    fn other_classes_decay_nothing_unless_they_can_suppress() {
        let detections = [detection(0.0, 0, 0.9), detection(0.0, 1, 0.8)];
        let nms = Nms::new(0.5).with_method(GAUSSIAN);
        assert_eq!(scores(nms, &detections), [0.9, 0.8]);
        let across = nms.with_suppression(Suppression::AcrossClasses);
        assert_close(&scores(across, &detections), &[0.9, 0.8 * (-2.0f32).exp()]);
    }

    #[test]
    fn low_scores_are_dropped_only_if_they_have_decayed() {
        let detections = [
            detection(0.0, 0, 0.9),
            detection(0.0, 0, 0.007),
            detection(50.0, 0, 0.0005),
        ];
        // exp(−2) of 0.007 is below 0.001.
        let nms = Nms::new(0.5).with_method(GAUSSIAN);
        assert_eq!(scores(nms, &detections), [0.9, 0.0005]);
        let nms = nms.with_method(NmsMethod::SoftLinear);
        assert_eq!(scores(nms, &detections), [0.9, 0.0005]);
    }

    #[test]
    fn the_limit_keeps_the_best_decayed_scores() {
        let detections = vec![
            detection(0.0, 0, 0.9),
            detection(1.0, 0, 0.8),
            detection(40.0, 0, 0.5),
        ];
        for method in [GAUSSIAN, NmsMethod::SoftLinear] {
            let nms = Nms::new(0.5).with_method(method);
            let all = nms.apply(detections.clone(), usize::MAX);
            assert_eq!(all.len(), 3);
            assert_eq!(nms.apply(detections.clone(), 2), all[..2]);
            assert_eq!(all[1].bbox[0], 40.0);
        }
    }

    #[test]
    fn degenerate_boxes_and_scores_are_handled() {
        let odd = |bbox, score| Detection {
            bbox,
            label: 0,
            score,
        };
        let detections = vec![
            odd([0.0; 4], 0.5),
            odd([f32::NAN; 4], 0.4),
            odd([0.0, 0.0, f32::INFINITY, 5.0], 0.3),
            odd([0.0, 0.0, 5.0, 5.0], f32::NAN),
        ];
        for method in [GAUSSIAN, NmsMethod::SoftLinear, NmsMethod::Diou] {
            let nms = Nms::new(0.5).with_method(method);
            assert!(nms.apply(detections.clone(), usize::MAX).len() >= 3);
        }
        assert!(
            Nms::new(0.5)
                .with_method(GAUSSIAN)
                .apply(Vec::new(), 3)
                .is_empty()
        );
    }
}
