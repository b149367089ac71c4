//! Times each loss of a training step with its gradient: 80 classes and 4,268 locations (two images
//! of 320×320), of which 200 are positive. Run with `cargo bench -p fcos-burn-loss`.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use divan::{Bencher, black_box};
use fcos_burn_loss::{
    AssociationLoss, AssociationScore, BoxLoss, ClassificationLoss, FcosObjectiveConfig,
    Predictions, Targets,
};

fn main() {
    divan::main();
}

const ROWS: usize = 4268;
const CLASSES: usize = 80;
const POSITIVES: usize = 200;

const CLASSIFICATION: [ClassificationLoss; 6] = [
    ClassificationLoss::FOCAL,
    ClassificationLoss::QUALITY_FOCAL,
    ClassificationLoss::VARIFOCAL,
    ClassificationLoss::SOFT_LABEL_FOCAL,
    ClassificationLoss::RANK_SORT,
    ClassificationLoss::ALRP,
];

const ASSOCIATION: [AssociationLoss; 5] = [
    AssociationLoss::Pse { beta: 1.0, k: 1.0 },
    AssociationLoss::Pce { beta: 1.0, k: 1.0 },
    AssociationLoss::CONCORDANCE,
    AssociationLoss::PEARSON,
    AssociationLoss::SPEARMAN,
];

fn device() -> Device {
    let device = Device::flex().autodiff();
    device.seed(0);
    device
}

fn random<const D: usize>(shape: [usize; D], [low, high]: [f64; 2]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(low, high), &device())
}

fn logits(rows: usize) -> Tensor<2> {
    random([rows, CLASSES], [-6.0, 0.0]).require_grad()
}

/// Boxes with sides of 20 to 100 pixels that all overlap each other.
fn boxes(rows: usize) -> Tensor<2> {
    let corner = || random([rows, 2], [0.0, 40.0]);
    Tensor::cat(vec![corner(), corner().add_scalar(60.0)], 1)
}

fn labels(rows: usize) -> Tensor<1, Int> {
    let label = |row: usize| match row.is_multiple_of(rows.div_ceil(POSITIVES)) {
        true => (row % CLASSES) as i32,
        false => -1,
    };
    let labels: Vec<i32> = (0..rows).map(label).collect();
    Tensor::from_data(TensorData::new(labels, [rows]), &device())
}

#[divan::bench(args = CLASSIFICATION)]
fn classification(bencher: Bencher, loss: &ClassificationLoss) {
    let (logits, labels) = (logits(ROWS), labels(ROWS));
    let ious = random([ROWS], [0.0, 1.0]);
    bencher.bench_local(|| {
        let loss = loss.forward(logits.clone(), labels.clone(), ious.clone());
        black_box(loss.sum().backward())
    });
}

/// Numbers of logits and of positive locations.
const RANKED: [(usize, usize); 4] = [
    (10_000, 50),
    (100_000, 200),
    (1_000_000, 200),
    (1_000_000, 2_000),
];

/// Logits as at the start of a training run, all close to those of the positives.
#[divan::bench(args = RANKED)]
fn rank_sort(bencher: Bencher, &(elements, positives): &(usize, usize)) {
    let rows = elements / CLASSES;
    let logits = random([rows, CLASSES], [-5.0, -4.0]).require_grad();
    let label = |row: usize| match row.is_multiple_of(rows.div_ceil(positives)) {
        true => (row % CLASSES) as i32,
        false => -1,
    };
    let labels: Vec<i32> = (0..rows).map(label).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), &device());
    let ious = random([rows], [0.0, 1.0]);
    bencher.bench_local(|| {
        let loss = ClassificationLoss::RANK_SORT;
        let loss = loss.forward(logits.clone(), labels.clone(), ious.clone());
        black_box(loss.sum().backward())
    });
}

#[divan::bench(args = BoxLoss::ALL)]
fn boxes_of_positives(bencher: Bencher, loss: &BoxLoss) {
    let (predicted, target) = (boxes(POSITIVES).require_grad(), boxes(POSITIVES));
    bencher.bench_local(|| {
        let loss = loss.forward(predicted.clone(), target.clone());
        black_box(loss.sum().backward())
    });
}

#[divan::bench(args = ASSOCIATION)]
fn association(bencher: Bencher, loss: &AssociationLoss) {
    let (logits, labels) = (logits(POSITIVES), labels(POSITIVES));
    let ious = random([POSITIVES], [0.0, 1.0]);
    bencher.bench_local(|| {
        let scores = AssociationScore::MaxOverClasses.scores(logits.clone(), labels.clone());
        black_box(loss.forward(scores, ious.clone()).sum().backward())
    });
}

#[divan::bench]
fn objective(bencher: Bencher) {
    let objective = FcosObjectiveConfig::new()
        .with_association(Some(AssociationLoss::default()))
        .init();
    let Ok(objective) = objective else { return };
    let predictions = Predictions::new(logits(ROWS), boxes(ROWS).require_grad());
    let targets = Targets::new(labels(ROWS), boxes(ROWS));
    bencher.bench_local(|| {
        let output = objective.forward(predictions.clone(), targets.clone());
        black_box(output.total.backward())
    });
}
