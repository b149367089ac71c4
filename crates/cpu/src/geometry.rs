//! Sizes of a convolution.

use std::ops::Range;

/// Kernel, stride, padding and dilation of a convolution, by height and width, and the
/// sizes that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub input: [usize; 2],
    pub output: [usize; 2],
}

impl Geometry {
    /// `None` where the kernel is larger than the padded input.
    pub fn new(
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
    ) -> Option<Self> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let extent = dilation[axis] * (kernel[axis].checked_sub(1)?) + 1;
            let room = (input[axis] + 2 * padding[axis]).checked_sub(extent)?;
            output[axis] = room / stride[axis] + 1;
        }
        Some(Self {
            kernel,
            stride,
            padding,
            dilation,
            input,
            output,
        })
    }

    /// Elements of a channel of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of a plane of the input.
    pub fn input_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of a plane of the output.
    pub fn output_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether a product with the input itself is the convolution.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// The convolution with the flipped kernel that takes gradients of the output to those
    /// of the input; `None` where it is not one of this kind.
    pub fn transposed(&self) -> Option<Self> {
        if self.stride != [1, 1] {
            return None;
        }
        let mut padding = [0; 2];
        for (axis, padding) in padding.iter_mut().enumerate() {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1);
            *padding = reach.checked_sub(self.padding[axis])?;
        }
        Some(Self {
            padding,
            input: self.output,
            output: self.input,
            ..*self
        })
    }

    /// For one element of the kernel along `axis`: the outputs whose input is not padding,
    /// and the input of the first of them.
    pub fn span(&self, axis: usize, tap: usize) -> (Range<usize>, usize) {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let shift = tap * self.dilation[axis];
        let first = padding.saturating_sub(shift).div_ceil(stride);
        let last = match (self.input[axis] + padding).checked_sub(shift + 1) {
            Some(last) => (last / stride + 1).min(self.output[axis]),
            None => 0,
        };
        if first >= last {
            return (0..0, 0);
        }
        (first..last, first * stride + shift - padding)
    }
}

/// Rows of the output of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub image: usize,
    pub rows: Range<usize>,
}

/// The rows of all images in order, in parts of about `size` rows.
pub fn parts(images: usize, rows: usize, size: usize) -> Vec<Vec<Segment>> {
    let all = images * rows;
    let count = all.div_ceil(size.max(1)).max(1);
    let mut parts = Vec::with_capacity(count);
    for part in 0..count {
        // Parts of nearly the same size, so that no thread is left with a small rest.
        let (mut start, end) = (all * part / count, all * (part + 1) / count);
        let mut segments = Vec::new();
        while start < end {
            let (image, row) = (start / rows, start % rows);
            let length = (end - start).min(rows - row);
            segments.push(Segment {
                image,
                rows: row..row + length,
            });
            start += length;
        }
        if !segments.is_empty() {
            parts.push(segments);
        }
    }
    parts
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_the_outputs_that_see_the_image() {
        for (input, kernel, stride, padding, dilation) in [
            (5, 3, 1, 1, 1),
            (5, 3, 2, 1, 1),
            (6, 7, 2, 3, 1),
            (1, 3, 1, 1, 1),
            (2, 3, 2, 2, 2),
            (7, 1, 2, 0, 1),
        ] {
            let pair = |value| [value, value];
            let geometry = Geometry::new(
                pair(input),
                pair(kernel),
                pair(stride),
                pair(padding),
                pair(dilation),
            )
            .expect("the kernel fits");
            for tap in 0..kernel {
                let seen: Vec<(usize, usize)> = (0..geometry.output[0])
                    .filter_map(|output| {
                        let place = (output * stride + tap * dilation).checked_sub(padding)?;
                        (place < input).then_some((output, place))
                    })
                    .collect();
                let (outputs, first) = geometry.span(0, tap);
                assert_eq!(outputs.len(), seen.len());
                if let (Some(start), Some(end)) = (seen.first(), seen.last()) {
                    assert_eq!((outputs.start, first), *start);
                    assert_eq!(outputs.end - 1, end.0);
                }
            }
        }
    }

    #[test]
    fn parts_hold_every_row_once() {
        for (images, rows, size) in [(1, 1, 5), (3, 4, 5), (2, 9, 2), (4, 3, 100)] {
            let found: Vec<(usize, usize)> = parts(images, rows, size)
                .into_iter()
                .flatten()
                .flat_map(|segment| segment.rows.map(move |row| (segment.image, row)))
                .collect();
            let wanted: Vec<(usize, usize)> = (0..images)
                .flat_map(|image| (0..rows).map(move |row| (image, row)))
                .collect();
            assert_eq!(found, wanted);
        }
        assert!(parts(0, 3, 2).is_empty());
    }
}
