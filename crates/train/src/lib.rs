//! x

pub mod correlation;
pub mod drawing;
mod font;
pub mod plots;
