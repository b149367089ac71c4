//! `fcos-burn train`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[cfg(feature = "tui")]
use std::io::IsTerminal;

use clap::ValueEnum;
use fcos_burn::{
    detect::device::DeviceError,
    eval::EvaluationReport,
    train::{
        InitialWeights, Interrupter, Outcome, RunConfig, RunFolder, Trainer, config::Keep,
        training::LineRenderer, tuning::Tuner,
    },
};
use fcos_burn_cli::{
    Error, StopSignal,
    args::{FIXED_BY_RUN, TrainingArgs, check_devices, output_path},
    outputs::{NewFolder, Outputs},
    terminal::{message, print},
};

/// Train an FCOS detector with the association loss.
///
/// The preset sets all values; --weights, --config and flags override them, in this order. Progress
/// goes to standard error, the tables of the kept epoch to standard output.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    training: TrainingArgs,
    /// Keep the weights of this epoch: the best by AP on the validation split, or the last
    /// [default: best]
    #[arg(long, value_enum)]
    keep: Option<KeptEpoch>,
    /// Write the run to this folder [default: runs/NAME, named after the data]
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    output: Option<PathBuf>,
    /// Also write event files for TensorBoard, to `tensorboard` in the run folder. A resumed run that has some writes
    /// them in any case
    #[arg(long)]
    tensorboard: bool,
    /// Resume the run in this folder; only --device, --devices and --epochs can be changed, and --tensorboard
    /// added. --epochs counts from the start of the run, and continues a finished one
    #[arg(long, value_name = "DIR", conflicts_with_all = FIXED_BY_RUN, conflicts_with_all = ["keep", "output"])]
    resume: Option<PathBuf>,
}

