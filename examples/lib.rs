//! What the command lines share.

pub mod benchmark;
pub mod reproduction;
mod signals;
mod training_args;

use std::{ffi::OsStr, fmt::Display, io::Write, path::PathBuf, process::ExitCode};

use clap::{Arg, Args, Command, builder::TypedValueParser};
use fcos_burn::{
    data::shapes::ShapesConfig,
    train::{
        DetectorFile, Error,
        config::DataConfig,
        device::{DeviceName, Precision, available},
        progress::tell,
    },
};

pub use signals::StopSignal;
pub use training_args::TrainingArgs;

/// Where the data is.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// `shapes`, the built-in set, or a folder in COCO, VOC or YOLO layout
    /// [default: shapes]
    #[arg(long, value_name = "shapes|DIR")]
    data: Option<PathBuf>,
    /// Folder of the training images, with annotations in a COCO file
    #[arg(long, value_name = "DIR", conflicts_with = "data", requires_all = ["train_annotations", "val_images", "val_annotations"])]
    train_images: Option<PathBuf>,
    /// COCO annotations of the training images
    #[arg(long, value_name = "JSON", requires = "train_images")]
    train_annotations: Option<PathBuf>,
    /// Folder of the validation images
    #[arg(long, value_name = "DIR", requires = "train_images")]
    val_images: Option<PathBuf>,
    /// COCO annotations of the validation images
    #[arg(long, value_name = "JSON", requires = "train_images")]
    val_annotations: Option<PathBuf>,
}

impl DataArgs {
    /// The data that the flags name, if they name any.
    ///
    /// # Errors
    ///
    /// Fails if a folder is no data set or lacks a split.
    pub fn config(
        &self,
        train_split: Option<&str>,
        val_split: Option<&str>,
    ) -> Result<Option<DataConfig>, Error> {
        if let (
            Some(train_images),
            Some(train_annotations),
            Some(val_images),
            Some(val_annotations),
        ) = (
            &self.train_images,
            &self.train_annotations,
            &self.val_images,
            &self.val_annotations,
        ) {
            return Ok(Some(DataConfig::coco(
                train_images.clone(),
                train_annotations.clone(),
                val_images.clone(),
                val_annotations.clone(),
            )));
        }
        match &self.data {
            None => Ok(None),
            Some(name) if name.as_os_str() == "shapes" => {
                Ok(Some(DataConfig::shapes(ShapesConfig::default())))
            }
            Some(dir) => DataConfig::folder(dir, train_split, val_split).map(Some),
        }
    }
}

/// Which detector.
#[derive(Args, Clone, Debug)]
pub struct WeightsArgs {
    /// A run's folder or its model.bpk, or a file of torchvision's FCOS or the original
    /// FCOS code, .pth or .safetensors
    #[arg(long, value_name = "RUN|FILE")]
    pub weights: PathBuf,
    /// The weights are of an improved (imprv) model of the original FCOS code, whose
    /// files look like the others'
    #[arg(long)]
    pub improved_fcos: bool,
}

impl WeightsArgs {
    /// Finds out what the weights are of.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or are of something else than said.
    pub fn open(&self) -> Result<DetectorFile, Error> {
        let file = DetectorFile::open(&self.weights)?;
        match self.improved_fcos {
            true => file.improved_fcos(),
            false => Ok(file),
        }
    }
}

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// cpu, cuda, wgpu or vulkan, cuda:1 for a certain one, ws://HOST:PORT for one of
    /// a Burn server; list tells what there is [default: cpu]
    #[arg(long, value_name = "DEVICE|list", value_parser = DeviceParser)]
    pub device: Option<DeviceName>,
    /// Number format of activations: f32, bf16 or f16 [default: f32]
    #[arg(long, value_name = "FORMAT", value_parser = parse_precision)]
    pub precision: Option<Precision>,
}

impl DeviceArgs {
    /// The device and the format, or their defaults.
    pub fn resolve(&self) -> (DeviceName, Precision) {
        (
            self.device.clone().unwrap_or(DeviceName::CPU),
            self.precision.unwrap_or_default(),
        )
    }
}

/// Takes a device's name. `list` ends the command as `--help` does, whatever else it
/// lacks, with the devices that were found.
#[derive(Clone, Debug)]
pub struct DeviceParser;

impl TypedValueParser for DeviceParser {
    type Value = DeviceName;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<DeviceName, clap::Error> {
        if value == "list" {
            // As an error of clap's it would be printed as one.
            let list: String = available().iter().map(ToString::to_string).collect();
            let written = std::io::stdout().write_all(list.as_bytes());
            std::process::exit(i32::from(written.is_err()));
        }
        let parse = |text: &str| text.parse::<DeviceName>();
        parse.parse_ref(command, argument, value)
    }
}

fn parse_precision(text: &str) -> Result<Precision, String> {
    match text {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        "f16" => Ok(Precision::F16),
        _ => Err("expected f32, bf16 or f16".to_owned()),
    }
}

/// Writes what a command was asked for to standard output.
///
/// # Errors
///
/// Fails if it cannot be written, as where nobody reads any more.
pub fn print(text: impl Display) -> Result<(), Error> {
    let mut out = std::io::stdout();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(Error::io("standard output".as_ref()))
}

/// Ends a command: 1 with one line on standard error if it failed.
pub fn exit(result: Result<ExitCode, Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        tell(format_args!("error: {error}"));
        ExitCode::FAILURE
    })
}
