//! The columns of a tensor: slices of them, and values for each.

use core::ops::Range;

use burn::tensor::{Device, Shape, Tensor};

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

/// A tensor of this shape whose columns have these values.
///
/// # Panics
///
/// If there is not one value per column.
pub(crate) fn column_values(values: &[f64], shape: Shape, device: &Device) -> Tensor<2> {
    let (given, columns) = (values.len(), shape[1]);
    assert!(given == columns, "{given} values for {columns} columns");
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let row = Tensor::<1>::from_floats(values.as_slice(), device);
    row.unsqueeze::<2>().expand(shape)
}
