//! COCO metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A metric of the [COCO evaluation](https://cocodataset.org/#detection-eval) of boxes.
///
/// AP and AR are averaged over the classes and, unless noted otherwise, over the IoU
/// thresholds 0.50, 0.55, …, 0.95, with at most 100 detections per image and class. Small objects have
/// an area below 32² pixels of the original image, large ones an area above 96².
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CocoMetric {
    /// Average precision.
    AP,
    /// AP at IoU 0.50.
    AP50,
    /// AP at IoU 0.75.
    AP75,
    /// AP at IoU 0.90 (the association-loss paper, Table I).
    AP90,
    /// AP of small objects.
    APS,
    /// AP of medium objects.
    APM,
    /// AP of large objects.
    APL,
    /// Average recall with at most 1 detection per image and class.
    AR1,
    /// Average recall with at most 10 detections per image and class.
    AR10,
    /// Average recall with at most 100 detections per image and class.
    AR100,
    /// AR of small objects.
    ARS,
    /// AR of medium objects.
    ARM,
    /// AR of large objects.
    ARL,
}

impl CocoMetric {
    /// All metrics, in the order of COCO's table, with AP90 after AP75.
    pub const ALL: &'static [Self] = &[
        Self::AP,
        Self::AP50,
        Self::AP75,
        Self::AP90,
        Self::APS,
        Self::APM,
        Self::APL,
        Self::AR1,
        Self::AR10,
        Self::AR100,
        Self::ARS,
        Self::ARM,
        Self::ARL,
    ];

    /// The metric's name, such as `AP50`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AP => "AP",
            Self::AP50 => "AP50",
            Self::AP75 => "AP75",
            Self::AP90 => "AP90",
            Self::APS => "APS",
            Self::APM => "APM",
            Self::APL => "APL",
            Self::AR1 => "AR1",
            Self::AR10 => "AR10",
            Self::AR100 => "AR100",
            Self::ARS => "ARS",
            Self::ARM => "ARM",
            Self::ARL => "ARL",
        }
    }

    /// The metric's name in hotcoco's report, or `None` for AP90, which is not in it.
    pub(crate) fn key(self) -> Option<&'static str> {
        Some(match self {
            Self::AP90 => return None,
            Self::APS => "APs",
            Self::APM => "APm",
            Self::APL => "APl",
            Self::ARS => "ARs",
            Self::ARM => "ARm",
            Self::ARL => "ARl",
            other => other.name(),
        })
    }
}

/// COCO metrics as fractions in [0, 1]. A metric is `None` if the data set has no ground truth
/// for it, such as no small objects (pycocotools prints −1).
pub type CocoMetrics = BTreeMap<CocoMetric, Option<f64>>;
