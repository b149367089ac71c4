//! Arguments for what is detected.

use clap::Args;
use fcos_burn::{boxes::Suppression, data::Category, data::transforms::Resize, detect::Detector};

use super::{
    ImageSizeArgs,
    number::{parse_count, parse_score},
};
use crate::Error;

/// Settings of a detector.
#[derive(Args, Clone, Debug)]
pub struct DetectionArgs {
    /// Only detect these classes, by name. Boxes of other classes suppress nothing.
    /// Separate names by commas, or repeat the flag
    #[arg(long, value_name = "NAME,…")]
    classes: Vec<String>,
    /// Drop a box if its IoU with a better box of its class is greater than this, from 0 to 1
    /// [default: that of the run, normally 0.6]
    #[arg(long, value_name = "IOU", value_parser = parse_score)]
    iou_threshold: Option<f32>,
    /// Raise the class probability to this power in the score, and the center-ness or the predicted IoU
    /// to 1 − ALPHA, from 0 to 1; only for detectors that predict one of the two [default: that of
    /// the run, normally 0.5]
    #[arg(long, value_name = "ALPHA", value_parser = parse_score)]
    score_exponent: Option<f32>,
    /// Let boxes of all classes suppress each other, so that each object has one class
    #[arg(long)]
    class_agnostic: bool,
    /// Keep at most this many detections per image, those with the highest scores [default: that of
    /// the run, normally 100]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max_detections: Option<usize>,
    #[command(flatten)]
    size: ImageSizeArgs,
}

impl DetectionArgs {
    /// The detector with these settings.
    ///
    /// # Errors
    ///
    /// Fails if the detector does not have a class.
    pub fn apply(&self, detector: Detector) -> Result<Detector, Error> {
        let mut detector = detector;
        if let Some(classes) = self.classes(detector.categories()) {
            detector = detector.with_classes(&classes)?;
        }
        if let Some(iou) = self.iou_threshold {
            detector = detector.with_iou_threshold(iou)?;
        }
        if let Some(exponent) = self.score_exponent {
            detector = detector.with_score_exponent(exponent)?;
        }
        if self.class_agnostic {
            detector = detector.with_suppression(Suppression::AcrossClasses)?;
        }
        if let Some(count) = self.max_detections {
            detector = detector.with_max_detections(count)?;
        }
        if let Some(resize) = self.resize() {
            detector = detector.with_resize(resize)?;
        }
        Ok(detector)
    }

    /// The size of the network's input, if one was given.
    pub fn resize(&self) -> Option<Resize> {
        self.size.resize()
    }

    /// The names of the classes to detect, if some were given.
    fn classes<'a>(&'a self, categories: &[Category]) -> Option<Vec<&'a str>> {
        let names = self.classes.iter().flat_map(|text| names(text, categories));
        (!self.classes.is_empty()).then(|| names.collect())
    }
}

/// The names in a list. A class whose own name has commas is not divided.
fn names<'a>(text: &'a str, categories: &[Category]) -> Vec<&'a str> {
    match categories.iter().any(|category| category.name == text) {
        true => vec![text],
        false => text.split(',').map(str::trim).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_divided_at_commas_that_belong_to_no_name() {
        let categories = Category::list(["cat", "dog", "cup, red"]);
        assert_eq!(names("cat, dog", &categories), ["cat", "dog"]);
        assert_eq!(names("cup, red", &categories), ["cup, red"]);
        assert_eq!(names("cat,fox", &categories), ["cat", "fox"]);
    }
}
