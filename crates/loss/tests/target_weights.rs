//! Objectives of targets with a quality, with weights and with ignored locations.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use fcos_burn_loss::{
    AssociationLoss, AssociationScore, BACKGROUND, BoxAssociation, BoxLoss, ClassificationLoss,
    Divisors, FcosObjective, FcosObjectiveConfig, IGNORED, LossTerm, Normalizer, ObjectiveOutput,
    Predictions, TargetWeights, Targets, TermInput,
};

const CLASSES: usize = 3;

/// A location: its predictions and targets.
#[derive(Clone, Debug)]
struct Row {
    logits: [f64; CLASSES],
    predicted: [f64; 4],
    centerness_logit: f64,
    label: i32,
    target: [f64; 4],
    centerness: f64,
    quality: f64,
    positive: f64,
    negative: f64,
    boxes: f64,
}

impl Row {
    fn is_positive(&self) -> bool {
        self.label >= 0
    }

    fn iou(&self) -> f64 {
        let (p, t) = (self.predicted, self.target);
        let side = |i: usize| (p[i + 2].min(t[i + 2]) - p[i].max(t[i])).max(0.0);
        let area = |b: [f64; 4]| (b[2] - b[0]) * (b[3] - b[1]);
        let intersection = side(0) * side(1);
        intersection / (area(p) + area(t) - intersection)
    }
}

/// `count` rows of overlapping boxes with these labels in turn, of pseudorandom values.
fn rows(count: usize, labels: &[i32]) -> Vec<Row> {
    let mut state = 11_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1_u64 << 24) as f64
    };
    (0..count)
        .map(|index| {
            let mut bbox = || {
                let [x, y] = [10.0 * next(), 10.0 * next()];
                [x, y, 30.0 + 20.0 * next(), 30.0 + 20.0 * next()]
            };
            let (predicted, target) = (bbox(), bbox());
            Row {
                logits: [0; CLASSES].map(|_| 6.0 * next() - 3.0),
                predicted,
                centerness_logit: 4.0 * next() - 2.0,
                label: labels[index % labels.len()],
                target,
                centerness: next(),
                quality: next(),
                positive: 2.0 * next(),
                negative: next(),
                boxes: 3.0 * next(),
            }
        })
        .collect()
}

/// Which of the optional targets there are.
#[derive(Clone, Copy, Debug, Default)]
struct With {
    centerness: bool,
    quality: bool,
    /// The weights, with these divisors.
    weights: Option<[f64; 2]>,
}

fn column(rows: &[Row], value: impl Fn(&Row) -> f64, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = rows.iter().map(|row| value(row) as f32).collect();
    Tensor::from_floats(values.as_slice(), device)
}

fn matrix<const C: usize>(
    rows: &[Row],
    value: impl Fn(&Row) -> [f64; C],
    device: &Device,
) -> Tensor<2> {
    let values: Vec<f32> = rows.iter().flat_map(value).map(|v| v as f32).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([rows.len(), C])
}

fn targets(rows: &[Row], with: With) -> Targets {
    let device = Device::flex();
    let labels: Vec<i32> = rows.iter().map(|row| row.label).collect();
    let number = |value: f64| Tensor::from_floats([value as f32], &device);
    Targets {
        centerness: (with.centerness).then(|| column(rows, |row| row.centerness, &device)),
        quality: (with.quality).then(|| column(rows, |row| row.quality, &device)),
        weights: with.weights.map(|[positive, negative]| TargetWeights {
            positive: column(rows, |row| row.positive, &device),
            negative: Some(column(rows, |row| row.negative, &device)),
            boxes: column(rows, |row| row.boxes, &device),
            divisors: Divisors {
                positive: number(positive),
                negative: number(negative),
            },
        }),
        ..Targets::new(
            Tensor::<1, Int>::from_ints(labels.as_slice(), &device),
            matrix(rows, |row| row.target, &device),
        )
    }
}

/// The output of an objective, and its gradients with respect to logits, boxes and center-ness.
struct Evaluation {
    output: ObjectiveOutput,
    gradients: [Vec<f64>; 3],
}

impl Evaluation {
    fn total(&self) -> f64 {
        number(&self.output.total)
    }

    fn term(&self, name: &str) -> f64 {
        self.output.term(name).map_or(0.0, number)
    }
}

fn number(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().into_scalar::<f32>())
}

