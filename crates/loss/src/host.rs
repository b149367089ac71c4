//! Losses that are computed on the host: tensors read back, values and gradients put in.

use burn::tensor::{Int, Tensor, TensorData};

/// The values of a tensor in row-major order, without their gradient. `None` if the device fails,
/// which it will report to whoever reads from it next.
pub(crate) fn read<const D: usize>(tensor: &Tensor<D>) -> Option<Vec<f32>> {
    tensor.clone().detach().try_into_vec_as().ok()
}

/// The values of a tensor of integers.
pub(crate) fn read_integers(tensor: &Tensor<1, Int>) -> Option<Vec<i64>> {
    tensor.clone().try_into_vec_as().ok()
}

/// A tensor of the shape of `like`, on its device.
pub(crate) fn write<const D: usize>(values: Vec<f32>, like: &Tensor<D>) -> Tensor<D> {
    let data = TensorData::new(values, like.shape());
    Tensor::from_data(data, &like.device().without_autodiff())
}

/// The elements of a loss with the given values and the given gradient of their sum with respect
/// to `input`, both in the row-major order of `input`.
pub(crate) fn with_gradient<const D: usize>(
    input: Tensor<D>,
    values: Vec<f32>,
    gradient: Vec<f32>,
) -> Tensor<D> {
    let values = write(values, &input);
    let gradient = write(gradient, &input);
    // The difference is 0, but its gradient with respect to the input is 1.
    let zero = input.clone() - input.detach();
    values + zero * gradient
}

/// Where the device failed: a loss that is not a number.
pub(crate) fn failed<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    input.mul_scalar(f32::NAN)
}
