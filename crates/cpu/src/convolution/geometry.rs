//! The sizes of a convolution.

use std::ops::Range;

/// Kernel size, stride, padding and dilation of a convolution, and the sizes of its input and
/// output, each as `[height, width]`.
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
    /// `None` if the dilated kernel is larger than the padded input, or the kernel is empty.
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
            let last_start = (input[axis] + 2 * padding[axis]).checked_sub(extent)?;
            output[axis] = last_start / stride[axis] + 1;
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

    /// The number of taps: the elements of the kernel for one channel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The number of pixels in one channel of an input image.
    pub fn input_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// The number of pixels in one channel of an output image.
    pub fn output_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether the im2col matrix is the input itself.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// The convolution with the flipped kernel that maps the output gradient to the input
    /// gradient. `None` if the stride is not 1, or the padding exceeds the kernel's reach.
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

    /// The outputs along `axis` for which a tap lies on the input rather than on padding, and
    /// the input index of the first of them.
    pub fn covered_outputs(&self, axis: usize, tap: usize) -> (Range<usize>, usize) {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let shift = tap * self.dilation[axis];
        let first = padding.saturating_sub(shift).div_ceil(stride);
        let end = match (self.input[axis] + padding).checked_sub(shift + 1) {
            Some(last) => (last / stride + 1).min(self.output[axis]),
            None => 0,
        };
        if first >= end {
            return (0..0, 0);
        }
        (first..end, first * stride + shift - padding)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn covered_outputs_are_those_whose_tap_lies_on_the_input() {
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
                let expected: Vec<(usize, usize)> = (0..geometry.output[0])
                    .filter_map(|output| {
                        let position = (output * stride + tap * dilation).checked_sub(padding)?;
                        (position < input).then_some((output, position))
                    })
                    .collect();
                let (outputs, first) = geometry.covered_outputs(0, tap);
                assert_eq!(outputs.len(), expected.len());
                if let (Some(start), Some(end)) = (expected.first(), expected.last()) {
                    assert_eq!((outputs.start, first), *start);
                    assert_eq!(outputs.end - 1, end.0);
                }
            }
        }
    }
}
