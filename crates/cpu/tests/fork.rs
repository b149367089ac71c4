//! The gradients of a fork are those of a clone for each use.

use burn::tensor::{Device, Distribution, Tensor, TensorData, Tolerance};
use fcos_burn_cpu::{Pyramid, fork};

const SHAPE: [usize; 4] = [2, 6, 9, 7];

fn devices() -> [Device; 2] {
    let device = Device::flex().autodiff();
    [device.clone(), device.gradient_checkpointing()]
}

fn random(device: &Device) -> Tensor<4> {
    Tensor::random(SHAPE, Distribution::Normal(0.0, 1.0), device)
}

/// The gradient of the input, whose channels lie last in memory, for a loss of three uses.
fn gradient(
    input: &TensorData,
    device: &Device,
    uses: impl Fn(Tensor<4>) -> [Tensor<4>; 3],
    loss: impl Fn([Tensor<4>; 3]) -> Tensor<4>,
) -> TensorData {
    let [batch, channels, height, width] = SHAPE;
    let pixels = Tensor::<1>::from_data(input.clone(), device)
        .reshape([batch, height, width, channels])
        .require_grad();
    let maps = pixels.clone().permute([0, 3, 1, 2]);
    let gradients = loss(uses(maps)).sum().backward();
    pixels
        .grad(&gradients)
        .map(Tensor::into_data)
        .unwrap_or_else(|| panic!("no gradient"))
}

#[test]
fn gradients_are_those_of_clones() {
    type Loss = fn([Tensor<4>; 3]) -> Tensor<4>;
    let losses: [Loss; 5] = [
        |[a, b, c]| a.square() + b.exp() * c.sin(),
        // In another order, and in steps of different lengths.
        |[a, b, c]| (c.square().exp() + b).square() * a,
        // Some uses alone.
        |[a, _, _]| a.square(),
        |[_, _, c]| c.square(),
        |[_, b, c]| {
            let [d, e] = fork(b);
            d.square() * e + c
        },
    ];
    for device in devices() {
        let input = random(&device).into_data();
        let count: usize = SHAPE.iter().product();
        let input = TensorData::new(input.iter::<f32>().collect::<Vec<_>>(), [count]);
        for loss in losses {
            let found = gradient(&input, &device, fork, loss);
            let clones = |input: Tensor<4>| [input.clone(), input.clone(), input];
            let expected = gradient(&input, &device, clones, loss);
            found.assert_approx_eq::<f32>(&expected, Tolerance::relative(1e-5).set_absolute(1e-5));
        }
    }
}

#[test]
fn every_use_is_the_tensor() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let input = random(&device);
        for output in fork::<3>(input.clone()) {
            assert_eq!(output.into_data(), input.to_data());
        }
    }
}

#[test]
fn uses_of_a_pyramid_have_the_gradients_of_clones() {
    for device in devices() {
        let data = [random(&device).into_data(), random(&device).into_data()];
        // One level is not joined with others.
        for count in [1, 2] {
            let gradients = |uses: fn(Pyramid) -> [Pyramid; 2]| -> Vec<TensorData> {
                let levels: Vec<Tensor<4>> = (data[..count].iter())
                    .map(|data| Tensor::from_data(data.clone(), &device).require_grad())
                    .collect();
                let [a, b] = uses(Pyramid::new(levels.clone())).map(Pyramid::into_levels);
                let terms = a.into_iter().zip(b).map(|(a, b)| (a.square() * b).sum());
                let gradients = Tensor::cat(terms.collect(), 0).sum().backward();
                (levels.iter())
                    .filter_map(|level| Some(level.grad(&gradients)?.into_data()))
                    .collect()
            };
            let found = gradients(Pyramid::fork);
            let expected = gradients(|pyramid| [pyramid.clone(), pyramid]);
            assert_eq!(found.len(), count);
            for (found, expected) in found.iter().zip(&expected) {
                found.assert_approx_eq::<f32>(
                    expected,
                    Tolerance::relative(1e-5).set_absolute(1e-6),
                );
            }
        }
    }
}
