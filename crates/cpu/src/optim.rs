//! Multithreaded optimizers, and operations on gradients and weights.
//!
//! The optimizers perform the operations of Burn's own optimizers in the same order, so the
//! results are bit-identical, except for the sign of zeros. They keep the same state, so they
//! can load each other's records.
//!
//! Tensors are updated in place if no other tensor shares their memory. All of this applies to
//! `f32` tensors on the Flex backend without autodiff; other tensors are left to their own
//! backend.
//!
//! ```
//! use burn::{optim::Optimizer, tensor::{Device, Tensor}};
//! use fcos_burn_cpu::optim::Sgd;
//!
//! let device = Device::flex();
//! let sgd = Sgd::new(0.9, 0.0);
//! let weight = Tensor::<1>::from_floats([1.0, 2.0], &device);
//! let gradient = Tensor::<1>::from_floats([2.0, -4.0], &device);
//! let (weight, _state) = sgd.step(0.25, weight, gradient, None);
//! assert_eq!(weight.into_data().try_into_vec::<f32>().unwrap(), [0.5, 3.0]);
//! ```

use burn::{
    backend::{
        Backend, Dispatch, DispatchTensorKind, Flex, backend_extension, tensor::FloatTensor,
    },
    optim::{
        AdamWConfig, AdamWState, AdaptiveMomentumState, LearningRate, Optimizer, RecordState,
        StateSink, StateSource, join_path, momentum::MomentumState,
    },
    tensor::{DType, Device, Tensor},
};

use rayon::prelude::*;

use crate::{
    flex::{tensor, update_chunks, values},
    parallel::GRAIN,
    squares,
};

/// Stochastic gradient descent with momentum, like Burn's [`Sgd`](burn::optim::Sgd):
///
/// ```text
/// g ← gradient + weight_decay · weight
/// v ← momentum · v + (1 − dampening) · g      v = g in the first step
/// weight ← weight − rate · v                  Nesterov: g + momentum · v in place of v
/// ```
#[derive(Clone, Debug)]
pub struct Sgd {
    momentum: f32,
    dampening: f64,
    nesterov: bool,
    weight_decay: f32,
}

#[derive(Clone, Copy, Debug)]
struct SgdParameters {
    momentum: f32,
    /// The weight of the gradient in the velocity.
    undamped: f32,
    nesterov: bool,
    weight_decay: f32,
}

impl Sgd {
    /// Momentum without dampening. The weight decay is an L2 penalty: the weight times
    /// `weight_decay` is added to the gradient. 0 disables it.
    pub fn new(momentum: f32, weight_decay: f32) -> Self {
        Self {
            momentum,
            dampening: 0.0,
            nesterov: false,
            weight_decay,
        }
    }

    /// Sets the dampening of the momentum, which is not applied in the first step.
    #[must_use]
    pub fn with_dampening(self, dampening: f64) -> Self {
        Self { dampening, ..self }
    }

    /// Sets whether the momentum is Nesterov's ([Sutskever et al.,
    /// 2013](https://proceedings.mlr.press/v28/sutskever13.html), in the form of PyTorch).
    #[must_use]
    pub fn with_nesterov(self, nesterov: bool) -> Self {
        Self { nesterov, ..self }
    }
}

