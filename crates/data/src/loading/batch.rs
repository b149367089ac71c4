//! Images of different sizes in one array.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32x3;
use fast_image_resize::{ImageError, ResizeError, Resizer};
use image::RgbImage;

use super::Normalization;
use crate::DataError;
use crate::transforms::{Flip, Interpolation, Resize, Sample};

/// Images padded to the same size, of normalized values or of bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageBatch<T = f32> {
    /// The values, row-major, of shape [`shape`](Self::shape).
    pub data: Vec<T>,
    /// `[images, 3, height, width]`.
    pub shape: [usize; 4],
    /// `[width, height]` of each image before padding, in pixels.
    pub sizes: Vec<[u32; 2]>,
}

/// Normalizes the images and pads them with zeros, on the right and at the bottom, to the largest width and the largest
/// height, each rounded up to a multiple of `multiple`. Use the largest stride of the network so that its feature maps
/// align; Detectron uses 32.
///
/// Padding comes after normalization, so a padded value of 0 is the mean color.
///
/// ```
/// use fcos_burn_data::{Normalization, stack, transforms::Sample};
/// use image::RgbImage;
///
/// let sample = |width, height| Sample::new(RgbImage::new(width, height), []);
/// let batch = stack(&[sample(100, 40), sample(60, 90)], Normalization::ImageNet, 32);
/// assert_eq!(batch.shape, [2, 3, 96, 128]);
/// assert_eq!(batch.sizes, [[100, 40], [60, 90]]);
/// ```
pub fn stack(samples: &[Sample], normalization: Normalization, multiple: usize) -> ImageBatch {
    stack_planes(samples, multiple, |image, width, planes| {
        normalization.write_chw(image, width, planes);
    })
}

/// Like [`stack`], but does not normalize: the bytes of the images, in the order of the channels of `normalization`, a
/// quarter of the size. A padded byte is 0, which is not the mean color.
pub fn stack_bytes(
    samples: &[Sample],
    normalization: Normalization,
    multiple: usize,
) -> ImageBatch<u8> {
    stack_planes(samples, multiple, |image, width, planes| {
        normalization.write_bytes(image, width, planes);
    })
}

/// The planes of each image, which `write` gets with their width.
fn stack_planes<T: Copy + Default>(
    samples: &[Sample],
    multiple: usize,
    write: impl Fn(&RgbImage, usize, &mut [T]),
) -> ImageBatch<T> {
    let sizes = samples.iter().map(|sample| sample.image().dimensions());
    let mut batch = ImageBatch::zeros(sizes, multiple);
    for (sample, (planes, width)) in samples.iter().zip(batch.images()) {
        write(sample.image(), width, planes);
    }
    batch
}

/// Like [`stack`], but normalizes first and then resizes with [`Interpolation::Pointwise`], as torchvision's detectors
/// do. Resized values are not rounded to bytes.
///
/// # Errors
///
/// [`DataError::Resize`].
pub fn stack_resized(
    images: &[RgbImage],
    resize: Resize,
    normalization: Normalization,
    multiple: usize,
) -> Result<ImageBatch, DataError> {
    let target = |image: &RgbImage| resize.target(image.width(), image.height());
    let mut batch = ImageBatch::zeros(images.iter().map(target), multiple);
    for (image, (planes, plane_width)) in images.iter().zip(batch.images()) {
        let (width, height) = target(image);
        let resized =
            resized(image, (width, height), normalization).map_err(|source| DataError::Resize {
                from: image.dimensions(),
                to: (width, height),
                source: source.into(),
            })?;
        let plane_len = planes.len() / 3;
        for (channel, plane) in planes.chunks_exact_mut(plane_len.max(1)).enumerate() {
            let rows = resized.pixels().chunks_exact(width as usize);
            for (pixels, values) in rows.zip(plane.chunks_exact_mut(plane_width)) {
                for (value, pixel) in values.iter_mut().zip(pixels) {
                    *value = pixel.0[channel];
                }
            }
        }
    }
    Ok(batch)
}

fn resized(
    image: &RgbImage,
    (width, height): (u32, u32),
    normalization: Normalization,
) -> Result<TypedImage<'static, F32x3>, ResizeError> {
    let pixels: Vec<F32x3> = normalization.pixels(image).map(F32x3::new).collect();
    let source = TypedImageRef::new(image.width(), image.height(), &pixels)
        .map_err(|_| ImageError::UnsupportedPixelType)?;
    let mut target = TypedImage::new(width, height);
    Resizer::new().resize_typed(&source, &mut target, &Interpolation::Pointwise.options())?;
    Ok(target)
}

