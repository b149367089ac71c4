//! Batch and group normalization.

use std::{mem::MaybeUninit, ops::Range, sync::Arc};

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

use pulp::{Simd, WithSimd};

use crate::{
    activation::{positive_part, relu},
    flex::{
        channels_first, channels_last, from_untracked, is_f32_on_flex, tensor, untracked,
        update_chunks, values,
    },
    parallel::for_each_chunk,
    reduction::{channel_covariances, channel_sums, sum_over_batch},
    simd::dispatch,
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

/// [`group_norm`] followed by [`relu`](crate::relu()), in one pass over the output without autodiff.
///
/// # Panics
///
/// Panics if `input` has a different number of channels than the layer.
pub fn group_norm_relu(layer: &GroupNorm, input: Tensor<4>) -> Tensor<4> {
    let fused = || {
        let (gamma, beta) = (layer.gamma.as_ref()?.val(), layer.beta.as_ref()?.val());
        let is_supported = is_supported(&input, &gamma, &beta);
        let [gamma, beta] = [untracked(&gamma)?, untracked(&beta)?];
        let input = untracked(&input).filter(|_| is_supported)?;
        let sets = Sets::Groups(layer.num_groups);
        let (output, ..) = compute(&input, &gamma, &beta, sets, layer.epsilon as f32, true);
        Some(from_untracked(output))
    };
    match fused() {
        Some(output) => output,
        None => relu(group_norm(layer, input)),
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
        compute(&input, &gamma, &beta, sets, epsilon, false)
    }
}

/// The output, with negative values replaced by 0 if `relu` is set, and the mean and variance of each
/// set.
fn compute(
    input: &FloatTensor<Flex>,
    gamma: &FloatTensor<Flex>,
    beta: &FloatTensor<Flex>,
    sets: Sets,
    epsilon: f32,
    relu: bool,
) -> (FloatTensor<Flex>, FloatTensor<Flex>, FloatTensor<Flex>) {
    let layout = Layout::new(input.shape().dims(), sets);
    let [batch, channels, height, width] = layout.shape;
    assert_eq!(
        [gamma.shape().dims(), beta.shape().dims()],
        [[channels]; 2],
        "gamma and beta must have one value per channel"
    );
    let input = channels_last(input);
    let moments = layout.moments(values(&input));
    let [gamma, beta] = [gamma, beta].map(|tensor| tensor.to_contiguous());
    let parameters = [values(&gamma), values(&beta)];
    let output = layout.normalize(values(&input), parameters, &moments, epsilon, relu);
    let [mean, variance] = [0, 1].map(|moment| {
        let values: Vec<f32> = moments.iter().map(|moments| moments[moment]).collect();
        let count = values.len();
        tensor(values, [count])
    });
    (
        channels_first(output, [batch, height, width, channels]),
        mean,
        variance,
    )
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
        let gradient = channels_last(&grads.consume::<Flex>(&ops.node));
        let [input, gamma] = [state.input, state.gamma]
            .map(|node| checkpointer.retrieve_node_output::<FloatTensor<Flex>>(node));
        let layout = Layout::new(input.shape().dims(), state.sets);
        let (input, gamma) = (channels_last(&input), gamma.to_contiguous());
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
            grads.register::<Flex>(node, gradient.permute(&[0, 3, 1, 2]));
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

    /// The values of each image, `[pixels, channels]`.
    fn images<'a>(&self, values: &'a [f32]) -> std::slice::ChunksExact<'a, f32> {
        values.chunks_exact(self.shape[1] * self.pixels())
    }

    /// One of two values of each set, for each channel of each image.
    fn of_planes(&self, sets: &[[f32; 2]], index: usize) -> Vec<f32> {
        let planes = 0..self.shape[0] * self.shape[1];
        planes
            .map(|plane| sets[self.set_of(plane)][index])
            .collect()
    }

    /// The mean and variance of each set, combined from those of its planes (Chan et al.,
    /// 1983).
    fn moments(&self, input: &[f32]) -> Vec<[f32; 2]> {
        let (channels, pixels) = (self.shape[1], self.pixels() as f64);
        let plane_moments: Vec<[f64; 2]> = (self.images(input))
            .flat_map(|image| {
                let means: Vec<f32> = (channel_sums(image, channels).into_iter())
                    .map(|sum| (sum / pixels) as f32)
                    .collect();
                let squares = channel_covariances([image, image], [&means, &means]);
                let pairs = means.into_iter().zip(squares);
                pairs.map(|(mean, squares)| [mean.into(), squares])
            })
            .collect();
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
        [gamma, beta]: [&[f32]; 2],
        moments: &[[f32; 2]],
        epsilon: f32,
        relu: bool,
    ) -> Vec<f32> {
        let channels = self.shape[1];
        let scales: Vec<[f32; 2]> = (moments.iter())
            .map(|[mean, variance]| [*mean, (variance + epsilon).sqrt().recip()])
            .collect();
        let means = self.of_planes(&scales, 0);
        let mut factors = self.of_planes(&scales, 1);
        for factors in factors.chunks_exact_mut(channels) {
            for (factor, gamma) in factors.iter_mut().zip(gamma) {
                *factor *= gamma;
            }
        }
        let rows = self.rows();
        // SAFETY: the rows cover all values, and each is written.
        #[allow(unsafe_code)]
        unsafe {
            vec_written_by(input.len(), |output| {
                for_each_chunk(output, rows.length(), |index, output| {
                    let planes = rows.planes(index);
                    dispatch(Normalize {
                        input: &input[index * rows.length()..][..output.len()],
                        means: &means[planes.clone()],
                        factors: &factors[planes],
                        shifts: beta,
                        relu,
                        output,
                    });
                });
            })
        }
    }

    /// For each plane, the sums of the output gradient and of its product with the normalized
    /// input, given the mean and inverse standard deviation of each set.
    fn gradient_sums(&self, input: &[f32], gradient: &[f32], scales: &[[f32; 2]]) -> Vec<[f64; 2]> {
        let channels = self.shape[1];
        let [means, factors] = [0, 1].map(|index| self.of_planes(scales, index));
        let zeros = vec![0.0; channels];
        (self.images(gradient).zip(self.images(input)))
            .zip(
                means
                    .chunks_exact(channels)
                    .zip(factors.chunks_exact(channels)),
            )
            .flat_map(|((gradient, input), (means, factors))| {
                let sums = channel_sums(gradient, channels);
                let products = channel_covariances([gradient, input], [&zeros, means]);
                let factors = factors.iter().map(|factor| f64::from(*factor));
                let products: Vec<f64> = products
                    .into_iter()
                    .zip(factors)
                    .map(|(p, f)| p * f)
                    .collect();
                sums.into_iter()
                    .zip(products)
                    .map(|(sum, product)| [sum, product])
            })
            .collect()
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
        let channels = self.shape[1];
        let (sets, count) = self.counts();
        let mut means = vec![[0.0; 2]; sets];
        for (plane, sums) in sums.iter().enumerate() {
            let means = &mut means[self.set_of(plane)];
            for (mean, sum) in means.iter_mut().zip(sums) {
                *mean += f64::from(gamma[plane % channels]) * sum / count;
            }
        }
        let planes =
            || (0..self.shape[0] * channels).map(|plane| (plane % channels, self.set_of(plane)));
        // As a gradient times a factor, minus a distance from the mean times another, minus a shift.
        let gradient_factors: Vec<f32> = planes()
            .map(|(channel, set)| gamma[channel] * scales[set][1])
            .collect();
        let slopes: Vec<f32> = planes()
            .map(|(_, set)| scales[set][1] * scales[set][1] * means[set][1] as f32)
            .collect();
        let shifts: Vec<f32> = planes()
            .map(|(_, set)| scales[set][1] * means[set][0] as f32)
            .collect();
        let input_means = self.of_planes(scales, 0);
        let rows = self.rows();
        update_chunks(gradient, rows.length(), |index, gradient| {
            let planes = rows.planes(index);
            dispatch(InputGradient {
                input: &input[index * rows.length()..][..gradient.len()],
                means: &input_means[planes.clone()],
                gradient_factors: &gradient_factors[planes.clone()],
                slopes: &slopes[planes.clone()],
                shifts: &shifts[planes],
                gradient,
            });
        })
    }

    fn rows(&self) -> Rows {
        let [_, channels, height, width] = self.shape;
        Rows {
            channels,
            width,
            height,
        }
    }
}

