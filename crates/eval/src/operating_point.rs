//! Precision, recall and F1 by score threshold.

use serde::{Deserialize, Serialize};

use crate::matching::{Matching, Outcome};

/// The score thresholds of curves: 0.00, 0.01, … 1.00.
pub fn score_thresholds() -> Vec<f32> {
    let percents = 0..=100_u8;
    percents.map(|percent| f32::from(percent) / 100.0).collect()
}

/// The detections whose score is at least a threshold, and how good they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperatingPoint {
    /// The score threshold.
    pub threshold: f32,
    /// Number of detections that find an object.
    pub true_positives: usize,
    /// Number of the other detections, without ignored ones.
    pub false_positives: usize,
    /// Number of objects that are not found.
    pub false_negatives: usize,
    /// The fraction of the detections that find an object. `None` without detections.
    pub precision: Option<f64>,
    /// The fraction of the objects that are found. `None` without objects.
    pub recall: Option<f64>,
    /// The harmonic mean of precision and recall, `2 TP / (2 TP + FP + FN)`. `None` without
    /// detections and objects.
    pub f1: Option<f64>,
}

impl OperatingPoint {
    fn new(threshold: f32, true_positives: usize, false_positives: usize, objects: usize) -> Self {
        let fraction = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let detections = true_positives + false_positives;
        Self {
            threshold,
            true_positives,
            false_positives,
            false_negatives: objects.saturating_sub(true_positives),
            precision: fraction(true_positives, detections),
            recall: fraction(true_positives, objects),
            f1: fraction(2 * true_positives, detections + objects),
        }
    }
}

/// The operating points of a detector, one for each set of detections that a score threshold can keep.
///
/// ```
/// use fcos_burn_eval::operating_point::ScoreCurve;
///
/// // Three objects. Scores of the detections, and whether each finds an object.
/// let curve = ScoreCurve::new(3, vec![(0.9, true), (0.6, false), (0.4, true), (0.1, false)]);
/// let best = curve.best_f1().unwrap();
/// assert_eq!((best.true_positives, best.false_positives), (2, 1));
/// // Any threshold above 0.1 and up to 0.4 keeps these three.
/// assert_eq!(best.threshold, 0.25);
/// assert_eq!(curve.at(0.5).precision, Some(0.5));
/// assert_eq!(curve.at_precision(0.9).unwrap().recall, Some(1.0 / 3.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreCurve {
    objects: usize,
    /// By descending score.
    scores: Vec<f32>,
    /// The number of correct detections among the first `n`.
    correct: Vec<usize>,
}

impl ScoreCurve {
    /// The curve of detections, given by score and whether they find one of the `objects`.
    pub fn new(objects: usize, mut detections: Vec<(f32, bool)>) -> Self {
        detections.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut correct = vec![0];
        for (_, is_correct) in &detections {
            correct.push(correct[correct.len() - 1] + usize::from(*is_correct));
        }
        Self {
            objects,
            scores: detections.into_iter().map(|(score, _)| score).collect(),
            correct,
        }
    }

    /// The curve of all classes together.
    pub fn of(matching: &Matching) -> Self {
        let (objects, detections): (Vec<usize>, Vec<_>) =
            count_by_class(matching).into_iter().unzip();
        Self::new(objects.iter().sum(), detections.concat())
    }

    /// The curve of each class, in the order of the labels.
    pub fn by_class(matching: &Matching) -> Vec<Self> {
        let counts = count_by_class(matching).into_iter();
        counts
            .map(|(objects, detections)| Self::new(objects, detections))
            .collect()
    }

    /// The number of objects, without crowds.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// The number of detections, without ignored ones.
    pub fn detections(&self) -> usize {
        self.scores.len()
    }

    /// The operating point of a score threshold.
    pub fn at(&self, threshold: f32) -> OperatingPoint {
        let kept = self.scores.partition_point(|score| *score >= threshold);
        self.point(threshold, kept)
    }

    /// The operating point with the largest F1; of several, the one with the highest threshold. `None` if no detection
    /// is correct.
    ///
    /// All thresholds between two neighboring scores keep the same detections. The one with the fewest decimals is
    /// chosen, in the middle if there are several.
    pub fn best_f1(&self) -> Option<OperatingPoint> {
        let points = self.points().filter(|point| point.true_positives > 0);
        let best = points.reduce(|best, next| if next.f1 > best.f1 { next } else { best });
        best.map(|best| self.rounded(best))
    }

    /// The operating point with the largest recall among those with at least this precision. `None` if there is none.
    /// The threshold is chosen as in [`best_f1`](Self::best_f1).
    pub fn at_precision(&self, precision: f64) -> Option<OperatingPoint> {
        let precise = |point: &OperatingPoint| point.precision.is_some_and(|p| p >= precision);
        let points = self
            .points()
            .filter(|point| point.true_positives > 0 && precise(point));
        let best = points.reduce(|best, next| {
            if next.recall > best.recall {
                next
            } else {
                best
            }
        });
        best.map(|best| self.rounded(best))
    }