impl<T: Copy + Default> ImageBatch<T> {
    /// The mirrored images. The padding stays on the right and at the bottom.
    #[must_use]
    pub fn flipped(mut self, flip: Flip) -> Self {
        let [horizontal, vertical] = flip.axes();
        let sizes = self.sizes.clone();
        for ((planes, plane_width), [width, height]) in self.images().zip(sizes) {
            let (width, height) = (width as usize, height as usize);
            let plane_len = planes.len() / 3;
            for plane in planes.chunks_exact_mut(plane_len.max(1)) {
                let rows = &mut plane[..height * plane_width];
                if horizontal {
                    for row in rows.chunks_exact_mut(plane_width) {
                        row[..width].reverse();
                    }
                }
                if vertical {
                    for upper in 0..height / 2 {
                        let lower = (height - 1 - upper) * plane_width;
                        let (above, below) = rows.split_at_mut(lower);
                        let upper = upper * plane_width;
                        above[upper..upper + width].swap_with_slice(&mut below[..width]);
                    }
                }
            }
        }
        self
    }

    /// A batch of zeros for images of these sizes, `(width, height)`.
    fn zeros(sizes: impl Iterator<Item = (u32, u32)>, multiple: usize) -> Self {
        let sizes: Vec<[u32; 2]> = sizes.map(Into::into).collect();
        let padded = |side: usize| {
            let sides = sizes.iter().map(|size| size[side] as usize);
            sides.max().unwrap_or(0).next_multiple_of(multiple.max(1))
        };
        let shape = [sizes.len(), 3, padded(1), padded(0)];
        Self {
            data: vec![T::default(); shape.iter().product()],
            shape,
            sizes,
        }
    }

    /// The three planes of each image, and the width of a plane.
    fn images(&mut self) -> impl Iterator<Item = (&mut [T], usize)> {
        let [_, channels, height, width] = self.shape;
        self.data
            .chunks_exact_mut((channels * height * width).max(1))
            .map(move |planes| (planes, width))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, imageops};

    use super::*;

    #[test]
    fn images_are_padded_with_zeros_on_the_right_and_at_the_bottom() {
        let sample = |width, height, byte| {
            Sample::new(RgbImage::from_pixel(width, height, Rgb([byte; 3])), [])
        };
        let batch = stack(
            &[sample(3, 2, 255), sample(2, 4, 0)],
            Normalization::Caffe,
            4,
        );
        assert_eq!(batch.shape, [2, 3, 4, 4]);
        let blue = 255.0 - 102.9801;
        #[rustfmt::skip]
        let expected = [
            blue, blue, blue, 0.0,
            blue, blue, blue, 0.0,
            0.0, 0.0, 0.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
        ];
        assert_eq!(batch.data[..16], expected);
        assert_eq!(batch.data[48..52], [-102.9801, -102.9801, 0.0, 0.0]);
    }

    /// The output of `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` for the row
    /// `[0, 10, 20, 90]` at three and six pixels.
    #[test]
    fn pointwise_resizing_matches_torch() {
        let image = RgbImage::from_fn(4, 1, |x, _| Rgb([[0, 10, 20, 90][x as usize]; 3]));
        for (width, expected) in [
            (3, &[1.666_666_7, 15.0, 78.333_33][..]),
            (6, &[0.0, 5.0, 11.666_667, 18.333_334, 55.0, 90.0]),
        ] {
            let resize = Resize::Fixed { width, height: 1 };
            let batch = stack_resized(
                std::slice::from_ref(&image),
                resize,
                Normalization::Caffe,
                1,
            )
            .unwrap();
            assert_eq!(batch.shape, [1, 3, 1, width as usize]);
            for (value, expected) in batch.data.iter().zip(expected) {
                assert!(
                    (value + 102.9801 - expected).abs() < 1e-4,
                    "{:?}",
                    batch.data
                );
            }
        }
    }

    /// The batch of flipped images is the flipped batch, whatever the padding.
    #[test]
    fn flipped_images_keep_their_padding() {
        let image = |width, height| {
            RgbImage::from_fn(width, height, |x, y| {
                Rgb([(50 * x) as u8, (40 * y) as u8, (x * y) as u8])
            })
        };
        let images = [image(5, 3), image(2, 4), image(4, 4), image(1, 1)];
        let stacked = |flip: &dyn Fn(&RgbImage) -> RgbImage| {
            let samples = images.iter().map(|image| Sample::new(flip(image), []));
            stack(&samples.collect::<Vec<_>>(), Normalization::Caffe, 3)
        };
        let batch = stacked(&RgbImage::clone);
        let horizontal = stacked(&imageops::flip_horizontal);
        assert_eq!(batch.clone().flipped(Flip::Horizontal), horizontal);
        let vertical = stacked(&imageops::flip_vertical);
        assert_eq!(batch.clone().flipped(Flip::Vertical), vertical);
        let both = stacked(&imageops::rotate180);
        assert_eq!(batch.clone().flipped(Flip::Both), both);
        assert_ne!(batch, horizontal);
        let empty = stack(&[], Normalization::ImageNet, 32);
        assert_eq!(empty.clone().flipped(Flip::Both), empty);
    }

    #[test]
    fn an_empty_batch_has_no_values() {
        let batch = stack(&[], Normalization::ImageNet, 32);
        assert_eq!(batch.shape, [0, 3, 0, 0]);
        assert!(batch.data.is_empty());
    }
}
