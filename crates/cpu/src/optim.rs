//! Burn's optimisers by all threads, and what clipping gradients takes.
//!
//! The optimisers compute what Burn's own compute, in the same order, so to the last bit (but
//! for the sign of a zero), and keep the same state: a record of one is one of the other.

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

use crate::{
    flex::{change, tensor, values},
    planes::{self, TASK},
    sums::covariance,
};

/// Stochastic gradient descent with momentum, without dampening, as Burn's
/// [`Sgd`](burn::optim::Sgd).
#[derive(Clone, Debug)]
pub struct Sgd {
    momentum: f32,
    weight_decay: f32,
}

impl Sgd {
    /// With a momentum, and a weight decay that is added to the gradient; 0 for none.
    pub fn new(momentum: f32, weight_decay: f32) -> Self {
        Self {
            momentum,
            weight_decay,
        }
    }
}

/// What [`Sgd`] keeps of a parameter.
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
        let before = state.map(|state| state.velocity);
        let velocity_suits = |velocity| suits([&weight, velocity]);
        let suits = suits([&weight, &gradient]) && before.as_ref().is_none_or(velocity_suits);
        let (weight, velocity) = if suits {
            let velocity = before.unwrap_or_else(|| gradient.zeros_like());
            let (weight, velocity) = <Dispatch as OptimizationOps>::momentum_step(
                weight.into_dispatch(),
                gradient.into_dispatch(),
                velocity.into_dispatch(),
                self.momentum,
                self.weight_decay,
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
            let velocity = match before {
                Some(velocity) => gradient + velocity.mul_scalar(self.momentum),
                None => gradient,
            };
            (weight - velocity.clone().mul_scalar(rate), velocity)
        };
        (weight, Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        SgdState {
            velocity: state.velocity.to_device(device),
        }
    }
}

/// Adam with decoupled weight decay, as Burn's [`AdamW`](burn::optim::AdamW), without its
/// AMSGrad and cautious variants.
#[derive(Clone)]
pub struct AdamW {
    rule: AdamWRule,
    fallback: burn::optim::AdamW,
}

#[derive(Clone, Copy, Debug)]
struct AdamWRule {
    betas: [f32; 2],
    epsilon: f32,
    weight_decay: f32,
}

impl AdamW {
    /// With β₁ and β₂, ε and the weight decay.
    pub fn new(betas: [f32; 2], epsilon: f32, weight_decay: f32) -> Self {
        let fallback = AdamWConfig::new()
            .with_beta_1(betas[0])
            .with_beta_2(betas[1])
            .with_epsilon(epsilon)
            .with_weight_decay(weight_decay)
            .build();
        let rule = AdamWRule {
            betas,
            epsilon,
            weight_decay,
        };
        Self { rule, fallback }
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
            }) if suits([&weight, &gradient, &moment_1, &moment_2]) => {
                let time = time + 1;
                let (weight, moment_1, moment_2) = <Dispatch as OptimizationOps>::adam_w_step(
                    weight.into_dispatch(),
                    gradient.into_dispatch(),
                    moment_1.into_dispatch(),
                    moment_2.into_dispatch(),
                    self.rule,
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

/// The sum of the squares of all values, `[1]`.
pub fn sum_of_squares<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if !suits([&tensor]) {
        return tensor.square().sum();
    }
    Tensor::from_dispatch(<Dispatch as OptimizationOps>::sum_of_squares(
        tensor.into_dispatch(),
    ))
}

/// `tensor` times `factor`, `[1]`.
pub fn scale<const D: usize>(tensor: Tensor<D>, factor: Tensor<1>) -> Tensor<D> {
    if !(suits([&tensor]) && suits([&factor])) {
        return tensor * factor.unsqueeze();
    }
    Tensor::from_dispatch(<Dispatch as OptimizationOps>::scale(
        tensor.into_dispatch(),
        factor.into_dispatch(),
    ))
}

/// `from` + `share` · (`to` − `from`), in the memory of `from` where nobody else has it.
pub fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, share: f32) -> Tensor<D> {
    if !suits([&from, &to]) {
        return from.clone() + (to - from).mul_scalar(share);
    }
    Tensor::from_dispatch(<Dispatch as OptimizationOps>::lerp(
        from.into_dispatch(),
        to.into_dispatch(),
        share,
    ))
}

