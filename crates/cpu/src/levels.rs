//! Tests that the operations give the same bits at every level of vector instructions: those with
//! products at every level with fused multiplications and additions.
//!
//! The integration tests compare the results at the best level with Burn's.

use burn::{
    module::Param,
    nn::{GroupNorm, GroupNormConfig},
    tensor::{
        Device, Distribution, FloatDType, Tensor, TensorData, Tolerance, module, ops::ConvOptions,
    },
};

use crate::{
    Epilogue, ProductFormat, batch_norm_relu_train, batch_norm_train, conv2d, conv2d_fused,
    group_norm, group_norm_relu, relu, simd::Level,
};

/// Asserts that the results are the same at every level, and not empty.
fn assert_same_at_every_level(results: impl Fn() -> Vec<TensorData>) {
    let levels = Level::each(|_| results());
    assert!(!levels[0].is_empty());
    // Not `assert_eq`, which would print all values.
    assert!(levels.iter().all(|level| *level == levels[0]));
}

/// Asserts that the results agree up to rounding at every level, and to the bit from AVX2 on.
fn assert_same_with_fused_additions(results: impl Fn() -> Vec<TensorData>) {
    let levels = Level::each(|level| (level.name(), results()));
    let (_, best) = &levels[levels.len() - 1];
    assert!(!best.is_empty());
    for (name, found) in &levels {
        if !matches!(*name, "scalar" | "sse4.2") {
            assert!(found == best, "{name}");
        }
        for (found, best) in found.iter().zip(best) {
            found.assert_approx_eq::<f32>(best, Tolerance::relative(1e-4).set_absolute(1e-4));
        }
    }
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.5, 1.0), device)
}

