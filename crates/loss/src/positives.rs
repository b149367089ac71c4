//! The positive locations of a batch, and those that are ignored.

use burn::tensor::{Bool, FloatDType, Int, Tensor};

use crate::levels::Levels;

/// The label of a location that belongs to no object.
pub const BACKGROUND: i32 = -1;

/// The label of a location that enters no term of the objective, neither as a positive nor as
/// background.
pub const IGNORED: i32 = -2;

/// The indicator `𝟙` of eq. (6): which locations are positive.
#[derive(Clone, Debug)]
pub(crate) struct Positives {
    /// Its complement, `[num_locations]`.
    background: Tensor<1, Bool>,
    /// Which locations enter no term, `[num_locations]`. None of them is positive.
    ignored: Tensor<1, Bool>,
    /// Its sum, one element.
    pub(crate) count: Tensor<1>,
}

impl Positives {
    /// Locations are positive where their label is not negative.
    pub(crate) fn of(labels: &Tensor<1, Int>) -> Self {
        let ignored = labels.clone().equal_scalar(IGNORED);
        Self::excluding(labels.clone().lower_scalar(0), ignored)
    }

    /// As many locations as `values` has elements, all of them positive.
    pub(crate) fn all(values: &Tensor<1>) -> Self {
        let device = values.device().without_autodiff();
        Self::of(&Tensor::zeros(values.shape(), &device))
    }

    fn excluding(background: Tensor<1, Bool>, ignored: Tensor<1, Bool>) -> Self {
        Self {
            count: background.clone().bool_not().cast(FloatDType::F32).sum(),
            background,
            ignored,
        }
    }

    /// The positive locations of each level.
    pub(crate) fn by_level(&self, levels: &Levels) -> Vec<Self> {
        (0..levels.count as i64)
            .map(|level| {
                let elsewhere = levels.indices.clone().not_equal_scalar(level);
                let background = self.background.clone().bool_or(elsewhere);
                Self::excluding(background, self.ignored.clone())
            })
            .collect()
    }

    /// Whether each location is positive. `None` if the device fails.
    pub(crate) fn on_host(&self) -> Option<Vec<bool>> {
        let data = self.background.clone().try_into_data().ok()?;
        Some(data.iter::<bool>().map(|background| !background).collect())
    }

    /// Whether each location is positive, `[num_locations]`.
    pub(crate) fn indicator(&self) -> Tensor<1, Bool> {
        self.background.clone().bool_not()
    }

    /// The values of positive locations; 0 for background, even where a value is NaN.
    pub(crate) fn mask(&self, values: Tensor<1>) -> Tensor<1> {
        values.mask_fill(self.background.clone(), 0.0)
    }

    /// The losses of all classes, `[num_locations, num_classes]`, but 0 for ignored locations.
    pub(crate) fn mask_ignored(&self, losses: Tensor<2>) -> Tensor<2> {
        let ignored = self.ignored.clone().unsqueeze_dim::<2>(1);
        let shape = losses.shape();
        losses.mask_fill(ignored.expand(shape), 0.0)
    }

    /// The boxes of positive locations; an empty box for background, even where a box is NaN. Every
    /// box loss is finite for empty boxes, forward and backward.
    pub(crate) fn mask_boxes(&self, boxes: Tensor<2>) -> Tensor<2> {
        let background = self.background.clone().unsqueeze_dim::<2>(1);
        let shape = boxes.shape();
        boxes.mask_fill(background.expand(shape), 0.0)
    }

    /// The sum over the values of positive locations, one element.
    pub(crate) fn sum(&self, values: Tensor<1>) -> Tensor<1> {
        self.mask(values).sum()
    }
}
