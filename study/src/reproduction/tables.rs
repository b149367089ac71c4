//! Tables of a study: mean and spread over seeds, and differences with their confidence intervals.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command, sync::Arc};

use crate::Error;
use fcos_burn::{
    eval::statistics::Summary,
    eval::{CocoMetric, Evaluation},
    train::RunConfig,
};
use serde::Serialize;

use super::{
    measured::{Bootstrap, Bootstraps, CONFIDENCE, MeasuredRun, Measures, bootstrap},
    record_file::write_records,
    rows::Row,
    study::Study,
};

/// How deep the list of the runs of a row is in the JSON file of a table.
const RUNS: usize = 4;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Column {
    /// A COCO metric.
    Coco(CocoMetric),
    /// Pearson correlation of score and IoU.
    Pearson,
    /// Spearman correlation of score and IoU.
    Spearman,
    /// Kendall correlation of score and IoU.
    Kendall,
    /// Calibration error of the score as a prediction of the IoU.
    Calibration,
    /// Pearson correlation of calibrated score and IoU.
    CalibratedPearson,
    /// Spearman correlation of calibrated score and IoU.
    CalibratedSpearman,
    /// Calibration error of the calibrated score.
    CalibratedError,
    /// AP by the calibrated scores.
    CalibratedAp,
    /// Class-agnostic AP.
    ClassAgnosticAp,
    /// Number of detections per object of the data set.
    DetectionsPerObject,
    /// Pearson correlation over the detections with an IoU of at least 0.5.
    FittingPearson,
    /// Spearman correlation over the detections with an IoU of at least 0.5.
    FittingSpearman,
    /// Kendall correlation over the detections with an IoU of at least 0.5.
    FittingKendall,
    /// Mean IoU of all candidates of an object.
    MeanIou,
    /// Mean IoU of the detection with the highest score among those that fit an object.
    KeptIou,
    /// Mean IoU of the best candidate of an object.
    BestIou,
}

impl Column {
    /// The columns of Table I of the paper.
    pub const TABLE1: [Self; 10] = [
        Self::Coco(CocoMetric::AP),
        Self::Coco(CocoMetric::AP50),
        Self::Coco(CocoMetric::AP75),
        Self::Coco(CocoMetric::AP90),
        Self::Coco(CocoMetric::APS),
        Self::Coco(CocoMetric::APM),
        Self::Coco(CocoMetric::APL),
        Self::Coco(CocoMetric::AR1),
        Self::Coco(CocoMetric::AR10),
        Self::Coco(CocoMetric::AR100),
    ];
    /// The columns of Table II of the paper, followed by measures that help to explain a difference
    /// in AP: calibration, correlation over the boxes that fit an object, number of detections, how
    /// well scores choose among the candidates of an object, and the effect of wrong classes. Last, what
    /// calibration after training makes of the scores.
    pub const TABLE2: [Self; 17] = [
        Self::Pearson,
        Self::Spearman,
        Self::Kendall,
        Self::Calibration,
        Self::FittingPearson,
        Self::FittingSpearman,
        Self::FittingKendall,
        Self::DetectionsPerObject,
        Self::MeanIou,
        Self::KeptIou,
        Self::BestIou,
        Self::Coco(CocoMetric::AP),
        Self::ClassAgnosticAp,
        Self::CalibratedPearson,
        Self::CalibratedSpearman,
        Self::CalibratedError,
        Self::CalibratedAp,
    ];
    /// The columns of Table III of the paper.
    pub const TABLE3: [Self; 4] = [
        Self::Coco(CocoMetric::AP),
        Self::Coco(CocoMetric::AP50),
        Self::Coco(CocoMetric::AP75),
        Self::Coco(CocoMetric::AP90),
    ];

