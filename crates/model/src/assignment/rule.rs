//! Assignment rules and the assignments that they return.

use std::fmt;

use fcos_burn_boxes::LabeledBox;
pub use fcos_burn_loss::{BACKGROUND, IGNORED};

use crate::{locations::Locations, predictions::ImagePredictions};

/// The object that each location is assigned to, in the order of [`Locations`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Assignment {
    /// Class index of the object, from 0, [`BACKGROUND`] or [`IGNORED`].
    pub labels: Vec<i32>,
    /// Box of the object, `[x1, y1, x2, y2]` in input pixels; zeros for background.
    pub boxes: Vec<[f32; 4]>,
    /// The label that classification losses with soft labels have at positive locations, in
    /// `[0, 1]`; without it, the IoU of the predicted box. Any value elsewhere.
    pub quality: Option<Vec<f32>>,
    /// Weights of the losses; without them, all are 1.
    pub weights: Option<LocationWeights>,
}

/// The weights of an [`Assignment`], in the order of its locations: those of
/// [`TargetWeights`](fcos_burn_loss::TargetWeights), which defines them, on the host. All are finite
/// and at least 0.
#[derive(Clone, Debug, PartialEq)]
pub struct LocationWeights {
    /// `w⁺`, the weight of the labeled class as a positive; 0 where a location is not positive.
    pub positive: Vec<f32>,
    /// `w⁻`, the weight of the labeled class as background; 0 where a location is not positive.
    pub negative: Vec<f32>,
    /// The weight of the box; 0 where a location is not positive.
    pub boxes: Vec<f32>,
    /// What the image adds to the divisor `N⁺`.
    pub positive_divisor: f32,
    /// What the image adds to the divisor `N⁻`.
    pub negative_divisor: f32,
}

impl LocationWeights {
    /// Weights of 0 for `count` locations.
    pub fn zeros(count: usize) -> Self {
        Self {
            positive: vec![0.0; count],
            negative: vec![0.0; count],
            boxes: vec![0.0; count],
            positive_divisor: 0.0,
            negative_divisor: 0.0,
        }
    }

    /// Appends the weights of another image.
    pub fn append(&mut self, other: Self) {
        self.positive.extend(other.positive);
        self.negative.extend(other.negative);
        self.boxes.extend(other.boxes);
        self.positive_divisor += other.positive_divisor;
        self.negative_divisor += other.negative_divisor;
    }

    /// The weights that locations with these `labels` have without any: 1 for positives, whose
    /// number is the divisor.
    pub fn plain(labels: &[i32]) -> Self {
        let positive: Vec<f32> = (labels.iter())
            .map(|label| f32::from(u8::from(*label >= 0)))
            .collect();
        let count = positive.iter().sum();
        Self {
            negative: vec![0.0; labels.len()],
            boxes: positive.clone(),
            positive,
            positive_divisor: count,
            negative_divisor: count,
        }
    }
}

impl Assignment {
    /// All of `count` locations as background.
    pub fn background(count: usize) -> Self {
        Self {
            labels: vec![BACKGROUND; count],
            boxes: vec![[0.0; 4]; count],
            quality: None,
            weights: None,
        }
    }

    /// Assigns a location to an object.
    ///
    /// # Panics
    ///
    /// If there is no such location.
    pub fn set(&mut self, location: usize, object: &LabeledBox) {
        self.labels[location] = object.label as i32;
        self.boxes[location] = object.bbox;
    }

    /// Leaves a location out of the objective.
    ///
    /// # Panics
    ///
    /// If there is no such location.
    pub fn ignore(&mut self, location: usize) {
        self.labels[location] = IGNORED;
        self.boxes[location] = [0.0; 4];
    }

