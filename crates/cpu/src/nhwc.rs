//! Batches of images with their channels last: row-major `[batch, height, width, channels]`.

/// A batch of images or feature maps.
#[derive(Clone, Copy, Debug)]
pub struct Nhwc<'a> {
    values: &'a [f32],
    size: [usize; 2],
    channels: usize,
}

impl<'a> Nhwc<'a> {
    /// `values` holds whole images of `size`, `[height, width]`.
    pub fn new(values: &'a [f32], size: [usize; 2], channels: usize) -> Self {
        debug_assert!(
            values
                .len()
                .is_multiple_of((channels * size[0] * size[1]).max(1))
        );
        Self {
            values,
            size,
            channels,
        }
    }

    /// Images of several sizes, `[height, width]`, one after the other in `values`: for each size
    /// some images.
    pub fn several(
        mut values: &'a [f32],
        sizes: impl IntoIterator<Item = (usize, [usize; 2])>,
        channels: usize,
    ) -> Vec<Self> {
        let split = |(images, size): (usize, [usize; 2])| {
            let (of_size, rest) = values.split_at(images * size[0] * size[1] * channels);
            values = rest;
            Self::new(of_size, size, channels)
        };
        sizes.into_iter().map(split).collect()
    }

    /// All values in row-major order.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    pub fn batch(&self) -> usize {
        self.values.len() / (self.channels * self.size[0] * self.size[1]).max(1)
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Where a row of an image starts.
    pub fn row_start(&self, image: usize, row: usize) -> usize {
        (image * self.size[0] + row) * self.size[1] * self.channels
    }

    /// A row of an image, `[width, channels]`.
    pub fn row(&self, image: usize, row: usize) -> &'a [f32] {
        &self.values[self.row_start(image, row)..][..self.size[1] * self.channels]
    }
}
