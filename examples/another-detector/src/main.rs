//! Another detector, with one square anchor per cell of a single feature map, that uses the losses,
//! assignment, evaluation and pictures of this project.

mod anchors;

use std::path::Path;

use burn::{
    module::Module,
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData},
};
use fcos_burn_boxes::LabeledBox;
use fcos_burn_data::{
    DetectionDataset, Normalization,
    shapes::{ShapesConfig, ShapesSplit},
    stack,
};
use fcos_burn_eval::{CocoMetric, Evaluation};
use fcos_burn_loss::{AssociationLoss, FcosObjectiveConfig, Targets};
use fcos_burn_model::assignment::{AssignmentConfig, AssignmentRule};
use fcos_burn_plot::{DrawnBox, annotated, save_picture};

use anchors::{AnchorDetector, STRIDE};

/// Images `[batch, 3, height, width]`, and the objects in each.
type Batch = (Tensor<4>, Vec<Vec<LabeledBox>>);

/// The input of the network for some images of a data set, and their objects.
fn batch(
    dataset: &DetectionDataset,
    indices: &[usize],
    device: &Device,
) -> Result<Batch, Box<dyn std::error::Error>> {
    let samples: Vec<_> = indices
        .iter()
        .map(|&i| dataset.sample(i))
        .collect::<Result<_, _>>()?;
    let pixels = stack(&samples, Normalization::ImageNet, STRIDE);
    let objects = samples.iter().map(|sample| sample.objects()).collect();
    let images = Tensor::from_data(TensorData::new(pixels.data, pixels.shape), device);
    Ok((images, objects))
}

/// Trains a detector for `steps` steps of 8 images. Returns it with the objective of each step.
fn train(
    data: &DetectionDataset,
    steps: usize,
    device: &Device,
) -> Result<(AnchorDetector, Vec<f32>), Box<dyn std::error::Error>> {
    device.seed(0);
    let mut losses = Vec::with_capacity(steps);
    let mut model = AnchorDetector::new(data.categories().len(), device);
    let mut optimizer = AdamWConfig::new().init();
    let pse = FcosObjectiveConfig::new().with_association(Some(AssociationLoss::default()));
    let objective = pse.init()?;
    // A single level, which covers all sizes.
    let rule = AssignmentConfig::new(vec![]).with_center_sampling_radius(Some(1.5));
    for step in 0..steps {
        let indices: Vec<usize> = (0..8).map(|i| (step * 8 + i) % data.len()).collect();
        let (images, objects) = batch(data, &indices, device)?;
        let locations = AnchorDetector::locations(&images);
        let (mut labels, mut boxes) = (Vec::new(), Vec::new());
        for objects in &objects {
            let assigned = rule.assign(objects, &locations);
            labels.extend(assigned.labels);
            boxes.extend(assigned.boxes.concat());
        }
        let rows = labels.len();
        let targets = Targets::new(
            Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), device),
            Tensor::from_data(TensorData::new(boxes, [rows, 4]), device),
        );
        let output = objective.forward(model.forward(images, &locations), targets);
        losses.push(output.total.clone().into_scalar());
        let gradients = GradientsParams::from_grads(output.total.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
    }
    Ok((model, losses))
}

/// Trains and evaluates a detector. Returns the objective of each step and the AP50.
fn run(
    images: usize,
    steps: usize,
    picture: &Path,
) -> Result<(Vec<f32>, f64), Box<dyn std::error::Error>> {
    let shapes = ShapesConfig::default()
        .with_train_images(images)
        .with_val_images(50);
    let data = DetectionDataset::shapes(&shapes, ShapesSplit::Train)?;
    let val = DetectionDataset::shapes(&shapes, ShapesSplit::Val)?;
    let device = Device::flex();
    let (model, losses) = train(&data, steps, &device.clone().autodiff())?;
    let model = model.valid();
    let mut found = Vec::new();
    for index in 0..val.len() {
        found.push((index, model.detect(batch(&val, &[index], &device)?.0)?));
    }
    let evaluation = Evaluation::new(&val, &found)?;
    print!("{}", evaluation.table());
    let boxes: Vec<DrawnBox> = (found[0].1.iter().take(3))
        .map(|detection| DrawnBox {
            bbox: detection.bbox,
            text: format!(
                "{} {:.2}",
                val.categories()[detection.label].name,
                detection.score
            ),
            class: detection.label,
        })
        .collect();
    save_picture(picture, &annotated(&val.image(0)?, &boxes, 480))?;
    Ok((losses, evaluation.metric(CocoMetric::AP50).unwrap_or(0.0)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(2000, 1000, Path::new("another-detector.png")).map(drop)
}

#[test]
fn it_trains_and_draws() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (losses, ap50) = run(64, 40, &folder.path().join("a.png"))?;
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..8]), mean(&losses[32..]));
    println!("objective {first} to {last}, AP50 {ap50}");
    assert!(last < 0.8 * first, "{losses:?}");
    assert!(folder.path().join("a.png").is_file());
    Ok(())
}
