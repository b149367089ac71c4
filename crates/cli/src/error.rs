//! The error type of commands.

use std::{io, path::PathBuf};

use fcos_burn::{data::DataError, model::WeightsError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Training failed.
    #[error(transparent)]
    Train(fcos_burn::train::Error),
    /// The weights to start from have other classes than the data.
    #[error("{0} (--new-classifier loads them without it)")]
    Classes(WeightsError),
    /// Pretrained weights could not be found or fetched.
    #[cfg(feature = "pretrained")]
    #[error(transparent)]
    Pretrained(fcos_burn_pretrained::Error),
    /// Pretrained weights must not be fetched.
    #[cfg(feature = "pretrained")]
    #[error("{0} (or leave out --offline)")]
    Offline(fcos_burn_pretrained::Error),
    /// The weights with this name are not those of a detector.
    #[cfg(feature = "pretrained")]
    #[error("{0} is only a backbone, from which `train` can start: it detects nothing")]
    OnlyBackbone(&'static str),
    /// The built-in weights are no detector of anything real.
    #[error(
        "the built-in weights know generated forms only: `train` starts from them, and its run \
         detects"
    )]
    OnlyInitial,
    /// Pretrained weights cannot be fetched.
    #[cfg(not(feature = "pretrained"))]
    #[error("{}: this program was built without the feature `pretrained`, which fetches weights by name", .0.display())]
    NoPretrained(PathBuf),
    /// The weights to start from have another backbone than the one that was chosen.
    #[error(
        "the weights in {} have the backbone {of_weights}, but {flag} chooses {chosen}: \
         leave it out, or choose weights of {chosen}",
        weights.display()
    )]
    Backbone {
        /// The weights.
        weights: PathBuf,
        /// Their backbone.
        of_weights: String,
        /// The flag that chooses another one.
        flag: &'static str,
        /// The backbone that was chosen.
        chosen: String,
    },
    /// The detector could not be loaded or used.
    #[error(transparent)]
    Detect(#[from] fcos_burn::detect::Error),
    /// The detector could not be exported to ONNX.
    #[error(transparent)]
    Onnx(#[from] fcos_burn::onnx::OnnxError),
    /// A flag was given that another format has no use for.
    #[error("{0} is for ONNX files: use it with --format onnx")]
    OnlyOnnx(&'static str),
    /// A number of bootstrap samples was given for a report of one run, which has none.
    #[error("--resamples is for the comparison of several runs")]
    NothingToResample,
    /// Weights of 16 bits for a program that reads those of 32.
    #[error("torchvision reads weights of 32 bits: use --half with --format onnx or safetensors")]
    NotHalf,
    /// Data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The detections could not be evaluated.
    #[error(transparent)]
    Evaluation(#[from] fcos_burn::eval::EvaluationError),
    /// A report could not be made.
    #[error(transparent)]
    Report(#[from] fcos_burn::report::ReportError),
    /// No file was given for the comparison of runs.
    #[error("several runs are compared in a file of their own: choose it with --output")]
    NoReportFile,
    /// A device is unavailable.
    #[error(transparent)]
    Device(#[from] fcos_burn::detect::device::DeviceError),
    /// A device of another machine was lost during a training run.
    #[error("{device}; once it is back, or on other devices, continue with --resume {}", folder.display())]
    Lost {
        /// The device and the cause.
        device: fcos_burn::detect::device::DeviceError,
        /// The run folder.
        folder: PathBuf,
    },
    /// A picture could not be written.
    #[error(transparent)]
    Plot(#[from] fcos_burn::plot::PlotError),
    /// An inspection could not be saved.
    #[cfg(feature = "inspect")]
    #[error(transparent)]
    Inspect(#[from] fcos_burn::inspect::InspectError),
    /// Devices could not be served.
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Serve(#[from] fcos_burn::detect::device::server::ServeError),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The configuration of a run has a value that is not allowed.
    #[error("{}: {error}", path.display())]
    InvalidRun {
        /// The configuration file.
        path: PathBuf,
        /// The value.
        error: Box<fcos_burn::train::Error>,
    },
    /// The data of a run is missing.
    #[error("{error} (the run's config.json names this data; if it has moved, {way})")]
    RunData {
        /// What is missing.
        error: fcos_burn::train::Error,
        /// The way to go on.
        way: &'static str,
    },
    /// Standard output could not be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// A folder that was to be resumed is not that of a training run or a search.
    #[error("{} {is}: resume it with `fcos-burn {command} --resume`", path.display())]
    OtherFolder {
        /// The folder.
        path: PathBuf,
        /// What it is.
        is: &'static str,
        /// The command that resumes it.
        command: &'static str,
    },
    /// An input is a video, which comes through standard input.
    #[error(
        "{} is a video: pass it to standard input, with --input - instead of its name",
        .0.display()
    )]
    VideoFile(PathBuf),
    /// Initial weights are set as a field, but the model has to be theirs.
    #[error("initial_weights is not set by --set, but by --weights or --from-scratch")]
    WeightsBySet,
    /// The detections of a run cannot be examined, and it has a report.
    #[error(
        "{} stays as it is, since a new one would have no pictures ({cause}); to write one, name a file with --output",
        path.display()
    )]
    KeptReport {
        /// The report.
        path: PathBuf,
        /// Why the detections cannot be examined.
        cause: String,
    },
    /// A folder or pattern has no images.
    #[error("{} has no images{left_out}", input.display())]
    NoImages {
        /// The folder or pattern.
        input: PathBuf,
        /// Which images it has that are left out, as the rest of the message.
        left_out: String,
    },
    /// The pattern of an input is malformed, and no file has this name.
    #[error("{pattern} is not a file, and is not a valid pattern: {cause}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Nothing says where the pictures go.
    #[error("choose a folder for the pictures (--output), or write none (--no-pictures)")]
    NoOutput,
    /// Standard input was named beside other inputs.
    #[error("a video from standard input (-) has to be the only input")]
    VideoAmongInputs,
    /// A flag was given that a video has no use for.
    #[error("{0} is not possible for a video from standard input")]
    NotForVideo(&'static str),
    /// A video would be written to a terminal.
    #[error(
        "standard output is a terminal: pipe the video to a player or a file, or write none (--no-pictures)"
    )]
    VideoToTerminal,
    /// Detections would be written between the frames of a video.
    #[error(
        "standard output has the video: write detections to another place, or no video (--no-pictures)"
    )]
    LinesAmongFrames,
    /// The secret of a server is not text.
    #[error(transparent)]
    Token(#[from] fcos_burn::detect::device::TokenError),
    /// Two outputs have one place.
    #[error("{} is the place of {flag} and of {other}: choose different ones", path.display())]
    SameOutput {
        /// The place.
        path: PathBuf,
        /// The flag that chose it.
        flag: &'static str,
        /// The other flag.
        other: &'static str,
    },
    /// A folder is in the place of a file.
    #[error("{} is a folder: choose a file for {flag}", path.display())]
    OutputIsFolder {
        /// The folder.
        path: PathBuf,
        /// The flag that chose it.
        flag: &'static str,
    },
    /// A file is in the place of a folder.
    #[error("{} is a file: choose a folder for {flag}", path.display())]
    OutputIsFile {
        /// The file.
        path: PathBuf,
        /// The flag that chose it.
        flag: &'static str,
    },
    /// The folder of an output file cannot be created or written.
    #[error("{} cannot be written: {cause}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What is wrong with its folder.
        cause: Box<Error>,
    },
    /// An output would replace an input.
    #[error("{} is {what}, which {flag} would replace: choose another place", path.display())]
    ReplacesInput {
        /// The output.
        path: PathBuf,
        /// The flag that chose it.
        flag: &'static str,
        /// What is there.
        what: &'static str,
    },
    /// An output would overwrite images.
    #[error("{} is among the images, or contains them: choose another folder or file for {flag}", path.display())]
    OutputIsInput {
        /// The output.
        path: PathBuf,
        /// The flag that chose it.
        flag: &'static str,
    },
    /// A share of several splits was asked for.
    #[error("--val-share divides one split, but {data} has {splits}: choose it with --split")]
    SeveralSplits {
        /// The data set.
        data: String,
        /// The names of its splits.
        splits: String,
    },
    /// The data set would be written into the one that is read.
    #[error("{} is inside the data folder: choose another folder for the new data set (--output)", .0.display())]
    OutputInData(PathBuf),
    /// No data was given, and the weights do not belong to a run.
    #[error("{} does not belong to a run: choose the data to evaluate on with --data", .0.display())]
    NoData(PathBuf),
}

impl From<fcos_burn::train::Error> for Error {
    fn from(error: fcos_burn::train::Error) -> Self {
        match error {
            fcos_burn::train::Error::Weights(error @ WeightsError::Classes { .. }) => {
                Self::Classes(error)
            }
            error => Self::Train(error),
        }
    }
}

#[cfg(feature = "pretrained")]
impl From<fcos_burn_pretrained::Error> for Error {
    fn from(error: fcos_burn_pretrained::Error) -> Self {
        use fcos_burn_pretrained::Error::{Corrupt, Offline};

        match error {
            error @ (Offline { .. } | Corrupt { .. }) => Self::Offline(error),
            error => Self::Pretrained(error),
        }
    }
}

impl Error {
    /// Whether it names a device that was lost.
    pub fn is_lost_device(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::Device(fcos_burn::detect::device::DeviceError::Lost { .. })
        )
    }

    /// The error of data that a run names. If it is not there, it may be elsewhere: `way` says what to do then.
    pub fn of_run_data(error: fcos_burn::train::Error, way: &'static str) -> Self {
        use fcos_burn::train::Error::Data;
        match error {
            Data(DataError::MissingFolder { .. }) => Self::RunData { error, way },
            Data(DataError::Io { ref source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::RunData { error, way }
            }
            error => error.into(),
        }
    }

    /// Adds the file or folder to an I/O error.
    pub fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
