//! Layers of pyramids compared with those of their levels.
#![allow(clippy::expect_used)]

use burn::{
    nn::{GroupNorm, GroupNormConfig},
    tensor::{
        Device, Distribution, FloatDType, Tensor, TensorData, Tolerance, activation, module,
        ops::ConvOptions,
    },
};
use fcos_burn_cpu::{Pyramid, conv2d, group_norm_relu};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.1, 1.0), &Device::flex())
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
    fn new(
        images: usize,
        channels: [usize; 3],
        sizes: &[[usize; 2]],
        kernel: usize,
        options: ConvOptions<2>,
    ) -> Self {
        let [first, middle, last] = channels;
        Self {
            levels: (sizes.iter())
                .map(|[height, width]| random([images, first, *height, *width]))
                .collect(),
            weights: [
                random([middle, first, kernel, kernel]),
                random([last, middle, kernel, kernel]),
            ],
            biases: [random([middle]), random([last])],
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
        let loss = (outputs.iter().enumerate()).map(|(level, output)| {
            output
                .clone()
                .square()
                .mean()
                .mul_scalar(1.0 + level as f32)
        });
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
    Device::flex().seed(5);
    vec![
        // By Winograd's algorithm, with blocks of tiles of several levels.
        Case::new(
            2,
            [16, 20, 36],
            &[[21, 18], [10, 9], [5, 5], [3, 2], [1, 1]],
            3,
            options(1, 1),
        ),
        // Directly: few channels, kernels of other sizes, no padding.
        Case::new(3, [3, 8, 4], &[[9, 12], [5, 6], [3, 3]], 3, options(1, 1)),
        Case::new(
            1,
            [5, 12, 70],
            &[[8, 8], [30, 31], [1, 4]],
            1,
            options(1, 0),
        ),
        Case::new(2, [4, 8, 6], &[[16, 15], [11, 9]], 5, options(1, 0)),
        // One level after the other.
        Case::new(2, [4, 8, 6], &[[16, 15], [11, 9]], 3, options(2, 1)),
        Case::new(2, [16, 16, 16], &[[14, 15]], 3, options(1, 1)),
    ]
}

#[test]
fn layers_of_pyramids_match_burns() {
    let device = Device::flex().autodiff();
    for case in cases() {
        for device in [device.clone(), device.clone().gradient_checkpointing()] {
            let (found, expected) = (case.joined(&device), case.burns(&device));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let tolerance = Tolerance::relative(1e-3).set_absolute(1e-3);
                found.assert_approx_eq::<f32>(expected, tolerance);
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
                let expected = group_norm_relu(&layer, output);
                let tolerance = Tolerance::relative(1e-4).set_absolute(1e-4);
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected.into_data(), tolerance);
            }
        }
    }
}

#[test]
fn number_formats_of_pyramids_can_change() {
    let levels = vec![random([2, 4, 5, 6]), random([2, 4, 3, 3])];
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
fn gradients_of_some_levels_leave_those_of_the_others_at_zero() {
    let device = Device::flex().autodiff();
    let levels: Vec<Tensor<4>> = [[5, 6], [3, 3], [2, 1]]
        .map(|[height, width]| tracked(&random([2, 4, height, width]), &device))
        .to_vec();
    let weight = random([8, 4, 3, 3]);
    let outputs = |levels: &[Tensor<4>]| {
        let weight = Tensor::from_data(weight.to_data(), &device);
        let pyramid = Pyramid::new(levels.to_vec()).conv2d(weight, None, options(1, 1));
        pyramid.into_levels()
    };
    let gradients = outputs(&levels)[1].clone().sum().backward();
    let alone = conv2d(
        levels[1].clone(),
        Tensor::from_data(weight.to_data(), &device),
        None,
        options(1, 1),
    );
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
