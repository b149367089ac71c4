//! A batch's predictions on the host, for assignment rules that depend on them.

use burn::tensor::{ExecutionError, Tensor};
use fcos_burn_loss::Predictions;

/// Predictions of a batch, copied to the host.
///
/// A training step whose targets depend on its predictions reads them once and assigns
/// image by image:
///
/// ```
/// use burn::tensor::{Device, ExecutionError, Tensor};
/// use fcos_burn_boxes::LabeledBox;
/// use fcos_burn_model::{
///     Fcos, HostPredictions,
///     assignment::{Assignment, PredictionAssignmentRule},
/// };
///
/// fn assignments(
///     model: &Fcos,
///     images: Tensor<4>,
///     objects: &[Vec<LabeledBox>],
///     rule: &dyn PredictionAssignmentRule,
/// ) -> Result<Vec<Assignment>, ExecutionError> {
///     let output = model.forward(images);
///     let locations = output.locations.clone();
///     // The objective takes `predictions` and the targets made of the assignments.
///     let predictions = output.into_predictions();
///     let host = HostPredictions::read(&predictions, locations.len())?;
///     Ok(objects
///         .iter()
///         .enumerate()
///         .map(|(image, objects)| rule.assign(objects, &locations, &host.image(image)))
///         .collect())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct HostPredictions {
    class_logits: Vec<f32>,
    boxes: Vec<[f32; 4]>,
    num_classes: usize,
    num_locations: usize,
}

impl HostPredictions {
    /// Copies the predictions for images of `num_locations` locations each to the host.
    /// Gradients do not flow through the copy.
    ///
    /// # Errors
    ///
    /// Fails if the device fails.
    ///
    /// # Panics
    ///
    /// If the number of rows is not a multiple of `num_locations`.
    pub fn read(predictions: &Predictions, num_locations: usize) -> Result<Self, ExecutionError> {
        let [rows, num_classes] = predictions.class_logits.dims();
        assert!(
            rows.is_multiple_of(num_locations.max(1)),
            "{rows} predictions are not of images with {num_locations} locations"
        );
        let floats = |tensor: &Tensor<2>| -> Result<Vec<f32>, ExecutionError> {
            let data = tensor.clone().try_into_data()?;
            Ok(data.iter::<f32>().collect())
        };
        let boxes = floats(&predictions.boxes)?;
        Ok(Self {
            class_logits: floats(&predictions.class_logits)?,
            boxes: boxes.as_chunks().0.to_vec(),
            num_classes,
            num_locations,
        })
    }

    /// The predictions for an image of the batch.
    ///
    /// # Panics
    ///
    /// If the batch has no such image.
    pub fn image(&self, index: usize) -> ImagePredictions<'_> {
        let rows = index * self.num_locations..(index + 1) * self.num_locations;
        let logits = rows.start * self.num_classes..rows.end * self.num_classes;
        ImagePredictions::new(
            self.num_classes,
            &self.class_logits[logits],
            &self.boxes[rows],
        )
    }
}

/// Predictions for one image on the host, in the order of
/// [`Locations`](crate::locations::Locations).
#[derive(Clone, Copy, Debug)]
pub struct ImagePredictions<'a> {
    num_classes: usize,
    class_logits: &'a [f32],
    boxes: &'a [[f32; 4]],
}

impl<'a> ImagePredictions<'a> {
    /// Views the predictions at `boxes.len()` locations.
    ///
    /// # Shapes
    ///
    /// - `class_logits`: `[locations, classes]`, row-major
    /// - `boxes`: `[x1, y1, x2, y2]` in input pixels, one per location
    ///
    /// # Panics
    ///
    /// If there are not `num_classes` logits per box.
    pub fn new(num_classes: usize, class_logits: &'a [f32], boxes: &'a [[f32; 4]]) -> Self {
        assert_eq!(
            class_logits.len(),
            num_classes * boxes.len(),
            "{num_classes} class logits are needed for each of {} boxes",
            boxes.len()
        );
        Self {
            num_classes,
            class_logits,
            boxes,
        }
    }

    /// Number of locations.
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether there are no locations.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The logits of all classes at a location.
    ///
    /// # Panics
    ///
    /// If there is no such location.
    pub fn class_logits(&self, location: usize) -> &'a [f32] {
        &self.class_logits[location * self.num_classes..][..self.num_classes]
    }

    /// The predicted boxes, `[x1, y1, x2, y2]` in input pixels, one per location.
    pub fn boxes(&self) -> &'a [[f32; 4]] {
        self.boxes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn each_image_has_its_own_rows() {
        let device = Device::flex();
        let values = |range: std::ops::Range<i64>, columns: usize| {
            Tensor::arange(range, &device).float().reshape([4, columns])
        };
        let predictions = Predictions::new(values(0..12, 3), values(100..116, 4));
        let host = HostPredictions::read(&predictions, 2).unwrap();
        let image = host.image(1);
        assert_eq!((image.len(), image.num_classes()), (2, 3));
        assert_eq!(image.class_logits(0), [6.0, 7.0, 8.0]);
        assert_eq!(image.class_logits(1), [9.0, 10.0, 11.0]);
        assert_eq!(image.boxes()[1], [112.0, 113.0, 114.0, 115.0]);
    }
}
