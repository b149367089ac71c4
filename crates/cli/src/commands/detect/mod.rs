//! `fcos-burn detect`.

mod images;
mod video;

use std::{
    cell::Cell, path::PathBuf, process::ExitCode, rc::Rc, slice, sync::Arc,
    thread::available_parallelism,
};

use fcos_burn::{
    data::{RgbImage, list_names},
    detect::{
        DEFAULT_SCORE_THRESHOLD, Detection, DetectionWriter, Detector, Error as DetectError,
        OutputConfig, Tiling, formats::yolo::Columns,
    },
    train::Interrupter,
};
use fcos_burn_cli::{
    Error, StopSignal,
    args::{DetectionArgs, DeviceArgs, TilingArgs, WeightsArgs, output_path, parse_score},
    inputs::InputFiles,
    outputs::{Outputs, print_paths},
    terminal::message,
};

use self::{
    images::{Place, images},
    video::Video,
};

/// The input that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Detect objects in images or in a video.
///
/// Writes a picture with boxes for each image, and one JSON file for all. Boxes are in pixels of the
/// upright images. Everything that is counted, drawn and written is the same set of detections.
/// Unreadable images are reported and skipped, and the exit code is then 1. Files in
/// unsupported formats and hidden files of folders are counted and skipped. After Ctrl-C, the files have the detections so far.
/// The frames of animated GIF, WebP and PNG files are images, too.
///
/// A video comes through standard input as a YUV4MPEG2 stream, and goes to standard output with boxes:
/// ffmpeg -i in.mp4 -f yuv4mpegpipe - | fcos-burn detect --weights RUN --input - | ffplay -
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Detect objects in these images, in all images of these folders, and in files that match these
    /// patterns, such as 'photos/*.jpg'. Images that are named twice are taken once. - is a video from
    /// standard input
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
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    output: Option<PathBuf>,
    /// Write no pictures of the images, and no video, which takes less time
    #[arg(long)]
    no_pictures: bool,
    /// Write the detections to this file [default: detections.json in the output folder, if there is one].
    /// Of a video, the file has a line of JSON for each frame [default: detections.jsonl in the output
    /// folder]
    #[arg(long, value_name = "JSON", value_parser = output_path())]
    json: Option<PathBuf>,
    /// Also write COCO results to this folder: results.json, and images.json with the ids of
    /// the images and categories
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    coco: Option<PathBuf>,
    /// Also write a table with a row for each detection
    #[arg(long, value_name = "FILE", value_parser = output_path())]
    csv: Option<PathBuf>,
    /// Also write YOLO labels to this folder: labels/NAME.txt for each image, and classes.txt
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    yolo: Option<PathBuf>,
    /// Write the score as the last column of YOLO labels
    #[arg(long, requires = "yolo")]
    yolo_scores: bool,
    /// Also write the pixels of each detection as a picture, to a subfolder for each class
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    crops: Option<PathBuf>,
}

impl Args {
    fn all_inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.input.iter().chain(&self.inputs)
    }

    /// What to do with a video.
    ///
    /// # Errors
    ///
    /// Names a flag that has no use for a video.
    fn video(&self, tiling: Option<Tiling>, batch_size: usize) -> Result<Video, Error> {
        let output = &self.output;
        for (flag, is_given) in [
            ("--coco", output.coco.is_some()),
            ("--csv", output.csv.is_some()),
            ("--yolo", output.yolo.is_some()),
            ("--crops", output.crops.is_some()),
            ("--recursive", self.recursive),
        ] {
            if is_given {
                return Err(Error::NotForVideo(flag));
            }
        }
        Ok(Video {
            draws: !output.no_pictures,
            json_lines: output.json_file("detections.jsonl"),
            tiling,
            batch_size,
        })
    }
}

