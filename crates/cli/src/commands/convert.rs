//! `fcos-burn convert`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use fcos_burn::data::{
    DataError, DataFolder, DatasetWriter, DetectionDataset, ImageTransfer, Layout,
    shapes::{ShapesConfig, ShapesSplit},
};
use fcos_burn_cli::{
    Error,
    terminal::{message, print},
};

/// Write a data set as COCO, VOC or YOLO, for other tools.
///
/// What was read, and what the layout cannot hold, goes to standard error; the folder to standard
/// output.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Read the built-in `shapes`, or a data set in any known layout: its folder, or the file that
    /// describes it
    #[arg(long, value_name = "shapes|DIR|FILE")]
    data: PathBuf,
    /// Write this layout
    #[arg(long, value_enum)]
    format: Format,
    /// Write to this folder, which must be empty or new
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Write only this split; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    split: Vec<String>,
    /// Divide the only split into `train` and `val`, which gets about this share of the images
    #[arg(long, value_name = "SHARE")]
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
    /// Link images instead of copying them: the same files under another name, on one file system
    #[arg(long)]
    link: bool,
    /// Link images symbolically
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
    let mut splits = read(&args.data, &args.split)?;
    for (_, dataset) in &splits {
        message(dataset);
        if !dataset.report().is_clean() {
            message(dataset.report());
        }
    }
    if let (Some(share), [(_, only)]) = (args.val_share, &splits[..]) {
        let (train, val) = only.hold_out(share)?;
        splits = vec![("train".to_owned(), train), ("val".to_owned(), val)];
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

/// The splits of that name, or all of them.
fn read(data: &Path, splits: &[String]) -> Result<Vec<(String, DetectionDataset)>, Error> {
    if data.as_os_str() == "shapes" {
        let config = ShapesConfig::default();
        let all = [("train", ShapesSplit::Train), ("val", ShapesSplit::Val)];
        let chosen = all
            .into_iter()
            .filter(|(name, _)| splits.is_empty() || splits.iter().any(|split| split == name));
        let read = chosen.map(|(name, split)| {
            let dataset = DetectionDataset::shapes(&config, split)?;
            Ok((name.to_owned(), dataset))
        });
        return read.collect();
    }
    let folder = DataFolder::open(data)?;
    let names = match splits {
        [] => folder.splits(),
        splits => splits,
    };
    let mut read = Vec::with_capacity(names.len());
    for name in names {
        match folder.read(name) {
            Ok(dataset) => read.push((name.clone(), dataset)),
            // Exports announce splits that they do not have.
            Err(error @ DataError::MissingFolder { .. }) if splits.is_empty() => {
                message(format_args!("split '{name}' is left out: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}