/// Whether tensors are of one shape, of 32 bits and on the Flex backend, without autodiff.
fn suits<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    tensors.iter().all(|tensor| {
        let kind = (*tensor).clone().into_dispatch().kind;
        matches!(kind, DispatchTensorKind::Flex(_))
            && tensor.dtype() == DType::F32
            && tensor.dims() == tensors[0].dims()
    })
}

#[backend_extension(Flex)]
trait OptimizationOps: Backend {
    /// Weight and velocity.
    fn momentum_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        momentum: f32,
        weight_decay: f32,
        rate: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Weight and moments.
    fn adam_w_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        rule: AdamWRule,
        time: usize,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn sum_of_squares(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    fn scale(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self>;

    fn lerp(from: FloatTensor<Self>, to: FloatTensor<Self>, share: f32) -> FloatTensor<Self>;
}

impl OptimizationOps for Flex {
    fn momentum_step(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        momentum: f32,
        weight_decay: f32,
        rate: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (weight, velocity) = (weight.to_contiguous(), velocity.to_contiguous());
        // In the memory of the gradient, which nobody needs any more.
        let velocity = {
            let (weights, velocities) = (values(&weight), values(&velocity));
            change(gradient, TASK, |part, values| {
                let place = part * TASK..part * TASK + values.len();
                let others = weights[place.clone()].iter().zip(&velocities[place]);
                for (value, (weight, velocity)) in values.iter_mut().zip(others) {
                    *value = weight * weight_decay + *value + velocity * momentum;
                }
            })
        };
        let velocities = values(&velocity);
        let weight = change(weight, TASK, |part, values| {
            for (value, velocity) in values.iter_mut().zip(&velocities[part * TASK..]) {
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
        rule: AdamWRule,
        time: usize,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [beta_1, beta_2] = rule.betas;
        let [rest_1, rest_2] = rule.betas.map(|beta| 1.0 - beta);
        let gradient = gradient.to_contiguous();
        let gradients = values(&gradient);
        let moment_1 = change(moment_1, TASK, |part, values| {
            for (value, gradient) in values.iter_mut().zip(&gradients[part * TASK..]) {
                *value = *value * beta_1 + gradient * rest_1;
            }
        });
        let moment_2 = change(moment_2, TASK, |part, values| {
            for (value, gradient) in values.iter_mut().zip(&gradients[part * TASK..]) {
                *value = *value * beta_2 + gradient * gradient * rest_2;
            }
        });
        let [bias_1, bias_2] = rule.betas.map(|beta| 1.0 - beta.powi(time as i32));
        let decay = (1.0 - rate * f64::from(rule.weight_decay)) as f32;
        let (rate, epsilon) = (rate as f32, rule.epsilon);
        let moments = [values(&moment_1), values(&moment_2)];
        let weight = change(weight, TASK, |part, values| {
            let place = part * TASK..part * TASK + values.len();
            let [first, second] = moments.map(|moments| &moments[place.clone()]);
            for (value, (first, second)) in values.iter_mut().zip(first.iter().zip(second)) {
                let step = first / bias_1 / ((second / bias_2).sqrt() + epsilon);
                *value = *value * decay - step * rate;
            }
        });
        (weight, moment_1, moment_2)
    }

    fn sum_of_squares(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let input = input.to_contiguous();
        let parts = planes::map(values(&input), TASK, |_, part| {
            covariance(part, 0.0, part, 0.0)
        });
        tensor(vec![parts.iter().sum::<f64>() as f32], [1])
    }

    fn scale(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let factor = factor.to_contiguous();
        let factor = values(&factor).first().copied().unwrap_or(1.0);
        change(tensor, TASK, |_, values| {
            for value in values {
                *value *= factor;
            }
        })
    }

    fn lerp(from: FloatTensor<Self>, to: FloatTensor<Self>, share: f32) -> FloatTensor<Self> {
        let to = to.to_contiguous();
        let to = values(&to);
        change(from, TASK, |part, values| {
            for (value, to) in values.iter_mut().zip(&to[part * TASK..]) {
                *value += (to - *value) * share;
            }
        })
    }
}
