use burn::config::Config;
use burn::tensor::{Bool, Device, FloatDType, Int, Tensor};

use crate::association::class_is_correct;
use crate::error::{fraction, non_negative};
use crate::{
    AssociationLoss, AssociationScore, BoxLoss, ClassificationLoss, LossConfigError, aligned_iou,
    centerness_loss,
};

/// The least sum of centre-ness targets that is divided by.
const CENTERNESS_SUM_FLOOR: f64 = 1e-6;

/// Configuration of the [training objective](FcosObjective), made by
/// [`init`](FcosObjectiveConfig::init).
///
/// The defaults are FCOS without an association loss; the paper adds
/// `AssociationLoss::default()`. Whether the centre-ness branch is trained is not configured:
/// it is if the detector predicts it.
#[derive(Config, Debug, PartialEq)]
pub struct FcosObjectiveConfig {
    /// Classification loss; eq. (4) by default.
    #[config(default = "ClassificationLoss::default()")]
    pub classification: ClassificationLoss,
    /// Localisation loss in eq. (6).
    #[config(default = "BoxLoss::IouPlusOne")]
    pub box_loss: BoxLoss,
    /// Weight `λ` of the localisation loss in eq. (6), finite and `≥ 0`.
    #[config(default = 1.0)]
    pub lambda: f64,
    /// Association loss in eq. (12), if any.
    pub association: Option<AssociationLoss>,
    /// The score that the association loss ties to the IoU. The default is the paper's; to train
    /// from scratch, take [`AssociationScore::GroundTruthClass`].
    #[config(default = "AssociationScore::MaxOverClasses")]
    pub association_score: AssociationScore,
    /// The share of the training, in `[0, 1]`, over which the weight `β` of the association loss
    /// rises from 0, linearly. Early on boxes fit badly, and their low IoU would hold scores down.
    #[config(default = 0.0)]
    pub association_ramp: f64,
}

impl FcosObjectiveConfig {
    /// Makes the objective.
    ///
    /// # Errors
    ///
    /// [`LossConfigError::OutOfRange`] if a number lies outside the range that its field documents.
    pub fn init(&self) -> Result<FcosObjective, LossConfigError> {
        non_negative("lambda", self.lambda)?;
        if let Some(association) = &self.association {
            association.validate()?;
        }
        self.classification.validate()?;
        fraction("association_ramp", self.association_ramp)?;
        Ok(FcosObjective {
            classification: self.classification,
            box_loss: self.box_loss,
            lambda: self.lambda,
            association: self.association,
            association_score: self.association_score,
            association_ramp: self.association_ramp,
        })
    }
}

/// What a detector predicts, a row for every location of every level of every image of the batch.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// `[num_locations, num_classes]`
    pub class_logits: Tensor<2>,
    /// `[num_locations, 4]`, `xyxy` in pixels. Only positive rows are looked at.
    pub boxes: Tensor<2>,
    /// `[num_locations]`, if the detector has a centre-ness branch.
    pub centerness_logits: Option<Tensor<1>>,
}

/// What a detector should have predicted, row by row as in [`Predictions`].
#[derive(Clone, Debug)]
pub struct Targets {
    /// `[num_locations]`: the class in `0..num_classes` of a positive location, −1 for background.
    pub labels: Tensor<1, Int>,
    /// `[num_locations, 4]`, `xyxy` in pixels; anything where the label is background.
    pub boxes: Tensor<2>,
    /// `[num_locations]`, in `[0, 1]`; anything where the label is background. Needed by a detector
    /// with a centre-ness branch and unused by any other.
    pub centerness: Option<Tensor<1>>,
}

impl Targets {
    /// What the losses on these targets are divided by when they are a whole batch.
    pub fn normalizer(&self) -> Normalizer {
        let positives = Positives::of(&self.labels);
        Normalizer {
            centerness_sum: self
                .centerness
                .clone()
                .map(|centerness| positives.sum(centerness)),
            num_positives: positives.count,
        }
    }
}

