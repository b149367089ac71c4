use std::collections::BTreeMap;

use burn::serde::{Deserialize, Serialize};
use burn::tensor::Tensor;

use crate::association::AssociationScore;
use crate::config_error::{ConfigError, non_negative, positive};
use crate::host::{failed, read, read_integers, write};
use crate::iou::aligned_iou;
use crate::loss_term::TermInput;

/// Ties boxes to scores: the association in the localization sub-net, which the paper leaves to
/// others.
///
/// # Why not PSE
///
/// Taken as a loss of the box, `β (p̂ − kÎ)²` has the gradient `−2βk (p̂ − kÎ)` with respect to the
/// IoU. It is positive where `kÎ > p̂`: a box that is better than its score would be made worse.
/// "Some positive samples will become negative", as the paper says, and training of the boxes has no
/// negative samples that could keep this in balance.
///
/// Here, the score only decides how much a box counts. Scores are detached, and every gradient with
/// respect to an IoU is at most 0, so that every box is only ever improved: see the variants. Boxes
/// with high scores improve the most. These are the ones that suppression keeps.
///
/// The score is that of the [labeled class](AssociationScore::GroundTruthClass).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum BoxAssociation {
    /// Box losses are weighted by the score `p̂`, relative to the mean score of the positive
    /// locations:
    ///
    /// ```text
    /// wᵢ ℓ(bᵢ),   wᵢ = p̂ᵢ / mean p̂
    /// ```
    ///
    /// The mean weight is 1, so that `λ` keeps its meaning. A box loss `ℓ` falls with the IoU, and
    /// `w ≥ 0` does not change the sign of its gradient. Where box losses are weighted by center-ness
    /// `c`, too, the mean is that with the weights `c`, so that the sum of all weights is still that
    /// of the center-ness. In a batch that is divided, the mean is that of a part.
    ///
    /// [Generalized Focal Loss](https://arxiv.org/abs/2006.04388) weights box losses in this way,
    /// but with the highest score of a location.
    ScoreWeighted,
    /// A term for the box that suppression keeps. If of the `n` locations of an object, the one that is
    /// kept is drawn with a probability `π` that rises with its score, the expected loss `1 − Î` of the
    /// kept box is
    ///
    /// ```text
    /// Σᵢ πᵢ (1 − Îᵢ),   πᵢ = exp(p̂ᵢ / T) / Σⱼ exp(p̂ⱼ / T)
    /// ```
    ///
    /// and its gradient with respect to `Îᵢ` is `−πᵢ`: a better box is always better, and the more so
    /// the higher its score is within its object. As `T → 0`, only the box with the highest score
    /// counts, as in suppression. As `T → ∞`, all count alike, and the term is the linear IoU loss.
    ///
    /// An object with `n` positive locations counts `n` times, and `β` is the weight. The term added
    /// for a location is thus `β n π (1 − Î)`, where `n π` has the mean 1. The softmax is computed on
    /// the host. Requires [`Targets::objects`](crate::Targets::objects).
    ExpectedIou {
        /// Weight `β`, finite and `≥ 0`.
        beta: f64,
        /// Temperature `T`, finite and `> 0`.
        temperature: f64,
    },
}

impl BoxAssociation {
    /// The expected IoU with `β = 1` and `T = 0.1`.
    pub const EXPECTED_IOU: Self = Self::ExpectedIou {
        beta: 1.0,
        temperature: 0.1,
    };

    /// Checks the range of every parameter.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range, such as `expected-iou.beta`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            Self::ScoreWeighted => Ok(()),
            Self::ExpectedIou { beta, temperature } => non_negative("beta", beta)
                .and_then(|()| positive("temperature", temperature))
                .map_err(|error| error.within("expected-iou")),
        }
    }
}

fn scores(input: &TermInput) -> Tensor<1> {
    let logits = input.class_logits.clone().detach();
    AssociationScore::GroundTruthClass.scores(logits, input.labels.clone())
}

/// Weighted scores whose sum is at most this are not told apart: all boxes then count alike.
const VANISHING: f64 = 1e-30;

