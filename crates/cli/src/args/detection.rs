//! Arguments for what is detected.

use clap::{Args, ValueEnum};
use fcos_burn::{
    boxes::{NmsMethod, Suppression},
    data::{Category, transforms::Resize},
    detect::Detector,
    loss::ConfigError,
};

use super::{
    ImageSizeArgs, TestTimeArgs,
    number::{parse_count, parse_exponent, parse_positive, parse_score},
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
    /// Suppress by this method: greedy drops boxes by their IoU with a better one, diou by their DIoU,
    /// which keeps boxes with distant centers; soft-linear and soft-gaussian lower their scores
    /// instead (Soft-NMS) [default: that of the run, normally greedy]
    #[arg(long, value_enum)]
    nms: Option<Nms>,
    /// Lower scores by exp(-IoU²/SIGMA) with soft-gaussian [default: 0.5]
    #[arg(long, value_name = "SIGMA", value_parser = parse_positive, allow_negative_numbers = true)]
    nms_sigma: Option<f64>,
    /// Raise the class probability to this power in the score, and the center-ness or the predicted IoU
    /// to 1 − ALPHA, above 0 and at most 1; only for detectors that predict one of the two [default: that of
    /// the run, normally 0.5]
    #[arg(long, value_name = "ALPHA", value_parser = parse_exponent)]
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
    #[command(flatten)]
    views: TestTimeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Nms {
    Greedy,
    Diou,
    SoftLinear,
    SoftGaussian,
}

impl DetectionArgs {
    /// The detector with these settings.
    ///
    /// # Errors
    ///
    /// Fails if the detector does not have a class, or if settings contradict each other.
    pub fn apply(&self, detector: Detector) -> Result<Detector, Error> {
        let mut detector = detector;
        if let Some(classes) = self.classes(detector.categories()) {
            detector = detector.with_classes(&classes)?;
        }
        if let Some(iou) = self.iou_threshold {
            detector = detector.with_iou_threshold(iou)?;
        }
        if let Some(method) = self.nms_method(detector.model().postprocess().nms_method)? {
            detector = detector.with_nms_method(method)?;
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
        self.views.apply(detector)
    }

    /// The method of suppression, if one was given.
    fn nms_method(&self, current: NmsMethod) -> Result<Option<NmsMethod>, Error> {
        let mut method = match self.nms {
            Some(Nms::Greedy) => NmsMethod::Greedy,
            Some(Nms::Diou) => NmsMethod::Diou,
            Some(Nms::SoftLinear) => NmsMethod::SoftLinear,
            Some(Nms::SoftGaussian) => NmsMethod::SoftGaussian { sigma: 0.5 },
            None if self.nms_sigma.is_none() => return Ok(None),
            None => current,
        };
        if let Some(given) = self.nms_sigma {
            let NmsMethod::SoftGaussian { sigma } = &mut method else {
                return Err(fcos_burn::detect::Error::from(ConfigError::new(
                    "postprocess.nms_method",
                    method,
                    "soft-gaussian where the width of the Gaussian is given",
                ))
                .into());
            };
            *sigma = given as f32;
        }
        Ok(Some(method))
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
