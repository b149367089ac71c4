//! Trains a detector and writes its run folder.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use fcos_burn::train::{
    Error, Interrupter, Outcome, RunConfig, config::Keep, progress::tell, resume, train,
};
use fcos_burn_examples::{StopSignal, TrainingArgs, exit, print};

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
        "box_loss", "image_size", "short_side", "epochs", "batch_size", "lr", "lr_decay", "average_decay", "workers", "seed", "weights", "improved_fcos",
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
    let signal = StopSignal::watch(interrupter.clone());
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
            let weights = cli.training.initial_weights();
            let folder = match &cli.output {
                Some(folder) => folder.clone(),
                None => free_folder(&config)?,
            };
            let outcome = train(config, &folder, weights.as_ref(), interrupter);
            if outcome.is_err() && cli.output.is_none() {
                // Where nothing came of the run, its name is free again: only an empty
                // folder can be removed.
                let _ = fs::remove_dir(&folder);
            }
            (folder, outcome?)
        }
    };
    match outcome {
        Outcome::Finished(evaluation) => {
            tell(format_args!("run folder: {}", folder.display()));
            print(evaluation.table())?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted => {
            let folder = folder.display();
            tell(format_args!("interrupted: go on with --resume {folder}"));
            Ok(signal.exit_code())
        }
    }
}

/// Makes the first folder under `runs` after the data's name that is still free.
fn free_folder(config: &RunConfig) -> Result<PathBuf, Error> {
    let runs = Path::new("runs");
    fs::create_dir_all(runs).map_err(Error::io(runs))?;
    let name = config.data.source.name();
    let mut folder = runs.join(&name);
    let mut number = 1;
    loop {
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io(&folder)(error)),
        }
        folder = runs.join(format!("{name}-{number}"));
    }
}
