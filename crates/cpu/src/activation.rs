//! Rectified linear units.

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
    flex::{change, is_f32_on_flex, values},
    planes::TASK,
};

/// max(`input`, 0), as Burn's [`relu`](burn::tensor::activation::relu).
///
/// The backward pass is computed from the output, which the next layer keeps anyway, not
/// from the input, which it need not keep.
pub fn relu(input: Tensor<4>) -> Tensor<4> {
    if !is_f32_on_flex(&input) {
        return activation::relu(input);
    }
    Tensor::from_dispatch(<Dispatch as RectificationOps>::rectify(
        input.into_dispatch(),
    ))
}

/// max(`a` + `b`, 0), for two tensors of the same shape: the end of a residual block.
///
/// # Panics
///
/// Panics if the shapes differ.
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if !(is_f32_on_flex(&a) && is_f32_on_flex(&b)) {
        return activation::relu(a + b);
    }
    assert_eq!(a.dims(), b.dims(), "of the same shape");
    let [a, b] = [a, b].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as RectificationOps>::add_rectify(a, b))
}

#[backend_extension(Flex, Autodiff)]
trait RectificationOps: Backend {
    fn rectify(input: FloatTensor<Self>) -> FloatTensor<Self>;

    fn add_rectify(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl RectificationOps for Flex {
    fn rectify(input: FloatTensor<Self>) -> FloatTensor<Self> {
        change(input, TASK, |_, values| {
            for value in values {
                *value = rectified(*value);
            }
        })
    }

    fn add_rectify(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let (a, b) = if b.is_unique() { (b, a) } else { (a, b) };
        let b = b.to_contiguous();
        let others = values(&b);
        change(a, TASK, |part, values| {
            for (value, other) in values.iter_mut().zip(&others[part * TASK..]) {
                *value = rectified(*value + other);
            }
        })
    }
}

/// NaN stays.
fn rectified(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}

impl<C: CheckpointStrategy> RectificationOps for Autodiff<Flex, C> {
    fn rectify(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let again = Again(input.id());
        let keeps_output = keeps_outputs::<C>();
        match Rectification
            .prepare::<C>([input.node()])
            .memory_bound()
            .retro_forward(again)
            .parents([&input])
            .stateful()
        {
            OpsKind::Tracked(prep) if keeps_output => {
                let output = Flex::rectify(input.into_primitive());
                prep.finish(Kept::Output(output.clone()), output)
            }
            OpsKind::Tracked(mut prep) => {
                let kept = Kept::Input(prep.checkpoint(&input));
                prep.finish(kept, Flex::rectify(input.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::rectify(input.into_primitive())),
        }
    }

    fn add_rectify(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        if !keeps_outputs::<C>() {
            return Self::rectify(Self::float_add(a, b));
        }
        let nodes = [a.node(), b.node()];
        let output = Flex::add_rectify(a.into_primitive(), b.into_primitive());
        match Rectification.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(Kept::Output(output.clone()), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// Whether outputs are kept, rather than computed again, as gradient checkpointing does.
fn keeps_outputs<C: CheckpointStrategy>() -> bool {
    TypeId::of::<C>() == TypeId::of::<NoCheckpointing>()
}

/// The forward pass, when gradient checkpointing runs it again.
#[derive(Debug)]
struct Again(NodeId);

impl RetroForward for Again {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let input = states.get_state::<FloatTensor<Flex>>(&self.0);
        states.save(out_node, Flex::rectify(input));
    }
}

/// What tells where the output is positive.
#[derive(Clone, Debug)]
enum Kept {
    Output(FloatTensor<Flex>),
    Input(NodeId),
}

#[derive(Debug)]
struct Rectification;

impl<const INPUTS: usize> Backward<Flex, INPUTS> for Rectification {
    type State = Kept;

    fn backward(
        self,
        ops: Ops<Kept, INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let kept = match ops.state {
            Kept::Output(output) => output,
            Kept::Input(node) => checkpointer.retrieve_node_output(node),
        };
        let gradient = gradient(&kept, grads.consume::<Flex>(&ops.node));
        for node in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(node.id, gradient.clone());
        }
    }
}

/// The gradient of the output where `kept` is positive.
fn gradient(kept: &FloatTensor<Flex>, of_output: FloatTensor<Flex>) -> FloatTensor<Flex> {
    let kept = kept.to_contiguous();
    let kept = values(&kept);
    change(of_output, TASK, |part, values| {
        for (value, kept) in values.iter_mut().zip(&kept[part * TASK..]) {
            if *kept <= 0.0 {
                *value = 0.0;
            }
        }
    })
}
