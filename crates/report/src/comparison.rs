//! Several runs side by side.

use std::collections::BTreeMap;

use fcos_burn_data::DetectionDataset;
use fcos_burn_eval::{
    Analysis, CocoMetric,
    bootstrap::{paired_differences, resampled_metrics},
    statistics::percentile_interval,
};

use crate::{
    ReportError,
    examined::Examined,
    report::{Report, score_threshold},
    run::RunSummary,
};

/// The confidence level of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// The seed of the bootstrap samples.
const SEED: u64 = 0;

/// Several runs on the same data, compared with the first.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    pub(crate) runs: Vec<Examinee<'a>>,
    pub(crate) resamples: usize,
}

/// A run of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Examinee<'a> {
    pub run: RunSummary,
    pub analysis: Option<Analysis>,
    pub examined: Examined<'a>,
    /// The interval of the difference of each metric from the first run; empty for the first run.
    pub intervals: BTreeMap<CocoMetric, [f64; 2]>,
}

impl Examinee<'_> {
    /// The score threshold from which detections count.
    pub fn score_threshold(&self) -> f32 {
        score_threshold(self.analysis.as_ref())
    }
}

impl<'a> Comparison<'a> {
    /// Compares runs with the first. The intervals are those of a [paired bootstrap](fcos_burn_eval::bootstrap) with
    /// this many samples of the images. They cover the choice of images, not the random seed of the training.
    ///
    /// # Errors
    ///
    /// Fails if the data of a run is missing or differs from that of the first, if detections were matched at another
    /// IoU, or if they cannot be evaluated.
    pub fn new(reports: Vec<Report<'a>>, resamples: usize) -> Result<Self, ReportError> {
        let mut runs = Vec::with_capacity(reports.len());
        for report in reports {
            let Report {
                run,
                analysis,
                examined,
            } = report;
            let examined = match examined {
                Ok(examined) => examined,
                Err(cause) => {
                    return Err(ReportError::NoData {
                        run: run.name,
                        cause,
                    });
                }
            };
            let run = Examinee {
                run,
                analysis,
                examined,
                intervals: BTreeMap::new(),
            };
            if let Some(first) = runs.first() {
                check_comparable(first, &run)?;
            }
            runs.push(run);
        }
        let resampled = |run: &Examinee<'_>| {
            let Examined {
                dataset, results, ..
            } = &run.examined;
            resampled_metrics(dataset, results, resamples, SEED)
        };
        if let Some((first, others)) = runs.split_first_mut() {
            let baseline = resampled(first)?;
            for run in others {
                let lists = paired_differences(&resampled(run)?, &baseline).into_iter();
                let interval = |(metric, list): (CocoMetric, Vec<f64>)| {
                    Some((metric, percentile_interval(&list, CONFIDENCE)?))
                };
                run.intervals = lists.filter_map(interval).collect();
            }
        }
        Ok(Self { runs, resamples })
    }
}

/// Fails if a run was evaluated on other data than the first, or its detections were matched at another IoU.
fn check_comparable(first: &Examinee<'_>, run: &Examinee<'_>) -> Result<(), ReportError> {
    let [one, other] = [first.examined.dataset, run.examined.dataset];
    let data = difference(one, other).map(|cause| {
        let [one, other] = [one, other].map(DetectionDataset::name);
        format!("one was evaluated on {one}, the other on {other}: {cause}")
    });
    let [iou, other_iou] = [first, run].map(|run| run.examined.matching.iou_threshold());
    let matching = (iou != other_iou)
        .then(|| format!("detections were matched at an IoU of {iou} and of {other_iou}"));
    match data.or(matching) {
        Some(cause) => Err(ReportError::NotComparable {
            first: first.run.name.clone(),
            other: run.run.name.clone(),
            cause,
        }),
        None => Ok(()),
    }
}

fn difference(one: &DetectionDataset, other: &DetectionDataset) -> Option<String> {
    let [images, other_images] = [one, other].map(DetectionDataset::len);
    let names = |dataset: &DetectionDataset| -> Vec<String> {
        let categories = dataset.categories().iter();
        categories.map(|category| category.name.clone()).collect()
    };
    if images != other_images {
        Some(format!("{images} and {other_images} images"))
    } else if names(one) != names(other) {
        let [one, other] = [one, other].map(|dataset| names(dataset).join(", "));
        Some(format!("the classes {one} and {other}"))
    } else if one.images() != other.images() || one.categories() != other.categories() {
        Some("other images, objects or ids".to_owned())
    } else {
        None
    }
}
