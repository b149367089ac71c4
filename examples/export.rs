//! Writes a detector's weights for PyTorch.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use fcos_burn::train::{
    Error,
    device::{DeviceName, Precision},
    progress::tell,
};
use fcos_burn_examples::{WeightsArgs, exit, print};

/// Write a detector's weights under the names of torchvision's FCOS, as .safetensors.
///
/// load_state_dict of a torchvision FCOS with the same ResNet and number of classes
/// takes them. A detector that computes what torchvision's cannot is refused, with the
/// differences.
#[derive(Parser, Debug)]
#[command(name = "export")]
struct Cli {
    #[command(flatten)]
    weights: WeightsArgs,
    /// The file to write
    #[arg(long, value_name = "SAFETENSORS")]
    output: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let file = cli.weights.open()?;
    let device = DeviceName::CPU.open(Precision::F32)?;
    let (model, loaded) = file.load(&device)?;
    tell(loaded);
    model.export_torchvision(&cli.output)?;
    print(format_args!("{}\n", cli.output.display()))?;
    Ok(ExitCode::SUCCESS)
}
