//! Options of an inspection.

use fcos_burn_data::transforms::Resize;
use fcos_burn_model::FcosConfig;

/// The detector that levels and points are computed for, and how many images the page shows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InspectionOptions {
    /// The size of the detector's input.
    pub resize: Resize,
    /// The detector: its strides, locations and assignment rule.
    pub detector: FcosConfig,
    /// The number of images in each section.
    pub pictures: usize,
}

impl InspectionOptions {
    /// The small detector at this input size, and twelve images in each section.
    pub fn new(resize: Resize) -> Self {
        Self {
            resize,
            detector: FcosConfig::small(1),
            pictures: 12,
        }
    }

    /// Sets [`detector`](Self::detector). Its number of classes does not matter.
    #[must_use]
    pub fn with_detector(self, detector: FcosConfig) -> Self {
        Self { detector, ..self }
    }

    /// Sets [`pictures`](Self::pictures).
    #[must_use]
    pub fn with_pictures(self, pictures: usize) -> Self {
        Self { pictures, ..self }
    }
}
