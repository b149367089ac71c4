//! Weighted boxes fusion.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{BoundingBox, Detection, iou};

/// Weighted boxes fusion (Solovyev et al., [Weighted boxes fusion: Ensembling boxes from different object detection
/// models](https://arxiv.org/abs/1910.13302), 2021): merges the detections of several models, or of several views of an
/// image, by averaging the boxes of an object instead of choosing one.
///
/// ```
/// use fcos_burn_boxes::{Detection, WeightedBoxesFusion};
///
/// let detection = |bbox, score| Detection { bbox, label: 0, score };
/// let one = [detection([0.0, 0.0, 10.0, 10.0], 0.75)];
/// let other = [
///     detection([0.0, 0.0, 10.0, 14.0], 0.25),
///     detection([50.0, 0.0, 60.0, 10.0], 0.5),
/// ];
/// let fused = WeightedBoxesFusion::default().fuse(&[(1.0, &one), (1.0, &other)]);
/// // Boxes are averaged by their scores. What only one of two sources sees has half its score.
/// assert_eq!(fused, [
///     detection([0.0, 0.0, 10.0, 11.0], 0.5),
///     detection([50.0, 0.0, 60.0, 10.0], 0.25),
/// ]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WeightedBoxesFusion {
    /// A box joins the cluster with whose mean it has the largest IoU, if that is greater than this, from 0 to 1; 0.7 by
    /// default.
    ///
    /// Suppression at an IoU of t leaves boxes of different objects in a source that overlap by up to t: choose it above t,
    /// so that these are not averaged. The authors use 0.55.
    pub iou_threshold: f32,
}

impl Default for WeightedBoxesFusion {
    fn default() -> Self {
        Self { iou_threshold: 0.7 }
    }
}

impl WeightedBoxesFusion {
    /// Sets [`iou_threshold`](Self::iou_threshold).
    #[must_use]
    pub fn with_iou_threshold(self, iou_threshold: f32) -> Self {
        Self { iou_threshold }
    }

    /// The fused detections of several sources, each with its weight, by descending score. Labels must mean the same
    /// classes in all sources.
    ///
    /// Detections of all sources are taken by descending weighted score w·s, and join clusters of their class. Of a
    /// cluster with n detections, the box is the mean weighted by w·s, and the score is the mean of w·s times
    /// min(n, N) / Σw, with the sum over all N sources, at most 1. With the same weight for all, the score is thus
    /// lowered by the share of the sources that do not see the object. The scale of the weights does not matter.
    ///
    /// Detections with a [degenerate](BoundingBox::is_degenerate) box, or whose score is not above 0, are left out, and
    /// so are sources whose weight is not positive and finite.
    pub fn fuse(&self, sources: &[(f32, &[Detection])]) -> Vec<Detection> {
        let sources = (sources.iter()).filter(|(weight, _)| *weight > 0.0 && weight.is_finite());
        let (mut count, mut total, mut entries) = (0, 0.0, Vec::new());
        for (weight, detections) in sources {
            let weight = f64::from(*weight);
            count += 1;
            total += weight;
            let sound = (detections.iter()).filter(|detection| {
                detection.score > 0.0 && !BoundingBox::from_xyxy(detection.bbox).is_degenerate()
            });
            entries.extend(sound.map(|detection| Entry {
                bbox: detection.bbox,
                label: detection.label,
                weighted_score: weight * f64::from(detection.score),
            }));
        }
        entries.sort_by(|a, b| b.weighted_score.total_cmp(&a.weighted_score));
        let mut clusters: Vec<Cluster> = Vec::new();
        let mut of_class: HashMap<usize, Vec<usize>> = HashMap::new();
        for entry in entries {
            let places = of_class.entry(entry.label).or_default();
            let mut joined = None;
            let mut most = self.iou_threshold;
            for &place in places.iter() {
                let iou = iou(&clusters[place].mean, &entry.bbox);
                if iou > most {
                    (joined, most) = (Some(place), iou);
                }
            }
            match joined {
                Some(place) => clusters[place].add(&entry),
                None => {
                    places.push(clusters.len());
                    clusters.push(Cluster::new(&entry));
                }
            }
        }
        let mut fused: Vec<Detection> = (clusters.iter())
            .map(|cluster| cluster.detection(count, total))
            .collect();
        fused.sort_by(|a, b| b.score.total_cmp(&a.score));
        fused
    }
}

/// A detection of a source.
struct Entry {
    bbox: [f32; 4],
    label: usize,
    weighted_score: f64,
}