/// What the losses are divided by: sums over a whole batch, over all devices that share it.
///
/// [`FcosObjective::forward`] takes those of its own rows. Where a batch is computed in parts, on
/// several devices or one after another, [`join`](Self::join) those of all parts and call
/// [`FcosObjective::forward_normalized`] for each part; divide both numbers by the number of parts
/// first if the gradients are then averaged rather than summed.
#[derive(Clone, Debug)]
pub struct Normalizer {
    /// `N_pos`, the number of positive locations, one element. Below 1 it counts as 1.
    pub num_positives: Tensor<1>,
    /// Sum of the centre-ness targets of the positive locations, one element.
    pub centerness_sum: Option<Tensor<1>>,
}

impl Normalizer {
    /// The normaliser of two parts of a batch together, on the device of `self`.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let device = self.num_positives.device();
        let other = other.to_device(&device);
        Self {
            num_positives: self.num_positives + other.num_positives,
            centerness_sum: match (self.centerness_sum, other.centerness_sum) {
                (Some(sum), Some(other)) => Some(sum + other),
                _ => None,
            },
        }
    }

    /// The same on another device.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Self {
        Self {
            num_positives: self.num_positives.to_device(device),
            centerness_sum: self.centerness_sum.map(|sum| sum.to_device(device)),
        }
    }
}

/// The terms of the objective, one element each.
#[derive(Clone, Debug)]
pub struct LossParts {
    /// Classification loss over all locations and classes, eq. (5).
    pub classification: Tensor<1>,
    /// Association loss over the positives, the second term of eq. (12).
    pub association: Option<Tensor<1>>,
    /// Box loss over the positives, `λ` included, eq. (6).
    pub localization: Tensor<1>,
    /// Binary cross-entropy of the centre-ness branch over the positives.
    pub centerness: Option<Tensor<1>>,
    /// Sum of the terms above: what to minimise.
    pub total: Tensor<1>,
    /// Positive locations among these rows. Not differentiable.
    pub num_positives: Tensor<1>,
    /// Mean IoU of the positive locations among these rows, 0 if there is none. Not differentiable.
    pub mean_iou: Tensor<1>,
    /// Share of the positive locations among these rows whose highest class is the true one, 0 if
    /// there is none. Not differentiable.
    pub class_accuracy: Tensor<1>,
}

/// The training objective of FCOS with an association loss, eqs. (5), (6) and (12):
///
/// ```text
/// 1/N_pos Σ classification  +  1/N_pos Σ_pos association(P̂, Î)  +  λ/N_pos Σ_pos box loss
/// ```
///
/// A detector with a centre-ness branch is trained as in the public code of
/// [FCOS](https://arxiv.org/abs/1904.01355): box losses are weighted by the centre-ness target and
/// divided by the sum of these targets instead of `N_pos`, and the branch's binary cross-entropy,
/// over `N_pos`, is added.
///
/// The interface is dense: background rows are masked, not dropped, so that shapes do not depend
/// on the data and nothing is read back to the host. A predicted or target box of a background row
/// takes part in neither value nor gradient, whatever it holds.
///
/// Nothing here is specific to FCOS but the centre-ness branch: an anchor is a location too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FcosObjective {
    classification: ClassificationLoss,
    box_loss: BoxLoss,
    lambda: f64,
    association: Option<AssociationLoss>,
    association_score: AssociationScore,
    association_ramp: f64,
}

impl FcosObjective {
    /// The objective where the share `progress` of the training, in `[0, 1]`, is done: the
    /// association loss has the weight of that place in its ramp.
    #[must_use]
    pub fn at(&self, progress: f64) -> Self {
        if progress >= self.association_ramp {
            return *self;
        }
        let weight = progress.max(0.0) / self.association_ramp;
        Self {
            association: self.association.map(|loss| loss.weighted(weight)),
            ..*self
        }
    }

    /// The objective of a whole batch.
    ///
    /// # Panics
    ///
    /// As [`forward_normalized`](Self::forward_normalized).
    pub fn forward(&self, predictions: Predictions, targets: Targets) -> LossParts {
        let normalizer = targets.normalizer();
        self.forward_normalized(predictions, targets, normalizer)
    }

