//! Detects objects in images, draws them, and writes them as JSON.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use fcos_burn::train::{
    Detector, Error,
    artifacts::{PictureNames, picture, save_picture},
    detector::{ImageDetections, write_detections},
    progress::tell,
};
use fcos_burn_examples::{DeviceArgs, WeightsArgs, exit, print};

/// Detect objects in an image, or in all images of a folder.
///
/// Writes a picture with boxes for each image, and one JSON file for all. Images
/// that cannot be read are told and left out, and the exit code is 1.
#[derive(Parser, Debug)]
#[command(name = "detect")]
struct Cli {
    #[command(flatten)]
    weights: WeightsArgs,
    /// The image, or a folder of images
    #[arg(long, value_name = "IMAGE|DIR")]
    input: PathBuf,
    /// Folder of the pictures
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// JSON file of the detections [default: detections.json in the output folder]
    #[arg(long, value_name = "JSON")]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let (device, precision) = cli.device.resolve();
    let (detector, loaded) = Detector::from_file(cli.weights.open()?, &device, precision)?;
    tell(loaded);
    let files = image_files(&cli.input)?;
    fs::create_dir_all(&cli.output).map_err(Error::io(&cli.output))?;
    keep_images(&files, &cli.output)?;
    let mut names = PictureNames::default();
    let mut found = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
        match detect(&detector, file, &cli.output.join(names.name(file))) {
            Ok(detections) => {
                tell(format_args!(
                    "{}/{} {}: {} objects",
                    index + 1,
                    files.len(),
                    file.display(),
                    detections.detections.len()
                ));
                found.push(detections);
            }
            Err(Error::Data(error)) => tell(format_args!("error: {error}")),
            Err(error) => return Err(error),
        }
    }
    let json = cli
        .json
        .clone()
        .unwrap_or_else(|| cli.output.join("detections.json"));
    write_detections(&json, &found)?;
    print(format_args!("{}\n", json.display()))?;
    Ok(if found.len() == files.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn detect(detector: &Detector, file: &Path, drawing: &Path) -> Result<ImageDetections, Error> {
    let image = fcos_burn::data::read_image(file)?;
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

/// Refuses to draw into the folder of the images, where pictures could replace them.
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

/// The image itself, or the images of a folder by name.
fn image_files(input: &Path) -> Result<Vec<PathBuf>, Error> {
    if !fs::metadata(input).map_err(Error::io(input))?.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(input).map_err(Error::io(input))? {
        let path = entry.map_err(Error::io(input))?.path();
        if path.is_file() && fcos_burn::data::is_image(&path) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::NoImages(input.display().to_string()));
    }
    Ok(files)
}
