//! Layers of pyramids compared with those of their levels.
#![allow(clippy::expect_used)]

use burn::{
    nn::{GroupNorm, GroupNormConfig},
    tensor::{
        Device, FloatDType, Tensor, TensorData, Tolerance, activation, module, ops::ConvOptions,
    },
};
use fcos_burn_cpu::{Pyramid, conv2d, group_norm_relu};

/// Pseudo-random numbers between −2 and 2, the same ones in every run.
fn random<const D: usize>(shape: [usize; D], seed: usize) -> Tensor<D> {
    let number = |index: usize| ((index + seed * 7919) as f32 * 78.233).sin() * 43_758.547;
    let numbers =
        (0..shape.iter().product()).map(|index| 4.0 * (number(index).fract().abs() - 0.5));
    let numbers: Vec<f32> = numbers.collect();
    Tensor::from_data(TensorData::new(numbers, shape), &Device::flex())
}

/// Asserts that the values agree up to rounding, relative to the largest.
fn assert_close(found: &TensorData, expected: &TensorData, name: &str) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let largest = expected
        .iter::<f32>()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter::<f32>().zip(expected.iter::<f32>()) {
        assert!(
            (found - expected).abs() <= 2e-5 * largest,
            "{name}: {found} instead of {expected}"
        );
    }
}

fn tracked<const D: usize>(tensor: &Tensor<D>, device: &Device) -> Tensor<D> {
    Tensor::from_data(tensor.to_data(), device).require_grad()
}

/// The outputs of two layers of convolution, group normalization and ReLU, the second only of its
/// convolution; and the gradients of the levels, weights and biases.
struct Case {
    levels: Vec<Tensor<4>>,
    weights: [Tensor<4>; 2],
    biases: [Tensor<1>; 2],
    options: ConvOptions<2>,
}

impl Case {
    /// With levels of so many images of these sizes.
    fn new(
        channels: [usize; 3],
        levels: &[[usize; 3]],
        kernel: usize,
        options: ConvOptions<2>,
    ) -> Self {
        let [first, middle, last] = channels;
        Self {
            levels: (levels.iter().enumerate())
                .map(|(seed, [images, height, width])| {
                    random([*images, first, *height, *width], seed)
                })
                .collect(),
            weights: [
                random([middle, first, kernel, kernel], 11),
                random([last, middle, kernel, kernel], 12),
            ],
            biases: [random([middle], 13), random([last], 14)],
            options,
        }
    }

    fn results(
        &self,
        device: &Device,
        layers: impl Fn(Vec<Tensor<4>>, &[Tensor<4>; 2], &[Tensor<1>; 2], &GroupNorm) -> Vec<Tensor<4>>,
    ) -> Vec<TensorData> {
        let levels: Vec<Tensor<4>> = (self.levels.iter())
            .map(|level| tracked(level, device))
            .collect();
        let weights = self
            .weights
            .each_ref()
            .map(|weight| tracked(weight, device));
        let biases = self.biases.each_ref().map(|bias| tracked(bias, device));
        let middle = biases[0].dims()[0];
        let norm = GroupNormConfig::new(middle / 4, middle).init(device);
        let outputs = layers(levels.clone(), &weights, &biases, &norm);
        let loss = (outputs.iter().enumerate())
            .map(|(level, output)| output.clone().square().sum().mul_scalar(1.0 + level as f32));
        let gradients = loss
            .reduce(|sum, loss| sum + loss)
            .expect("a level")
            .backward();
        let mut results: Vec<TensorData> = outputs
            .into_iter()
            .map(|output| output.into_data())
            .collect();
        for tensor in levels.iter().chain(&weights) {
            results.push(tensor.grad(&gradients).expect("a gradient").into_data());
        }
        for bias in &biases {
            results.push(bias.grad(&gradients).expect("a gradient").into_data());
        }
        results
    }

    fn joined(&self, device: &Device) -> Vec<TensorData> {
        self.results(device, |levels, weights, biases, norm| {
            let [first, second] =
                [0, 1].map(|layer| (weights[layer].clone(), Some(biases[layer].clone())));
            let pyramid = Pyramid::new(levels)
                .conv2d(first.0, first.1, self.options.clone())
                .group_norm_relu(norm);
            pyramid
                .conv2d(second.0, second.1, self.options.clone())
                .into_levels()
        })
    }

