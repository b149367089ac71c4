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
    /// As [`Light`](Self::Light), with more color, and half of the images are mosaics; small shifts and changes of scale.
    Medium,
    /// As [`Medium`](Self::Medium), but all images are mosaics, with pasted objects; also small rotations and shears, large
    /// changes of scale, blended images, and some blur, noise, compression and erasing.
    Strong,
}

impl AugmentationStrength {
    /// The strength for this number of training images: strong for less than 1,000, medium for less than 10,000, else
    /// light. The fewer images there are, the sooner a network learns them by heart.
    pub fn for_images(images: usize) -> Self {
        match images {
            0..1_000 => Self::Strong,
            1_000..10_000 => Self::Medium,
            _ => Self::Light,
        }
    }

    /// The steps, in order. None of them changes the size of the image.
    pub fn steps(self) -> Vec<Transform> {
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
                Transform::RandomAffine(RandomAffine::default().with_scale(0.75, 1.25)),
                flip,
                color,
            ],
            Self::Strong => vec![
                Transform::CopyPaste(CopyPaste::default()),
                Transform::Mosaic(Mosaic::default()),
                Transform::RandomAffine(
                    RandomAffine::default()
                        .with_degrees(5.0)
                        .with_shear(2.0)
                        .with_scale(0.5, 1.5),
                ),
                Transform::Mixup(Mixup::default()),
                flip,
                color,
                Transform::GaussianBlur(GaussianBlur::default()),
                Transform::GaussianNoise(GaussianNoise::default()),
                Transform::JpegArtifacts(JpegArtifacts::default()),
                Transform::RandomErasing(RandomErasing::default()),
            ],
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
        let strengths =
            [100_000, 10_000, 9_999, 1_000, 999, 1].map(AugmentationStrength::for_images);
        let counts = strengths.map(|strength| {
            Pipeline::new(strength.steps()).unwrap();
            strength.steps().len()
        });
        assert_eq!(counts, [2, 2, 4, 4, 10, 10]);
    }

    #[test]
    fn names_are_those_of_files() {
        for strength in [
            AugmentationStrength::None,
            AugmentationStrength::Light,
            AugmentationStrength::Medium,
            AugmentationStrength::Strong,
        ] {
            assert_eq!(
                serde_json::to_value(strength).unwrap(),
                strength.to_string()
            );
        }
    }
}
