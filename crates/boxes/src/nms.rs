//! Non-maximum suppression on the host.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::Detection;

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
    /// detection that [can suppress](Self::relates) it and has a higher score is greater than
    /// `iou_threshold`. The iterator is lazy: taking the first `n` detections leaves the rest
    /// uncompared.
    pub fn nms(
        self,
        mut detections: Vec<Detection>,
        iou_threshold: f32,
    ) -> impl Iterator<Item = Detection> {
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: HashMap<usize, Vec<[f32; 4]>> = HashMap::new();
        detections.into_iter().filter(move |candidate| {
            let better = kept.entry(self.group(candidate.label)).or_default();
            let suppressed = better
                .iter()
                .any(|better| iou(better, &candidate.bbox) > iou_threshold);
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

/// Intersection over union of two boxes `[x1, y1, x2, y2]`; 0 if the union has no area.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let intersection = intersection(a, b);
    let union = area(a) + area(b) - intersection;
    if union > 0.0 {
        intersection / union
    } else {
        0.0
    }
}

/// The share of the area of `part` that lies in `whole`, from 0 to 1; 0 if `part` has no area.
/// Both are `[x1, y1, x2, y2]`.
///
/// ```
/// use fcos_burn_boxes::share_inside;
///
/// let (half, whole) = ([0.0, 0.0, 4.0, 8.0], [2.0, 0.0, 99.0, 99.0]);
/// assert_eq!(share_inside(&half, &whole), 0.5);
/// ```
pub fn share_inside(part: &[f32; 4], whole: &[f32; 4]) -> f32 {
    let area = area(part);
    if area > 0.0 {
        intersection(part, whole) / area
    } else {
        0.0
    }
}

fn intersection(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    width * height
}

fn area(bbox: &[f32; 4]) -> f32 {
    (bbox[2] - bbox[0]) * (bbox[3] - bbox[1])
}

#[cfg(test)]
mod tests {
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
    fn the_share_inside_is_that_of_the_first_box() {
        let (small, large) = ([8.0, 0.0, 12.0, 5.0], [0.0, 0.0, 10.0, 10.0]);
        assert_eq!(share_inside(&small, &large), 0.5);
        assert_eq!(share_inside(&large, &small), 0.1);
        assert_eq!(share_inside(&[3.0, 3.0, 3.0, 9.0], &large), 0.0);
    }

    #[test]
    fn equal_scores_keep_their_order() {
        let first = detection([0.0, 0.0, 10.0, 10.0], 0, 0.5);
        let second = detection([0.0, 0.0, 10.0, 9.0], 0, 0.5);
        assert_eq!(kept(&[first, second], 0.5), [first]);
        assert_eq!(kept(&[second, first], 0.5), [second]);
    }
}
