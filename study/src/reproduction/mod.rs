//! The tables and figures of the paper: many training runs and their summaries.

pub mod candidates;
pub mod figure2;
pub mod figure3;
pub mod lock_in;
pub mod measured;
pub mod record_file;
pub mod rows;
pub mod study;
pub mod tables;
