//! The convolutions and their gradients against those of Burn's Flex backend.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod levels;

use burn::tensor::{Device, Distribution, Tensor, module, ops::ConvOptions};
use fcos_burn_cpu::conv2d;

use levels::at_every_level;

/// Output and gradients of a convolution, given that of the output.
fn results(
    convolution: impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>,
    [input, weight, output_gradient]: &[Tensor<4>; 3],
    bias: &Option<Tensor<1>>,
    options: &ConvOptions<2>,
) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let [input, weight] = [input, weight]
        .map(|tensor| Tensor::<4>::from_data(tensor.to_data(), &device).require_grad());
    let bias = bias
        .as_ref()
        .map(|bias| Tensor::<1>::from_data(bias.to_data(), &device).require_grad());
    let output = convolution(input.clone(), weight.clone(), bias.clone(), options.clone());
    let gradient = Tensor::<4>::from_data(output_gradient.to_data(), &device);
    let gradients = (output.clone() * gradient).sum().backward();
    let of = |tensor: &Tensor<4>| tensor.grad(&gradients).map(|g| g.into_data());
    let bias = bias.map(|bias| bias.grad(&gradients).map(|g| g.into_data()));
    [
        Some(output.into_data()),
        of(&input),
        of(&weight),
        bias.flatten(),
    ]
    .into_iter()
    .flatten()
    .map(|data| data.try_into_vec().expect("floats"))
    .collect()
}

/// Asserts that both compute the same, up to rounding.
fn assert_same(
    shape: [usize; 4],
    filters: usize,
    kernel: usize,
    options: &ConvOptions<2>,
    bias: bool,
) {
    let device = Device::flex();
    device.seed(shape.iter().sum::<usize>() as u64 + kernel as u64);
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let input = random(shape);
    let weight = random([filters, shape[1], kernel, kernel]);
    let bias = bias.then(|| Tensor::random([filters], Distribution::Normal(0.0, 1.0), &device));
    let output = module::conv2d(input.clone(), weight.clone(), None, options.clone());
    let tensors = [input, weight, random(output.dims())];
    let found = at_every_level(|| results(conv2d, &tensors, &bias, options));
    let wanted = results(module::conv2d, &tensors, &bias, options);
    assert_eq!(found.len(), wanted.len());
    for (part, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert_eq!(found.len(), wanted.len());
        let largest = wanted
            .iter()
            .fold(0f32, |largest, value| largest.max(value.abs()));
        for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            assert!(
                (found - wanted).abs() <= 1e-5 * largest,
                "part {part} of {shape:?}, {filters} filters of {kernel}, {options:?}: {found} for {wanted} at {index}"
            );
        }
    }
}

fn options(stride: usize, padding: usize, dilation: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [dilation; 2], 1)
}

#[test]
fn every_size_stride_padding_and_dilation_is_as_in_burn() {
    for (shape, filters, kernel, stride, padding, dilation) in [
        ([1, 1, 1, 1], 1, 1, 1, 0, 1),
        ([2, 3, 5, 7], 4, 1, 1, 0, 1),
        ([2, 3, 5, 7], 4, 1, 2, 0, 1),
        ([3, 5, 4, 9], 2, 1, 1, 1, 1),
        ([2, 3, 29, 31], 8, 7, 2, 3, 1),
        ([2, 4, 9, 8], 6, 3, 2, 1, 1),
        ([5, 4, 3, 2], 6, 3, 1, 1, 1),
        ([1, 4, 9, 8], 6, 3, 1, 0, 1),
        ([1, 4, 9, 8], 6, 3, 1, 4, 1),
        ([1, 4, 11, 12], 6, 3, 1, 2, 2),
        ([1, 4, 11, 12], 6, 3, 3, 2, 2),
        ([2, 2, 6, 6], 3, 5, 1, 2, 1),
        ([9, 40, 1, 1], 7, 3, 1, 1, 1),
    ] {
        for bias in [false, true] {
            assert_same(
                shape,
                filters,
                kernel,
                &options(stride, padding, dilation),
                bias,
            );
        }
    }
}

#[test]
fn minimal_filtering_is_as_in_burn() {
    // Sizes that tiles of 4×4 fit, and that they do not; several blocks of tiles. As many
    // tiles as minimal filtering needs.
    for (shape, filters, padding) in [
        ([3, 16, 16, 16], 16, 1),
        ([3, 20, 15, 18], 17, 1),
        ([4, 16, 14, 13], 33, 0),
        ([3, 16, 13, 14], 18, 2),
        ([1, 160, 61, 63], 96, 1),
    ] {
        assert_same(shape, filters, 3, &options(1, padding, 1), true);
    }
}

#[test]
fn what_is_not_computed_here_is_computed_by_burn() {
    let device = Device::flex();
    let input = Tensor::<4>::ones([1, 4, 5, 5], &device);
    let groups = conv2d(
        input.clone(),
        Tensor::ones([4, 2, 3, 3], &device),
        None,
        ConvOptions::new([1, 1], [1, 1], [1, 1], 2),
    );
    assert_eq!(groups.dims(), [1, 4, 5, 5]);
    let asymmetric = conv2d(
        input,
        Tensor::ones([2, 4, 3, 3], &device),
        None,
        ConvOptions::new_with_padding([1, 1], [(0, 1), (1, 0)], [1, 1], 1),
    );
    assert_eq!(asymmetric.dims(), [1, 2, 4, 4]);
}

#[test]
fn as_many_threads_compute_the_same_bits() {
    let device = Device::flex();
    device.seed(3);
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    for (kernel, stride) in [(3, 1), (3, 2), (1, 1)] {
        let tensors = [
            random([2, 24, 30, 28]),
            random([20, 24, kernel, kernel]),
            random([2, 20, 30 / stride, 28 / stride]),
        ];
        let compute = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            let options = options(stride, kernel / 2, 1);
            pool.install(|| results(conv2d, &tensors, &None, &options))
        };
        for threads in [1, 2, 5] {
            let first = compute(threads);
            for _ in 0..5 {
                assert_eq!(first, compute(threads));
            }
        }
    }
}

#[test]
#[should_panic(expected = "a bias for each filter")]
fn a_bias_of_another_length_is_an_error() {
    let device = Device::flex();
    let (input, weight) = (
        Tensor::ones([1, 2, 4, 4], &device),
        Tensor::ones([3, 2, 1, 1], &device),
    );
    conv2d(
        input,
        weight,
        Some(Tensor::ones([2], &device)),
        options(1, 0, 1),
    );
}
