use std::borrow::Cow;
use std::sync::Arc;

use burn::config::Config;
use burn::tensor::{FloatDType, Int, Tensor};

use crate::association::{AssociationLoss, AssociationScore};
use crate::box_association::{BoxAssociation, expected_iou_loss, score_weights};
use crate::box_loss::BoxLoss;
use crate::centerness::centerness_loss;
use crate::class_balance::ClassBalance;
use crate::classification::ClassificationLoss;
use crate::config_error::{ConfigError, fraction, non_negative};
use crate::locations::{Predictions, Targets};
use crate::loss_term::{LossTerm, TermInput, TermNameError};
use crate::normalizer::Normalizer;
use crate::own_class::class_is_correct;
use crate::positives::BACKGROUND;
use crate::weights::{Divisors, total, weighted_classification};

/// The least sum of center-ness targets that the localization loss is divided by.
const CENTERNESS_SUM_FLOOR: f64 = 1e-6;

/// Configuration of the training objective, [`FcosObjective`], which
/// [`init`](FcosObjectiveConfig::init) builds.
///
/// The defaults are FCOS without an association loss. The paper adds
/// `AssociationLoss::default()`. The center-ness branch has no setting: it is trained if the
/// detector has one.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct FcosObjectiveConfig {
    /// Classification loss; the focal loss of eq. (4) by default.
    #[config(default = "ClassificationLoss::default()")]
    pub classification: ClassificationLoss,
    /// Localization loss in eq. (6).
    #[config(default = "BoxLoss::IouPlusOne")]
    pub box_loss: BoxLoss,
    /// Weight `λ` of the localization loss in eq. (6), finite and `≥ 0`.
    #[config(default = 1.0)]
    pub lambda: f64,
    /// Association loss in eq. (12), if any.
    pub association: Option<AssociationLoss>,
    /// The score that the association loss ties to the IoU. The default is that of the paper. To
    /// train from scratch, use [`AssociationScore::GroundTruthClass`].
    #[config(default = "AssociationScore::MaxOverClasses")]
    pub association_score: AssociationScore,
    /// The share of the training, in `[0, 1]`, over which the weight `β` of the association loss
    /// rises linearly from 0. Early in training boxes are inaccurate, and their low IoU would hold
    /// scores down.
    #[config(default = 0.0)]
    pub association_ramp: f64,
    /// Label smoothing of the focal loss ([Szegedy et al.,
    /// 2016](https://arxiv.org/abs/1512.00567), for independent classes): labels are wrong with
    /// this probability `ε`, in `[0, 0.5]`, so that the loss of an element with label p is
    /// `(1 − ε) L(p̂, p) + ε L(p̂, 1 − p)`. `None` is the same as 0.
    pub label_smoothing: Option<f64>,
    /// Association of the boxes with the scores, if any.
    pub box_association: Option<BoxAssociation>,
    /// Weight of the distribution focal loss, finite and `≥ 0`; by default 0.25, as in [Generalized
    /// Focal Loss](https://arxiv.org/abs/2006.04388). For a detector that predicts distributions.
    pub distribution_weight: Option<f64>,
}

/// The weight of the distribution focal loss, if none is set.
const DISTRIBUTION_WEIGHT: f64 = 0.25;

impl FcosObjectiveConfig {
    /// Builds the objective.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range, such as `association.pse.beta`.
    pub fn init(&self) -> Result<FcosObjective, ConfigError> {
        non_negative("lambda", self.lambda)?;
        if let Some(association) = &self.association {
            association
                .validate()
                .map_err(|error| error.within("association"))?;
        }
        self.classification
            .validate()
            .map_err(|error| error.within("classification"))?;
        fraction("association_ramp", self.association_ramp)?;
        if let Some(smoothing) = self.label_smoothing {
            let is_focal = matches!(self.classification, ClassificationLoss::Focal { .. });
            let holds = smoothing == 0.0 || is_focal && (0.0..=0.5).contains(&smoothing);
            let requirement = "between 0 and 0.5, and 0 for losses other than focal";
            ConfigError::ensure(holds, "label_smoothing", smoothing, requirement)?;
        }
        if let Some(weight) = self.distribution_weight {
            non_negative("distribution_weight", weight)?;
        }
        if let Some(association) = &self.box_association {
            association
                .validate()
                .map_err(|error| error.within("box_association"))?;
            let weighted_twice = self.classification.ranking().is_some()
                && *association == BoxAssociation::ScoreWeighted;
            let requirement = "another one beside a ranking loss, which weights boxes itself";
            ConfigError::ensure(
                !weighted_twice,
                "box_association",
                "score-weighted",
                requirement,
            )?;
        }
        Ok(FcosObjective {
            config: self.clone(),
            class_balance: ClassBalance::default(),
            added_terms: Vec::new(),
            progress: 1.0,
        })
    }
}

/// The training objective of FCOS with an association loss, eqs. (5), (6) and (12):
///
/// ```text
/// 1/N_pos Σ classification  +  1/N_pos Σ_pos association(P̂, Î)  +  λ/N_pos Σ_pos box loss
/// ```
///
/// A detector with a center-ness branch is trained as in the public code of
/// [FCOS](https://arxiv.org/abs/1904.01355): box losses are weighted by the center-ness target and
/// divided by the sum of these targets instead of `N_pos`, and the binary cross-entropy of the
/// branch is added, divided by `N_pos`.
///
/// A detector that predicts the IoU of its boxes instead, as in [IoU-aware
/// RetinaNet](https://arxiv.org/abs/1912.05992), is trained with the binary cross-entropy of this
/// prediction and the IoU, which has no gradient for the boxes, divided by `N_pos`. Box losses then
/// have no weights.
///
/// A detector that predicts distributions over the distances to the sides of its boxes, as in
/// [Generalized Focal Loss](https://arxiv.org/abs/2006.04388), is also trained with the
/// [distribution focal loss](crate::distribution_focal_loss), the mean over the four sides, with the
/// weights of the box losses.
///
/// [`with_term`](Self::with_term) adds other terms.
///
/// Targets can have a quality, which takes the place of the IoU in classification losses with soft
/// labels, and [weights](crate::TargetWeights), which also take the place of the center-ness target
/// as the weight of a box loss. Rows with the label [`IGNORED`](crate::IGNORED) enter no term: value
/// and gradient are as without them, if their logits are finite.
///
/// Background rows are masked rather than dropped, so that shapes do not depend on the data and
/// nothing is read back to the host. Predicted and target boxes of background affect neither value
/// nor gradient, even if they are NaN.
///
/// Apart from the center-ness branch, nothing is specific to FCOS: the rows can be the anchors of
/// an anchor-based detector.
#[derive(Clone, Debug)]
pub struct FcosObjective {
    config: FcosObjectiveConfig,
    class_balance: ClassBalance,
    added_terms: Vec<Arc<dyn LossTerm>>,
    progress: f64,
}

