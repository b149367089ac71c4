//! Named augmentations.

use fcos_burn_data::transforms::Transform;
use fcos_burn_model::backbone::BackboneConfig;

use super::RunConfig;

impl<C: BackboneConfig> RunConfig<C> {
    /// Replaces the augmentation of the input by the steps of [`augment`](Self::augment), which is
    /// then none. Logs them. `images` is the number of training images.
    pub fn resolve_augmentation(&mut self, images: usize) {
        let Some(strength) = self.augment.take() else {
            return;
        };
        let resolved = strength.resolved(images);
        self.input.augmentation = resolved.steps(images);
        let names: Vec<&str> = (self.input.augmentation.iter())
            .map(Transform::name)
            .collect();
        let chosen = match strength == resolved {
            true => String::new(),
            false => format!(", chosen for {images} training images"),
        };
        let steps = match names.is_empty() {
            true => "no steps".to_owned(),
            false => names.join(", "),
        };
        log::info!("augmentation: {resolved}{chosen}: {steps}");
    }
}

#[cfg(test)]
mod tests {
    use fcos_burn_data::transforms::AugmentationStrength;

    use super::*;

    #[test]
    fn a_named_augmentation_is_replaced_by_its_steps() {
        let mut config = RunConfig::small();
        config.resolve_augmentation(10);
        assert_eq!(config, RunConfig::small());
        for (images, strength) in [
            (205, AugmentationStrength::Strong),
            (5_000, AugmentationStrength::Medium),
            (100_000, AugmentationStrength::Light),
        ] {
            let mut config = RunConfig::small().with_augment(Some(AugmentationStrength::Auto));
            config.resolve_augmentation(images);
            assert_eq!(config.augment, None);
            assert_eq!(config.input.augmentation, strength.steps(images));
        }
    }
}