/// The weights of [`BoxAssociation::ScoreWeighted`] beside other `weights`, `[num_locations]`, which
/// are 0 for background.
pub(crate) fn score_weights(input: &TermInput, weights: Tensor<1>) -> Tensor<1> {
    let scores = scores(input);
    let weighted = (weights.clone() * scores.clone()).sum();
    let vanishing = weighted.clone().lower_equal_scalar(VANISHING);
    let factor = weights.sum() / weighted.mask_fill(vanishing.clone(), 1.0);
    let every = vanishing.expand(scores.shape());
    (scores * factor).mask_fill(every, 1.0)
}

/// The sum over the positive locations of `n π (1 − Î)`, one element.
///
/// # Panics
///
/// If it is not known which object the locations belong to.
pub(crate) fn expected_iou_loss(input: &TermInput, temperature: f64) -> Tensor<1> {
    let Some(objects) = &input.objects else {
        panic!("the expected IoU of objects is a loss, but the targets lack the objects");
    };
    let ious = aligned_iou(input.predicted_boxes.clone(), input.target_boxes.clone());
    let losses = ious.neg().add_scalar(1.0);
    let scores = scores(input);
    let on_host = read(&scores)
        .zip(read_integers(objects))
        .zip(input.positives.on_host());
    let Some(((values, objects), positives)) = on_host else {
        return failed(losses.sum());
    };
    let weights = softmax_by_object(&values, &objects, &positives, temperature);
    input.sum_over_positives(losses * write(weights, &scores))
}

