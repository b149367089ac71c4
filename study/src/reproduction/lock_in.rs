//! Does a classifier lock in to wrong classes, and does rounding decide it? Runs the same training
//! under several roundings and records its class accuracy over the steps.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use crate::Error;
use burn::{
    data::dataloader::DataLoader,
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Distribution, Tensor},
    train::TrainStep,
};
use fcos_burn::{
    detect::Detector,
    detect::json::{read_json, write_json},
    eval::class_confusion::{class_agnostic_metrics, is_class_confused},
    eval::statistics::Quantiles,
    eval::{CocoMetric, Evaluation, results},
    model::Fcos,
    plot::{LineChart, Series},
    train::data::{BatchLoader, EpochPlan, FirstBatch, TrainCollate},
    train::step::{StepMetric, WeightAverage},
    train::training::{Splits, initial_model, open_devices, trainable},
    train::{Interrupter, RunConfig},
};
use fcos_burn_cli::terminal::message;
use serde::{Deserialize, Serialize};

use super::{
    record_file::write_records,
    rows::Row,
    study::{Study, check_configuration, names_in},
};

/// Number of steps that are averaged for one point of a curve.
const WINDOW: usize = 10;

/// How deep the list of the runs of a row is in the JSON file.
const RUNS: usize = 3;

/// Maximum relative size of the random changes to the weights.
const NUDGE: f32 = 1e-6;

/// One way to round the same training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Rounding {
    /// Each batch as a whole.
    Whole,
    /// Each batch in two halves, as on two devices. This changes a little more than rounding, since
    /// each half has its own batch normalization statistics.
    Halves,
    /// Each batch as a whole, with each initial weight changed by up to one millionth.
    Nudged,
}

impl Rounding {
    const ALL: [Self; 3] = [Self::Whole, Self::Halves, Self::Nudged];

    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Halves => "halves",
            Self::Nudged => "nudged",
        }
    }

    fn apply(self, config: RunConfig) -> RunConfig {
        let accumulate = match self {
            Self::Whole | Self::Nudged => 1,
            Self::Halves => 2,
        };
        let first = config.devices[..1].to_vec();
        config.with_devices(first).with_accumulate(accumulate)
    }
}

/// Result of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    seed: u64,
    rounding: Rounding,
    /// AP after the last step, a fraction.
    ap: f64,
    /// Class-agnostic AP, a fraction.
    any_class_ap: f64,
    /// Class accuracy over the positive locations of each window of [`WINDOW`] steps.
    class_accuracy: Vec<f64>,
}

impl Run {
    fn is_lost(&self) -> bool {
        is_class_confused(self.ap, self.any_class_ap)
    }
}

/// A run with its configuration.
#[derive(Serialize, Deserialize)]
struct RunFile {
    configuration: RunConfig,
    run: Run,
}

/// Trains every row with every seed and rounding, and writes the results to `output` as
/// `lock-in.md`, `lock-in.json` and one chart per row. Finished runs are not repeated. Returns
/// `None` if it was interrupted.
///
/// # Errors
///
/// Names the file that cannot be read or written, or that has another configuration.
pub fn run(
    study: &Study,
    only: &[String],
    output: &Path,
    interrupter: &Interrupter,
) -> Result<Option<String>, Error> {
    let Study {
        mut config, rows, ..
    } = study.clone();
    config.validate()?;
    let splits = Splits::open(&mut config)?;
    for seed in config.seed..config.seed.saturating_add(study.seeds) {
        for (row, rounding) in rows.iter().flat_map(|row| Rounding::ALL.map(|r| (row, r))) {
            if !(only.is_empty() || only.contains(&row.name)) {
                continue;
            }
            let config = rounding.apply(row.apply(&config)).with_seed(seed);
            let path = path(study, row, rounding, seed);
            if read(&path, &config)?.is_some() {
                continue;
            }
            message(format_args!(
                "== {}, {}, seed {seed}",
                row.label,
                rounding.name()
            ));
            let mut model = initial_model(&config, &open_devices(&config)?[0])?;
            if let Some(weights) = &study.config.initial_weights {
                model = weights.load(model, &config.data.categories)?;
            }
            let run = train_once(&config, model, rounding, &splits, interrupter)?;
            let Some(run) = run else {
                return Ok(None);
            };
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
            }
            let file = RunFile {
                configuration: config,
                run,
            };
            write_json(&path, &file)?;
        }
    }
    let mut found = Vec::new();
    for row in &rows {
        found.push((row, finished(study, row, &config)?));
    }
    Report::new(&found).write(output).map(Some)
}