impl FcosObjective {
    /// Name of the classification loss over all locations and classes, eq. (5).
    pub const CLASSIFICATION: &'static str = "Classification loss";
    /// Name of the box loss over the positive locations, `λ` included, eq. (6).
    pub const LOCALIZATION: &'static str = "Localization loss";
    /// Name of the association loss over the positive locations, the second term of eq. (12).
    pub const ASSOCIATION: &'static str = "Association loss";
    /// Name of the binary cross-entropy of the center-ness branch over the positive locations.
    pub const CENTERNESS: &'static str = "Centerness loss";
    /// Name of the [expected IoU](BoxAssociation::ExpectedIou) of the kept boxes as a loss, over the
    /// positive locations.
    pub const BOX_ASSOCIATION: &'static str = "Box association loss";
    /// Name of the binary cross-entropy of the predicted IoU over the positive locations.
    pub const PREDICTED_IOU: &'static str = "Predicted IoU loss";
    /// Name of the distribution focal loss over the positive locations, its weight included.
    pub const DISTRIBUTION: &'static str = "Distribution focal loss";
    /// The names of the objective's own terms, in their order.
    pub const TERMS: &'static [&'static str] = &[
        Self::CLASSIFICATION,
        Self::LOCALIZATION,
        Self::ASSOCIATION,
        Self::CENTERNESS,
        Self::BOX_ASSOCIATION,
        Self::PREDICTED_IOU,
        Self::DISTRIBUTION,
    ];

    /// Weighs the classes in the classification loss.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range.
    pub fn with_class_balance(self, class_balance: ClassBalance) -> Result<Self, ConfigError> {
        class_balance.validate(&self.config.classification)?;
        Ok(Self {
            class_balance,
            ..self
        })
    }

    /// Adds a term, after those that were added before.
    ///
    /// # Errors
    ///
    /// If the name of the term is empty, or is the name of another term. The names of the objective's
    /// [own terms](Self::TERMS) are taken even if the term is not configured.
    pub fn with_term(mut self, term: Arc<dyn LossTerm>) -> Result<Self, TermNameError> {
        let name = term.name();
        if name.trim().is_empty() {
            return Err(TermNameError::Empty);
        }
        if Self::TERMS.contains(&name) || self.added_terms.iter().any(|other| other.name() == name)
        {
            let name = name.to_owned();
            return Err(TermNameError::Taken { name });
        }
        self.added_terms.push(term);
        Ok(self)
    }

    /// The terms that were added by [`with_term`](Self::with_term), in order.
    pub fn added_terms(&self) -> &[Arc<dyn LossTerm>] {
        &self.added_terms
    }

    /// The objective at a `progress` of the training, the share that is done, in `[0, 1]`: the
    /// association loss gets its weight at that point of the ramp.
    ///
    /// An objective has a progress of 1 until it is set: the ramp is complete.
    #[must_use]
    pub fn at(&self, progress: f64) -> Self {
        Self {
            progress: progress.clamp(0.0, 1.0),
            ..self.clone()
        }
    }

    /// The association loss with its weight at this point of the training.
    fn association(&self) -> Option<AssociationLoss> {
        let ramp = self.config.association_ramp;
        let association = self.config.association?;
        Some(if self.progress < ramp {
            association.weighted(self.progress / ramp)
        } else {
            association
        })
    }

    /// Computes the objective of a whole batch.
    ///
    /// # Panics
    ///
    /// As [`forward_normalized`](Self::forward_normalized).
    pub fn forward(&self, predictions: Predictions, targets: Targets) -> ObjectiveOutput {
        let normalizer = targets.normalizer();
        self.forward_normalized(predictions, targets, normalizer)
    }

    /// Computes the share of these rows in the objective of a larger batch, which `normalizer`
    /// describes.
    ///
    /// # Panics
    ///
    /// If the tensors differ in their number of rows, if there are center-ness logits but the
    /// targets or the normalizer lack center-ness, if the class balance does not have one value per
    /// class, if a configured loss needs levels or objects that are missing, or if the sum of an added
    /// term has more than one element.
    pub fn forward_normalized(
        &self,
        predictions: Predictions,
        targets: Targets,
        normalizer: Normalizer,
    ) -> ObjectiveOutput {
        let input = TermInput::new(predictions, targets, self.progress);
        let divisors = normalizer.own_divisors().at_least_1();
        let per_positive = |sum: Tensor<1>| sum / divisors.positive.clone();
        let centerness = input.centerness_logits.clone().map(|logits| {
            let (Some(targets), Some(target_sum)) =
                (input.centerness_targets.clone(), normalizer.centerness_sum)
            else {
                panic!("center-ness is predicted, but the targets or the normalizer lack it");
            };
            (logits, targets, target_sum.clamp_min(CENTERNESS_SUM_FLOOR))
        });

        let ranking = self.config.classification.ranking();
        let ranking = ranking
            .map(|loss| loss.rank(input.class_logits.clone(), &input.labels, &input.quality));
        // Ranks have no weights.
        let per_ranked = |sum: Tensor<1>| sum / normalizer.num_positives.clone().clamp_min(1.0);
        let classification = match (&ranking, &input.weights, &normalizer.divisors) {
            (Some(ranking), _, _) => per_ranked(total(ranking.losses.clone())),
            (None, None, None) => per_positive(total(self.classification(&input, &input.labels))),
            _ => self.weighted_classification(&input, &divisors),
        };

        // Other rows of the batch may have weights, and the divisors are then theirs, too.
        let of_centerness = (centerness.as_ref())
            .filter(|_| input.weights.is_none() && normalizer.divisors.is_none());
        let score_weights = match self.config.box_association {
            Some(BoxAssociation::ScoreWeighted) => {
                let weights = match (&input.weights, of_centerness) {
                    (Some(weights), _) => input.positives.mask(weights.boxes.clone()),
                    (None, Some((_, weights, _))) => weights.clone(),
                    (None, None) => input.positives().cast(FloatDType::F32),
                };
                Some(score_weights(&input, weights))
            }
            _ => None,
        };
        let mean_over_boxes = |losses: Tensor<1>| {
            let losses = match &score_weights {
                Some(weights) => losses * weights.clone(),
                None => losses,
            };
            match (&ranking, of_centerness) {
                (Some(ranking), _) => per_ranked(ranking.weighted_sum(losses)),
                (None, Some((_, weights, weight_sum))) => {
                    (losses * weights.clone()).sum() / weight_sum.clone()
                }
                _ => per_positive(input.sum_over_positives(losses)),
            }
        };
        let localization = mean_over_boxes(
            self.config
                .box_loss
                .forward(input.predicted_boxes.clone(), input.target_boxes.clone()),
        );
        let localization = match &ranking {
            Some(ranking) => ranking.balanced(localization, classification.clone()),
            None => localization,
        };
        let distribution = input.distributions.as_ref().map(|distributions| {
            let losses = distributions.losses(input.target_boxes.clone());
            let weight = self.config.distribution_weight;
            mean_over_boxes(losses).mul_scalar(weight.unwrap_or(DISTRIBUTION_WEIGHT))
        });

        let mut terms = vec![
            LossValue::new(Self::CLASSIFICATION, classification),
            LossValue::new(
                Self::LOCALIZATION,
                localization.mul_scalar(self.config.lambda),
            ),
        ];
        if let Some(association) = self.association() {
            let scores = self
                .config
                .association_score
                .scores(input.class_logits.clone(), input.labels.clone());
            let losses = association.losses(
                scores,
                input.ious.clone(),
                &input.positives,
                input.levels.as_ref(),
            );
            let sum = input.sum_over_positives(losses);
            terms.push(LossValue::new(Self::ASSOCIATION, per_positive(sum)));
        }
        if let Some((logits, targets, _)) = &centerness {
            let losses = centerness_loss(logits.clone(), targets.clone());
            let sum = input.sum_over_positives(losses);
            terms.push(LossValue::new(Self::CENTERNESS, per_positive(sum)));
        }
        if let Some(BoxAssociation::ExpectedIou { beta, temperature }) = self.config.box_association
        {
            let sum = expected_iou_loss(&input, temperature).mul_scalar(beta);
            terms.push(LossValue::new(Self::BOX_ASSOCIATION, per_positive(sum)));
        }
        if let Some(logits) = input.iou_logits.clone() {
            let losses = centerness_loss(logits, input.ious.clone());
            let sum = input.sum_over_positives(losses);
            terms.push(LossValue::new(Self::PREDICTED_IOU, per_positive(sum)));
        }
        if let Some(distribution) = distribution {
            terms.push(LossValue::new(Self::DISTRIBUTION, distribution));
        }
        for term in &self.added_terms {
            let sum = term.sum(&input);
            let [elements] = sum.dims();
            assert!(
                elements == 1,
                "the sum of `{}` has {elements} elements instead of 1",
                term.name()
            );
            terms.push(LossValue::new(term.name().to_owned(), per_positive(sum)));
        }
        ObjectiveOutput::new(terms, &input)
    }

    /// The classification losses of all classes for these labels, 0 for ignored locations.
    fn classification(&self, input: &TermInput, labels: &Tensor<1, Int>) -> Tensor<2> {
        let smoothing = self.config.label_smoothing.unwrap_or(0.0);
        let loss = &self.config.classification;
        let losses = (self.class_balance).forward(loss, smoothing, input, labels.clone());
        input.positives.mask_ignored(losses)
    }

    fn weighted_classification(&self, input: &TermInput, divisors: &Divisors) -> Tensor<1> {
        weighted_classification(
            self.classification(input, &input.labels),
            || self.classification(input, &input.labels.full_like(BACKGROUND)),
            input.labels.clone(),
            &input.positives,
            input.weights.as_ref(),
            divisors,
        )
    }
}

