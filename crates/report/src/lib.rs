#![doc = include_str!("../README.md")]

mod charts;
mod comparison;
mod error;
mod examined;
mod page;
mod provenance;
mod report;
mod run;

pub use charts::{operating_points, precision_recall, score_iou};
pub use comparison::{CONFIDENCE, Comparison};
pub use error::ReportError;
pub use provenance::{ClassObjects, Provenance, Session, SplitCounts};
pub use report::Report;
pub use run::{Epoch, RunSummary};
