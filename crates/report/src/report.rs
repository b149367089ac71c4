//! The report of a run.

use fcos_burn_data::DetectionDataset;
use fcos_burn_eval::{
    Analysis, AnalysisConfig, CocoMetric, CocoResult, Evaluation, EvaluationError,
};

use crate::{ReportError, examined::Examined, run::RunSummary};

/// The report of a run.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub(crate) run: RunSummary,
    /// The run's analysis, or one with the default thresholds.
    pub(crate) analysis: Option<Analysis>,
    /// The detections beside the data, or why they could not be examined.
    pub(crate) examined: Result<Examined<'a>, String>,
}

impl<'a> Report<'a> {
    /// A report of a run. `dataset` is the split that `results` were computed on, or why it cannot be opened. Without
    /// it, or if run, results and data do not belong together, the page has no pictures and no curves of the detections,
    /// and says why.
    ///
    /// # Errors
    ///
    /// Fails if the detections cannot be evaluated.
    pub fn new(
        run: RunSummary,
        dataset: Result<&'a DetectionDataset, String>,
        results: Vec<CocoResult>,
    ) -> Result<Self, ReportError> {
        let examined = match dataset {
            Ok(dataset) => match Examined::new(dataset, results, run.analysis.as_ref()) {
                Err(error @ EvaluationError::UnknownId { .. }) => Err(error.to_string()),
                examined => same_detections(&run.evaluation, examined?),
            },
            Err(cause) => Err(cause),
        };
        let computed = || {
            let matching = &examined.as_ref().ok()?.matching;
            Some(Analysis::of(matching, &AnalysisConfig::default()))
        };
        Ok(Self {
            analysis: run.analysis.clone().or_else(computed),
            run,
            examined,
        })
    }

    /// What the run has recorded.
    pub fn run(&self) -> &RunSummary {
        &self.run
    }

    /// Why the page has no pictures; `None` if it has.
    pub fn unexamined(&self) -> Option<&str> {
        self.examined.as_ref().err().map(String::as_str)
    }

    /// Names the run differently.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.run.name = name.into();
        self
    }

    /// The score threshold from which detections count.
    pub(crate) fn score_threshold(&self) -> f32 {
        score_threshold(self.analysis.as_ref())
    }
}

/// What metrics of the same detections may differ by: results are stored with less precision than they are
/// computed with.
const TOLERANCE: f64 = 0.005;

/// The detections, or why the evaluation of a run is not of them.
fn same_detections<'a>(
    stored: &Evaluation,
    examined: Examined<'a>,
) -> Result<Examined<'a>, String> {
    let found = &examined.evaluation;
    let counts = |of: &Evaluation| format!("{} detections in {} images", of.detections, of.images);
    if (stored.images, stored.detections) != (found.images, found.detections) {
        return Err(format!(
            "the evaluation is of {}, but the results and the data have {}",
            counts(stored),
            counts(found)
        ));
    }
    let differing = CocoMetric::ALL.iter().find_map(|&metric| {
        let [one, other] = [stored, found].map(|of| of.metric(metric).unwrap_or(-1.0));
        ((one - other).abs() > TOLERANCE).then(|| (metric.name(), one, other))
    });
    match differing {
        Some((metric, one, other)) => Err(format!(
            "the evaluation is of other detections than the results: {metric} is {one:.3}, that of the results {other:.3}"
        )),
        None => Ok(examined),
    }
}

/// The chosen score threshold, or 0, from which all detections count.
pub(crate) fn score_threshold(analysis: Option<&Analysis>) -> f32 {
    let threshold = analysis.and_then(|analysis| analysis.score_threshold);
    threshold.unwrap_or(0.0)
}
