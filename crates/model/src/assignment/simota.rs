//! Simplified optimal transport assignment.

use fcos_burn_boxes::{LabeledBox, iou};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use super::{
    geometry::{center_region, center_square, each_inside, is_inside, with_area},
    rule::{Assignment, PredictionAssignmentRule},
    scores::logit,
};
use crate::{
    locations::{LevelGrid, Locations},
    predictions::ImagePredictions,
};

/// Added to the cost of a location that is not near the center of an object and inside its box.
const OUTSIDE: f64 = 1e5;

/// Keeps the cost of an IoU of 0 finite, as in the authors' code.
const EPSILON: f64 = 1e-7;

/// SimOTA of YOLOX ([Ge et al., 2021](https://arxiv.org/abs/2107.08430), section 2.1): an object is
/// assigned the locations whose predictions fit it at the lowest cost, as many as its predictions
/// overlap with it.
///
/// Candidates are all locations that lie inside the box of any object, or within `center_radius`
/// strides of its center in both directions. The cost of a candidate for an object is
///
/// ```text
/// classification_weight · Σ_c CE(s_c, [c is the object's class])  −  iou_weight · ln(IoU)
///     +  100,000 if the candidate is not both inside the box and near the center
/// ```
///
/// with predicted scores `s` and the IoU of the predicted box. An object takes the `k` candidates
/// with the lowest cost, where `k` is the sum of its `candidates` highest IoUs, rounded down, but
/// at least 1. A location that several objects take goes to the object for which its cost is
/// lowest. Ties go to the first location and object.
///
/// Unlike in YOLOX, whose boxes need not contain their location, a location outside the box of the
/// object that takes it is not assigned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SimOtaConfig {
    /// Half side of the square around an object's center in strides; 2.5 in YOLOX.
    pub center_radius: f32,
    /// The number of IoUs whose sum is the number of positives, at least 1; 10 in YOLOX.
    pub candidates: usize,
    /// Weight of the IoU in the cost, finite and `≥ 0`; 3 in YOLOX.
    pub iou_weight: f64,
    /// Weight of the classification in the cost, finite and `≥ 0`; 1 in YOLOX.
    pub classification_weight: f64,
}

impl Default for SimOtaConfig {
    fn default() -> Self {
        Self {
            center_radius: 2.5,
            candidates: 10,
            iou_weight: 3.0,
            classification_weight: 1.0,
        }
    }
}

impl SimOtaConfig {
    /// Sets [`center_radius`](Self::center_radius).
    #[must_use]
    pub fn with_center_radius(self, center_radius: f32) -> Self {
        Self {
            center_radius,
            ..self
        }
    }

    /// Sets the number of candidates of an object, from which its dynamic k is summed.
    #[must_use]
    pub fn with_candidates(self, candidates: usize) -> Self {
        Self { candidates, ..self }
    }

    /// Sets [`iou_weight`](Self::iou_weight).
    #[must_use]
    pub fn with_iou_weight(self, iou_weight: f64) -> Self {
        Self { iou_weight, ..self }
    }

