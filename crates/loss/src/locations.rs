use burn::tensor::{Int, Tensor};

use crate::normalizer::Normalizer;
use crate::positives::Positives;

/// The predictions of a detector: one row per location, over all levels of all images of a batch.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// `[num_locations, num_classes]`.
    pub class_logits: Tensor<2>,
    /// `[num_locations, 4]`, `xyxy` in pixels. Rows of background may hold any value.
    pub boxes: Tensor<2>,
    /// `[num_locations]`, if the detector has a center-ness branch.
    pub centerness_logits: Option<Tensor<1>>,
}

/// The targets of the locations, in the rows of [`Predictions`].
#[derive(Clone, Debug)]
pub struct Targets {
    /// `[num_locations]`: the class of a positive location, in `0..num_classes`; −1 for background;
    /// [`IGNORED`](crate::IGNORED) for a location that enters no term.
    pub labels: Tensor<1, Int>,
    /// `[num_locations, 4]`, `xyxy` in pixels. Rows of other locations may hold any value.
    pub boxes: Tensor<2>,
    /// `[num_locations]`, in `[0, 1]`. Rows of other locations may hold any value. Required if the
    /// detector has a center-ness branch.
    pub centerness: Option<Tensor<1>>,
}

impl Targets {
    /// The normalizer of these targets, for losses over a batch that consists of them.
    pub fn normalizer(&self) -> Normalizer {
        let positives = Positives::of(&self.labels);
        Normalizer {
            centerness_sum: self
                .centerness
                .clone()
                .map(|centerness| positives.sum(centerness)),
            num_positives: positives.count,
        }
    }
}
