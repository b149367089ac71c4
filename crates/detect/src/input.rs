//! Preprocessing of images.

use burn::tensor::TensorData;
use fcos_burn_data::{
    DataError, ImageBatch, Normalization, stack, stack_resized,
    transforms::{
        Flip, HorizontalFlip, Interpolation, MultiScale, Pipeline, Resize, Sample, Transform,
    },
};
use fcos_burn_model::{ConfigError, ImageFrame};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::{Error, views::TestTimeAugmentation};

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
    /// The views of each image in inference. The validation after each epoch of a training run has one view.
    #[serde(default, skip_serializing_if = "TestTimeAugmentation::is_default")]
    pub test_time_augmentation: TestTimeAugmentation,
}

/// Resized and normalized images on the host, in all their views.
#[derive(Clone, Debug)]
pub struct InputBatch {
    /// The views of [`InputConfig::test_time_augmentation`], each of the same images.
    pub views: Vec<InputView>,
}

/// A view of some images.
#[derive(Clone, Debug)]
pub struct InputView {
    /// How the images are mirrored, if they are.
    pub flip: Option<Flip>,
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
            test_time_augmentation: TestTimeAugmentation::default(),
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

    /// Sets [`test_time_augmentation`](Self::test_time_augmentation).
    #[must_use]
    pub fn with_test_time_augmentation(self, augmentation: TestTimeAugmentation) -> Self {
        Self {
            test_time_augmentation: augmentation,
            ..self
        }
    }

    /// Checks every value except the augmentation, which inference ignores.
    ///
    /// # Errors
    ///
    /// Names the first invalid value, such as `resize.fixed.width`.
    pub fn validate(&self) -> Result<(), Error> {
        if !(1..=4096).contains(&self.size_multiple) {
            return Err(Error::Config(ConfigError::new(
                "size_multiple",
                self.size_multiple,
                "between 1 and 4096",
            )));
        }
        let checked = |resize| Pipeline::new(vec![Transform::Resize(resize)]);
        checked(self.resize)?;
        if let Some(multi_scale) = self.multi_scale {
            (multi_scale.validate()).map_err(|error| error.within("multi_scale"))?;
        }
        let views = &self.test_time_augmentation;
        let within = |error: ConfigError| error.within("test_time_augmentation");
        views.validate().map_err(within)?;
        for &scale in &views.scales {
            if let Err(cause) = checked(self.resize.scaled(scale)) {
                let requirement = format!("such that sides are possible: {cause}");
                return Err(within(ConfigError::new("scales", scale, requirement)).into());
            }
        }
        Ok(())
    }

    /// Resizes, normalizes and stacks images for inference, without augmentation: all views of them.
    ///
    /// # Errors
    ///
    /// Fails if an image cannot be resized.
    pub fn batch(&self, images: &[RgbImage]) -> Result<InputBatch, DataError> {
        self.views(&sizes(images), |resize| self.stacked(resize, images))
    }

    /// Like [`batch`](Self::batch), for an image that is too large to be normalized at its own size.
    pub(crate) fn batch_of_large(&self, image: &RgbImage) -> Result<InputBatch, DataError> {
        self.views(&sizes(std::slice::from_ref(image)), |resize| {
            let shrunk = resize.image(image, self.interpolation)?;
            let own = Resize::Fixed {
                width: shrunk.width(),
                height: shrunk.height(),
            };
            self.stacked(own, &[shrunk])
        })
    }

    /// Like [`batch`](Self::batch), with one view, whatever the test-time augmentation: the images at
    /// [`resize`](Self::resize), not mirrored.
    ///
    /// # Errors
    ///
    /// Fails if an image cannot be resized.
    pub fn single_view(&self, images: &[RgbImage]) -> Result<InputView, DataError> {
        let batch = self.stacked(self.resize, images)?;
        Ok(InputView::new(batch, None, &sizes(images)))
    }

    /// All views of images of these sizes, `[height, width]`. `stacked` resizes them.
    fn views(
        &self,
        originals: &[[usize; 2]],
        mut stacked: impl FnMut(Resize) -> Result<ImageBatch, DataError>,
    ) -> Result<InputBatch, DataError> {
        let TestTimeAugmentation { scales, flips, .. } = &self.test_time_augmentation;
        let mut views = Vec::with_capacity(self.test_time_augmentation.views());
        for &scale in scales {
            let upright = stacked(self.resize.scaled(scale))?;
            let flipped: Vec<InputView> = (flips.iter())
                .map(|&flip| InputView::new(upright.clone().flipped(flip), Some(flip), originals))
                .collect();
            views.push(InputView::new(upright, None, originals));
            views.extend(flipped);
        }
        Ok(InputBatch { views })
    }

    fn stacked(&self, resize: Resize, images: &[RgbImage]) -> Result<ImageBatch, DataError> {
        let (normalization, multiple) = (self.normalization, self.size_multiple);
        match self.interpolation {
            Interpolation::Antialiased => {
                let resized = images
                    .iter()
                    .map(|image| Ok(Sample::new(resize.image(image, self.interpolation)?, [])))
                    .collect::<Result<Vec<Sample>, DataError>>();
                let samples = resized?;
                Ok(stack(&samples, normalization, multiple))
            }
            Interpolation::Pointwise => stack_resized(images, resize, normalization, multiple),
        }
    }
}

impl InputBatch {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.views.first().map_or(0, |view| view.frames.len())
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `[height, width]` of each image.
fn sizes(images: &[RgbImage]) -> Vec<[usize; 2]> {
    (images.iter())
        .map(|image| [image.height(), image.width()].map(|side| side as usize))
        .collect()
}

impl InputView {
    /// A view of images of these sizes, `[height, width]`.
    fn new(batch: ImageBatch, flip: Option<Flip>, originals: &[[usize; 2]]) -> Self {
        let frames = (batch.sizes.iter().zip(originals))
            .map(|(&[width, height], &original_size)| ImageFrame {
                input_size: [height as usize, width as usize],
                original_size,
            })
            .collect();
        Self {
            flip,
            images: TensorData::new(batch.data, batch.shape),
            frames,
        }
    }
}
