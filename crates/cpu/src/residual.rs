//! Residual blocks whose shortcut is the identity.

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

use crate::{
    activation::{ReluOps, add_relu, masked},
    flex::is_f32_on_flex,
    fork::{ForkOps, Sum},
};

/// The shortcut of a residual block: the tensor that is added at its end.
///
/// The shortcut of [`branch`] has the same gradient as any other tensor, but takes less time: autodiff
/// would add the gradients of both uses of the input in one thread.
#[derive(Debug)]
pub struct Shortcut {
    tensor: Tensor<4>,
    /// For the gradient of this use of the tensor, if autodiff does not track it.
    gradient: Option<Sum>,
}

/// The input of a residual block, for its layers and for its end.
///
/// # Gradients
///
/// What [`Shortcut::add_relu`] is given has to depend on the first tensor, as in a residual block.
/// Otherwise, the gradient of the shortcut does not reach the input.
///
/// ```
/// use burn::tensor::{Device, Tensor, ops::ConvOptions};
/// use fcos_burn_cpu::{branch, conv2d};
///
/// let device = Device::flex();
/// let input = Tensor::<4>::from_floats([[[[1.0, 2.0, -3.0]]]], &device);
/// let weight = Tensor::<4>::from_floats([[[[2.0]]]], &device);
/// let (features, shortcut) = branch(input);
/// let features = conv2d(features, weight, None, ConvOptions::new([1, 1], [0, 0], [1, 1], 1));
/// let output = shortcut.add_relu(features);
/// let expected = Tensor::<4>::from_floats([[[[3.0, 6.0, 0.0]]]], &device);
/// assert_eq!(output.into_data(), expected.into_data());
/// ```
pub fn branch(input: Tensor<4>) -> (Tensor<4>, Shortcut) {
    if !(is_f32_on_flex(&input) && input.device().is_autodiff()) {
        return (input.clone(), input.into());
    }
    let sum = Sum::default();
    let shortcut = Shortcut {
        tensor: input.clone().detach(),
        gradient: Some(sum.clone()),
    };
    let input = <Dispatch as ForkOps>::stem_forward(input.into_dispatch(), sum);
    (Tensor::from_dispatch(input), shortcut)
}

impl Shortcut {
    /// max(`output` + shortcut, 0), element by element, as [`add_relu`].
    ///
    /// # Panics
    ///
    /// Panics if the shapes or number formats differ.
    pub fn add_relu(self, output: Tensor<4>) -> Tensor<4> {
        let Some(sum) = self.gradient else {
            return add_relu(output, self.tensor);
        };
        assert_eq!(output.dims(), self.tensor.dims(), "shapes of the summands");
        assert!(is_f32_on_flex(&output), "number formats of the summands");
        let [output, shortcut] = [output, self.tensor].map(Tensor::into_dispatch);
        let output = <Dispatch as BranchOps>::add_shortcut_forward(output, shortcut, sum);
        Tensor::from_dispatch(output)
    }

    /// The tensor, unless its gradient depends on [`add_relu`](Self::add_relu): `None` for the shortcut of
    /// [`branch`] with autodiff.
    pub fn tensor(&self) -> Option<Tensor<4>> {
        match self.gradient {
            Some(_) => None,
            None => Some(self.tensor.clone()),
        }
    }
}

impl From<Tensor<4>> for Shortcut {
    fn from(tensor: Tensor<4>) -> Self {
        Self {
            tensor,
            gradient: None,
        }
    }
}

/// The end of a block as an operation of the backends that implement it.
#[backend_extension(Flex, Autodiff)]
trait BranchOps: Backend {
    fn add_shortcut_forward(
        output: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        sum: Sum,
    ) -> FloatTensor<Self>;
}

impl BranchOps for Flex {
    fn add_shortcut_forward(
        output: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        _: Sum,
    ) -> FloatTensor<Self> {
        Self::add_relu_forward(output, shortcut)
    }
}

impl<C: CheckpointStrategy> BranchOps for Autodiff<Flex, C> {
    /// The output is kept even with gradient checkpointing: this step must run once.
    fn add_shortcut_forward(
        output: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        sum: Sum,
    ) -> FloatTensor<Self> {
        let node = output.node();
        let [output, shortcut] = [output, shortcut].map(|tensor| tensor.into_primitive());
        let output = Flex::add_relu_forward(output, shortcut);
        match End.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((output.clone(), sum), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// The end of a block.
#[derive(Debug)]
struct End;

impl Backward<Flex, 1> for End {
    type State = (FloatTensor<Flex>, Sum);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (output, sum) = ops.state;
        let gradient = masked(&output, grads.consume::<Flex>(&ops.node));
        sum.add_other(gradient.clone());
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, gradient);
        }
    }
}
