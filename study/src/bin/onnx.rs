//! Writes exported detectors, images and this project's own detections, and times detection.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    slice,
    time::Instant,
};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Distribution, Tensor, activation::sigmoid},
};
use clap::Parser;
use fcos_burn::{
    data::{
        Category, ImageListing, RgbImage, read_image,
        transforms::{Resize, Sample},
    },
    detect::device::keep_freed_memory,
    detect::{
        Detection, Detector, DetectorFile, InputConfig,
        device::{DeviceName, Precision},
        json::write_json,
    },
    model::{
        FcosConfig,
        backbone::{
            norm::NormKind,
            resnet::{ResNetConfig, ResNetDepth},
        },
        file::write_whole,
    },
    onnx::{self, OnnxConfig, OnnxError, Outputs, WeightFormat},
    plot::save_picture,
};
use fcos_burn_cli::terminal::{exit, install_logger, message};
use fcos_burn_study::{Error, benchmark::stopwatch::median};
use serde::Serialize;

/// Write exported detectors with the detections of this project, for onnx_parity.py.
///
/// For each detector, a folder with its ONNX files, the resized images and `reference.json`: the
/// detections of each image, and the milliseconds of its detection, as the median of the rounds.
/// Detectors are untrained ResNet-18 and ResNet-50 with random parameters, and the runs given by
/// --weights. Operations use RAYON_NUM_THREADS threads, or all cores if it is not set.
#[derive(Parser, Debug)]
#[command(name = "onnx")]
struct Cli {
    /// Detect in the images of this folder
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Use at most this number of images
    #[arg(long, value_name = "N", default_value_t = 3)]
    count: usize,
    /// Also export these run folders
    #[arg(long, value_name = "RUN", value_delimiter = ',')]
    weights: Vec<PathBuf>,
    /// Leave out the untrained detectors
    #[arg(long)]
    only_weights: bool,
    /// Rounds of detection that are timed
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
    /// Write to this folder
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// The images of a detector and what it finds in them.
#[derive(Serialize)]
struct Reference {
    images: Vec<Image>,
}

#[derive(Serialize)]
struct Image {
    /// The resized image, a PNG file.
    file: String,
    /// In pixels of the resized image, by descending score.
    detections: Vec<Found>,
    /// Boxes and scores at all locations, little-endian 32-bit floats.
    locations: String,
    /// The time of detection.
    milliseconds: f64,
}

#[derive(Serialize)]
struct Found {
    bbox: [f32; 4],
    label: usize,
    score: f32,
}

impl From<Detection> for Found {
    fn from(detection: Detection) -> Self {
        let Detection { bbox, label, score } = detection;
        Self { bbox, label, score }
    }
}

fn main() -> ExitCode {
    keep_freed_memory();
    install_logger();
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let mut files = ImageListing::of(&cli.images)?.images;
    files.truncate(cli.count);
    let images = files
        .iter()
        .map(read_image)
        .collect::<Result<Vec<_>, _>>()?;
    let device = DeviceName::CPU.open(Precision::F32)?;
    if !cli.only_weights {
        for (name, config, input) in untrained() {
            let folder = cli.output.join(name);
            let open = |resize| detector(&config, input.clone().with_resize(resize), &device);
            write(&folder, input.resize, &images, cli.rounds, open)?;
        }
    }
    for run in &cli.weights {
        let name = run.file_name().unwrap_or(run.as_os_str());
        let file = DetectorFile::open(run)?;
        let resize = file.input.resize;
        let open = |resize| {
            let mut file = file.clone();
            file.input.resize = resize;
            // The graph does not apply the threshold of `detect`, and neither does a new detector.
            let (model, _) = file.load(&device)?;
            let DetectorFile {
                input, categories, ..
            } = file;
            let (device, precision) = (device.clone(), Precision::F32);
            Ok(Detector::new(&model, input, categories, device, precision))
        };
        write(&cli.output.join(name), resize, &images, cli.rounds, open)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Detectors that differ in everything that the graph depends on, of the full width.
fn untrained() -> Vec<(&'static str, FcosConfig, InputConfig)> {
    let sides = |short, long| InputConfig::fcos().with_resize(Resize::ShortSide { short, long });
    let mut resnet18 = FcosConfig::small(6);
    resnet18.backbone = ResNetConfig::new(ResNetDepth::ResNet18);
    let mut grouped = FcosConfig::fcos(4);
    grouped.backbone = ResNetConfig::new(ResNetDepth::ResNet18).with_norm(NormKind::Group);
    vec![
        ("resnet18-batch-norm", resnet18, sides(243, 401)),
        ("resnet18-group-norm-centerness", grouped, sides(320, 512)),
        (
            "resnet50-paper-frozen",
            FcosConfig::paper(20),
            sides(300, 500),
        ),
        (
            "resnet50-improved-centerness",
            FcosConfig::fcos_improved(80),
            sides(257, 417),
        ),
        (
            "resnet50-torchvision",
            FcosConfig::torchvision(91),
            InputConfig::torchvision()
                .with_interpolation(Default::default())
                .with_resize(Resize::ShortSide {
                    short: 320,
                    long: 533,
                }),
        ),
    ]
}

/// An untrained detector with random parameters.
fn detector(config: &FcosConfig, input: InputConfig, device: &Device) -> Result<Detector, Error> {
    device.seed(1);
    let model = config
        .init(device)
        .map_err(fcos_burn::detect::Error::from)?;
    let model = model.map(&mut Random {
        device: device.clone(),
    });
    let names: Vec<String> = (0..config.num_classes)
        .map(|class| class.to_string())
        .collect();
    let categories = Category::list(names.iter().map(String::as_str));
    Ok(Detector::new(
        &model,
        input,
        categories,
        device.clone(),
        Precision::F32,
    ))
}

/// Makes parameters differ from their initial values, so that every one of them matters.
struct Random {
    device: Device,
}

impl ModuleMapper for Random {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.val().dims();
        let uniform =
            |low, high| Tensor::random(shape, Distribution::Uniform(low, high), &self.device);
        // Only the predictors have weights of N(0, 0.01²) and few filters. All scores would be
        // equal.
        let spread = match shape.as_slice() {
            [1..=91, 64 | 256, 3, 3] => 8.0,
            _ => 1.0,
        };
        param.map(|values| values * uniform(0.8, 1.2) * spread + uniform(-0.01, 0.01))
    }
}

/// Writes the files of one detector, which `open` opens with a size of its images.
fn write(
    folder: &Path,
    resize: Resize,
    images: &[RgbImage],
    rounds: usize,
    open: impl Fn(Resize) -> Result<Detector, Error>,
) -> Result<(), Error> {
    message(format_args!("{}", folder.display()));
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let detector = open(resize)?;
    let config = OnnxConfig::default();
    for (name, config) in [
        ("raw", config.clone().with_outputs(Outputs::Raw)),
        ("boxes", config.clone().with_outputs(Outputs::Boxes)),
        (
            "boxes-f16",
            config
                .clone()
                .with_outputs(Outputs::Boxes)
                .with_weights(WeightFormat::F16),
        ),
        ("detections", config),
    ] {
        onnx::export(&detector, &config, folder.join(format!("{name}.onnx"))).map_err(failed)?;
    }
    let interpolation = detector.input().interpolation;
    let images = images.iter().enumerate().map(|(index, image)| {
        let sample = resize.resize(Sample::new(image.clone(), []), interpolation)?;
        let image = sample.image().clone();
        let (width, height) = image.dimensions();
        let detector = open(Resize::Fixed { width, height })?;
        let file = format!("{index}.png");
        save_picture(&folder.join(&file), &image)?;
        let locations = format!("{index}.f32");
        let values = all_locations(&detector, &image)?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let path = folder.join(&locations);
        write_whole(&path, &bytes).map_err(Error::io(&path))?;
        let mut detections = Vec::new();
        let mut times = Vec::new();
        for _ in 0..=rounds {
            let start = Instant::now();
            detections = detector.detect(slice::from_ref(&image))?.concat();
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
        Ok(Image {
            file,
            detections: detections.into_iter().map(Found::from).collect(),
            locations,
            // The first round is for warming up.
            milliseconds: median(&times[1..]),
        })
    });
    let images = images.collect::<Result<Vec<_>, Error>>()?;
    write_json(&folder.join("reference.json"), &Reference { images })?;
    Ok(())
}

/// All boxes, `[locations, 4]`, and then all scores, `[locations, classes]`.
fn all_locations(detector: &Detector, image: &RgbImage) -> Result<Vec<f32>, Error> {
    let input = detector.input().single_view(slice::from_ref(image))?;
    let device = DeviceName::CPU.open(Precision::F32)?;
    let output = detector
        .model()
        .forward(Tensor::from_data(input.images, &device));
    let predictions = output.into_predictions();
    let limits = [image.width(), image.height()].map(|side| side as f32);
    let corners = floats(predictions.boxes);
    let corners = corners.into_iter().zip(limits.into_iter().cycle());
    let mut values: Vec<f32> = corners
        .map(|(corner, limit)| corner.clamp(0.0, limit))
        .collect();
    let mut scores = sigmoid(predictions.class_logits);
    if let Some(logits) = predictions.centerness_logits {
        scores = (scores * sigmoid(logits).reshape([-1, 1])).sqrt();
    }
    values.extend(floats(scores));
    Ok(values)
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn failed(error: OnnxError) -> Error {
    Error::Failed(error.to_string())
}
