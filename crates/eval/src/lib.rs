#![doc = include_str!("../README.md")]

pub mod bootstrap;
pub mod calibration;
pub mod class_confusion;
mod coco;
pub mod correlation;
mod error;
mod evaluation;
mod metric;
mod results;
pub mod statistics;

pub use error::EvaluationError;
pub use evaluation::{Evaluation, score_iou};
pub use metric::{CocoMetric, CocoMetrics};
pub use results::{CocoResult, detections, results};
