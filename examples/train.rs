//! Trains a detector and writes its run folder.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use clap::{Parser, ValueEnum};
use fcos_burn::{
    data::transforms::Resize,
    loss::{AssociationLoss, BoxLoss},
    model::{head::CenternessBranch, resnet::ResNetDepth},
    train::{
        DetectorFile, Error, InitialWeights, Interrupter, Outcome, RunConfig, config::Duration,
        device::DeviceName, resume, train,
    },
};
use fcos_burn_examples::{DataArgs, DeviceArgs, exit};

/// Train an FCOS detector with the association loss.
///
/// A preset gives all values; --weights, --config and flags change some, in this
/// order. Progress goes to standard error, the best epoch's table to standard output.
#[derive(Parser, Debug)]
#[command(name = "train")]
struct Cli {
    #[command(flatten)]
    data: DataArgs,
    /// Split to train on [default: train]
    #[arg(long, value_name = "NAME")]
    train_split: Option<String>,
    /// Split to validate on [default: val, or test]
    #[arg(long, value_name = "NAME")]
    val_split: Option<String>,
    /// The values to start from: small trains from scratch on a CPU in minutes,
    /// paper is the paper's
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    /// JSON file with values to change, as in a run's config.json
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
    /// Backbone as published [default: small: resnet18 of half the width, paper:
    /// resnet50]
    #[arg(long, value_enum)]
    backbone: Option<Backbone>,
    /// Association loss [default: small: pse, paper: none]
    #[arg(long, value_enum)]
    association: Option<Association>,
    /// Weight of the association loss [default: 1]
    #[arg(long, value_name = "BETA", value_parser = parse_non_negative, allow_negative_numbers = true)]
    beta: Option<f64>,
    /// Slope between score and IoU in the association loss [default: 1]
    #[arg(long, value_name = "K", value_parser = parse_positive, allow_negative_numbers = true)]
    k: Option<f64>,
    /// Train a centre-ness branch, on the tower named [default: no branch]
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "classification")]
    centerness: Option<Centerness>,
    /// Box loss: iou, iou-plus-one, linear-iou, giou, diou or ciou
    /// [default: small: giou, paper: iou-plus-one]
    #[arg(long, value_name = "NAME")]
    box_loss: Option<BoxLoss>,
    /// Resize every image to this size
    #[arg(long, value_name = "WxH", value_parser = parse_size, conflicts_with_all = ["short_side", "long_side"])]
    image_size: Option<(u32, u32)>,
    /// Resize the shorter side to this
    #[arg(long, value_name = "PIXELS", requires = "long_side", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    short_side: Option<u32>,
    /// Upper bound of the longer side
    #[arg(long, value_name = "PIXELS", requires = "short_side", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    long_side: Option<u32>,
    /// Passes over the training split [default: small: 4, paper: 90,000 iterations]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    epochs: Option<usize>,
    /// Images in a batch [default: small: 8, paper: 16]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    batch_size: Option<usize>,
    /// Learning rate after the warm-up [default: small: 0.001, paper: 0.01]
    #[arg(long, value_name = "RATE", value_parser = parse_positive, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Threads that load images [default: small: 1, paper: 2]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Seed of all random numbers [default: 0]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Weights to start from, and the model that they are of: a run's folder, or a file
    /// of this project, of torchvision's FCOS or ResNets, or of the original FCOS code
    #[arg(long, value_name = "RUN|FILE")]
    weights: Option<PathBuf>,
    /// The weights are of an improved (imprv) model of the original FCOS code, whose
    /// files look like the others'
    #[arg(long, requires = "weights")]
    improved_fcos: bool,
    /// Start with a new classifier, for other classes than the weights are for
    #[arg(long, requires = "weights")]
    new_classifier: bool,
    /// Devices that share every batch, such as cuda:0,cuda:1; the same one may come
    /// several times [default: small: cpu,cpu, paper: cpu]
    #[arg(
        long,
        value_name = "DEVICE,…",
        value_delimiter = ',',
        conflicts_with = "device"
    )]
    devices: Option<Vec<DeviceName>>,
    /// Compute each device's share of a batch in N steps, to save memory
    #[arg(long, value_name = "N", value_parser = parse_count)]
    accumulate: Option<usize>,
    /// Compute again in the backward pass what is cheap to compute, to save memory
    #[arg(long)]
    gradient_checkpointing: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Folder of the run [default: runs/NAME after the data]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run in this folder; only --device or --devices can change
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "data", "train_images", "train_split", "val_split", "config", "backbone", "association",
        "beta", "k", "centerness", "box_loss", "image_size", "short_side", "epochs", "batch_size",
        "lr", "workers", "seed", "weights", "improved_fcos",
        "new_classifier", "accumulate", "gradient_checkpointing", "precision", "output",
    ])]
    resume: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    Small,
    Paper,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