    /// Checks that the assignment of these `objects` to `count` locations by `rule` meets the
    /// requirements of an [`AssignmentRule`].
    ///
    /// # Errors
    ///
    /// Names the rule and the requirement that it violates.
    pub fn check(
        &self,
        rule: &dyn fmt::Debug,
        objects: &[LabeledBox],
        count: usize,
    ) -> Result<(), AssignmentError> {
        let broken = |cause: String| AssignmentError {
            rule: format!("{rule:?}"),
            cause,
        };
        let (labels, boxes) = (self.labels.len(), self.boxes.len());
        if labels != count || boxes != count {
            return Err(broken(format!(
                "{labels} labels and {boxes} boxes for {count} locations"
            )));
        }
        let mut known: Vec<i32> = objects.iter().map(|object| object.label as i32).collect();
        known.sort_unstable();
        let positives = self.labels.iter().zip(&self.boxes).enumerate();
        let other = |label: i32| matches!(label, BACKGROUND | IGNORED);
        for (location, (label, bbox)) in positives.filter(|(_, (label, _))| !other(**label)) {
            if known.binary_search(label).is_err() {
                return Err(broken(format!(
                    "location {location} the label {label}, which no object has"
                )));
            }
            let [x1, y1, x2, y2] = *bbox;
            if !(bbox.iter().all(|side| side.is_finite()) && x2 > x1 && y2 > y1) {
                return Err(broken(format!(
                    "location {location} the box {bbox:?}, whose width and height must be \
                     positive"
                )));
            }
        }
        self.check_columns(count).map_err(broken)
    }