fn evaluate(
    objective: &FcosObjective,
    rows: &[Row],
    targets: Targets,
    normalizer: Normalizer,
) -> Evaluation {
    let device = Device::flex().autodiff();
    let logits = matrix(rows, |row| row.logits, &device).require_grad();
    let boxes = matrix(rows, |row| row.predicted, &device).require_grad();
    let centerness = column(rows, |row| row.centerness_logit, &device).require_grad();
    let predictions = Predictions {
        centerness_logits: targets.centerness.is_some().then(|| centerness.clone()),
        ..Predictions::new(logits.clone(), boxes.clone())
    };
    let output = objective.forward_normalized(predictions, targets, normalizer);
    let gradients = output.total.backward();
    let values = |data: burn::tensor::TensorData| data.iter::<f64>().collect();
    Evaluation {
        gradients: [
            values(logits.grad(&gradients).unwrap().into_data()),
            values(boxes.grad(&gradients).unwrap().into_data()),
            (centerness.grad(&gradients)).map_or_else(Vec::new, |g| values(g.into_data())),
        ],
        output,
    }
}

/// Parts of a batch, with the normalizer of all.
fn evaluate_parts<const N: usize>(
    objective: &FcosObjective,
    parts: [(&[Row], Targets); N],
) -> [Evaluation; N] {
    let normalizer = (parts.iter().map(|(_, targets)| targets.normalizer()))
        .reduce(Normalizer::join)
        .unwrap();
    parts.map(|(rows, targets)| evaluate(objective, rows, targets, normalizer.clone()))
}

fn whole(config: &FcosObjectiveConfig, rows: &[Row], with: With) -> Evaluation {
    let targets = targets(rows, with);
    let normalizer = targets.normalizer();
    evaluate(&config.init().unwrap(), rows, targets, normalizer)
}

#[track_caller]
fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let bound = tolerance * (1.0 + e.abs());
        assert!((a - e).abs() <= bound, "element {index}: {a}, not {e}");
    }
}

/// The sum of the first coordinates of the predicted boxes.
#[derive(Debug)]
struct Left;

impl LossTerm for Left {
    fn name(&self) -> &str {
        "Left"
    }

    fn sum(&self, input: &TermInput) -> Tensor<1> {
        input.sum_over_positives(input.predicted_boxes.clone().narrow(1, 0, 1).squeeze_dim(1))
    }
}

fn pse() -> FcosObjectiveConfig {
    FcosObjectiveConfig::new()
        .with_association(Some(AssociationLoss::Pse { beta: 0.7, k: 1.0 }))
        .with_association_score(AssociationScore::GroundTruthClass)
        .with_box_loss(BoxLoss::LinearIou)
        .with_lambda(1.5)
}

/// `L⁺` and `L⁻` of the focal loss.
fn focal(logit: f64) -> [f64; 2] {
    let p = 1.0 / (1.0 + (-logit).exp());
    [
        -0.25 * (1.0 - p).powi(2) * p.ln(),
        -0.75 * p.powi(2) * (1.0 - p).ln(),
    ]
}

#[test]
fn weighted_terms_match_their_equations() {
    let rows = rows(14, &[0, BACKGROUND, 2, 1, IGNORED]);
    for centerness in [false, true] {
        let (n_positive, n_negative) = (3.7, 2.9);
        let with = With {
            centerness,
            weights: Some([n_positive, n_negative]),
            ..With::default()
        };
        let objective = pse().init().unwrap().with_term(Arc::new(Left)).unwrap();
        let targets = targets(&rows, with);
        let normalizer = targets.normalizer();
        let found = evaluate(&objective, &rows, targets, normalizer);
        let [mut positive, mut negative] = [0.0; 2];
        let [mut localization, mut association, mut left] = [0.0; 3];
        for row in rows.iter().filter(|row| row.label != IGNORED) {
            for (class, logit) in row.logits.into_iter().enumerate() {
                let [as_positive, as_background] = focal(logit);
                if class as i32 == row.label {
                    positive += row.positive * as_positive;
                    negative += row.negative * as_background;
                } else {
                    negative += as_background;
                }
            }
            if row.is_positive() {
                let score = 1.0 / (1.0 + (-row.logits[row.label as usize]).exp());
                localization += row.boxes * 1.5 * (1.0 - row.iou());
                association += row.boxes * 0.7 * (score - row.iou()).powi(2);
                left += row.boxes * row.predicted[0];
            }
        }
        let names = [
            FcosObjective::CLASSIFICATION,
            FcosObjective::LOCALIZATION,
            FcosObjective::ASSOCIATION,
            "Left",
        ];
        let expected = [
            positive / n_positive + negative / n_negative,
            localization / n_positive,
            association / n_positive,
            left / n_positive,
        ];
        assert_close(&names.map(|name| found.term(name)), &expected, 2e-6);
        // Statistics are not weighted.
        let positives: Vec<f64> = (rows.iter().filter(|row| row.is_positive()))
            .map(Row::iou)
            .collect();
        let mean = positives.iter().sum::<f64>() / positives.len() as f64;
        assert_close(&[number(&found.output.mean_iou)], &[mean], 1e-6);
    }
}