/// The state of [`Sgd`] for a parameter.
#[derive(Clone, Debug)]
pub struct SgdState<const D: usize> {
    velocity: Tensor<D>,
}

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let momentum = MomentumState::new(self.velocity.clone());
        burn::optim::SgdState::new(Some(momentum)).state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = source.take_tensor(&join_path(prefix, "momentum"), "velocity")?;
        (velocity.rank() == D).then(|| Self {
            velocity: Tensor::from_data(velocity, device),
        })
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let velocity = state.map(|state| state.velocity);
        let is_supported = are_supported([&weight, &gradient])
            && (velocity.as_ref()).is_none_or(|velocity| are_supported([&weight, velocity]));
        let undamped = match velocity {
            Some(_) => (1.0 - self.dampening) as f32,
            None => 1.0,
        };
        let (weight, velocity) = if is_supported {
            let velocity = velocity.unwrap_or_else(|| gradient.zeros_like());
            let parameters = SgdParameters {
                momentum: self.momentum,
                undamped,
                nesterov: self.nesterov,
                weight_decay: self.weight_decay,
            };
            let (weight, velocity) = <Dispatch as OptimOps>::sgd_step(
                weight.into_dispatch(),
                gradient.into_dispatch(),
                velocity.into_dispatch(),
                parameters,
                rate as f32,
            );
            (
                Tensor::from_dispatch(weight),
                Tensor::from_dispatch(velocity),
            )
        } else {
            let gradient = match self.weight_decay {
                0.0 => gradient,
                decay => weight.clone().mul_scalar(decay) + gradient,
            };
            let velocity = match velocity {
                Some(velocity) => {
                    gradient.clone().mul_scalar(undamped) + velocity.mul_scalar(self.momentum)
                }
                None => gradient.clone(),
            };
            let step = match self.nesterov {
                true => velocity.clone().mul_scalar(self.momentum) + gradient,
                false => velocity.clone(),
            };
            (weight - step.mul_scalar(rate), velocity)
        };
        (weight, Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        SgdState {
            velocity: state.velocity.to_device(device),
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov & Hutter, 2019), like Burn's
/// [`AdamW`](burn::optim::AdamW) without its AMSGrad and cautious variants.
#[derive(Clone)]
pub struct AdamW {
    parameters: AdamWParameters,
    fallback: burn::optim::AdamW,
}

#[derive(Clone, Copy, Debug)]
struct AdamWParameters {
    betas: [f32; 2],
    epsilon: f32,
    weight_decay: f32,
}

impl AdamW {
    /// `betas` are the decay rates β₁ and β₂ of the moments.
    pub fn new(betas: [f32; 2], epsilon: f32, weight_decay: f32) -> Self {
        let fallback = AdamWConfig::new()
            .with_beta_1(betas[0])
            .with_beta_2(betas[1])
            .with_epsilon(epsilon)
            .with_weight_decay(weight_decay)
            .build();
        let parameters = AdamWParameters {
            betas,
            epsilon,
            weight_decay,
        };
        Self {
            parameters,
            fallback,
        }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        match state.map(|state| state.momentum) {
            Some(AdaptiveMomentumState {
                time,
                moment_1,
                moment_2,
                max_moment_2: None,
            }) if are_supported([&weight, &gradient, &moment_1, &moment_2]) => {
                let time = time + 1;
                let (weight, moment_1, moment_2) = <Dispatch as OptimOps>::adam_w_step(
                    weight.into_dispatch(),
                    gradient.into_dispatch(),
                    moment_1.into_dispatch(),
                    moment_2.into_dispatch(),
                    self.parameters,
                    time,
                    rate,
                );
                let [weight, moment_1, moment_2] =
                    [weight, moment_1, moment_2].map(Tensor::from_dispatch);
                let momentum = AdaptiveMomentumState::new(time, moment_1, moment_2);
                (weight, Some(AdamWState::new(momentum)))
            }
            momentum => {
                let state = momentum.map(AdamWState::new);
                self.fallback.step(rate, weight, gradient, state)
            }
        }
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        burn::optim::AdamW::to_device(state, device)
    }
}

/// The sum of the squares of all values, `[1]`, accumulated in 64 bits on the Flex backend.
pub fn sum_of_squares<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if !are_supported([&tensor]) {
        return tensor.square().sum();
    }
    Tensor::from_dispatch(<Dispatch as OptimOps>::sum_of_squares(
        tensor.into_dispatch(),
    ))
}

/// `tensor * factor`, where `factor` is `[1]`.
pub fn scale<const D: usize>(tensor: Tensor<D>, factor: Tensor<1>) -> Tensor<D> {
    if !(are_supported([&tensor]) && are_supported([&factor])) {
        return tensor * factor.unsqueeze();
    }
    Tensor::from_dispatch(<Dispatch as OptimOps>::scale(
        tensor.into_dispatch(),
        factor.into_dispatch(),
    ))
}