/// The softmax of the scores of each object, times its number of locations; 0 for background.
fn softmax_by_object(
    scores: &[f32],
    objects: &[i64],
    positives: &[bool],
    temperature: f64,
) -> Vec<f32> {
    let mut rows_of: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (row, object) in objects
        .iter()
        .enumerate()
        .filter(|(row, _)| positives[*row])
    {
        rows_of.entry(*object).or_default().push(row);
    }
    let mut weights = vec![0.0; scores.len()];
    for rows in rows_of.values() {
        let highest = rows.iter().map(|&row| scores[row]).fold(f32::MIN, f32::max);
        let power = |row: usize| (f64::from(scores[row] - highest) / temperature).exp();
        let sum: f64 = rows.iter().map(|&row| power(row)).sum();
        for &row in rows {
            weights[row] = (rows.len() as f64 * power(row) / sum) as f32;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::{Device, Int};

    use super::*;
    use crate::closed_forms::{Box4, iou, sigmoid};
    use crate::locations::{Predictions, Targets};
    use crate::objective::{FcosObjective, FcosObjectiveConfig, ObjectiveOutput};
    use crate::test_tensors::{assert_close, assert_finite, tensor1, tensor2, values};
    use crate::{BoxLoss, closed_forms};

    const LOGITS: [[f64; 2]; 5] = [[1.0, 0.5], [-2.0, 3.0], [0.2, 0.4], [2.0, -1.0], [9.0, 9.0]];
    const LABELS: [i32; 5] = [0, 0, 1, 1, -1];
    const OBJECTS: [i32; 5] = [7, 7, 0, 7, 7];
    const BOXES: [Box4; 5] = [
        [2.0, 2.0, 19.0, 20.0],
        [1.5, 5.0, 15.0, 30.0],
        [50.0, 40.0, 90.0, 99.0],
        [1.0, -3.0, 22.0, 25.0],
        [f64::NAN; 4],
    ];
    const TARGETS: [Box4; 5] = [
        [0.0, 0.0, 20.0, 24.0],
        [0.0, 0.0, 20.0, 24.0],
        [45.0, 45.0, 95.0, 90.0],
        [0.0, 0.0, 20.0, 24.0],
        [0.0; 4],
    ];
    const CENTERNESS: [f64; 5] = [0.9, 0.2, 0.5, 0.7, 0.0];

    fn evaluate(
        config: &FcosObjectiveConfig,
        centerness: bool,
    ) -> (ObjectiveOutput, Vec<f64>, Vec<f64>) {
        let device = Device::flex();
        let autodiff = device.clone().autodiff();
        let logits = tensor2(&LOGITS, &autodiff).require_grad();
        let boxes = tensor2(&BOXES, &autodiff).require_grad();
        let predictions = Predictions {
            centerness_logits: centerness.then(|| tensor1(&[0.0; 5], &autodiff)),
            ..Predictions::new(logits.clone(), boxes.clone())
        };
        let targets = Targets {
            centerness: centerness.then(|| tensor1(&CENTERNESS, &device)),
            objects: Some(Tensor::from_ints(OBJECTS, &device)),
            ..Targets::new(
                Tensor::<1, Int>::from_ints(LABELS, &device),
                tensor2(&TARGETS, &device),
            )
        };
        let output = config.init().unwrap().forward(predictions, targets);
        let gradients = output.total.backward();
        let [of_logits, of_boxes] = [logits, boxes].map(|t| values(t.grad(&gradients).unwrap()));
        (output, of_logits, of_boxes)
    }

    fn config(association: Option<BoxAssociation>) -> FcosObjectiveConfig {
        FcosObjectiveConfig::new()
            .with_box_loss(BoxLoss::LinearIou)
            .with_box_association(association)
    }

    fn term(output: &ObjectiveOutput, name: &str) -> f64 {
        values(output.term(name).unwrap().clone())[0]
    }

    /// The score of the labeled class.
    fn score(row: usize) -> f64 {
        sigmoid(LOGITS[row][LABELS[row] as usize])
    }

    /// `n π` of the softmax over the locations of the same object.
    fn share(row: usize, temperature: f64) -> f64 {
        let rows = (0..4).filter(|other| OBJECTS[*other] == OBJECTS[row]);
        let sum: f64 = rows
            .clone()
            .map(|other| (score(other) / temperature).exp())
            .sum();
        rows.count() as f64 * (score(row) / temperature).exp() / sum
    }

    fn linear(row: usize, corner: usize, offset: f64) -> f64 {
        let mut moved = BOXES[row];
        moved[corner] += offset;
        1.0 - iou(moved, TARGETS[row])
    }

    /// The slopes of the linear IoU losses of the boxes times `weight(row)`.
    fn box_slopes(weight: impl Fn(usize) -> f64) -> Vec<f64> {
        let slope = |row, corner| (linear(row, corner, 1e-4) - linear(row, corner, -1e-4)) / 2e-4;
        let mut slopes: Vec<f64> = (0..4)
            .flat_map(|row| [0, 1, 2, 3].map(|corner| weight(row) * slope(row, corner)))
            .collect();
        slopes.extend([0.0; 4]);
        slopes
    }

    #[test]
    fn box_losses_are_weighted_by_scores_whose_mean_is_1() {
        let association = Some(BoxAssociation::ScoreWeighted);
        for centerness in [false, true] {
            let (plain, plain_logits, _) = evaluate(&config(None), centerness);
            let (output, logits, boxes) = evaluate(&config(association), centerness);
            let c = |row: usize| if centerness { CENTERNESS[row] } else { 1.0 };
            let sum: f64 = (0..4).map(|row| c(row) * score(row)).sum();
            let expected = (0..4)
                .map(|row| c(row) * score(row) / sum * linear(row, 0, 0.0))
                .sum();
            let found = term(&output, FcosObjective::LOCALIZATION);
            assert_close(&[found], &[expected], 1e-5);
            assert!((found - term(&plain, FcosObjective::LOCALIZATION)).abs() > 1e-3);
            assert_close(&boxes, &box_slopes(|row| c(row) * score(row) / sum), 1e-5);
            // Scores are detached.
            assert_eq!(logits, plain_logits);
        }
    }

    #[test]
    fn the_expected_iou_is_that_of_a_softmax_over_each_object() {
        let (_, plain_logits, plain_boxes) = evaluate(&config(None), false);
        for (beta, temperature) in [(1.0, 0.1), (0.5, 1.0), (2.0, 100.0)] {
            let association = BoxAssociation::ExpectedIou { beta, temperature };
            let (output, logits, boxes) = evaluate(&config(Some(association)), false);
            let weight = |row| beta / 4.0 * share(row, temperature);
            let expected = (0..4).map(|row| weight(row) * linear(row, 0, 0.0)).sum();
            let found = term(&output, FcosObjective::BOX_ASSOCIATION);
            assert_close(&[found], &[expected], 1e-5);
            let added: Vec<f64> = boxes
                .iter()
                .zip(plain_boxes.iter())
                .map(|(a, b)| a - b)
                .collect();
            assert_close(&added, &box_slopes(weight), 1e-5);
            assert_eq!(logits, plain_logits);
        }
    }

    /// The paper's concern about an association loss for boxes.
    #[test]
    fn no_box_is_made_worse() {
        let step = 1e-3;
        let ious = |boxes: &[Box4]| -> Vec<f64> {
            (0..4)
                .map(|row| closed_forms::iou(boxes[row], TARGETS[row]))
                .collect()
        };
        for association in [BoxAssociation::ScoreWeighted, BoxAssociation::EXPECTED_IOU] {
            let config = config(Some(association)).with_lambda(match association {
                BoxAssociation::ScoreWeighted => 1.0,
                _ => 0.0,
            });
            let (_, _, slopes) = evaluate(&config, false);
            let mut moved = BOXES;
            for (corner, slope) in moved.as_flattened_mut().iter_mut().zip(slopes) {
                *corner -= step * slope;
            }
            for (after, before) in ious(&moved).iter().zip(ious(&BOXES)) {
                assert!(*after > before, "{association:?}: {after} < {before}");
            }
        }
        // PSE as a loss of the box would make those worse whose IoU is above their score.
        let worse = (0..4).filter(|row| iou(BOXES[*row], TARGETS[*row]) > score(*row));
        assert!(worse.count() > 0);
    }

    #[test]
    fn extreme_scores_give_finite_values() {
        let scores = [0.0, 1.0, 0.0, f32::MIN_POSITIVE, f32::NAN];
        let positives = [true, true, true, true, false];
        let weights = softmax_by_object(&scores, &[3, 3, 9, 9, 1], &positives, 1e-6);
        assert_eq!(weights, [0.0, 2.0, 1.0, 1.0, 0.0]);
        assert!(softmax_by_object(&[], &[], &[], 1.0).is_empty());

        let device = Device::flex();
        let (predictions, targets) = (
            Predictions::new(
                tensor2(&[[-1e4]; 2], &device),
                tensor2(&[[0.0; 4]; 2], &device),
            ),
            Targets::new(
                Tensor::from_ints([0, 0], &device),
                tensor2(&[TARGETS[0]; 2], &device),
            ),
        );
        let input = TermInput::new(predictions, targets, 1.0);
        assert_finite(&values(score_weights(&input, Tensor::ones([2], &device))));
    }

    /// The sum of all weights is that of the center-ness, also where scores nearly vanish.
    #[test]
    fn small_scores_do_not_take_weight_from_boxes() {
        let device = Device::flex();
        for logit in [-12.5, -30.0, -60.0, -1e4] {
            let predictions = Predictions::new(
                tensor2(&[[logit], [logit]], &device),
                tensor2(&[BOXES[0]; 2], &device),
            );
            let targets = Targets::new(
                Tensor::from_ints([0, 0], &device),
                tensor2(&[TARGETS[0]; 2], &device),
            );
            let input = TermInput::new(predictions, targets, 1.0);
            let weights = score_weights(&input, tensor1(&[0.01, 0.02], &device));
            assert_close(&values(weights), &[1.0, 1.0], 1e-5);
        }
    }

    #[test]
    #[should_panic(expected = "the targets lack the objects")]
    fn the_expected_iou_needs_objects() {
        let device = Device::flex();
        let predictions = Predictions::new(tensor2(&LOGITS, &device), tensor2(&BOXES, &device));
        let labels = Tensor::from_ints(LABELS, &device);
        let targets = Targets::new(labels, tensor2(&TARGETS, &device));
        let config = config(Some(BoxAssociation::EXPECTED_IOU));
        config.init().unwrap().forward(predictions, targets);
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        for (beta, temperature, field) in [
            (-1.0, 1.0, "box_association.expected-iou.beta"),
            (1.0, 0.0, "box_association.expected-iou.temperature"),
        ] {
            let association = BoxAssociation::ExpectedIou { beta, temperature };
            assert_eq!(config(Some(association)).init().unwrap_err().field, field);
        }
        let twice = config(Some(BoxAssociation::ScoreWeighted))
            .with_classification(crate::ClassificationLoss::RANK_SORT);
        assert_eq!(twice.init().unwrap_err().field, "box_association");
    }
}
