//! Convolutions and their gradients compared with those of Burn's Flex backend.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Distribution, Tensor, Tolerance, activation, module, ops::ConvOptions};
use fcos_burn_cpu::{Epilogue, conv2d, conv2d_fused};

/// The output and the gradients of a convolution, given the output gradient.
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

/// Asserts that outputs and gradients are Burn's, up to rounding.
fn assert_matches_burn(
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
    let found = results(conv2d, &tensors, &bias, options);
    let expected = results(module::conv2d, &tensors, &bias, options);
    assert_eq!(found.len(), expected.len());
    for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        let largest = expected
            .iter()
            .fold(0f32, |largest, value| largest.max(value.abs()));
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= 1e-5 * largest,
                "part {part} of {shape:?}, {filters} filters of {kernel}, {options:?}: {found} instead of {expected} at {index}"
            );
        }
    }
}

fn options(stride: usize, padding: usize, dilation: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [dilation; 2], 1)
}

#[test]
fn sizes_strides_paddings_and_dilations_match_burn() {
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
        // More pixels than are summed at once, more values than fit into the sums of one thread, and
        // rows of pixels that lie a multiple of 4096 bytes apart.
        ([2, 5, 40, 40], 4, 1, 1, 0, 1),
        ([1, 1024, 5, 6], 130, 1, 1, 0, 1),
        ([1, 512, 7, 8], 130, 3, 2, 1, 1),
    ] {
        for bias in [false, true] {
            assert_matches_burn(
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
fn windows_without_a_pixel_match_burn() {
    for (shape, kernel, stride, padding) in [
        ([1, 1, 5, 1], 1, [1, 8], [0, 2]),
        ([2, 3, 1, 1], 2, [3, 3], [4, 4]),
    ] {
        let options = ConvOptions::new(stride, padding, [1, 1], 1);
        assert_matches_burn(shape, 3, kernel, &options, true);
    }
}

#[test]
fn winograd_matches_burn() {
    // With enough tiles for Winograd's algorithm: sizes that are multiples of the 4×4 tiles,
    // sizes that are not, several blocks of tiles, and several groups of kernels.
    for (shape, filters, padding) in [
        ([3, 16, 16, 16], 16, 1),
        ([3, 20, 15, 18], 17, 1),
        ([4, 16, 14, 13], 33, 0),
        ([3, 16, 13, 14], 18, 2),
        ([1, 160, 61, 63], 96, 1),
        ([1, 310, 22, 22], 290, 1),
        // Several blocks for each sum of the weight's gradient.
        ([1, 16, 132, 132], 16, 1),
    ] {
        assert_matches_burn(shape, filters, 3, &options(1, padding, 1), true);
    }
}

/// Burn's operations for an epilogue.
fn finished(mut output: Tensor<4>, epilogue: &Epilogue) -> Tensor<4> {
    if let Some(scale) = &epilogue.scale {
        output = output * scale.clone().reshape([1, -1, 1, 1]);
    }
    if let Some(shift) = &epilogue.shift {
        output = output + shift.clone().reshape([1, -1, 1, 1]);
    }
    if let Some(addend) = &epilogue.addend {
        output = output + addend.clone();
    }
    match epilogue.relu {
        true => activation::relu(output),
        false => output,
    }
}

fn tracked<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    Tensor::from_data(tensor.into_data(), &Device::flex().autodiff()).require_grad()
}

fn constant<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    Tensor::from_data(tensor.into_data(), &Device::flex().autodiff())
}

#[test]
fn fused_convolutions_match_those_in_steps() {
    let device = Device::flex();
    device.seed(11);
    // Directly, with several panels and a part of one, and by Winograd's algorithm, in the end with
    // several groups of kernels. These are slow on an emulated processor: without an epilogue, and with
    // all of its parts.
    let all: Vec<u32> = (0..16).collect();
    for (shape, filters, kernel, stride, epilogues) in [
        ([2, 5, 9, 8], 70, 1, 1, &*all),
        ([2, 4, 9, 8], 6, 3, 2, &all),
        ([3, 20, 15, 18], 17, 3, 1, &all),
        ([1, 310, 18, 18], 290, 3, 1, &[0b0000, 0b1111]),
    ] {
        let random =
            |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let vector = || Tensor::<1>::random([filters], Distribution::Normal(0.0, 1.0), &device);
        let (input, weight) = (random(shape), random([filters, shape[1], kernel, kernel]));
        let options = options(stride, kernel / 2, 1);
        let plain = module::conv2d(input.clone(), weight.clone(), None, options.clone());
        for parts in epilogues {
            let has = |part: u32| parts >> part & 1 == 1;
            let epilogue = Epilogue {
                scale: has(0).then(vector),
                shift: has(1).then(vector),
                addend: has(2).then(|| random(plain.dims())),
                relu: has(3),
            };
            let expected = finished(plain.clone(), &epilogue);
            let expected = expected.into_data();
            // Values are sums of so many numbers, about 1 in size, times a scale.
            let terms = shape[1] * kernel * kernel;
            let absolute = 7e-5 * (terms as f32).sqrt();
            let tolerance = Tolerance::<f32>::relative(1e-4).set_absolute(absolute);
            // The weight is packed for the first one, kept by the second and found by the third, if it
            // is kept.
            for _ in 0..3 {
                let (input, weight) = (input.clone(), weight.clone());
                let found = conv2d_fused(input, weight, epilogue.clone(), options.clone());
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected, tolerance);
            }
            // Scale and shift with gradients, and as constants.
            for vector in [tracked, constant] {
                let epilogue = Epilogue {
                    scale: epilogue.scale.clone().map(vector),
                    shift: epilogue.shift.clone().map(vector),
                    addend: epilogue.addend.clone().map(tracked),
                    relu: epilogue.relu,
                };
                let (input, weight) = (tracked(input.clone()), tracked(weight.clone()));
                let found = conv2d_fused(
                    input.clone(),
                    weight.clone(),
                    epilogue.clone(),
                    options.clone(),
                );
                let gradients = |output: Tensor<4>| {
                    let gradients = output.square().mean().backward();
                    let of = |tensor: &Tensor<4>| tensor.grad(&gradients).map(Tensor::into_data);
                    let of_vector =
                        |tensor: &Tensor<1>| tensor.grad(&gradients).map(Tensor::into_data);
                    [
                        of(&input),
                        of(&weight),
                        epilogue.addend.as_ref().and_then(of),
                        epilogue.scale.as_ref().and_then(of_vector),
                        epilogue.shift.as_ref().and_then(of_vector),
                    ]
                };
                let output = module::conv2d(input.clone(), weight.clone(), None, options.clone());
                let output = finished(output, &epilogue);
                let found_gradients = gradients(found.clone());
                for (found, expected) in found_gradients.into_iter().zip(gradients(output)) {
                    assert_eq!(found.is_some(), expected.is_some());
                    if let (Some(found), Some(expected)) = (found, expected) {
                        found.assert_approx_eq::<f32>(&expected, tolerance);
                    }
                }
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected, tolerance);
            }
        }
    }
}

