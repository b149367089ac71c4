//! The contents of batches.

use std::{collections::HashMap, fmt, sync::Arc};

use burn::tensor::{Device, Int, Tensor, TensorData};
use fcos_burn_boxes::LabeledBox;
use fcos_burn_loss::{Divisors, TargetWeights, Targets, centerness_target};
use fcos_burn_model::{
    ImageFrame,
    assignment::{
        Assignment, AssignmentError, AssignmentRule, BACKGROUND, LocationWeights,
        PredictionAssignmentRule,
    },
    locations::Locations,
};

use super::{ImageObjects, PartImages};

/// The position of a batch in the training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchPlace {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The batch of that epoch, counted from 0.
    pub batch: usize,
    /// The number of epochs after this one. None without a fixed length.
    pub epochs_left: Option<usize>,
    /// The fraction of the training completed before the batch, in `[0, 1]`. Without a fixed
    /// length it is 1: the objective has its final weights.
    pub progress: f64,
    /// If an epoch can show an image several times: how many images it showed before the batch. The
    /// random numbers of a sample then depend on its place in the epoch, not on the image.
    pub draws: Option<usize>,
}

/// Images and their targets, on the host.
///
/// The devices of a [`TrainableDetector`](crate::step::TrainableDetector) compute the parts in
/// parallel, one part per device at a time. Losses and gradients are those of the whole batch:
/// normalized by the positives of all parts, and summed. Batch normalization uses the statistics of
/// a part, and losses that compare positives with each other compare those of a part.
#[derive(Clone, Debug)]
pub struct TrainBatch {
    /// The parts; at least one.
    pub parts: Vec<BatchPart>,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
    /// Its position in the training. The progress sets the ramp of the association loss.
    pub place: BatchPlace,
}

/// Some images of a batch and their targets.
#[derive(Clone, Debug)]
pub struct BatchPart {
    /// Its images.
    pub images: PartImages,
    /// The targets of the locations.
    pub targets: PartTargets,
}

/// The targets of the locations of some images.
#[derive(Clone, Debug)]
pub enum PartTargets {
    /// Assigned by a rule that needs no predictions.
    Assigned(Box<AssignedTargets>),
    /// To be assigned by the step's predictions.
    Objects {
        /// The objects of each image.
        objects: Vec<ImageObjects>,
        /// The rule that assigns them.
        rule: Arc<dyn PredictionAssignmentRule>,
    },
}

impl PartTargets {
    /// The targets, if they are already assigned.
    pub fn assigned(&self) -> Option<&AssignedTargets> {
        match self {
            Self::Assigned(targets) => Some(targets),
            Self::Objects { .. } => None,
        }
    }
}

/// The targets of assigned locations, image by image.
#[derive(Clone, Debug)]
pub struct AssignedTargets {
    /// Class of each location, −1 for background, −2 for ignored locations,
    /// `[images · locations]`.
    labels: TensorData,
    /// Box of each location in input pixels, xyxy, `[images · locations, 4]`.
    boxes: TensorData,
    /// Distances from each location to the left, top, right and bottom side of its box,
    /// `[images · locations, 4]`, for the center-ness.
    distances: TensorData,
    /// Soft label of each positive location, `[images · locations]`.
    quality: Option<TensorData>,
    /// Weights of the locations, if the rule gives some.
    weights: Option<LocationWeights>,
    /// Object of each location, counted over all images; −1 for background, `[images · locations]`.
    objects: TensorData,
}

impl AssignedTargets {
    /// The targets of some images with these [assignments](ImageObjects::assign) of `rule`.
    ///
    /// # Errors
    ///
    /// Fails if an assignment violates the requirements of a rule.
    pub(crate) fn new(
        assignments: Vec<Assignment>,
        locations: &Locations,
        rule: &dyn fmt::Debug,
    ) -> Result<Self, AssignmentError> {
        Assignment::check_together(&assignments, rule)?;
        let rows = assignments.len() * locations.len();
        let mut labels: Vec<i32> = Vec::with_capacity(rows);
        let mut boxes: Vec<f32> = Vec::with_capacity(4 * rows);
        let mut distances: Vec<f32> = Vec::with_capacity(4 * rows);
        // Images without positives may lack the quality that others have, and any the weights.
        let with_quality = assignments.iter().any(|it| it.quality.is_some());
        let mut quality: Vec<f32> = Vec::new();
        let with_weights = assignments.iter().any(|it| it.weights.is_some());
        let mut weights = with_weights.then(|| LocationWeights::zeros(0));
        let mut numbers = ObjectNumbers::default();
        for assignment in assignments {
            numbers.add_image(&assignment);
            for ([x, y], [x1, y1, x2, y2]) in locations.iter().zip(&assignment.boxes) {
                boxes.extend([x1, y1, x2, y2]);
                distances.extend([x - x1, y - y1, x2 - x, y2 - y]);
            }
            if with_quality {
                let of_image = assignment.quality;
                quality.extend(of_image.unwrap_or_else(|| vec![0.0; locations.len()]));
            }
            if let Some(weights) = &mut weights {
                let of_image = assignment.weights;
                weights
                    .append(of_image.unwrap_or_else(|| LocationWeights::plain(&assignment.labels)));
            }
            labels.extend(assignment.labels);
        }
        Ok(Self {
            labels: TensorData::new(labels, [rows]),
            boxes: TensorData::new(boxes, [rows, 4]),
            distances: TensorData::new(distances, [rows, 4]),
            quality: with_quality.then(|| TensorData::new(quality, [rows])),
            weights,
            objects: TensorData::new(numbers.of_locations, [rows]),
        })
    }