/// Detections that are taken for the same object.
struct Cluster {
    label: usize,
    count: usize,
    /// The sum of the weighted scores.
    scores: f64,
    /// The sum of the corners, each times its weighted score.
    corners: [f64; 4],
    /// The weighted mean of the boxes.
    mean: [f32; 4],
}

impl Cluster {
    fn new(entry: &Entry) -> Self {
        Self {
            label: entry.label,
            count: 1,
            scores: entry.weighted_score,
            corners: entry
                .bbox
                .map(|edge| f64::from(edge) * entry.weighted_score),
            mean: entry.bbox,
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.scores += entry.weighted_score;
        for (sum, edge) in self.corners.iter_mut().zip(entry.bbox) {
            *sum += f64::from(edge) * entry.weighted_score;
        }
        self.mean = self.corners.map(|sum| (sum / self.scores) as f32);
    }

    /// The fused detection, of `sources` sources whose weights add up to `total`.
    fn detection(&self, sources: usize, total: f64) -> Detection {
        let mean = self.scores / self.count as f64;
        let score = mean * self.count.min(sources) as f64 / total;
        Detection {
            bbox: self.mean,
            label: self.label,
            score: score.min(1.0) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(bbox: [f32; 4], label: usize, score: f32) -> Detection {
        Detection { bbox, label, score }
    }

    const FUSION: WeightedBoxesFusion = WeightedBoxesFusion {
        iou_threshold: 0.55,
    };

    fn fuse(sources: &[(f32, &[Detection])]) -> Vec<Detection> {
        FUSION.fuse(sources)
    }

    #[test]
    fn equal_sources_change_nothing() {
        let seen = [
            detection([1.0, 2.0, 10.0, 12.0], 0, 0.875),
            detection([30.0, 2.0, 41.0, 12.0], 1, 0.5),
        ];
        assert_eq!(fuse(&[(1.0, &seen)]), seen);
        assert_eq!(fuse(&[(0.25, &seen), (0.25, &seen), (0.25, &seen)]), seen);
    }

    #[test]
    fn weights_are_relative_and_shift_the_mean() {
        let near = [detection([0.0, 0.0, 10.0, 10.0], 0, 0.5)];
        let wide = [detection([0.0, 0.0, 14.0, 10.0], 0, 0.5)];
        for scale in [1.0, 8.0] {
            let fused = fuse(&[(3.0 * scale, &near), (scale, &wide)]);
            assert_eq!(fused, [detection([0.0, 0.0, 11.0, 10.0], 0, 0.5)]);
        }
        // A source without detections lowers the score, one without weight does not count.
        let fused = fuse(&[(3.0, &near), (1.0, &[])]);
        assert_eq!(fused[0].score, 0.5 * 3.0 / 4.0);
        for weight in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(fuse(&[(1.0, &near), (weight, &wide)]), near);
        }
    }

    #[test]
    fn classes_are_fused_apart() {
        let bbox = [0.0, 0.0, 10.0, 10.0];
        let (one, other) = ([detection(bbox, 0, 0.5)], [detection(bbox, 1, 0.75)]);
        let fused = fuse(&[(1.0, &one), (1.0, &other)]);
        let expected = [detection(bbox, 1, 0.375), detection(bbox, 0, 0.25)];
        assert_eq!(fused, expected);
    }

    /// The mean has moved to the third box when it comes; the first box alone has an IoU of 1/3 with it.
    #[test]
    fn a_box_is_compared_with_the_mean_of_the_cluster() {
        let seen = [
            detection([0.0, 0.0, 10.0, 10.0], 0, 0.75),
            detection([0.0, 0.0, 18.0, 10.0], 0, 0.74),
            detection([0.0, 0.0, 19.0, 10.0], 0, 0.125),
        ];
        assert_eq!(fuse(&[(1.0, &seen)]).len(), 1);
        let apart = [seen[0], seen[2]];
        assert_eq!(fuse(&[(1.0, &apart)]).len(), 2);
    }

    #[test]
    fn what_is_no_object_is_left_out() {
        let odd = [
            detection([5.0, 0.0, 5.0, 9.0], 0, 0.9),
            detection([f32::NAN, 0.0, 5.0, 9.0], 0, 0.9),
            detection([0.0, 0.0, 5.0, 9.0], 0, f32::NAN),
            detection([0.0, 0.0, 5.0, 9.0], 0, 0.0),
        ];
        assert!(fuse(&[(1.0, &odd)]).is_empty());
        assert!(fuse(&[]).is_empty());
    }
}
