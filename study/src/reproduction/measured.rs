//! Measures of the detections of finished runs, beyond their evaluation. They take longer to
//! compute than a table takes to write, so they are cached in the run folders.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::Error;
use fcos_burn::{
    data::DetectionDataset,
    detect::json::{read_json, write_json},
    eval::bootstrap::{paired_differences, resampled_metrics},
    eval::calibrator::{
        CalibrationComparison, CalibrationConfig, CalibrationFigures, CalibrationMethod,
    },
    eval::class_confusion::class_agnostic_metrics,
    eval::correlation::ScoreCorrelation,
    eval::statistics::percentile_interval,
    eval::{CocoMetric, CocoMetrics, CocoResult, detections, score_iou},
    train::RunConfig,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    candidates::{ByImage, Choices, FITS, candidates},
    study::FinishedRun,
};

/// Seed of the bootstrap samples, the same for all runs so that they are paired.
const SAMPLES_SEED: u64 = 0;

/// Version of all cached values, increased whenever their definition changes.
const VERSION: u32 = 5;

/// Confidence level of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// A finished run with its measures.
#[derive(Clone)]
pub struct MeasuredRun {
    /// The run.
    pub run: Arc<FinishedRun>,
    /// Measures of its detections.
    pub measures: Measures,
    /// Of what it was measured.
    key: Key,
}

/// Measures of the detections of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measures {
    /// Class-agnostic AP.
    pub class_agnostic_ap: Option<f64>,
    /// Correlation of score and IoU over the detections with an IoU of at least 0.5 with an
    /// object.
    pub fitting: ScoreCorrelation,
    /// How well scores choose among the candidates; `None` if no object was found.
    pub choices: Option<Choices>,
    /// The figures of the scores after isotonic regression.
    pub calibrated: CalibrationFigures,
}

/// The difference between two runs, with its interval over resampled images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BootstrapInterval {
    /// Difference of the metric.
    pub difference: f64,
    /// Lower and upper end of the interval.
    pub interval: [f64; 2],
}

/// Differences by COCO metric.
pub type Bootstrap = BTreeMap<CocoMetric, BootstrapInterval>;

/// What a cached value depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    version: u32,
    /// Checksum of the detections.
    results: u32,
    /// Checksum of the ground truth.
    truth: u32,
}

impl Key {
    fn of(run: &FinishedRun, dataset: &DetectionDataset) -> Result<Self, Error> {
        let path = run.folder.results_path();
        let results = std::fs::read(&path).map_err(Error::io(&path))?;
        let truth = serde_json::to_vec(&dataset.to_coco());
        Ok(Self {
            version: VERSION,
            results: crc32fast::hash(&results),
            truth: crc32fast::hash(&truth.map_err(|error| Error::Failed(error.to_string()))?),
        })
    }
}

/// A cached value, with a key that identifies what it was computed from.
#[derive(Serialize, Deserialize)]
struct Kept<K, V> {
    of: K,
    value: V,
}

/// Returns the value cached in `path` if its key is `of`. Otherwise computes it and caches it
/// there.
fn kept<K, V>(path: &Path, of: K, compute: impl FnOnce() -> Result<V, Error>) -> Result<V, Error>
where
    K: Serialize + DeserializeOwned + PartialEq,
    V: Serialize + DeserializeOwned,
{
    if let Ok(kept) = read_json::<Kept<K, V>>(path)
        && kept.of == of
    {
        return Ok(kept.value);
    }
    let kept = Kept {
        of,
        value: compute()?,
    };
    write_json(path, &kept)?;
    Ok(kept.value)
}

impl MeasuredRun {
    /// Measures a run on `dataset`, the data set of its evaluation. Its detector runs on the first
    /// device of `config`.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read or written.
    pub fn new(
        run: FinishedRun,
        dataset: &Arc<DetectionDataset>,
        config: &RunConfig,
    ) -> Result<Self, Error> {
        let key = Key::of(&run, dataset)?;
        let path = run.folder.path().join("measures.json");
        let measures = kept(&path, key, || {
            let results = results(&run)?;
            let threshold = config.model.postprocess.nms_iou_threshold;
            let metrics = class_agnostic_metrics(dataset, &results, threshold)?;
            let detections = detections(dataset, &results)?;
            let isotonic = CalibrationConfig::new(CalibrationMethod::Isotonic);
            let calibration =
                CalibrationComparison::new(dataset, &detections, &isotonic, FITS.into())?;
            let mut pairs = score_iou(dataset, &detections)?;
            pairs.retain(|(_, iou)| *iou >= FITS.into());
            let detections = ByImage::new(detections);
            let candidates = ByImage::new(candidates(&run.folder, dataset, config)?);
            Ok(Measures {
                class_agnostic_ap: metrics[&CocoMetric::AP],
                fitting: ScoreCorrelation::new(&pairs),
                choices: Choices::new(dataset, &detections, &candidates),
                calibrated: calibration.after,
            })
        })?;
        Ok(Self {
            run: Arc::new(run),
            measures,
            key,
        })
    }