/// The value of one term of an objective.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LossValue {
    /// Name of the term, such as [`FcosObjective::CLASSIFICATION`].
    pub name: Cow<'static, str>,
    /// Its value as it enters the objective, one element.
    pub value: Tensor<1>,
}

impl LossValue {
    fn new(name: impl Into<Cow<'static, str>>, value: Tensor<1>) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}

/// The value of the objective with its terms, and statistics of its rows. All tensors have one
/// element.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ObjectiveOutput {
    /// The terms: those of [`FcosObjective::TERMS`] that are configured or predicted, and the added
    /// terms in the order in which they were added.
    pub terms: Vec<LossValue>,
    /// The sum of the terms: the value to minimize.
    pub total: Tensor<1>,
    /// Number of positive locations among these rows. Not differentiable.
    pub num_positives: Tensor<1>,
    /// Mean IoU of the positive locations among these rows, 0 if there are none. Not
    /// differentiable.
    pub mean_iou: Tensor<1>,
    /// Share of the positive locations among these rows whose labeled class has the highest score,
    /// 0 if there are none. Not differentiable.
    pub class_accuracy: Tensor<1>,
}

impl ObjectiveOutput {
    fn new(terms: Vec<LossValue>, input: &TermInput) -> Self {
        let num_positives = input.positives.count.clone();
        let mean = |values| input.positives.sum(values) / num_positives.clone().clamp_min(1.0);
        let correct = class_is_correct(input.class_logits.clone().detach(), input.labels.clone());
        let total = terms[1..]
            .iter()
            .fold(terms[0].value.clone(), |sum, term| sum + term.value.clone());
        Self {
            total,
            mean_iou: mean(input.ious.clone()),
            class_accuracy: mean(correct.cast(FloatDType::F32)),
            num_positives,
            terms,
        }
    }

