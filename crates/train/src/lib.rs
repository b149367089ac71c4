//! x

pub mod correlation;
