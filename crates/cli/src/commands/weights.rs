//! `fcos-burn weights`.

use std::{fmt::Write, process::ExitCode};

use fcos_burn_cli::{
    Error,
    args::NamedWeightsArgs,
    pretrained::{file, megabytes, options},
    terminal::print,
};
use fcos_burn_pretrained::{Network, Options, PretrainedWeights, State, WEIGHTS, find, state};

/// List pretrained weights, or fetch them.
///
/// `train`, `evaluate`, `detect` and `export` take these names with --weights, and fetch what is not
/// in the cache folder. The environment variable FCOS_BURN_CACHE sets the cache folder,
/// FCOS_BURN_MIRROR an address to fetch from instead of PyTorch's.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Fetch these weights and print the paths of their files
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    named: NamedWeightsArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let options = options(args.named.offline)?;
    if args.names.is_empty() {
        print(table(&options))?;
        return Ok(ExitCode::SUCCESS);
    }
    // A wrong name fails before anything is fetched.
    let chosen: Result<Vec<_>, _> = args.names.iter().map(|name| find(name)).collect();
    for weights in chosen? {
        print(format_args!("{}\n", file(weights, &options)?.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(options: &Options) -> String {
    let mut table = row(["name", "network", "trained on", "MB", "license", "cached"]);
    for weights in WEIGHTS {
        table += &row([
            weights.name,
            match weights.network {
                Network::Detector => "detector",
                _ => "backbone",
            },
            &format!("{}, {}", weights.trained_on, weights.accuracy),
            &megabytes(weights.size),
            weights.license,
            &cached(weights, options),
        ]);
    }
    let _ = writeln!(
        table,
        "\nThe license is that of the project; the terms of the data set may apply, too.\n\
         cache folder: {}",
        options.folder.display()
    );
    table
}

fn row([name, network, trained_on, size, license, cached]: [&str; 6]) -> String {
    format!("{name:<29}  {network:<8}  {trained_on:<21}  {size:>5}  {license:<12}  {cached}\n")
}

fn cached(weights: &PretrainedWeights, options: &Options) -> String {
    match state(weights, options) {
        State::Cached => "yes".to_owned(),
        State::Partial(bytes) => format!("{} MB", megabytes(bytes)),
        _ => "no".to_owned(),
    }
}
