//! Batch and group normalization.

use std::{mem::MaybeUninit, sync::Arc};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            NodeId,
            checkpoint::{
                base::Checkpointer, retro_forward::RetroForward, state::BackwardStates,
                strategy::CheckpointStrategy,
            },
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    nn::GroupNorm,
    tensor::{DType, Tensor, module},
};

use crate::{
    flex::{is_f32_on_flex, tensor, update_chunks, values},
    parallel::{for_each_chunk, map_chunks},
    reduction::{covariance, sum, sum_over_batch},
    uninit::vec_written_by,
};

/// Batch normalization in training mode (Ioffe & Szegedy, 2015), like Burn's
/// [`batch_norm_train`](burn::tensor::module::batch_norm_train): normalizes each channel of
/// `input`, `[batch, channels, height, width]`, by its mean and variance over the batch, then
/// multiplies by `gamma` and adds `beta`, both `[channels]`.
///
/// Returns the output, `[batch, channels, height, width]`, and the means and biased variances,
/// both `[channels]`. On the Flex backend autodiff does not track these.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn batch_norm_train(
    input: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    if !is_supported(&input, &gamma, &beta) {
        let result = module::batch_norm_train(input, gamma, beta, epsilon);
        return (result.output, result.mean, result.variance);
    }
    normalize(input, gamma, beta, Sets::Channels, epsilon)
}

/// The output of a group normalization layer (Wu & He, 2018), like its
/// [`forward`](GroupNorm::forward): normalizes each group of channels in each image of `input`,
/// `[batch, channels, height, width]`, by its mean and variance, then applies the layer's
/// scale and shift for each channel. The shape of the output is that of the input.
///
/// # Panics
///
/// Panics if `input` has a different number of channels than the layer.
pub fn group_norm(layer: &GroupNorm, input: Tensor<4>) -> Tensor<4> {
    match (&layer.gamma, &layer.beta) {
        (Some(gamma), Some(beta)) if is_supported(&input, gamma, beta) => {
            let sets = Sets::Groups(layer.num_groups);
            normalize(input, gamma.val(), beta.val(), sets, layer.epsilon).0
        }
        _ => layer.forward(input),
    }
}

/// Whether this crate normalizes such an input.
fn is_supported(input: &Tensor<4>, gamma: &Tensor<1>, beta: &Tensor<1>) -> bool {
    is_f32_on_flex(input)
        && [gamma, beta].map(Tensor::dtype) == [DType::F32; 2]
        && input.shape().num_elements() > 0
}

fn normalize(
    input: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    sets: Sets,
    epsilon: f64,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let channels = input.dims()[1];
    assert_eq!(
        [gamma.dims(), beta.dims()],
        [[channels]; 2],
        "gamma and beta must have one value per channel"
    );
    let (output, mean, variance) = <Dispatch as NormalizationOps>::normalize(
        input.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        sets,
        epsilon as f32,
    );
    (
        Tensor::from_dispatch(output),
        Tensor::from_dispatch(mean),
        Tensor::from_dispatch(variance),
    )
}

/// The sets of values that are normalized together.
#[derive(Clone, Copy, Debug)]
enum Sets {
    /// Each channel, over all images.
    Channels,
    /// Each group of channels in each image, given the number of groups.
    Groups(usize),
}