    /// Burn's operations, level by level.
    fn burns(&self, device: &Device) -> Vec<TensorData> {
        self.results(device, |levels, weights, biases, norm| {
            let layers = |level| {
                let convolved = |input, layer: usize| {
                    let bias = Some(biases[layer].clone());
                    module::conv2d(input, weights[layer].clone(), bias, self.options.clone())
                };
                convolved(activation::relu(norm.forward(convolved(level, 0))), 1)
            };
            levels.into_iter().map(layers).collect()
        })
    }
}

fn options(stride: usize, padding: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1)
}

fn cases() -> Vec<Case> {
    vec![
        // By Winograd's algorithm, with blocks of tiles of several levels.
        Case::new(
            [16, 20, 36],
            &[[2, 21, 18], [2, 10, 9], [2, 5, 5], [2, 3, 2], [2, 1, 1]],
            3,
            options(1, 1),
        ),
        // Directly: few channels, kernels of other sizes, no padding.
        Case::new(
            [3, 8, 4],
            &[[3, 9, 12], [3, 5, 6], [3, 3, 3]],
            3,
            options(1, 1),
        ),
        Case::new(
            [5, 12, 70],
            &[[1, 8, 8], [1, 30, 31], [1, 1, 4]],
            1,
            options(1, 0),
        ),
        Case::new([4, 8, 6], &[[2, 16, 15], [2, 11, 9]], 5, options(1, 0)),
        // Different numbers of images.
        Case::new([4, 8, 6], &[[1, 6, 7], [3, 4, 2]], 3, options(1, 1)),
        // One level after the other.
        Case::new([4, 8, 6], &[[2, 16, 15], [2, 11, 9]], 3, options(2, 1)),
        Case::new([16, 16, 16], &[[2, 14, 15]], 3, options(1, 1)),
    ]
}