enum Backbone {
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Association {
    None,
    Pse,
    Pce,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Centerness {
    Classification,
    Regression,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let interrupter = Interrupter::new();
    stop_on_ctrl_c(interrupter.clone());
    let (folder, outcome) = match &cli.resume {
        Some(folder) => (folder.clone(), resume(folder, cli.devices(), interrupter)?),
        None => {
            let config = cli.run_config()?;
            let folder = match &cli.output {
                Some(folder) => folder.clone(),
                None => free_folder(&config),
            };
            let weights = cli.weights.clone().map(match cli.new_classifier {
                true => InitialWeights::Body,
                false => InitialWeights::All,
            });
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
            eprintln!(
                "interrupted: go on after the last whole epoch with --resume {}",
                folder.display()
            );
            Ok(ExitCode::from(130))
        }
    }
}

impl Cli {
    fn run_config(&self) -> Result<RunConfig, Error> {
        let mut config = match self.preset {
            Preset::Small => RunConfig::small(),
            Preset::Paper => RunConfig::paper(),
        };
        if let Some(weights) = &self.weights {
            config = match self.improved_fcos {
                true => config.with_model(DetectorFile::open(weights)?.improved_fcos()?),
                false => config.with_model_of(weights)?,
            };
        }
        if let Some(path) = &self.config {
            config = config.merge_file(path)?;
        }
        let (train_split, val_split) = (self.train_split.as_deref(), self.val_split.as_deref());
        if let Some(data) = self.data.config(train_split, val_split)? {
            config.data = data;
        }
        if let Some(backbone) = self.backbone {
            config.model.backbone.width = 64;
            config.model.backbone.depth = match backbone {
                Backbone::ResNet18 => ResNetDepth::ResNet18,
                Backbone::ResNet34 => ResNetDepth::ResNet34,
                Backbone::ResNet50 => ResNetDepth::ResNet50,
                Backbone::ResNet101 => ResNetDepth::ResNet101,
            };
        }
        self.set_association(&mut config);
        if let Some(branch) = self.centerness {
            config.model.head.centerness = Some(match branch {
                Centerness::Classification => CenternessBranch::Classification,
                Centerness::Regression => CenternessBranch::Regression,
            });
        }
        if let Some(box_loss) = self.box_loss {
            config.objective.box_loss = box_loss;
        }
        if let Some((width, height)) = self.image_size {
            config.input.resize = Resize::Fixed { width, height };
        }
        if let (Some(short), Some(long)) = (self.short_side, self.long_side) {
            config.input.resize = Resize::ShortSide { short, long };
        }
        if let Some(epochs) = self.epochs {
            config.duration = Duration::Epochs(epochs);
        }
        if let Some(batch_size) = self.batch_size {
            config.batch_size = batch_size;
        }
        if let Some(rate) = self.lr {
            config.optimization.learning_rate = rate;
        }
        if let Some(workers) = self.workers {
            config.workers = workers;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
        }
        if let Some(devices) = self.devices() {
            config.devices = devices;
        }
        if let Some(steps) = self.accumulate {
            config.accumulate = steps;
        }
        config.gradient_checkpointing |= self.gradient_checkpointing;
        if let Some(precision) = self.device.precision {
            config.precision = precision;
        }
        Ok(config)
    }

    fn devices(&self) -> Option<Vec<DeviceName>> {
        let one = self.device.device.clone().map(|device| vec![device]);
        self.devices.clone().or(one)
    }

    fn set_association(&self, config: &mut RunConfig) {
        let association = &mut config.objective.association;
        match self.association {
            Some(Association::None) => *association = None,
            Some(Association::Pse) => {
                *association = Some(AssociationLoss::Pse { beta: 1.0, k: 1.0 });
            }
            Some(Association::Pce) => {
                *association = Some(AssociationLoss::Pce { beta: 1.0, k: 1.0 });
            }
            None => {}
        }
        if let Some(AssociationLoss::Pse { beta, k } | AssociationLoss::Pce { beta, k }) =
            association
        {
            *beta = self.beta.unwrap_or(*beta);
            *k = self.k.unwrap_or(*k);
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

/// The first Ctrl-C ends the training after its iteration, the second at once.
fn stop_on_ctrl_c(interrupter: Interrupter) {
    let asked = AtomicBool::new(false);
    let handler = move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("stopping after this iteration; Ctrl-C again stops at once");
        interrupter.stop(Some("Ctrl-C"));
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C will not end the training cleanly: {error}");
    }
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=32_768).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| "expected WIDTHxHEIGHT in pixels, such as 256x192".to_owned())
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

fn parse_positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value > 0.0)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

fn parse_non_negative(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| "expected a number of at least 0".to_owned())
}
