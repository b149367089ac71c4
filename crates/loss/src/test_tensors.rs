//! Tensors from plain numbers and back, and comparisons of numbers, for tests.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor};

pub(crate) fn tensor1(values: &[f64], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_floats(values.as_slice(), device)
}

pub(crate) fn tensor2<const C: usize>(rows: &[[f64; C]], device: &Device) -> Tensor<2> {
    tensor1(rows.as_flattened(), device).reshape([rows.len(), C])
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values = tensor.try_into_vec_as::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// The gradient of the sum of `f(x)` with respect to `x`, row-major.
pub(crate) fn gradient<const D: usize, const E: usize>(
    x: Tensor<D>,
    f: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> Vec<f64> {
    let x = x.autodiff().require_grad();
    let gradients = f(x.clone()).sum().backward();
    values(x.grad(&gradients).unwrap())
}

#[track_caller]
pub(crate) fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let bound = tolerance * (1.0 + e.abs());
        assert!(
            (a - e).abs() <= bound,
            "element {index}: {a} differs from {e} by more than {bound}"
        );
    }
}

#[track_caller]
pub(crate) fn assert_finite(values: &[f64]) {
    assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
}
