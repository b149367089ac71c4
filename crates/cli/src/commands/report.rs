//! `fcos-burn report`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use fcos_burn::{
    data::DetectionDataset,
    model::{backbone::resnet::ResNetConfig, file::write_whole},
    report::{Comparison, Report},
    train::RunFolder,
};
use fcos_burn_cli::{Error, args::output_path, outputs::Outputs, terminal::message};

/// Make the report of a run again, or compare several runs on the same data.
///
/// A report is a single self-contained HTML file: curves, the table, classes, and the costliest errors as pictures.
/// Every run ends with its own. Several runs are compared with the first, with intervals of a paired bootstrap over the
/// images.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run folders
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Write the page to this file [default: report.html in the run folder; required for several runs]
    #[arg(long, value_name = "HTML", value_parser = output_path())]
    output: Option<PathBuf>,
    /// Draw this many bootstrap samples for the intervals between several runs [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    resamples: Option<u32>,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    if args.resamples.is_some() && args.runs.len() == 1 {
        return Err(Error::NothingToResample);
    }
    let output = match (&args.runs[..], &args.output) {
        (_, Some(output)) => output.clone(),
        ([run], None) => RunFolder::open(run)?.report_path(),
        (_, None) => return Err(Error::NoReportFile),
    };
    let outputs =
        Outputs::default().with_file_of_run("--output", Some(output.clone()), "report.html");
    let outputs = match &args.runs[..] {
        [run] => outputs.of_run(run),
        _ => outputs,
    };
    outputs.check()?;
    for run in &args.runs {
        outputs.keep_run(run)?;
        // A run that has no such configuration is examined, or refused, when it is opened.
        if let Ok(config) = RunFolder::open(run).and_then(|run| run.read_config::<ResNetConfig>()) {
            outputs.keep_data(&config.data.source)?;
        }
    }
    outputs.create()?;
    let runs = args.runs.iter().map(|path| Run::open(path));
    let runs = runs.collect::<Result<Vec<Run>, Error>>()?;
    let html = match &runs[..] {
        [run] => {
            let report = run.report()?;
            if let Some(cause) = report.unexamined() {
                if args.output.is_none() && output.exists() {
                    let cause = cause.to_owned();
                    return Err(Error::KeptReport {
                        path: output,
                        cause,
                    });
                }
                message(format_args!("warning: no pictures: {cause}"));
            }
            report.html()?
        }
        runs => compare(runs, args.resamples.unwrap_or(RESAMPLES))?,
    };
    write_whole(&output, html.as_bytes()).map_err(Error::io(&output))?;
    message(format_args!("report: {}", output.display()));
    Ok(ExitCode::SUCCESS)
}

/// The bootstrap samples of a comparison.
const RESAMPLES: u32 = 1000;

/// A run folder with the data that it was validated on, or why that cannot be opened.
struct Run {
    folder: RunFolder,
    dataset: Result<DetectionDataset, String>,
}

impl Run {
    fn open(path: &Path) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let dataset = folder.open_validation().map_err(|error| error.to_string());
        Ok(Self { folder, dataset })
    }

    fn report(&self) -> Result<Report<'_>, Error> {
        let dataset = self.dataset.as_ref().map_err(Clone::clone);
        Ok(self.folder.report(dataset)?)
    }
}

fn compare(runs: &[Run], resamples: u32) -> Result<String, Error> {
    let reports = runs.iter().map(Run::report);
    let reports = reports.collect::<Result<Vec<Report<'_>>, Error>>()?;
    let names: Vec<String> = (reports.iter())
        .map(|report| report.run().name.clone())
        .collect();
    // Folders with the same name are told apart by their paths.
    let named = reports.into_iter().zip(runs).map(|(report, run)| {
        let same = names.iter().filter(|name| **name == report.run().name);
        let is_unique = same.count() == 1;
        match is_unique {
            true => report,
            false => report.with_name(run.folder.path().display().to_string()),
        }
    });
    Ok(Comparison::new(named.collect(), resamples as usize)?.html()?)
}