/// Linear interpolation, `from + weight * (to - from)`, of two tensors of the same shape.
pub fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, weight: f32) -> Tensor<D> {
    if !are_supported([&from, &to]) {
        return from.clone() + (to - from).mul_scalar(weight);
    }
    Tensor::from_dispatch(<Dispatch as OptimOps>::lerp(
        from.into_dispatch(),
        to.into_dispatch(),
        weight,
    ))
}

/// Whether all tensors are `f32`, on the Flex backend without autodiff, and of one shape.
fn are_supported<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    tensors.iter().all(|tensor| {
        let kind = (*tensor).clone().into_dispatch().kind;
        matches!(kind, DispatchTensorKind::Flex(_))
            && tensor.dtype() == DType::F32
            && tensor.dims() == tensors[0].dims()
    })
}

/// The functions as operations of the backend that implements them.
#[backend_extension(Flex)]
trait OptimOps: Backend {
    /// The new weight and velocity.
    fn sgd_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        parameters: SgdParameters,
        rate: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The new weight and moments.
    fn adam_w_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        parameters: AdamWParameters,
        time: usize,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn sum_of_squares(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    fn scale(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self>;

    fn lerp(from: FloatTensor<Self>, to: FloatTensor<Self>, weight: f32) -> FloatTensor<Self>;
}

impl OptimOps for Flex {
    fn sgd_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        parameters: SgdParameters,
        rate: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [weight, velocity] = [weight, velocity].map(contiguous);
        if parameters.nesterov {
            return nesterov_step(weight, gradient, velocity, parameters, rate);
        }
        let SgdParameters {
            momentum,
            undamped,
            weight_decay,
            ..
        } = parameters;
        // In the memory of the gradient, which is not needed afterwards.
        let velocity = {
            let (weights, velocities) = (values(&weight), values(&velocity));
            update_chunks(gradient, GRAIN, |chunk, values| {
                let range = chunk * GRAIN..chunk * GRAIN + values.len();
                let others = weights[range.clone()].iter().zip(&velocities[range]);
                for (value, (weight, velocity)) in values.iter_mut().zip(others) {
                    *value = (weight * weight_decay + *value) * undamped + velocity * momentum;
                }
            })
        };
        let velocities = values(&velocity);
        let weight = update_chunks(weight, GRAIN, |chunk, values| {
            for (value, velocity) in values.iter_mut().zip(&velocities[chunk * GRAIN..]) {
                *value -= velocity * rate;
            }
        });
        (weight, velocity)
    }

    fn adam_w_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        parameters: AdamWParameters,
        time: usize,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [beta_1, beta_2] = parameters.betas;
        let [rest_1, rest_2] = parameters.betas.map(|beta| 1.0 - beta);
        let gradient = gradient.to_contiguous();
        let gradients = values(&gradient);
        let moment_1 = update_chunks(moment_1, GRAIN, |chunk, values| {
            for (value, gradient) in values.iter_mut().zip(&gradients[chunk * GRAIN..]) {
                *value = *value * beta_1 + gradient * rest_1;
            }
        });
        let moment_2 = update_chunks(moment_2, GRAIN, |chunk, values| {
            for (value, gradient) in values.iter_mut().zip(&gradients[chunk * GRAIN..]) {
                *value = *value * beta_2 + gradient * gradient * rest_2;
            }
        });
        let [bias_1, bias_2] = parameters.betas.map(|beta| 1.0 - beta.powi(time as i32));
        let decay = (1.0 - rate * f64::from(parameters.weight_decay)) as f32;
        let (rate, epsilon) = (rate as f32, parameters.epsilon);
        let moments = [values(&moment_1), values(&moment_2)];
        let weight = update_chunks(weight, GRAIN, |chunk, values| {
            let range = chunk * GRAIN..chunk * GRAIN + values.len();
            let [first, second] = moments.map(|moments| &moments[range.clone()]);
            for (value, (first, second)) in values.iter_mut().zip(first.iter().zip(second)) {
                let step = first / bias_1 / ((second / bias_2).sqrt() + epsilon);
                *value = *value * decay - step * rate;
            }
        });
        (weight, moment_1, moment_2)
    }

