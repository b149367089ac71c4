//! A small detector and images for tests.
#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, PoisonError};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use fcos_burn_data::{Category, transforms::Resize};
use fcos_burn_model::{Fcos, FcosConfig};
use image::{Rgb, RgbImage};

use crate::{Detector, InputConfig, device::Precision};

/// An untrained detector of the classes `cat` and `dog`. Every location gives candidates.
pub(crate) fn untrained(seed: u64, resize: Resize, detections_per_image: usize) -> Detector {
    let mut config = FcosConfig::small(2);
    config.backbone.width = 8;
    config.fpn.channels = 8;
    config.head.tower_depth = 1;
    config.postprocess.score_threshold = 0.0;
    config.postprocess.detections_per_image = detections_per_image;
    let input = InputConfig::fcos().with_resize(resize);
    let classes = Category::list(["cat", "dog"]);
    Detector::new(
        &drawn(&config, seed),
        input,
        classes,
        Device::flex(),
        Precision::F32,
    )
}

/// A model with the weights of this seed. All tests must draw theirs here: the random state is global to the
/// process, and tests run on several threads.
pub(crate) fn drawn(config: &FcosConfig, seed: u64) -> Fcos {
    static RANDOM_STATE: Mutex<()> = Mutex::new(());
    let _guard = RANDOM_STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(seed);
    let model = config.init(&device).unwrap();
    // Parameters are drawn on first use.
    model.visit(&mut Draw);
    model
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

/// An image in which an untrained detector finds different boxes everywhere.
pub(crate) fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([
            (x * 7 + y * 3) as u8,
            (x * y) as u8,
            (40 * (x / 9 + y / 7)) as u8,
        ])
    })
}
