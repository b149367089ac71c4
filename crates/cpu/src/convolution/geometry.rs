//! The sizes of a convolution.

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

    /// The number of pixels in one channel of an output image.
    pub fn output_pixels(&self) -> usize {
        self.output[0] * self.output[1]
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
}
