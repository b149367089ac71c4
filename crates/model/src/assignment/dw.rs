//! Dual weighting.

use fcos_burn_boxes::{LabeledBox, iou};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use super::{
    geometry::{center, each_inside, with_area},
    rule::{Assignment, LocationWeights, PredictionAssignmentRule},
    scores::score,
};
use crate::{locations::Locations, predictions::ImagePredictions};

/// Smaller positive weights count as 0, so that a location is positive only where an object has an
/// effect on its losses.
const MIN_WEIGHT: f64 = 1e-5;

/// The exponent of the sum that positive weights are divided by, in the authors' code.
const MU_OF_SUM: f64 = 3.0;

/// The IoU from which a location counts less as background.
const POSITIVE_IOU: f64 = 0.5;

/// Keeps quotients finite, as in the authors' code.
const EPSILON: f64 = 1e-12;

/// Dual weighting ([Li et al., 2022](https://arxiv.org/abs/2203.09730)): every location inside an
/// object's box has a weight as a positive and one as background, by what it predicts. The
/// equations are those of the authors' code.
///
/// With the score `s` of the object's class at a location, `p = s e^(−beta · L_GIoU)` for the
/// predicted box, and a Gaussian `g` of the distance to the object's center in strides,
///
/// ```text
/// w⁺ = g p e^(mu · p) / Σ g p e^(3p)        the sum is over the locations inside the box
/// w⁻ = (h(IoU) − h_min) / (min(h_max, 1) − h_min)    if IoU ≥ 0.5, else 1
/// h(x) = (1 − x^gamma) / (1 − 0.5^gamma)
/// ```
///
/// so that `w⁻` is 0 for the location with the highest IoU. `positive_weight` times `w⁺` is the
/// weight of the classification as a positive, `w⁺` that of the box. The former are divided by the
/// number of objects, the latter by the sum of `1 − w⁻`.
///
/// Use it with the losses of the paper, a [varifocal
/// loss](fcos_burn_loss::ClassificationLoss::Varifocal) with `alpha` 1 and `gamma` 2, which for the
/// quality of 1 that this rule gives is `−w⁺ ln s − w⁻ s² ln(1 − s)`, and GIoU with a `lambda` of
/// 1.25.
///
/// Two things differ from the authors' detector. A location has one object, the one with the
/// largest `w⁺`; theirs can be trained for several at once, with almost all of the weight on the one
/// that it predicts. And `s` has no second factor: theirs multiplies the score with that of a branch
/// in place of the center-ness. Their refinement of boxes, another layer of the head, is not part
/// of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DwConfig {
    /// Standard deviation of the Gaussian in strides; 1.11 in the authors' code.
    pub sigma: f64,
    /// Exponent of the localization, finite and `≥ 0`; 5 in the paper.
    pub beta: f64,
    /// Exponent of the positive weight, from 0 to 80; 5 in the paper.
    pub mu: f64,
    /// Exponent of the IoU in the negative weight, finite and `≥ 0.001`; 2 in the paper.
    pub gamma: f64,
    /// Factor of the positive weights of the classification, finite and `≥ 0`; 0.25 in the authors'
    /// code.
    pub positive_weight: f64,
}

impl Default for DwConfig {
    fn default() -> Self {
        Self {
            sigma: 1.11,
            beta: 5.0,
            mu: 5.0,
            gamma: 2.0,
            positive_weight: 0.25,
        }
    }
}

impl DwConfig {
    /// Sets [`sigma`](Self::sigma).
    #[must_use]
    pub fn with_sigma(self, sigma: f64) -> Self {
        Self { sigma, ..self }
    }

    /// Sets [`beta`](Self::beta).
    #[must_use]
    pub fn with_beta(self, beta: f64) -> Self {
        Self { beta, ..self }
    }

    /// Sets [`mu`](Self::mu).
    #[must_use]
    pub fn with_mu(self, mu: f64) -> Self {
        Self { mu, ..self }
    }

    /// Sets [`gamma`](Self::gamma).
    #[must_use]
    pub fn with_gamma(self, gamma: f64) -> Self {
        Self { gamma, ..self }
    }

