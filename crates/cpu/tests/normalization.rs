//! Normalization and its gradients compared with Burn's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::{
    module::Param,
    nn::{GroupNorm, GroupNormConfig},
    tensor::{Device, Tensor, TensorData, activation, module, ops::ConvOptions},
};
use fcos_burn_cpu::{
    batch_norm_relu_train, batch_norm_train, conv2d, group_norm, group_norm_relu, relu,
};

const EPSILON: f64 = 1e-5;

/// Pseudo-random numbers between `mean` − 2 and `mean` + 2.
fn numbers(count: usize, seed: usize, mean: f32) -> Vec<f32> {
    let number = |index: usize| ((index + seed * 7919) as f32 * 78.233).sin() * 43_758.547;
    (0..count)
        .map(|index| mean + 4.0 * (number(index).fract().abs() - 0.5))
        .collect()
}

/// The outputs of `layer`, and the gradients of input, gamma and beta, given a gradient of the
/// first output.
fn results<const N: usize>(
    shape: [usize; 4],
    device: &Device,
    layer: impl Fn(Tensor<4>, Tensor<1>, Tensor<1>) -> (Tensor<4>, [Tensor<1>; N]),
) -> Vec<Vec<f32>> {
    let count = shape.iter().product();
    let input = Tensor::<4>::from_data(TensorData::new(numbers(count, 1, 3.0), shape), device);
    let input = input.require_grad();
    let [gamma, beta] = [(2, 1.0), (3, 0.0)].map(|(seed, mean)| {
        let numbers = TensorData::new(numbers(shape[1], seed, mean), [shape[1]]);
        Tensor::<1>::from_data(numbers, device).require_grad()
    });
    let gradient = Tensor::<4>::from_data(TensorData::new(numbers(count, 4, 0.5), shape), device);
    let (output, moments) = layer(input.clone(), gamma.clone(), beta.clone());
    let gradients = (output.clone() * gradient).sum().backward();
    let mut results = vec![output.into_data()];
    results.extend(moments.map(|moment| moment.into_data()));
    results.extend(input.grad(&gradients).map(|gradient| gradient.into_data()));
    for parameter in [gamma, beta] {
        results.extend(
            parameter
                .grad(&gradients)
                .map(|gradient| gradient.into_data()),
        );
    }
    results
        .into_iter()
        .map(|data| data.try_into_vec().expect("floats"))
        .collect()
}

fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], name: &str) {
    assert_eq!(found.len(), expected.len());
    for (part, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        let largest = expected
            .iter()
            .fold(1f32, |largest, value| largest.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                // The tolerance is for Burn's sums, which are less accurate.
                (found - expected).abs() <= 5e-4 * largest,
                "result {part} for {name}: {found} instead of {expected}"
            );
        }
    }
}

const SHAPES: [[usize; 4]; 6] = [
    [2, 4, 3, 5],
    [3, 8, 1, 1],
    [1, 4, 40, 33],
    [5, 12, 7, 8],
    [2, 4, 130, 131],
    // More channels than values in a task.
    [2, 16400, 1, 2],
];

fn devices() -> [Device; 2] {
    let device = Device::flex().autodiff();
    [device.clone(), device.gradient_checkpointing()]
}

#[test]
fn batch_norm_matches_burn() {
    for (shape, device) in SHAPES
        .iter()
        .flat_map(|shape| devices().map(|device| (*shape, device)))
    {
        let found = results(shape, &device, |input, gamma, beta| {
            let (output, mean, variance) = batch_norm_train(input, gamma, beta, EPSILON);
            (output, [mean, variance])
        });
        let expected = results(shape, &device, |input, gamma, beta| {
            let result = module::batch_norm_train(input, gamma, beta, EPSILON);
            (result.output, [result.mean, result.variance])
        });
        assert_eq!(found.len(), 6);
        assert_close(&found, &expected, &format!("{shape:?}"));
    }
}

#[test]
fn moments_of_many_values_are_accurate() {
    let (count, pixels) = (2 * 130 * 131, 130 * 131);
    let values = numbers(count, 5, 3.0);
    let exact: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    let mean = exact.iter().sum::<f64>() / count as f64;
    let variance = exact
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / count as f64;
    let device = Device::flex();
    let values = TensorData::new(values, [2, 1, 130, pixels / 130]);
    let input = Tensor::<4>::from_data(values, &device);
    let one = || Tensor::<1>::ones([1], &device);
    let (_, found_mean, found_variance) = batch_norm_train(input, one(), one(), EPSILON);
    for (found, expected) in [(found_mean, mean), (found_variance, variance)] {
        let found: f32 = found.into_scalar();
        assert!(
            (f64::from(found) - expected).abs() < 1e-7 * expected,
            "{found} instead of {expected}"
        );
    }
}

