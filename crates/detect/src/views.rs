//! The views of an image for test-time augmentation.

use fcos_burn_boxes::WeightedBoxesFusion;
use fcos_burn_data::transforms::Flip;
use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// Test-time augmentation: every image is detected in several views, and their detections are merged. The default is one
/// view, the image as it is.
///
/// The views are the image at each scale, upright and in each flip. The time grows with the total number of pixels.
///
/// ```
/// use fcos_burn_data::transforms::Flip;
/// use fcos_burn_detect::TestTimeAugmentation;
///
/// let augmentation = TestTimeAugmentation::default()
///     .with_scales([0.8, 1.0, 1.25])
///     .with_flips([Flip::Horizontal]);
/// assert_eq!(augmentation.views(), 6);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TestTimeAugmentation {
    /// The sizes at which an image is detected, as factors of the input's size, from 0.1 to 10.
    pub scales: Vec<f32>,
    /// The flips in which it is detected at each scale, besides upright.
    pub flips: Vec<Flip>,
    /// How the detections of the views are merged.
    pub merging: ViewMerging,
}

/// How the detections in the views of an image become those of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ViewMerging {
    /// The candidates of all views are suppressed together, like those of one view, as in FCOS.
    #[default]
    Suppression,
    /// The detections of each view are fused: boxes are averaged, and a box that few views detect gets a low score.
    WeightedBoxesFusion(WeightedBoxesFusion),
}

impl Default for TestTimeAugmentation {
    fn default() -> Self {
        Self {
            scales: vec![1.0],
            flips: Vec::new(),
            merging: ViewMerging::default(),
        }
    }
}

impl TestTimeAugmentation {
    /// Sets [`scales`](Self::scales).
    #[must_use]
    pub fn with_scales(self, scales: impl Into<Vec<f32>>) -> Self {
        Self {
            scales: scales.into(),
            ..self
        }
    }

    /// Sets [`flips`](Self::flips).
    #[must_use]
    pub fn with_flips(self, flips: impl Into<Vec<Flip>>) -> Self {
        Self {
            flips: flips.into(),
            ..self
        }
    }

    /// Sets [`merging`](Self::merging).
    #[must_use]
    pub fn with_merging(self, merging: ViewMerging) -> Self {
        Self { merging, ..self }
    }

    /// The number of views of an image.
    pub fn views(&self) -> usize {
        self.scales.len() * (1 + self.flips.len())
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Names the first invalid value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let holds = !self.scales.is_empty() && self.scales.iter().all(|s| (0.1..=10.0).contains(s));
        let requirement = "a list of factors from 0.1 to 10";
        ConfigError::ensure(holds, "scales", format!("{:?}", self.scales), requirement)?;
        if has_repetitions(&self.scales) {
            let scales = format!("{:?}", self.scales);
            return Err(ConfigError::new("scales", scales, "without repetitions"));
        }
        if has_repetitions(&self.flips) {
            let flips = format!("{:?}", self.flips);
            return Err(ConfigError::new("flips", flips, "without repetitions"));
        }
        if let ViewMerging::WeightedBoxesFusion(WeightedBoxesFusion { iou_threshold, .. }) =
            self.merging
        {
            let holds = (0.0..=1.0).contains(&iou_threshold);
            let field = "merging.weighted-boxes-fusion.iou_threshold";
            ConfigError::ensure(holds, field, iou_threshold, "between 0 and 1")?;
        }
        Ok(())
    }
}

fn has_repetitions<T: PartialEq>(values: &[T]) -> bool {
    (values.iter().enumerate()).any(|(place, value)| values[..place].contains(value))
}
