//! Max pooling.

use std::{mem::MaybeUninit, ops::Range, sync::Arc};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            NodeId,
            checkpoint::{
                base::Checkpointer, retro_forward::RetroForward, state::BackwardStates,
                strategy::CheckpointStrategy,
            },
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    nn::{PaddingConfig2d, pool::MaxPool2d},
    tensor::Tensor,
};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{
    flex::{channels_first, channels_last, is_f32_on_flex, values},
    nhwc::Nhwc,
    simd::dispatch,
    uninit::vec_written_by,
};

/// The output of a max pooling layer, like its [`forward`](MaxPool2d::forward): the largest value of
/// each window of `input`, `[batch, channels, height, width]`, for each channel. Of equal values, the
/// first receives the gradient.
///
/// Dilated windows, unequal padding and sizes that are rounded up are left to the tensor's own
/// backend.
pub fn max_pool2d(layer: &MaxPool2d, input: Tensor<4>) -> Tensor<4> {
    match Windows::new(layer, &input) {
        Some(windows) if is_f32_on_flex(&input) => Tensor::from_dispatch(
            <Dispatch as MaxPoolOps>::max_pool(input.into_dispatch(), windows),
        ),
        _ => layer.forward(input),
    }
}

/// The sizes of a pooling, each as `[height, width]`.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    input: [usize; 2],
    output: [usize; 2],
}

impl Windows {
    /// `None` for poolings that this crate does not compute.
    fn new(layer: &MaxPool2d, input: &Tensor<4>) -> Option<Self> {
        let padding = match layer.padding {
            PaddingConfig2d::Explicit(top, left, bottom, right) => {
                (top == bottom && left == right).then_some([top, left])?
            }
            PaddingConfig2d::Valid => [0, 0],
            PaddingConfig2d::Same => return None,
        };
        let (kernel, stride) = (layer.kernel_size, layer.stride);
        let [_, _, height, width] = input.dims();
        let size = [height, width];
        let is_supported = layer.dilation == [1, 1]
            && !layer.ceil_mode
            && input.shape().num_elements() > 0
            && (0..2).all(|axis| padding[axis] < kernel[axis] && stride[axis] > 0);
        if !is_supported {
            return None;
        }
        let mut output = [0; 2];
        for axis in 0..2 {
            let last = (size[axis] + 2 * padding[axis]).checked_sub(kernel[axis])?;
            output[axis] = last / stride[axis] + 1;
            // Every window has a pixel.
            if (output[axis] - 1) * stride[axis] >= size[axis] + padding[axis] {
                return None;
            }
        }
        Some(Self {
            kernel,
            stride,
            padding,
            input: size,
            output,
        })
    }

    /// The pixels along an axis that the window of an output covers, and the index of the first of
    /// them in the window.
    fn pixels(&self, axis: usize, output: usize) -> (Range<usize>, usize) {
        let start = output * self.stride[axis];
        let first = start.saturating_sub(self.padding[axis]);
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]);
        (
            first..end.min(self.input[axis]),
            first + self.padding[axis] - start,
        )
    }

    /// The outputs along an axis whose windows cover a pixel.
    fn outputs(&self, axis: usize, pixel: usize) -> Range<usize> {
        let position = pixel + self.padding[axis];
        let first = (position + 1).saturating_sub(self.kernel[axis]);
        let end = position / self.stride[axis] + 1;
        first.div_ceil(self.stride[axis])..end.min(self.output[axis])
    }
}

/// Pooling as an operation of the backends that implement it.
#[backend_extension(Flex, Autodiff)]
trait MaxPoolOps: Backend {
    fn max_pool(input: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self>;
}

impl MaxPoolOps for Flex {
    fn max_pool(input: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
        pool(input, &windows, None)
    }
}

impl<C: CheckpointStrategy> MaxPoolOps for Autodiff<Flex, C> {
    fn max_pool(input: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
        let recompute = Recompute(input.id(), windows);
        match MaxPool
            .prepare::<C>([input.node()])
            .memory_bound()
            .retro_forward(recompute)
            .parents([&input])
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let mut winners = Vec::new();
                let output = pool(input.into_primitive(), &windows, Some(&mut winners));
                prep.finish((winners.into(), windows), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(pool(input.into_primitive(), &windows, None)),
        }
    }
}

/// Recomputes the output from the input, for gradient checkpointing.
#[derive(Debug)]
struct Recompute(NodeId, Windows);

impl RetroForward for Recompute {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let input = states.get_state::<FloatTensor<Flex>>(&self.0);
        states.save(out_node, Flex::max_pool(input, self.1));
    }
}

