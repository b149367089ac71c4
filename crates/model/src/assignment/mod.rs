//! Target assignment: which locations are trained to predict which object.
//!
//! Assignment runs on the host. An [`AssignmentRule`] depends on the objects and the locations
//! alone, so that data loading workers can apply it ahead of time: [`AssignmentConfig`], the rule
//! of FCOS, and [`AtssConfig`]. A [`PredictionAssignmentRule`] also looks at what the step
//! predicts: [`TalConfig`], [`SimOtaConfig`] and [`DwConfig`]. [`AssignerConfig`] selects one.
//!
//! All built-in rules assign a location only to an object whose box it lies strictly inside, so
//! that all four distances are positive, and handle degenerate boxes and predictions that are
//! infinite or NaN.

mod assigner;
mod atss;
mod dw;
mod fcos;
mod geometry;
mod rule;
mod scores;
mod simota;
mod tal;

pub use assigner::{Assigner, AssignerConfig};
pub use atss::AtssConfig;
pub use dw::DwConfig;
pub use fcos::AssignmentConfig;
pub use rule::{
    Assignment, AssignmentError, AssignmentRule, BACKGROUND, IGNORED, LocationWeights,
    PredictionAssignmentRule,
};
pub use simota::SimOtaConfig;
pub use tal::TalConfig;
