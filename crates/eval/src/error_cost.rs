//! The kinds of errors of TIDE, and how much AP each costs.
//!
//! D. Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.

use std::collections::BTreeMap;

use hotcoco::{metrics::counts::average_precision, params::default_rec_thrs};
use serde::{Deserialize, Serialize};

use crate::matching::{ImageMatches, Matching, Outcome};

/// A kind of error (TIDE, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The class is wrong, the box is right: [`Outcome::Classification`].
    Classification,
    /// The class is right, the box is badly placed: [`Outcome::Localization`].
    Localization,
    /// The class is wrong, and the box is badly placed: [`Outcome::Both`].
    Both,
    /// The object is found by a detection with a higher score: [`Outcome::Duplicate`].
    Duplicate,
    /// There is no object: [`Outcome::Background`].
    Background,
    /// An object that is not found, and that no detection would find if its class or its box were corrected.
    Missed,
}

impl ErrorKind {
    /// All kinds, in TIDE's order.
    pub const ALL: &'static [Self] = &[
        Self::Classification,
        Self::Localization,
        Self::Both,
        Self::Duplicate,
        Self::Background,
        Self::Missed,
    ];

    pub(crate) fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Correct { .. } | Outcome::Ignored => None,
            Outcome::Classification { .. } => Some(Self::Classification),
            Outcome::Localization { .. } => Some(Self::Localization),
            Outcome::Both => Some(Self::Both),
            Outcome::Duplicate { .. } => Some(Self::Duplicate),
            Outcome::Background => Some(Self::Background),
        }
    }
}

/// The number of errors of a kind, and their cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorCost {
    /// Number of errors, whatever their scores.
    pub count: usize,
    /// Number of errors at the score threshold.
    pub count_at_threshold: usize,
    /// By how much AP would rise if these errors alone were corrected (TIDE's ΔAP), as a fraction.
    pub ap_cost: f64,
}

/// The errors of a detector by kind, and what each kind costs.
///
/// AP is that at the IoU threshold of the [`Matching`], averaged over the classes with objects. It depends on all
/// detections, whatever their scores. A kind is corrected as follows, and its cost is the difference of AP, or 0 if
/// that is negative:
///
/// - a classification or localization error finds its object, with its own score. Of several errors with the same
///   object, only the one with the highest score does; the others are removed, and so are errors whose object is
///   found already;
/// - the other wrong detections are removed;
/// - missed objects are removed.
///
/// The costs do not add up to 1 − AP, because correcting one kind changes what the next one would cost.
///
/// # Other definitions
///
/// The numbers are those of [tidecv](https://github.com/dbolya/tide) except in four cases. tidecv counts detections
/// that find only a crowd as errors and corrects them; here they are ignored, as in COCO's AP. tidecv also averages
/// over classes that have detections but no objects, whose AP is 0. It keeps at most 100 detections per image. It
/// computes the recalls at which precision is read as `n / 100`, COCO as `n * 0.01`; they can differ in the last bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorCosts {
    /// AP at the IoU threshold. 0 without objects.
    pub ap: f64,
    /// The kinds.
    pub kinds: BTreeMap<ErrorKind, ErrorCost>,
    /// All wrong detections: the cost is what perfect precision would add at the same recall.
    pub false_positives: ErrorCost,
    /// All objects that are not found: the cost is what perfect recall would add at the same
    /// precision.
    pub false_negatives: ErrorCost,
}

impl ErrorCosts {
    /// The errors of a matching. `score_threshold` is for the counts only.
    pub fn new(matching: &Matching, score_threshold: f32) -> Self {
        let classes = matching.classes().len();
        let images = matching.images();
        let correctable: Vec<_> = (images.iter())
            .map(|image| (image, best_corrections(image)))
            .collect();
        let ap = mean_ap(&correctable, classes, &Correction::None);
        let cost = |correction: &Correction| mean_ap(&correctable, classes, correction) - ap;
        let errors = |count: &dyn Fn(&ImageMatches, f32) -> usize, ap_cost: f64| {
            let total = |threshold| images.iter().map(|image| count(image, threshold)).sum();
            ErrorCost {
                count: total(f32::NEG_INFINITY),
                count_at_threshold: total(score_threshold),
                ap_cost,
            }
        };
        let kind = |&kind: &ErrorKind| {
            let count = |image: &ImageMatches, threshold: f32| match kind {
                ErrorKind::Missed => missed(image, threshold).count(),
                _ => (image.wrong(threshold))
                    .filter(|&row| ErrorKind::of(image.outcomes[row]) == Some(kind))
                    .count(),
            };
            (kind, errors(&count, cost(&Correction::Kind(kind)).max(0.0)))
        };
        Self {
            ap,
            kinds: ErrorKind::ALL.iter().map(kind).collect(),
            false_positives: errors(
                &|image, threshold| image.wrong(threshold).count(),
                cost(&Correction::FalsePositives),
            ),
            false_negatives: errors(
                &|image, threshold| image.not_found(threshold).count(),
                cost(&Correction::FalseNegatives),
            ),
        }
    }
}

