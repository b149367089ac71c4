use burn::tensor::{Int, Tensor};

use crate::distribution::BoxDistributions;
use crate::levels::Levels;
use crate::normalizer::Normalizer;
use crate::positives::Positives;
use crate::weights::TargetWeights;

/// The predictions of a detector: one row per location, over all levels of all images of a batch.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// `[num_locations, num_classes]`.
    pub class_logits: Tensor<2>,
    /// `[num_locations, 4]`, `xyxy` in pixels. Rows of background may hold any value.
    pub boxes: Tensor<2>,
    /// `[num_locations]`, if the detector has a center-ness branch.
    pub centerness_logits: Option<Tensor<1>>,
    /// `[num_locations]`, if the detector predicts the IoU of its boxes.
    pub iou_logits: Option<Tensor<1>>,
    /// The distributions that boxes are the mean of, if the detector predicts them.
    pub distributions: Option<BoxDistributions>,
    /// The pyramid level of each location, for losses by level.
    pub levels: Option<Levels>,
}

impl Predictions {
    /// Predictions of classes and boxes, and of nothing else.
    pub fn new(class_logits: Tensor<2>, boxes: Tensor<2>) -> Self {
        Self {
            class_logits,
            boxes,
            centerness_logits: None,
            iou_logits: None,
            distributions: None,
            levels: None,
        }
    }
}

/// The targets of the locations, in the rows of [`Predictions`]. No gradient flows through them: losses detach
/// them.
#[derive(Clone, Debug)]
pub struct Targets {
    /// `[num_locations]`: the class of a positive location, in `0..num_classes`; [`BACKGROUND`](crate::BACKGROUND)
    /// or [`IGNORED`](crate::IGNORED) for the others.
    pub labels: Tensor<1, Int>,
    /// `[num_locations, 4]`, `xyxy` in pixels. Rows that are not positive may hold any value.
    pub boxes: Tensor<2>,
    /// `[num_locations]`, in `[0, 1]`. Rows that are not positive may hold any value. Required if
    /// the detector has a center-ness branch.
    pub centerness: Option<Tensor<1>>,
    /// `[num_locations]`, in `[0, 1]`: the label `q` that classification losses with soft labels
    /// have in place of the IoU. Rows that are not positive may hold any value.
    pub quality: Option<Tensor<1>>,
    /// Weights of the losses; without them, all weights are 1.
    pub weights: Option<TargetWeights>,
    /// `[num_locations]`: a number for each object, which its positive locations share; any value
    /// for the others. Required by losses that compare the locations of an object.
    pub objects: Option<Tensor<1, Int>>,
}

impl Targets {
    /// Targets of classes and boxes, and of nothing else.
    pub fn new(labels: Tensor<1, Int>, boxes: Tensor<2>) -> Self {
        Self {
            labels,
            boxes,
            centerness: None,
            quality: None,
            weights: None,
            objects: None,
        }
    }

    /// The normalizer of these targets, for losses over a batch that consists of them.
    pub fn normalizer(&self) -> Normalizer {
        let positives = Positives::of(&self.labels);
        let targets = self.clone().detach();
        Normalizer {
            centerness_sum: targets
                .centerness
                .map(|centerness| positives.sum(centerness)),
            num_positives: positives.count,
            divisors: targets.weights.map(|weights| weights.divisors),
        }
    }

    /// The same targets, through which no gradient flows.
    pub(crate) fn detach(self) -> Self {
        Self {
            boxes: self.boxes.detach(),
            centerness: self.centerness.map(Tensor::detach),
            quality: self.quality.map(Tensor::detach),
            weights: self.weights.map(TargetWeights::detach),
            ..self
        }
    }
}
