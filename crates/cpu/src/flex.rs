//! Tensors of Burn's Flex backend as slices.

use burn::{
    backend::{
        BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
        TensorMetadata, tensor::FloatTensor,
    },
    tensor::{DType, Shape, Tensor, TensorData},
};

use rayon::prelude::*;

use crate::{
    parallel::{GRAIN, for_each_chunk},
    uninit::vec_written_by,
};

/// The pixels of a task, and the channels whose pixels stay in cache, when channels become last.
const PIXELS: usize = 256;
const CHANNELS: usize = 16;

/// Whether a tensor is `f32` and on the Flex backend, with or without autodiff.
pub fn is_f32_on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    let on_flex = match tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(*inner, DispatchTensorKind::Flex(_)),
        #[allow(
            unreachable_patterns,
            reason = "Flex may be the only backend that is compiled in"
        )]
        _ => false,
    };
    on_flex && tensor.dtype() == DType::F32
}

/// The `f32` tensor of the Flex backend behind a tensor without autodiff, if it is one.
pub fn untracked<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Flex>> {
    match tensor.clone().into_dispatch() {
        DispatchTensor {
            kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
            autodiff: DispatchAutodiffContext::Disabled,
        } if tensor.dtype() == DType::F32 => Some(tensor),
        _ => None,
    }
}

/// A tensor of the Flex backend, without autodiff.
pub fn from_untracked<const D: usize>(tensor: FloatTensor<Flex>) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// Updates each value of `a` by the value of `b` at the same place, in the memory of `a` if no other
/// tensor has it. The result has the order of `a` in memory.
pub fn update_by(
    a: FloatTensor<Flex>,
    b: FloatTensor<Flex>,
    update: impl Fn(&mut f32, f32) + Sync,
) -> FloatTensor<Flex> {
    in_order_of_first(a, b, |a, b| {
        let others = values(&b);
        update_chunks(a, GRAIN, |chunk, values| {
            for (value, other) in values.iter_mut().zip(&others[chunk * GRAIN..]) {
                update(value, *other);
            }
        })
    })
}

/// The values of a contiguous `f32` tensor, in row-major order.
pub fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    let values = tensor.as_slice();
    debug_assert!(values.is_some(), "a contiguous f32 tensor");
    values.unwrap_or_default()
}

/// A tensor of `values` in row-major order.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, Shape::from(shape)))
}

/// A tensor of feature maps, `[batch, channels, height, width]`, as a contiguous one of
/// `[batch, height, width, channels]`: the same memory if its channels lie beside each other there.
pub fn channels_last(tensor: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let permuted = tensor.permute(&[0, 2, 3, 1]);
    if permuted.is_contiguous() || !tensor.is_contiguous() {
        return permuted.to_contiguous();
    }
    let source = tensor;
    let [batch, channels, height, width] = tensor.shape().dims();
    let (source, pixels) = (values(source), height * width);
    let block = PIXELS.min(pixels.max(1));
    // SAFETY: the blocks cover all pixels, and each is written for all channels.
    #[allow(unsafe_code)]
    let values = unsafe {
        vec_written_by(source.len(), |output| {
            let images = output.par_chunks_mut((pixels * channels).max(1));
            images.enumerate().for_each(|(image, output)| {
                let source = &source[image * pixels * channels..][..pixels * channels];
                let blocks = output.par_chunks_mut(block * channels);
                blocks.enumerate().for_each(|(index, output)| {
                    let start = index * block;
                    for first in (0..channels).step_by(CHANNELS) {
                        let count = CHANNELS.min(channels - first);
                        for (pixel, output) in output.chunks_exact_mut(channels).enumerate() {
                            let output = output[first..first + count].iter_mut();
                            for (channel, value) in output.enumerate() {
                                let plane = (first + channel) * pixels;
                                value.write(source[plane + start + pixel]);
                            }
                        }
                    }
                });
            });
        })
    };
    self::tensor(values, [batch, height, width, channels])
}

/// A tensor of feature maps, `[batch, channels, height, width]`, with the values of
/// `[batch, height, width, channels]` in memory.
pub fn channels_first(values: Vec<f32>, shape: [usize; 4]) -> FloatTensor<Flex> {
    tensor(values, shape).permute(&[0, 3, 1, 2])
}

/// Whether the channels of feature maps, `[batch, channels, height, width]`, lie beside each other in
/// memory.
pub fn has_channels_last(tensor: &FloatTensor<Flex>) -> bool {
    tensor.permute(&[0, 2, 3, 1]).is_contiguous()
}

/// Applies an operation on contiguous tensors, element by element, to two tensors of feature maps of
/// one shape. If the first has its channels last in memory, so has the result.
fn in_order_of_first(
    first: FloatTensor<Flex>,
    second: FloatTensor<Flex>,
    operation: impl FnOnce(FloatTensor<Flex>, FloatTensor<Flex>) -> FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    if !has_channels_last(&first) {
        return operation(first, second.to_contiguous());
    }
    let first_in_order = channels_last(&first);
    drop(first);
    operation(first_in_order, channels_last(&second)).permute(&[0, 3, 1, 2])
}

/// Applies `update` to the index and the values of each chunk of `length` values, in
/// parallel. Works in place if no other tensor shares the memory, and on a copy otherwise. Values are
/// in row-major order; if `tensor` is not, the result is nevertheless.
pub fn update_chunks(
    mut tensor: FloatTensor<Flex>,
    length: usize,
    update: impl Fn(usize, &mut [f32]) + Sync,
) -> FloatTensor<Flex> {
    let count = tensor.shape().num_elements();
    let is_whole = tensor.is_contiguous() && tensor.storage::<f32>().len() == count;
    if is_whole && let Some(values) = tensor.try_storage_mut() {
        for_each_chunk(values, length, update);
        return tensor;
    }
    let tensor = tensor.to_contiguous();
    let source = values(&tensor);
    // SAFETY: the chunks cover all values, and each chunk is initialized by a copy.
    #[allow(unsafe_code)]
    let values = unsafe {
        vec_written_by(count, |values| {
            for_each_chunk(values, length, |index, chunk| {
                let source = &source[index * length..][..chunk.len()];
                update(index, chunk.write_copy_of_slice(source));
            });
        })
    };
    FloatTensor::<Flex>::from_data(TensorData::new(values, tensor.shape()))
}
