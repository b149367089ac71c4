//! Terms that users add to the objective, and the input they are computed from.

use core::fmt;

use burn::tensor::{Bool, Int, Tensor};

use crate::distribution::BoxDistributions;
use crate::iou::aligned_iou;
use crate::levels::Levels;
use crate::locations::{Predictions, Targets};
use crate::positives::Positives;
use crate::weights::TargetWeights;

/// A term that is added to the [objective](crate::FcosObjective) by
/// [`FcosObjective::with_term`](crate::FcosObjective::with_term).
///
/// The objective divides the sum of the term by `N_pos`, the number of positive locations of the
/// whole batch. In a batch that is computed in parts, each part contributes its share.
///
/// ```
/// use std::sync::Arc;
///
/// use burn::tensor::{Device, Int, Tensor};
/// use fcos_burn_loss::{FcosObjectiveConfig, LossTerm, Predictions, Targets, TermInput};
///
/// /// The L1 distance between predicted boxes and their targets.
/// #[derive(Debug)]
/// struct L1Loss {
///     weight: f64,
/// }
///
/// impl LossTerm for L1Loss {
///     fn name(&self) -> &str {
///         "L1 loss"
///     }
///
///     fn sum(&self, input: &TermInput) -> Tensor<1> {
///         let difference = input.predicted_boxes.clone() - input.target_boxes.clone();
///         let distances = difference.abs().sum_dim(1).squeeze_dim(1);
///         input.sum_over_positives(distances).mul_scalar(self.weight)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let objective = FcosObjectiveConfig::new()
///     .init()?
///     .with_term(Arc::new(L1Loss { weight: 0.1 }))?;
///
/// // Two positive locations, 3 px and 5 px from their targets, and one of background.
/// let device = Device::flex();
/// let boxes = [[0., 0., 8., 9.], [4., 2., 20., 24.], [1., 1., 2., 2.]];
/// let targets = [[0., 0., 8., 12.], [4., 4., 20., 21.], [0., 0., 0., 0.]];
/// let output = objective.forward(
///     Predictions::new(
///         Tensor::zeros([3, 2], &device),
///         Tensor::from_floats(boxes, &device),
///     ),
///     Targets::new(
///         Tensor::<1, Int>::from_ints([0, 1, -1], &device),
///         Tensor::from_floats(targets, &device),
///     ),
/// );
/// let value: f32 = output.term("L1 loss").unwrap().clone().into_scalar();
/// assert!((value - 0.1 * (3.0 + 5.0) / 2.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub trait LossTerm: fmt::Debug + Send + Sync {
    /// The name of the term in logs, tables and plots, such as "Area loss".
    ///
    /// It is the same at every call, and unique among the terms of an objective.
    fn name(&self) -> &str;

    /// The sum of the term over the locations of `input`, one element, weighted as it enters the
    /// objective but not divided by the number of positive locations, or by `N⁺` if the targets
    /// have [weights](crate::TargetWeights).
    ///
    /// Value and gradient must be finite, also without positive locations or without any rows. The
    /// boxes of background are empty: a function that has no finite gradient there, such as the
    /// logarithm of the area, makes the gradient NaN even if its values are masked afterwards.
    fn sum(&self, input: &TermInput) -> Tensor<1>;
}

/// The input of a [`LossTerm`]: predictions and targets of locations, one per row.
///
/// Boxes, IoUs, qualities and center-ness targets of background are 0, whatever the detector
/// predicted. So are those of ignored locations.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TermInput {
    /// `[num_locations, num_classes]`.
    pub class_logits: Tensor<2>,
    /// `[num_locations]`: the class of a positive location, in `0..num_classes`; −1 for background;
    /// [`IGNORED`](crate::IGNORED) for a location that must not enter the term.
    pub labels: Tensor<1, Int>,
    /// `[num_locations, 4]`, `xyxy` in pixels; 0 for background.
    pub predicted_boxes: Tensor<2>,
    /// `[num_locations, 4]`, `xyxy` in pixels; 0 for background.
    pub target_boxes: Tensor<2>,
    /// `[num_locations]`: the IoU of predicted and target boxes, in `[0, 1]`; 0 for background.
    /// Detached: no gradient flows through it.
    pub ious: Tensor<1>,
    /// `[num_locations]`: the label `q` of classification losses with soft labels, in `[0, 1]`: the
    /// quality if the targets have one, else the IoU; 0 for background. Detached.
    pub quality: Tensor<1>,
    /// `[num_locations]`, if the detector has a center-ness branch; any value for background.
    pub centerness_logits: Option<Tensor<1>>,
    /// `[num_locations]`, in `[0, 1]`, if the targets have center-ness; 0 for background.
    pub centerness_targets: Option<Tensor<1>>,
    /// The weights of the locations, if the targets have some.
    pub weights: Option<TargetWeights>,
    /// `[num_locations]`, if the detector predicts the IoU of its boxes; any value for background.
    pub iou_logits: Option<Tensor<1>>,
    /// The distributions that boxes are the mean of, if the detector predicts them.
    pub distributions: Option<BoxDistributions>,
    /// The pyramid level of each location, if the predictions have it.
    pub levels: Option<Levels>,
    /// `[num_locations]`, if the targets have it: a number for each object, which its positive
    /// locations share; any value for background.
    pub objects: Option<Tensor<1, Int>>,
    /// The share of the training that is done, in `[0, 1]`: the argument of
    /// [`FcosObjective::at`](crate::FcosObjective::at), or 1.
    pub progress: f64,
    pub(crate) positives: Positives,
}

