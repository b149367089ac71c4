//! An exported detector in `rten`, without Burn: `cargo run --release -p example-onnx-in-rten -- model.onnx photo.png`.
//! Export it with `fcos-burn export --format onnx --outputs boxes --weights runs/mine --output model.onnx`.
//! The image must be upright and have the size that the detector was trained on (`resize` in the metadata).

use std::{env, error::Error};

use fcos_burn_boxes::{Detection, batched_nms};
use image::RgbImage;
use rten::Model;
use rten_tensor::{NdTensor, prelude::*};

/// Detects objects with scores above `threshold`. Boxes are in pixels of the image.
fn detect(
    model: &Model,
    image: &RgbImage,
    threshold: f32,
) -> Result<Vec<Detection>, Box<dyn Error>> {
    let (width, height) = image.dimensions();
    let pixel = |[_, channel, y, x]: [usize; 4]| image[(x as u32, y as u32)][channel] as f32;
    let pixels = NdTensor::from_fn([1, 3, height as usize, width as usize], pixel);
    let outputs = [model.node_id("boxes")?, model.node_id("scores")?];
    let [boxes, scores] = model.run_n(
        vec![(model.node_id("images")?, pixels.into())],
        outputs,
        None,
    )?;
    let (boxes, scores): (NdTensor<f32, 3>, NdTensor<f32, 3>) =
        (boxes.try_into()?, scores.try_into()?);
    let [_, locations, classes] = scores.shape();
    let pairs =
        (0..locations).flat_map(|location| (0..classes).map(move |label| (location, label)));
    let likely = pairs.filter(|&(location, label)| scores[[0, location, label]] > threshold);
    let candidates = likely.map(|(location, label)| Detection {
        bbox: std::array::from_fn(|side| boxes[[0, location, side]]),
        label,
        score: scores[[0, location, label]],
    });
    Ok(batched_nms(candidates.collect(), 0.6).take(100).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = env::args().skip(1).collect();
    let [model, image] = files.as_slice() else {
        return Err("usage: MODEL.onnx IMAGE".into());
    };
    let image = image::open(image)?.into_rgb8();
    for found in detect(&Model::load_file(model)?, &image, 0.3)? {
        println!("class {} {:.2} {:?}", found.label, found.score, found.bbox);
    }
    Ok(())
}

#[test]
fn detections_are_those_of_the_detector() -> Result<(), Box<dyn Error>> {
    use fcos_burn::{
        data::{Category, transforms::Resize},
        detect::InputConfig,
        onnx::{OnnxConfig, Outputs, to_bytes},
        prelude::*,
    };

    let device = burn::tensor::Device::flex();
    device.seed(1);
    let mut config = FcosConfig::small(2);
    // Freshly initialized, every score is close to the prior.
    config.head.prior = 0.5;
    let image = RgbImage::from_fn(90, 70, |x, y| {
        image::Rgb([x as u8, (2 * y) as u8, (x * y) as u8])
    });
    let (width, height) = image.dimensions();
    let input = InputConfig::fcos().with_resize(Resize::Fixed { width, height });
    let classes = Category::list(["cat", "dog"]);
    let detector = Detector::new(
        &config.init(&device)?,
        input,
        classes,
        device,
        Precision::F32,
    );
    let bytes = to_bytes(
        &detector,
        &OnnxConfig::default().with_outputs(Outputs::Boxes),
    )?;
    let found = detect(&Model::load(bytes)?, &image, 0.05)?;
    let expected = detector.detect(&[image])?.concat();
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(&expected) {
        assert!((a.score - b.score).abs() < 1e-4, "{a:?} {b:?}");
    }
    Ok(())
}
