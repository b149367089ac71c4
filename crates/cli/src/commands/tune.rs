//! `fcos-burn tune`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use fcos_burn::data::transforms::AugmentationStrength;
use fcos_burn::train::{
    Interrupter, RunFolder,
    tuning::{SearchSpace, SuccessiveHalving, Tuner, TuningConfig, TuningEvent, TuningOutcome},
};
use fcos_burn_cli::{
    Error, StopSignal,
    args::{FIXED_BY_RUN, TrainingArgs, check_devices, output_path, parse_count, parse_seconds},
    outputs::{NewFolder, Outputs},
    terminal::{message, print},
};
use log::LevelFilter;

/// Search for hyperparameters: train with random values, and stop poor trials early.
///
/// Trials vary the configuration that the preset, --weights, --config and the flags give, as those of `train` do.
/// config.json in the output folder is the configuration of the best one, for `train --config`. The table of all trials
/// goes to standard output, progress to standard error.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    training: TrainingArgs,
    /// Train this many trials [default: 20]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    trials: Option<usize>,
    /// Draw these values, instead of learning rate, weight decay, association loss, image size and augmentation around
    /// those of the configuration: a JSON file such as {"optimization.learning_rate": {"log_uniform": [0.0005, 0.01]}}
    #[arg(long, value_name = "JSON")]
    space: Option<PathBuf>,
    /// Let the best 1/N of the trials continue after 1, N, N², … epochs; 1 stops no trial [default: 3]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    reduction: Option<usize>,
    /// Stop after the epoch in which all trials together have taken this long. A resumed search counts from its start
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    seconds: Option<f64>,
    /// Write the search to this folder
    #[arg(long, value_name = "DIR", value_parser = output_path(), required_unless_present = "resume")]
    output: Option<PathBuf>,
    /// Resume the search in this folder; only --trials, --seconds, --device and --devices can be changed
    #[arg(long, value_name = "DIR", conflicts_with_all = FIXED_BY_RUN, conflicts_with_all = ["epochs", "space", "reduction", "output"])]
    resume: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let (tuner, folder) = match (&args.resume, &args.output) {
        (Some(folder), _) => (resume(args, folder)?, folder),
        (None, Some(folder)) => {
            let new = NewFolder::at(folder);
            let tuner = create(args, folder).inspect_err(|_| new.remove_if_empty());
            (tuner?, folder)
        }
        // clap requires one of both.
        (None, None) => return Ok(ExitCode::FAILURE),
    };
    let tuner = match args.seconds {
        Some(seconds) => tuner.with_seconds(seconds),
        None => tuner,
    };
    let interrupter = Interrupter::new();
    let signal = StopSignal::watch(interrupter.clone());
    let mut tuner = tuner.with_interrupter(interrupter);
    let outcome = tuner.run(|event| {
        // The first trial logs the data and the weights, which are the same for all.
        if matches!(event, TuningEvent::Epoch { .. } | TuningEvent::Ended(_)) {
            log::set_max_level(LevelFilter::Warn);
        }
        message(event);
    })?;
    let place = folder.display();
    print(tuner.table())?;
    if tuner.best().is_some() {
        message(format_args!(
            "configuration of the best trial: {place}/config.json"
        ));
    }
    match outcome {
        TuningOutcome::Interrupted => {
            message(format_args!("interrupted: resume with --resume {place}"));
            return Ok(signal.exit_code());
        }
        TuningOutcome::OutOfTime => {
            message(format_args!(
                "the time is over: continue with --resume {place}"
            ));
        }
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: &Args, folder: &Path) -> Result<Tuner, Error> {
    let file = |name| Some(folder.join(name));
    let outputs = Outputs::default()
        .with_tree("--output", Some(folder.to_owned()))
        .with_file("--output", file("config.json"))
        .with_file("--output", file("base.json"))
        .with_file("--output", file("tuning.json"))
        .with_file("--output", file("tuning.md"));
    outputs.check()?;
    let read = [args.training.config_file(), args.space.as_deref()];
    outputs.keep(read.into_iter().flatten())?;
    let mut base = args.training.config()?;
    outputs.create()?;
    check_devices(&base.devices, base.precision)?;
    let names_augmentation =
        (base.augment).is_some_and(|strength| strength != AugmentationStrength::Auto);
    // The space is around the steps of the augmentation.
    base.resolve_by_data()?;
    let mut search = TuningConfig::around(&base);
    if names_augmentation {
        search.space.remove("input.augmentation");
    }
    if let Some(trials) = args.trials {
        search = search.with_trials(trials);
    }
    if let Some(path) = &args.space {
        search = search.with_space(SearchSpace::read(path)?);
    }
    if let Some(factor) = args.reduction {
        search = search.with_halving(SuccessiveHalving::default().with_factor(factor));
    }
    Ok(Tuner::create(folder, base, search)?)
}

fn resume(args: &Args, folder: &Path) -> Result<Tuner, Error> {
    if !Tuner::is_search(folder) && RunFolder::open(folder).is_ok() {
        return Err(Error::OtherFolder {
            path: folder.to_owned(),
            is: "is the folder of a training run",
            command: "train",
        });
    }
    let mut tuner = Tuner::open(folder)?;
    if let Some(trials) = args.trials {
        tuner = tuner.with_trials(trials)?;
    }
    if let Some(devices) = args.training.devices() {
        check_devices(&devices, tuner.base().precision)?;
        tuner = tuner.with_devices(devices);
    }
    Ok(tuner)
}