/// Normalization as an operation of the backends that implement it.
#[backend_extension(Flex, Autodiff)]
trait NormalizationOps: Backend {
    /// The output, and the mean and variance of each set.
    fn normalize(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        sets: Sets,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl NormalizationOps for Flex {
    fn normalize(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        sets: Sets,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let input = input.to_contiguous();
        let layout = Layout::new(input.shape().dims(), sets);
        let moments = layout.moments(values(&input));
        let [gamma, beta] = [gamma, beta].map(|tensor| tensor.to_contiguous());
        let output = layout.normalize(
            values(&input),
            values(&gamma),
            values(&beta),
            &moments,
            epsilon,
        );
        let [mean, variance] = [0, 1].map(|moment| {
            let values: Vec<f32> = moments.iter().map(|moments| moments[moment]).collect();
            let count = values.len();
            tensor(values, [count])
        });
        (tensor(output, layout.shape), mean, variance)
    }
}

impl<C: CheckpointStrategy> NormalizationOps for Autodiff<Flex, C> {
    fn normalize(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        sets: Sets,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (output, mean, variance) = Flex::normalize(
            input.primitive().clone(),
            gamma.primitive().clone(),
            beta.primitive().clone(),
            sets,
            epsilon,
        );
        let recompute = Recompute {
            input: input.id(),
            gamma: gamma.id(),
            beta: beta.id(),
            sets,
            epsilon,
        };
        let output = match Normalization
            .prepare::<C>([input.node(), gamma.node(), beta.node()])
            .memory_bound()
            .retro_forward(recompute)
            .parents([&input, &gamma, &beta])
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let state = State {
                    input: prep.checkpoint(&input),
                    gamma: prep.checkpoint(&gamma),
                    mean: values(&mean).into(),
                    variance: values(&variance).into(),
                    sets,
                    epsilon,
                };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        let [mean, variance] = [mean, variance].map(FloatTensor::<Self>::new);
        (output, mean, variance)
    }
}

/// Recomputes the output from the inputs, for gradient checkpointing.
#[derive(Debug)]
struct Recompute {
    input: NodeId,
    gamma: NodeId,
    beta: NodeId,
    sets: Sets,
    epsilon: f32,
}

impl RetroForward for Recompute {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let [input, gamma, beta] = [self.input, self.gamma, self.beta]
            .map(|node| states.get_state::<FloatTensor<Flex>>(&node));
        let (output, _, _) = Flex::normalize(input, gamma, beta, self.sets, self.epsilon);
        states.save(out_node, output);
    }
}

#[derive(Debug)]
struct Normalization;

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    input: NodeId,
    gamma: NodeId,
    mean: Arc<[f32]>,
    variance: Arc<[f32]>,
    sets: Sets,
    epsilon: f32,
}

impl Backward<Flex, 3> for Normalization {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let state = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [input, gamma] = [state.input, state.gamma].map(|node| {
            let tensor = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(node);
            tensor.to_contiguous()
        });
        let layout = Layout::new(input.shape().dims(), state.sets);
        let scales: Vec<[f32; 2]> = (state.mean.iter().zip(&*state.variance))
            .map(|(mean, variance)| [*mean, (variance + state.epsilon).sqrt().recip()])
            .collect();
        let [input_node, gamma_node, beta_node] = ops.parents.map(|node| node.map(|node| node.id));
        let (input, gamma) = (values(&input), values(&gamma));
        let sums = layout.gradient_sums(input, values(&gradient), &scales);
        let channels = layout.shape[1];
        for (node, index) in [(beta_node, 0), (gamma_node, 1)] {
            let Some(node) = node else { continue };
            let sums = sum_over_batch(sums.iter().map(|sums| sums[index]), channels);
            grads.register::<Flex>(node, tensor(sums, [channels]));
        }
        if let Some(node) = input_node {
            let gradient = layout.input_gradient(input, gradient, gamma, &scales, &sums);
            grads.register::<Flex>(node, gradient);
        }
    }
}

/// The division of a tensor into sets. One channel of one image, a plane, belongs to one set.
struct Layout {
    shape: [usize; 4],
    sets: Sets,
}

impl Layout {
    fn new(shape: [usize; 4], sets: Sets) -> Self {
        Self { shape, sets }
    }

    fn pixels(&self) -> usize {
        self.shape[2] * self.shape[3]
    }

    fn set_of(&self, plane: usize) -> usize {
        let channels = self.shape[1];
        match self.sets {
            Sets::Channels => plane % channels,
            Sets::Groups(groups) => plane / (channels / groups),
        }
    }

    /// The number of sets, and the number of values in each.
    fn counts(&self) -> (usize, f64) {
        let sets = match self.sets {
            Sets::Channels => self.shape[1],
            Sets::Groups(groups) => self.shape[0] * groups,
        };
        let values: usize = self.shape.iter().product();
        (sets, (values / sets) as f64)
    }

