//! Weights of the losses of locations.

use burn::tensor::{Device, Int, Tensor};

use crate::own_class::own_class;
use crate::positives::Positives;

/// Weights of the losses of positive locations, and what the weighted sums are divided by.
///
/// With the loss `L⁺` of a labeled class as a positive and the loss `L⁻` of a class as background,
/// the classification is
///
/// ```text
/// 1/N⁺ Σ_pos w⁺ L⁺(labeled class)  +  1/N⁻ (Σ_pos w⁻ L⁻(labeled class) + Σ_others L⁻)
/// ```
///
/// where the last sum is over the other classes of positive locations and all classes of
/// background. Without weights, `w⁺ = 1`, `w⁻ = 0` and `N⁺ = N⁻ = N_pos`. All other terms are sums
/// over the positive locations with the weights of boxes, divided by `N⁺`.
#[derive(Clone, Debug)]
pub struct TargetWeights {
    /// `w⁺`, `[num_locations]`, finite and `≥ 0`. Rows that are not positive may hold any value.
    pub positive: Tensor<1>,
    /// `w⁻`, `[num_locations]`, finite and `≥ 0`; 0 if there are none. Rows that are not positive
    /// may hold any value.
    pub negative: Option<Tensor<1>>,
    /// The weights of boxes, `[num_locations]`, finite and `≥ 0`. Rows that are not positive may
    /// hold any value.
    pub boxes: Tensor<1>,
    /// What these locations add to the divisors.
    pub divisors: Divisors,
}

/// What the terms are divided by, for targets with [weights](TargetWeights): sums over a whole
/// batch, one element each. Values below 1 count as 1.
#[derive(Clone, Debug)]
pub struct Divisors {
    /// `N⁺`.
    pub positive: Tensor<1>,
    /// `N⁻`.
    pub negative: Tensor<1>,
}

impl TargetWeights {
    /// The same weights, through which no gradient flows.
    pub(crate) fn detach(self) -> Self {
        Self {
            positive: self.positive.detach(),
            negative: self.negative.map(Tensor::detach),
            boxes: self.boxes.detach(),
            divisors: Divisors {
                positive: self.divisors.positive.detach(),
                negative: self.divisors.negative.detach(),
            },
        }
    }
}

impl Divisors {
    /// The sum of two parts of a batch, which are on the same device.
    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            positive: self.positive + other.positive,
            negative: self.negative + other.negative,
        }
    }

    pub(crate) fn to_device(&self, device: &Device) -> Self {
        Self {
            positive: self.positive.clone().to_device(device),
            negative: self.negative.clone().to_device(device),
        }
    }

    /// The divisors, but at least 1.
    pub(crate) fn at_least_1(self) -> Self {
        Self {
            positive: self.positive.clamp_min(1.0),
            negative: self.negative.clamp_min(1.0),
        }
    }
}

/// The sum of `[rows, columns]`, one element, in an order that does not depend on timing: Burn divides a sum of
/// more than four million values among the threads of a CPU as they are free.
pub(crate) fn total(losses: Tensor<2>) -> Tensor<1> {
    losses.sum_dim(1).sum()
}

/// The classification of [`TargetWeights`], one element. `losses` are those of the classes with
/// these labels, `as_background` computes those of the same rows as background; both are
/// `[num_locations, num_classes]`, and 0 for ignored locations.
pub(crate) fn weighted_classification(
    losses: Tensor<2>,
    as_background: impl FnOnce() -> Tensor<2>,
    labels: Tensor<1, Int>,
    positives: &Positives,
    weights: Option<&TargetWeights>,
    divisors: &Divisors,
) -> Tensor<1> {
    let own = own_class(labels, losses.shape());
    let own_losses = |losses: Tensor<2>| -> Tensor<1> {
        let others = own.clone().bool_not();
        losses.mask_fill(others, 0.0).sum_dim(1).squeeze_dim(1)
    };
    let weighted = |losses: Tensor<2>, weights: &Tensor<1>| {
        (own_losses(losses) * positives.mask(weights.clone())).sum()
    };
    let others = total(losses.clone().mask_fill(own.clone(), 0.0));
    let (positive, negative) = match weights {
        None => (own_losses(losses).sum(), others),
        Some(weights) => {
            let negative = match &weights.negative {
                None => others,
                Some(negative) => others + weighted(as_background(), negative),
            };
            (weighted(losses, &weights.positive), negative)
        }
    };
    positive / divisors.positive.clone() + negative / divisors.negative.clone()
}