impl OutputArgs {
    fn config(&self) -> OutputConfig {
        let columns = match self.yolo_scores {
            true => Columns::BoxAndScore,
            false => Columns::Box,
        };
        OutputConfig::default()
            .with_pictures(self.output.clone().filter(|_| !self.no_pictures))
            .with_json(self.json_file("detections.json"))
            .with_coco(self.coco.clone())
            .with_csv(self.csv.clone())
            .with_yolo(self.yolo.clone().map(|folder| (folder, columns)))
            .with_crops(self.crops.clone())
    }

    /// The file for the detections, which has this name in the output folder.
    fn json_file(&self, name: &str) -> Option<PathBuf> {
        let in_folder = self.output.as_ref().map(|folder| folder.join(name));
        self.json.clone().or(in_folder)
    }

    /// Where pictures and files go.
    fn outputs(&self) -> Outputs {
        let config = self.config();
        let yolo = config.yolo.map(|(folder, _)| folder);
        let file = |folder: &Option<PathBuf>, name| folder.as_ref().map(|folder| folder.join(name));
        self.json_outputs(config.json)
            .with_pictures("--output", config.pictures)
            .with_tree("--crops", config.crops)
            .with_file("--csv", config.csv)
            .with_file("--coco", file(&config.coco, "results.json"))
            .with_file("--coco", file(&config.coco, "images.json"))
            .with_file("--yolo", file(&yolo, "classes.txt"))
            .with_tree("--yolo", yolo)
    }

    /// The file for the detections, with the flag that chose it.
    fn json_outputs(&self, file: Option<PathBuf>) -> Outputs {
        let flag = match self.json {
            Some(_) => "--json",
            None => "--output",
        };
        Outputs::default().with_file(flag, file)
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let batch_size = args.batch_size.into();
    let tiling = args.tiling.tiling(args.detection.resize(), batch_size);
    if args
        .all_inputs()
        .any(|input| input.as_os_str() == STANDARD_INPUT)
    {
        if args.all_inputs().count() > 1 {
            return Err(Error::VideoAmongInputs);
        }
        let video = args.video(tiling, batch_size)?;
        let outputs = args.output.json_outputs(video.json_lines.clone());
        outputs.check()?;
        return video::run(&detector(args, &outputs)?, &video);
    }
    if args.output.output.is_none() && !args.output.no_pictures {
        return Err(Error::NoOutput);
    }
    let outputs = args.output.outputs();
    outputs.check()?;
    let inputs = inputs(args)?;
    outputs.keep_images(inputs.files.iter().map(PathBuf::as_path))?;
    for folder in outputs.occupied() {
        message(format_args!(
            "warning: {} is not empty: files of other detections stay there",
            folder.display()
        ));
    }
    let detector = detector(args, &outputs)?;
    let threads = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2).min(8));
    let mut writer = DetectionWriter::start(args.output.config(), detector.categories(), threads)?;
    let files: Arc<[PathBuf]> = inputs.files.into();
    // Until now, Ctrl-C ended the program.
    let stop = Stop::default();
    let signal = StopSignal::watch(stop.interrupter.clone());
    let found = match tiling {
        Some(tiling) => detect_tiled(&detector, &files, &stop, tiling)?,
        None => detect(&detector, &files, &stop, batch_size, threads)?,
    };
    let mut is_complete = inputs.unreadable.is_empty();
    let mut last = None;
    let mut done = 0;
    let mut failure = None;
    for found in found {
        let written = match found {
            Ok((Place { file, frame }, image, detections)) => {
                // The frames of an animation are one file.
                done += usize::from(last.replace(file) != Some(file));
                let count = detections.len();
                message(format_args!(
                    "{}/{} {}{}: {count} {}",
                    file + 1,
                    files.len(),
                    files[file].display(),
                    frame.map_or_else(String::new, |frame| format!(" frame {frame}")),
                    if count == 1 { "object" } else { "objects" }
                ));
                writer.write(&files[file], frame, image, detections)
            }
            Err(DetectError::Data(error)) => {
                is_complete = false;
                done += 1;
                message(format_args!("error: {error}"));
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            failure = Some(error);
            break;
        }
    }
    if let Some(error) = failure {
        // What was found until then is not lost.
        if done > 0 {
            let _ = writer.finish();
        }
        return Err(error.into());
    }
    print_paths(&writer.finish()?)?;
    if stop.was_early.get() {
        let all = files.len();
        // An animation that breaks off counts twice.
        let done = done.min(all);
        message(format_args!(
            "interrupted after {done} of {all} images; the files have only their detections"
        ));
        return Ok(signal.exit_code());
    }
    Ok(match is_complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The detector with the settings of the flags. Before it is loaded, the outputs get their folders.
fn detector(args: &Args, outputs: &Outputs) -> Result<Detector, Error> {
    let (device, precision) = args.device.resolve()?;
    let file = args.weights.open()?;
    outputs.keep_weights(&file)?;
    outputs.create()?;
    let chosen = file.score_threshold;
    let (detector, loaded) = Detector::from_file(file, &device, precision)?;
    message(loaded);
    let mut detector = args.detection.apply(detector)?;
    if let Some(threshold) = args.score_threshold {
        detector = detector.with_score_threshold(threshold)?;
    }
    message(threshold_line(args.score_threshold, chosen));
    Ok(detector)
}

/// Ends a stream of images at a signal.
#[derive(Default)]
struct Stop {
    interrupter: Interrupter,
    /// Whether an image was left.
    was_early: Rc<Cell<bool>>,
}

impl Stop {
    /// The images until the signal. Those that were taken before are still detected in.
    fn end<I: Iterator>(&self, images: I) -> impl Iterator<Item = I::Item> + use<I> {
        let (interrupter, was_early) = (self.interrupter.clone(), Rc::clone(&self.was_early));
        images.take_while(move |_| {
            was_early.set(interrupter.should_stop());
            !was_early.get()
        })
    }
}

/// An image with its detections.
type Found = Result<(Place, RgbImage, Vec<Detection>), DetectError>;

/// The detections in each image, in order. Images are read and resized in other threads.
fn detect<'a>(
    detector: &'a Detector,
    files: &Arc<[PathBuf]>,
    stop: &Stop,
    batch_size: usize,
    threads: usize,
) -> Result<Box<dyn Iterator<Item = Found> + 'a>, Error> {
    let input = detector.input().clone();
    let prepared = images(files, threads, move |image| {
        let prepared = input.batch(slice::from_ref(&image))?;
        Ok((image, prepared))
    })?;
    let prepared = (stop.end(prepared))
        .map(|image| image.map(|(place, (image, prepared))| ((place, image), prepared)));
    let found = detector.detect_stream(prepared, batch_size)?;
    Ok(Box::new(found.map(|found| {
        found.map(|((place, image), detections)| (place, image, detections))
    })))
}

