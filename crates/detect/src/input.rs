//! Preprocessing of images.

use burn::tensor::TensorData;
use fcos_burn_data::{
    DataError, Normalization, stack, stack_resized,
    transforms::{HorizontalFlip, Interpolation, MultiScale, Pipeline, Resize, Sample, Transform},
};
use fcos_burn_model::{ConfigError, ImageFrame};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The preprocessing of images: resizing, augmentation, normalization, padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct InputConfig {
    /// The size of the input, in training and inference.
    pub resize: Resize,
    /// The interpolation of resized images.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// A random factor of the size of each batch, in training only.
    #[serde(default)]
    pub multi_scale: Option<MultiScale>,
    /// Random transforms of the resized image, in training only.
    pub augmentation: Vec<Transform>,
    /// Normalization of the pixel values.
    pub normalization: Normalization,
    /// Height and width are padded to a multiple of this.
    pub size_multiple: usize,
}

/// Resized and normalized images on the host.
#[derive(Clone, Debug)]
pub struct InputBatch {
    /// `[images, 3, height, width]`; smaller images are padded with zeros at the right and the
    /// bottom.
    pub images: TensorData,
    /// Size of each image in the batch and in the original.
    pub frames: Vec<ImageFrame>,
}

impl InputConfig {
    /// The preprocessing of the original FCOS code and of the paper: a short side of 800 and a long
    /// side of at most 1333 pixels, Caffe normalization, horizontal flips in training.
    pub fn fcos() -> Self {
        Self {
            resize: Resize::ShortSide {
                short: 800,
                long: 1333,
            },
            interpolation: Interpolation::Antialiased,
            multi_scale: None,
            augmentation: vec![Transform::HorizontalFlip(HorizontalFlip::default())],
            normalization: Normalization::Caffe,
            size_multiple: 32,
        }
    }

    /// The preprocessing of torchvision's detectors: sizes as in [`fcos`](Self::fcos), pointwise
    /// interpolation, and the normalization of its classification networks.
    pub fn torchvision() -> Self {
        Self {
            interpolation: Interpolation::Pointwise,
            normalization: Normalization::ImageNet,
            ..Self::fcos()
        }
    }

    /// Sets [`resize`](Self::resize).
    #[must_use]
    pub fn with_resize(self, resize: Resize) -> Self {
        Self { resize, ..self }
    }

    /// Sets [`interpolation`](Self::interpolation).
    #[must_use]
    pub fn with_interpolation(self, interpolation: Interpolation) -> Self {
        Self {
            interpolation,
            ..self
        }
    }

    /// Sets [`multi_scale`](Self::multi_scale).
    #[must_use]
    pub fn with_multi_scale(self, multi_scale: Option<MultiScale>) -> Self {
        Self {
            multi_scale,
            ..self
        }
    }

    /// Sets [`augmentation`](Self::augmentation).
    #[must_use]
    pub fn with_augmentation(self, augmentation: Vec<Transform>) -> Self {
        Self {
            augmentation,
            ..self
        }
    }

    /// Sets [`normalization`](Self::normalization).
    #[must_use]
    pub fn with_normalization(self, normalization: Normalization) -> Self {
        Self {
            normalization,
            ..self
        }
    }

    /// Sets [`size_multiple`](Self::size_multiple).
    #[must_use]
    pub fn with_size_multiple(self, size_multiple: usize) -> Self {
        Self {
            size_multiple,
            ..self
        }
    }

    /// Checks every value except the augmentation, which inference ignores.
    ///
    /// # Errors
    ///
    /// Names the first invalid value.
    pub fn validate(&self) -> Result<(), Error> {
        if !(1..=4096).contains(&self.size_multiple) {
            return Err(Error::Config(ConfigError::new(
                "input.size_multiple",
                self.size_multiple,
                "between 1 and 4096",
            )));
        }
        Pipeline::new(vec![Transform::Resize(self.resize)])?;
        if let Some(multi_scale) = self.multi_scale {
            multi_scale.validate()?;
        }
        Ok(())
    }

    /// Resizes, normalizes and stacks images for inference, without augmentation.
    ///
    /// # Errors
    ///
    /// Fails if an image cannot be resized.
    pub fn batch(&self, images: Vec<RgbImage>) -> Result<InputBatch, DataError> {
        let original_sizes: Vec<_> = images.iter().map(|image| image.dimensions()).collect();
        let batch = match self.interpolation {
            Interpolation::Antialiased => {
                let samples = images
                    .into_iter()
                    .map(|image| {
                        let sample = Sample::new(image, []);
                        self.resize.resize(sample, self.interpolation)
                    })
                    .collect::<Result<Vec<Sample>, DataError>>()?;
                stack(&samples, self.normalization, self.size_multiple)
            }
            Interpolation::Pointwise => {
                stack_resized(&images, self.resize, self.normalization, self.size_multiple)?
            }
        };
        let side = |[width, height]: [u32; 2]| [height as usize, width as usize];
        let frames = batch
            .sizes
            .iter()
            .zip(original_sizes)
            .map(|(&size, original)| ImageFrame {
                input_size: side(size),
                original_size: side(original.into()),
            })
            .collect();
        Ok(InputBatch {
            images: TensorData::new(batch.data, batch.shape),
            frames,
        })
    }
}
