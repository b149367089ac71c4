//! ReLU and its gradients compared with Burn's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Distribution, Tensor, activation};
use fcos_burn_cpu::{add_relu, branch, relu};

const SHAPE: [usize; 4] = [2, 3, 70, 90];

fn random(device: &Device) -> Tensor<4> {
    Tensor::random(SHAPE, Distribution::Normal(0.0, 1.0), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("floats")
}

/// The output and the gradients of both inputs. All tensors are used once more, so that an
/// operation that overwrites one of them is noticed.
fn results(
    [a, b, weight]: &[Tensor<4>; 3],
    device: &Device,
    layer: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
) -> [Vec<f32>; 3] {
    let [a, b, weight] =
        [a, b, weight].map(|tensor| Tensor::<4>::from_data(tensor.to_data(), device));
    let (a, b) = (a.require_grad(), b.require_grad());
    let (double_a, double_b) = (a.clone() * 2.0, b.clone() * 2.0);
    let output = layer(double_a.clone(), double_b.clone());
    let sum = (output.clone() * weight + double_a * double_b).sum();
    let gradients = sum.backward();
    let [grad_a, grad_b] =
        [a, b].map(|tensor| values(tensor.grad(&gradients).expect("a gradient")));
    [values(output), grad_a, grad_b]
}

#[test]
fn outputs_and_gradients_match_burn() {
    let device = Device::flex();
    device.seed(1);
    let tensors = [random(&device), random(&device), random(&device)];
    for device in [
        device.clone().autodiff(),
        device.clone().autodiff().gradient_checkpointing(),
    ] {
        let compare = |ours: fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
                       burns: fn(Tensor<4>, Tensor<4>) -> Tensor<4>| {
            let ours = results(&tensors, &device, ours);
            assert!(ours == results(&tensors, &device, burns));
        };
        compare(|a, b| relu(a) * b, |a, b| activation::relu(a) * b);
        compare(add_relu, |a, b| activation::relu(a + b));
        // Both inputs depend on the same tensor.
        compare(
            |a, _| add_relu(a.clone(), relu(a)),
            |a, _| activation::relu(a.clone() + activation::relu(a)),
        );
    }
}

#[test]
fn residual_blocks_match_burn() {
    let device = Device::flex();
    device.seed(2);
    let tensors = [random(&device), random(&device), random(&device)];
    for device in [
        device.clone().autodiff(),
        device.clone().autodiff().gradient_checkpointing(),
    ] {
        let ours = results(&tensors, &device, |a, b| {
            let (features, shortcut) = branch(a);
            shortcut.add_relu(relu(features) * b)
        });
        let burns = results(&tensors, &device, |a, b| {
            activation::relu(activation::relu(a.clone()) * b + a)
        });
        // Gradients are added in another order.
        for (ours, burns) in ours.iter().flatten().zip(burns.iter().flatten()) {
            assert!((ours - burns).abs() <= 1e-5 * burns.abs().max(1.0));
        }
    }
    // Without autodiff, the shortcut is the tensor itself.
    let (features, shortcut) = branch(tensors[0].clone());
    assert_eq!(values(features), values(tensors[0].clone()));
    let shortcut = shortcut.tensor().expect("no autodiff");
    assert_eq!(values(shortcut), values(tensors[0].clone()));
}

#[test]
fn memory_of_views_is_not_overwritten() {
    let device = Device::flex();
    let whole = random(&device);
    let before = values(whole.clone());
    let part = whole.clone().slice([1..2, 0..3, 5..40, 0..90]);
    let expected = values(activation::relu(part.clone()));
    assert_eq!(values(relu(part.clone())), expected);
    assert_eq!(values(relu(part.swap_dims(2, 3)).swap_dims(2, 3)), expected);
    let first = whole.clone().narrow(0, 0, 1);
    assert_eq!(
        values(add_relu(first.clone(), first.clone())),
        values(activation::relu(first * 2.0))
    );
    assert_eq!(values(whole), before);
}

#[test]
fn nan_infinity_and_empty_tensors_are_handled() {
    let device = Device::flex().autodiff();
    let input = Tensor::<4>::from_floats([[[[f32::NAN, -0.0, -1.0, f32::INFINITY]]]], &device);
    let input = input.require_grad();
    let output = relu(input.clone());
    let gradient = values(
        input
            .grad(&output.clone().sum().backward())
            .expect("a gradient"),
    );
    let output = values(output);
    assert!(output[0].is_nan());
    assert_eq!(output[1..], [0.0, 0.0, f32::INFINITY]);
    assert_eq!(gradient, [1.0, 0.0, 0.0, 1.0]);
    let empty = Tensor::<4>::zeros([0, 3, 2, 2], &device);
    assert_eq!(relu(empty).dims(), [0, 3, 2, 2]);
}
