//! Optimizers compared with Burn's.
#![allow(clippy::unwrap_used)]

use burn::{
    optim::{
        AdamWConfig, Optimizer, RecordState, SgdConfig, StateSink, StateSource,
        decay::WeightDecayConfig, momentum::MomentumConfig,
    },
    tensor::{Device, Distribution, Tensor},
};
use fcos_burn_cpu::optim::{AdamW, Sgd, SgdState, lerp, scale, sum_of_squares};

/// More values than one parallel task processes.
const SHAPE: [usize; 2] = [130, 301];

fn random(device: &Device) -> Tensor<2> {
    Tensor::random(SHAPE, Distribution::Normal(0.0, 1.0), device)
}

/// The weights after each step with one of the gradients. The caller keeps `first`, so a step
/// must not overwrite it.
fn weights<O: Optimizer>(
    optimizer: O,
    first: &Tensor<2>,
    gradients: &[Tensor<2>],
) -> Vec<Vec<f32>> {
    let (mut weight, mut state) = (first.clone(), None);
    let mut found = Vec::new();
    for (step, gradient) in gradients.iter().enumerate() {
        let rate = 0.1 / (step + 1) as f64;
        (weight, state) = optimizer.step(rate, weight, gradient.clone(), state);
        found.push(weight.to_data().try_into_vec().unwrap());
    }
    found
}

fn assert_bit_identical(ours: impl Optimizer, burns: impl Optimizer) {
    let device = Device::flex();
    device.seed(3);
    let weight = random(&device);
    let transposed = || random(&device).reshape([SHAPE[1], SHAPE[0]]).transpose();
    let gradients = [
        random(&device),
        transposed(),
        random(&device),
        random(&device),
    ];
    let before = weight.to_data();
    assert!(weights(ours, &weight, &gradients) == weights(burns, &weight, &gradients));
    assert_eq!(weight.to_data(), before);
}

#[test]
fn sgd_is_bit_identical_to_burn() {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let config = SgdConfig::new().with_momentum(Some(momentum));
    assert_bit_identical(Sgd::new(0.9, 0.0), config.build());
    let decay = WeightDecayConfig::new(1e-2);
    assert_bit_identical(
        Sgd::new(0.9, 1e-2),
        config.with_weight_decay(Some(decay)).build(),
    );
}

#[test]
fn dampening_and_nesterov_momentum_are_bit_identical_to_burn() {
    for (dampening, nesterov) in [(0.3, false), (0.0, true), (0.3, true)] {
        let momentum = MomentumConfig::new()
            .with_momentum(0.9)
            .with_dampening(dampening)
            .with_nesterov(nesterov);
        let burns = SgdConfig::new()
            .with_momentum(Some(momentum))
            .with_weight_decay(Some(WeightDecayConfig::new(1e-2)));
        let ours = Sgd::new(0.9, 1e-2)
            .with_dampening(dampening)
            .with_nesterov(nesterov);
        assert_bit_identical(ours, burns.build());
    }
}

/// Two steps by hand, as PyTorch's documentation of `SGD` defines them, at rate ½ and with decay ¼:
/// w₀ = 4, g₁ = 1: d₁ = 1 + ¼·4 = 2, v₁ = 2; g₂ = 3.
#[test]
fn sgd_steps_match_a_computation_by_hand() {
    let device = Device::flex();
    let two_steps = |sgd: Sgd| -> [f32; 2] {
        let tensor = |value: f32| Tensor::<1>::from_floats([value], &device);
        let (first, state) = sgd.step(0.5, tensor(4.0), tensor(1.0), None);
        let after_first = first.clone().into_scalar();
        let (second, _) = sgd.step(0.5, first, tensor(3.0), state);
        [after_first, second.into_scalar()]
    };
    let sgd = Sgd::new(0.5, 0.25);
    // w₁ = 4 − ½·2 = 3; d₂ = 3 + ¼·3 = 3.75; v₂ = ½·2 + 3.75 = 4.75; w₂ = 3 − ½·4.75.
    assert_eq!(two_steps(sgd.clone()), [3.0, 0.625]);
    // v₂ = ½·2 + (1 − ½)·3.75 = 2.875; w₂ = 3 − ½·2.875.
    assert_eq!(two_steps(sgd.clone().with_dampening(0.5)), [3.0, 1.5625]);
    // w₁ = 4 − ½·(2 + ½·2) = 2.5; d₂ = 3.625; v₂ = 1 + 3.625 = 4.625; w₂ = 2.5 − ½·(3.625 + ½·4.625).
    assert_eq!(two_steps(sgd.with_nesterov(true)), [2.5, -0.46875]);
}