    /// The key in the JSON file.
    fn name(self) -> &'static str {
        match self {
            Self::Coco(metric) => metric.name(),
            Self::Pearson => "PCC",
            Self::Spearman => "SCC",
            Self::Kendall => "KCC",
            Self::Calibration => "ECE",
            Self::CalibratedPearson => "PCC calibrated",
            Self::CalibratedSpearman => "SCC calibrated",
            Self::CalibratedError => "ECE calibrated",
            Self::CalibratedAp => "AP calibrated",
            Self::ClassAgnosticAp => "AP of any class",
            Self::DetectionsPerObject => "detections an object",
            Self::FittingPearson => "PCC of fits",
            Self::FittingSpearman => "SCC of fits",
            Self::FittingKendall => "KCC of fits",
            Self::MeanIou => "IoU of candidates",
            Self::KeptIou => "IoU kept",
            Self::BestIou => "IoU best",
        }
    }

    /// The heading in the Markdown file.
    fn heading(self) -> &'static str {
        match self {
            Self::DetectionsPerObject => "detections per object",
            _ => self.name(),
        }
    }

    fn of(self, run: &MeasuredRun) -> Option<f64> {
        let evaluation = &run.run.evaluation;
        let choices = run.measures.choices;
        let calibrated = &run.measures.calibrated;
        match self {
            Self::Coco(metric) => evaluation.metric(metric),
            Self::Pearson => evaluation.correlation.pearson,
            Self::Spearman => evaluation.correlation.spearman,
            Self::Kendall => evaluation.correlation.kendall,
            Self::Calibration => evaluation.calibration_error,
            Self::CalibratedPearson => calibrated.correlation.pearson,
            Self::CalibratedSpearman => calibrated.correlation.spearman,
            Self::CalibratedError => calibrated.calibration_error,
            Self::CalibratedAp => calibrated.ap,
            Self::ClassAgnosticAp => run.measures.class_agnostic_ap,
            Self::DetectionsPerObject => {
                choices.map(|choices| evaluation.detections as f64 / choices.objects as f64)
            }
            Self::FittingPearson => run.measures.fitting.pearson,
            Self::FittingSpearman => run.measures.fitting.spearman,
            Self::FittingKendall => run.measures.fitting.kendall,
            Self::MeanIou => choices.map(|choices| choices.mean_iou),
            Self::KeptIou => choices.map(|choices| choices.kept_iou),
            Self::BestIou => choices.map(|choices| choices.best_iou),
        }
    }

    /// Formats a value. COCO metrics are shown in percent.
    fn shown(self, value: f64) -> String {
        match self {
            Self::Coco(_) | Self::ClassAgnosticAp | Self::CalibratedAp => {
                format!("{:.1}", 100.0 * value)
            }
            _ => format!("{value:.3}"),
        }
    }

    fn shown_signed(self, value: f64) -> String {
        match self {
            Self::Coco(_) | Self::ClassAgnosticAp | Self::CalibratedAp => {
                format!("{:+.1}", 100.0 * value)
            }
            _ => format!("{value:+.3}"),
        }
    }
}

/// A table with all the values that it is computed from.
#[derive(Serialize)]
pub struct Table {
    title: String,
    data: String,
    /// Git commit of the sources, with `-dirty` appended if there were uncommitted changes.
    commit: Option<String>,
    /// Configuration of the first run of the first row.
    configuration: Option<RunConfig>,
    rows: Vec<TableRow>,
    #[serde(skip)]
    columns: Vec<Column>,
}

