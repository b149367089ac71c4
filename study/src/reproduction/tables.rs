//! Tables of a study: mean and spread over seeds, and what of the differences is more
//! than chance.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command, sync::Arc};

use crate::Error;
use fcos_burn::{
    detect::json::write_json,
    eval::statistics::Summary,
    eval::{CocoMetric, Evaluation},
    train::RunConfig,
};
use serde::Serialize;

use super::{
    measured::{Bootstrap, Bootstraps, CONFIDENCE, MeasuredRun, Measures, bootstrap},
    rows::Row,
    study::Study,
};

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Column {
    /// One of COCO's metrics.
    Coco(CocoMetric),
    /// Pearson's correlation of score and IoU.
    Pearson,
    /// Spearman's.
    Spearman,
    /// Kendall's.
    Kendall,
    /// The calibration error of the score as a prediction of the IoU.
    Calibration,
    /// AP where every class is taken for the same one.
    ClassAgnosticAp,
    /// Detections for each object of the set.
    DetectionsPerObject,
    /// Pearson's correlation over the detections with an IoU of at least 0.5.
    FittingPearson,
    /// Spearman's over these.
    FittingSpearman,
    /// Kendall's over these.
    FittingKendall,
    /// Mean IoU of the candidates of an object.
    MeanIou,
    /// Mean IoU of the detection with the highest score of those that fit an object.
    KeptIou,
    /// Mean IoU of the best candidates.
    BestIou,
}

impl Column {
    /// The paper's Table I.
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
    /// The paper's Table II, and what explains a difference of AP: calibration, the
    /// correlation among boxes that fit alone, number of detections, how well scores choose
    /// among the candidates of an object, classes.
    pub const TABLE2: [Self; 13] = [
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
    ];
    /// The paper's Table III.
    pub const TABLE3: [Self; 4] = [
        Self::Coco(CocoMetric::AP),
        Self::Coco(CocoMetric::AP50),
        Self::Coco(CocoMetric::AP75),
        Self::Coco(CocoMetric::AP90),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Coco(metric) => metric.name(),
            Self::Pearson => "PCC",
            Self::Spearman => "SCC",
            Self::Kendall => "KCC",
            Self::Calibration => "ECE",
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

    fn of(self, run: &MeasuredRun) -> Option<f64> {
        let evaluation = &run.run.evaluation;
        let choices = run.measures.choices;
        match self {
            Self::Coco(metric) => evaluation.metric(metric),
            Self::Pearson => evaluation.correlation.pearson,
            Self::Spearman => evaluation.correlation.spearman,
            Self::Kendall => evaluation.correlation.kendall,
            Self::Calibration => evaluation.calibration_error,
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

    /// COCO's metrics are shown in percent.
    fn shown(self, value: f64) -> String {
        match self {
            Self::Coco(_) | Self::ClassAgnosticAp => format!("{:.1}", 100.0 * value),
            _ => format!("{value:.3}"),
        }
    }

    fn shown_signed(self, value: f64) -> String {
        match self {
            Self::Coco(_) | Self::ClassAgnosticAp => format!("{:+.1}", 100.0 * value),
            _ => format!("{value:+.3}"),
        }
    }
}

/// A table, with all that it is made of.
#[derive(Serialize)]
pub struct Table {
    title: String,
    data: String,
    /// Of the sources when the table was made, with `-dirty` if they were changed.
    commit: Option<String>,
    /// The configuration of the first row's first seed.
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
    /// Over seeds, by column.
    summary: BTreeMap<&'static str, Summary>,
    /// To the first row, paired by seed, by column.
    difference: BTreeMap<&'static str, Difference>,
    /// The mean over seeds of the differences, and its interval over resampled images.
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Run {
    seed: u64,
    seconds: f64,
    evaluation: Evaluation,
    #[serde(flatten)]
    measures: Measures,
    /// The difference to the first row's run of the same seed, and its interval over
    /// resampled images, by COCO metric.
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Difference {
    #[serde(flatten)]
    summary: Summary,
    /// Half the width of the 95 % interval of Student's t.
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

/// A run and the baseline's of the same seed.
type Pair<'a> = (&'a MeasuredRun, &'a MeasuredRun);

fn pairs<'a>(runs: &'a [MeasuredRun], baseline: &'a [MeasuredRun]) -> Vec<Pair<'a>> {
    let paired = |run: &'a MeasuredRun| {
        let mut baseline = baseline.iter();
        Some((run, baseline.find(|base| base.run.seed == run.run.seed)?))
    };
    runs.iter().filter_map(paired).collect()
}

impl Table {
    /// The table of the runs of `study` that are finished, of all seeds; `resamples`
    /// bootstrap samples of the images for each run, if any.
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
        let dataset = Arc::new(data.source.open(&data.val_split)?);
        let measured = |row| -> Result<Vec<MeasuredRun>, Error> {
            let runs = study.finished_runs(row)?.into_iter();
            runs.map(|run| MeasuredRun::new(run, &dataset, &study.config))
                .collect()
        };
        let mut baseline: Option<Vec<MeasuredRun>> = None;
        let mut rows = Vec::new();
        for row in &study.rows {
            let finished = measured(row)?;
            // The first row's, also if none of them is finished.
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
            Some(first) => Some(first.run.folder.read_config()?),
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
        write_json(&stem.with_extension("json"), self)?;
        let path = stem.with_extension("md");
        std::fs::write(&path, self.markdown()).map_err(Error::io(&path))
    }

    /// The table as Markdown: mean ± standard deviation over seeds, then the differences
    /// to the first row with both intervals.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n", self.title, self.data);
        let seeds = self.rows.iter().map(|row| row.runs.len()).max();
        let _ = writeln!(
            text,
            "Mean ± standard deviation over up to {} seeds, of each run's last epoch; COCO's metrics in percent.\n",
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
            "\nDifference to \"{}\", paired by seed, with its 95 % interval over seeds (Student's t). An interval that \
             holds 0 does not tell the sign; its half width is what as many seeds can resolve.\n",
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
            "\nDifference of each run to that of \"{baseline}\" with the same seed, with its 95 % interval over \
             resampled images (paired bootstrap with replacement, an image drawn twice counts twice), and their mean: \
             what other images would change, not other seeds.\n"
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
        let names: Vec<_> = self.columns.iter().map(|column| column.name()).collect();
        let _ = writeln!(text, "| {first} | {second} | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(names.len()));
    }
}

/// `None` where the sources are in no repository.
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
