//! The weights of classes in the classification loss.

use burn::tensor::{FloatDType, Int, Tensor};

use crate::classification::ClassificationLoss;
use crate::columns::column_values;
use crate::config_error::{ConfigError, fraction, non_negative};
use crate::focal::SigmoidFocalLoss;
use crate::loss_term::TermInput;
use crate::own_class::own_class;

/// What distinguishes the classes in the classification loss, one value per class.
///
/// [`FcosObjective::with_class_balance`](crate::FcosObjective::with_class_balance) takes it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ClassBalance {
    /// What the loss of each class is multiplied by, at positive and other locations; finite and
    /// `≥ 0`. `None` is the same as 1 for all.
    pub weights: Option<Vec<f64>>,
    /// The weight `α` of the [focal loss](ClassificationLoss::Focal) for each class, in `[0, 1]`.
    /// `None` is that of the loss.
    pub focal_alphas: Option<Vec<f64>>,
}

impl ClassBalance {
    /// Sets [`weights`](Self::weights).
    #[must_use]
    pub fn with_weights(self, weights: Option<Vec<f64>>) -> Self {
        Self { weights, ..self }
    }

    /// Sets [`focal_alphas`](Self::focal_alphas).
    #[must_use]
    pub fn with_focal_alphas(self, focal_alphas: Option<Vec<f64>>) -> Self {
        Self {
            focal_alphas,
            ..self
        }
    }

    pub(crate) fn validate(&self, loss: &ClassificationLoss) -> Result<(), ConfigError> {
        for weight in self.weights.iter().flatten() {
            non_negative("weights", *weight)?;
        }
        if let (Some(weights), Some(_)) = (&self.weights, loss.ranking()) {
            let requirement = "left out for a loss of the order of scores";
            return Err(ConfigError::new(
                "weights",
                format!("{weights:?}"),
                requirement,
            ));
        }
        for alpha in self.focal_alphas.iter().flatten() {
            fraction("focal_alphas", *alpha)?;
        }
        let is_focal = matches!(loss, ClassificationLoss::Focal { .. });
        let alphas = format!("{:?}", self.focal_alphas);
        let holds = is_focal || self.focal_alphas.is_none();
        ConfigError::ensure(
            holds,
            "focal_alphas",
            alphas,
            "given only for the focal loss",
        )
    }

    /// The classification loss of every element for these `labels`, `[num_locations, num_classes]`,
    /// smoothed by `smoothing`.
    ///
    /// # Panics
    ///
    /// If there is not one value per class.
    pub(crate) fn forward(
        &self,
        loss: &ClassificationLoss,
        smoothing: f64,
        input: &TermInput,
        labels: Tensor<1, Int>,
    ) -> Tensor<2> {
        let logits = input.class_logits.clone();
        let (shape, device) = (logits.shape(), logits.device());
        let losses = match *loss {
            ClassificationLoss::Focal { alpha, gamma }
                if smoothing > 0.0 || self.focal_alphas.is_some() =>
            {
                let focal = SigmoidFocalLoss { alpha, gamma };
                let targets = own_class(labels, shape.clone()).cast(FloatDType::F32);
                let losses = |targets| match &self.focal_alphas {
                    Some(alphas) => focal.forward_with_alphas(logits.clone(), targets, alphas),
                    None => focal.forward(logits.clone(), targets),
                };
                match smoothing {
                    0.0 => losses(targets),
                    share => {
                        let others = targets.clone().neg().add_scalar(1.0);
                        losses(targets).mul_scalar(1.0 - share) + losses(others).mul_scalar(share)
                    }
                }
            }
            _ => loss.forward(logits, labels, input.quality.clone()),
        };
        match &self.weights {
            Some(weights) => losses * column_values(weights, shape, &device),
            None => losses,
        }
    }
}

