//! The images of a part of a batch, on the host.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fcos_burn_data::{ImageBatch, InputChannel, Normalization};

/// The images of a part of a batch, on the host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PartImages {
    /// `[images, 3, height, width]`, normalized.
    Normalized(TensorData),
    /// As bytes, which the device normalizes: a quarter of the size, for devices of other
    /// machines.
    Bytes(ByteImages),
}

/// Images as bytes, not normalized.
#[derive(Clone, Debug)]
pub struct ByteImages {
    /// Four bytes in each word, the first one in the lowest bits: not all devices have bytes.
    words: TensorData,
    /// `[images, 3, height, width]`.
    shape: [usize; 4],
    /// `[width, height]` of each image before padding.
    sizes: Vec<[u32; 2]>,
    channels: [InputChannel; 3],
}

impl PartImages {
    /// The normalized images of a batch, in parts of at most `len` images.
    pub fn normalized(batch: &ImageBatch, len: usize) -> Vec<Self> {
        let parts = parts(batch, len);
        parts
            .map(|(values, shape, _)| Self::Normalized(TensorData::new(values.to_vec(), shape)))
            .collect()
    }

    /// The bytes of a batch, in parts of at most `len` images.
    pub fn bytes(batch: &ImageBatch<u8>, normalization: Normalization, len: usize) -> Vec<Self> {
        let parts = parts(batch, len);
        let parts = parts.map(|(bytes, shape, sizes)| {
            let words = bytes.chunks(4).map(|bytes| {
                let mut word = [0; 4];
                word[..bytes.len()].copy_from_slice(bytes);
                i32::from_le_bytes(word)
            });
            let words: Vec<i32> = words.collect();
            let count = words.len();
            Self::Bytes(ByteImages {
                words: TensorData::new(words, [count]),
                shape,
                sizes: sizes.to_vec(),
                channels: normalization.channels(),
            })
        });
        parts.collect()
    }

    /// `[images, 3, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        match self {
            Self::Normalized(data) => data.shape().dims(),
            Self::Bytes(images) => images.shape,
        }
    }

    /// The normalized images on `device`, `[images, 3, height, width]`; padding is 0.
    pub fn into_tensor(self, device: &Device) -> Tensor<4> {
        match self {
            Self::Normalized(data) => Tensor::from_data(data, device),
            Self::Bytes(images) => images.into_tensor(device),
        }
    }
}

/// The values, the shape and the sizes of each part.
fn parts<T>(
    batch: &ImageBatch<T>,
    len: usize,
) -> impl Iterator<Item = (&[T], [usize; 4], &[[u32; 2]])> {
    let [_, channels, height, width] = batch.shape;
    let image_len = channels * height * width;
    let values = batch.data.chunks((len * image_len).max(1));
    values
        .zip(batch.sizes.chunks(len.max(1)))
        .map(move |(values, sizes)| (values, [sizes.len(), channels, height, width], sizes))
}

impl From<TensorData> for PartImages {
    /// Normalized images, `[images, 3, height, width]`.
    fn from(images: TensorData) -> Self {
        Self::Normalized(images)
    }
}

impl ByteImages {
    fn into_tensor(self, device: &Device) -> Tensor<4> {
        let [images, _, height, width] = self.shape;
        let words = Tensor::<1, Int>::from_data(self.words, device);
        let bytes = [0, 8, 16, 24].map(|shift| {
            let shifted = words.clone().bitwise_right_shift_scalar(shift);
            shifted.bitwise_and_scalar(0xFF)
        });
        let bytes: Tensor<1, Int> = Tensor::stack::<2>(bytes.to_vec(), 1).flatten(0, 1);
        let count = self.shape.iter().product();
        let bytes = bytes.slice(0..count).reshape(self.shape);
        let of_channels = |value: fn(InputChannel) -> f32| {
            Tensor::<1>::from_floats(self.channels.map(value), device).reshape([1, 3, 1, 1])
        };
        // The host's formula.
        let normalized = bytes.float() * of_channels(|channel| channel.scale)
            + of_channels(|channel| channel.offset);
        let whole = [width as u32, height as u32];
        if self.sizes.iter().all(|size| *size == whole) {
            return normalized;
        }
        let inside = |axis: usize, length: usize| {
            let pixels = self.sizes.iter().flat_map(|size| {
                (0..length).map(move |pixel| f32::from(pixel < size[axis] as usize))
            });
            TensorData::new(pixels.collect::<Vec<f32>>(), [images, length])
        };
        let columns = Tensor::<2>::from_data(inside(0, width), device);
        let rows = Tensor::<2>::from_data(inside(1, height), device);
        normalized * columns.reshape([images, 1, 1, width]) * rows.reshape([images, 1, height, 1])
    }
}

#[cfg(test)]
mod tests {
    use fcos_burn_data::{stack, stack_bytes, transforms::Sample};
    use image::RgbImage;

    use super::*;

    /// Equal to the bit, since the CPU has the roundings of the host.
    #[test]
    fn bytes_give_the_values_of_normalized_images() {
        let sample = |width, height| {
            let image = RgbImage::from_fn(width, height, |x, y| {
                image::Rgb([x as u8, (7 * y) as u8, (x * y) as u8])
            });
            Sample::new(image, [])
        };
        let device = Device::flex();
        let values = |parts: Vec<PartImages>| -> Vec<(Vec<usize>, Vec<f32>)> {
            let tensors = parts.into_iter().map(|part| {
                let shape = part.shape();
                let tensor = part.into_tensor(&device);
                assert_eq!(tensor.dims(), shape);
                tensor.into_data()
            });
            tensors
                .map(|data| (data.shape().to_vec(), data.iter::<f32>().collect()))
                .collect()
        };
        let alike = vec![sample(64, 32), sample(64, 32)];
        let different = vec![sample(60, 31), sample(64, 32), sample(255, 9)];
        // Without padding to a multiple, the bytes do not fill the last word.
        for (samples, multiple) in [(alike, 32), (different.clone(), 32), (different, 1)] {
            for normalization in [Normalization::ImageNet, Normalization::Caffe] {
                let expected = PartImages::normalized(&stack(&samples, normalization, multiple), 2);
                let bytes = stack_bytes(&samples, normalization, multiple);
                let found = PartImages::bytes(&bytes, normalization, 2);
                assert_eq!(found.len(), samples.len().div_ceil(2));
                assert!(values(found) == values(expected), "{normalization:?}");
            }
        }
    }
}
