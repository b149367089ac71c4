//! What the detections of finished runs tell beyond their evaluation. It takes longer to
//! compute than a table to write, so that it is kept beside them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use fcos_burn::{
    data::DetectionDataset,
    train::{
        Error, RunConfig,
        comparison::{Figures, paired_differences, resampled_figures},
        evaluation::{CocoFigure, CocoResult, class_agnostic_figures},
        run::{read_json, write_json},
        statistics::percentile_interval,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    candidates::{Choices, candidates},
    study::FinishedRun,
};

/// Probability of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// A finished run with what was measured of it.
#[derive(Clone)]
pub struct MeasuredRun {
    /// The run.
    pub run: Arc<FinishedRun>,
    /// What its detections tell.
    pub measures: Measures,
    /// Tells its detections from others.
    digest: u32,
}

/// What the detections of a run tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measures {
    /// AP where every class is taken for the same one.
    pub class_agnostic_ap: Option<f64>,
    /// How well scores choose among the candidates.
    pub choices: Option<Choices>,
}

/// The difference of two runs and its interval over resampled images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BootstrapInterval {
    /// In the figure itself.
    pub difference: f64,
    /// Its ends.
    pub interval: [f64; 2],
}

/// By COCO figure.
pub type Bootstrap = BTreeMap<CocoFigure, BootstrapInterval>;

/// A value that was computed from files, and from which.
#[derive(Serialize, Deserialize)]
struct Kept<K, V> {
    of: K,
    value: V,
}

/// The value in `path` if it is `of` the same, else that which `compute` gives, which is
/// then kept there.
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
    /// Measures a run on `dataset`, on which it was evaluated; its detector computes on the
    /// first device of `config`.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read or written.
    pub fn new(
        run: FinishedRun,
        dataset: &Arc<DetectionDataset>,
        config: &RunConfig,
    ) -> Result<Self, Error> {
        let path = run.folder.results_path();
        let digest = crc32fast::hash(&std::fs::read(&path).map_err(Error::io(&path))?);
        let measures = kept(&run.folder.path().join("measures.json"), digest, || {
            let figures = class_agnostic_figures(dataset, &results(&run)?)?;
            let candidates = candidates(&run.folder, dataset, config)?;
            Ok(Measures {
                class_agnostic_ap: figures[&CocoFigure::AP],
                choices: Choices::new(dataset, &candidates)?,
            })
        })?;
        Ok(Self {
            run: Arc::new(run),
            measures,
            digest,
        })
    }

    /// COCO's figures over `resamples` bootstrap samples of the images of `dataset`, the
    /// same samples for all runs of a seed.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read or written.
    pub fn resampled(
        &self,
        dataset: &DetectionDataset,
        resamples: usize,
    ) -> Result<Vec<Figures>, Error> {
        let path = self.run.folder.path().join("resampled.json");
        kept(&path, (self.digest, resamples), || {
            let results = results(&self.run)?;
            resampled_figures(dataset, &results, resamples, self.run.seed)
        })
    }
}

/// The differences of `run` to `baseline`, which has the same seed, with their intervals
/// over `resamples` samples of the images of `dataset`.
///
/// # Errors
///
/// Names the file that cannot be read or written.
pub fn bootstrap(
    run: &MeasuredRun,
    baseline: &MeasuredRun,
    dataset: &DetectionDataset,
    resamples: usize,
) -> Result<Bootstrap, Error> {
    let with = run.resampled(dataset, resamples)?;
    let without = baseline.resampled(dataset, resamples)?;
    let lists = paired_differences(&with, &without).into_iter();
    let intervals = lists.filter_map(|(figure, differences)| {
        let of = |run: &MeasuredRun| run.run.evaluation.figure(figure);
        let found = BootstrapInterval {
            difference: of(run)? - of(baseline)?,
            interval: percentile_interval(&differences, CONFIDENCE)?,
        };
        Some((figure, found))
    });
    Ok(intervals.collect())
}

fn results(run: &FinishedRun) -> Result<Vec<CocoResult>, Error> {
    read_json(&run.folder.results_path())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_value_is_computed_once_for_the_same_files() {
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