/// Class weights from the effective number of objects `E(n) = (1 − βⁿ) / (1 − β)`, from
/// [Class-Balanced Loss](https://arxiv.org/abs/1901.05555) (Cui et al., 2019, eq. (2)): `1 / E(n)`,
/// normalized so that their mean is 1.
///
/// `counts` has the number of training objects of each class, and β is in `[0, 1)`. With β = 0 all
/// weights are 1; as β approaches 1, they approach inverse proportion to the counts. A class without
/// objects has the weight 1, and does not count in the mean.
///
/// # Panics
///
/// If `beta` is not in `[0, 1)`.
///
/// ```
/// use fcos_burn_loss::effective_number_weights;
///
/// // E = 1 and 1 + 1/2 + 1/4: weights in the ratio 7 : 4.
/// let weights = effective_number_weights(&[1, 3, 0], 0.5);
/// let expected = [14.0 / 11.0, 8.0 / 11.0, 1.0];
/// assert!(weights.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
/// ```
pub fn effective_number_weights(counts: &[usize], beta: f64) -> Vec<f64> {
    assert!(
        (0.0..1.0).contains(&beta),
        "beta is {beta}, but must be in [0, 1)"
    );
    let inverse = |&count: &usize| {
        // 1 − βⁿ, accurate for β near 1.
        let rest = -(count as f64 * beta.ln()).exp_m1();
        (count > 0).then(|| (1.0 - beta) / rest)
    };
    let inverses: Vec<Option<f64>> = counts.iter().map(inverse).collect();
    let present: Vec<f64> = inverses.iter().copied().flatten().collect();
    let mean = present.iter().sum::<f64>() / present.len().max(1) as f64;
    let weight = |inverse: Option<f64>| inverse.map_or(1.0, |inverse| inverse / mean);
    inverses.into_iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::{Device, Int};

    use super::*;
    use crate::closed_forms::focal;
    use crate::locations::{Predictions, Targets};
    use crate::test_tensors::{assert_close, gradient, tensor2, values};

    const LOGITS: [[f64; 3]; 4] = [
        [-6.0, 1.5, 0.3],
        [0.3, -2.0, 5.0],
        [4.0, 0.0, -0.7],
        [-0.7, 0.9, 2.0],
    ];
    const LABELS: [i64; 4] = [1, -1, 0, 2];

    fn forward(balance: &ClassBalance, smoothing: f64, logits: Tensor<2>) -> Tensor<2> {
        let device = Device::flex();
        let predictions = Predictions::new(logits, Tensor::zeros([4, 4], &device));
        let targets = Targets::new(
            Tensor::<1, Int>::from_ints(LABELS, &device),
            Tensor::zeros([4, 4], &device),
        );
        let input = TermInput::new(predictions, targets, 1.0);
        balance.forward(
            &ClassificationLoss::FOCAL,
            smoothing,
            &input,
            input.labels.clone(),
        )
    }

    /// Labels are wrong with the probability ε: the loss is its expectation. Each class has its own
    /// α, and a weight that multiplies everything.
    #[test]
    fn the_loss_is_weighted_by_class_and_expected_over_wrong_labels() {
        let device = Device::flex();
        let (weights, alphas) = ([0.5, 2.0, 0.0], [0.25, 0.9, 0.5]);
        let none = ClassBalance::default();
        let weighted = none.clone().with_weights(Some(weights.to_vec()));
        let both = weighted.clone().with_focal_alphas(Some(alphas.to_vec()));
        for (balance, weights, alphas) in [
            (&none, [1.0; 3], [0.25; 3]),
            (&weighted, weights, [0.25; 3]),
            (&both, weights, alphas),
        ] {
            for smoothing in [0.0, 0.1] {
                let of = |shift: f64| -> Vec<f64> {
                    let rows = LOGITS.iter().zip(LABELS);
                    rows.flat_map(|(logits, label)| {
                        [0, 1, 2].map(|class| {
                            let own = label == class as i64;
                            let loss = |own| focal(logits[class] + shift, own, alphas[class], 2.0);
                            weights[class]
                                * ((1.0 - smoothing) * loss(own) + smoothing * loss(!own))
                        })
                    })
                    .collect()
                };
                let found = values(forward(balance, smoothing, tensor2(&LOGITS, &device)));
                assert_close(&found, &of(0.0), 2e-6);
                let step = 1e-5;
                let slope = of(step).into_iter().zip(of(-step));
                let slope: Vec<f64> = slope.map(|(up, down)| (up - down) / step / 2.0).collect();
                let logits = tensor2(&LOGITS, &device);
                let found = gradient(logits, |logits| forward(balance, smoothing, logits));
                assert_close(&found, &slope, 2e-6);
            }
        }
    }

    #[test]
    #[should_panic(expected = "2 values for 3 columns")]
    fn there_is_one_value_per_class() {
        let balance = ClassBalance::default().with_weights(Some(vec![1.0; 2]));
        forward(&balance, 0.0, tensor2(&LOGITS, &Device::flex()));
    }

    /// `E(n)` is the sum of the first n powers of β.
    #[test]
    fn weights_are_inverse_to_the_sum_of_the_powers_of_beta() {
        let counts = [4155_i32, 372, 361, 1];
        for beta in [0.0, 0.5, 0.9, 0.999, 0.999_999] {
            let effective = counts.map(|count| (0..count).map(|n| f64::powi(beta, n)).sum::<f64>());
            let weights = effective_number_weights(&counts.map(|count| count as usize), beta);
            let mean = weights.iter().sum::<f64>() / 4.0;
            assert!((mean - 1.0).abs() < 1e-12);
            for (weight, effective) in weights.iter().zip(effective) {
                // E(1) = 1.
                let product = weight * effective / weights[3];
                assert!((product - 1.0).abs() < 1e-9, "{beta}: {product}");
            }
        }
    }

    #[test]
    fn classes_without_objects_have_a_weight_of_1() {
        assert_eq!(effective_number_weights(&[0, 0], 0.9), [1.0, 1.0]);
        assert_eq!(effective_number_weights(&[], 0.9), [0.0; 0]);
        let weights = effective_number_weights(&[10, 0, 100], 0.99);
        assert_eq!(weights[1], 1.0);
        assert!((weights[0] + weights[2] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        let focal = ClassificationLoss::FOCAL;
        let none = ClassBalance::default();
        let weights = |weight| none.clone().with_weights(Some(vec![1.0, weight]));
        let alphas = |alpha| none.clone().with_focal_alphas(Some(vec![alpha]));
        assert_eq!(weights(0.0).validate(&focal), Ok(()));
        assert_eq!(alphas(0.5).validate(&focal), Ok(()));
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                weights(weight).validate(&focal).unwrap_err().field,
                "weights"
            );
        }
        for alpha in [-0.1, 1.1, f64::NAN] {
            assert_eq!(
                alphas(alpha).validate(&focal).unwrap_err().field,
                "focal_alphas"
            );
        }
        let error = alphas(0.5)
            .validate(&ClassificationLoss::VARIFOCAL)
            .unwrap_err();
        assert_eq!(error.requirement, "given only for the focal loss");
    }
}
