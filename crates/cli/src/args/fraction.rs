//! Scores, precisions and IoUs.

use fcos_burn::eval::matching::BACKGROUND_IOU;

/// Parses a score.
///
/// # Errors
///
/// Fails for anything but a number from 0 to 1.
pub fn parse_score(text: &str) -> Result<f32, String> {
    let score = text.parse::<f32>().ok();
    score
        .filter(|score| (0.0..=1.0).contains(score))
        .ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Parses a precision.
///
/// # Errors
///
/// Fails for anything but a number above 0 and at most 1.
pub fn parse_precision(text: &str) -> Result<f64, String> {
    above(0.0, text)
}

/// Parses the IoU from which a detection finds an object.
///
/// # Errors
///
/// Fails for anything but a number above [`BACKGROUND_IOU`] and at most 1.
pub fn parse_match_iou(text: &str) -> Result<f64, String> {
    above(BACKGROUND_IOU, text)
}

fn above(low: f64, text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok();
    value
        .filter(|value| *value > low && *value <= 1.0)
        .ok_or_else(|| format!("expected a number above {low} and at most 1"))
}
