//! `fcos-burn inspect`.

use std::{path::PathBuf, process::ExitCode};

use fcos_burn::{
    data::{DataFolder, Division, shapes::ShapesConfig},
    inspect::{Inspection, InspectionOptions, Purpose, Splits},
    train::config::DataSource,
};
use fcos_burn_cli::{
    Error,
    args::{DataArgs, ImageSizeArgs, Preset},
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
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Count objects by the pyramid levels of this preset's detector, at its image size
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    #[command(flatten)]
    image_size: ImageSizeArgs,
    /// Write index.html, a self-contained page, and inspection.json to this folder
    #[arg(long, value_name = "DIR")]
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
    let split = args.split.as_deref();
    if let DataSource::Folder(path) = &source {
        let folder = DataFolder::open(path)?;
        return Ok(match split {
            Some(split) => Splits::read_one(&folder, split)?,
            None => Splits::read(&folder, Division::VAL_SHARE)?,
        });
    }
    let splits = Splits::new(source.name());
    Ok(match split {
        Some(split) => splits.with_split(Purpose::Other, split, source.open(split)?),
        None => splits
            .with_split(Purpose::Training, "train", source.open("train")?)
            .with_split(Purpose::Validation, "val", source.open("val")?),
    })
}