#[derive(Serialize)]
struct TableRow {
    name: String,
    label: String,
    runs: Vec<Run>,
    /// Statistics over seeds, by column.
    summary: BTreeMap<&'static str, Summary>,
    /// Differences to the first row, paired by seed, by column.
    difference: BTreeMap<&'static str, Difference>,
    /// The mean difference over seeds and its interval over resampled images, by COCO metric.
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Run {
    seed: u64,
    seconds: f64,
    evaluation: Evaluation,
    #[serde(flatten)]
    measures: Measures,
    /// The difference to the run of the first row with the same seed and its interval over
    /// resampled images, by COCO metric.
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Difference {
    #[serde(flatten)]
    summary: Summary,
    /// Half the width of the 95% confidence interval from Student's t-distribution.
    margin: Option<f64>,
}

impl TableRow {
    fn new(
        row: &Row,
        columns: &[Column],
        finished: &[MeasuredRun],
        compared: &[Pair],
        mut bootstraps: Bootstraps,
    ) -> Self {
        let mut summary = BTreeMap::new();
        let mut difference = BTreeMap::new();
        for &column in columns {
            let values: Vec<f64> = finished.iter().filter_map(|run| column.of(run)).collect();
            summary.extend(Some(column.name()).zip(Summary::of(&values)));
            let differences: Vec<f64> = compared
                .iter()
                .filter_map(|(run, baseline)| Some(column.of(run)? - column.of(baseline)?))
                .collect();
            if let Some(summary) = Summary::of(&differences) {
                let margin = summary.margin(CONFIDENCE);
                difference.insert(column.name(), Difference { summary, margin });
            }
        }
        let runs = finished.iter().map(|run| Run {
            seed: run.run.seed,
            seconds: run.run.epochs.iter().map(|epoch| epoch.seconds).sum(),
            evaluation: run.run.evaluation.clone(),
            measures: run.measures.clone(),
            bootstrap: bootstraps.of_runs.remove(&run.run.seed).unwrap_or_default(),
        });
        Self {
            name: row.name.clone(),
            label: row.label.clone(),
            runs: runs.collect(),
            summary,
            difference,
            bootstrap: bootstraps.of_mean,
        }
    }
}

/// A run and the baseline run with the same seed.
type Pair<'a> = (&'a MeasuredRun, &'a MeasuredRun);

fn pairs<'a>(runs: &'a [MeasuredRun], baseline: &'a [MeasuredRun]) -> Vec<Pair<'a>> {
    let paired = |run: &'a MeasuredRun| {
        let mut baseline = baseline.iter();
        Some((run, baseline.find(|base| base.run.seed == run.run.seed)?))
    };
    runs.iter().filter_map(paired).collect()
}

impl Table {
    /// Builds the table from all finished runs of `study`, with `resamples` bootstrap samples of
    /// the images for each run. With 0, the bootstrap intervals are omitted.
    ///
    /// # Errors
    ///
    /// Names the run whose files cannot be read.
    pub fn new(
        title: &str,
        study: &Study,
        columns: &[Column],
        resamples: usize,
    ) -> Result<Self, Error> {
        let data = &study.config.data;
        let dataset = Arc::new(data.open(&data.val_split)?);
        let measured = |row| -> Result<Vec<MeasuredRun>, Error> {
            let runs = study.finished_runs(row)?.into_iter();
            runs.map(|run| MeasuredRun::new(run, &dataset, &study.config))
                .collect()
        };
        let mut baseline: Option<Vec<MeasuredRun>> = None;
        let mut rows = Vec::new();
        for row in &study.rows {
            let finished = measured(row)?;
            // The baseline is always the first row, even if none of its runs is finished.
            let compared = match &baseline {
                Some(baseline) => pairs(&finished, baseline),
                None => Vec::new(),
            };
            if !finished.is_empty() {
                let bootstraps = bootstrap(&compared, &dataset, resamples)?;
                rows.push(TableRow::new(
                    row, columns, &finished, &compared, bootstraps,
                ));
            }
            baseline.get_or_insert(finished);
        }
        let baseline = baseline.unwrap_or_default();
        let configuration = match baseline.first() {
            Some(first) => {
                let mut config: RunConfig = first.run.folder.read_config()?;
                // As they were named: a run has absolute paths, which say nothing on another machine.
                config.data.source = study.config.data.source.clone();
                config.initial_weights = study.config.initial_weights.clone();
                Some(config)
            }
            None => None,
        };
        Ok(Self {
            title: title.to_owned(),
            data: dataset.to_string(),
            commit: commit(),
            configuration,
            rows,
            columns: columns.to_vec(),
        })
    }

    /// Writes `stem.md` and `stem.json`.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be written.
    pub fn write(&self, stem: &Path) -> Result<(), Error> {
        write_records(&stem.with_extension("json"), self, RUNS)?;
        let path = stem.with_extension("md");
        std::fs::write(&path, self.markdown()).map_err(Error::io(&path))
    }

