//! Tests across crates, and the examples in the README as doctests.

pub mod readers;

/// The README, whose examples run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
