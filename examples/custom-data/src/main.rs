//! Training on custom data: a data set whose images are in memory.

use std::path::Path;

use fcos_burn::{
    data::{Category, DataError, ImageRecord, ImageSource, Object, RgbImage, image::Rgb},
    prelude::*,
};

#[derive(Debug)]
struct Memory(Vec<RgbImage>);

impl ImageSource for Memory {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        Ok(self.0[index].clone())
    }
}

/// Gray images with a bright or a dark square, which are the two classes.
fn squares(name: &str, count: u32) -> Result<DetectionDataset, DataError> {
    let mut pixels = Vec::new();
    let mut records = Vec::new();
    for index in 0..count {
        let (x, y, side) = (8 + 5 * index % 40, 4 + 7 * index % 40, 24 + index % 3 * 8);
        let label = (index % 2) as usize;
        let mut image = RgbImage::from_pixel(96, 96, Rgb([128; 3]));
        for (column, row) in (0..side).flat_map(|column| (0..side).map(move |row| (column, row))) {
            image.put_pixel(x + column, y + row, Rgb([[255, 0][label]; 3]));
        }
        let corner = |start: u32| (start as f32, (start + side) as f32);
        let ((x1, x2), (y1, y2)) = (corner(x), corner(y));
        let id = u64::from(index) + 1;
        let object = Object::new(id, BoundingBox::new(x1, y1, x2, y2), label);
        let record = ImageRecord::new(id, format!("square {id}"), 96, 96);
        records.push(record.with_objects(vec![object]));
        pixels.push(image);
    }
    // Runs the same checks as the readers of COCO, VOC and YOLO.
    DetectionDataset::new(
        name,
        Category::list(["bright", "dark"]),
        records,
        Memory(pixels),
    )
}

fn run(
    mut config: RunConfig,
    count: u32,
    output: &Path,
) -> Result<Outcome, fcos_burn::train::Error> {
    config.input.resize = Resize::Fixed {
        width: 96,
        height: 96,
    };
    let trainer = Trainer::new();
    let trainer = trainer.with_data(squares("training squares", count)?, squares("others", 16)?);
    trainer.train(config, output)
}

fn main() -> Result<(), fcos_burn::train::Error> {
    run(RunConfig::small(), 1000, Path::new("runs/custom-data")).map(drop)
}

#[test]
fn it_trains_on_the_squares() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let length = fcos_burn::train::config::TrainingLength::Epochs(4);
    let config = RunConfig::small().with_duration(length);
    let Outcome::Finished(evaluation) = run(config, 64, folder.path())? else {
        return Err("interrupted".into());
    };
    assert_eq!(evaluation.images, 16);
    let log = std::fs::read_to_string(folder.path().join("train.log"))?;
    assert!(
        log.contains("training squares: 64 images, 64 objects, 2 classes"),
        "{log}"
    );
    Ok(())
}
