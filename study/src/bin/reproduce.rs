//! Reproduces the tables and figures of the paper on any data set.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use fcos_burn::{
    detect::device::{Precision, keep_freed_memory},
    train::Interrupter,
    train::config::Keep,
};
use fcos_burn_cli::terminal::message;
use fcos_burn_cli::{
    StopSignal,
    args::TrainingArgs,
    terminal::{exit, install_logger, print},
};
use fcos_burn_study::{
    Error,
    reproduction::{
        figure2, figure3, lock_in,
        rows::Row,
        study::Study,
        tables::{Column, Table},
    },
};

/// Reproduce a table or figure of the paper on any data set that train accepts.
///
/// A table trains every row with every seed and is written as Markdown and JSON. Its metrics are
/// those of the last epoch. Run the same command again to resume after an interruption; finished
/// runs are not repeated. lock-in restarts an interrupted run from the beginning, uses only the
/// first device, and ignores --accumulate.
#[derive(Parser, Debug)]
#[command(name = "reproduce")]
struct Cli {
    /// What to reproduce
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    training: TrainingArgs,
    /// Number of seeds, counted from --seed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Train only these rows, given by their folder names; the table still lists all finished
    /// runs, including other rows and seeds
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Bootstrap samples of the images for each run, at least 100; 0 omits these intervals
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = resamples)]
    resamples: usize,
    /// Folder for the tables and all runs; lock-in uses a subfolder
    /// [default: results/NAME, named after the data set]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// COCO metrics with and without association losses, and with later quality-aware losses
    Table1,
    /// Correlation and calibration of score and IoU for the same runs
    Table2,
    /// Slope k and weight β of PSE
    Table3,
    /// Score against IoU of the candidates with and without PSE, for one seed
    Figure2,
    /// Losses of a positive location over score and IoU, and their gradients; trains nothing
    Figure3,
    /// Class accuracy during the same training under several roundings
    LockIn,
}

/// Which runs to train, and what to show of them.
struct Plan {
    rows: Vec<Row>,
    /// Number of seeds; `None` for the number on the command line.
    seeds: Option<u64>,
    show: Show,
}

enum Show {
    /// Class accuracy step by step.
    ClassAccuracy,
    Table {
        title: &'static str,
        file: &'static str,
        columns: &'static [Column],
    },
    Candidates,
}

impl What {
    /// `None` if nothing is trained.
    fn plan(self) -> Option<Plan> {
        let table = |title, file, rows, columns| Plan {
            rows,
            seeds: None,
            show: Show::Table {
                title,
                file,
                columns,
            },
        };
        Some(match self {
            Self::Table1 => table(
                "Table 1: average precision and recall",
                "table1",
                Row::table1(),
                &Column::TABLE1,
            ),
            Self::Table2 => table(
                "Table 2: correlation and calibration of score and IoU",
                "table2",
                Row::table1(),
                &Column::TABLE2,
            ),
            Self::Table3 => table(
                "Table 3: slope k and weight β",
                "table3",
                Row::table3(),
                &Column::TABLE3,
            ),
            Self::Figure2 => Plan {
                rows: Row::figure2(),
                seeds: Some(1),
                show: Show::Candidates,
            },
            Self::LockIn => Plan {
                rows: Row::lock_in(),
                seeds: None,
                show: Show::ClassAccuracy,
            },
            Self::Figure3 => return None,
        })
    }
}

fn main() -> ExitCode {
    keep_freed_memory();
    install_logger();
    let cli = Cli::parse();
    if cli.training.names_an_objective() {
        usage(
            ErrorKind::ArgumentConflict,
            "each row sets its own --association, --beta, --k, --association-score, \
             --association-ramp, --association-by-level, --box-association and \
             --classification-loss",
        );
    }
    let plan = cli.what.plan();
    if let Some(plan) = &plan {
        let known: Vec<_> = plan.rows.iter().map(|row| row.name.as_str()).collect();
        if let Some(unknown) = cli.only.iter().find(|name| !known.contains(&name.as_str())) {
            usage(
                ErrorKind::InvalidValue,
                &format!("no row '{unknown}': expected {}", known.join(", ")),
            );
        }
    }
    exit(run(&cli, plan))
}

/// Parses the number of bootstrap samples. With fewer than 100, the ends of an interval would be
/// random.
fn resamples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ (0 | 100..)) => Ok(count),
        _ => Err("expected 0, or at least 100".to_owned()),
    }
}

fn usage(kind: ErrorKind, message: &str) -> ! {
    Cli::command().error(kind, message).exit()
}

fn run(cli: &Cli, plan: Option<Plan>) -> Result<ExitCode, Error> {
    let config = cli.training.config()?;
    let mut config = config.with_keep(Keep::Last);
    let output = match (&cli.output, &plan) {
        (Some(output), _) => output.clone(),
        (None, Some(_)) => Path::new("results").join(config.data.source.name()),
        (None, None) => PathBuf::from("results"),
    };
    std::fs::create_dir_all(&output).map_err(Error::io(&output))?;
    let Some(plan) = plan else {
        let device = config.devices[0].open(Precision::F32)?;
        figure3::write(&output, &device)?;
        print(format_args!("{}\n", output.display()))?;
        return Ok(ExitCode::SUCCESS);
    };
    config.resolve_by_data()?;
    let interrupter = Interrupter::new();
    let signal = StopSignal::watch(interrupter.clone());
    let output = match plan.show {
        Show::ClassAccuracy => output.join("lock-in"),
        Show::Table { .. } | Show::Candidates => output,
    };
    let study = Study {
        config,
        rows: plan.rows,
        seeds: plan.seeds.unwrap_or(cli.seeds),
        folder: output.join("runs"),
    };
    match show(cli, &study, plan.show, &output, &interrupter)? {
        Some(text) => {
            print(text)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            message("interrupted; run the same command again to resume");
            Ok(signal.exit_code())
        }
    }
}

/// Trains the remaining runs of a study and writes its results. Returns what to print, or `None` if
/// it was interrupted.
fn show(
    cli: &Cli,
    study: &Study,
    show: Show,
    output: &Path,
    interrupter: &Interrupter,
) -> Result<Option<String>, Error> {
    let trained = || study.train(&cli.only, interrupter);
    Ok(match show {
        Show::ClassAccuracy => lock_in::run(study, &cli.only, output, interrupter)?,
        Show::Table {
            title,
            file,
            columns,
        } if trained()? => {
            let table = Table::new(title, study, columns, cli.resamples)?;
            table.write(&output.join(file))?;
            Some(table.markdown())
        }
        Show::Candidates if trained()? => {
            figure2::write(output, study)?;
            Some(format!("{}\n", output.display()))
        }
        Show::Table { .. } | Show::Candidates => None,
    })
}
