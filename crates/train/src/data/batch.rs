//! Batches for training and validation.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fcos_burn_loss::{Targets, centerness_target};
use fcos_burn_model::{
    ImageFrame,
    assignment::{AssignmentConfig, assign},
    pyramid::Locations,
};

/// Images and what to learn from them, on the host.
///
/// The parts are computed side by side on the devices of a [`TrainableDetector`](crate::step::TrainableDetector), as many at a
/// time as there are devices, the others after them. Losses and gradients are those
/// of the whole batch: divided by the positives of all parts, and summed. Only the
/// statistics of batch normalisation are of a part.
#[derive(Clone, Debug)]
pub struct TrainBatch {
    /// The parts, at least one.
    pub parts: Vec<BatchPart>,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
    /// The share of the training that is done before it, in `[0, 1]`: where in its ramp
    /// the association loss is.
    pub progress: f64,
}

/// Some images of a batch and what to learn from them.
#[derive(Clone, Debug)]
pub struct BatchPart {
    /// `[images, 3, height, width]`, normalised.
    pub images: TensorData,
    /// Class of each location, −1 for background, `[images · locations]`.
    pub labels: TensorData,
    /// Box of each location in input pixels, xyxy, `[images · locations, 4]`.
    pub boxes: TensorData,
    /// Distances from each location to the sides of its box, left, top, right,
    /// bottom, `[images · locations, 4]`, for the centre-ness.
    pub distances: TensorData,
}

impl BatchPart {
    /// Images, `[images, 3, height, width]` and normalised, with what the locations of
    /// each learn from its objects, boxes in input pixels and classes.
    pub fn new(
        images: TensorData,
        objects: &[Vec<([f32; 4], usize)>],
        locations: &Locations,
        assignment: &AssignmentConfig,
    ) -> Self {
        let rows = objects.len() * locations.len();
        let mut labels: Vec<i32> = Vec::with_capacity(rows);
        let mut boxes: Vec<f32> = Vec::with_capacity(4 * rows);
        let mut distances: Vec<f32> = Vec::with_capacity(4 * rows);
        for objects in objects {
            let assigned = assign(objects, locations, assignment);
            for ([x, y], [x1, y1, x2, y2]) in locations.iter().zip(&assigned.boxes) {
                boxes.extend([x1, y1, x2, y2]);
                distances.extend([x - x1, y - y1, x2 - x, y2 - y]);
            }
            labels.extend(assigned.labels);
        }
        Self {
            images,
            labels: TensorData::new(labels, [rows]),
            boxes: TensorData::new(boxes, [rows, 4]),
            distances: TensorData::new(distances, [rows, 4]),
        }
    }

    /// What the objective takes, on `device`; centre-ness is computed where it is wanted.
    pub fn targets(&self, centerness: bool, device: &Device) -> Targets {
        let distances = || Tensor::from_data(self.distances.clone(), device);
        Targets {
            labels: Tensor::<1, Int>::from_data(self.labels.clone(), device),
            boxes: Tensor::from_data(self.boxes.clone(), device),
            centerness: centerness.then(|| centerness_target(distances())),
        }
    }
}

/// Images to detect in, on a device.
#[derive(Clone, Debug)]
pub struct ValidationBatch {
    /// `[batch, 3, height, width]`, normalised.
    pub images: Tensor<4>,
    /// How each image was put into the batch.
    pub frames: Vec<ImageFrame>,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
}