    fn sum_of_squares(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let input = input.to_contiguous();
        let sums: Vec<f64> = (values(&input).par_chunks(GRAIN))
            .map(squares::sum_of_squares)
            .collect();
        tensor(vec![sums.iter().sum::<f64>() as f32], [1])
    }

    fn scale(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let factor = factor.to_contiguous();
        let factor = values(&factor).first().copied().unwrap_or(1.0);
        update_chunks(tensor, GRAIN, |_, values| {
            for value in values {
                *value *= factor;
            }
        })
    }

    fn lerp(from: FloatTensor<Self>, to: FloatTensor<Self>, weight: f32) -> FloatTensor<Self> {
        let to = to.to_contiguous();
        let to = values(&to);
        update_chunks(from, GRAIN, |chunk, values| {
            for (value, to) in values.iter_mut().zip(&to[chunk * GRAIN..]) {
                *value += (to - *value) * weight;
            }
        })
    }
}

/// The tensor itself if it is contiguous, or else a copy that is. Unlike `to_contiguous`, it leaves no second
/// reference, so that the memory can be changed in place.
fn contiguous(tensor: FloatTensor<Flex>) -> FloatTensor<Flex> {
    match tensor.is_contiguous() {
        true => tensor,
        false => tensor.to_contiguous(),
    }
}

/// [`OptimOps::sgd_step`] with Nesterov momentum, whose step needs gradient and velocity.
fn nesterov_step(
    weight: FloatTensor<Flex>,
    gradient: FloatTensor<Flex>,
    velocity: FloatTensor<Flex>,
    parameters: SgdParameters,
    rate: f32,
) -> (FloatTensor<Flex>, FloatTensor<Flex>) {
    let SgdParameters {
        momentum,
        undamped,
        weight_decay,
        ..
    } = parameters;
    let weights = values(&weight);
    let gradient = update_chunks(gradient, GRAIN, |chunk, values| {
        for (value, weight) in values.iter_mut().zip(&weights[chunk * GRAIN..]) {
            *value += weight * weight_decay;
        }
    });
    let gradients = values(&gradient);
    let velocity = update_chunks(velocity, GRAIN, |chunk, values| {
        for (value, gradient) in values.iter_mut().zip(&gradients[chunk * GRAIN..]) {
            *value = gradient * undamped + *value * momentum;
        }
    });
    let velocities = values(&velocity);
    let weight = update_chunks(weight, GRAIN, |chunk, values| {
        let range = chunk * GRAIN..chunk * GRAIN + values.len();
        let others = velocities[range.clone()].iter().zip(&gradients[range]);
        for (value, (velocity, gradient)) in values.iter_mut().zip(others) {
            *value -= (velocity * momentum + gradient) * rate;
        }
    });
    (weight, velocity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> FloatTensor<Flex> {
        tensor((0..100).map(|index| index as f32).collect(), [10, 10])
    }

    #[test]
    fn steps_reuse_the_memory_of_weight_and_state() {
        for nesterov in [false, true] {
            let parameters = SgdParameters {
                momentum: 0.9,
                undamped: 1.0,
                nesterov,
                weight_decay: 0.1,
            };
            let [weight, gradient, velocity] = [(); 3].map(|()| numbers());
            let place = |tensor: &FloatTensor<Flex>| values(tensor).as_ptr();
            let before = [&weight, &gradient, &velocity].map(place);
            let (weight, velocity) = Flex::sgd_step(weight, gradient, velocity, parameters, 0.1);
            assert_eq!(place(&weight), before[0]);
            assert!(before[1..].contains(&place(&velocity)));
        }
    }
}
