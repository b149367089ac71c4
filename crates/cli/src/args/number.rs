//! Numbers with limits.

use std::{fmt::Display, str::FromStr};

use fcos_burn::eval::matching::BACKGROUND_IOU;

/// Parses a score.
///
/// # Errors
///
/// Fails for anything but a number from 0 to 1.
pub fn parse_score(text: &str) -> Result<f32, String> {
    parse(
        text,
        |score| (0.0..=1.0).contains(score),
        "a number from 0 to 1",
    )
}

/// Parses the exponent of a score.
///
/// # Errors
///
/// Fails for anything but a number above 0 and at most 1.
pub fn parse_exponent(text: &str) -> Result<f32, String> {
    parse_above(0.0, text).map(|value| value as f32)
}

/// Parses a precision.
///
/// # Errors
///
/// Fails for anything but a number above 0 and at most 1.
pub fn parse_precision(text: &str) -> Result<f64, String> {
    parse_above(0.0, text)
}

/// Parses the IoU from which a detection finds an object.
///
/// # Errors
///
/// Fails for anything but a number above [`BACKGROUND_IOU`] and at most 1.
pub fn parse_match_iou(text: &str) -> Result<f64, String> {
    parse_above(BACKGROUND_IOU, text)
}

/// Parses the share of the training split that is held out for validation.
///
/// # Errors
///
/// Fails for anything but a number above 0 and below 1.
pub fn parse_val_share(text: &str) -> Result<f64, String> {
    let holds = |share: &f64| *share > 0.0 && *share < 1.0;
    parse(text, holds, "a number above 0 and below 1")
}

/// Parses a count.
///
/// # Errors
///
/// Fails for anything but an integer above 0.
pub fn parse_count(text: &str) -> Result<usize, String> {
    parse(text, |count| *count > 0, "an integer of at least 1")
}

/// Parses a time in seconds.
///
/// # Errors
///
/// Fails for anything but a number above 0.
pub fn parse_seconds(text: &str) -> Result<f64, String> {
    parse_positive(text)
}

pub(super) fn parse_positive(text: &str) -> Result<f64, String> {
    let holds = |value: &f64| value.is_finite() && *value > 0.0;
    parse(text, holds, "a number above 0")
}

pub(super) fn parse_non_negative(text: &str) -> Result<f64, String> {
    let holds = |value: &f64| value.is_finite() && *value >= 0.0;
    parse(text, holds, "a number of at least 0")
}

pub(super) fn parse_factor(text: &str) -> Result<f32, String> {
    let holds = |factor: &f32| (0.1..=10.0).contains(factor);
    parse(text, holds, "a factor from 0.1 to 10")
}

pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    parse(
        text,
        |share| (0.0..=1.0).contains(share),
        "a number from 0 to 1",
    )
}

pub(super) fn parse_decay(text: &str) -> Result<f64, String> {
    let holds = |decay: &f64| (0.0..1.0).contains(decay);
    parse(text, holds, "a number of at least 0 and below 1")
}

pub(super) fn parse_threshold(text: &str) -> Result<f64, String> {
    parse_above(0.0, text)
}

pub(super) fn parse_smoothing(text: &str) -> Result<f64, String> {
    let holds = |share: &f64| (0.0..=0.5).contains(share);
    parse(text, holds, "a number from 0 to 0.5")
}

pub(super) fn parse_pixels(text: &str) -> Result<f32, String> {
    let holds = |value: &f32| value.is_finite() && *value > 0.0;
    parse(text, holds, "a number above 0")
}

pub(super) fn parse_overlap(text: &str) -> Result<f32, String> {
    parse(
        text,
        |share| (0.0..=0.9).contains(share),
        "a number from 0 to 0.9",
    )
}

fn parse_above(low: f64, text: &str) -> Result<f64, String> {
    let holds = |value: &f64| *value > low && *value <= 1.0;
    parse(
        text,
        holds,
        format_args!("a number above {low} and at most 1"),
    )
}

/// The number, if it holds; otherwise what is expected.
fn parse<T: FromStr>(
    text: &str,
    holds: impl Fn(&T) -> bool,
    expected: impl Display,
) -> Result<T, String> {
    let number = text.parse().ok();
    number
        .filter(|number| holds(number))
        .ok_or_else(|| format!("expected {expected}"))
}
