//! Arguments for the augmentation of training images.

use clap::{Args, ValueEnum};
use fcos_burn::{
    data::transforms::{AugmentationStrength, MultiScale},
    train::RunConfig,
};

/// The augmentation of training images.
#[derive(Args, Clone, Debug)]
pub struct AugmentationArgs {
    /// Augment training images by a named list of steps, or by one that fits the number of images
    /// and epochs (auto) [default: auto for your own images without --config, otherwise horizontal
    /// flips]
    #[arg(long, value_enum)]
    augment: Option<Augment>,
    /// Multiply the size of each training batch by a random factor from LO to HI [default: no
    /// factor]
    #[arg(long, value_name = "LO,HI", value_parser = parse_multi_scale)]
    multi_scale: Option<MultiScale>,
    /// Train the last N epochs at one size, with only flips, crops, scales and colors of the
    /// augmentation [default: 0; a tenth of them with --augment auto]
    #[arg(long, value_name = "N")]
    plain_epochs: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Augment {
    None,
    Light,
    Medium,
    Strong,
    Auto,
}

impl AugmentationArgs {
    /// Sets what the flags name.
    pub(super) fn set(&self, config: &mut RunConfig) {
        if let Some(augment) = self.augment {
            config.augment = Some(match augment {
                Augment::None => AugmentationStrength::None,
                Augment::Light => AugmentationStrength::Light,
                Augment::Medium => AugmentationStrength::Medium,
                Augment::Strong => AugmentationStrength::Strong,
                Augment::Auto => AugmentationStrength::Auto,
            });
        }
        if let Some(multi_scale) = self.multi_scale {
            config.input.multi_scale = Some(multi_scale);
        }
        if let Some(plain_epochs) = self.plain_epochs {
            config.plain_epochs = plain_epochs;
        }
    }
}

fn parse_multi_scale(text: &str) -> Result<MultiScale, String> {
    text.split_once(',')
        .and_then(|(min, max)| {
            let multi_scale = MultiScale::new(min.trim().parse().ok()?, max.trim().parse().ok()?);
            multi_scale.validate().ok()?;
            Some(multi_scale)
        })
        .ok_or_else(|| "expected two factors from 0.1 to 10, such as 0.75,1.25".to_owned())
}
