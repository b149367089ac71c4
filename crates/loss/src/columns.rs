//! Slices of the columns of a tensor.

use core::ops::Range;

use burn::tensor::Tensor;

/// A range of columns. Unlike `Tensor::slice`, it keeps an empty tensor on the autodiff tape, so
/// that a batch without boxes can be differentiated.
pub(crate) fn slice_columns(tensor: Tensor<2>, columns: Range<usize>) -> Tensor<2> {
    let mut shape = tensor.shape();
    if shape.num_elements() > 0 {
        return tensor.slice_dim(1, columns);
    }
    shape[1] = columns.len();
    tensor.sum_dim(1).expand(shape)
}

/// The two columns of a `[rows, 2]` tensor, each `[rows, 1]`.
pub(crate) fn both_columns(pairs: Tensor<2>) -> [Tensor<2>; 2] {
    [
        slice_columns(pairs.clone(), 0..1),
        slice_columns(pairs, 1..2),
    ]
}
