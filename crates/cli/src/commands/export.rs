//! `fcos-burn export`.

use std::{path::PathBuf, process::ExitCode};

use fcos_burn::detect::device::{DeviceName, Precision};
use fcos_burn_cli::{
    Error,
    args::WeightsArgs,
    terminal::{message, print},
};

/// Write a detector's weights under the names of torchvision's FCOS, as .safetensors.
///
/// load_state_dict of a torchvision FCOS with the same ResNet and number of classes
/// takes them. A detector that computes what torchvision's cannot is refused, with the
/// differences.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// The file to write
    #[arg(long, value_name = "SAFETENSORS")]
    output: PathBuf,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let file = args.weights.open()?;
    let device = DeviceName::CPU.open(Precision::F32)?;
    let (model, loaded) = file.load(&device)?;
    message(loaded);
    model.export_torchvision(&args.output)?;
    print(format_args!("{}\n", args.output.display()))?;
    Ok(ExitCode::SUCCESS)
}