    /// COCO metrics on `resamples` bootstrap samples of the images of `dataset`, which are the same
    /// for all runs.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read or written.
    pub fn resampled(
        &self,
        dataset: &DetectionDataset,
        resamples: usize,
    ) -> Result<Vec<CocoMetrics>, Error> {
        if resamples == 0 {
            return Ok(Vec::new());
        }
        let file = format!("resampled-{resamples}.json");
        kept(&self.run.folder.path().join(file), self.key, || {
            let results = results(&self.run)?;
            Ok(resampled_metrics(
                dataset,
                &results,
                resamples,
                SAMPLES_SEED,
            )?)
        })
    }
}

/// Differences of the runs of a row to the baseline runs with the same seed.
pub struct Bootstraps {
    /// Difference of each run, by seed.
    pub of_runs: BTreeMap<u64, Bootstrap>,
    /// Mean difference over the seeds. Its interval shows the effect of other images.
    pub of_mean: Bootstrap,
}

/// Differences within `pairs` of a run and the baseline run with the same seed, with intervals over
/// `resamples` bootstrap samples of the images of `dataset`.
///
/// # Errors
///
/// Names the file that cannot be read or written.
pub fn bootstrap(
    pairs: &[(&MeasuredRun, &MeasuredRun)],
    dataset: &DetectionDataset,
    resamples: usize,
) -> Result<Bootstraps, Error> {
    let mut found = Bootstraps {
        of_runs: BTreeMap::new(),
        of_mean: BTreeMap::new(),
    };
    let mut of_all = BTreeMap::<CocoMetric, Vec<(f64, Vec<f64>)>>::new();
    for (run, baseline) in pairs {
        let with = run.resampled(dataset, resamples)?;
        let without = baseline.resampled(dataset, resamples)?;
        let mut intervals = BTreeMap::new();
        for (metric, samples) in paired_differences(&with, &without) {
            let of = |run: &MeasuredRun| run.run.evaluation.metric(metric);
            let (Some(value), Some(base)) = (of(run), of(baseline)) else {
                continue;
            };
            intervals.extend(Some(metric).zip(interval(value - base, &samples)));
            of_all
                .entry(metric)
                .or_default()
                .push((value - base, samples));
        }
        found.of_runs.insert(run.run.seed, intervals);
    }
    for (metric, differences) in of_all {
        let count = differences.len() as f64;
        // Whether a metric is defined on a sample depends on its images only, so the samples of all
        // runs correspond.
        let samples = differences.iter().map(|(_, samples)| samples.len()).min();
        let mean = differences.iter().map(|(value, _)| value / count).sum();
        let means: Vec<f64> = (0..samples.unwrap_or(0))
            .map(|sample| differences.iter().map(|(_, all)| all[sample] / count).sum())
            .collect();
        found
            .of_mean
            .extend(Some(metric).zip(interval(mean, &means)));
    }
    Ok(found)
}

fn interval(difference: f64, samples: &[f64]) -> Option<BootstrapInterval> {
    Some(BootstrapInterval {
        difference,
        interval: percentile_interval(samples, CONFIDENCE)?,
    })
}

fn results(run: &FinishedRun) -> Result<Vec<CocoResult>, Error> {
    Ok(read_json(&run.folder.results_path())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_value_is_computed_once_per_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value.json");
        let mut computed = 0;
        let mut get = |of: (u32, usize)| {
            kept(&path, of, || {
                computed += 1;
                Ok(0.1 + 0.2 * of.1 as f64)
            })
            .unwrap()
        };
        let first = get((7, 10));
        assert_eq!(get((7, 10)), first);
        assert_ne!(get((7, 20)), first);
        assert_eq!(get((8, 10)), first);
        std::fs::write(&path, "{\"of\": [8").unwrap();
        assert_eq!(kept(&path, (8_u32, 10_usize), || Ok(first)).unwrap(), first);
        assert_eq!(computed, 3);
    }
}
