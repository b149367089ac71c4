//! Max pooling and upsampling and their gradients compared with Burn's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::{
    nn::{PaddingConfig2d, pool::MaxPool2dConfig},
    tensor::{
        Device, Distribution, Int, Tensor, module,
        ops::{InterpolateMode, InterpolateOptions},
    },
};
use fcos_burn_cpu::{add_upsampled, max_pool2d};

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("floats")
}

/// Asserts that the outputs of two functions of some tensors agree, and their gradients, with and
/// without gradient checkpointing, for tensors with channels first and last in memory.
fn assert_same<const N: usize>(
    shapes: [[usize; 4]; N],
    ours: impl Fn([Tensor<4>; N]) -> Tensor<4>,
    burns: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) {
    let device = Device::flex();
    device.seed(shapes.len() as u64);
    let inputs = shapes.map(|shape| {
        // Whole numbers, some of which are equal, and whose sums are exact.
        Tensor::<4>::random(shape, Distribution::Uniform(-20.0, 20.0), &device).round()
    });
    let results = |layer: &dyn Fn([Tensor<4>; N]) -> Tensor<4>, device: &Device, is_last: bool| {
        let inputs = inputs
            .clone()
            .map(|input| Tensor::<4>::from_data(input.into_data(), device).require_grad());
        let output = layer(inputs.clone().map(|input| match is_last {
            true => (input.permute([0, 2, 3, 1]) * 1.0).permute([0, 3, 1, 2]),
            false => input * 1.0,
        }));
        // Different factors for the outputs.
        let count = output.shape().num_elements() as i64;
        let factors = Tensor::<1, Int>::arange(0..count, device).float() * 7.0 % 11.0;
        let gradients = (output.clone() * factors.reshape(output.dims()))
            .sum()
            .backward();
        let gradients = inputs.map(|input| values(input.grad(&gradients).expect("a gradient")));
        (values(output), gradients)
    };
    for device in [
        device.clone().autodiff(),
        device.clone().autodiff().gradient_checkpointing(),
    ] {
        let expected = results(&burns, &device, false);
        for is_last in [false, true] {
            assert!(results(&ours, &device, is_last) == expected, "{shapes:?}");
        }
    }
}

#[test]
fn pooling_matches_burn() {
    for (shape, kernel, stride, padding) in [
        ([2, 5, 7, 9], 3, 2, 1),
        ([1, 24, 12, 16], 3, 2, 1),
        ([1, 3, 8, 8], 2, 2, 0),
        ([2, 17, 5, 6], 3, 1, 1),
        ([1, 1, 1, 1], 3, 2, 1),
        ([1, 4, 9, 11], 2, 3, 1),
    ] {
        let layer = MaxPool2dConfig::new([kernel; 2])
            .with_strides([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(
                padding, padding, padding, padding,
            ))
            .init();
        assert_same(
            [shape],
            |[input]| max_pool2d(&layer, input),
            |[input]| layer.forward(input),
        );
    }
}

#[test]
fn nan_is_the_largest_value() {
    let device = Device::flex();
    let input = Tensor::<4>::from_floats([[[[1.0, f32::NAN, 0.0], [2.0, 3.0, 4.0]]]], &device);
    let layer = MaxPool2dConfig::new([2, 2]).with_strides([1, 1]).init();
    let output = values(max_pool2d(&layer, input));
    assert!(output.iter().all(|value| value.is_nan()), "{output:?}");
}

#[test]
fn upsampling_matches_burn() {
    for (fine, coarse) in [
        ([2, 3, 8, 6], [2, 3, 4, 3]),
        ([1, 20, 7, 9], [1, 20, 4, 5]),
        ([1, 2, 5, 5], [1, 2, 1, 1]),
        ([1, 2, 3, 11], [1, 2, 2, 4]),
        ([1, 2, 3, 2], [1, 2, 5, 7]),
    ] {
        assert_same(
            [fine, coarse],
            |[fine, coarse]| add_upsampled(fine, coarse),
            |[fine, coarse]| {
                let options = InterpolateOptions::new(InterpolateMode::Nearest);
                let [_, _, height, width] = fine.dims();
                fine + module::interpolate(coarse, options.with_output_size([height, width]))
            },
        );
    }
}
