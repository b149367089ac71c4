//! Task alignment learning.

use fcos_burn_boxes::{LabeledBox, iou};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use super::{
    geometry::{is_inside, with_area},
    rule::{Assignment, LocationWeights, PredictionAssignmentRule},
    scores::score,
};
use crate::{locations::Locations, predictions::ImagePredictions};

/// Keeps the normalization of alignments finite, as in the authors' code.
const EPSILON: f64 = 1e-7;

/// Task alignment learning of TOOD ([Feng et al., 2021](https://arxiv.org/abs/2108.07755), section
/// 3.2): an object is assigned the locations that already classify and localize it best.
///
/// The alignment of a location with an object is `t = s^α u^β`, where `s` is the predicted score of
/// the object's class and `u` the IoU of the predicted box. Of the `top_k` locations with the
/// highest alignment, those inside the object's box are assigned. A location that several objects
/// claim goes to the one with the highest IoU, and to the first among equals.
///
/// With soft targets, the quality of a positive is `t̂`: its alignment scaled so that the largest
/// one of an object is the object's largest IoU. Weights of boxes are `t̂` too, and all sums are
/// divided by the sum of `t̂`. Use them with
/// [`ClassificationLoss::QUALITY_FOCAL`](fcos_burn_loss::ClassificationLoss::QUALITY_FOCAL), the
/// loss of the paper, eq. (8). Its training starts with other positives, those of
/// [`AtssConfig`](super::AtssConfig); this rule is used from the first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TalConfig {
    /// Candidates per object, at least 1; 13 in the paper.
    pub top_k: usize,
    /// Exponent `α` of the score, finite and `≥ 0`; 1 in the paper.
    pub alpha: f64,
    /// Exponent `β` of the IoU, finite and `≥ 0`; 6 in the paper.
    pub beta: f64,
    /// Whether `t̂` is the quality and the weight of positives. Otherwise they have neither.
    pub soft_targets: bool,
}

impl Default for TalConfig {
    fn default() -> Self {
        Self {
            top_k: 13,
            alpha: 1.0,
            beta: 6.0,
            soft_targets: true,
        }
    }
}

impl TalConfig {
    /// Sets [`top_k`](Self::top_k).
    #[must_use]
    pub fn with_top_k(self, top_k: usize) -> Self {
        Self { top_k, ..self }
    }

    /// Sets [`alpha`](Self::alpha).
    #[must_use]
    pub fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// Sets [`beta`](Self::beta).
    #[must_use]
    pub fn with_beta(self, beta: f64) -> Self {
        Self { beta, ..self }
    }

    /// Sets [`soft_targets`](Self::soft_targets).
    #[must_use]
    pub fn with_soft_targets(self, soft_targets: bool) -> Self {
        Self {
            soft_targets,
            ..self
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(self.top_k > 0, "top_k", self.top_k, "at least 1")?;
        for (field, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            let holds = value.is_finite() && value >= 0.0;
            ConfigError::ensure(holds, field, value, "finite and at least 0")?;
        }
        Ok(())
    }

    /// The best-aligned locations for an object, whether or not they lie inside it.
    fn candidates(
        &self,
        object: &LabeledBox,
        predictions: &ImagePredictions<'_>,
    ) -> Vec<(usize, Aligned)> {
        let mut candidates: Vec<(usize, Aligned)> = Vec::new();
        for (location, bbox) in predictions.boxes().iter().enumerate() {
            let iou = iou(bbox, &object.bbox);
            if iou > 0.0 {
                let score = score(predictions, location, object.label);
                let alignment = score.powf(self.alpha) * f64::from(iou).powf(self.beta);
                if alignment > 0.0 {
                    candidates.push((location, Aligned { alignment, iou }));
                }
            }
        }
        if candidates.len() > self.top_k {
            candidates.select_nth_unstable_by(self.top_k, |a, b| {
                let order = b.1.alignment.total_cmp(&a.1.alignment);
                order.then(a.0.cmp(&b.0))
            });
            candidates.truncate(self.top_k);
        }
        candidates
    }
}

/// How well the prediction of a location fits an object.
#[derive(Clone, Copy, Debug, Default)]
struct Aligned {
    alignment: f64,
    iou: f32,
}

impl PredictionAssignmentRule for TalConfig {
    fn assign(
        &self,
        objects: &[LabeledBox],
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Assignment {
        let positions: Vec<[f32; 2]> = locations.iter().collect();
        let mut owners: Vec<Option<(usize, Aligned)>> = vec![None; positions.len()];
        for (index, object) in with_area(objects) {
            for (location, aligned) in self.candidates(object, predictions) {
                let highest = owners[location].map_or(0.0, |(_, other)| other.iou);
                if aligned.iou > highest && is_inside(positions[location], object.bbox) {
                    owners[location] = Some((index, aligned));
                }
            }
        }
        let positives = || {
            let all = owners.iter().enumerate();
            all.filter_map(|(location, owner)| owner.map(|(index, it)| (location, index, it)))
        };
        let mut assignment = Assignment::background(positions.len());
        let mut best = vec![Aligned::default(); objects.len()];
        for (location, index, Aligned { alignment, iou }) in positives() {
            assignment.set(location, &objects[index]);
            let best = &mut best[index];
            best.alignment = best.alignment.max(alignment);
            best.iou = best.iou.max(iou);
        }
        if self.soft_targets {
            let mut quality = vec![0.0; positions.len()];
            for (location, index, Aligned { alignment, .. }) in positives() {
                let best = best[index];
                let share = alignment / (best.alignment + EPSILON);
                quality[location] = (share * f64::from(best.iou)).min(1.0) as f32;
            }
            let sum = quality.iter().sum();
            assignment.weights = Some(LocationWeights {
                boxes: quality.clone(),
                positive_divisor: sum,
                negative_divisor: sum,
                ..LocationWeights::plain(&assignment.labels)
            });
            assignment.quality = Some(quality);
        }
        assignment
    }
}