#[test]
#[should_panic(expected = "the addend must have the shape of the output")]
fn addends_of_other_shapes_panic() {
    let device = Device::flex();
    let epilogue = Epilogue {
        addend: Some(Tensor::ones([1, 3, 4, 5], &device)),
        ..Epilogue::default()
    };
    let (input, weight) = (
        Tensor::ones([1, 2, 4, 4], &device),
        Tensor::ones([3, 2, 1, 1], &device),
    );
    conv2d_fused(input, weight, epilogue, options(1, 0, 1));
}

#[test]
fn unsupported_options_fall_back_to_burn() {
    let device = Device::flex();
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let input = random([1, 4, 5, 5]);
    for (weight, options) in [
        (
            random([4, 2, 3, 3]),
            ConvOptions::new([1, 1], [1, 1], [1, 1], 2),
        ),
        (
            random([2, 4, 3, 3]),
            ConvOptions::new_with_padding([1, 1], [(0, 1), (1, 0)], [1, 1], 1),
        ),
    ] {
        let expected = module::conv2d(input.clone(), weight.clone(), None, options.clone());
        let output = conv2d(input.clone(), weight, None, options);
        assert_eq!(output.into_data(), expected.into_data());
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let device = Device::flex();
    device.seed(3);
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let bias = Some(Tensor::ones([20], &device));
    for (kernel, stride) in [(3, 1), (3, 2), (1, 1), (5, 1)] {
        let tensors = [
            random([2, 24, 50, 48]),
            random([20, 24, kernel, kernel]),
            random([2, 20, 50 / stride, 48 / stride]),
        ];
        let compute = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            let options = options(stride, kernel / 2, 1);
            pool.install(|| results(conv2d, &tensors, &bias, &options))
        };
        let expected = compute(1);
        for threads in [2, 5, 16] {
            assert_eq!(expected, compute(threads));
        }
    }
}

#[test]
#[should_panic(expected = "bias must have one value per filter")]
fn bias_with_the_wrong_length_panics() {
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