/// The classification of DW (Li et al., 2022): `w⁺ (−ln p)` and `w⁻ p² (−ln(1 − p))`.
#[test]
fn the_varifocal_loss_of_a_quality_of_1_is_that_of_dual_weighting() {
    let mut rows = rows(12, &[1, BACKGROUND, 0]);
    rows.iter_mut().for_each(|row| row.quality = 1.0);
    let with = With {
        quality: true,
        weights: Some([2.0, 3.0]),
        ..With::default()
    };
    let loss = ClassificationLoss::Varifocal {
        alpha: 1.0,
        gamma: 2.0,
    };
    let config = FcosObjectiveConfig::new().with_classification(loss);
    let found = whole(&config, &rows, with).term(FcosObjective::CLASSIFICATION);
    let expected: f64 = (rows.iter())
        .flat_map(|row| (0..CLASSES).map(move |class| (row, class)))
        .map(|(row, class)| {
            let p = 1.0 / (1.0 + (-row.logits[class]).exp());
            let background = -p * p * (1.0 - p).ln();
            match class as i32 == row.label {
                true => -row.positive * p.ln() / 2.0 + row.negative * background / 3.0,
                false => background / 3.0,
            }
        })
        .sum();
    assert_close(&[found], &[expected], 2e-6);
}

/// Task-aligned learning (Feng et al., 2021): `|t̂ − p|² CE(t̂, p)`.
#[test]
fn the_quality_takes_the_place_of_the_iou() {
    let rows = rows(9, &[1, BACKGROUND, 0]);
    let with = With {
        quality: true,
        ..With::default()
    };
    let config = FcosObjectiveConfig::new().with_classification(ClassificationLoss::QUALITY_FOCAL);
    let found = whole(&config, &rows, with).term(FcosObjective::CLASSIFICATION);
    let expected: f64 = (rows.iter())
        .flat_map(|row| (0..CLASSES).map(move |class| (row, class)))
        .map(|(row, class)| {
            let p = 1.0 / (1.0 + (-row.logits[class]).exp());
            let q = f64::from(u8::from(class as i32 == row.label)) * row.quality;
            (q - p).powi(2) * (-q * p.ln() - (1.0 - q) * (1.0 - p).ln())
        })
        .sum();
    assert_close(&[found], &[expected / 6.0], 2e-6);
}

fn all_losses() -> [FcosObjectiveConfig; 4] {
    [
        ClassificationLoss::FOCAL,
        ClassificationLoss::QUALITY_FOCAL,
        ClassificationLoss::VARIFOCAL,
        ClassificationLoss::SOFT_LABEL_FOCAL,
    ]
    .map(|loss| pse().with_classification(loss))
}

#[test]
fn weights_of_1_change_nothing() {
    let mut rows = rows(11, &[0, BACKGROUND, 2, IGNORED]);
    for row in &mut rows {
        [row.positive, row.negative, row.boxes] = [1.0, 0.0, 1.0];
    }
    let positives = rows.iter().filter(|row| row.is_positive()).count() as f64;
    let with = With {
        weights: Some([positives; 2]),
        ..With::default()
    };
    for config in all_losses() {
        let plain = whole(&config, &rows, With::default());
        let weighted = whole(&config, &rows, with);
        assert_close(&[weighted.total()], &[plain.total()], 1e-6);
        for (weighted, plain) in weighted.gradients.iter().zip(&plain.gradients) {
            assert_close(weighted, plain, 1e-6);
        }
    }
}

