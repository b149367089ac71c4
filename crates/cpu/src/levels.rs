//! Tests that the operations give the same bits at every level of vector instructions: those with
//! products at every level with fused multiplications and additions.
//!
//! The integration tests compare the results at the best level with Burn's.

use burn::{
    module::Param,
    nn::{GroupNorm, GroupNormConfig},
    tensor::{Device, Distribution, Tensor, TensorData, Tolerance, ops::ConvOptions},
};

use crate::{
    batch_norm_relu_train, batch_norm_train, conv2d, group_norm, group_norm_relu, simd::Level,
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