fn path(study: &Study, row: &Row, rounding: Rounding, seed: u64) -> PathBuf {
    let name = format!("seed-{seed}-{}.json", rounding.name());
    study.folder.join(&row.name).join(name)
}

/// Parses the seed and the rounding from the file name of a run.
fn of_name(name: &str) -> Option<(u64, Rounding)> {
    let (seed, rounding) = name.strip_prefix("seed-")?.split_once('-')?;
    let rounding = rounding.strip_suffix(".json")?;
    let found = Rounding::ALL.into_iter().find(|r| r.name() == rounding);
    seed.parse().ok().zip(found)
}

/// Reads a run, if its file exists.
fn read(path: &Path, config: &RunConfig) -> Result<Option<Run>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let file: RunFile = read_json(path)?;
    check_configuration(file.configuration, config.clone(), path)?;
    Ok(Some(file.run))
}

/// All finished runs of a row, including those that were not asked for.
fn finished(study: &Study, row: &Row, config: &RunConfig) -> Result<Vec<Run>, Error> {
    let names = names_in(&study.folder.join(&row.name))?;
    let mut found: Vec<_> = names.iter().filter_map(|name| of_name(name)).collect();
    found.sort_unstable();
    let runs = found.into_iter().map(|(seed, rounding)| {
        let config = rounding.apply(row.apply(config)).with_seed(seed);
        read(&path(study, row, rounding, seed), &config)
    });
    runs.filter_map(Result::transpose).collect()
}

fn train_once(
    config: &RunConfig,
    mut model: Fcos,
    rounding: Rounding,
    Splits { train, val, .. }: &Splits,
    interrupter: &Interrupter,
) -> Result<Option<Run>, Error> {
    let devices = open_devices(config)?;
    if rounding == Rounding::Nudged {
        model = nudged(model, config.seed, &devices[0]);
    }
    let host = devices[0].clone().without_autodiff();
    let average_decay = config.optimization.average_decay;
    let mut average = average_decay.map(|decay| WeightAverage::new(&model, decay));
    let total = config.duration.steps(config.steps_per_epoch(train.len()));
    let mut optimizer = config.optimization.optimizer(&model)?;
    let mut scheduler = config.optimization.scheduler(&model, total)?;
    let mut learner = trainable(config, model, devices)?;
    let plan = EpochPlan::training(config)?.with_max_batches(total);
    let collate = TrainCollate::new(config)?;
    let loader = BatchLoader::new(
        train.clone(),
        collate,
        plan,
        host.clone(),
        FirstBatch::START,
    );
    // The number of correct and of all positive locations in each window.
    let mut windows = vec![(0.0, 0.0); total.div_ceil(WINDOW)];
    let mut steps = 0;
    while steps < total {
        for batch in loader.iter() {
            let batch = batch.map_err(|error| Error::Failed(error.to_string()))?;
            let output = TrainStep::step(&learner, batch);
            let item = output.item.read()?;
            if let Some((metric, value)) = item.not_finite() {
                let cause = format!("step {}: {} is {value}", steps + 1, metric.name());
                return Err(Error::Failed(cause));
            }
            learner = learner.optimize(&mut optimizer, scheduler.step(), output.grads);
            let metric = |metric: StepMetric| item.metric(&metric).unwrap_or_default();
            let positives = metric(StepMetric::Positives);
            let (correct, all) = &mut windows[steps / WINDOW];
            *correct += positives * metric(StepMetric::ClassAccuracy);
            *all += positives;
            steps += 1;
            average = average.map(|average| average.updated(learner.detector(), steps));
            if interrupter.should_stop() {
                return Ok(None);
            }
        }
    }
    let model = average.map_or_else(|| learner.detector().clone(), |a| a.model().clone());
    let detector = Detector::new(
        &model,
        config.input.clone(),
        config.data.categories.clone(),
        host,
        config.precision,
    );
    let detections = detector.detect_dataset(val, config.batch_size, config.workers, |_| {})?;
    let evaluation = Evaluation::new(val, &detections)?;
    let any_class = class_agnostic_metrics(
        val,
        &results(val, &detections)?,
        config.model.postprocess.nms_iou_threshold,
    )?;
    Ok(Some(Run {
        seed: config.seed,
        rounding,
        ap: evaluation.metric(CocoMetric::AP).unwrap_or_default(),
        any_class_ap: any_class[&CocoMetric::AP].unwrap_or_default(),
        class_accuracy: windows
            .into_iter()
            .map(|(correct, all): (f64, f64)| correct / all.max(1.0))
            .collect(),
    }))
}

