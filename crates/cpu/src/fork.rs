//! Tensors with several uses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

use crate::flex::{is_f32_on_flex, update_by};

/// The same tensor `N` times, for as many uses.
///
/// The gradients are those of a clone for each use, but this crate adds them up on all threads, where
/// autodiff would use one. Add up the losses of all uses and call `backward` once. The tensors are kept even
/// with gradient checkpointing.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_cpu::fork;
///
/// let device = Device::flex().autodiff();
/// let input = Tensor::<4>::ones([1, 8, 4, 4], &device).require_grad();
/// let [a, b] = fork(input.clone());
/// let gradients = (a * 2.0 + b * 3.0).sum().backward();
/// let expected = Tensor::<4>::full([1, 8, 4, 4], 5.0, &device);
/// let found = input.grad(&gradients).map(Tensor::into_data);
/// assert_eq!(found, Some(expected.into_data()));
/// ```
pub fn fork<const N: usize>(input: Tensor<4>) -> [Tensor<4>; N] {
    if !(is_f32_on_flex(&input) && input.device().is_autodiff()) {
        return std::array::from_fn(|_| input.clone());
    }
    let sum = Sum::default();
    let stem = <Dispatch as ForkOps>::stem_forward(input.into_dispatch(), sum.clone());
    std::array::from_fn(|_| {
        let tine = <Dispatch as ForkOps>::tine_forward(stem.clone(), sum.clone());
        Tensor::from_dispatch(tine)
    })
}

/// The sum of the gradients of all uses, apart from the first one, which autodiff has.
#[derive(Clone, Debug, Default)]
pub struct Sum(Arc<Mutex<Others>>);

#[derive(Debug, Default)]
struct Others {
    /// Whether autodiff has a first one.
    has_first: bool,
    sum: Option<FloatTensor<Flex>>,
}

fn add(a: FloatTensor<Flex>, b: FloatTensor<Flex>) -> FloatTensor<Flex> {
    update_by(a, b, |value, other| *value += other)
}

impl Sum {
    fn others(&self) -> MutexGuard<'_, Others> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a gradient, or returns it if it is the first one.
    fn add(&self, gradient: FloatTensor<Flex>) -> Option<FloatTensor<Flex>> {
        let is_first = !std::mem::replace(&mut self.others().has_first, true);
        if is_first {
            return Some(gradient);
        }
        self.add_other(gradient);
        None
    }

    /// Adds a gradient that is not the first one.
    pub fn add_other(&self, mut gradient: FloatTensor<Flex>) {
        // Not locked while it is added: that runs on all threads.
        loop {
            let mut others = self.others();
            let Some(sum) = others.sum.take() else {
                others.sum = Some(gradient);
                return;
            };
            drop(others);
            gradient = add(sum, gradient);
        }
    }

    fn take(&self) -> Option<FloatTensor<Flex>> {
        std::mem::take(&mut *self.others()).sum
    }
}

/// The parts of a fork as operations of the backends that implement them.
#[backend_extension(Flex, Autodiff)]
pub trait ForkOps: Backend {
    /// What all uses have in common.
    fn stem_forward(input: FloatTensor<Self>, sum: Sum) -> FloatTensor<Self>;

    /// One use.
    fn tine_forward(stem: FloatTensor<Self>, sum: Sum) -> FloatTensor<Self>;
}

impl ForkOps for Flex {
    fn stem_forward(input: FloatTensor<Self>, _: Sum) -> FloatTensor<Self> {
        input
    }

    fn tine_forward(stem: FloatTensor<Self>, _: Sum) -> FloatTensor<Self> {
        stem
    }
}

impl<C: CheckpointStrategy> ForkOps for Autodiff<Flex, C> {
    fn stem_forward(input: FloatTensor<Self>, sum: Sum) -> FloatTensor<Self> {
        let node = input.node();
        let output = input.into_primitive();
        match Stem.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(sum, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn tine_forward(stem: FloatTensor<Self>, sum: Sum) -> FloatTensor<Self> {
        let node = stem.node();
        let output = stem.into_primitive();
        match Tine.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(sum, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// Its gradient is that of the first use plus the sum of the others.
#[derive(Debug)]
struct Stem;

impl Backward<Flex, 1> for Stem {
    type State = Sum;

    fn backward(self, ops: Ops<Sum, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = grads.consume::<Flex>(&ops.node);
        if let Some(others) = ops.state.take() {
            gradient = add(gradient, others);
        }
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, gradient);
        }
    }
}

/// The first gradient reaches the stem through autodiff, the others through the sum.
#[derive(Debug)]
struct Tine;

impl Backward<Flex, 1> for Tine {
    type State = Sum;

    fn backward(self, ops: Ops<Sum, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let [parent] = ops.parents;
        if let Some(first) = ops.state.add(gradient)
            && let Some(parent) = parent
        {
            grads.register::<Flex>(parent.id, first);
        }
    }
}