    /// The value of the term called `name`, if the objective has it.
    pub fn term(&self, name: &str) -> Option<&Tensor<1>> {
        let term = self.terms.iter().find(|term| term.name == name)?;
        Some(&term.value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::closed_forms::{self, Box4, ciou_weight, focal, iou, sigmoid};
    use crate::correlation::Correlation;
    use crate::distribution::BoxDistributions;
    use crate::levels::Levels;
    use crate::test_tensors::{assert_close, assert_finite, tensor1, tensor2, values};

    const CLASSES: usize = 3;
    const NAN_BOX: Box4 = [f64::NAN; 4];

    /// Predictions and targets as plain numbers.
    #[derive(Clone)]
    struct Scene {
        logits: Vec<[f64; CLASSES]>,
        labels: Vec<i64>,
        predicted: Vec<Box4>,
        target: Vec<Box4>,
        centerness: Option<[Vec<f64>; 2]>,
    }

    /// Pseudorandom numbers in `[0, 1)`.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1u64 << 24) as f64
        }
    }

    impl Scene {
        /// Rows of overlapping boxes with the labels `label(row)`.
        fn random(rows: usize, label: impl Fn(usize) -> i64) -> Self {
            let mut next = noise(7);
            let mut boxes = || {
                (0..rows)
                    .map(|_| {
                        let [x, y] = [10.0 * next(), 10.0 * next()];
                        [x, y, 40.0 + 30.0 * next(), 40.0 + 30.0 * next()]
                    })
                    .collect()
            };
            let (predicted, target) = (boxes(), boxes());
            let logits = (0..rows)
                .map(|_| [0; CLASSES].map(|_| 6.0 * next() - 3.0))
                .collect();
            let centerness = [
                (0..rows).map(|_| 4.0 * next() - 2.0).collect(),
                (0..rows).map(|_| next()).collect(),
            ];
            Self {
                logits,
                labels: (0..rows).map(label).collect(),
                predicted,
                target,
                centerness: Some(centerness),
            }
        }

        fn rows(&self, range: core::ops::Range<usize>) -> Self {
            Self {
                logits: self.logits[range.clone()].to_vec(),
                labels: self.labels[range.clone()].to_vec(),
                predicted: self.predicted[range.clone()].to_vec(),
                target: self.target[range.clone()].to_vec(),
                centerness: self
                    .centerness
                    .as_ref()
                    .map(|both| both.each_ref().map(|column| column[range.clone()].to_vec())),
            }
        }

        fn targets(&self) -> Targets {
            // Targets come from a loader, on a device without autodiff.
            let device = Device::flex();
            let labels = Tensor::from_ints(self.labels.as_slice(), &device);
            Targets {
                centerness: self
                    .centerness
                    .as_ref()
                    .map(|[_, targets]| tensor1(targets, &device)),
                ..Targets::new(labels, tensor2(&self.target, &device))
            }
        }

        fn predictions(&self) -> Predictions {
            let device = Device::flex().autodiff();
            let logits = tensor2(&self.logits, &device).require_grad();
            let boxes = tensor2(&self.predicted, &device).require_grad();
            Predictions {
                centerness_logits: self
                    .centerness
                    .as_ref()
                    .map(|[logits, _]| tensor1(logits, &device).require_grad()),
                ..Predictions::new(logits, boxes)
            }
        }

        fn evaluate(&self, config: &FcosObjectiveConfig) -> Evaluation {
            self.evaluate_normalized(config, self.targets().normalizer())
        }

        fn evaluate_normalized(
            &self,
            config: &FcosObjectiveConfig,
            normalizer: Normalizer,
        ) -> Evaluation {
            self.evaluate_objective(&config.init().unwrap(), normalizer)
        }

        fn evaluate_objective(
            &self,
            objective: &FcosObjective,
            normalizer: Normalizer,
        ) -> Evaluation {
            let predictions = self.predictions();
            let output =
                objective.forward_normalized(predictions.clone(), self.targets(), normalizer);
            let gradients = output.total.backward();
            Evaluation {
                class_gradient: values(predictions.class_logits.grad(&gradients).unwrap()),
                box_gradient: values(predictions.boxes.grad(&gradients).unwrap()),
                centerness_gradient: predictions
                    .centerness_logits
                    .map(|logits| values(logits.grad(&gradients).unwrap())),
                output,
            }
        }

        /// The same objective, computed row by row from the closed forms.
        fn expected(&self, config: &FcosObjectiveConfig) -> Expected {
            let name = config.box_loss.to_string();
            let mut expected = Expected::default();
            let (mut weights, mut ious) = (0.0, 0.0);
            for row in 0..self.labels.len() {
                let label = self.labels[row];
                let (p, t) = (self.predicted[row], self.target[row]);
                for (class, &logit) in self.logits[row].iter().enumerate() {
                    let positive = class as i64 == label;
                    expected.classification += match config.classification {
                        ClassificationLoss::Focal { alpha, gamma } => {
                            focal(logit, positive, alpha, gamma)
                        }
                        ClassificationLoss::QualityFocal { beta } => {
                            let q = if positive { iou(p, t) } else { 0.0 };
                            let score = sigmoid(logit);
                            let entropy = -q * score.ln() - (1.0 - q) * (1.0 - score).ln();
                            (q - score).abs().powf(beta) * entropy
                        }
                        other => unimplemented!("{other:?}"),
                    };
                }
                if label < 0 {
                    continue;
                }
                let weight = self.centerness.as_ref().map_or(1.0, |[_, t]| t[row]);
                let box_loss = closed_forms::box_loss(&name, p, t, ciou_weight(p, t));
                expected.localization += config.lambda * weight * box_loss;
                if let Some([logits, targets]) = &self.centerness {
                    let (q, t) = (sigmoid(logits[row]), targets[row]);
                    expected.centerness += -t * q.ln() - (1.0 - t) * (1.0 - q).ln();
                }
                let highest = self.logits[row].iter().copied().fold(f64::MIN, f64::max);
                let own = self.logits[row][label as usize];
                expected.class_accuracy += f64::from(u8::from(own == highest));
                let logit = match config.association_score {
                    AssociationScore::MaxOverClasses => highest,
                    AssociationScore::GroundTruthClass => own,
                };
                expected.association += match config.association {
                    None => 0.0,
                    Some(AssociationLoss::Pse { beta, k }) => {
                        beta * (sigmoid(logit) - k * iou(p, t)).powi(2)
                    }
                    Some(AssociationLoss::Pce { beta, k }) => {
                        -beta * (1.0 - (sigmoid(logit) - k * iou(p, t)).abs()).ln()
                    }
                    Some(other) => unimplemented!("{other:?}"),
                };
                ious += iou(p, t);
                weights += weight;
                expected.num_positives += 1.0;
            }
            let n = expected.num_positives.max(1.0);
            expected.classification /= n;
            expected.association /= n;
            expected.centerness /= n;
            expected.localization /= f64::max(weights, CENTERNESS_SUM_FLOOR);
            expected.mean_iou = ious / n;
            expected.class_accuracy /= n;
            expected
        }
    }