/// The detections in each image, in order, from tiles. One image is in memory at a time, since tiles are for
/// large ones.
fn detect_tiled<'a>(
    detector: &'a Detector,
    files: &Arc<[PathBuf]>,
    stop: &Stop,
    tiling: Tiling,
) -> Result<Box<dyn Iterator<Item = Found> + 'a>, Error> {
    Ok(Box::new(stop.end(images(files, 0, Ok)?).map(
        move |image| {
            let (place, image) = image?;
            let detections = detector.detect_tiled(&image, &tiling)?;
            Ok((place, image, detections))
        },
    )))
}

/// The files to detect in. What is skipped is reported.
fn inputs(args: &Args) -> Result<InputFiles, Error> {
    let named: Vec<PathBuf> = args.all_inputs().cloned().collect();
    let inputs = InputFiles::collect(&named, args.recursive)?;
    for cause in &inputs.unreadable {
        message(format_args!("error: {cause}"));
    }
    for (files, what) in [
        (&inputs.left_out, "image files in unsupported formats"),
        (&inputs.hidden, "hidden image files"),
    ] {
        for (folder, names) in &InputFiles::by_folder(files) {
            message(format_args!(
                "warning: {}: {} {what} skipped: {}",
                folder.display(),
                names.len(),
                list_names(names)
            ));
        }
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