    /// The share of these rows in the objective of a larger batch, described by `normalizer`.
    ///
    /// # Panics
    ///
    /// If the tensors differ in their number of rows, or if there are centre-ness logits but the
    /// targets or the normaliser lack centre-ness.
    pub fn forward_normalized(
        &self,
        predictions: Predictions,
        targets: Targets,
        normalizer: Normalizer,
    ) -> LossParts {
        let Predictions {
            class_logits,
            boxes,
            centerness_logits,
        } = predictions;
        let rows = class_logits.dims()[0];
        assert_rows("predictions.boxes", boxes.dims()[0], rows);
        assert_rows("targets.labels", targets.labels.dims()[0], rows);
        assert_rows("targets.boxes", targets.boxes.dims()[0], rows);

        let positives = Positives::of(&targets.labels);
        let num_positives = normalizer.num_positives.clamp_min(1.0);
        let boxes = positives.boxes(boxes);
        let target_boxes = positives.boxes(targets.boxes);
        let ious = aligned_iou(boxes.clone().detach(), target_boxes.clone());

        let classification = self
            .classification
            .forward(class_logits.clone(), targets.labels.clone(), ious.clone())
            .sum()
            / num_positives.clone();
        let correct = class_is_correct(class_logits.clone().detach(), targets.labels.clone())
            .cast(FloatDType::F32);
        let association = self.association.map(|association| {
            let scores = self.association_score.scores(class_logits, targets.labels);
            positives.sum(association.forward(scores, ious.clone())) / num_positives.clone()
        });

        let box_losses = self.box_loss.forward(boxes, target_boxes);
        let (localization, centerness) = match centerness_logits {
            None => (positives.sum(box_losses) / num_positives, None),
            Some(logits) => {
                let (Some(weights), Some(weight_sum)) =
                    (targets.centerness, normalizer.centerness_sum)
                else {
                    panic!("centre-ness is predicted, but targets or normalizer lack it");
                };
                assert_rows("predictions.centerness_logits", logits.dims()[0], rows);
                assert_rows("targets.centerness", weights.dims()[0], rows);
                let weights = positives.mask(weights);
                let localization = (box_losses * weights.clone()).sum()
                    / weight_sum.clamp_min(CENTERNESS_SUM_FLOOR);
                let centerness = positives.sum(centerness_loss(logits, weights)) / num_positives;
                (localization, Some(centerness))
            }
        };
        let localization = localization.mul_scalar(self.lambda);

        let total = [&association, &centerness].into_iter().flatten().fold(
            classification.clone() + localization.clone(),
            |sum, term| sum + term.clone(),
        );
        let count = positives.count.clone().clamp_min(1.0);
        LossParts {
            classification,
            association,
            localization,
            centerness,
            total,
            mean_iou: positives.sum(ious) / count.clone(),
            class_accuracy: positives.sum(correct) / count,
            num_positives: positives.count,
        }
    }
}

/// The indicator `𝟙` of eq. (6) over locations.
struct Positives {
    /// Its complement.
    background: Tensor<1, Bool>,
    /// Its sum, one element.
    count: Tensor<1>,
}

impl Positives {
    fn of(labels: &Tensor<1, Int>) -> Self {
        let background = labels.clone().lower_scalar(0);
        Self {
            count: background.clone().bool_not().cast(FloatDType::F32).sum(),
            background,
        }
    }

    /// The positive values, 0 for background whatever it holds.
    fn mask(&self, values: Tensor<1>) -> Tensor<1> {
        values.mask_fill(self.background.clone(), 0.0)
    }

    /// The positive boxes, an empty box for background whatever it holds. Every box loss is finite
    /// on empty boxes, forward and backward.
    fn boxes(&self, boxes: Tensor<2>) -> Tensor<2> {
        let background = self.background.clone().unsqueeze_dim::<2>(1);
        let shape = boxes.shape();
        boxes.mask_fill(background.expand(shape), 0.0)
    }

    /// Sum over the positive values.
    fn sum(&self, values: Tensor<1>) -> Tensor<1> {
        self.mask(values).sum()
    }
}

