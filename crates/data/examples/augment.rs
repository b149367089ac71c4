//! Draws augmented training images with their boxes, to check them before a training run.
//!
//! ```sh
//! cargo run --release -p fcos-burn-data --example augment -- my-images train strong sheet.png
//! ```
//!
//! In place of a strength, a JSON file with the list of steps can be given.

use std::error::Error;

use fcos_burn_data::image::{Rgb, RgbImage, imageops};
use fcos_burn_data::transforms::{
    AugmentationStrength, Interpolation, Pipeline, Resize, Sample, Transform,
};
use fcos_burn_data::{DetectionDataset, SampleReader, sample_rng, serde_json};

const SIZE: (u32, u32) = (320, 240);
const COLUMNS: u32 = 5;
const ROWS: u32 = 6;
const COLORS: [[u8; 3]; 6] = [
    [255, 64, 64],
    [64, 255, 64],
    [64, 128, 255],
    [255, 255, 64],
    [255, 64, 255],
    [64, 255, 255],
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, split, steps, output] = &arguments[..] else {
        return Err("expected the folder of a data set, a split, a strength and a PNG file".into());
    };
    let dataset = DetectionDataset::open(data, Some(split))?;
    let strength = serde_json::from_value::<AugmentationStrength>(steps.as_str().into());
    let steps: Vec<Transform> = match strength {
        Ok(strength) => strength.steps(dataset.len()),
        Err(_) => serde_json::from_str(&std::fs::read_to_string(steps)?)?,
    };
    let pipeline = Pipeline::new(steps)?;
    let (reader, resize) = (
        SampleReader::new(0),
        Resize::Fixed {
            width: SIZE.0,
            height: SIZE.1,
        },
    );
    let companions = reader.companions(&dataset, 1, resize, Interpolation::Antialiased);
    let mut sheet = RgbImage::new(COLUMNS * SIZE.0, ROWS * SIZE.1);
    for place in 0..COLUMNS * ROWS {
        let (index, sample) = reader.sample(&dataset, 1, place as usize % dataset.len())?;
        let sample = resize.resize(sample, Interpolation::Antialiased)?;
        let sample = pipeline.apply_among(sample, &companions, &mut sample_rng(0, 1, index))?;
        let (column, row) = (place % COLUMNS, place / COLUMNS);
        let (x, y) = (column * SIZE.0, row * SIZE.1);
        imageops::replace(&mut sheet, &with_boxes(&sample), x.into(), y.into());
    }
    sheet.save(output)?;
    Ok(())
}

/// The image with the outlines of its boxes in the colors of their classes.
fn with_boxes(sample: &Sample) -> RgbImage {
    let mut image = sample.image().clone();
    for (bbox, label) in sample.boxes().iter().zip(sample.labels()) {
        let color = Rgb(COLORS[label % COLORS.len()]);
        let [x1, y1, x2, y2] = bbox.to_xyxy().map(|edge| edge.round() as u32);
        let (right, bottom) = ((x2.max(x1 + 1) - 1), (y2.max(y1 + 1) - 1));
        let sides = (x1..=right).flat_map(|x| [(x, y1), (x, bottom)]);
        for (x, y) in sides.chain((y1..=bottom).flat_map(|y| [(x1, y), (right, y)])) {
            if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
                *pixel = color;
            }
        }
    }
    image
}