/// The rows of pixels of all images.
struct Rows {
    channels: usize,
    width: usize,
    height: usize,
}

impl Rows {
    /// The number of values in a row.
    fn length(&self) -> usize {
        self.channels * self.width
    }

    /// The planes of the image that a row belongs to.
    fn planes(&self, row: usize) -> Range<usize> {
        let start = row / self.height * self.channels;
        start..start + self.channels
    }
}

/// Normalizes pixels.
struct Normalize<'a> {
    input: &'a [f32],
    means: &'a [f32],
    factors: &'a [f32],
    shifts: &'a [f32],
    /// Whether negative values become 0.
    relu: bool,
    output: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.relu {
            true => self.write(positive_part),
            false => self.write(|value| value),
        }
    }
}

impl Normalize<'_> {
    #[inline(always)]
    fn write(self, finish: impl Fn(f32) -> f32) {
        let channels = self.means.len();
        let pixels = self.output.chunks_exact_mut(channels);
        for (output, input) in pixels.zip(self.input.chunks_exact(channels)) {
            let constants = (self.means.iter().zip(self.factors)).zip(self.shifts);
            for ((output, input), ((mean, factor), shift)) in
                output.iter_mut().zip(input).zip(constants)
            {
                output.write(finish((input - mean) * factor + shift));
            }
        }
    }
}

/// Replaces the gradient of the output by that of the input.
struct InputGradient<'a> {
    input: &'a [f32],
    means: &'a [f32],
    gradient_factors: &'a [f32],
    slopes: &'a [f32],
    shifts: &'a [f32],
    gradient: &'a mut [f32],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let channels = self.means.len();
        let pixels = self.gradient.chunks_exact_mut(channels);
        for (gradient, input) in pixels.zip(self.input.chunks_exact(channels)) {
            let constants = (self.means.iter().zip(self.gradient_factors))
                .zip(self.slopes.iter().zip(self.shifts));
            for ((gradient, input), ((mean, factor), (slope, shift))) in
                gradient.iter_mut().zip(input).zip(constants)
            {
                *gradient = *gradient * factor - (input - mean) * slope - shift;
            }
        }
    }
}