impl Args {
    fn outputs(&self) -> Outputs {
        Outputs::default().with_tree("--output", self.output.clone())
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeptEpoch {
    Best,
    Last,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let ((folder, outcome), signal) = match &args.resume {
        Some(folder) => {
            let (trainer, signal) = trainer(args);
            ((folder.clone(), resume(args, trainer, folder)?), signal)
        }
        None => {
            args.outputs().check()?;
            // While weights are fetched, Ctrl-C ends the program.
            let config = configure(args)?;
            let (trainer, signal) = trainer(args);
            (train(args, trainer, config)?, signal)
        }
    };
    match outcome {
        Outcome::Finished(evaluation) => {
            message(format_args!("run folder: {}", folder.display()));
            let folder = RunFolder::open(&folder)?;
            if folder.report_path().exists() {
                message(format_args!("report: {}", folder.report_path().display()));
            }
            match folder.read_analysis()? {
                Some(analysis) => print(EvaluationReport::new(&evaluation, &analysis))?,
                None => print(evaluation.table())?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted => {
            let folder = folder.display();
            message(format_args!("interrupted: resume with --resume {folder}"));
            Ok(signal.exit_code())
        }
    }
}

/// A trainer that stops at signals.
fn trainer(args: &Args) -> (Trainer, StopSignal) {
    let interrupter = Interrupter::new();
    let signal = StopSignal::watch(interrupter.clone());
    let trainer = with_display(Trainer::new().with_interrupter(interrupter));
    match args.tensorboard {
        true => (trainer.with_tensorboard(), signal),
        false => (trainer, signal),
    }
}

/// Shows progress on burn-train's dashboard on a terminal, as lines of text elsewhere.
fn with_display(trainer: Trainer) -> Trainer {
    #[cfg(feature = "tui")]
    if has_dashboard() {
        #[cfg(unix)]
        if let Err(error) = fcos_burn_cli::dashboard::keep_interrupt_key() {
            message(format_args!(
                "warning: Ctrl-C will not stop the training: {error}"
            ));
        }
        return trainer.with_dashboard();
    }
    trainer.with_renderer(Box::new(LineRenderer::new(|line| message(line))))
}

/// Whether standard output is a terminal that can show more than lines.
#[cfg(feature = "tui")]
fn has_dashboard() -> bool {
    let is_dumb = || std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && (cfg!(windows) || !is_dumb())
}

fn resume(args: &Args, mut trainer: Trainer, folder: &Path) -> Result<Outcome, Error> {
    if Tuner::is_search(folder) {
        return Err(Error::OtherFolder {
            path: folder.to_owned(),
            is: "is the folder of a search",
            command: "tune",
        });
    }
    let config: RunConfig = RunFolder::open(folder)?.read_config()?;
    let devices = args.training.devices();
    check_devices(
        devices.as_deref().unwrap_or(&config.devices),
        config.precision,
    )?;
    if let Some(devices) = devices {
        trainer = trainer.with_devices(devices);
    }
    if let Some(duration) = args.training.epochs() {
        trainer = trainer.with_duration(duration);
    }
    trainer
        .resume(folder)
        .map_err(|error| match failure(error, folder) {
            Error::Train(error) => Error::of_run_data(error, "change data.source there"),
            error => error,
        })
}

/// The configuration of a new run.
fn configure(args: &Args) -> Result<RunConfig, Error> {
    let mut config = args.training.config()?;
    match args.keep {
        Some(KeptEpoch::Best) => config.keep = Keep::Best,
        Some(KeptEpoch::Last) => config.keep = Keep::Last,
        None => {}
    }
    match &config.initial_weights {
        Some(InitialWeights::Builtin) => message(BUILTIN),
        None | Some(InitialWeights::Random) if !config.data.source.is_generated() => {
            message(format_args!("starting from random weights; {PRETRAINED}"));
        }
        _ => {}
    }
    Ok(config)
}

/// What the built-in weights are, and how to start from random ones.
const BUILTIN: &str =
    "starting from the built-in weights, trained on generated images; --from-scratch declines";

/// How to start from other than random weights.
const PRETRAINED: &str = if cfg!(feature = "pretrained") {
    "pretrained ones usually give a better detector: \
     --weights torchvision/resnet18, or another name from `fcos-burn weights`, with a lower --lr"
} else {
    "pretrained ones usually give a better detector: \
     --weights with a file of torchvision's ResNets or FCOS, with a lower --lr"
};

fn train(args: &Args, trainer: Trainer, config: RunConfig) -> Result<(PathBuf, Outcome), Error> {
    check_devices(&config.devices, config.precision)?;
    let (folder, new) = match &args.output {
        Some(folder) => {
            let new = NewFolder::at(folder);
            // Before the images are read.
            let created = args.outputs().create();
            created.inspect_err(|_| new.remove_if_empty())?;
            (folder.clone(), new)
        }
        None => {
            let runs = NewFolder::at(Path::new(RUNS));
            let folder = free_folder(&config).inspect_err(|_| runs.remove_if_empty())?;
            let new = runs.with(&folder);
            (folder, new)
        }
    };
    let outcome = trainer.train(config, &folder);
    if outcome.is_err() {
        // Frees the name if the run never started.
        new.remove_if_empty();
    }
    match outcome {
        Ok(outcome) => Ok((folder, outcome)),
        Err(error) => Err(failure(error, &folder)),
    }
}

/// The error of a training run; after the loss of a device, with the way to go on.
fn failure(error: fcos_burn::train::Error, folder: &Path) -> Error {
    match error {
        fcos_burn::train::Error::Device(device @ DeviceError::Lost { .. })
            if RunFolder::open(folder).is_ok() =>
        {
            Error::Lost {
                device,
                folder: folder.to_owned(),
            }
        }
        error => error.into(),
    }
}

/// The folder of runs without an output folder.
const RUNS: &str = "runs";

/// Creates a folder under `runs`, named after the data and numbered if the name is taken.
fn free_folder(config: &RunConfig) -> Result<PathBuf, Error> {
    let runs = Path::new(RUNS);
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
