//! `fcos-burn detect`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
};

use fcos_burn::{
    data::{Loader, LoaderError, RgbImage, list_names, read_image},
    detect::{
        DEFAULT_SCORE_THRESHOLD, Detection, DetectionWriter, Detector, Error as DetectError,
        OutputConfig, Tiling, formats::yolo::Columns,
    },
};
use fcos_burn_cli::{
    Error,
    args::{DetectionArgs, DeviceArgs, TilingArgs, WeightsArgs, parse_score},
    inputs::InputFiles,
    terminal::{message, print},
};

/// Detect objects in images.
///
/// Writes a picture with boxes for each image, and one JSON file for all, in pixels of the upright
/// images. Everything that is counted, drawn and written is the same set of detections.
/// Unreadable images are reported and skipped, and the exit code is then 1. Files in
/// unsupported formats are counted and skipped.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Detect objects in these images, in all images of these folders, and in files that match these
    /// patterns, such as 'photos/*.jpg'. Images that are named twice are taken once
    #[arg(long, value_name = "IMAGE|DIR|PATTERN", num_args = 1.., required_unless_present = "inputs")]
    input: Vec<PathBuf>,
    /// More inputs, as those of --input
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Search the subfolders of folders, too, except hidden ones
    #[arg(long)]
    recursive: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Keep detections with at least this score, from 0 to 1 [default: the threshold with the largest
    /// F1 in the validation of the run, or 0.3 if there is none]
    #[arg(long, value_name = "SCORE", value_parser = parse_score)]
    score_threshold: Option<f32>,
    #[command(flatten)]
    detection: DetectionArgs,
    #[command(flatten)]
    tiling: TilingArgs,
    /// Let this many images of the same size, or tiles of an image, go through the network at once, which
    /// is faster on a GPU. It changes detections by rounding only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What is written, and where.
#[derive(clap::Args, Debug)]
struct OutputArgs {
    /// Write the pictures and detections.json to this folder
    #[arg(long, value_name = "DIR", required_unless_present = "no_pictures")]
    output: Option<PathBuf>,
    /// Write no pictures of the images, which takes less time
    #[arg(long)]
    no_pictures: bool,
    /// Write the detections to this file [default: detections.json in the output folder, if there is one]
    #[arg(long, value_name = "JSON")]
    json: Option<PathBuf>,
    /// Also write COCO results to this folder: results.json, and images.json with the ids of
    /// the images and categories
    #[arg(long, value_name = "DIR")]
    coco: Option<PathBuf>,
    /// Also write a table with a row for each detection
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also write YOLO labels to this folder: labels/NAME.txt for each image, and classes.txt
    #[arg(long, value_name = "DIR")]
    yolo: Option<PathBuf>,
    /// Write the score as the last column of YOLO labels
    #[arg(long, requires = "yolo")]
    yolo_scores: bool,
    /// Also write the pixels of each detection as a picture, to a subfolder for each class
    #[arg(long, value_name = "DIR")]
    crops: Option<PathBuf>,
}

impl OutputArgs {
    fn config(&self) -> OutputConfig {
        let columns = match self.yolo_scores {
            true => Columns::BoxAndScore,
            false => Columns::Box,
        };
        let json = |folder: &PathBuf| folder.join("detections.json");
        OutputConfig::default()
            .with_pictures(self.output.clone().filter(|_| !self.no_pictures))
            .with_json(self.json.clone().or(self.output.as_ref().map(json)))
            .with_coco(self.coco.clone())
            .with_csv(self.csv.clone())
            .with_yolo(self.yolo.clone().map(|folder| (folder, columns)))
            .with_crops(self.crops.clone())
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let (device, precision) = args.device.resolve()?;
    let file = args.weights.open()?;
    let chosen = file.score_threshold;
    let (detector, loaded) = Detector::from_file(file, &device, precision)?;
    message(loaded);
    let mut detector = args.detection.apply(detector)?;
    if let Some(threshold) = args.score_threshold {
        detector = detector.with_score_threshold(threshold)?;
    }
    message(threshold_line(args.score_threshold, chosen));
    let inputs = inputs(args)?;
    let output = args.output.config();
    if let Some(folder) = &args.output.output {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    keep_images(&inputs.files, &output)?;
    let threads = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2).min(8));
    let mut writer = DetectionWriter::start(output, detector.categories(), threads)?;
    let files: Arc<[PathBuf]> = inputs.files.into();
    let batch_size = args.batch_size.into();
    let found = match args.tiling.tiling(args.detection.resize(), batch_size) {
        Some(tiling) => detect_tiled(&detector, &files, tiling)?,
        None => detect(&detector, &files, batch_size, threads)?,
    };
    let mut is_complete = inputs.unreadable.is_empty();
    for (index, (file, found)) in files.iter().zip(found).enumerate() {
        match found {
            Ok((image, detections)) => {
                let count = detections.len();
                message(format_args!(
                    "{}/{} {}: {count} {}",
                    index + 1,
                    files.len(),
                    file.display(),
                    if count == 1 { "object" } else { "objects" }
                ));
                writer.write(file, image, detections)?;
            }
            Err(DetectError::Data(error)) => {
                is_complete = false;
                message(format_args!("error: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for path in writer.finish()? {
        print(format_args!("{}\n", path.display()))?;
    }
    Ok(match is_complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// An image with its detections.
type Found = Result<(RgbImage, Vec<Detection>), DetectError>;

/// The detections in each file, in order. Files are read and resized in other threads.
fn detect<'a>(
    detector: &'a Detector,
    files: &Arc<[PathBuf]>,
    batch_size: usize,
    threads: usize,
) -> Result<Box<dyn Iterator<Item = Found> + 'a>, Error> {
    let input = detector.input().clone();
    let prepared = read(files, threads, move |image| {
        let prepared = input.batch(vec![image.clone()])?;
        Ok((image, prepared))
    })?;
    Ok(Box::new(detector.detect_stream(prepared, batch_size)?))
}

/// The detections in each file, in order, from tiles. One image is in memory at a time, since tiles are for
/// large ones.
fn detect_tiled<'a>(
    detector: &'a Detector,
    files: &Arc<[PathBuf]>,
    tiling: Tiling,
) -> Result<Box<dyn Iterator<Item = Found> + 'a>, Error> {
    let images = read(files, 0, Ok)?;
    Ok(Box::new(images.map(move |image| {
        let image = image?;
        let detections = detector.detect_tiled(&image, &tiling)?;
        Ok((image, detections))
    })))
}

/// What `prepare` makes of each image. Both happen in `threads` other threads, or in this one if it is 0.
fn read<T, P>(
    files: &Arc<[PathBuf]>,
    threads: usize,
    prepare: P,
) -> Result<impl Iterator<Item = Result<T, DetectError>> + use<T, P>, Error>
where
    T: Send + 'static,
    P: Fn(RgbImage) -> Result<T, DetectError> + Send + Sync + 'static,
{
    let paths = Arc::clone(files);
    let loader = Loader::new(files.len(), threads, move |index| {
        prepare(read_image(&paths[index])?)
    });
    let loader = loader.map_err(|error| DetectError::Workers(error.to_string()))?;
    Ok(loader.map(|image| {
        image.map_err(|error| match error {
            LoaderError::Failed { source, .. } => source,
            panicked => DetectError::Workers(panicked.to_string()),
        })
    }))
}

/// The files to detect in. What is skipped is reported.
fn inputs(args: &Args) -> Result<InputFiles, Error> {
    let named: Vec<PathBuf> = args.input.iter().chain(&args.inputs).cloned().collect();
    let inputs = InputFiles::collect(&named, args.recursive)?;
    for cause in &inputs.unreadable {
        message(format_args!("error: {cause}"));
    }
    for (folder, names) in &inputs.left_out_by_folder() {
        message(format_args!(
            "warning: {}: {} image files in unsupported formats skipped: {}",
            folder.display(),
            names.len(),
            list_names(names)
        ));
    }
    Ok(inputs)
}

/// The score threshold, and where it comes from: the flag, the validation of the run, or neither.
fn threshold_line(given: Option<f32>, chosen: Option<f32>) -> String {
    match (given, chosen) {
        (Some(given), _) => format!("score threshold {given}"),
        (None, Some(chosen)) => format!(
            "score threshold {chosen}, which has the largest F1 in the validation of the run; change it \
             with --score-threshold"
        ),
        (None, None) => format!(
            "score threshold {DEFAULT_SCORE_THRESHOLD}, because no validation has chosen one for these \
             weights; change it with --score-threshold"
        ),
    }
}

/// Fails if pictures could overwrite the images: if an image is in the folder of the pictures, or anywhere in that
/// of the crops. Creates the folders.
fn keep_images(files: &[PathBuf], output: &OutputConfig) -> Result<(), Error> {
    let canonical = |path: &Path| fs::canonicalize(path).map_err(Error::io(path));
    let folder = |path: &Option<PathBuf>| {
        let created = path.as_ref().map(|path| {
            fs::create_dir_all(path).map_err(Error::io(path))?;
            canonical(path)
        });
        created.transpose()
    };
    let (pictures, crops) = (folder(&output.pictures)?, folder(&output.crops)?);
    for file in files {
        // A file that cannot be found is reported when it is read.
        let Ok(file) = fs::canonicalize(file) else {
            continue;
        };
        let in_pictures = pictures
            .as_deref()
            .filter(|folder| file.parent() == Some(folder));
        let in_crops = crops.as_deref().filter(|folder| file.starts_with(folder));
        if let Some(folder) = in_pictures.or(in_crops) {
            return Err(Error::OutputIsInput(folder.to_owned()));
        }
    }
    Ok(())
}