#[test]
fn adam_w_is_bit_identical_to_burn() {
    for (betas, epsilon, decay) in [
        ([0.9, 0.999], 1e-8, 0.0),
        ([0.9, 0.999], 1e-8, 1e-2),
        ([0.8, 0.95], 1e-3, 1e-2),
    ] {
        let config = AdamWConfig::new()
            .with_beta_1(betas[0])
            .with_beta_2(betas[1])
            .with_epsilon(epsilon)
            .with_weight_decay(decay);
        assert_bit_identical(AdamW::new(betas, epsilon, decay), config.build());
    }
}

#[test]
fn sgd_records_are_interchangeable_with_burn() {
    let device = Device::flex();
    let tensor = || random(&device);
    let (_, state) = Sgd::new(0.9, 0.0).step(0.1, tensor(), tensor(), None);
    let mut record = StateSink::default();
    state.unwrap().state_flatten("weight", &mut record);
    let source = || {
        let mut source = StateSource::default();
        for (name, data) in &record.tensors {
            source.insert_tensor(name.clone(), data.clone());
        }
        source
    };
    let burns = burn::optim::SgdState::<2>::state_unflatten("weight", &mut source(), &device);
    let mut burns_record = StateSink::default();
    burns.unwrap().state_flatten("weight", &mut burns_record);
    assert_eq!(burns_record.tensors, record.tensors);
    let ours = SgdState::<2>::state_unflatten("weight", &mut source(), &device);
    let mut again = StateSink::default();
    ours.unwrap().state_flatten("weight", &mut again);
    assert_eq!(again.tensors, record.tensors);
    assert!(SgdState::<2>::state_unflatten("bias", &mut source(), &device).is_none());
    assert!(SgdState::<4>::state_unflatten("weight", &mut source(), &device).is_none());
}

#[test]
fn sums_of_squares_are_accurate_and_scaling_matches_burn() {
    let device = Device::flex();
    device.seed(4);
    let tensor = random(&device);
    let values: Vec<f32> = tensor.to_data().try_into_vec().unwrap();
    let expected: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    let found: f32 = sum_of_squares(tensor.clone().transpose()).into_scalar();
    assert!(
        (f64::from(found) / expected - 1.0).abs() < 1e-7,
        "{found} instead of {expected}"
    );
    let scaled = scale(tensor.clone(), Tensor::from_floats([0.3], &device));
    assert_eq!(scaled.to_data(), tensor.mul_scalar(0.3).to_data());
}

#[test]
fn lerp_matches_its_definition_and_preserves_shared_memory() {
    let device = Device::flex();
    device.seed(5);
    let strided = || random(&device).reshape([SHAPE[1], SHAPE[0]]).transpose();
    for (from, to) in [
        (random(&device), random(&device)),
        (random(&device), strided()),
        (strided(), random(&device)),
    ] {
        let before = from.to_data();
        let expected = (from.clone() + (to.clone() - from.clone()).mul_scalar(0.3)).to_data();
        // On a copy while `from` is shared, then in place.
        assert_eq!(lerp(from.clone(), to.clone(), 0.3).to_data(), expected);
        assert_eq!(from.to_data(), before);
        assert_eq!(lerp(from, to, 0.3).to_data(), expected);
    }
}
