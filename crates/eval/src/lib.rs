#![doc = include_str!("../README.md")]

mod analysis;
pub mod bootstrap;
pub mod calibration;
pub mod calibrator;
pub mod class_confusion;
mod coco;
pub mod confusion_matrix;
pub mod correlation;
mod error;
pub mod error_case;
pub mod error_cost;
mod evaluation;
pub mod matching;
mod metric;
pub mod operating_point;
mod results;
pub mod statistics;
#[doc(hidden)]
pub mod text_table;

pub use analysis::{Analysis, AnalysisConfig, ClassPoints, EvaluationReport, OperatingPoints};
pub use error::EvaluationError;
pub use evaluation::{Evaluation, score_iou};
pub use metric::{CocoMetric, CocoMetrics};
pub use results::{CocoResult, detections, results};
