//! Non-maximum suppression on the host.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    Detection, diou, iou,
    soft_nms::{MIN_SCORE, gaussian, linear, soft_nms},
};

/// Non-maximum suppression: how detections of the same object become one.
///
/// ```
/// use fcos_burn_boxes::{Detection, Nms, NmsMethod};
///
/// let detection = |x, score| Detection { bbox: [x, 0.0, x + 10.0, 10.0], label: 0, score };
/// let detections = vec![detection(0.0, 0.75), detection(2.0, 0.5)];
/// let nms = Nms::new(0.5);
/// assert_eq!(nms.apply(detections.clone(), usize::MAX), [detection(0.0, 0.75)]);
/// // The IoU is 8/12. Soft-NMS keeps the second box with a third of its score.
/// let kept = nms.with_method(NmsMethod::SoftLinear).apply(detections, usize::MAX);
/// assert!((kept[1].score - 0.5 / 3.0).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Nms {
    /// What overlap does to the lower-scored of two detections.
    pub method: NmsMethod,
    /// The overlap above which it does so.
    pub iou_threshold: f32,
    /// Which detections suppress each other.
    pub suppression: Suppression,
}

/// What overlap does to the lower-scored of two detections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NmsMethod {
    /// It is dropped if the IoU exceeds the threshold (FCOS, torchvision).
    #[default]
    Greedy,
    /// It is dropped if the [DIoU](diou) exceeds the threshold, so that boxes with distant centers stay (DIoU-NMS; Zheng
    /// et al., [Distance-IoU Loss](https://arxiv.org/abs/1911.08287), AAAI 2020).
    Diou,
    /// Its score is multiplied by 1 − IoU if the IoU exceeds the threshold (Bodla et al.,
    /// [Soft-NMS](https://arxiv.org/abs/1704.04503), ICCV 2017).
    SoftLinear,
    /// Its score is multiplied by exp(−IoU² / σ), whatever the threshold (Bodla et al., 2017).
    SoftGaussian {
        /// The width σ of the Gaussian, above 0. The authors use 0.5.
        sigma: f32,
    },
}

impl NmsMethod {
    /// The overlap of two boxes `[x1, y1, x2, y2]` that is compared with the threshold: IoU or DIoU.
    pub fn overlap(self, a: &[f32; 4], b: &[f32; 4]) -> f32 {
        match self {
            Self::Diou => diou(a, b),
            _ => iou(a, b),
        }
    }
}

impl fmt::Display for NmsMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greedy => f.write_str("greedy NMS"),
            Self::Diou => f.write_str("DIoU-NMS"),
            Self::SoftLinear => f.write_str("linear Soft-NMS"),
            Self::SoftGaussian { sigma } => write!(f, "Gaussian Soft-NMS with σ = {sigma}"),
        }
    }
}

impl Nms {
    /// The least score of a detection that a soft method has decayed; that of the authors.
    pub const MIN_DECAYED_SCORE: f32 = MIN_SCORE;

    /// Greedy suppression within each class.
    pub fn new(iou_threshold: f32) -> Self {
        Self {
            method: NmsMethod::Greedy,
            iou_threshold,
            suppression: Suppression::WithinClass,
        }
    }

    /// Sets [`method`](Self::method).
    #[must_use]
    pub fn with_method(self, method: NmsMethod) -> Self {
        Self { method, ..self }
    }

    /// Sets [`suppression`](Self::suppression).
    #[must_use]
    pub fn with_suppression(self, suppression: Suppression) -> Self {
        Self {
            suppression,
            ..self
        }
    }

    /// The `limit` best detections after suppression, by descending score. Equal scores keep their order in
    /// `detections`.
    ///
    /// The soft methods decay a score by the overlap with every better detection, one after the other. A detection is
    /// dropped if its decayed score is below [`MIN_DECAYED_SCORE`](Self::MIN_DECAYED_SCORE).
    pub fn apply(&self, detections: Vec<Detection>, limit: usize) -> Vec<Detection> {
        let (suppression, threshold) = (self.suppression, self.iou_threshold);
        let relates = |a: &Detection, b: &Detection| suppression.relates(a, b);
        match self.method {
            NmsMethod::Greedy => (suppression.nms(detections, threshold))
                .take(limit)
                .collect(),
            NmsMethod::Diou => (suppression.greedy(detections, |a, b| diou(a, b) > threshold))
                .take(limit)
                .collect(),
            NmsMethod::SoftLinear => (soft_nms(detections, relates, |iou| linear(iou, threshold)))
                .take(limit)
                .collect(),
            NmsMethod::SoftGaussian { sigma } => {
                (soft_nms(detections, relates, |iou| gaussian(iou, sigma)))
                    .take(limit)
                    .collect()
            }
        }
    }
}

/// Which detections can suppress each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Suppression {
    /// Those of the same class (FCOS, torchvision).
    #[default]
    WithinClass,
    /// All: at most one class is detected in a place.
    AcrossClasses,
}

impl Suppression {
    /// Greedy non-maximum suppression.
    ///
    /// Yields the detections that are kept in order of descending score; equal scores keep
    /// their order in `detections`. A detection is suppressed if its IoU with a kept
    /// detection that comes before it in this order and [can suppress](Self::relates) it is
    /// greater than `iou_threshold`. The iterator is lazy: taking the first `n` detections leaves the rest
    /// uncompared.
    pub fn nms(
        self,
        detections: Vec<Detection>,
        iou_threshold: f32,
    ) -> impl Iterator<Item = Detection> {
        self.greedy(detections, move |better, bbox| {
            iou(better, bbox) > iou_threshold
        })
    }