    /// Sets [`positive_weight`](Self::positive_weight).
    #[must_use]
    pub fn with_positive_weight(self, positive_weight: f64) -> Self {
        Self {
            positive_weight,
            ..self
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let holds = self.sigma.is_finite() && self.sigma > 0.0;
        ConfigError::ensure(holds, "sigma", self.sigma, "positive and finite")?;
        // With smaller exponents, weights would be lost to rounding.
        let holds = self.gamma.is_finite() && self.gamma >= 0.001;
        ConfigError::ensure(holds, "gamma", self.gamma, "finite and at least 0.001")?;
        for (field, value) in [
            ("beta", self.beta),
            ("positive_weight", self.positive_weight),
        ] {
            let holds = value.is_finite() && value >= 0.0;
            ConfigError::ensure(holds, field, value, "finite and at least 0")?;
        }
        // Larger exponents could overflow.
        let holds = (0.0..=80.0).contains(&self.mu);
        ConfigError::ensure(holds, "mu", self.mu, "from 0 to 80")
    }

    /// The weights of the locations inside an object's box.
    fn weights(
        &self,
        object: &LabeledBox,
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Vec<Weighted> {
        let [center_x, center_y] = center(object.bbox);
        let mut weighted = Vec::new();
        let mut sum = 0.0;
        each_inside(
            locations,
            |_| object.bbox,
            |location, [x, y], grid| {
                let predicted = &predictions.boxes()[location];
                let [iou, giou_loss] = overlap(predicted, &object.bbox);
                let [dx, dy] =
                    [x - center_x, y - center_y].map(|d| f64::from(d) / grid.stride as f64);
                let gaussian = (-(dx * dx + dy * dy) / (2.0 * self.sigma * self.sigma)).exp();
                // Of a box that is not finite, the loss is infinite.
                let localization = match giou_loss.is_finite() {
                    true => (-self.beta * giou_loss).exp(),
                    false => 0.0,
                };
                let fit = score(predictions, location, object.label) * localization;
                sum += (MU_OF_SUM * fit).exp() * fit * gaussian;
                weighted.push(Weighted {
                    location,
                    positive: (self.mu * fit).exp() * fit * gaussian,
                    // The IoU, until the range of all is known.
                    negative: iou,
                });
            },
        );
        let transformed =
            |iou: f64| (1.0 - iou.powf(self.gamma)) / (1.0 - POSITIVE_IOU.powf(self.gamma));
        let [low, high] = (weighted.iter())
            .map(|it| transformed(it.negative))
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            });
        let range = high.min(1.0) - low;
        for it in &mut weighted {
            it.positive /= sum.max(EPSILON);
            it.negative = match it.negative < POSITIVE_IOU {
                true => 1.0,
                false => (transformed(it.negative) - low + EPSILON) / (range + EPSILON),
            };
        }
        weighted.retain(|it| it.positive >= MIN_WEIGHT || it.negative < 1.0);
        weighted
    }
}

/// The weights of a location for an object.
#[derive(Clone, Copy, Debug)]
struct Weighted {
    location: usize,
    positive: f64,
    negative: f64,
}

impl PredictionAssignmentRule for DwConfig {
    fn assign(
        &self,
        objects: &[LabeledBox],
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Assignment {
        let count = locations.len();
        let mut owners: Vec<Option<(&LabeledBox, Weighted)>> = vec![None; count];
        let mut weights = LocationWeights::zeros(count);
        for (_, object) in with_area(objects) {
            weights.positive_divisor += 1.0;
            for it in self.weights(object, locations, predictions) {
                let owner = &mut owners[it.location];
                if owner.is_none_or(|(_, other)| it.positive > other.positive) {
                    *owner = Some((object, it));
                }
            }
        }
        let mut assignment = Assignment::background(count);
        let mut quality = vec![0.0; count];
        for (object, it) in owners.into_iter().flatten() {
            assignment.set(it.location, object);
            quality[it.location] = 1.0;
            weights.positive[it.location] = (self.positive_weight * it.positive) as f32;
            weights.negative[it.location] = it.negative as f32;
            weights.boxes[it.location] = it.positive as f32;
            weights.negative_divisor += 1.0 - it.negative as f32;
        }
        assignment.quality = Some(quality);
        assignment.weights = Some(weights);
        assignment
    }
}

/// The IoU of a predicted box with that of an object, and the GIoU loss, `1 − GIoU`. For a box that
/// is not finite, 0 and infinity.
fn overlap(predicted: &[f32; 4], object: &[f32; 4]) -> [f64; 2] {
    let iou = iou(predicted, object);
    let [p, o] = [predicted, object].map(|bbox| bbox.map(f64::from));
    let area = |[x1, y1, x2, y2]: [f64; 4]| (x2 - x1).max(0.0) * (y2 - y1).max(0.0);
    let side = |low: usize, high: usize| (p[high].min(o[high]) - p[low].max(o[low])).max(0.0);
    let union = area(p) + area(o) - side(0, 2) * side(1, 3);
    let hull = area([
        p[0].min(o[0]),
        p[1].min(o[1]),
        p[2].max(o[2]),
        p[3].max(o[3]),
    ]);
    let loss = 1.0 - f64::from(iou) + (hull - union) / hull;
    match predicted.iter().all(|side| side.is_finite()) {
        true => [f64::from(iou), loss],
        false => [0.0, f64::INFINITY],
    }
}