    /// Sets [`classification_weight`](Self::classification_weight).
    #[must_use]
    pub fn with_classification_weight(self, classification_weight: f64) -> Self {
        Self {
            classification_weight,
            ..self
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let radius = self.center_radius;
        let holds = radius.is_finite() && radius > 0.0;
        ConfigError::ensure(holds, "center_radius", radius, "positive and finite")?;
        let candidates = self.candidates;
        ConfigError::ensure(candidates > 0, "candidates", candidates, "at least 1")?;
        for (field, value) in [
            ("iou_weight", self.iou_weight),
            ("classification_weight", self.classification_weight),
        ] {
            let holds = value.is_finite() && value >= 0.0;
            ConfigError::ensure(holds, field, value, "finite and at least 0")?;
        }
        Ok(())
    }

    /// The candidates, in the order of the locations.
    fn candidates(
        &self,
        objects: &[(usize, &LabeledBox)],
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Vec<Candidate> {
        let mut is_candidate = vec![false; locations.len()];
        for (_, object) in objects {
            let box_of_object = |_: &LevelGrid| object.bbox;
            let square = |grid: &LevelGrid| {
                center_square(object.bbox, self.center_radius * grid.stride as f32)
            };
            each_inside(locations, box_of_object, |it, _, _| is_candidate[it] = true);
            each_inside(locations, square, |it, _, _| is_candidate[it] = true);
        }
        let grids = locations.levels().iter();
        let places = grids.flat_map(|grid| {
            (0..grid.len()).map(|index| (grid.location(index), grid.stride as f32))
        });
        places
            .enumerate()
            .filter(|(location, _)| is_candidate[*location])
            .map(|(location, (position, stride))| Candidate {
                location,
                position,
                reach: self.center_radius * stride,
                background_cost: (predictions.class_logits(location).iter())
                    .map(|logit| softplus(f64::from(*logit)))
                    .sum(),
            })
            .collect()
    }

    /// The cost of a candidate for an object with which its predicted box has this IoU.
    fn cost(
        &self,
        candidate: &Candidate,
        object: &LabeledBox,
        predictions: &ImagePredictions<'_>,
        iou: f32,
    ) -> f64 {
        // −ln σ(x) = softplus(x) − x for the object's class, −ln(1 − σ(x)) = softplus(x) for others.
        let own = logit(predictions, candidate.location, object.label);
        let classification = candidate.background_cost - own;
        let localization = -(f64::from(iou) + EPSILON).ln();
        let near = center_region(object.bbox, candidate.reach);
        let outside = match is_inside(candidate.position, near) {
            true => 0.0,
            false => OUTSIDE,
        };
        let cost = self.classification_weight * classification + self.iou_weight * localization;
        match cost.is_nan() {
            true => f64::INFINITY,
            false => cost + outside,
        }
    }
}

/// A location that an object may take.
struct Candidate {
    location: usize,
    position: [f32; 2],
    /// Half side of the square around an object's center, in pixels.
    reach: f32,
    /// `−Σ ln(1 − s)` over all classes.
    background_cost: f64,
}

impl PredictionAssignmentRule for SimOtaConfig {
    fn assign(
        &self,
        objects: &[LabeledBox],
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Assignment {
        let objects: Vec<(usize, &LabeledBox)> = with_area(objects).collect();
        let candidates = self.candidates(&objects, locations, predictions);
        let mut takers: Vec<Takers> = vec![Takers::None; candidates.len()];
        for (turn, (_, object)) in objects.iter().enumerate() {
            let mut ious = Vec::with_capacity(candidates.len());
            let mut costs = Vec::with_capacity(candidates.len());
            for (index, candidate) in candidates.iter().enumerate() {
                let iou = iou(&predictions.boxes()[candidate.location], &object.bbox);
                costs.push((self.cost(candidate, object, predictions, iou), index));
                ious.push(iou);
            }
            let count = dynamic_count(ious, self.candidates);
            for index in lowest(costs, count) {
                takers[index] = match takers[index] {
                    Takers::None => Takers::One(turn),
                    _ => Takers::Several,
                };
            }
        }
        let cheapest = |candidate: &Candidate| {
            let costs = objects.iter().map(|(_, object)| {
                let iou = iou(&predictions.boxes()[candidate.location], &object.bbox);
                self.cost(candidate, object, predictions, iou)
            });
            let lowest = costs.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            lowest.map(|(turn, _)| turn)
        };
        let mut assignment = Assignment::background(locations.len());
        for (candidate, takers) in candidates.iter().zip(takers) {
            let owner = match takers {
                Takers::None => None,
                Takers::One(turn) => Some(turn),
                Takers::Several => cheapest(candidate),
            };
            if let Some((_, object)) = owner.map(|turn| objects[turn])
                && is_inside(candidate.position, object.bbox)
            {
                assignment.set(candidate.location, object);
            }
        }
        assignment
    }
}

/// The objects that take a candidate.
#[derive(Clone, Copy, Debug)]
enum Takers {
    None,
    /// The one with this position among the objects.
    One(usize),
    Several,
}

/// The sum of the `candidates` highest IoUs, rounded down, but at least 1.
fn dynamic_count(mut ious: Vec<f32>, candidates: usize) -> usize {
    if ious.len() > candidates {
        ious.select_nth_unstable_by(candidates, |a, b| b.total_cmp(a));
        ious.truncate(candidates);
    }
    // The order of a sum must not depend on how the highest were selected.
    ious.sort_unstable_by(|a, b| b.total_cmp(a));
    let sum: f64 = ious.into_iter().map(f64::from).sum();
    (sum as usize).max(1)
}

/// The indices of the `count` lowest finite costs.
fn lowest(mut costs: Vec<(f64, usize)>, count: usize) -> impl Iterator<Item = usize> {
    costs.retain(|(cost, _)| cost.is_finite());
    if costs.len() > count {
        costs.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        costs.truncate(count);
    }
    costs.into_iter().map(|(_, index)| index)
}

/// `ln(1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