    struct Evaluation {
        output: ObjectiveOutput,
        class_gradient: Vec<f64>,
        box_gradient: Vec<f64>,
        centerness_gradient: Option<Vec<f64>>,
    }

    #[derive(Default)]
    struct Expected {
        classification: f64,
        association: f64,
        localization: f64,
        centerness: f64,
        num_positives: f64,
        mean_iou: f64,
        class_accuracy: f64,
    }

    impl Expected {
        fn columns(&self) -> [f64; 8] {
            let total =
                self.classification + self.association + self.localization + self.centerness;
            [
                self.classification,
                self.association,
                self.localization,
                self.centerness,
                total,
                self.num_positives,
                self.mean_iou,
                self.class_accuracy,
            ]
        }
    }

    fn scalar(tensor: &Tensor<1>) -> f64 {
        values(tensor.clone())[0]
    }

    /// The numbers of an output in the order of [`Expected::columns`].
    fn columns(output: &ObjectiveOutput) -> [f64; 8] {
        let term = |name| output.term(name).map_or(0.0, scalar);
        [
            term(FcosObjective::CLASSIFICATION),
            term(FcosObjective::ASSOCIATION),
            term(FcosObjective::LOCALIZATION),
            term(FcosObjective::CENTERNESS),
            scalar(&output.total),
            scalar(&output.num_positives),
            scalar(&output.mean_iou),
            scalar(&output.class_accuracy),
        ]
    }

    fn paper() -> FcosObjectiveConfig {
        FcosObjectiveConfig::new().with_association(Some(AssociationLoss::default()))
    }

    /// Every third row is background.
    fn mixed(row: usize) -> i64 {
        (row % 3) as i64 - i64::from(row.is_multiple_of(3))
    }

    #[test]
    fn values_match_the_equations_summed_over_rows() {
        let with_centerness = Scene::random(20, mixed);
        let without_centerness = Scene {
            centerness: None,
            ..with_centerness.clone()
        };
        let pce = AssociationLoss::Pce { beta: 0.8, k: 0.9 };
        let configs = [
            FcosObjectiveConfig::new(),
            paper(),
            paper().with_association_score(AssociationScore::GroundTruthClass),
            paper().with_association(Some(pce)).with_lambda(2.5),
            FcosObjectiveConfig::new().with_classification(ClassificationLoss::QUALITY_FOCAL),
        ];
        for config in configs {
            for &box_loss in BoxLoss::ALL {
                let config = config.clone().with_box_loss(box_loss);
                for scene in [&with_centerness, &without_centerness] {
                    let evaluation = scene.evaluate(&config);
                    let expected = scene.expected(&config).columns();
                    assert_close(&columns(&evaluation.output), &expected, 5e-6);
                }
            }
        }
    }

    #[test]
    fn the_association_loss_rises_linearly_over_its_ramp() {
        let scene = Scene::random(12, mixed);
        let association = |config: &FcosObjectiveConfig, progress: f64| {
            let objective = config.init().unwrap().at(progress);
            columns(&objective.forward(scene.predictions(), scene.targets()))[1]
        };
        let whole = association(&paper(), 0.0);
        let ramp = paper().with_association_ramp(0.4);
        for (progress, share) in [(0.0, 0.0), (0.1, 0.25), (0.3, 0.75), (0.4, 1.0), (1.0, 1.0)] {
            assert_close(&[association(&ramp, progress)], &[share * whole], 1e-6);
        }
    }

    #[test]
    fn background_boxes_affect_neither_values_nor_gradients() {
        for classification in [
            ClassificationLoss::default(),
            ClassificationLoss::VARIFOCAL,
            ClassificationLoss::RANK_SORT,
            ClassificationLoss::ALRP,
        ] {
            assert_background_has_no_effect(&paper().with_classification(classification));
        }
        for association in [
            AssociationLoss::CONCORDANCE,
            AssociationLoss::PEARSON,
            AssociationLoss::SPEARMAN,
        ] {
            let config = paper().with_box_association(Some(BoxAssociation::ScoreWeighted));
            assert_background_has_no_effect(&config.with_association(Some(association)));
        }
    }

    fn assert_background_has_no_effect(config: &FcosObjectiveConfig) {
        let clean = Scene::random(12, mixed);
        let mut spoiled = clean.clone();
        let background = |row: &usize| mixed(*row) < 0;
        for (turn, row) in (0..12).filter(background).enumerate() {
            spoiled.predicted[row] = [NAN_BOX, [f64::INFINITY; 4], [9.0, 9.0, 1.0, 1.0]][turn % 3];
            spoiled.target[row] = [[0.0; 4], NAN_BOX][turn % 2];
            spoiled.centerness.as_mut().unwrap()[1][row] = f64::NAN;
        }
        let (clean, spoiled) = (clean.evaluate(config), spoiled.evaluate(config));
        assert_eq!(columns(&clean.output), columns(&spoiled.output));
        assert_eq!(clean.class_gradient, spoiled.class_gradient);
        assert_eq!(clean.box_gradient, spoiled.box_gradient);
        for row in 0..12 {
            let gradient = &spoiled.box_gradient[4 * row..4 * row + 4];
            assert_eq!(gradient.iter().all(|&g| g == 0.0), background(&row));
            let centerness = spoiled.centerness_gradient.as_ref().unwrap()[row];
            assert_eq!(centerness == 0.0, background(&row));
        }
    }