    /// Checks that all assignments of several images with positive locations have a quality if one
    /// has.
    ///
    /// # Errors
    ///
    /// Names the rule.
    pub fn check_together(
        assignments: &[Self],
        rule: &dyn fmt::Debug,
    ) -> Result<(), AssignmentError> {
        let lacks_quality =
            |it: &Self| it.quality.is_none() && it.labels.iter().any(|label| *label >= 0);
        let some = assignments.iter().any(|it| it.quality.is_some());
        match some && assignments.iter().any(lacks_quality) {
            true => Err(AssignmentError {
                rule: format!("{rule:?}"),
                cause: "a quality for one image, but not for another".to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Checks quality and weights; the error is what is wrong with them.
    fn check_columns(&self, count: usize) -> Result<(), String> {
        let within = |name, values: &[f32], highest: f32| {
            if values.len() != count {
                return Err(format!("{} {name} for {count} locations", values.len()));
            }
            let wrong =
                |(value, label): (&f32, &i32)| *label >= 0 && !(0.0..=highest).contains(value);
            match values.iter().zip(&self.labels).position(wrong) {
                None => Ok(()),
                Some(location) => Err(format!(
                    "location {location} the value {} among the {name}, which must be from 0 to \
                     {highest}",
                    values[location]
                )),
            }
        };
        if let Some(quality) = &self.quality {
            within("qualities", quality, 1.0)?;
        }
        let Some(weights) = &self.weights else {
            return Ok(());
        };
        within("positive weights", &weights.positive, f32::MAX)?;
        within("negative weights", &weights.negative, f32::MAX)?;
        within("weights of boxes", &weights.boxes, f32::MAX)?;
        let divisors = [weights.positive_divisor, weights.negative_divisor];
        match divisors
            .iter()
            .all(|divisor| (0.0..=f32::MAX).contains(divisor))
        {
            true => Ok(()),
            false => Err(format!(
                "the divisors {divisors:?}, which must be finite and at least 0"
            )),
        }
    }
}

/// An assignment that violates the requirements of an [`AssignmentRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the assignment rule {rule} gave {cause}")]
#[non_exhaustive]
pub struct AssignmentError {
    /// The `Debug` form of the rule.
    pub rule: String,
    /// What it gave.
    pub cause: String,
}

/// Assigns locations to the objects of an image before anything is predicted.
///
/// For every set of objects, an implementation must return the following. A training run
/// [checks](Assignment::check) it, and stops with an error otherwise.
///
/// - labels and boxes for all of `locations`, in their order;
/// - labels that are those of the objects, [`BACKGROUND`] or [`IGNORED`];
/// - at every positive location, the box of its object, whose width and height are positive and
///   finite: the objective divides by its area. Objects may be degenerate;
/// - a quality for every image with positive locations, or for none; weights that are finite and
///   not negative.
pub trait AssignmentRule: fmt::Debug + Send + Sync {
    /// Assigns the locations of one image.
    ///
    /// `objects` are the image's objects, boxes in input pixels; there may be none.
    fn assign(&self, objects: &[LabeledBox], locations: &Locations) -> Assignment;
}

/// Assigns locations to the objects of an image by what the step predicts for it, such as
/// [`TalConfig`](super::TalConfig), [`SimOtaConfig`](super::SimOtaConfig) and
/// [`DwConfig`](super::DwConfig).
///
/// The requirements are those of an [`AssignmentRule`], for predictions of any value: they may be
/// infinite or NaN when a training diverges.
pub trait PredictionAssignmentRule: fmt::Debug + Send + Sync {
    /// Assigns the locations of one image.
    ///
    /// `predictions` are those of the step for this image, one for each of `locations`.
    fn assign(
        &self,
        objects: &[LabeledBox],
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Assignment;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locations::LocationRule;

    fn object(bbox: [f32; 4], label: usize) -> LabeledBox {
        LabeledBox { bbox, label }
    }

    #[test]
    fn broken_assignments_are_named() {
        let (objects, count) = ([object([0.0, 0.0, 8.0, 8.0], 2)], 3);
        let check = |change: &dyn Fn(&mut Assignment)| {
            let mut assignment = Assignment::background(count);
            assignment.set(1, &objects[0]);
            change(&mut assignment);
            let checked = assignment.check(&"Mine", &objects, count);
            checked.map_err(|error| error.to_string())
        };
        fn weights(assignment: &mut Assignment) -> &mut LocationWeights {
            let plain = LocationWeights::plain(&assignment.labels);
            assignment.weights.insert(plain)
        }
        assert_eq!(check(&|_| ()), Ok(()));
        let allowed = |a: &mut Assignment| {
            a.ignore(0);
            a.quality = Some(vec![f32::NAN, 1.0, 7.0]);
            weights(a).positive[2] = -1.0;
        };
        assert_eq!(check(&allowed), Ok(()));
        type Change = fn(&mut Assignment);
        let broken: [(Change, &str); 8] = [
            (
                |a| a.labels.truncate(2),
                "2 labels and 3 boxes for 3 locations",
            ),
            (|a| a.labels[0] = 1, "location 0 the label 1"),
            (
                |a| a.boxes[1][2] = 0.0,
                "location 1 the box [0.0, 0.0, 0.0, 8.0]",
            ),
            (|a| a.boxes[1][3] = f32::NAN, "location 1 the box"),
            (|a| a.quality = Some(vec![]), "0 qualities for 3 locations"),
            (
                |a| a.quality = Some(vec![0.0, 1.5, 0.0]),
                "location 1 the value 1.5 among the qualities",
            ),
            (
                |a| weights(a).negative[1] = f32::NAN,
                "location 1 the value NaN among the negative weights",
            ),
            (
                |a| weights(a).positive_divisor = f32::INFINITY,
                "the divisors [inf, 1.0]",
            ),
        ];
        for (change, part) in broken {
            let error = check(&change).err().unwrap_or_default();
            assert!(
                error.contains("rule \"Mine\" gave") && error.contains(part),
                "{error}"
            );
        }
    }

    /// Assigns each object to the location whose predicted score for its class is highest.
    #[derive(Debug)]
    struct HighestScore;

    impl PredictionAssignmentRule for HighestScore {
        fn assign(
            &self,
            objects: &[LabeledBox],
            locations: &Locations,
            predictions: &ImagePredictions<'_>,
        ) -> Assignment {
            let mut assignment = Assignment::background(locations.len());
            for object in objects {
                let logit = |location: usize| predictions.class_logits(location)[object.label];
                let best = (0..locations.len()).max_by(|&a, &b| logit(a).total_cmp(&logit(b)));
                if let Some(best) = best {
                    assignment.set(best, object);
                }
            }
            assignment
        }
    }

    #[test]
    fn rules_may_depend_on_predictions() {
        let locations = Locations::new([16, 16], &[8], LocationRule::HalfStride);
        let logits = [0.0, 1.0, 0.0, 3.0, 9.0, 2.0, 0.0, 0.0];
        let boxes = [[0.0, 0.0, 8.0, 8.0]; 4];
        let predictions = ImagePredictions::new(2, &logits, &boxes);
        let rule: &dyn PredictionAssignmentRule = &HighestScore;
        let object = object([0.0, 0.0, 5.0, 5.0], 1);
        let assignment = rule.assign(&[object], &locations, &predictions);
        assert_eq!(assignment.labels, [BACKGROUND, 1, BACKGROUND, BACKGROUND]);
        assert_eq!(assignment.boxes[1], object.bbox);
    }
}
