//! The rows of `metrics.json`.

use std::collections::BTreeMap;

use fcos_burn_eval::{CocoMetric, Evaluation};
use serde::{Deserialize, Serialize};

/// The results of an epoch: a row of `metrics.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Seconds that its training and validation took.
    pub seconds: f64,
    /// Learning rate of its last iteration.
    pub learning_rate: f64,
    /// Means of the step metrics over all steps, by name; mean IoU and class accuracy are averaged
    /// over all positive locations.
    pub train: BTreeMap<String, f64>,
    /// The number of steps whose gradient was clipped.
    #[serde(default)]
    pub clipped_steps: usize,
    /// The number of unreadable training images, replaced by others, since the training was
    /// started or last resumed.
    #[serde(default)]
    pub unreadable_images: usize,
    /// The evaluation on the validation split, if the epoch was validated.
    pub validation: Option<Evaluation>,
}

impl EpochRow {
    /// AP on the validation split, if it is defined.
    pub fn ap(&self) -> Option<f64> {
        self.validation.as_ref()?.metric(CocoMetric::AP)
    }

    /// Whether it is validated, with a higher AP than in all epochs before. If AP is undefined in all of them, as
    /// without objects, each validated epoch counts as better than those before, so that the last one is kept.
    pub(crate) fn is_best(&self, before: &[Self]) -> bool {
        let best = before.iter().filter_map(Self::ap).reduce(f64::max);
        let is_better = |best| self.ap().is_some_and(|ap| ap > best);
        self.validation.is_some() && best.is_none_or(is_better)
    }

    /// Validated epochs with these APs on a split without anything else.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn with_aps(aps: &[Option<f64>]) -> Vec<Self> {
        use fcos_burn_data::{
            DetectionDataset,
            shapes::{ShapesConfig, ShapesSplit},
        };

        let shapes = ShapesConfig::default().with_val_images(1);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let evaluation = Evaluation::new(&dataset, &[]).unwrap();
        let row = |(ap, epoch): (&Option<f64>, usize)| {
            let mut validation = evaluation.clone();
            validation.metrics.insert(CocoMetric::AP, *ap);
            Self {
                epoch,
                seconds: 0.0,
                learning_rate: 0.0,
                train: BTreeMap::new(),
                clipped_steps: 0,
                unreadable_images: 0,
                validation: Some(validation),
            }
        };
        aps.iter().zip(1..).map(row).collect()
    }
}