    /// As if the ignored rows were not there.
    #[test]
    fn ignored_rows_affect_nothing() {
        let all = Scene::random(12, |row| if row < 3 { -2 } else { mixed(row) });
        for config in [
            paper().with_label_smoothing(Some(0.1)),
            paper().with_classification(ClassificationLoss::VARIFOCAL),
        ] {
            let (found, without) = (all.evaluate(&config), all.rows(3..12).evaluate(&config));
            let expected = columns(&without.output);
            assert!(expected[..5].iter().all(|value| *value > 0.0));
            assert_close(&columns(&found.output), &expected, 1e-6);
            for (found, expected, columns) in [
                (&found.class_gradient, &without.class_gradient, CLASSES),
                (&found.box_gradient, &without.box_gradient, 4),
            ] {
                assert_eq!(found[..3 * columns], vec![0.0; 3 * columns]);
                assert_close(&found[3 * columns..], expected, 1e-6);
            }
        }
    }

    #[test]
    fn the_association_loss_has_no_gradient_for_boxes() {
        let scene = Scene::random(12, mixed);
        let without = scene.evaluate(&FcosObjectiveConfig::new());
        let with = scene.evaluate(&paper());
        assert_eq!(without.box_gradient, with.box_gradient);
        assert_ne!(without.class_gradient, with.class_gradient);
    }

    #[test]
    fn a_batch_of_background_is_divided_by_1() {
        let scene = Scene::random(5, |_| -1);
        let evaluation = scene.evaluate(&paper());
        let expected = scene.expected(&paper());
        assert!(expected.classification > 0.1);
        assert_close(&columns(&evaluation.output), &expected.columns(), 1e-6);
        assert_finite(&evaluation.class_gradient);
        assert!(evaluation.box_gradient.iter().all(|&g| g == 0.0));
    }

    #[test]
    fn a_batch_without_rows_has_a_loss_of_0() {
        let scene = Scene::random(0, mixed);
        for config in [
            paper(),
            paper().with_association_score(AssociationScore::GroundTruthClass),
        ] {
            assert_eq!(columns(&scene.evaluate(&config).output), [0.0; 8]);
        }
    }

    #[test]
    fn extreme_predictions_give_finite_values_and_gradients() {
        let huge = [-1e6, -1e6, 1e6, 1e6];
        let scene = Scene {
            logits: vec![[1e4, -1e4, 0.0], [-1e4; 3], [100.0; 3], [-100.0, 1e4, 0.0]],
            labels: vec![0, 1, 2, -1],
            predicted: vec![huge, [5.0; 4], [9.0, 9.0, 1.0, 1.0], huge],
            target: vec![[0.0, 0.0, 9.0, 9.0], [5.0; 4], [0.0, 0.0, 9.0, 9.0], huge],
            centerness: Some([vec![1e4, -1e4, 100.0, 0.0], vec![0.0, 1.0, 0.0, 0.0]]),
        };
        for &box_loss in BoxLoss::ALL {
            let pce = AssociationLoss::Pce { beta: 1.0, k: 1.5 };
            let config = paper().with_box_loss(box_loss);
            for config in [
                config.clone().with_association(Some(pce)),
                (config
                    .clone()
                    .with_association(Some(AssociationLoss::PEARSON)))
                .with_box_association(Some(BoxAssociation::ScoreWeighted)),
                (config
                    .clone()
                    .with_association(Some(AssociationLoss::CONCORDANCE)))
                .with_classification(ClassificationLoss::RANK_SORT),
                config.with_classification(ClassificationLoss::ALRP),
            ] {
                let evaluation = scene.evaluate(&config);
                assert_finite(&columns(&evaluation.output));
                assert_finite(&evaluation.class_gradient);
                assert_finite(&evaluation.box_gradient);
                assert_finite(&evaluation.centerness_gradient.unwrap());
            }
        }
    }

    #[test]
    fn parts_with_the_normalizer_of_the_batch_add_up_to_the_batch() {
        let config = paper();
        let batch = Scene::random(10, mixed);
        let parts = [batch.rows(0..4), batch.rows(4..10)];
        let whole = batch.evaluate(&config);
        let [first, second] =
            parts.map(|part| part.evaluate_normalized(&config, batch.targets().normalizer()));

        let sum: Vec<f64> = columns(&first.output)
            .iter()
            .zip(columns(&second.output))
            .map(|(a, b)| a + b)
            .collect();
        // The mean IoU and the class accuracy, in the last columns, are those of a part.
        assert_close(&sum[..6], &columns(&whole.output)[..6], 1e-6);
        let gradient = [first.box_gradient, second.box_gradient].concat();
        assert_close(&gradient, &whole.box_gradient, 1e-6);
    }

    #[test]
    fn losses_of_several_locations_are_means_over_parts_weighted_by_positives() {
        let batch = Scene {
            centerness: None,
            ..Scene::random(30, mixed)
        };
        let parts = [batch.rows(0..9), batch.rows(9..30)];
        let correlated = paper().with_association(Some(AssociationLoss::CONCORDANCE));
        let ranked = FcosObjectiveConfig::new().with_classification(ClassificationLoss::RANK_SORT);
        for (config, name) in [
            (&correlated, FcosObjective::ASSOCIATION),
            (&ranked, FcosObjective::CLASSIFICATION),
            (&ranked, FcosObjective::LOCALIZATION),
        ] {
            let value = |evaluation: Evaluation| scalar(evaluation.output.term(name).unwrap());
            let alone = parts.each_ref().map(|part| value(part.evaluate(config)));
            let shares = (parts.each_ref())
                .map(|part| value(part.evaluate_normalized(config, batch.targets().normalizer())));
            // 6 and 14 of their rows are positive.
            let expected = [0.3 * alone[0], 0.7 * alone[1]];
            assert_close(&shares, &expected, 1e-6);
            let whole = value(batch.evaluate(config));
            assert!(
                (whole - shares[0] - shares[1]).abs() > 1e-3,
                "{name}: {whole}"
            );
        }
    }

