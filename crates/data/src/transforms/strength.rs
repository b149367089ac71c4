//! Lists of steps by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    CopyPaste, GaussianBlur, GaussianNoise, HorizontalFlip, HsvJitter, JpegArtifacts, Mixup,
    Mosaic, RandomAffine, RandomErasing, Transform,
};

/// How much training images are changed. Each strength stands for a list of [steps](Self::steps).
///
/// No strength flips images upside down or turns them by large angles: whether that is right depends on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AugmentationStrength {
    /// Not at all.
    None,
    /// Horizontal flips and small changes of color.
    Light,
    /// As [`Light`](Self::Light), with larger changes of color; half of the images are mosaics; shifts and changes of scale.
    Medium,
    /// As [`Medium`](Self::Medium), with more mosaics; pasted objects, blended images, small rotations and shears, and in some
    /// images blur, noise, compression and erasing.
    Strong,
    /// By the number of training images: medium below 10,000, otherwise light. The fewer images there are, the sooner a
    /// network overfits. Strong steps take longer training runs than most.
    Auto,
}

impl AugmentationStrength {
    /// The strength that [`Auto`](Self::Auto) stands for with this number of training images; others stand for themselves.
    #[must_use]
    pub fn resolved(self, images: usize) -> Self {
        match (self, images) {
            (Self::Auto, 0..10_000) => Self::Medium,
            (Self::Auto, _) => Self::Light,
            (named, _) => named,
        }
    }

    /// The steps, in order, for this number of training images. None of them changes the size of the image.
    pub fn steps(self, images: usize) -> Vec<Transform> {
        let flip = Transform::HorizontalFlip(HorizontalFlip::default());
        let color = Transform::HsvJitter(HsvJitter::default());
        match self {
            Self::None => Vec::new(),
            Self::Light => vec![
                flip,
                Transform::HsvJitter(HsvJitter::default().with_saturation(0.3).with_value(0.2)),
            ],
            Self::Medium => vec![
                Transform::Mosaic(Mosaic::default().with_probability(0.5)),
                Transform::RandomAffine(RandomAffine::default().with_scale(0.8, 1.25)),
                flip,
                color,
            ],
            Self::Strong => vec![
                Transform::CopyPaste(CopyPaste::default()),
                Transform::Mosaic(
                    Mosaic::default()
                        .with_probability(0.75)
                        .with_scale(0.5, 1.5),
                ),
                // The mosaic already changes the scale. Smaller factors would mostly add a gray border.
                Transform::RandomAffine(
                    RandomAffine::default()
                        .with_degrees(5.0)
                        .with_shear(2.0)
                        .with_scale(0.8, 1.25),
                ),
                Transform::Mixup(Mixup::default()),
                flip,
                color,
                Transform::GaussianBlur(GaussianBlur::default()),
                Transform::GaussianNoise(GaussianNoise::default()),
                Transform::JpegArtifacts(JpegArtifacts::default()),
                Transform::RandomErasing(RandomErasing::default()),
            ],
            Self::Auto => self.resolved(images).steps(images),
        }
    }
}

/// The name in configuration files.
impl fmt::Display for AugmentationStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Light => "light",
            Self::Medium => "medium",
            Self::Strong => "strong",
            Self::Auto => "auto",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Pipeline;
    use super::*;

    #[test]
    fn all_steps_are_valid_and_fewer_images_have_more() {
        let count = |steps: Vec<Transform>| {
            Pipeline::new(steps.clone()).unwrap();
            steps.len()
        };
        let auto =
            [100_000, 10_000, 9_999, 1].map(|images| AugmentationStrength::Auto.steps(images));
        assert_eq!(auto.map(count), [2, 2, 4, 4]);
        assert_eq!(count(AugmentationStrength::Strong.steps(1)), 10);
        assert!(AugmentationStrength::None.steps(1).is_empty());
    }

    #[test]
    fn only_flips_and_colors_are_plain() {
        let plain = Pipeline::new(AugmentationStrength::Strong.steps(1))
            .unwrap()
            .plain();
        let light = Pipeline::new(vec![
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::HsvJitter(HsvJitter::default()),
        ]);
        assert_eq!(format!("{plain:?}"), format!("{:?}", light.unwrap()));
    }

    #[test]
    fn names_are_those_of_files() {
        for strength in [
            AugmentationStrength::None,
            AugmentationStrength::Light,
            AugmentationStrength::Medium,
            AugmentationStrength::Strong,
            AugmentationStrength::Auto,
        ] {
            assert_eq!(
                serde_json::to_value(strength).unwrap(),
                strength.to_string()
            );
        }
    }
}
