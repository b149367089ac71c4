//! Tensors of Burn's Flex backend as slices.

use burn::{
    backend::{DispatchTensorKind, Flex, TensorMetadata, tensor::FloatTensor},
    tensor::{DType, Shape, Tensor, TensorData},
};

use crate::{planes, unwritten::written};

/// Whether a tensor is of 32 bits on this backend, with autodiff or without.
pub fn is_f32_on_flex(tensor: &Tensor<4>) -> bool {
    let on_flex = match tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(*inner, DispatchTensorKind::Flex(_)),
        #[allow(unreachable_patterns, reason = "where no other backend is built in")]
        _ => false,
    };
    on_flex && tensor.dtype() == DType::F32
}

/// The values of a contiguous tensor of 32 bits.
pub fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// A tensor of these values.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, Shape::from(shape)))
}

/// The tensor after `with` has changed its values, in parallel, by planes of `pixels`; in
/// place where nobody else has them.
pub fn change(
    mut tensor: FloatTensor<Flex>,
    pixels: usize,
    with: impl Fn(usize, &mut [f32]) + Sync,
) -> FloatTensor<Flex> {
    let count = tensor.shape().num_elements();
    let is_whole = tensor.is_contiguous() && tensor.storage::<f32>().len() == count;
    if is_whole && let Some(values) = tensor.try_storage_mut() {
        planes::each(values, pixels, with);
        return tensor;
    }
    let tensor = tensor.to_contiguous();
    let before = values(&tensor);
    // SAFETY: each value is in a plane, and each plane is copied.
    #[allow(unsafe_code)]
    let values = unsafe {
        written(count, |values| {
            planes::each(values, pixels, |plane, values| {
                let before = &before[plane * pixels..][..values.len()];
                with(plane, values.write_copy_of_slice(before));
            });
        })
    };
    FloatTensor::<Flex>::from_data(TensorData::new(values, tensor.shape()))
}
