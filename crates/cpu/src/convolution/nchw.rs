//! Batches of images in NCHW layout: row-major `[batch, channels, height, width]`.

use ndarray::{ArrayView2, Axis};

use super::{matrix::matrix, partition::RowRange, scratch::Scratch};

/// A batch of images or feature maps. One channel of one image is a plane.
#[derive(Clone, Copy, Debug)]
pub struct Nchw<'a> {
    values: &'a [f32],
    channels: usize,
    size: [usize; 2],
}

impl<'a> Nchw<'a> {
    /// `values` holds whole images of `channels` planes of `size`, `[height, width]`.
    pub fn new(values: &'a [f32], channels: usize, size: [usize; 2]) -> Self {
        debug_assert!(
            values
                .len()
                .is_multiple_of((channels * size[0] * size[1]).max(1))
        );
        Self {
            values,
            channels,
            size,
        }
    }

    /// All values in row-major order.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    pub fn batch(&self) -> usize {
        self.values.len() / (self.channels * self.pixels()).max(1)
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The number of pixels of a plane.
    pub fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// One channel of one image.
    pub fn plane(&self, image: usize, channel: usize) -> &'a [f32] {
        let start = (image * self.channels + channel) * self.pixels();
        &self.values[start..start + self.pixels()]
    }

    /// One image, `[channels, pixels]`.
    pub fn image(&self, image: usize) -> ArrayView2<'a, f32> {
        let length = self.channels * self.pixels();
        let values = &self.values[image * length..(image + 1) * length];
        matrix(values, self.channels, self.pixels())
    }

    /// The pixels of a part of the rows, `[channels, pixels]`: a view if they belong to one
    /// image, a copy in `scratch` otherwise.
    pub fn columns(&self, part: &[RowRange], scratch: &'a mut Scratch) -> ArrayView2<'a, f32> {
        let width = self.size[1];
        let pixels = |range: &RowRange| range.rows.start * width..range.rows.end * width;
        if let [range] = part {
            let pixels = pixels(range);
            let (_, rest) = self.image(range.image).split_at(Axis(1), pixels.start);
            return rest.split_at(Axis(1), pixels.len()).0;
        }
        let count = part.iter().map(|range| pixels(range).len()).sum();
        let mut columns = scratch.array([self.channels, count]);
        for (channel, mut row) in columns.rows_mut().into_iter().enumerate() {
            let mut row = row.as_slice_mut().unwrap_or_default();
            for range in part {
                let pixels = &self.plane(range.image, channel)[pixels(range)];
                let (start, rest) = row.split_at_mut(pixels.len());
                start.copy_from_slice(pixels);
                row = rest;
            }
        }
        matrix(scratch, self.channels, count)
    }
}

/// The planes of a batch, grouped into blocks of `size` channels for one task each. The
/// planes of a block are in the order of the images.
pub fn channel_blocks<T>(
    values: &mut [T],
    pixels: usize,
    channels: usize,
    size: usize,
) -> Vec<Vec<&mut [T]>> {
    let mut blocks = Vec::new();
    blocks.resize_with(channels.div_ceil(size), Vec::new);
    for (plane, values) in values.chunks_exact_mut(pixels).enumerate() {
        blocks[plane % channels / size].push(values);
    }
    blocks
}
