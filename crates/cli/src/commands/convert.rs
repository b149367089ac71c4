//! `fcos-burn convert`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use fcos_burn::{
    data::{
        DataError, DataFolder, DatasetWriter, DetectionDataset, ImageTransfer, Layout, list_names,
    },
    train::config::DataSource,
};
use fcos_burn_cli::{
    Error,
    args::{generated, output_path, parse_val_share},
    outputs::create_writable,
    terminal::{message, print},
};

/// Write a data set as COCO, VOC or YOLO, for other tools.
///
/// A report of what was read and of what the layout cannot hold goes to standard error, the path of
/// the folder to standard output.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Read the built-in `shapes` or `synthetic`, or a data set in any known layout: its folder, or the
    /// file that describes it
    #[arg(long, value_name = "shapes|synthetic|DIR|FILE")]
    data: PathBuf,
    /// Layout to write
    #[arg(long, value_enum)]
    format: Format,
    /// Write to this folder, which must be empty or new
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    output: PathBuf,
    /// Write only this split; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    split: Vec<String>,
    /// Divide the only split, or that of --split, into `train` and `val`, which gets about this
    /// fraction of the images
    #[arg(long, value_name = "SHARE", value_parser = parse_val_share, allow_negative_numbers = true)]
    val_share: Option<f64>,
    #[command(flatten)]
    transfer: TransferArgs,
}

/// How image files get into the folder.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct TransferArgs {
    /// Copy images [default]
    #[arg(long)]
    copy: bool,
    /// Create hard links instead of copies; both folders must be on one file system
    #[arg(long)]
    link: bool,
    /// Create symbolic links instead of copies
    #[arg(long)]
    symlink: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Coco,
    Voc,
    Yolo,
}

impl From<Format> for Layout {
    fn from(format: Format) -> Self {
        match format {
            Format::Coco => Self::Coco,
            Format::Voc => Self::Voc,
            Format::Yolo => Self::Yolo,
        }
    }
}

impl From<&TransferArgs> for ImageTransfer {
    fn from(args: &TransferArgs) -> Self {
        match (args.copy, args.link, args.symlink) {
            (false, true, _) => Self::HardLink,
            (false, _, true) => Self::SymbolicLink,
            _ => Self::Copy,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let source = match generated(args.data.as_os_str()) {
        Some(source) => Source::Generated(source),
        None => Source::Folder(DataFolder::open(&args.data)?),
    };
    if let Source::Folder(folder) = &source {
        check_output(folder.path(), &args.output)?;
    }
    check_free(&args.output)?;
    let names = source.names(&args.split)?;
    let mut splits = Vec::new();
    match (args.val_share, &names[..]) {
        (None, names) => {
            for name in names {
                match source.read(name) {
                    Ok(dataset) => splits.push((name.clone(), dataset)),
                    // Exports list splits that they do not have.
                    Err(Error::Data(error @ DataError::MissingFolder { .. }))
                        if args.split.is_empty() =>
                    {
                        message(format_args!("split '{name}' skipped: {error}"));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        (Some(share), [only]) => {
            let (train, val) = source.read(only)?.hold_out(share)?;
            splits.extend([("train".to_owned(), train), ("val".to_owned(), val)]);
        }
        (Some(_), names) => {
            return Err(Error::SeveralSplits {
                data: args.data.display().to_string(),
                splits: list_names(names),
            });
        }
    }
    for (_, dataset) in &splits {
        message(dataset);
        for line in dataset.messages() {
            message(line);
        }
    }
    let named: Vec<_> = splits
        .iter()
        .map(|(name, dataset)| (name.as_str(), dataset))
        .collect();
    let writer = DatasetWriter::new(args.format.into()).with_transfer((&args.transfer).into());
    message(writer.write(&named, &args.output)?);
    print(format_args!("{}\n", args.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a folder inside that of the data, where its files would be taken for those of the data.
fn check_output(data: &Path, output: &Path) -> Result<(), Error> {
    let data = data.canonicalize().map_err(Error::io(data))?;
    let folder = match data.parent() {
        Some(parent) if data.is_file() => parent,
        _ => &data,
    };
    // The folder itself is refused as one that is not empty.
    let absolute = std::path::absolute(output).map_err(Error::io(output))?;
    let mut above = absolute.ancestors().skip(1);
    let existing = above.find_map(|above| above.canonicalize().ok());
    match existing.is_some_and(|existing| existing.starts_with(folder)) {
        true => Err(Error::OutputInData(output.to_owned())),
        false => Ok(()),
    }
}

/// Refuses a folder that the writer would refuse, too, but only after it has been given the whole data set.
fn check_free(output: &Path) -> Result<(), Error> {
    DatasetWriter::require_empty(output)?;
    let absolute = std::path::absolute(output).map_err(Error::io(output))?;
    // It is completed under another name.
    absolute.parent().map_or(Ok(()), create_writable)
}

/// What is read.
enum Source {
    Generated(DataSource),
    Folder(DataFolder),
}

impl Source {
    /// The names of the chosen splits, each once, or of all.
    fn names(&self, chosen: &[String]) -> Result<Vec<String>, Error> {
        let all = match self {
            Self::Generated(_) => vec!["train".to_owned(), "val".to_owned()],
            Self::Folder(folder) => folder.splits().to_vec(),
        };
        if chosen.is_empty() {
            return Ok(all);
        }
        let mut names = Vec::new();
        for name in chosen {
            let name = match self {
                Self::Generated(_) => name,
                Self::Folder(folder) => folder.split(name)?,
            };
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn read(&self, split: &str) -> Result<DetectionDataset, Error> {
        Ok(match self {
            Self::Generated(source) => source.open(split)?,
            Self::Folder(folder) => folder.read(split)?,
        })
    }
}