    /// The detections that no better one suppresses.
    fn greedy(
        self,
        mut detections: Vec<Detection>,
        suppresses: impl Fn(&[f32; 4], &[f32; 4]) -> bool,
    ) -> impl Iterator<Item = Detection> {
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: HashMap<usize, Vec<[f32; 4]>> = HashMap::new();
        detections.into_iter().filter(move |candidate| {
            let better = kept.entry(self.group(candidate.label)).or_default();
            let suppressed = (better.iter()).any(|better| suppresses(better, &candidate.bbox));
            if !suppressed {
                better.push(candidate.bbox);
            }
            !suppressed
        })
    }

    /// Whether one detection can suppress the other, depending on their classes.
    pub fn relates(self, one: &Detection, other: &Detection) -> bool {
        self.group(one.label) == self.group(other.label)
    }

    /// Detections can suppress each other within a group.
    fn group(self, label: usize) -> usize {
        match self {
            Self::WithinClass => label,
            Self::AcrossClasses => 0,
        }
    }
}

/// Greedy non-maximum suppression within each class: [`Suppression::nms`] with
/// [`Suppression::WithinClass`].
pub fn batched_nms(
    detections: Vec<Detection>,
    iou_threshold: f32,
) -> impl Iterator<Item = Detection> {
    Suppression::WithinClass.nms(detections, iou_threshold)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn kept(detections: &[Detection], iou_threshold: f32) -> Vec<Detection> {
        batched_nms(detections.to_vec(), iou_threshold).collect()
    }

    fn detection(bbox: [f32; 4], label: usize, score: f32) -> Detection {
        Detection { bbox, label, score }
    }

    #[test]
    fn only_lower_scores_of_the_same_class_are_suppressed() {
        let best = detection([0.0, 0.0, 10.0, 10.0], 0, 0.9);
        let overlapping = detection([1.0, 0.0, 11.0, 10.0], 0, 0.8);
        let other_class = detection([1.0, 0.0, 11.0, 10.0], 1, 0.7);
        let touching = detection([10.0, 0.0, 20.0, 10.0], 0, 0.6);
        let kept = kept(&[touching, other_class, overlapping, best], 0.6);
        assert_eq!(kept, [best, other_class, touching]);
    }

    #[test]
    fn iou_equal_to_the_threshold_is_kept() {
        // Intersection 60, union 100.
        let a = detection([0.0, 0.0, 10.0, 8.0], 0, 0.9);
        let b = detection([0.0, 2.0, 10.0, 10.0], 0, 0.8);
        assert_eq!(kept(&[a, b], 0.6).len(), 2);
        assert_eq!(kept(&[a, b], 0.59).len(), 1);
    }

    #[test]
    fn a_suppressed_box_suppresses_no_other() {
        let first = detection([0.0, 0.0, 10.0, 10.0], 0, 0.9);
        let middle = detection([3.0, 0.0, 13.0, 10.0], 0, 0.8);
        let last = detection([6.0, 0.0, 16.0, 10.0], 0, 0.7);
        // The IoU of neighbors is 7/13, that of first and last 4/16.
        assert_eq!(kept(&[first, middle, last], 0.5), [first, last]);
    }

    #[test]
    fn boxes_of_all_classes_can_suppress_each_other() {
        let best = detection([0.0, 0.0, 10.0, 10.0], 3, 0.9);
        let other_class = detection([1.0, 0.0, 11.0, 10.0], 1, 0.8);
        let elsewhere = detection([50.0, 0.0, 60.0, 10.0], 1, 0.7);
        let all = vec![elsewhere, other_class, best];
        let kept: Vec<Detection> = Suppression::AcrossClasses.nms(all.clone(), 0.6).collect();
        assert_eq!(kept, [best, elsewhere]);
        assert_eq!(Suppression::WithinClass.nms(all, 0.6).count(), 3);
    }

    #[test]
    fn diou_keeps_a_box_whose_center_is_far() {
        // Both have an IoU of 1/2 with the first box; the second has its center.
        let first = detection([0.0, 0.0, 12.0, 12.0], 0, 0.9);
        let centered = detection([0.0, 3.0, 12.0, 9.0], 0, 0.8);
        let aside = detection([0.0, 0.0, 12.0, 6.0], 0, 0.7);
        let nms = Nms::new(0.49);
        let all = vec![first, centered, aside];
        assert_eq!(nms.apply(all.clone(), 9), [first]);
        let kept = nms.with_method(NmsMethod::Diou).apply(all, 9);
        assert_eq!(kept, [first, aside]);
    }

    #[test]
    fn methods_have_short_names_in_files() {
        let gaussian = NmsMethod::SoftGaussian { sigma: 0.5 };
        for (method, json) in [
            (NmsMethod::Greedy, r#""greedy""#),
            (NmsMethod::SoftLinear, r#""soft-linear""#),
            (gaussian, r#"{"soft-gaussian":{"sigma":0.5}}"#),
        ] {
            assert_eq!(serde_json::to_string(&method).unwrap(), json);
            assert_eq!(serde_json::from_str::<NmsMethod>(json).unwrap(), method);
        }
    }

    #[test]
    fn equal_scores_keep_their_order() {
        let first = detection([0.0, 0.0, 10.0, 10.0], 0, 0.5);
        let second = detection([0.0, 0.0, 10.0, 9.0], 0, 0.5);
        assert_eq!(kept(&[first, second], 0.5), [first]);
        assert_eq!(kept(&[second, first], 0.5), [second]);
    }
}