    #[test]
    fn a_loss_by_level_is_that_of_the_levels() {
        let by_level = AssociationLoss::Correlation {
            beta: 0.2,
            coefficient: Correlation::Concordance,
            by_level: true,
        };
        let (scene, config) = (
            Scene::random(12, mixed),
            paper().with_association(Some(by_level)),
        );
        let value = |indices: [i32; 12], count| {
            let indices = Tensor::from_ints(indices, &Device::flex());
            let predictions = Predictions {
                levels: Some(Levels { indices, count }),
                ..scene.predictions()
            };
            let output = config.init().unwrap().forward(predictions, scene.targets());
            scalar(output.term(FcosObjective::ASSOCIATION).unwrap())
        };
        let halves = value([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1], 2);
        let alone = [scene.rows(0..6), scene.rows(6..12)].map(|half| {
            let levels = Levels {
                indices: Tensor::zeros([6], &Device::flex()),
                count: 3,
            };
            let predictions = Predictions {
                levels: Some(levels),
                ..half.predictions()
            };
            let output = config.init().unwrap().forward(predictions, half.targets());
            scalar(output.term(FcosObjective::ASSOCIATION).unwrap())
        });
        assert_close(&[halves], &[(alone[0] + alone[1]) / 2.0], 1e-6);
    }

    #[test]
    #[should_panic(expected = "by level, but there are no levels")]
    fn a_loss_by_level_needs_levels() {
        let by_level = AssociationLoss::Correlation {
            beta: 0.2,
            coefficient: Correlation::Pearson,
            by_level: true,
        };
        Scene::random(12, mixed).evaluate(&paper().with_association(Some(by_level)));
    }

    /// Logits and targets of a predicted IoU, and of distributions over three bins of 16 px.
    fn evaluate_branches(
        scene: &Scene,
        config: &FcosObjectiveConfig,
    ) -> (ObjectiveOutput, Predictions) {
        let rows = scene.labels.len();
        let autodiff = Device::flex().autodiff();
        let mut next = noise(3);
        let mut column =
            |len: usize| -> Vec<f64> { (0..len).map(|_| 4.0 * next() - 2.0).collect() };
        let distributions = BoxDistributions {
            logits: (tensor1(&column(12 * rows), &autodiff).reshape([rows, 4, 3])).require_grad(),
            locations: tensor1(&vec![25.0; 2 * rows], &autodiff).reshape([rows, 2]),
            bin_sizes: tensor1(&vec![16.0; rows], &autodiff),
        };
        let predictions = Predictions {
            iou_logits: Some(tensor1(&column(rows), &autodiff).require_grad()),
            distributions: Some(distributions),
            ..scene.predictions()
        };
        let objective = config.init().unwrap();
        (
            objective.forward(predictions.clone(), scene.targets()),
            predictions,
        )
    }

    #[test]
    fn a_predicted_iou_is_trained_with_that_of_the_box() {
        let scene = Scene {
            centerness: None,
            ..Scene::random(12, mixed)
        };
        let (output, predictions) = evaluate_branches(&scene, &FcosObjectiveConfig::new());
        let logits = predictions.iou_logits.unwrap();
        let ious: Vec<f64> = (0..12)
            .map(|row| iou(scene.predicted[row], scene.target[row]))
            .collect();
        let positive = |row: usize| f64::from(u8::from(scene.labels[row] >= 0));
        let scores: Vec<f64> = values(logits.clone()).into_iter().map(sigmoid).collect();
        let entropy = |row: usize| {
            let (q, p): (f64, f64) = (ious[row], scores[row]);
            positive(row) * (-q * p.ln() - (1.0 - q) * (1.0 - p).ln())
        };
        let expected: f64 = (0..12).map(entropy).sum::<f64>() / 8.0;
        let term = output.term(FcosObjective::PREDICTED_IOU).unwrap();
        assert_close(&[scalar(term)], &[expected], 1e-5);
        let gradients = term.backward();
        let slopes: Vec<f64> = (0..12)
            .map(|row| positive(row) * (scores[row] - ious[row]) / 8.0)
            .collect();
        assert_close(&values(logits.grad(&gradients).unwrap()), &slopes, 1e-5);
        assert!(predictions.boxes.grad(&gradients).is_none());
    }

    #[test]
    fn distributions_are_trained_with_the_weights_of_the_boxes() {
        let with_centerness = Scene::random(12, mixed);
        let without_centerness = Scene {
            centerness: None,
            ..with_centerness.clone()
        };
        for (scene, weight) in [(&with_centerness, None), (&without_centerness, Some(0.5))] {
            let config = FcosObjectiveConfig::new().with_distribution_weight(weight);
            let (output, predictions) = evaluate_branches(scene, &config);
            let distributions = predictions.distributions.unwrap();
            let losses = values(distributions.losses(tensor2(&scene.target, &Device::flex())));
            let (mut sum, mut weights) = (0.0, 0.0);
            for row in (0..12).filter(|row| scene.labels[*row] >= 0) {
                let weight = scene.centerness.as_ref().map_or(1.0, |[_, t]| t[row]);
                sum += weight * losses[row];
                weights += weight;
            }
            let expected = weight.unwrap_or(0.25) * sum / weights;
            let term = output.term(FcosObjective::DISTRIBUTION).unwrap();
            assert_close(&[scalar(term)], &[expected], 1e-5);
            let gradients = term.backward();
            let slopes = values(distributions.logits.grad(&gradients).unwrap());
            for (row, slopes) in slopes.chunks(12).enumerate() {
                assert_eq!(
                    scene.labels[row] < 0,
                    slopes.iter().all(|slope| *slope == 0.0)
                );
            }
        }
    }