/// The output, and, if wanted, the index in its window of the pixel that each value comes from.
fn pool(
    input: FloatTensor<Flex>,
    windows: &Windows,
    winners: Option<&mut Vec<u32>>,
) -> FloatTensor<Flex> {
    let [batch, channels, _, _] = input.shape().dims();
    let input = channels_last(&input);
    let input = Nhwc::new(values(&input), windows.input, channels);
    let [height, width] = windows.output;
    let row = width * channels;
    let length = batch * height * row;
    // SAFETY: the rows cover all values, and each is written.
    #[allow(unsafe_code)]
    let output = unsafe {
        vec_written_by(length, |output| {
            let rows = output.par_chunks_exact_mut(row).enumerate();
            let write =
                |index: usize, output: &mut [MaybeUninit<f32>], winners: Option<&mut [u32]>| {
                    dispatch(PoolRow {
                        input,
                        windows,
                        image: index / height,
                        row: index % height,
                        output,
                        winners,
                    });
                };
            match winners {
                Some(winners) => {
                    winners.resize(length, 0);
                    let winners = winners.par_chunks_exact_mut(row);
                    rows.zip(winners)
                        .for_each(|((index, output), winners)| write(index, output, Some(winners)));
                }
                None => rows.for_each(|(index, output)| write(index, output, None)),
            }
        })
    };
    channels_first(output, [batch, height, width, channels])
}

struct PoolRow<'a> {
    input: Nhwc<'a>,
    windows: &'a Windows,
    image: usize,
    row: usize,
    output: &'a mut [MaybeUninit<f32>],
    winners: Option<&'a mut [u32]>,
}

impl WithSimd for PoolRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let channels = self.input.channels();
        let (rows, top) = self.windows.pixels(0, self.row);
        for (x, output) in self.output.chunks_exact_mut(channels).enumerate() {
            let (columns, left) = self.windows.pixels(1, x);
            let pixel =
                |y: usize, x: usize| &self.input.row(self.image, y)[x * channels..][..channels];
            let first = pixel(rows.start, columns.start);
            let output = output.write_copy_of_slice(first);
            let index = |y: usize, x: usize| {
                let y = top + y - rows.start;
                (y * self.windows.kernel[1] + left + x - columns.start) as u32
            };
            let mut winners = self.winners.as_mut().map(|winners| {
                let winners = &mut winners[x * channels..][..channels];
                winners.fill(index(rows.start, columns.start));
                winners
            });
            for y in rows.clone() {
                for x in columns.clone() {
                    let values = pixel(y, x);
                    match &mut winners {
                        Some(winners) => {
                            let index = index(y, x);
                            for ((output, winner), value) in
                                output.iter_mut().zip(winners.iter_mut()).zip(values)
                            {
                                // NaN wins.
                                let is_larger = *value > *output || value.is_nan();
                                *output = if is_larger { *value } else { *output };
                                *winner = if is_larger { index } else { *winner };
                            }
                        }
                        None => {
                            for (output, value) in output.iter_mut().zip(values) {
                                let is_larger = *value > *output || value.is_nan();
                                *output = if is_larger { *value } else { *output };
                            }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
struct MaxPool;

impl Backward<Flex, 1> for MaxPool {
    type State = (Arc<[u32]>, Windows);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = channels_last(&grads.consume::<Flex>(&ops.node));
        let (winners, windows) = ops.state;
        let [Some(node)] = ops.parents else { return };
        let [batch, _, _, channels] = gradient.shape().dims();
        let gradient = Nhwc::new(values(&gradient), windows.output, channels);
        let [height, width] = windows.input;
        let row = width * channels;
        // SAFETY: the rows cover all values, and each is written.
        #[allow(unsafe_code)]
        let output = unsafe {
            vec_written_by(batch * height * row, |output| {
                let rows = output.par_chunks_exact_mut(row).enumerate();
                rows.for_each(|(index, output)| {
                    dispatch(GradientRow {
                        gradient,
                        winners: &winners,
                        windows: &windows,
                        image: index / height,
                        row: index % height,
                        output,
                    });
                });
            })
        };
        let output = channels_first(output, [batch, height, width, channels]);
        grads.register::<Flex>(node.id, output);
    }
}

struct GradientRow<'a> {
    gradient: Nhwc<'a>,
    winners: &'a [u32],
    windows: &'a Windows,
    image: usize,
    row: usize,
    output: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for GradientRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let channels = self.gradient.channels();
        let Windows {
            kernel,
            stride,
            padding,
            ..
        } = *self.windows;
        for (column, output) in self.output.chunks_exact_mut(channels).enumerate() {
            let output = crate::uninit::zeroed(output);
            for y in self.windows.outputs(0, self.row) {
                for x in self.windows.outputs(1, column) {
                    let tap_y = self.row + padding[0] - y * stride[0];
                    let tap_x = column + padding[1] - x * stride[1];
                    let tap = (tap_y * kernel[1] + tap_x) as u32;
                    let start = self.gradient.row_start(self.image, y) + x * channels;
                    let gradients = &self.gradient.values()[start..][..channels];
                    let winners = &self.winners[start..][..channels];
                    for ((output, gradient), winner) in
                        output.iter_mut().zip(gradients).zip(winners)
                    {
                        *output += if *winner == tap { *gradient } else { 0.0 };
                    }
                }
            }
        }
    }
}
