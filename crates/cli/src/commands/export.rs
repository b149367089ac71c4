//! `fcos-burn export`.

use std::{path::PathBuf, process::ExitCode};

use fcos_burn::detect::device::{DeviceName, Precision};
use fcos_burn_cli::{
    Error,
    args::WeightsArgs,
    terminal::{message, print},
};

/// Export a detector's weights for torchvision's FCOS, as .safetensors.
///
/// Load them with load_state_dict into a torchvision FCOS with the same ResNet and number of
/// classes. Fails with a list of differences if torchvision's FCOS cannot compute the same.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Write the weights to this file
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
