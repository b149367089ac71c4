//! Times assignment, decoding and suppression for an image of 1088×800 pixels and 80 classes. Run
//! with `cargo bench -p fcos-burn-model`.

use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use fcos_burn_boxes::{Detection, LabeledBox, batched_nms};
use fcos_burn_model::{
    FcosConfig, ImagePredictions,
    assignment::{
        AssignmentRule, AtssConfig, DwConfig, PredictionAssignmentRule, SimOtaConfig, TalConfig,
    },
    locations::Locations,
    postprocess::{ImageFrame, LevelValues, detect},
};

fn main() {
    divan::main();
}

const SIZE: [usize; 2] = [800, 1088];
const CLASSES: usize = 80;

fn random(count: usize, [low, high]: [f64; 2]) -> Vec<f32> {
    let device = Device::flex();
    device.seed(count as u64);
    let values = Tensor::<1>::random([count], Distribution::Uniform(low, high), &device);
    values.into_data().iter::<f32>().collect()
}

fn locations() -> Locations {
    let config = FcosConfig::paper(CLASSES);
    Locations::new(SIZE, &config.strides(), config.location_rule)
}

/// Boxes with sides of 10 to 400 pixels anywhere in the image.
fn boxes(count: usize) -> Vec<[f32; 4]> {
    let [x, y, width, height] = [
        (0.0, SIZE[1] as f64),
        (0.0, SIZE[0] as f64),
        (10.0, 400.0),
        (10.0, 400.0),
    ]
    .map(|(low, high)| random(count, [low, high]));
    (0..count)
        .map(|i| [x[i], y[i], x[i] + width[i], y[i] + height[i]])
        .collect()
}

fn objects(count: usize) -> Vec<LabeledBox> {
    let boxes = boxes(count).into_iter().enumerate();
    let labeled = boxes.map(|(index, bbox)| LabeledBox {
        bbox,
        label: index % CLASSES,
    });
    labeled.collect()
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn assignment(bencher: Bencher, count: usize) {
    by_objects(bencher, count, &FcosConfig::paper(CLASSES).assignment);
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn assignment_atss(bencher: Bencher, count: usize) {
    by_objects(bencher, count, &AtssConfig::default());
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn assignment_tal(bencher: Bencher, count: usize) {
    by_predictions(bencher, count, &TalConfig::default());
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn assignment_simota(bencher: Bencher, count: usize) {
    by_predictions(bencher, count, &SimOtaConfig::default());
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn assignment_dw(bencher: Bencher, count: usize) {
    by_predictions(bencher, count, &DwConfig::default());
}

fn by_objects(bencher: Bencher, count: usize, rule: &dyn AssignmentRule) {
    let (objects, locations) = (objects(count), locations());
    bencher.bench_local(|| black_box(rule.assign(&objects, &locations)));
}

/// Each location predicts a box with sides of up to 200 pixels around it.
fn by_predictions(bencher: Bencher, count: usize, rule: &dyn PredictionAssignmentRule) {
    let (objects, locations) = (objects(count), locations());
    let logits = random(CLASSES * locations.len(), [-7.0, 1.0]);
    let distances = random(4 * locations.len(), [1.0, 100.0]);
    let (distances, _) = distances.as_chunks::<4>();
    let predicted: Vec<[f32; 4]> = (locations.iter().zip(distances))
        .map(|([x, y], [l, t, r, b])| [x - l, y - t, x + r, y + b])
        .collect();
    let predictions = ImagePredictions::new(CLASSES, &logits, &predicted);
    bencher.bench_local(|| black_box(rule.assign(&objects, &locations, &predictions)));
}

#[divan::bench(args = [100, 1000, 5000])]
fn suppression(bencher: Bencher, candidates: usize) {
    let scores = random(candidates, [0.0, 1.0]);
    let detections: Vec<Detection> = boxes(candidates)
        .into_iter()
        .enumerate()
        .map(|(index, bbox)| Detection {
            bbox,
            label: index % CLASSES,
            score: scores[index],
        })
        .collect();
    bencher.bench_local(|| black_box(batched_nms(detections.clone(), 0.6).count()));
}

/// Random predictions, of which about `above_of_a_thousand` in a thousand exceed the threshold.
#[divan::bench(args = [1, 100, 1000])]
fn decoding_and_suppression(bencher: Bencher, above_of_a_thousand: u32) {
    let config = FcosConfig::paper(CLASSES)
        .postprocess
        .with_score_threshold(0.5);
    let locations = locations();
    let share = f64::from(above_of_a_thousand) / 1000.0;
    let maps: Vec<[Vec<f32>; 2]> = locations
        .levels()
        .iter()
        .map(|grid| {
            [
                random(CLASSES * grid.len(), [share - 1.0, share]),
                random(4 * grid.len(), [10.0, 200.0]),
            ]
        })
        .collect();
    let levels: Vec<LevelValues> = locations
        .levels()
        .iter()
        .zip(&maps)
        .map(|(&grid, [class_logits, distances])| LevelValues {
            grid,
            class_logits,
            distances,
            quality_logits: None,
        })
        .collect();
    let frame = ImageFrame::unscaled(SIZE);
    bencher.bench_local(|| black_box(detect(&levels, frame, &config)));
}
