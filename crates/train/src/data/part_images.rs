//! The images of a part of a batch, on the host.

use burn::tensor::{DType, Device, Element, Int, Tensor, TensorData};
use fcos_burn_data::{ImageBatch, InputChannel, Normalization};

/// The images of a part of a batch, on the host.
#[derive(Clone, Debug)]
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
    /// `[images, 3, height, width]`.
    data: TensorData,
    /// `[width, height]` of each image before padding.
    sizes: Vec<[u32; 2]>,
    channels: [InputChannel; 3],
}

impl PartImages {
    /// The normalized images of a batch, in parts of at most `len` images.
    pub fn normalized(batch: &ImageBatch, len: usize) -> Vec<Self> {
        let parts = parts(batch, len);
        parts.map(|(data, _)| Self::Normalized(data)).collect()
    }

    /// The bytes of a batch, in parts of at most `len` images.
    pub fn bytes(batch: &ImageBatch<u8>, normalization: Normalization, len: usize) -> Vec<Self> {
        let bytes = |(data, sizes): (TensorData, &[[u32; 2]])| {
            Self::Bytes(ByteImages {
                data,
                sizes: sizes.to_vec(),
                channels: normalization.channels(),
            })
        };
        parts(batch, len).map(bytes).collect()
    }

    /// `[images, 3, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        match self {
            Self::Normalized(data) => data.shape().dims(),
            Self::Bytes(images) => images.data.shape().dims(),
        }
    }

    /// The normalized images on `device`, `[images, 3, height, width]`; padding is 0.
    pub fn to_device(&self, device: &Device) -> Tensor<4> {
        match self {
            Self::Normalized(data) => Tensor::from_data(data.clone(), device),
            Self::Bytes(images) => images.to_device(device),
        }
    }
}

/// The images and sizes of each part.
fn parts<T: Element>(
    batch: &ImageBatch<T>,
    len: usize,
) -> impl Iterator<Item = (TensorData, &[[u32; 2]])> {
    let [_, channels, height, width] = batch.shape;
    let image_len = channels * height * width;
    let values = batch.data.chunks((len * image_len).max(1));
    values
        .zip(batch.sizes.chunks(len))
        .map(move |(values, sizes)| {
            let shape = [sizes.len(), channels, height, width];
            (TensorData::new(values.to_vec(), shape), sizes)
        })
}

impl From<TensorData> for PartImages {
    /// Normalized images, `[images, 3, height, width]`.
    fn from(images: TensorData) -> Self {
        Self::Normalized(images)
    }
}

impl ByteImages {
    fn to_device(&self, device: &Device) -> Tensor<4> {
        let [images, _, height, width] = self.data.shape().dims();
        let bytes = Tensor::<4, Int>::from_data(self.data.clone(), (device, DType::U8));
        let of_channels = |value: fn(InputChannel) -> f32| {
            Tensor::<1>::from_floats(self.channels.map(value), device).reshape([1, 3, 1, 1])
        };
        // The host's formula, with the same roundings.
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

    /// The device normalizes with the roundings of the host, and padding is 0.
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
            let tensors = parts.iter().map(|part| {
                let tensor = part.to_device(&device);
                assert_eq!(tensor.dims(), part.shape());
                tensor.into_data()
            });
            tensors
                .map(|data| (data.shape().to_vec(), data.iter::<f32>().collect()))
                .collect()
        };
        let alike = vec![sample(64, 32), sample(64, 32)];
        let different = vec![sample(60, 31), sample(64, 32), sample(256, 9)];
        for samples in [alike, different] {
            for normalization in [Normalization::ImageNet, Normalization::Caffe] {
                let expected = PartImages::normalized(&stack(&samples, normalization, 32), 2);
                let bytes = stack_bytes(&samples, normalization, 32);
                let found = PartImages::bytes(&bytes, normalization, 2);
                assert_eq!(found.len(), samples.len().div_ceil(2));
                assert!(values(found) == values(expected), "{normalization:?}");
            }
        }
    }
}
