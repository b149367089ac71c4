//! Views of `[batch, channels, height, width]` in one slice.

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::{buffer::Buffer, geometry::Segment};

/// Images or feature maps.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    data: &'a [f32],
    channels: usize,
    size: [usize; 2],
}

impl<'a> Images<'a> {
    /// `data` holds whole images of `channels` planes of `size`, height and width.
    pub fn new(data: &'a [f32], channels: usize, size: [usize; 2]) -> Self {
        debug_assert!(
            data.len()
                .is_multiple_of((channels * size[0] * size[1]).max(1))
        );
        Self {
            data,
            channels,
            size,
        }
    }

    pub fn batch(&self) -> usize {
        self.data.len() / (self.channels * self.pixels()).max(1)
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    pub fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// One channel of one image.
    pub fn plane(&self, image: usize, channel: usize) -> &'a [f32] {
        let start = (image * self.channels + channel) * self.pixels();
        &self.data[start..start + self.pixels()]
    }

    /// One image, `[channels, pixels]`.
    pub fn image(&self, image: usize) -> ArrayView2<'a, f32> {
        let length = self.channels * self.pixels();
        let data = &self.data[image * length..(image + 1) * length];
        matrix(data, self.channels, self.pixels())
    }

    /// The pixels of some rows, `[channels, pixels]`: a view where they are of one image,
    /// else collected in `buffer`.
    pub fn columns(&self, part: &[Segment], buffer: &'a mut Buffer) -> ArrayView2<'a, f32> {
        let width = self.size[1];
        let pixels = |segment: &Segment| segment.rows.start * width..segment.rows.end * width;
        if let [segment] = part {
            let pixels = pixels(segment);
            let (_, rest) = self
                .image(segment.image)
                .split_at(ndarray::Axis(1), pixels.start);
            return rest.split_at(ndarray::Axis(1), pixels.len()).0;
        }
        let count = part.iter().map(|segment| pixels(segment).len()).sum();
        let mut columns = scratch(buffer, self.channels, count);
        for (channel, mut row) in columns.rows_mut().into_iter().enumerate() {
            let mut row = row.as_slice_mut().unwrap_or_default();
            for segment in part {
                let pixels = &self.plane(segment.image, channel)[pixels(segment)];
                let (start, rest) = row.split_at_mut(pixels.len());
                start.copy_from_slice(pixels);
                row = rest;
            }
        }
        matrix(buffer, self.channels, count)
    }
}

/// The first `rows × columns` values, row by row.
#[allow(
    clippy::expect_used,
    reason = "the slice is cut to the length of the shape"
)]
pub fn matrix(data: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &data[..rows * columns]).expect("of the shape's length")
}

/// As [`matrix`], to write to.
#[allow(
    clippy::expect_used,
    reason = "the slice is cut to the length of the shape"
)]
pub fn matrix_mut<T>(data: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), &mut data[..rows * columns])
        .expect("of the shape's length")
}

/// A matrix of any content.
pub fn scratch(buffer: &mut Buffer, rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    matrix_mut(buffer.of_length(rows * columns), rows, columns)
}
