//! The paper's tables and figures: many trainings, and what is made of them.

pub mod candidates;
pub mod figure2;
pub mod figure3;
pub mod lock_in;
pub mod measured;
pub mod rows;
pub mod study;
pub mod tables;
