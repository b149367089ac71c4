//! A configuration for tests.

use fcos_burn_data::{shapes::ShapesConfig, transforms::Resize};

use super::{DataConfig, RunConfig, TrainingLength};

impl RunConfig {
    /// A training run of a few seconds, on four images of `side` × `side` pixels in steps of two, and validated on two.
    pub(crate) fn tiny(side: u32, duration: TrainingLength) -> Self {
        let shapes = ShapesConfig::default()
            .with_train_images(4)
            .with_val_images(2)
            .with_size(side, side);
        let mut config = Self::small().with_data(DataConfig::shapes(shapes));
        config.input.resize = Resize::Fixed {
            width: side,
            height: side,
        };
        config.model.backbone.width = 8;
        config.model.fpn.channels = 8;
        config.model.head.tower_depth = 1;
        config.optimization.warmup.iterations = 0;
        config
            .with_duration(duration)
            .with_batch_size(2)
            .with_workers(0)
    }
}
