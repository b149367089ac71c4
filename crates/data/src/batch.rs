//! Images of different sizes in one array.

use crate::Normalization;
use crate::transforms::{Geometry, Sample};

/// Normalised images, padded to one size.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageBatch {
    /// The values, row-major in [`shape`](Self::shape).
    pub data: Vec<f32>,
    /// `[images, 3, height, width]`.
    pub shape: [usize; 4],
    /// `[width, height]` of each image before padding, in pixels.
    pub sizes: Vec<[u32; 2]>,
    /// Where each image came from in its original one.
    pub geometries: Vec<Geometry>,
}

/// Normalises the images and pads them with zeros, right and below, to the largest width and the largest height, each
/// rounded up to a multiple of `multiple`: the coarsest stride of the network, so that its grids fit (32 in Detectron).
///
/// Padding comes after normalisation: a padded value is 0, the mean colour.
///
/// ```
/// use fcos_burn_data::{Normalization, stack, transforms::Sample};
/// use image::RgbImage;
///
/// let sample = |width, height| Sample::new(RgbImage::new(width, height), vec![], vec![]);
/// let batch = stack(&[sample(100, 40), sample(60, 90)], Normalization::ImageNet, 32);
/// assert_eq!(batch.shape, [2, 3, 96, 128]);
/// assert_eq!(batch.sizes, [[100, 40], [60, 90]]);
/// ```
pub fn stack(samples: &[Sample], normalization: Normalization, multiple: usize) -> ImageBatch {
    let sizes: Vec<[u32; 2]> = samples
        .iter()
        .map(|sample| sample.image().dimensions().into())
        .collect();
    let padded = |side: usize| {
        let largest = sizes
            .iter()
            .map(|size| size[side] as usize)
            .max()
            .unwrap_or(0);
        largest.next_multiple_of(multiple.max(1))
    };
    let (width, height) = (padded(0), padded(1));
    let volume = 3 * height * width;
    let mut data = vec![0.0; samples.len() * volume];
    for (index, sample) in samples.iter().enumerate() {
        normalization.write_chw(
            sample.image(),
            width,
            &mut data[index * volume..(index + 1) * volume],
        );
    }
    let geometries = samples.iter().map(Sample::geometry).collect();
    ImageBatch {
        data,
        shape: [samples.len(), 3, height, width],
        sizes,
        geometries,
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn images_are_padded_with_zeros_right_and_below() {
        let sample = |width, height, byte| {
            Sample::new(
                RgbImage::from_pixel(width, height, Rgb([byte; 3])),
                vec![],
                vec![],
            )
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

    #[test]
    fn nothing_stacks_to_nothing() {
        let batch = stack(&[], Normalization::ImageNet, 32);
        assert_eq!(batch.shape, [0, 3, 0, 0]);
        assert!(batch.data.is_empty());
    }
}