    /// The table as Markdown: mean ± standard deviation over seeds, then the differences to the
    /// first row with both kinds of intervals.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n", self.title, self.data);
        let seeds = self.rows.iter().map(|row| row.runs.len()).max();
        let _ = writeln!(
            text,
            "Mean ± standard deviation over up to {} seeds, after the last epoch of each run. COCO metrics are in percent.\n",
            seeds.unwrap_or(0)
        );
        self.header(&mut text, "", "seeds");
        for row in &self.rows {
            let cells = self.columns.iter().map(|column| {
                row.summary.get(column.name()).map(|summary| {
                    let mean = column.shown(summary.mean);
                    match summary.deviation {
                        Some(deviation) => format!("{mean} ± {}", column.shown(deviation)),
                        None => mean,
                    }
                })
            });
            line(&mut text, &row.label, &row.runs.len().to_string(), cells);
        }
        let Some(first) = self.rows.first() else {
            return text;
        };
        if self.rows.iter().all(|row| row.difference.is_empty()) {
            return text;
        }
        let _ = writeln!(
            text,
            "\nDifference to \"{}\", paired by seed, with its 95% confidence interval over seeds (Student's t). If an \
             interval contains 0, the sign of the difference is open. Its half-width is the smallest difference that \
             this many seeds can resolve.\n",
            first.label
        );
        self.header(&mut text, "", "pairs");
        for row in &self.rows[1..] {
            let pairs = row.difference.values().map(|d| d.summary.count).max();
            let cells = self.columns.iter().map(|column| {
                row.difference.get(column.name()).map(|difference| {
                    let mean = column.shown_signed(difference.summary.mean);
                    match difference.margin {
                        Some(margin) => format!("{mean} ± {}", column.shown(margin)),
                        None => mean,
                    }
                })
            });
            line(
                &mut text,
                &row.label,
                &pairs.unwrap_or(0).to_string(),
                cells,
            );
        }
        self.bootstrap_table(&mut text, &first.label);
        text
    }

    fn bootstrap_table(&self, text: &mut String, baseline: &str) {
        let shown: Vec<CocoMetric> = self
            .columns
            .iter()
            .filter_map(|column| match column {
                Column::Coco(metric) => Some(*metric),
                _ => None,
            })
            .take(4)
            .collect();
        if shown.is_empty() || self.rows.iter().all(|row| row.bootstrap.is_empty()) {
            return;
        }
        let _ = writeln!(
            text,
            "\nDifference of each run to that of \"{baseline}\" with the same seed, and their mean, with 95% intervals over \
             resampled images (paired bootstrap with replacement; an image drawn twice counts twice). The intervals show \
             the effect of other images, not of other seeds.\n"
        );
        let names: Vec<_> = shown.iter().map(|metric| metric.name()).collect();
        let _ = writeln!(text, "| | seed | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(shown.len()));
        for row in &self.rows[1..] {
            let of_runs = row.runs.iter();
            let of_runs = of_runs.map(|run| (run.seed.to_string(), &run.bootstrap));
            for (seed, bootstrap) in of_runs.chain([("mean".to_owned(), &row.bootstrap)]) {
                let cells = shown.iter().map(|metric| {
                    bootstrap.get(metric).map(|found| {
                        let [low, high] = found.interval.map(|value| 100.0 * value);
                        format!("{:+.1} [{low:+.1}, {high:+.1}]", 100.0 * found.difference)
                    })
                });
                line(text, &row.label, &seed, cells);
            }
        }
    }

    fn header(&self, text: &mut String, first: &str, second: &str) {
        let names: Vec<_> = self.columns.iter().map(|column| column.heading()).collect();
        let _ = writeln!(text, "| {first} | {second} | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(names.len()));
    }
}

/// The Git commit of the sources; `None` outside a repository.
fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe"])
        .args(["--always", "--dirty", "--abbrev=40", "--exclude=*"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}

fn line(text: &mut String, first: &str, second: &str, cells: impl Iterator<Item = Option<String>>) {
    let cells: Vec<String> = cells
        .map(|cell| cell.unwrap_or_else(|| "–".to_owned()))
        .collect();
    let _ = writeln!(text, "| {first} | {second} | {} |", cells.join(" | "));
}