#[test]
fn group_norm_matches_burn() {
    for (shape, device) in SHAPES
        .iter()
        .flat_map(|shape| devices().map(|device| (*shape, device)))
    {
        for groups in [1, 2, 4] {
            let layer = |gamma, beta| GroupNorm {
                gamma: Some(Param::from_tensor(gamma)),
                beta: Some(Param::from_tensor(beta)),
                ..GroupNormConfig::new(groups, shape[1])
                    .with_epsilon(EPSILON)
                    .init(&device)
            };
            let found = results(shape, &device, |input, gamma, beta| {
                (group_norm(&layer(gamma, beta), input), [])
            });
            let expected = results(shape, &device, |input, gamma, beta| {
                (layer(gamma, beta).forward(input), [])
            });
            assert_eq!(found.len(), 4);
            assert_close(&found, &expected, &format!("{shape:?}, {groups} groups"));
        }
    }
}

#[test]
fn gradients_of_a_constant_input_are_finite() {
    let device = Device::flex().autodiff();
    let input = Tensor::<4>::full([2, 2, 3, 3], 7.0, &device).require_grad();
    let ones = || Tensor::<1>::ones([2], &device);
    let (output, _, variance) = batch_norm_train(input.clone(), ones(), ones(), EPSILON);
    assert_eq!(
        variance.into_data().try_into_vec::<f32>().expect("floats"),
        [0.0, 0.0]
    );
    let gradients = (output.clone() * output).sum().backward();
    let gradient = input.grad(&gradients).expect("a gradient").into_data();
    assert!(
        gradient
            .try_into_vec::<f32>()
            .expect("floats")
            .iter()
            .all(|g| g.is_finite())
    );
}

#[test]
fn normalization_with_relu_is_relu_of_normalization() {
    for (shape, device) in SHAPES
        .iter()
        .flat_map(|shape| devices().map(|device| (*shape, device)))
    {
        let found = results(shape, &device, |input, gamma, beta| {
            let (output, mean, variance) = batch_norm_relu_train(input, gamma, beta, EPSILON);
            (output, [mean, variance])
        });
        let expected = results(shape, &device, |input, gamma, beta| {
            let (output, mean, variance) = batch_norm_train(input, gamma, beta, EPSILON);
            (relu(output), [mean, variance])
        });
        // To the bit.
        assert!(found == expected, "{shape:?}");
        assert!(found[0].contains(&0.0));

        let layer = |gamma, beta| GroupNorm {
            gamma: Some(Param::from_tensor(gamma)),
            beta: Some(Param::from_tensor(beta)),
            ..GroupNormConfig::new(4, shape[1]).init(&device)
        };
        let found = results(shape, &device, |input, gamma, beta| {
            (group_norm_relu(&layer(gamma, beta), input), [])
        });
        let expected = results(shape, &device, |input, gamma, beta| {
            (relu(group_norm(&layer(gamma, beta), input)), [])
        });
        assert!(found == expected, "{shape:?}");
    }
}

#[test]
fn group_norm_with_relu_without_autodiff_is_relu_of_group_norm() {
    let device = Device::flex();
    let layer = GroupNormConfig::new(4, 12).init(&device);
    let shape = [2, 12, 5, 7];
    let data = TensorData::new(numbers(shape.iter().product(), 5, 0.0), shape);
    let input = Tensor::<4>::from_data(data, &device);
    let expected = relu(group_norm(&layer, input.clone())).into_data();
    assert_eq!(group_norm_relu(&layer, input).into_data(), expected);
}

