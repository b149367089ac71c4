//! ReLU, alone or after an addition.

use std::any::TypeId;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex,
        autodiff::{
            NodeId,
            checkpoint::{
                base::Checkpointer,
                retro_forward::RetroForward,
                state::BackwardStates,
                strategy::{CheckpointStrategy, NoCheckpointing},
            },
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        ops::FloatTensorOps,
        tensor::FloatTensor,
    },
    tensor::{Tensor, activation},
};

use crate::{
    flex::{has_channels_last, is_f32_on_flex, update_by, update_chunks},
    parallel::GRAIN,
};

/// max(`input`, 0), element by element, like Burn's [`relu`](burn::tensor::activation::relu).
///
/// The backward pass uses the output, which the next layer keeps anyway, so the input can be
/// freed. With gradient checkpointing it uses the input.
pub fn relu(input: Tensor<4>) -> Tensor<4> {
    if !is_f32_on_flex(&input) {
        return activation::relu(input);
    }
    Tensor::from_dispatch(<Dispatch as ReluOps>::relu_forward(input.into_dispatch()))
}

/// max(`a` + `b`, 0), element by element, as at the end of a residual block.
///
/// Neither the inputs nor their sum are kept for the backward pass, unless gradient
/// checkpointing is enabled.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_cpu::add_relu;
///
/// let device = Device::flex();
/// let a = Tensor::<4>::from_floats([[[[1.0, 2.0, -3.0]]]], &device);
/// let b = Tensor::<4>::from_floats([[[[1.0, -5.0, 4.0]]]], &device);
/// let expected = Tensor::<4>::from_floats([[[[2.0, 0.0, 1.0]]]], &device);
/// assert_eq!(add_relu(a, b).into_data(), expected.into_data());
/// ```
///
/// # Panics
///
/// Panics on the Flex backend if the shapes differ.
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if !(is_f32_on_flex(&a) && is_f32_on_flex(&b)) {
        return activation::relu(a + b);
    }
    assert_eq!(a.dims(), b.dims(), "shapes of the summands");
    let [a, b] = [a, b].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as ReluOps>::add_relu_forward(a, b))
}

/// The functions as operations of the backends that implement them.
#[backend_extension(Flex, Autodiff)]
pub trait ReluOps: Backend {
    fn relu_forward(input: FloatTensor<Self>) -> FloatTensor<Self>;

    fn add_relu_forward(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl ReluOps for Flex {
    fn relu_forward(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let relu = |input| {
            update_chunks(input, GRAIN, |_, values| {
                for value in values {
                    *value = positive_part(*value);
                }
            })
        };
        if !has_channels_last(&input) {
            return relu(input);
        }
        let in_order = input.permute(&[0, 2, 3, 1]);
        // The memory is only changed in place if no other tensor has it.
        drop(input);
        relu(in_order).permute(&[0, 3, 1, 2])
    }

    fn add_relu_forward(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let (a, b) = if b.is_unique() { (b, a) } else { (a, b) };
        update_by(a, b, |value, other| *value = positive_part(*value + other))
    }
}

/// max(`value`, 0), but NaN for NaN.
#[inline(always)]
pub fn positive_part(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}

impl<C: CheckpointStrategy> ReluOps for Autodiff<Flex, C> {
    fn relu_forward(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let recompute = Recompute(input.id());
        let keeps_output = keeps_outputs::<C>();
        match Relu
            .prepare::<C>([input.node()])
            .memory_bound()
            .retro_forward(recompute)
            .parents([&input])
            .stateful()
        {
            OpsKind::Tracked(prep) if keeps_output => {
                let output = Flex::relu_forward(input.into_primitive());
                prep.finish(Saved::Output(output.clone()), output)
            }
            OpsKind::Tracked(mut prep) => {
                let saved = Saved::Input(prep.checkpoint(&input));
                prep.finish(saved, Flex::relu_forward(input.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::relu_forward(input.into_primitive())),
        }
    }

    fn add_relu_forward(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        if !keeps_outputs::<C>() {
            return Self::relu_forward(Self::float_add(a, b));
        }
        let nodes = [a.node(), b.node()];
        let output = Flex::add_relu_forward(a.into_primitive(), b.into_primitive());
        match Relu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(Saved::Output(output.clone()), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// Whether outputs may be kept. With gradient checkpointing they must be recomputed instead.
fn keeps_outputs<C: CheckpointStrategy>() -> bool {
    TypeId::of::<C>() == TypeId::of::<NoCheckpointing>()
}

/// Recomputes the output from the input, for gradient checkpointing.
#[derive(Debug)]
struct Recompute(NodeId);

impl RetroForward for Recompute {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let input = states.get_state::<FloatTensor<Flex>>(&self.0);
        states.save(out_node, Flex::relu_forward(input));
    }
}

/// What the backward pass needs: a tensor that is positive where the output is.
#[derive(Clone, Debug)]
enum Saved {
    Output(FloatTensor<Flex>),
    Input(NodeId),
}

#[derive(Debug)]
struct Relu;

impl<const INPUTS: usize> Backward<Flex, INPUTS> for Relu {
    type State = Saved;

    fn backward(
        self,
        ops: Ops<Saved, INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let saved = match ops.state {
            Saved::Output(output) => output,
            Saved::Input(node) => checkpointer.retrieve_node_output(node),
        };
        let gradient = masked(&saved, grads.consume::<Flex>(&ops.node));
        for node in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(node.id, gradient.clone());
        }
    }
}

/// The gradient where `saved` is positive or NaN, and 0 elsewhere.
pub fn masked(saved: &FloatTensor<Flex>, gradient: FloatTensor<Flex>) -> FloatTensor<Flex> {
    update_by(gradient, saved.clone(), |value, saved| {
        // Always written: a loop with a conditional write would not use vectors.
        *value = if saved <= 0.0 { 0.0 } else { *value };
    })
}