    /// The mean and variance of each set, combined from those of its planes (Chan et al.,
    /// 1983).
    fn moments(&self, input: &[f32]) -> Vec<[f32; 2]> {
        let pixels = self.pixels() as f64;
        let plane_moments = map_chunks(input, self.pixels(), |_, plane| {
            let mean = (sum(plane) / pixels) as f32;
            [mean.into(), covariance(plane, mean, plane, mean)]
        });
        let (sets, count) = self.counts();
        let mut moments = vec![[0.0; 2]; sets];
        for (plane, [mean, _]) in plane_moments.iter().enumerate() {
            moments[self.set_of(plane)][0] += mean * (pixels / count);
        }
        for (plane, [mean, squares]) in plane_moments.iter().enumerate() {
            let [set_mean, variance] = &mut moments[self.set_of(plane)];
            let distance = mean - *set_mean;
            *variance += (squares + pixels * distance * distance) / count;
        }
        let rounded = |moments: [f64; 2]| moments.map(|moment| moment as f32);
        moments.into_iter().map(rounded).collect()
    }

    fn normalize(
        &self,
        input: &[f32],
        gamma: &[f32],
        beta: &[f32],
        moments: &[[f32; 2]],
        epsilon: f32,
    ) -> Vec<f32> {
        let pixels = self.pixels();
        let write = |plane: usize, output: &mut [MaybeUninit<f32>]| {
            let channel = plane % self.shape[1];
            let [mean, variance] = moments[self.set_of(plane)];
            let scale = gamma[channel] * (variance + epsilon).sqrt().recip();
            let shift = beta[channel];
            let input = &input[plane * pixels..][..output.len()];
            for (output, input) in output.iter_mut().zip(input) {
                output.write((input - mean) * scale + shift);
            }
        };
        // SAFETY: the planes cover all values, and each plane is written.
        #[allow(unsafe_code)]
        unsafe {
            vec_written_by(input.len(), |output| for_each_chunk(output, pixels, write))
        }
    }

    /// For each plane, the sums of the output gradient and of its product with the normalized
    /// input, given the mean and inverse standard deviation of each set.
    fn gradient_sums(&self, input: &[f32], gradient: &[f32], scales: &[[f32; 2]]) -> Vec<[f64; 2]> {
        let pixels = self.pixels();
        map_chunks(gradient, pixels, |plane, gradient| {
            let [mean, scale] = scales[self.set_of(plane)];
            let input = &input[plane * pixels..][..pixels];
            let product = covariance(gradient, 0.0, input, mean);
            [sum(gradient), f64::from(scale) * product]
        })
    }

    /// The gradient of the input: (g − mean(g) − x̂ · mean(g x̂)) / σ, where x̂ is the
    /// normalized input, g its gradient, and σ and the means are those of the set.
    fn input_gradient(
        &self,
        input: &[f32],
        gradient: FloatTensor<Flex>,
        gamma: &[f32],
        scales: &[[f32; 2]],
        sums: &[[f64; 2]],
    ) -> FloatTensor<Flex> {
        let (pixels, channels) = (self.pixels(), self.shape[1]);
        let (sets, count) = self.counts();
        let mut means = vec![[0.0; 2]; sets];
        for (plane, sums) in sums.iter().enumerate() {
            let means = &mut means[self.set_of(plane)];
            for (mean, sum) in means.iter_mut().zip(sums) {
                *mean += f64::from(gamma[plane % channels]) * sum / count;
            }
        }
        update_chunks(gradient, pixels, |plane, gradient| {
            let set = self.set_of(plane);
            let ([mean, scale], [shift, slope]) = (scales[set], means[set].map(|m| m as f32));
            let gradient_factor = gamma[plane % channels] * scale;
            let (input_factor, shift) = (scale * scale * slope, scale * shift);
            let input = &input[plane * pixels..][..gradient.len()];
            for (gradient, input) in gradient.iter_mut().zip(input) {
                *gradient = *gradient * gradient_factor - (input - mean) * input_factor - shift;
            }
        })
    }
}
