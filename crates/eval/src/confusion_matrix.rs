//! The confusion matrix of a detector.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::matching::{ImageMatches, Matching, Outcome};

/// How often objects of each class are detected as which class, with the background as a further class.
///
/// Only detections whose score is at least the threshold count. Detections that find an object of their class
/// ([`Outcome::Correct`]) are on the diagonal. Then the others are paired with the objects that are left: by descending
/// IoU, down to the IoU threshold, each once. These pairs are confusions. The detections that remain are in the row of
/// the background, and the objects that remain in its column.
///
/// The matrix therefore agrees with the [operating point](crate::operating_point) of the score threshold: the diagonal
/// has the true positives of each class, a row adds up to its objects, and a column to its detections. Ignored
/// detections and crowds are left out. Which detections of the background row are duplicates or badly placed is
/// counted by the [kinds of errors](crate::error_cost).
///
/// # Other definitions
///
/// `supervision` pairs detections and objects of the same class by descending IoU instead of descending score, and
/// requires an IoU above the threshold. Counts differ only where boxes of a class overlap several objects.
/// `ultralytics` and hotcoco pair all classes at once by descending score: a detection of the wrong class takes the
/// object from a detection of the right class with a lower score, so that the diagonal has fewer detections than the
/// true positives of the operating point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfusionMatrix {
    /// The names of the classes with objects or with detections of any score.
    pub classes: Vec<String>,
    /// The counts that are not 0, by the class of the object, then by the class of the detection.
    pub counts: Vec<ConfusionCount>,
}

/// An element of a [`ConfusionMatrix`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfusionCount {
    /// The class of the objects; `None` for the background.
    pub object: Option<String>,
    /// The class of the detections; `None` for objects that are not found.
    pub detected: Option<String>,
    /// The number of pairs, of detections, or of objects.
    pub count: usize,
}

impl ConfusionMatrix {
    /// The confusion matrix of the detections with at least this score.
    pub fn new(matching: &Matching, score_threshold: f32) -> Self {
        let mut counts = BTreeMap::<[usize; 2], usize>::new();
        let background = matching.classes().len();
        for image in matching.images() {
            for [object, detected] in pairs(image, score_threshold, matching.iou_threshold()) {
                let object = object.map_or(background, |object| image.objects[object].label);
                let detected = detected.map_or(background, |row| image.detections[row].label);
                *counts.entry([object, detected]).or_default() += 1;
            }
        }
        let name = |label: usize| matching.classes().get(label).cloned();
        Self {
            classes: matching.occurring().into_iter().filter_map(name).collect(),
            counts: counts
                .into_iter()
                .map(|([object, detected], count)| ConfusionCount {
                    object: name(object),
                    detected: name(detected),
                    count,
                })
                .collect(),
        }
    }

    /// The number of objects of a class that are detected as another or the same class. `None` is the background.
    pub fn count(&self, object: Option<&str>, detected: Option<&str>) -> usize {
        let is_asked = |other: &&ConfusionCount| {
            other.object.as_deref() == object && other.detected.as_deref() == detected
        };
        self.counts
            .iter()
            .find(is_asked)
            .map_or(0, |found| found.count)
    }

    /// The pairs of different classes, most frequent first.
    pub fn confusions(&self) -> Vec<&ConfusionCount> {
        let is_confusion = |other: &&ConfusionCount| {
            other.object.is_some() && other.detected.is_some() && other.object != other.detected
        };
        let mut confusions: Vec<&ConfusionCount> =
            self.counts.iter().filter(is_confusion).collect();
        confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.count));
        confusions
    }
}

/// The pairs of object and detection in an image. Those without a partner are paired with `None`.
fn pairs(
    image: &ImageMatches,
    score_threshold: f32,
    iou_threshold: f64,
) -> Vec<[Option<usize>; 2]> {
    let mut pairs = Vec::new();
    for (row, outcome) in image.outcomes.iter().enumerate() {
        if let Outcome::Correct { object } = outcome
            && image.detections[row].score >= score_threshold
        {
            pairs.push([Some(*object), Some(row)]);
        }
    }
    let mut objects: Vec<usize> = image.not_found(score_threshold).collect();
    let mut wrong: Vec<usize> = image.wrong(score_threshold).collect();
    let ious = &image.ious();
    let of_object = |&object: &usize| {
        let of_pair = wrong.iter().map(move |&row| (row, object));
        of_pair.map(move |pair| (ious.at(pair), pair))
    };
    let mut candidates: Vec<(f64, (usize, usize))> = (objects.iter().flat_map(of_object))
        .filter(|(iou, _)| *iou >= iou_threshold)
        .collect();
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, (row, object)) in candidates {
        if objects.contains(&object) && wrong.contains(&row) {
            objects.retain(|&other| other != object);
            wrong.retain(|&other| other != row);
            pairs.push([Some(object), Some(row)]);
        }
    }
    pairs.extend(wrong.into_iter().map(|row| [None, Some(row)]));
    pairs.extend(objects.into_iter().map(|object| [Some(object), None]));
    pairs
}
