//! `fcos-burn inspect`.

use std::{path::PathBuf, process::ExitCode};

use fcos_burn::{
    data::{DataFolder, shapes::ShapesConfig},
    inspect::{Inspection, InspectionOptions, Purpose, Splits},
    train::config::{DataConfig, DataSource},
};
use fcos_burn_cli::{
    Error,
    args::{DataArgs, ImageSizeArgs, Preset, SplitArgs, output_path},
    outputs::Outputs,
    terminal::{message, print},
};

/// Inspect a data set: counts, classes, sizes, pyramid levels, equal pictures, what was dropped.
///
/// The statistics go to standard output. With --output, they are also written as a page with charts
/// and images.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Inspect only this split [default: all splits]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["train_split", "val_split", "val_share"])]
    split: Option<String>,
    #[command(flatten)]
    splits: SplitArgs,
    /// Count objects by the pyramid levels of this preset's detector, at its image size
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    #[command(flatten)]
    image_size: ImageSizeArgs,
    /// Write index.html, a self-contained page, and inspection.json to this folder
    #[arg(long, value_name = "DIR", value_parser = output_path())]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let splits = read(args)?;
    let config = args.preset.config();
    let resize = args.image_size.resize().unwrap_or(config.input.resize);
    let options = InspectionOptions::new(resize).with_detector(config.model);
    let inspection = Inspection::of(&splits, &options);
    print(inspection.table())?;
    if let Some(folder) = &args.output {
        let page = inspection.save(&splits, folder)?;
        message(format_args!("page: {}", page.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &Args) -> Result<Splits, Error> {
    let source = args.data.source();
    let source = source.unwrap_or_else(|| DataSource::Shapes(ShapesConfig::default()));
    let file = |name| args.output.as_ref().map(|folder| folder.join(name));
    let outputs = Outputs::default()
        .with_tree("--output", args.output.clone())
        .with_file("--output", file("index.html"))
        .with_file("--output", file("inspection.json"));
    outputs.check()?;
    outputs.keep_data(&source)?;
    outputs.create()?;
    match &source {
        DataSource::Folder(path) => read_folder(args, &DataFolder::open(path)?),
        source => read_source(args, source),
    }
}

fn read_folder(args: &Args, folder: &DataFolder) -> Result<Splits, Error> {
    if let Some(split) = &args.split {
        return Ok(Splits::read_one(folder, split)?);
    }
    let (train, val) = (args.splits.train(), args.splits.val());
    for name in [train, val].into_iter().flatten() {
        folder.split(name)?;
    }
    let division = match (folder.division(train, val), args.splits.val_share()) {
        (Ok(division), Some(share)) => Some(division.with_val_share(share)),
        (Ok(division), None) => Some(division),
        // All splits can be inspected even if no training split is recognizable.
        (Err(_), None) if val.is_none() => None,
        (Err(error), _) => return Err(error.into()),
    };
    Ok(Splits::read(folder, division.as_ref())?)
}

fn read_source(args: &Args, source: &DataSource) -> Result<Splits, Error> {
    let splits = Splits::new(source.name());
    if let Some(split) = &args.split {
        return Ok(splits.with_split(Purpose::Other, split, source.open(split)?));
    }
    let data = DataConfig::of(source.clone(), args.splits.train(), args.splits.val())?;
    let data = match args.splits.val_share() {
        Some(share) => data.with_val_share(share),
        None => data,
    };
    let (train, val) = data.open_splits()?;
    Ok(splits
        .with_split(Purpose::Training, data.train_split, train)
        .with_split(Purpose::Validation, data.val_split, val))
}
