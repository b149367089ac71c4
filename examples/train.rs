//! Trains a detector and writes its run folder.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use fcos_burn::train::{Error, Interrupter, Outcome, RunConfig, config::Keep, resume, train};
use fcos_burn_examples::{TrainingArgs, exit, stop_on_ctrl_c};

/// Train an FCOS detector with the association loss.
///
/// A preset gives all values; --weights, --config and flags change some, in this
/// order. Progress goes to standard error, the kept epoch's table to standard output.
#[derive(Parser, Debug)]
#[command(name = "train")]
struct Cli {
    #[command(flatten)]
    training: TrainingArgs,
    /// Which epoch's weights to keep as the run's: best by AP of the validation split, or
    /// last [default: best]
    #[arg(long, value_enum)]
    keep: Option<KeptEpoch>,
    /// Folder of the run [default: runs/NAME after the data]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run in this folder; only --device or --devices can change
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "data", "train_images", "train_split", "val_split", "strict", "config", "backbone", "association",
        "beta", "k", "association_score", "association_ramp", "classification_loss", "centerness",
        "box_loss", "image_size", "short_side", "epochs", "batch_size", "lr", "workers", "seed", "weights", "improved_fcos",
        "new_classifier", "accumulate", "gradient_checkpointing", "precision", "keep", "output",
    ])]
    resume: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeptEpoch {
    Best,
    Last,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let interrupter = Interrupter::new();
    stop_on_ctrl_c(interrupter.clone());
    let (folder, outcome) = match &cli.resume {
        Some(folder) => (
            folder.clone(),
            resume(folder, cli.training.devices(), interrupter)?,
        ),
        None => {
            let mut config = cli.training.config()?;
            match cli.keep {
                Some(KeptEpoch::Best) => config.keep = Keep::Best,
                Some(KeptEpoch::Last) => config.keep = Keep::Last,
                None => {}
            }
            let folder = match &cli.output {
                Some(folder) => folder.clone(),
                None => free_folder(&config),
            };
            let weights = cli.training.initial_weights();
            let outcome = train(config, &folder, weights.as_ref(), interrupter)?;
            (folder, outcome)
        }
    };
    match outcome {
        Outcome::Finished(evaluation) => {
            print!("{}", evaluation.table());
            eprintln!("run folder: {}", folder.display());
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted => {
            eprintln!("interrupted: go on with --resume {}", folder.display());
            Ok(ExitCode::from(130))
        }
    }
}

/// The first folder under `runs` after the data's name that is still free.
fn free_folder(config: &RunConfig) -> PathBuf {
    let name = config.data.source.name();
    let folder = |suffix: String| Path::new("runs").join(format!("{name}{suffix}"));
    std::iter::once(folder(String::new()))
        .chain((2..).map(|number| folder(format!("-{number}"))))
        .find(|folder| !folder.exists())
        .unwrap_or_else(|| folder(String::new()))
}