/// The same detector with each weight changed by a random relative amount of up to [`NUDGE`].
fn nudged(model: Fcos, seed: u64, device: &Device) -> Fcos {
    struct Nudge;
    impl ModuleMapper for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weight| {
                let inner = weight.clone().inner();
                let change = Distribution::Uniform(-f64::from(NUDGE), f64::from(NUDGE));
                let factor = inner.random_like(change).add_scalar(1.0);
                let trained = weight.is_require_grad();
                Tensor::from_inner(inner * factor).set_require_grad(trained)
            })
        }
    }
    device.seed(seed);
    model.map(&mut Nudge)
}

/// The runs of a row.
#[derive(Debug, Serialize)]
struct RowReport<'a> {
    name: &'a str,
    label: &'a str,
    /// All runs.
    runs: Vec<&'a Run>,
    /// The lost runs, each with the step from which its class accuracy stays below that of every
    /// baseline run that is not lost.
    lost: Vec<LostRun>,
}

#[derive(Debug, Serialize)]
struct LostRun {
    seed: u64,
    rounding: Rounding,
    ap: f64,
    from_step: Option<usize>,
}

struct Report<'a>(Vec<RowReport<'a>>);

impl<'a> Report<'a> {
    /// Takes the rows with their runs, the baseline first.
    fn new(rows: &'a [(&'a Row, Vec<Run>)]) -> Self {
        let baseline = rows.first().map_or(&[][..], |(_, runs)| runs);
        let baseline: Vec<&Run> = baseline.iter().filter(|run| !run.is_lost()).collect();
        // The lowest class accuracy of the baseline in each window.
        let windows = baseline.iter().map(|run| run.class_accuracy.len()).min();
        let bound: Vec<f64> = (0..windows.unwrap_or(0))
            .map(|window| {
                let found = baseline.iter().map(|run| run.class_accuracy[window]);
                found.fold(f64::INFINITY, f64::min)
            })
            .collect();
        let lost = |run: &Run| LostRun {
            seed: run.seed,
            rounding: run.rounding,
            ap: run.ap,
            from_step: lost_from(&run.class_accuracy, &bound).map(|window| WINDOW * window + 1),
        };
        let row = |(row, runs): &'a (&'a Row, Vec<Run>)| RowReport {
            name: &row.name,
            label: &row.label,
            runs: runs.iter().collect(),
            lost: (runs.iter())
                .filter(|run| run.is_lost())
                .map(lost)
                .collect(),
        };
        Self(rows.iter().map(row).collect())
    }

    fn write(&self, output: &Path) -> Result<String, Error> {
        let charts = output.join("charts");
        std::fs::create_dir_all(&charts).map_err(Error::io(&charts))?;
        for row in self.0.iter().filter(|row| !row.runs.is_empty()) {
            row.chart().save(&charts.join(row.name))?;
        }
        write_records(&output.join("lock-in.json"), &self.0, RUNS)?;
        let path = output.join("lock-in.md");
        let text = self.markdown();
        std::fs::write(&path, &text).map_err(Error::io(&path))?;
        Ok(text)
    }

    fn markdown(&self) -> String {
        let mut text = String::from(
            "# Class accuracy under several roundings\n\n\
             Lowest, quartiles and highest over all runs, in percent. A run counts as \
             lost if its AP is below 80% of its AP of any class. The last column is the step \
             from which the class accuracy of a lost run stays below that of every run in the \
             first row that is not lost.\n\n\
             | | runs | AP: lowest | 25% | median | 75% | highest | AP of any class: lowest | \
             median | class accuracy at the end: lowest | median | lost | from step |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in self.0.iter().filter(|row| !row.runs.is_empty()) {
            let percent = |value: Option<f64>| {
                value.map_or_else(String::new, |value| format!("{:.1}", 100.0 * value))
            };
            let ap = Quantiles::new(row.runs.iter().map(|run| run.ap));
            let any = Quantiles::new(row.runs.iter().map(|run| run.any_class_ap));
            let last = |run: &&Run| run.class_accuracy.last().copied();
            let accuracy = Quantiles::new(row.runs.iter().filter_map(last));
            let mut steps: Vec<usize> = row.lost.iter().filter_map(|l| l.from_step).collect();
            steps.sort_unstable();
            let steps = match (steps.first(), steps.last()) {
                (Some(first), Some(last)) => format!("{first} to {last}"),
                _ => String::new(),
            };
            let cells = [
                row.label.to_owned(),
                row.runs.len().to_string(),
                percent(ap.at(0.0)),
                percent(ap.at(0.25)),
                percent(ap.at(0.5)),
                percent(ap.at(0.75)),
                percent(ap.at(1.0)),
                percent(any.at(0.0)),
                percent(any.at(0.5)),
                percent(accuracy.at(0.0)),
                percent(accuracy.at(0.5)),
                row.lost.len().to_string(),
                steps,
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        let _ = write!(
            text,
            "\nAP of each run, by seed (rows) and rounding (columns).\n"
        );
        for row in self.0.iter().filter(|row| !row.runs.is_empty()) {
            let mut seeds = BTreeMap::<u64, BTreeMap<Rounding, f64>>::new();
            for run in &row.runs {
                seeds
                    .entry(run.seed)
                    .or_default()
                    .insert(run.rounding, run.ap);
            }
            let names = Rounding::ALL.map(Rounding::name).join(" | ");
            let _ = write!(text, "\n| {} | {names} |\n|---|---|---|---|\n", row.label);
            for (seed, found) in seeds {
                let cell = |rounding| match found.get(&rounding) {
                    Some(ap) => format!("{:.1}", 100.0 * ap),
                    None => String::new(),
                };
                let _ = writeln!(text, "| {seed} | {} |", Rounding::ALL.map(cell).join(" | "));
            }
        }
        text
    }
}

impl RowReport<'_> {
    /// Class accuracy of all runs over the steps.
    fn chart(&self) -> LineChart {
        let points = |run: &Run| {
            let steps = (0..).map(|window| (WINDOW * window + WINDOW / 2) as f64);
            steps.zip(run.class_accuracy.iter().copied()).collect()
        };
        LineChart {
            title: format!("Class accuracy: {}", self.label),
            x_label: "Step".to_owned(),
            y_label: "Positives whose true class scores highest".to_owned(),
            series: (self.runs.iter())
                .map(|run| Series {
                    name: String::new(),
                    points: points(run),
                })
                .collect(),
            y_range: Some((0.0, 1.0)),
        }
    }
}

/// The first window from which `found` stays below `bound`.
fn lost_from(found: &[f64], bound: &[f64]) -> Option<usize> {
    let below = found.iter().zip(bound).rev().take_while(|(f, b)| f < b);
    let from = found.len().min(bound.len()) - below.count();
    (from < found.len()).then_some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_lost_from_the_window_where_it_stays_below_the_bound() {
        let bound = [0.2, 0.3, 0.5, 0.7];
        assert_eq!(lost_from(&[0.1, 0.4, 0.4, 0.4], &bound), Some(2));
        assert_eq!(lost_from(&[0.1, 0.1, 0.1, 0.1], &bound), Some(0));
        assert_eq!(lost_from(&[0.1, 0.1, 0.1, 0.8], &bound), None);
    }
}