/// What is corrected.
enum Correction {
    None,
    Kind(ErrorKind),
    FalsePositives,
    FalseNegatives,
}

/// The objects that are not found, and that no error with at least this score would find if it were corrected.
pub(crate) fn missed(image: &ImageMatches, score_threshold: f32) -> impl Iterator<Item = usize> {
    let mut within_reach = vec![false; image.objects.len()];
    for row in image.wrong(score_threshold) {
        if let Some(object) = image.outcomes[row].within_reach() {
            within_reach[object] = true;
        }
    }
    (image.not_found(score_threshold)).filter(move |&object| !within_reach[object])
}

/// The detections of a class for its AP, after a correction.
#[derive(Clone, Default)]
struct Ranking {
    scores: Vec<f64>,
    correct: Vec<bool>,
    objects: usize,
}

impl Ranking {
    fn push(&mut self, score: f32, is_correct: bool) {
        self.scores.push(score.into());
        self.correct.push(is_correct);
    }
}

/// AP averaged over the classes with objects, after a correction. A class all of whose objects are removed counts only
/// if it has detections (its AP is 0), as in tidecv.
fn mean_ap(
    images: &[(&ImageMatches, BestCorrections)],
    classes: usize,
    correction: &Correction,
) -> f64 {
    let mut rankings = vec![Ranking::default(); classes];
    let mut has_objects = vec![false; classes];
    for (image, corrected) in images {
        for object in image.objects.iter().filter(|object| !object.iscrowd) {
            rankings[object.label].objects += 1;
            has_objects[object.label] = true;
        }
        correct(image, corrected, correction, &mut rankings);
    }
    let recall = default_rec_thrs();
    let counted = (rankings.iter().zip(has_objects))
        .filter(|(class, has_objects)| *has_objects && class.objects + class.scores.len() > 0);
    let aps: Vec<f64> = counted
        .map(|(class, _)| {
            average_precision(&class.scores, &class.correct, None, class.objects, &recall)
        })
        .collect();
    match aps.len() {
        0 => 0.0,
        count => aps.iter().sum::<f64>() / count as f64,
    }
}

/// Adds the corrected detections of an image, and removes the objects that the correction removes.
fn correct(
    image: &ImageMatches,
    corrected: &BestCorrections,
    correction: &Correction,
    rankings: &mut [Ranking],
) {
    for (row, (detection, outcome)) in image.detections.iter().zip(&image.outcomes).enumerate() {
        let score = detection.score;
        let Some(kind) = ErrorKind::of(*outcome) else {
            if *outcome != Outcome::Ignored {
                rankings[detection.label].push(score, true);
            }
            continue;
        };
        match correction {
            Correction::FalsePositives => {}
            Correction::Kind(fixed) if *fixed == kind => {
                let object = outcome.within_reach();
                if let Some(object) = object.filter(|&object| corrected[object] == Some(row)) {
                    rankings[image.objects[object].label].push(score, true);
                }
            }
            _ => rankings[detection.label].push(score, false),
        }
    }
    let remove = |object: usize| rankings[image.objects[object].label].objects -= 1;
    match correction {
        Correction::Kind(ErrorKind::Missed) => missed(image, f32::NEG_INFINITY).for_each(remove),
        Correction::FalseNegatives => image.not_found(f32::NEG_INFINITY).for_each(remove),
        _ => {}
    }
}

/// For each object of an image that is not found, the error with the highest score that would find it if it were
/// corrected.
type BestCorrections = Vec<Option<usize>>;

fn best_corrections(image: &ImageMatches) -> BestCorrections {
    let mut best: BestCorrections = vec![None; image.objects.len()];
    for row in image.wrong(f32::NEG_INFINITY) {
        let Some(object) = image.outcomes[row].within_reach() else {
            continue;
        };
        let score = |row: usize| image.detections[row].score;
        if image.found_by[object].is_none()
            && best[object].is_none_or(|other| score(row) > score(other))
        {
            best[object] = Some(row);
        }
    }
    best
}
