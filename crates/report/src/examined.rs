//! Detections beside the data.

use fcos_burn_data::DetectionDataset;
use fcos_burn_eval::{
    Analysis, AnalysisConfig, CocoResult, Evaluation, EvaluationError, detections,
    matching::Matching,
};

/// Detections beside the data that they were computed on.
#[derive(Clone, Debug)]
pub(crate) struct Examined<'a> {
    pub dataset: &'a DetectionDataset,
    pub results: Vec<CocoResult>,
    /// Has the curves, unlike the one that a run stores.
    pub evaluation: Evaluation,
    pub matching: Matching,
}

impl<'a> Examined<'a> {
    pub fn new(
        dataset: &'a DetectionDataset,
        results: Vec<CocoResult>,
        stored: Option<&Analysis>,
    ) -> Result<Self, EvaluationError> {
        let default = AnalysisConfig::default().iou_threshold;
        let iou_threshold = stored.map_or(default, |analysis| analysis.iou_threshold);
        let detections = detections(dataset, &results)?;
        Ok(Self {
            dataset,
            evaluation: Evaluation::new(dataset, &detections)?,
            matching: Matching::new(dataset, &detections, iou_threshold)?,
            results,
        })
    }
}