#[test]
fn normalization_with_relu_treats_nan_as_relu_does() {
    let device = Device::flex().autodiff();
    let results = |relu_of: &dyn Fn(Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>| {
        // Of two channels, one has a NaN.
        let mut values = numbers(2 * 2 * 3 * 3, 6, 0.0);
        values[4] = f32::NAN;
        let input = Tensor::<4>::from_data(TensorData::new(values, [2, 2, 3, 3]), &device);
        let one = || Tensor::<1>::ones([2], &device).require_grad();
        let (input, gamma, beta) = (input.require_grad(), one(), one());
        let output = relu_of(input.clone(), gamma.clone(), beta.clone());
        let gradients = output.clone().sum().backward();
        [
            output.into_data(),
            input.grad(&gradients).expect("a gradient").into_data(),
            gamma.grad(&gradients).expect("a gradient").into_data(),
            beta.grad(&gradients).expect("a gradient").into_data(),
        ]
        .map(|data| data.iter::<f32>().map(f32::to_bits).collect::<Vec<_>>())
    };
    let found = results(&|input, gamma, beta| batch_norm_relu_train(input, gamma, beta, EPSILON).0);
    let expected =
        results(&|input, gamma, beta| relu(batch_norm_train(input, gamma, beta, EPSILON).0));
    assert_eq!(found, expected);
}

/// The backward pass of the convolution computes its input again.
#[test]
fn convolutions_after_normalization_with_relu_match_burn() {
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    // By Winograd's algorithm and directly.
    for (shape, device) in [[3, 20, 15, 18], [2, 4, 3, 5]]
        .into_iter()
        .flat_map(|shape| devices().map(|device| (shape, device)))
    {
        let channels = shape[1];
        let layer = |gamma, beta| GroupNorm {
            gamma: Some(Param::from_tensor(gamma)),
            beta: Some(Param::from_tensor(beta)),
            ..GroupNormConfig::new(2, channels).init(&device)
        };
        // With all parameters trained, and with frozen gamma and beta.
        let gradients =
            |frozen: bool, forward: &dyn Fn([Tensor<1>; 2], Tensor<4>, Tensor<4>) -> Tensor<4>| {
                let tensor = |shape: &[usize], seed| {
                    let data = TensorData::new(numbers(shape.iter().product(), seed, 0.5), shape);
                    Tensor::<4>::from_data(data, &device).require_grad()
                };
                let (input, weight) = (tensor(&shape, 1), tensor(&[channels, channels, 3, 3], 2));
                let parameters = [3, 4].map(|seed| {
                    let data = TensorData::new(numbers(channels, seed, 0.5), [channels]);
                    Tensor::<1>::from_data(data, &device).set_require_grad(!frozen)
                });
                let output = forward(parameters.clone(), input.clone(), weight.clone());
                let gradients = output.square().mean().backward();
                let [gamma, beta] = parameters.map(|tensor| tensor.grad(&gradients));
                let [input, weight] = [input, weight].map(|tensor| tensor.grad(&gradients));
                let gradients = [
                    input.map(Tensor::into_data),
                    weight.map(Tensor::into_data),
                    gamma.map(Tensor::into_data),
                    beta.map(Tensor::into_data),
                ];
                let gradients: Vec<Vec<f32>> = (gradients.into_iter().flatten())
                    .map(|data| data.try_into_vec().expect("floats"))
                    .collect();
                assert_eq!(gradients.len(), if frozen { 2 } else { 4 });
                gradients
            };
        for frozen in [false, true] {
            let found = gradients(frozen, &|[gamma, beta], input, weight| {
                let output = batch_norm_relu_train(input, gamma, beta, EPSILON).0;
                conv2d(output, weight, None, options.clone())
            });
            let expected = gradients(frozen, &|[gamma, beta], input, weight| {
                let output = module::batch_norm_train(input, gamma, beta, EPSILON).output;
                module::conv2d(activation::relu(output), weight, None, options.clone())
            });
            assert_close(&found, &expected, &format!("{shape:?}, batch norm"));
            // Another normalization, and several uses of the output, one of them by Burn.
            let found = gradients(frozen, &|[gamma, beta], input, weight| {
                let layer = layer(gamma.clone(), beta.clone());
                let output =
                    group_norm_relu(&layer, batch_norm_relu_train(input, gamma, beta, EPSILON).0);
                let first = conv2d(output.clone(), weight.clone(), None, options.clone());
                first + conv2d(output.clone() * output, weight, None, options.clone())
            });
            let expected = gradients(frozen, &|[gamma, beta], input, weight| {
                let layer = layer(gamma.clone(), beta.clone());
                let output = module::batch_norm_train(input, gamma, beta, EPSILON).output;
                let output = activation::relu(layer.forward(activation::relu(output)));
                let first = module::conv2d(output.clone(), weight.clone(), None, options.clone());
                first + module::conv2d(output.clone() * output, weight, None, options.clone())
            });
            assert_close(&found, &expected, &format!("{shape:?}, two norms"));
        }
    }
}