    /// The L1 distance between predicted boxes and their targets, weighted by the progress.
    #[derive(Debug)]
    struct L1Loss(&'static str);

    impl LossTerm for L1Loss {
        fn name(&self) -> &str {
            self.0
        }

        fn sum(&self, input: &TermInput) -> Tensor<1> {
            let difference = input.predicted_boxes.clone() - input.target_boxes.clone();
            let distances = difference.abs().sum_dim(1).squeeze_dim(1);
            input
                .sum_over_positives(distances)
                .mul_scalar(input.progress)
        }
    }

    fn with_terms(names: &[&'static str]) -> Result<FcosObjective, TermNameError> {
        let objective = paper().init().unwrap();
        names.iter().try_fold(objective, |objective, name| {
            objective.with_term(Arc::new(L1Loss(name)))
        })
    }

    #[test]
    fn added_terms_are_divided_by_the_positives_of_all_parts() {
        let batch = Scene::random(10, mixed);
        let parts = [batch.rows(0..3), batch.rows(3..10)];
        let normalizer = parts[0]
            .targets()
            .normalizer()
            .join(parts[1].targets().normalizer());
        let objective = with_terms(&["L1 loss"]).unwrap().at(0.5);
        let positives = batch.labels.iter().filter(|&&label| label >= 0).count() as f64;
        let without_terms = paper().init().unwrap();
        for part in parts {
            let evaluation = part.evaluate_objective(&objective, normalizer.clone());
            let plain = part.evaluate_objective(&without_terms, normalizer.clone());

            let rows = 0..part.labels.len();
            let positive_rows = rows.clone().filter(|&row| part.labels[row] >= 0);
            let distances = positive_rows.flat_map(|row| {
                let sides = part.predicted[row].into_iter().zip(part.target[row]);
                sides.map(|(a, b)| (a - b).abs())
            });
            let expected = 0.5 * distances.sum::<f64>() / positives;
            let value = scalar(evaluation.output.term("L1 loss").unwrap());
            assert_close(&[value], &[expected], 1e-6);
            let total = scalar(&plain.output.total) + expected;
            assert_close(&[scalar(&evaluation.output.total)], &[total], 1e-6);

            let slopes: Vec<f64> = rows
                .flat_map(|row| {
                    let positive = f64::from(u8::from(part.labels[row] >= 0));
                    let sides = part.predicted[row].into_iter().zip(part.target[row]);
                    sides.map(move |(a, b)| positive * 0.5 * (a - b).signum() / positives)
                })
                .zip(&plain.box_gradient)
                .map(|(slope, plain)| slope + plain)
                .collect();
            assert_close(&evaluation.box_gradient, &slopes, 1e-6);
            assert_eq!(evaluation.class_gradient, plain.class_gradient);
        }
    }

    #[test]
    fn terms_are_listed_in_a_fixed_order() {
        let names = |objective: FcosObjective, scene: &Scene| -> Vec<String> {
            let output = objective.forward(scene.predictions(), scene.targets());
            let names = output.terms.into_iter().map(|term| term.name.into_owned());
            names.collect()
        };
        let scene = Scene::random(4, mixed);
        let all = with_terms(&["L1 loss", "Another loss"]).unwrap();
        let added: Vec<&str> = all.added_terms().iter().map(|term| term.name()).collect();
        assert_eq!(added, ["L1 loss", "Another loss"]);
        assert_eq!(
            names(all, &scene),
            [
                "Classification loss",
                "Localization loss",
                "Association loss",
                "Centerness loss",
                "L1 loss",
                "Another loss"
            ]
        );
        let scene = Scene {
            centerness: None,
            ..scene
        };
        assert_eq!(
            names(FcosObjectiveConfig::new().init().unwrap(), &scene),
            ["Classification loss", "Localization loss"]
        );
    }

    #[test]
    fn names_of_terms_are_unique_and_not_empty() {
        let taken = |name: &str| {
            let name = name.to_owned();
            Some(TermNameError::Taken { name })
        };
        assert_eq!(with_terms(&["A", "B", "A"]).err(), taken("A"));
        assert_eq!(
            with_terms(&["Association loss"]).err(),
            taken("Association loss")
        );
        assert_eq!(
            with_terms(&["Centerness loss"]).err(),
            taken("Centerness loss")
        );
        assert_eq!(with_terms(&[" "]).err(), Some(TermNameError::Empty));
        assert!(with_terms(&["A", "B"]).is_ok());
    }

    /// A term that does not sum its values.
    #[derive(Debug)]
    struct Unreduced;

    impl LossTerm for Unreduced {
        fn name(&self) -> &str {
            "Unreduced loss"
        }

        fn sum(&self, input: &TermInput) -> Tensor<1> {
            input.ious.clone()
        }
    }

    #[test]
    #[should_panic(expected = "the sum of `Unreduced loss` has 3 elements instead of 1")]
    fn sums_of_terms_have_one_element() {
        let scene = Scene::random(3, mixed);
        let objective = paper().init().unwrap().with_term(Arc::new(Unreduced));
        objective
            .unwrap()
            .forward(scene.predictions(), scene.targets());
    }

    #[test]
    #[should_panic(expected = "`targets.labels` has 2 rows")]
    fn all_tensors_have_the_same_number_of_rows() {
        let mut scene = Scene::random(3, mixed);
        let predictions = scene.predictions();
        scene.labels.pop();
        let objective = paper().init().unwrap();
        let targets = Targets {
            centerness: None,
            ..scene.targets()
        };
        objective.forward(predictions, targets);
    }

    #[test]
    fn configuration_is_the_same_after_writing_and_reading_json() {
        let config = paper()
            .with_box_loss(BoxLoss::LinearIou)
            .with_association_score(AssociationScore::GroundTruthClass);
        let json = config.to_string();
        for name in ["\"linear-iou\"", "\"pse\"", "\"ground-truth-class\""] {
            assert!(json.contains(name), "{json}");
        }
        let read = FcosObjectiveConfig::load_binary(json.as_bytes()).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        let association = AssociationLoss::Pse { beta: 1.0, k: -1.0 };
        let classification = ClassificationLoss::QualityFocal { beta: 0.5 };
        for (config, field) in [
            (paper().with_lambda(-1.0), "lambda"),
            (
                paper().with_association(Some(association)),
                "association.pse.k",
            ),
            (
                paper().with_classification(classification),
                "classification.quality-focal.beta",
            ),
            (paper().with_association_ramp(1.5), "association_ramp"),
            (paper().with_label_smoothing(Some(0.6)), "label_smoothing"),
            (
                paper()
                    .with_classification(ClassificationLoss::VARIFOCAL)
                    .with_label_smoothing(Some(0.1)),
                "label_smoothing",
            ),
            (
                paper().with_distribution_weight(Some(-1.0)),
                "distribution_weight",
            ),
        ] {
            assert_eq!(config.init().unwrap_err().field, field);
        }
    }
}