#[test]
fn weights_of_rows_that_are_not_positive_have_no_effect() {
    let clean = rows(10, &[0, BACKGROUND, IGNORED]);
    let mut spoiled = clean.clone();
    for row in spoiled.iter_mut().filter(|row| !row.is_positive()) {
        [row.positive, row.negative, row.boxes, row.quality] = [f64::NAN; 4];
    }
    let with = With {
        quality: true,
        weights: Some([2.0, 3.0]),
        ..With::default()
    };
    for config in all_losses() {
        let [clean, spoiled] = [&clean, &spoiled].map(|rows| whole(&config, rows, with));
        assert_eq!(clean.total(), spoiled.total());
        assert_eq!(clean.gradients, spoiled.gradients);
    }
}

#[test]
fn ignored_rows_are_as_if_they_were_removed() {
    let all = rows(17, &[0, BACKGROUND, IGNORED, 2, IGNORED]);
    let mut all = all;
    for row in all.iter_mut().filter(|row| row.label == IGNORED) {
        row.predicted = [f64::NAN; 4];
        row.target = [f64::NAN; 4];
        row.centerness = f64::NAN;
    }
    let kept: Vec<Row> = (all.iter().filter(|row| row.label != IGNORED).cloned()).collect();
    let with_weights = With {
        quality: true,
        weights: Some([2.0, 3.0]),
        ..With::default()
    };
    let with_centerness = With {
        centerness: true,
        ..With::default()
    };
    for config in all_losses() {
        for with in [With::default(), with_centerness, with_weights] {
            let (found, expected) = (whole(&config, &all, with), whole(&config, &kept, with));
            for term in &expected.output.terms {
                let value = found.term(&term.name);
                assert_close(&[value], &[number(&term.value)], 1e-6);
            }
            assert_close(
                &[&found, &expected].map(|e| number(&e.output.mean_iou))[..1],
                &[number(&expected.output.mean_iou)],
                1e-6,
            );
            for (columns, (found, expected)) in [CLASSES, 4, 1]
                .into_iter()
                .zip(found.gradients.iter().zip(&expected.gradients))
            {
                let (mut of_kept, mut of_ignored) = (Vec::new(), Vec::new());
                for (row, gradient) in all.iter().zip(found.chunks(columns)) {
                    match row.label {
                        IGNORED => of_ignored.extend_from_slice(gradient),
                        _ => of_kept.extend_from_slice(gradient),
                    }
                }
                assert_close(&of_kept, expected, 1e-6);
                assert!(of_ignored.iter().all(|g| *g == 0.0), "{of_ignored:?}");
            }
        }
    }
}

#[test]
fn weighted_parts_add_up_even_if_some_have_no_weights() {
    // The second part has no object, so that a rule may leave out its weights.
    let [mut batch, background] = [rows(9, &[0, 1, BACKGROUND]), rows(4, &[BACKGROUND])];
    batch.extend(background);
    let with = With {
        weights: Some([2.5, 3.5]),
        ..With::default()
    };
    for config in all_losses() {
        let expected = whole(&config, &batch, with);
        let objective = config.init().unwrap();
        let parts = [
            (&batch[..9], targets(&batch[..9], with)),
            (&batch[9..], targets(&batch[9..], With::default())),
        ];
        let parts = evaluate_parts(&objective, parts);
        let total = parts.iter().map(Evaluation::total).sum::<f64>();
        assert_close(&[total], &[expected.total()], 1e-6);
        let gradient = [&parts[0].gradients[0][..], &parts[1].gradients[0]].concat();
        assert_close(&gradient, &expected.gradients[0], 1e-6);
    }
}

#[test]
fn a_part_without_weights_is_as_with_weights_of_1() {
    let [mut batch, mut plain] = [rows(9, &[0, 1, BACKGROUND]), rows(5, &[0, BACKGROUND, 2])];
    for row in &mut plain {
        (row.positive, row.negative, row.boxes) = (1.0, 0.0, 1.0);
    }
    let positives = plain.iter().filter(|row| row.is_positive()).count() as f64;
    batch.extend(plain);
    for (centerness, config) in [false, true]
        .into_iter()
        .flat_map(|centerness| all_losses().map(|config| (centerness, config)))
    {
        let bare = With {
            centerness,
            ..With::default()
        };
        let with = |divisors| With {
            weights: Some(divisors),
            ..bare
        };
        let divisors = [2.5, 3.5].map(|divisor| divisor + positives);
        let expected = whole(&config, &batch, with(divisors));
        let objective = config.init().unwrap();
        let parts = [
            (&batch[..9], targets(&batch[..9], with([2.5, 3.5]))),
            (&batch[9..], targets(&batch[9..], bare)),
        ];
        let parts = evaluate_parts(&objective, parts);
        let total = parts.iter().map(Evaluation::total).sum::<f64>();
        assert_close(&[total], &[expected.total()], 1e-6);
        let gradient = [&parts[0].gradients[1][..], &parts[1].gradients[1]].concat();
        assert_close(&gradient, &expected.gradients[1], 1e-6);
    }
}

