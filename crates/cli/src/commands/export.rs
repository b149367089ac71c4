//! `fcos-burn export`.

use std::{path::PathBuf, process::ExitCode, slice};

use clap::ValueEnum;
use fcos_burn::{
    detect::{
        Detector, DetectorFile,
        device::{DeviceName, Precision},
    },
    onnx::{self, OnnxConfig},
};
use fcos_burn_cli::{
    Error,
    args::{WeightsArgs, output_path, parse_size},
    outputs::{Outputs, print_paths},
    terminal::message,
};

/// Export a detector for torchvision, to ONNX, or as plain weights.
///
/// With --format torchvision: its weights as .safetensors. Load them with load_state_dict into a
/// torchvision FCOS with the same ResNet and number of classes. Fails with a list of differences if
/// torchvision's FCOS cannot compute the same.
///
/// With --format onnx: the whole detector, with normalization of the pixels, thresholds and
/// suppression of overlapping boxes, for ONNX Runtime, OpenVINO and browsers.
///
/// With --format safetensors: the weights under this project's names. `train` starts from them, and `evaluate` and `detect` use
/// them, if the config.json of the run is in the same folder.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Write this format [default: onnx for a file.onnx, otherwise torchvision]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write to this file
    #[arg(long, value_name = "FILE", value_parser = output_path())]
    output: PathBuf,
    /// Store weights in 16 bits: half the file, rounded weights, computation in 32 bits
    #[arg(long)]
    half: bool,
    #[command(flatten)]
    onnx: OnnxArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Weights for torchvision's FCOS, as .safetensors
    Torchvision,
    /// The detector as an ONNX graph
    Onnx,
    /// Weights under this project's names, as .safetensors
    Safetensors,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "With --format onnx")]
struct OnnxArgs {
    /// Return these outputs [default: detections]
    #[arg(long, value_enum)]
    outputs: Option<OnnxOutputs>,
    /// Take normalized pixels instead of RGB from 0 to 255
    #[arg(long)]
    normalized_input: bool,
    /// Take images of this size only, instead of any size
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    image_size: Option<(u32, u32)>,
    /// Take this number of images only, instead of any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    batch_size: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnnxOutputs {
    /// The head's logits and distances, as maps
    Raw,
    /// Boxes and scores at all locations
    Boxes,
    /// The detections after thresholds and suppression
    Detections,
}

impl OnnxArgs {
    /// The first of these flags that was given.
    fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--outputs", self.outputs.is_some()),
            ("--normalized-input", self.normalized_input),
            ("--image-size", self.image_size.is_some()),
            ("--batch-size", self.batch_size.is_some()),
        ];
        flags
            .into_iter()
            .find_map(|(flag, given)| given.then_some(flag))
    }

    fn config(&self, half: bool) -> OnnxConfig {
        let outputs = match self.outputs {
            Some(OnnxOutputs::Raw) => onnx::Outputs::Raw,
            Some(OnnxOutputs::Boxes) => onnx::Outputs::Boxes,
            Some(OnnxOutputs::Detections) | None => onnx::Outputs::Detections,
        };
        let pixels = match self.normalized_input {
            true => onnx::Pixels::Normalized,
            false => onnx::Pixels::RgbBytes,
        };
        let weights = match half {
            true => onnx::WeightFormat::F16,
            false => onnx::WeightFormat::F32,
        };
        let size = (self.image_size).map(|(width, height)| [height as usize, width as usize]);
        OnnxConfig::default()
            .with_outputs(outputs)
            .with_pixels(pixels)
            .with_weights(weights)
            .with_image_size(size)
            .with_batch(self.batch_size.map(|size| size as usize))
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let of_onnx = args.onnx.given();
    let is_onnx = (args.output.extension()).is_some_and(|name| name.eq_ignore_ascii_case("onnx"));
    let format = args.format.unwrap_or(match is_onnx {
        true => Format::Onnx,
        false => Format::Torchvision,
    });
    match (format, of_onnx) {
        (Format::Torchvision | Format::Safetensors, Some(flag)) => {
            return Err(Error::OnlyOnnx(flag));
        }
        (Format::Torchvision, None) if args.half => return Err(Error::NotHalf),
        (Format::Torchvision | Format::Safetensors, None) => {
            let device = DeviceName::CPU.open(Precision::F32)?;
            let (model, loaded) = open(args)?.load(&device)?;
            message(loaded);
            match (format, args.half) {
                (Format::Torchvision, _) => model.export_torchvision(&args.output)?,
                (_, true) => model.export_half_safetensors(&args.output)?,
                (_, false) => model.export_safetensors(&args.output)?,
            }
        }
        (Format::Onnx, _) => {
            let file = open(args)?;
            let (detector, loaded) = Detector::from_file(file, &DeviceName::CPU, Precision::F32)?;
            message(loaded);
            onnx::export(&detector, &args.onnx.config(args.half), &args.output)?;
        }
    }
    print_paths(slice::from_ref(&args.output))?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the weights, after a look at where the file goes.
fn open(args: &Args) -> Result<DetectorFile, Error> {
    let outputs = Outputs::default().with_file("--output", Some(args.output.clone()));
    outputs.check()?;
    let file = args.weights.open()?;
    outputs.keep_weights(&file)?;
    outputs.create()?;
    Ok(file)
}