    /// The targets of the objective on `device`; center-ness targets only if `centerness` is set.
    pub fn to_device(&self, centerness: bool, device: &Device) -> Targets {
        let distances = || Tensor::from_data(self.distances.clone(), device);
        Targets {
            centerness: centerness.then(|| centerness_target(distances())),
            quality: (self.quality.clone()).map(|quality| Tensor::from_data(quality, device)),
            weights: self
                .weights
                .as_ref()
                .map(|weights| on_device(weights, device)),
            objects: Some(Tensor::from_data(self.objects.clone(), device)),
            ..Targets::new(
                Tensor::<1, Int>::from_data(self.labels.clone(), device),
                Tensor::from_data(self.boxes.clone(), device),
            )
        }
    }
}

/// Numbers the objects that locations are assigned to.
#[derive(Default)]
struct ObjectNumbers {
    of_locations: Vec<i32>,
    count: i32,
}

impl ObjectNumbers {
    /// Locations of an image with the same label and the same box belong to the same object.
    fn add_image(&mut self, assignment: &Assignment) {
        let mut known = HashMap::new();
        for (&label, bbox) in assignment.labels.iter().zip(&assignment.boxes) {
            self.of_locations.push(match label < 0 {
                true => BACKGROUND,
                false => *known
                    .entry((label, bbox.map(f32::to_bits)))
                    .or_insert_with(|| {
                        self.count += 1;
                        self.count - 1
                    }),
            });
        }
    }
}

/// Weights as the objective takes them.
fn on_device(weights: &LocationWeights, device: &Device) -> TargetWeights {
    let values = |values: &[f32]| Tensor::<1>::from_floats(values, device);
    let has_negative = weights.negative.iter().any(|weight| *weight > 0.0);
    TargetWeights {
        positive: values(&weights.positive),
        negative: has_negative.then(|| values(&weights.negative)),
        boxes: values(&weights.boxes),
        divisors: Divisors {
            positive: values(&[weights.positive_divisor]),
            negative: values(&[weights.negative_divisor]),
        },
    }
}

impl BatchPart {
    /// A part of these images, whose locations `rule` assigns to the objects of each image.
    ///
    /// # Errors
    ///
    /// Fails if an assignment violates the requirements of a rule.
    pub fn new(
        images: impl Into<PartImages>,
        objects: &[ImageObjects],
        locations: &Locations,
        rule: &dyn AssignmentRule,
    ) -> Result<Self, AssignmentError> {
        let assign = |objects: &[LabeledBox]| rule.assign(objects, locations);
        let assignments = objects
            .iter()
            .map(|objects| objects.assign(locations, &rule, assign))
            .collect::<Result<_, _>>()?;
        let targets = AssignedTargets::new(assignments, locations, &rule)?;
        Ok(Self {
            images: images.into(),
            targets: PartTargets::Assigned(Box::new(targets)),
        })
    }
}

/// A batch of images for validation, on a device.
#[derive(Clone, Debug)]
pub struct ValidationBatch {
    /// `[batch, 3, height, width]`, normalized.
    pub images: Tensor<4>,
    /// Size of each image in the batch and in the original.
    pub frames: Vec<ImageFrame>,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_model::locations::LocationRule;

    use super::*;

    #[test]
    fn objects_are_numbered_over_all_images() {
        let object = |label, bbox| LabeledBox { label, bbox };
        let (small, large) = ([0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 16.0, 16.0]);
        let images = [
            vec![object(0, small), object(1, small), object(0, large)],
            vec![object(0, small)],
        ];
        let locations = Locations::new([16, 24], &[8], LocationRule::HalfStride);
        let assign = |image: usize, objects: &[LabeledBox]| {
            let mut assignment = Assignment::background(locations.len());
            let places: &[(usize, usize)] = match image {
                0 => &[(1, 0), (2, 2), (3, 1), (5, 0)],
                _ => &[(0, 0), (4, 0)],
            };
            for (location, object) in places {
                assignment.set(*location, &objects[*object]);
            }
            assignment
        };
        let assignments = images.iter().enumerate();
        let assignments = assignments
            .map(|(image, objects)| assign(image, objects))
            .collect();
        let targets = AssignedTargets::new(assignments, &locations, &"rule").unwrap();
        let found: Vec<i32> = targets.objects.iter::<i32>().collect();
        assert_eq!(found, [-1, 0, 1, 2, -1, 0, 3, -1, -1, -1, 3, -1]);
    }
}
