//! Named augmentations.

use fcos_burn_data::transforms::{AugmentationStrength, Transform};
use fcos_burn_model::backbone::BackboneConfig;

use super::RunConfig;

/// In fewer epochs, a network hardly overfits, and augmentation only makes the images harder.
const LONG: usize = 20;

impl<C: BackboneConfig> RunConfig<C> {
    /// Replaces the augmentation of the input by the steps of [`augment`](Self::augment), which is
    /// then none. Logs them. `images` is the number of training images.
    ///
    /// [`AugmentationStrength::Auto`] changes nothing in training runs of fewer than 20 epochs. In longer ones, the last tenth
    /// of the epochs is [plain](Self::plain_epochs), unless their number is set.
    pub fn resolve_augmentation(&mut self, images: usize) {
        let Some(strength) = self.augment.take() else {
            return;
        };
        let per_epoch = self.steps_per_epoch(images).max(1);
        let epochs = self.duration.steps(per_epoch).div_ceil(per_epoch);
        let mut chosen = String::new();
        let mut resolved = strength;
        if strength == AugmentationStrength::Auto {
            if epochs < LONG {
                log::info!("augmentation: as configured, in fewer than {LONG} epochs");
                return;
            }
            resolved = strength.resolved(images);
            if self.plain_epochs == 0 {
                self.plain_epochs = epochs / 10;
            }
            let plain = self.plain_epochs;
            chosen = format!(
                ", chosen for {epochs} epochs of {images} images, without strong steps in the last {plain}"
            );
        }
        self.input.augmentation = resolved.steps(images);
        let names: Vec<&str> = (self.input.augmentation.iter())
            .map(Transform::name)
            .collect();
        let steps = match names.is_empty() {
            true => "no steps".to_owned(),
            false => names.join(", "),
        };
        log::info!("augmentation: {resolved}{chosen}: {steps}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainingLength;

    #[test]
    fn a_named_augmentation_is_replaced_by_its_steps() {
        let mut config = RunConfig::small();
        config.resolve_augmentation(10);
        assert_eq!(config, RunConfig::small());
        let resolved = |epochs: usize, images: usize, plain_epochs: usize| {
            let mut config = RunConfig::small()
                .with_augment(Some(AugmentationStrength::Auto))
                .with_duration(TrainingLength::Epochs(epochs))
                .with_plain_epochs(plain_epochs);
            config.resolve_augmentation(images);
            assert_eq!(config.augment, None);
            config
        };
        for (images, strength) in [
            (205, AugmentationStrength::Medium),
            (5_000, AugmentationStrength::Medium),
            (100_000, AugmentationStrength::Light),
        ] {
            let config = resolved(50, images, 0);
            assert_eq!(config.input.augmentation, strength.steps(images));
            assert_eq!(config.plain_epochs, 5);
        }
        assert_eq!(resolved(50, 205, 7).plain_epochs, 7);
        let short = resolved(19, 205, 0);
        assert_eq!(
            short,
            RunConfig::small().with_duration(TrainingLength::Epochs(19))
        );
    }
}