impl TermInput {
    /// The input that an objective at `progress` computes its terms from.
    ///
    /// # Panics
    ///
    /// If the tensors differ in their number of rows, or if boxes do not have four columns.
    pub fn new(predictions: Predictions, targets: Targets, progress: f64) -> Self {
        let rows = predictions.class_logits.dims()[0];
        assert_boxes("predictions.boxes", &predictions.boxes, rows);
        assert_rows("targets.labels", targets.labels.dims()[0], rows);
        assert_boxes("targets.boxes", &targets.boxes, rows);
        if let Some(logits) = &predictions.centerness_logits {
            assert_rows("predictions.centerness_logits", logits.dims()[0], rows);
        }
        if let Some(logits) = &predictions.iou_logits {
            assert_rows("predictions.iou_logits", logits.dims()[0], rows);
        }
        if let Some(distributions) = &predictions.distributions {
            let of_parts = [
                distributions.logits.dims()[0],
                distributions.locations.dims()[0],
                distributions.bin_sizes.dims()[0],
            ];
            for found in of_parts {
                assert_rows("predictions.distributions", found, rows);
            }
        }
        if let Some(levels) = &predictions.levels {
            assert_rows("predictions.levels", levels.indices.dims()[0], rows);
        }
        if let Some(centerness) = &targets.centerness {
            assert_rows("targets.centerness", centerness.dims()[0], rows);
        }
        if let Some(quality) = &targets.quality {
            assert_rows("targets.quality", quality.dims()[0], rows);
        }
        if let Some(weights) = &targets.weights {
            let of_parts = [
                Some(&weights.positive),
                weights.negative.as_ref(),
                Some(&weights.boxes),
            ];
            for weights in of_parts.into_iter().flatten() {
                assert_rows("targets.weights", weights.dims()[0], rows);
            }
        }
        if let Some(objects) = &targets.objects {
            assert_rows("targets.objects", objects.dims()[0], rows);
        }

        let targets = targets.detach();
        let positives = Positives::of(&targets.labels);
        let predicted_boxes = positives.mask_boxes(predictions.boxes);
        let target_boxes = positives.mask_boxes(targets.boxes);
        let ious = aligned_iou(predicted_boxes.clone().detach(), target_boxes.clone());
        let quality = targets.quality.map(|quality| positives.mask(quality));
        Self {
            class_logits: predictions.class_logits,
            labels: targets.labels,
            quality: quality.unwrap_or_else(|| ious.clone()),
            ious,
            predicted_boxes,
            target_boxes,
            centerness_logits: predictions.centerness_logits,
            centerness_targets: targets
                .centerness
                .map(|centerness| positives.mask(centerness)),
            weights: targets.weights,
            iou_logits: predictions.iou_logits,
            distributions: predictions.distributions,
            levels: predictions.levels,
            objects: targets.objects,
            progress,
            positives,
        }
    }

    /// Whether each location is positive, `[num_locations]`.
    pub fn positives(&self) -> Tensor<1, Bool> {
        self.positives.indicator()
    }

    /// The sum of `values`, `[num_locations]`, over the positive locations, one element, with the
    /// weights of boxes if the targets have [weights](Self::weights). Values of background may be
    /// NaN, but their gradients must be finite.
    pub fn sum_over_positives(&self, values: Tensor<1>) -> Tensor<1> {
        match &self.weights {
            None => self.positives.sum(values),
            Some(weights) => {
                let weights = self.positives.mask(weights.boxes.clone());
                (self.positives.mask(values) * weights).sum()
            }
        }
    }
}

fn assert_boxes(name: &str, boxes: &Tensor<2>, rows: usize) {
    let [found, columns] = boxes.dims();
    assert_rows(name, found, rows);
    assert!(
        columns == 4,
        "`{name}` has {columns} columns, but boxes have 4"
    );
}

fn assert_rows(name: &str, rows: usize, expected: usize) {
    assert!(
        rows == expected,
        "`{name}` has {rows} rows, but `predictions.class_logits` has {expected}"
    );
}

/// Why a term cannot be added to an objective under its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermNameError {
    /// The name is empty.
    #[error("a term of the objective has no name")]
    Empty,
    /// Another term has the name.
    #[error("the objective already has a term named `{name}`")]
    Taken {
        /// The name.
        name: String,
    },
}