#[test]
fn layers_of_pyramids_match_burns() {
    let device = Device::flex().autodiff();
    for (index, case) in cases().iter().enumerate() {
        for device in [device.clone(), device.clone().gradient_checkpointing()] {
            let (found, expected) = (case.joined(&device), case.burns(&device));
            assert_eq!(found.len(), expected.len());
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_close(found, expected, &format!("case {index}, result {part}"));
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let device = Device::flex().autodiff();
    for case in cases() {
        let compute = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            pool.install(|| case.joined(&device))
        };
        let expected = compute(1);
        for threads in [2, 5, 16] {
            assert!(expected == compute(threads));
        }
    }
}

#[test]
fn layers_without_autodiff_match_those_of_the_levels() {
    for case in cases() {
        let layer = GroupNormConfig::new(4, case.weights[0].dims()[0]).init(&Device::flex());
        let (weight, bias) = (&case.weights[0], Some(case.biases[0].clone()));
        // The weight is packed for the first one, kept by the second and found by the third.
        for _ in 0..3 {
            let found = Pyramid::new(case.levels.clone())
                .conv2d(weight.clone(), bias.clone(), case.options.clone())
                .group_norm_relu(&layer)
                .into_levels();
            for (found, level) in found.into_iter().zip(&case.levels) {
                let (weight, bias) = (weight.clone(), bias.clone());
                let output = conv2d(level.clone(), weight, bias, case.options.clone());
                let expected = group_norm_relu(&layer, output).into_data();
                assert_close(&found.into_data(), &expected, "level");
            }
        }
    }
}

#[test]
fn a_pyramid_can_be_used_twice_and_divided_twice() {
    let device = Device::flex().autodiff();
    let case = &cases()[0];
    let gradients = |outputs: &dyn Fn(Vec<Tensor<4>>, [Tensor<4>; 2]) -> Vec<Tensor<4>>| {
        let levels: Vec<Tensor<4>> = (case.levels.iter())
            .map(|level| tracked(level, &device))
            .collect();
        // One of the weights has no gradient.
        let first = tracked(&case.weights[0], &device);
        let second = Tensor::from_data(case.weights[0].to_data(), &device).mul_scalar(-0.5);
        let outputs = outputs(levels.clone(), [first.clone(), second]).into_iter();
        let loss = outputs.map(|output| output.square().sum());
        let gradients = loss
            .reduce(|sum, loss| sum + loss)
            .expect("a level")
            .backward();
        let tensors = levels.iter().chain([&first]);
        let gradient = |tensor: &Tensor<4>| tensor.grad(&gradients).expect("a gradient");
        tensors
            .map(gradient)
            .map(Tensor::into_data)
            .collect::<Vec<_>>()
    };
    let found = gradients(&|levels, [first, second]| {
        let pyramid = Pyramid::new(levels);
        let twice = pyramid.clone().conv2d(first, None, options(1, 1));
        let outputs = [
            twice.clone(),
            twice,
            pyramid.conv2d(second, None, options(1, 1)),
        ];
        outputs.into_iter().flat_map(Pyramid::into_levels).collect()
    });
    let expected = gradients(&|levels, weights| {
        let [first, second] = weights;
        let output = |level: &Tensor<4>, weight: &Tensor<4>| {
            module::conv2d(level.clone(), weight.clone(), None, options(1, 1))
        };
        let weights = [&first, &first, &second];
        let outputs =
            weights.map(|weight| levels.iter().map(|level| output(level, weight)).collect());
        let outputs: [Vec<Tensor<4>>; 3] = outputs;
        outputs.concat()
    });
    for (found, expected) in found.iter().zip(&expected) {
        assert_close(found, expected, "gradient");
    }
}

#[test]
fn a_kernel_that_is_larger_than_a_level_is_left_to_burn() {
    let levels = [[1, 4, 5, 6], [1, 4, 1, 2]].map(|shape| random(shape, 3));
    let weight = random([4, 4, 3, 3], 4);
    let message = |work: &(dyn Fn() + std::panic::RefUnwindSafe)| {
        let payload = std::panic::catch_unwind(work).expect_err("the kernel does not fit");
        (payload.downcast_ref::<String>().cloned())
            .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
    };
    let found = message(&|| {
        let pyramid = Pyramid::new(levels.to_vec());
        let _ = pyramid.conv2d(weight.clone(), None, options(1, 0));
    });
    let expected = message(&|| {
        module::conv2d(levels[1].clone(), weight.clone(), None, options(1, 0));
    });
    assert!(expected.is_some());
    assert_eq!(found, expected);
}

#[test]
fn number_formats_of_pyramids_can_change() {
    let levels = vec![random([2, 4, 5, 6], 1), random([2, 4, 3, 3], 2)];
    let half = Pyramid::new(levels.clone()).cast(FloatDType::F16);
    assert_eq!(half.dtype(), Some(FloatDType::F16.into()));
    let back = half.cast(FloatDType::F32).into_levels();
    for (found, level) in back.into_iter().zip(levels) {
        let expected = level.cast(FloatDType::F16).cast(FloatDType::F32);
        assert_eq!(found.into_data(), expected.into_data());
    }
    assert_eq!(Pyramid::new(Vec::new()).cast(FloatDType::F16).dtype(), None);
}

#[test]
#[should_panic(expected = "the same number of channels")]
fn levels_of_different_channels_panic() {
    Pyramid::new(vec![random([1, 4, 2, 2], 1), random([1, 5, 2, 2], 2)]);
}

#[test]
fn gradients_of_some_levels_leave_those_of_the_others_at_zero() {
    let device = Device::flex().autodiff();
    let levels: Vec<Tensor<4>> = [[5, 6], [3, 3], [2, 1]]
        .map(|[height, width]| tracked(&random([2, 4, height, width], 1), &device))
        .to_vec();
    let weight = || Tensor::from_data(random([8, 4, 3, 3], 2).into_data(), &device);
    let pyramid = Pyramid::new(levels.clone()).conv2d(weight(), None, options(1, 1));
    let gradients = pyramid.into_levels()[1].clone().sum().backward();
    let alone = conv2d(levels[1].clone(), weight(), None, options(1, 1));
    let expected = levels[1].grad(&alone.sum().backward()).expect("a gradient");
    for (index, level) in levels.iter().enumerate() {
        let found = level.grad(&gradients).expect("a gradient").into_data();
        let expected = match index {
            1 => expected.clone().into_data(),
            _ => level.clone().inner().zeros_like().into_data(),
        };
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    }
}