    /// The operating points by descending threshold, which is the lowest score that each keeps.
    fn points(&self) -> impl Iterator<Item = OperatingPoint> {
        let ends = (1..=self.scores.len())
            .filter(move |&kept| self.scores.get(kept) != Some(&self.scores[kept - 1]));
        ends.map(move |kept| self.point(self.scores[kept - 1], kept))
    }

    fn point(&self, threshold: f32, kept: usize) -> OperatingPoint {
        let correct = self.correct[kept];
        OperatingPoint::new(threshold, correct, kept - correct, self.objects)
    }

    /// The same point with a threshold that has few decimals.
    fn rounded(&self, point: OperatingPoint) -> OperatingPoint {
        let kept = self
            .scores
            .partition_point(|score| *score >= point.threshold);
        let below = self.scores.get(kept).copied().unwrap_or(0.0);
        OperatingPoint {
            threshold: short_decimal(below, point.threshold),
            ..point
        }
    }
}

/// The number of objects of each class, and the scores of its detections with whether each is correct.
fn count_by_class(matching: &Matching) -> Vec<(usize, Vec<(f32, bool)>)> {
    let mut classes = vec![(0, Vec::new()); matching.classes().len()];
    for image in matching.images() {
        for object in image.objects.iter().filter(|object| !object.iscrowd) {
            classes[object.label].0 += 1;
        }
        for (detection, outcome) in image.detections.iter().zip(&image.outcomes) {
            if *outcome != Outcome::Ignored {
                let is_correct = matches!(outcome, Outcome::Correct { .. });
                classes[detection.label]
                    .1
                    .push((detection.score, is_correct));
            }
        }
    }
    classes
}

/// The number with the fewest decimals, but at least two, that is above `low` and at most `high`; the one in the
/// middle if there are several.
fn short_decimal(low: f32, high: f32) -> f32 {
    let middle = f64::midpoint(low.into(), high.into());
    let decimals = (2..=8).map(|decimals| 10_f64.powi(decimals));
    let mut rounded = decimals.map(|scale| ((middle * scale).round() / scale) as f32);
    let fits = rounded.find(|&rounded| low < rounded && rounded <= high);
    fits.unwrap_or(high)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn equal_scores_are_kept_or_dropped_together() {
        let curve = ScoreCurve::new(
            2,
            vec![(0.5, true), (0.5, false), (0.5, true), (0.2, false)],
        );
        let best = curve.best_f1().unwrap();
        assert_eq!((best.true_positives, best.false_positives), (2, 1));
        assert_eq!(best.f1, Some(0.8));
        assert_eq!(curve.at(0.5).true_positives, 2);
        assert_eq!(curve.at(0.51).precision, None);
        assert_eq!(curve.at_precision(0.7), None);
    }

    #[test]
    fn a_threshold_has_as_few_decimals_as_possible() {
        for (low, high, expected) in [
            (0.417_8, 0.423_1, 0.42),
            (0.417_8, 0.419_1, 0.418),
            (0.0, 0.9, 0.45),
            (0.419_999, 0.42, 0.42),
            (0.999_999_9, 1.0, 1.0),
        ] {
            let found = short_decimal(low, high);
            assert!(low < found && found <= high);
            assert_eq!(found, expected, "between {low} and {high}");
        }
    }

    /// The reported threshold must keep exactly the detections that were counted.
    #[test]
    fn the_chosen_threshold_keeps_the_counted_detections() {
        for seed in 0..200_u32 {
            let random = |index: u32| {
                let hash = (seed * 7919 + index).wrapping_mul(2_654_435_761);
                (hash >> 8) as f32 / (1 << 24) as f32
            };
            let detections: Vec<(f32, bool)> = (0..40)
                .map(|index| (random(2 * index), random(2 * index + 1) < 0.5))
                .collect();
            let curve = ScoreCurve::new(30, detections);
            for point in [curve.best_f1(), curve.at_precision(0.6)]
                .into_iter()
                .flatten()
            {
                assert_eq!(curve.at(point.threshold), point);
            }
        }
    }

    #[test]
    fn without_a_correct_detection_no_point_is_best() {
        assert_eq!(ScoreCurve::new(2, vec![(0.5, false)]).best_f1(), None);
        assert_eq!(ScoreCurve::new(0, Vec::new()).best_f1(), None);
        let empty = ScoreCurve::new(0, Vec::new()).at(0.5);
        assert_eq!(
            (empty.precision, empty.recall, empty.f1),
            (None, None, None)
        );
    }
}