/// The output of an operation on tracked copies of a tensor and two parameters, and the
/// gradients of all three.
fn output_and_gradients<const N: usize>(
    input: &Tensor<4>,
    weight: &Tensor<N>,
    bias: &Tensor<1>,
    operation: impl Fn(Tensor<4>, Tensor<N>, Tensor<1>) -> Tensor<4>,
) -> Vec<TensorData> {
    let device = input.device().autodiff();
    let input = Tensor::<4>::from_data(input.to_data(), &device).require_grad();
    let weight = Tensor::<N>::from_data(weight.to_data(), &device).require_grad();
    let bias = Tensor::<1>::from_data(bias.to_data(), &device).require_grad();
    let output = operation(input.clone(), weight.clone(), bias.clone());
    let gradients = output.clone().square().sum().backward();
    [
        Some(output.into_data()),
        input.grad(&gradients).map(Tensor::into_data),
        weight.grad(&gradients).map(Tensor::into_data),
        bias.grad(&gradients).map(Tensor::into_data),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn convolutions_are_the_same_at_every_level() {
    let device = Device::flex();
    // Directly, also with a stride, and by Winograd, with tiles and channels that do not fill all lanes.
    for (shape, filters, kernel, stride) in [
        ([2, 4, 9, 8], 6, 3, 1),
        ([2, 5, 9, 8], 35, 1, 1),
        ([2, 5, 9, 8], 35, 3, 2),
        ([3, 20, 15, 18], 17, 3, 1),
    ] {
        let input = random(shape, &device);
        let weight = random([filters, shape[1], kernel, kernel], &device);
        let bias = random([filters], &device);
        let options = ConvOptions::new([stride; 2], [kernel / 2; 2], [1, 1], 1);
        assert_same_with_fused_additions(|| {
            output_and_gradients(&input, &weight, &bias, |input, weight, bias| {
                conv2d(input, weight, Some(bias), options.clone())
            })
        });
    }
}

/// The root of the sum of squares of the differences, divided by that of the values.
fn relative_distance(found: &TensorData, expected: &TensorData) -> f64 {
    let pairs = || found.iter::<f64>().zip(expected.iter::<f64>());
    let sum = |term: fn((f64, f64)) -> f64| pairs().map(term).sum::<f64>();
    (sum(|(found, expected)| (found - expected).powi(2)) / sum(|(_, expected)| expected.powi(2)))
        .sqrt()
}

/// Input, weight and the gradient of the output of a convolution.
fn tensors_of(
    shape: [usize; 4],
    filters: usize,
    kernel: usize,
    options: &ConvOptions<2>,
) -> [Tensor<4>; 3] {
    let device = Device::flex();
    let input = random(shape, &device);
    let weight = random([filters, shape[1], kernel, kernel], &device);
    let output = module::conv2d(input.clone(), weight.clone(), None, options.clone());
    [input, weight, random(output.dims(), &device)]
}

fn to_brain_floats(tensor: &Tensor<4>) -> Tensor<4> {
    tensor.clone().cast(FloatDType::BF16).cast(FloatDType::F32)
}

/// The output of a convolution and the gradients of input and weight, after the scope of the format.
fn convolution_in(
    format: ProductFormat,
    tensors: &[Tensor<4>; 3],
    options: &ConvOptions<2>,
) -> Vec<TensorData> {
    let device = tensors[0].device().autodiff();
    let [input, weight, gradient] =
        (tensors.each_ref()).map(|tensor| Tensor::<4>::from_data(tensor.to_data(), &device));
    let [input, weight] = [input, weight].map(Tensor::require_grad);
    let output = format.scope(|| conv2d(input.clone(), weight.clone(), None, options.clone()));
    let gradients = (output.clone() * gradient).sum().backward();
    let results: Vec<TensorData> = [
        Some(output),
        input.grad(&gradients),
        weight.grad(&gradients),
    ]
    .into_iter()
    .flatten()
    .map(Tensor::into_data)
    .collect();
    assert_eq!(results.len(), 3);
    results
}

#[test]
fn products_of_brain_floats_are_those_of_rounded_values_at_every_level() {
    // Odd numbers of terms, strides with and without taps for each phase, a dilation, windows of several
    // segments, and sums of gradients in several parts.
    for (shape, filters, kernel, stride, dilation) in [
        ([2, 4, 9, 8], 6, 3, 1, 1),
        ([2, 5, 9, 8], 35, 1, 1, 1),
        ([1, 33, 41, 61], 70, 1, 1, 1),
        ([2, 5, 9, 8], 35, 1, 2, 1),
        ([2, 5, 9, 7], 35, 3, 2, 1),
        ([1, 3, 19, 17], 33, 7, 2, 1),
        ([2, 20, 15, 18], 17, 3, 1, 2),
    ] {
        let padding = [dilation * (kernel / 2); 2];
        let options = ConvOptions::new([stride; 2], padding, [dilation; 2], 1);
        let tensors = tensors_of(shape, filters, kernel, &options);
        let rounded = tensors.each_ref().map(to_brain_floats);
        let levels = Level::each(|_| {
            [
                convolution_in(ProductFormat::F32, &rounded, &options),
                convolution_in(ProductFormat::Bf16, &tensors, &options),
                convolution_in(ProductFormat::F32, &tensors, &options),
            ]
        });
        for [expected, found, exact] in &levels {
            for ((found, expected), exact) in found.iter().zip(expected).zip(exact) {
                let distance = relative_distance(found, expected);
                assert!(distance < 1e-6, "{shape:?}: {distance}");
                let rounding = relative_distance(found, exact);
                assert!((1e-4..5e-3).contains(&rounding), "{shape:?}: {rounding}");
            }
            // Products of brain floats need no rounding to 32 bits, with or without fused additions.
            assert!(*found == levels[0][1], "{shape:?}");
        }
    }
}

#[test]
fn winograd_in_brain_floats_is_close_at_every_level() {
    for (shape, filters) in [([3, 20, 15, 18], 17), ([1, 35, 19, 17], 66)] {
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let tensors = tensors_of(shape, filters, 3, &options);
        let levels = Level::each(|_| {
            [ProductFormat::F32, ProductFormat::Bf16]
                .map(|format| convolution_in(format, &tensors, &options))
        });
        for [expected, found] in &levels {
            for (found, expected) in found.iter().zip(expected) {
                let distance = relative_distance(found, expected);
                assert!((1e-4..0.01).contains(&distance), "{shape:?}: {distance}");
            }
        }
    }
}

#[test]
fn brain_floats_keep_nan_and_infinity_to_their_pixels() {
    let device = Device::flex();
    let mut values = vec![1.0; 5 * 6];
    (values[0], values[7]) = (f32::NAN, f32::INFINITY);
    let input = Tensor::<4>::from_data(TensorData::new(values, [1, 5, 2, 3]), &device);
    let weight = Tensor::<4>::ones([40, 5, 1, 1], &device);
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    for output in Level::each(|_| {
        ProductFormat::Bf16.scope(|| conv2d(input.clone(), weight.clone(), None, options.clone()))
    }) {
        let values: Vec<f32> = output.into_data().iter::<f32>().collect();
        for filter in values.chunks(6) {
            assert!(filter[0].is_nan());
            assert_eq!(filter[1..], [f32::INFINITY, 5.0, 5.0, 5.0, 5.0]);
        }
    }
}

/// The scope is that of a thread, and of the convolutions in it.
#[test]
fn scopes_do_not_apply_to_other_threads() {
    let _level = Level::hold();
    let seen = ProductFormat::Bf16.scope(|| {
        let other = std::thread::scope(|scope| scope.spawn(ProductFormat::current).join());
        let inner = ProductFormat::F32.scope(ProductFormat::current);
        [other.unwrap_or_default(), inner, ProductFormat::current()]
    });
    let expected = [ProductFormat::F32, ProductFormat::F32, ProductFormat::Bf16];
    assert_eq!(seen, expected);
}

/// With an epilogue, and kept weights from the second use on.
#[test]
fn fused_products_of_brain_floats_are_those_in_steps() {
    let device = Device::flex();
    for (channels, filters, kernel) in [(5, 35, 1), (20, 33, 3)] {
        let input = random([2, channels, 13, 12], &device);
        let weight = random([filters, channels, kernel, kernel], &device);
        let [scale, shift] = [random([filters], &device), random([filters], &device)];
        let options = || ConvOptions::new([1, 1], [kernel / 2; 2], [1, 1], 1);
        Level::each(|level| {
            ProductFormat::Bf16.scope(|| {
                let column = |vector: &Tensor<1>| vector.clone().reshape([1, -1, 1, 1]);
                let sums = conv2d(input.clone(), weight.clone(), None, options());
                let expected = relu(sums * column(&scale) + column(&shift)).into_data();
                for _ in 0..3 {
                    let epilogue = Epilogue {
                        scale: Some(scale.clone()),
                        shift: Some(shift.clone()),
                        relu: true,
                        ..Epilogue::default()
                    };
                    let found = conv2d_fused(input.clone(), weight.clone(), epilogue, options());
                    let distance = relative_distance(&found.into_data(), &expected);
                    assert!(distance < 1e-6, "{level:?}: {distance}");
                }
            });
        });
    }
}

#[test]
fn a_scope_ends_even_with_a_panic() {
    let outcome = std::panic::catch_unwind(|| ProductFormat::Bf16.scope(|| panic!("on purpose")));
    assert!(outcome.is_err());
    assert_eq!(ProductFormat::current(), ProductFormat::F32);
}

#[test]
fn normalization_is_the_same_at_every_level() {
    let device = Device::flex();
    for shape in [[3, 8, 1, 1], [2, 4, 3, 5], [2, 4, 70, 71]] {
        let input = random(shape, &device);
        let [gamma, beta] = [random([shape[1]], &device), random([shape[1]], &device)];
        for layer in [batch_norm_train, batch_norm_relu_train] {
            assert_same_at_every_level(|| {
                output_and_gradients(&input, &gamma, &beta, |input, gamma, beta| {
                    layer(input, gamma, beta, 1e-5).0
                })
            });
        }
        assert_same_at_every_level(|| {
            let (_, mean, variance) =
                batch_norm_train(input.clone(), gamma.clone(), beta.clone(), 1e-5);
            vec![mean.into_data(), variance.into_data()]
        });
        for layer in [group_norm, group_norm_relu] {
            assert_same_at_every_level(|| {
                output_and_gradients(&input, &gamma, &beta, |input, gamma, beta| {
                    let norm = GroupNorm {
                        gamma: Some(Param::from_tensor(gamma)),
                        beta: Some(Param::from_tensor(beta)),
                        ..GroupNormConfig::new(2, shape[1]).init(&input.device())
                    };
                    layer(&norm, input)
                })
            });
        }
    }
}

#[cfg(feature = "optim")]
#[test]
fn sums_of_squares_are_the_same_at_every_level() {
    let tensor = random([130, 301], &Device::flex());
    assert_same_at_every_level(|| vec![crate::optim::sum_of_squares(tensor.clone()).into_data()]);
}
