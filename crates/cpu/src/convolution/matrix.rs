//! Slices as row-major matrices.

use ndarray::{ArrayView2, ArrayViewMut2};

/// The first `rows × columns` values.
#[allow(
    clippy::expect_used,
    reason = "the slice has as many values as the shape"
)]
pub fn matrix(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns])
        .expect("as many values as the shape")
}

/// The first `rows × columns` values, mutable.
#[allow(
    clippy::expect_used,
    reason = "the slice has as many values as the shape"
)]
pub fn matrix_mut<T>(values: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), &mut values[..rows * columns])
        .expect("as many values as the shape")
}
