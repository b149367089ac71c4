//! `fcos-burn detect`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use fcos_burn::{
    data::{ImageListing, list_names, read_image},
    detect::{
        DEFAULT_SCORE_THRESHOLD, Detector, ImageDetections,
        json::write_json,
        pictures::{PictureNames, picture},
    },
    plot::save_picture,
};
use fcos_burn_cli::{
    Error,
    args::{DeviceArgs, WeightsArgs, parse_score},
    terminal::{message, print},
};

/// Detect objects in an image, or in all images of a folder.
///
/// Writes a picture with boxes for each image, and one JSON file for all, in pixels of the upright
/// image. Both hold the same detections: those whose score is at least the score threshold.
/// Unreadable images are reported and skipped, and the exit code is then 1. Files in
/// unsupported formats are counted and skipped.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Detect objects in this image, or in all images of this folder
    #[arg(long, value_name = "IMAGE|DIR")]
    input: PathBuf,
    /// Write the pictures to this folder
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Write the detections to this file [default: detections.json in the output folder]
    #[arg(long, value_name = "JSON")]
    json: Option<PathBuf>,
    /// Keep detections with at least this score, from 0 to 1 [default: the threshold with the largest
    /// F1 in the validation of the run, or 0.3 if there is none]
    #[arg(long, value_name = "SCORE", value_parser = parse_score)]
    score_threshold: Option<f32>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let (device, precision) = args.device.resolve()?;
    let file = args.weights.open()?;
    let chosen = file.score_threshold;
    let (mut detector, loaded) = Detector::from_file(file, &device, precision)?;
    message(loaded);
    if let Some(threshold) = args.score_threshold {
        detector = detector.with_score_threshold(threshold);
    }
    message(threshold_line(args.score_threshold, chosen));
    let files = input_files(&args.input)?;
    fs::create_dir_all(&args.output).map_err(Error::io(&args.output))?;
    keep_images(&files, &args.output)?;
    let mut names = PictureNames::default();
    let mut found = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
        match detect(&detector, file, &args.output.join(names.name(file))) {
            Ok(detections) => {
                let count = detections.detections.len();
                message(format_args!(
                    "{}/{} {}: {count} {}",
                    index + 1,
                    files.len(),
                    file.display(),
                    if count == 1 { "object" } else { "objects" }
                ));
                found.push(detections);
            }
            Err(Error::Data(error) | Error::Detect(fcos_burn::detect::Error::Data(error))) => {
                message(format_args!("error: {error}"))
            }
            Err(error) => return Err(error),
        }
    }
    let json = args
        .json
        .clone()
        .unwrap_or_else(|| args.output.join("detections.json"));
    write_json(&json, &found)?;
    print(format_args!("{}\n", json.display()))?;
    Ok(if found.len() == files.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

fn detect(detector: &Detector, file: &Path, drawing: &Path) -> Result<ImageDetections, Error> {
    let image = read_image(file)?;
    let detections = detector.detect(vec![image.clone()])?.concat();
    let drawn = picture(&image, &detections, detector.categories());
    save_picture(drawing, &drawn)?;
    Ok(ImageDetections::new(
        file,
        image.dimensions(),
        &detections,
        detector.categories(),
    ))
}

/// Fails if the output folder contains the images, which the pictures could overwrite.
fn keep_images(files: &[PathBuf], output: &Path) -> Result<(), Error> {
    let canonical = |path: &Path| fs::canonicalize(path).map_err(Error::io(path));
    let output = canonical(output)?;
    for file in files {
        if canonical(file)?.parent() == Some(&output) {
            return Err(Error::OutputIsInput(output));
        }
    }
    Ok(())
}

/// The image, or the images in a folder, sorted by name.
fn input_files(input: &Path) -> Result<Vec<PathBuf>, Error> {
    if !fs::metadata(input).map_err(Error::io(input))?.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let listing = ImageListing::of(input)?;
    if !listing.left_out.is_empty() {
        let names = listing.left_out.iter().filter_map(|file| file.file_name());
        let names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
        message(format_args!(
            "warning: {}: {} image files in unsupported formats skipped: {}",
            input.display(),
            names.len(),
            list_names(&names)
        ));
    }
    if listing.images.is_empty() {
        return Err(Error::NoImages(input.to_owned()));
    }
    Ok(listing.images)
}
