//! A large image of small objects, and how many of them were found.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use fcos_burn::{
    boxes::CocoResult,
    data::{
        BoundingBox, DataError, DetectionDataset, ImageRecord, ImageSource, Object, RgbImage,
        image::imageops,
        shapes::{ShapesConfig, ShapesSplit},
    },
    detect::{device::keep_freed_memory, json::read_json},
    eval::{Analysis, AnalysisConfig, detections},
    plot::save_picture,
};
use fcos_burn_cli::terminal::{exit, print};
use fcos_burn_study::Error;

/// Measure detection in tiles.
#[derive(Parser, Debug)]
#[command(name = "tiles")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write an image of 8000x6000 pixels, 1.png, and its annotations, truth.json
    ///
    /// It is a mosaic of 8x6 generated images of 1000x1000 pixels. Their objects have the sizes of the
    /// built-in data set in pixels: from 8 to 86.
    Make {
        /// Write the files to this folder
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Largest number of objects in 1000x1000 pixels
        #[arg(long, value_name = "N", default_value_t = 60)]
        objects: usize,
        /// The seed of the images
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },
    /// Print recall and precision at an IoU of 0.5
    Score {
        /// The folder of the image
        #[arg(long, value_name = "DIR")]
        truth: PathBuf,
        /// Detections in COCO's results format, from `fcos-burn detect --coco`
        #[arg(long, value_name = "JSON")]
        results: PathBuf,
    },
}

/// Pixels of a part of the mosaic, and the parts in a row and a column.
const PART: u32 = 1000;
const COLUMNS: u32 = 8;
const ROWS: u32 = 6;

/// The file names in the folder.
const IMAGE: &str = "1.png";
const TRUTH: &str = "truth.json";

fn main() -> ExitCode {
    keep_freed_memory();
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    match &cli.command {
        Command::Make {
            output,
            objects,
            seed,
        } => {
            let truth = mosaic(*objects, *seed)?;
            fs::create_dir_all(output).map_err(Error::io(output))?;
            save_picture(&output.join(IMAGE), &truth.image(0)?)?;
            truth.write_coco(output.join(TRUTH))?;
            print(format_args!("{}\n", truth.object_count()))?;
        }
        Command::Score { truth, results } => {
            let truth = DetectionDataset::coco(truth, truth.join(TRUTH))?;
            let results: Vec<CocoResult> = read_json(results)?;
            let found = detections(&truth, &results)?;
            let config = AnalysisConfig::default().with_score_threshold(Some(0.0));
            let analysis = Analysis::new(&truth, &found, &config)?;
            let all = analysis.operating_points.all;
            let point = all.at_score_threshold;
            print(format_args!(
                "objects {}, detections {}, recall {:.3}, precision {:.3}\n",
                all.objects,
                point.true_positives + point.false_positives,
                point.recall.unwrap_or_default(),
                point.precision.unwrap_or_default()
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A mosaic of generated images, with the objects of all of them.
fn mosaic(objects: usize, seed: u64) -> Result<DetectionDataset, Error> {
    let sizes = ShapesConfig::default();
    let largest = sizes.max_size * sizes.width.min(sizes.height) as f32;
    let config = sizes
        .with_seed(seed)
        .with_val_images((COLUMNS * ROWS) as usize)
        .with_size(PART, PART)
        .with_max_objects(objects)
        .with_max_size(largest / PART as f32);
    let parts = DetectionDataset::shapes(&config, ShapesSplit::Val)?;
    let (width, height) = (COLUMNS * PART, ROWS * PART);
    let mut image = RgbImage::new(width, height);
    let mut all = Vec::new();
    for (index, record) in (0..).zip(parts.images()) {
        let (x, y) = (index % COLUMNS * PART, index / COLUMNS * PART);
        imageops::replace(
            &mut image,
            &parts.image(index as usize)?,
            x.into(),
            y.into(),
        );
        let offset = [x, y, x, y].map(|offset| offset as f32);
        for object in &record.objects {
            let mut bbox = object.bbox.to_xyxy();
            for (edge, offset) in bbox.iter_mut().zip(offset) {
                *edge += offset;
            }
            let bbox = BoundingBox::from_xyxy(bbox);
            all.push(Object::new(all.len() as u64 + 1, bbox, object.label));
        }
    }
    let records = vec![ImageRecord::new(1, IMAGE, width, height).with_objects(all)];
    let categories = parts.categories().to_vec();
    Ok(DetectionDataset::new(
        "mosaic",
        categories,
        records,
        Mosaic(image),
    )?)
}

#[derive(Debug)]
struct Mosaic(RgbImage);

impl ImageSource for Mosaic {
    fn image(&self, _index: usize) -> Result<RgbImage, DataError> {
        Ok(self.0.clone())
    }
}
