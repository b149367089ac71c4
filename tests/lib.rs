//! Tests that cross crates, and the examples of the project's README.

pub mod readers;

/// Holds the README, whose examples run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