fn assert_rows(name: &str, rows: usize, expected: usize) {
    assert!(
        rows == expected,
        "`{name}` has {rows} rows, but `predictions.class_logits` has {expected}"
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::reference::{
        self, Box4, assert_close, assert_finite, ciou_weight, focal, iou, sigmoid, tensor1,
        tensor2, values,
    };

    const CLASSES: usize = 3;
    const NAN_BOX: Box4 = [f64::NAN; 4];

    /// Plain rows of predictions and targets.
    #[derive(Clone)]
    struct Scene {
        logits: Vec<[f64; CLASSES]>,
        labels: Vec<i64>,
        predicted: Vec<Box4>,
        target: Vec<Box4>,
        centerness: Option<[Vec<f64>; 2]>,
    }

    /// Numbers in `[0, 1)` that look random and are the same each time.
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
        /// Rows of overlapping boxes, `label` giving the class of each.
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
            Targets {
                labels: Tensor::from_ints(self.labels.as_slice(), &device),
                boxes: tensor2(&self.target, &device),
                centerness: self
                    .centerness
                    .as_ref()
                    .map(|[_, targets]| tensor1(targets, &device)),
            }
        }

        fn predictions(&self) -> Predictions {
            let device = Device::flex().autodiff();
            Predictions {
                class_logits: tensor2(&self.logits, &device).require_grad(),
                boxes: tensor2(&self.predicted, &device).require_grad(),
                centerness_logits: self
                    .centerness
                    .as_ref()
                    .map(|[logits, _]| tensor1(logits, &device).require_grad()),
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
            let predictions = self.predictions();
            let parts = config.init().unwrap().forward_normalized(
                predictions.clone(),
                self.targets(),
                normalizer,
            );
            let gradients = parts.total.backward();
            Evaluation {
                class_gradient: values(predictions.class_logits.grad(&gradients).unwrap()),
                box_gradient: values(predictions.boxes.grad(&gradients).unwrap()),
                centerness_gradient: predictions
                    .centerness_logits
                    .map(|logits| values(logits.grad(&gradients).unwrap())),
                parts,
            }
        }

        /// The same objective, a loop over rows.
        fn expected(&self, config: &FcosObjectiveConfig) -> Expected {
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
                let box_loss = reference::box_loss(config.box_loss, p, t, ciou_weight(p, t));
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
        parts: LossParts,
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

    fn columns(parts: &LossParts) -> [f64; 8] {
        let scalar = |tensor: &Tensor<1>| f64::from(tensor.clone().into_scalar::<f32>());
        [
            scalar(&parts.classification),
            parts.association.as_ref().map_or(0.0, scalar),
            scalar(&parts.localization),
            parts.centerness.as_ref().map_or(0.0, scalar),
            scalar(&parts.total),
            scalar(&parts.num_positives),
            scalar(&parts.mean_iou),
            scalar(&parts.class_accuracy),
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
    fn is_the_sum_over_rows_that_the_equations_write() {
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
            for box_loss in BoxLoss::ALL {
                let config = config.clone().with_box_loss(box_loss);
                for scene in [&with_centerness, &without_centerness] {
                    let evaluation = scene.evaluate(&config);
                    let expected = scene.expected(&config).columns();
                    assert_close(&columns(&evaluation.parts), &expected, 5e-6);
                }
            }
        }
    }

    #[test]
    fn the_association_loss_rises_over_its_ramp() {
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
    fn background_boxes_take_no_part() {
        for classification in [ClassificationLoss::default(), ClassificationLoss::VARIFOCAL] {
            background_takes_no_part(&paper().with_classification(classification));
        }
    }

    fn background_takes_no_part(config: &FcosObjectiveConfig) {
        let clean = Scene::random(12, mixed);
        let mut spoilt = clean.clone();
        let background = |row: &usize| mixed(*row) < 0;
        for (turn, row) in (0..12).filter(background).enumerate() {
            spoilt.predicted[row] = [NAN_BOX, [f64::INFINITY; 4], [9.0, 9.0, 1.0, 1.0]][turn % 3];
            spoilt.target[row] = [[0.0; 4], NAN_BOX][turn % 2];
            spoilt.centerness.as_mut().unwrap()[1][row] = f64::NAN;
        }
        let (clean, spoilt) = (clean.evaluate(config), spoilt.evaluate(config));
        assert_eq!(columns(&clean.parts), columns(&spoilt.parts));
        assert_eq!(clean.class_gradient, spoilt.class_gradient);
        assert_eq!(clean.box_gradient, spoilt.box_gradient);
        for row in 0..12 {
            let gradient = &spoilt.box_gradient[4 * row..4 * row + 4];
            assert_eq!(gradient.iter().all(|&g| g == 0.0), background(&row));
            let centerness = spoilt.centerness_gradient.as_ref().unwrap()[row];
            assert_eq!(centerness == 0.0, background(&row));
        }
    }

    #[test]
    fn the_association_loss_moves_no_box() {
        let scene = Scene::random(12, mixed);
        let without = scene.evaluate(&FcosObjectiveConfig::new());
        let with = scene.evaluate(&paper());
        assert_eq!(without.box_gradient, with.box_gradient);
        assert_ne!(without.class_gradient, with.class_gradient);
    }

    #[test]
    fn background_alone_is_divided_by_one() {
        let scene = Scene::random(5, |_| -1);
        let evaluation = scene.evaluate(&paper());
        let expected = scene.expected(&paper());
        assert!(expected.classification > 0.1);
        assert_close(&columns(&evaluation.parts), &expected.columns(), 1e-6);
        assert_finite(&evaluation.class_gradient);
        assert!(evaluation.box_gradient.iter().all(|&g| g == 0.0));
    }

    #[test]
    fn no_rows_have_no_loss() {
        let scene = Scene::random(0, mixed);
        for config in [
            paper(),
            paper().with_association_score(AssociationScore::GroundTruthClass),
        ] {
            assert_eq!(columns(&scene.evaluate(&config).parts), [0.0; 8]);
        }
    }

    #[test]
    fn extreme_predictions_stay_finite() {
        let huge = [-1e6, -1e6, 1e6, 1e6];
        let scene = Scene {
            logits: vec![[1e4, -1e4, 0.0], [-1e4; 3], [100.0; 3], [-100.0, 1e4, 0.0]],
            labels: vec![0, 1, 2, -1],
            predicted: vec![huge, [5.0; 4], [9.0, 9.0, 1.0, 1.0], huge],
            target: vec![[0.0, 0.0, 9.0, 9.0], [5.0; 4], [0.0, 0.0, 9.0, 9.0], huge],
            centerness: Some([vec![1e4, -1e4, 100.0, 0.0], vec![0.0, 1.0, 0.0, 0.0]]),
        };
        for box_loss in BoxLoss::ALL {
            let pce = AssociationLoss::Pce { beta: 1.0, k: 1.5 };
            let config = paper().with_association(Some(pce)).with_box_loss(box_loss);
            let evaluation = scene.evaluate(&config);
            assert_finite(&columns(&evaluation.parts));
            assert_finite(&evaluation.class_gradient);
            assert_finite(&evaluation.box_gradient);
            assert_finite(&evaluation.centerness_gradient.unwrap());
        }
    }

    #[test]
    fn shards_with_a_shared_normalizer_add_up_to_the_batch() {
        let config = paper();
        let batch = Scene::random(10, mixed);
        let shards = [batch.rows(0..4), batch.rows(4..10)];
        let whole = batch.evaluate(&config);
        let parts =
            shards.map(|shard| shard.evaluate_normalized(&config, batch.targets().normalizer()));

        let sum: Vec<f64> = columns(&parts[0].parts)
            .iter()
            .zip(columns(&parts[1].parts))
            .map(|(a, b)| a + b)
            .collect();
        // The mean IoU and the class accuracy, the last columns, are each shard's own.
        assert_close(&sum[..6], &columns(&whole.parts)[..6], 1e-6);
        let [a, b] = parts.map(|part| part.box_gradient);
        assert_close(&[a, b].concat(), &whole.box_gradient, 1e-6);
    }

    #[test]
    #[should_panic(expected = "`targets.labels` has 2 rows")]
    fn rows_must_match() {
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
    fn configuration_survives_json() {
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
    fn rejects_what_is_no_objective() {
        let wrong = AssociationLoss::Pse { beta: 1.0, k: -1.0 };
        for (config, field) in [
            (paper().with_lambda(-1.0), "lambda"),
            (paper().with_association(Some(wrong)), "k"),
            (
                paper().with_classification(ClassificationLoss::QualityFocal { beta: 0.5 }),
                "beta",
            ),
            (paper().with_association_ramp(1.5), "association_ramp"),
        ] {
            let error = config.init().unwrap_err();
            assert!(
                matches!(error, LossConfigError::OutOfRange { field: f, .. } if f == field),
                "{error}"
            );
        }
    }
}
