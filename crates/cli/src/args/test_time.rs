//! Arguments for test-time augmentation.

use clap::{Args, ValueEnum};
use fcos_burn::{
    data::transforms,
    detect::{Detector, ViewMerging, WeightedBoxesFusion},
    loss::ConfigError,
};

use super::number::{parse_factor, parse_score};
use crate::Error;

/// The views in which images are detected.
#[derive(Args, Clone, Debug)]
pub struct TestTimeArgs {
    /// Also detect in mirrored images, and merge the detections of all views: horizontal, vertical or
    /// both (a rotation by 180°); none turns off the flips of the run [default: none]
    #[arg(long, value_name = "FLIP,…", value_enum, value_delimiter = ',')]
    flip: Option<Vec<Flip>>,
    /// Detect at these multiples of the input size, such as 0.8,1,1.25, and merge the detections of all
    /// views [default: 1]
    #[arg(long, value_name = "FACTOR,…", value_delimiter = ',', value_parser = parse_factor)]
    scales: Option<Vec<f32>>,
    /// Merge views by suppressing the boxes of all of them together (nms), or by averaging boxes
    /// (wbf, weighted boxes fusion) [default: nms]
    #[arg(long, value_enum)]
    merge: Option<Merge>,
    /// Average boxes whose IoU with their mean is greater than this, from 0 to 1. Choose
    /// it above --iou-threshold [default: 0.7]
    #[arg(long, value_name = "IOU", value_parser = parse_score)]
    merge_iou: Option<f32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Flip {
    None,
    Horizontal,
    Vertical,
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Merge {
    Nms,
    Wbf,
}

impl TestTimeArgs {
    /// The detector with these views. What is not given stays as it is.
    ///
    /// # Errors
    ///
    /// Fails if a view is given twice or is too large, if boxes are not averaged but have an IoU for it, or if a way
    /// to merge views is given, but no views, and the run has only one.
    pub fn apply(&self, detector: Detector) -> Result<Detector, Error> {
        let mut views = detector.input().test_time_augmentation.clone();
        if let Some(flips) = &self.flip {
            views.flips = flips.iter().filter_map(|flip| flip.value()).collect();
        }
        if let Some(scales) = &self.scales {
            views.scales.clone_from(scales);
        }
        match self.merge {
            Some(Merge::Nms) => views.merging = ViewMerging::Suppression,
            Some(Merge::Wbf) => {
                let fusion = WeightedBoxesFusion::default();
                views.merging = ViewMerging::WeightedBoxesFusion(fusion);
            }
            None => {}
        }
        if let Some(iou) = self.merge_iou {
            let ViewMerging::WeightedBoxesFusion(fusion) = &mut views.merging else {
                return Err(fcos_burn::detect::Error::from(ConfigError::new(
                    "test_time_augmentation.merging",
                    "suppression",
                    "weighted-boxes-fusion where the IoU of boxes to average is given",
                ))
                .into());
            };
            fusion.iou_threshold = iou;
        }
        let gives_merging = self.merge.is_some() || self.merge_iou.is_some();
        let gives_views = self.flip.is_some() || self.scales.is_some();
        if gives_merging && !gives_views && views.views() < 2 {
            return Err(fcos_burn::detect::Error::from(ConfigError::new(
                "test_time_augmentation.merging",
                "given",
                "left out for a single view: there is nothing to merge without flips or scales",
            ))
            .into());
        }
        Ok(detector.with_test_time_augmentation(views)?)
    }
}

impl Flip {
    fn value(self) -> Option<transforms::Flip> {
        match self {
            Self::None => None,
            Self::Horizontal => Some(transforms::Flip::Horizontal),
            Self::Vertical => Some(transforms::Flip::Vertical),
            Self::Both => Some(transforms::Flip::Both),
        }
    }
}