#[test]
fn ranks_have_a_quality_but_no_weights() {
    let rows = rows(20, &[0, BACKGROUND, 2, 1, IGNORED]);
    for loss in [ClassificationLoss::RANK_SORT, ClassificationLoss::ALRP] {
        let config = FcosObjectiveConfig::new().with_classification(loss);
        let plain = whole(&config, &rows, With::default());
        let weights = Some([3.7, 2.9]);
        let weighted = With {
            weights,
            ..With::default()
        };
        let found = whole(&config, &rows, weighted);
        assert_eq!(found.gradients, plain.gradients, "{loss:?}");
        assert_eq!(found.total(), plain.total(), "{loss:?}");

        let quality = With {
            quality: true,
            ..weighted
        };
        let found = whole(&config, &rows, quality);
        let difference = |index: usize| -> f64 {
            let [a, b] = [&found, &plain].map(|it| &it.gradients[index]);
            a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
        };
        assert!(difference(0) > 1e-3, "{loss:?}");
    }
}

#[test]
fn scores_weight_boxes_beside_other_weights() {
    let rows = rows(14, &[0, BACKGROUND, 2, 1, IGNORED]);
    let config = pse().with_box_association(Some(BoxAssociation::ScoreWeighted));
    for centerness in [false, true] {
        let with = With {
            centerness,
            weights: Some([3.7, 2.9]),
            ..With::default()
        };
        let found = whole(&config, &rows, with).term(FcosObjective::LOCALIZATION);
        let positives = || rows.iter().filter(|row| row.is_positive());
        let score = |row: &Row| 1.0 / (1.0 + (-row.logits[row.label as usize]).exp());
        let weights: f64 = positives().map(|row| row.boxes).sum();
        let weighted: f64 = positives().map(|row| row.boxes * score(row)).sum();
        let losses = positives().map(|row| row.boxes * score(row) * (1.0 - row.iou()));
        let expected = 1.5 * losses.sum::<f64>() * weights / weighted / 3.7;
        assert_close(&[found], &[expected], 1e-5);
    }
}

/// Targets that a rule computed from predictions on the device.
#[test]
fn no_gradient_flows_through_targets() {
    let rows = rows(6, &[0, BACKGROUND, 2]);
    let with = With {
        centerness: true,
        quality: true,
        weights: Some([2.0, 3.0]),
    };
    let mut tracked = targets(&rows, with);
    let source = Tensor::<1>::ones([1], &Device::flex().autodiff()).require_grad();
    tracked.boxes = tracked.boxes.autodiff() * source.clone().unsqueeze::<2>();
    let track = |tensor: Tensor<1>| tensor.autodiff() * source.clone();
    tracked.centerness = tracked.centerness.map(track);
    tracked.quality = tracked.quality.map(track);
    tracked.weights = tracked.weights.map(|weights| TargetWeights {
        positive: track(weights.positive),
        negative: weights.negative.map(track),
        boxes: track(weights.boxes),
        divisors: Divisors {
            positive: track(weights.divisors.positive),
            negative: track(weights.divisors.negative),
        },
    });
    for config in all_losses() {
        let device = Device::flex().autodiff();
        let logits = matrix(&rows, |row| row.logits, &device).require_grad();
        let boxes = matrix(&rows, |row| row.predicted, &device).require_grad();
        let predictions = Predictions {
            centerness_logits: Some(column(&rows, |row| row.centerness_logit, &device)),
            ..Predictions::new(logits.clone(), boxes)
        };
        let output = (config.init().unwrap()).forward(predictions, tracked.clone());
        let gradients = output.total.backward();
        assert!(logits.grad(&gradients).is_some());
        assert!(source.grad(&gradients).is_none(), "{config:?}");
    }
}
