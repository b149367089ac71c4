//! The metrics of the COCO evaluation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A metric of the COCO evaluation of boxes.
///
/// AP averages over the IoU thresholds 0.50, 0.55, … 0.95 with at most 100
/// detections an image; small objects are below 32² pixels of the original image,
/// large ones from 96² on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CocoMetric {
    /// Average precision.
    AP,
    /// AP at IoU 0.50.
    AP50,
    /// AP at IoU 0.75.
    AP75,
    /// AP at IoU 0.90 (the paper, Table I).
    AP90,
    /// AP of small objects.
    APS,
    /// AP of medium objects.
    APM,
    /// AP of large objects.
    APL,
    /// Average recall with 1 detection an image.
    AR1,
    /// Average recall with 10 detections an image.
    AR10,
    /// Average recall with 100 detections an image.
    AR100,
    /// AR of small objects.
    ARS,
    /// AR of medium objects.
    ARM,
    /// AR of large objects.
    ARL,
}

impl CocoMetric {
    /// All metrics, in the order of COCO's table.
    pub const ALL: [Self; 13] = [
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

    /// The metric's name.
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

    /// The metric's name in hotcoco's report, which has no AP90.
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

/// COCO's metrics as fractions; `None` where the data has no ground truth for one (pycocotools prints −1).
pub type CocoMetrics = BTreeMap<CocoMetric, Option<f64>>;
