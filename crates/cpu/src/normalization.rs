//! Batch and group normalization, alone or followed by ReLU.

use std::{mem::MaybeUninit, ops::Range, sync::Arc};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            NodeId,
            checkpoint::{
                base::Checkpointer,
                retro_forward::RetroForward,
                state::BackwardStates,
                strategy::{BalancedCheckpointing, CheckpointStrategy},
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
    flex::{channels_first, channels_last, is_f32_on_flex, tensor, update_chunks, values},
    parallel::{GRAIN, for_each_chunk},
    reduction::{Affine, Images, sum_over_batch},
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
    normalize(input, gamma, beta, Rule::new(Sets::Channels, epsilon))
}

/// [`batch_norm_train`] followed by [`relu`](crate::relu()), with no extra pass forward or backward. The
/// input is the only feature map kept for the backward pass.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn batch_norm_relu_train(
    input: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    if !is_supported(&input, &gamma, &beta) {
        let (output, mean, variance) = batch_norm_train(input, gamma, beta, epsilon);
        return (relu(output), mean, variance);
    }
    let rule = Rule::new(Sets::Channels, epsilon).with_relu();
    normalize(input, gamma, beta, rule)
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
    match supported(layer, &input) {
        Some((gamma, beta, rule)) => normalize(input, gamma, beta, rule).0,
        None => layer.forward(input),
    }
}

/// [`group_norm`] followed by [`relu`](crate::relu()), with no extra pass forward or backward. The input
/// is the only feature map kept for the backward pass.
///
/// # Panics
///
/// Panics if `input` has a different number of channels than the layer.
pub fn group_norm_relu(layer: &GroupNorm, input: Tensor<4>) -> Tensor<4> {
    match supported(layer, &input) {
        Some((gamma, beta, rule)) => normalize(input, gamma, beta, rule.with_relu()).0,
        None => relu(layer.forward(input)),
    }
}

/// [`group_norm_relu`] of images of several sizes, one after the other in `[1, channels, pixels, 1]`,
/// given the number of pixels of each. `None` if this crate does not compute it.
pub fn group_norm_relu_of(
    layer: &GroupNorm,
    input: Tensor<4>,
    images: Arc<[usize]>,
) -> Option<Tensor<4>> {
    let (gamma, beta, rule) = supported(layer, &input)?;
    let rule = Rule {
        images: Some(images),
        ..rule.with_relu()
    };
    Some(normalize(input, gamma, beta, rule).0)
}

/// The parameters and the rule of a layer, if this crate computes it for such an input.
fn supported(layer: &GroupNorm, input: &Tensor<4>) -> Option<(Tensor<1>, Tensor<1>, Rule)> {
    let (gamma, beta) = (layer.gamma.as_ref()?.val(), layer.beta.as_ref()?.val());
    let rule = Rule::new(Sets::Groups(layer.num_groups), layer.epsilon);
    is_supported(input, &gamma, &beta).then_some((gamma, beta, rule))
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
    rule: Rule,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let (output, mean, variance) = <Dispatch as NormalizationOps>::normalize(
        input.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        rule,
    );
    (
        Tensor::from_dispatch(output),
        Tensor::from_dispatch(mean),
        Tensor::from_dispatch(variance),
    )
}

/// What is computed.
#[derive(Clone, Debug)]
struct Rule {
    sets: Sets,
    epsilon: f32,
    /// Whether negative values become 0.
    relu: bool,
    /// The number of pixels of each image, if the input is `[1, channels, pixels, 1]` and holds images
    /// of several sizes one after the other.
    images: Option<Arc<[usize]>>,
}

impl Rule {
    fn new(sets: Sets, epsilon: f64) -> Self {
        Self {
            sets,
            epsilon: epsilon as f32,
            relu: false,
            images: None,
        }
    }

    fn with_relu(self) -> Self {
        Self { relu: true, ..self }
    }
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
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl NormalizationOps for Flex {
    fn normalize(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [_, channels, _, _] = input.shape().dims();
        let layout = Layout::new(input.shape().dims(), &rule);
        assert_eq!(
            [gamma.shape().dims(), beta.shape().dims()],
            [[channels]; 2],
            "gamma and beta must have one value per channel"
        );
        let input = channels_last(&input);
        let moments = layout.moments(values(&input));
        let output = layout.output(&input, [gamma, beta], &moments, &rule);
        let [mean, variance] = [0, 1].map(|moment| {
            let values: Vec<f32> = moments.iter().map(|moments| moments[moment]).collect();
            let count = values.len();
            tensor(values, [count])
        });
        (output, mean, variance)
    }
}

impl<C: CheckpointStrategy> NormalizationOps for Autodiff<Flex, C> {
    fn normalize(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let parents = [&input, &gamma, &beta];
        let [x, scale, shift] = parents.map(|tensor| tensor.primitive().clone());
        let (output, mean, variance) = Flex::normalize(x, scale, shift, rule.clone());
        let moments = (values(&mean).iter().zip(values(&variance)))
            .map(|(mean, variance)| [*mean, *variance])
            .collect();
        // After ReLU, the output usually goes to a convolution, which would keep it. It is computed again from
        // the input, which is kept anyway, in a pass that is short beside a convolution.
        let output = match rule.relu {
            true => track::<BalancedCheckpointing, C>(parents, moments, rule, output),
            false => track::<C, C>(parents, moments, rule, output),
        };
        let [mean, variance] = [mean, variance].map(FloatTensor::<Self>::new);
        (output, mean, variance)
    }
}

/// Records `output` as the result of input, gamma and beta. Operations that need it in the backward pass
/// keep or recompute it, depending on the strategy `S`; it is kept if a parent is not tracked.
fn track<S: CheckpointStrategy, C: CheckpointStrategy>(
    parents: [&FloatTensor<Autodiff<Flex, C>>; 3],
    moments: Arc<[[f32; 2]]>,
    rule: Rule,
    output: FloatTensor<Flex>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let recompute = Recompute {
        nodes: parents.map(|parent| parent.id()),
        moments: moments.clone(),
        rule: rule.clone(),
    };
    match Normalization
        .prepare::<S>(parents.map(|parent| parent.node()))
        .memory_bound()
        .retro_forward(recompute)
        .parents(parents)
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let state = State {
                nodes: parents.map(|parent| prep.checkpoint(parent)),
                moments,
                rule,
            };
            prep.finish(state, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// Computes the output again.
#[derive(Debug)]
struct Recompute {
    /// Input, gamma and beta.
    nodes: [NodeId; 3],
    moments: Arc<[[f32; 2]]>,
    rule: Rule,
}

impl RetroForward for Recompute {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let [input, gamma, beta] = self
            .nodes
            .map(|node| states.get_state::<FloatTensor<Flex>>(&node));
        let layout = Layout::new(input.shape().dims(), &self.rule);
        let input = channels_last(&input);
        let output = layout.output(&input, [gamma, beta], &self.moments, &self.rule);
        states.save(out_node, output);
    }
}

#[derive(Debug)]
struct Normalization;

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    /// Input, gamma and beta.
    nodes: [NodeId; 3],
    moments: Arc<[[f32; 2]]>,
    rule: Rule,
}

impl Backward<Flex, 3> for Normalization {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let state = ops.state;
        let gradient = channels_last(&grads.consume::<Flex>(&ops.node));
        let [input, gamma, beta] =
            (state.nodes).map(|node| checkpointer.retrieve_node_output::<FloatTensor<Flex>>(node));
        let layout = Layout::new(input.shape().dims(), &state.rule);
        let input = channels_last(&input);
        let [gamma, beta] = [gamma, beta].map(|tensor| tensor.to_contiguous());
        let (input, gamma) = (values(&input), values(&gamma));
        let scales = scales(&state.moments, state.rule.epsilon);
        let constants = Constants::new(&layout, &scales, [gamma, values(&beta)]);
        let relu = state.rule.relu;
        let of_image = |image| constants.of_planes(layout.planes_of(image));
        let mut sums = (layout.in_memory()).products(values(&gradient), input, of_image, relu);
        let deviations: Vec<f32> = scales.iter().map(|[_, deviation]| *deviation).collect();
        for (plane, [_, product]) in sums.iter_mut().enumerate() {
            *product *= f64::from(deviations[layout.set_of(plane)]);
        }
        let channels = layout.channels;
        let [input_node, gamma_node, beta_node] = ops.parents.map(|node| node.map(|node| node.id));
        for (node, index) in [(beta_node, 0), (gamma_node, 1)] {
            let Some(node) = node else { continue };
            let sums = sum_over_batch(sums.iter().map(|sums| sums[index]), channels);
            grads.register::<Flex>(node, tensor(sums, [channels]));
        }
        if let Some(node) = input_node {
            let mut means = vec![[0.0; 2]; layout.sets()];
            for (plane, sums) in sums.iter().enumerate() {
                let means = &mut means[layout.set_of(plane)];
                for (mean, sum) in means.iter_mut().zip(sums) {
                    *mean += f64::from(gamma[plane % channels]) * sum / layout.set_len(plane);
                }
            }
            let gradient =
                layout.input_gradient(input, gradient, &constants, &means, &deviations, relu);
            grads.register::<Flex>(node, gradient.permute(&[0, 3, 1, 2]));
        }
    }
}

/// The mean and the inverse standard deviation of each set, given its mean and variance.
fn scales(moments: &[[f32; 2]], epsilon: f32) -> Vec<[f32; 2]> {
    let moments = moments.iter();
    moments
        .map(|[mean, variance]| [*mean, (variance + epsilon).sqrt().recip()])
        .collect()
}

/// The division of a tensor into sets. One channel of one image, a plane, belongs to one set.
struct Layout {
    /// Where the pixels of each image begin, and where those of the last one end.
    starts: Vec<usize>,
    channels: usize,
    sets: Sets,
}

impl Layout {
    fn new([batch, channels, height, width]: [usize; 4], rule: &Rule) -> Self {
        let pixels = match &rule.images {
            Some(pixels) => pixels.to_vec(),
            None => vec![height * width; batch],
        };
        let ends = pixels.into_iter().scan(0, |end, pixels| {
            *end += pixels;
            Some(*end)
        });
        let starts: Vec<usize> = [0].into_iter().chain(ends).collect();
        // What is written without being cleared first depends on it.
        assert_eq!(
            starts.last(),
            Some(&(batch * height * width)),
            "the images must have the pixels of the input"
        );
        Self {
            starts,
            channels,
            sets: rule.sets,
        }
    }

    /// The number of images.
    fn images(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of pixels of an image.
    fn pixels(&self, image: usize) -> usize {
        self.starts[image + 1] - self.starts[image]
    }

    /// The images in memory.
    fn in_memory(&self) -> Images<'_> {
        Images {
            starts: &self.starts,
            channels: self.channels,
        }
    }

    /// The planes of an image.
    fn planes_of(&self, image: usize) -> Range<usize> {
        image * self.channels..(image + 1) * self.channels
    }

    /// The number of planes of all images.
    fn planes(&self) -> usize {
        self.images() * self.channels
    }

    fn set_of(&self, plane: usize) -> usize {
        match self.sets {
            Sets::Channels => plane % self.channels,
            Sets::Groups(groups) => plane / (self.channels / groups),
        }
    }

    /// The number of sets.
    fn sets(&self) -> usize {
        match self.sets {
            Sets::Channels => self.channels,
            Sets::Groups(groups) => self.images() * groups,
        }
    }

    /// The number of values in the set of a plane.
    fn set_len(&self, plane: usize) -> f64 {
        let values = match self.sets {
            Sets::Channels => self.starts[self.images()],
            Sets::Groups(groups) => self.pixels(plane / self.channels) * (self.channels / groups),
        };
        values as f64
    }

    /// The mean and variance of each set, combined from those of its planes (Chan et al.,
    /// 1983).
    fn moments(&self, input: &[f32]) -> Vec<[f32; 2]> {
        let pixels = |plane: usize| self.pixels(plane / self.channels) as f64;
        let sums = self.in_memory().sums(input).into_iter();
        let means: Vec<f32> = (sums.enumerate())
            .map(|(plane, sum)| (sum / pixels(plane)) as f32)
            .collect();
        let squares = self.in_memory().squares(input, &means);
        let mut moments = vec![[0.0; 2]; self.sets()];
        for (plane, mean) in means.iter().enumerate() {
            let share = pixels(plane) / self.set_len(plane);
            moments[self.set_of(plane)][0] += f64::from(*mean) * share;
        }
        for (plane, (mean, squares)) in means.iter().zip(squares).enumerate() {
            let [set_mean, variance] = &mut moments[self.set_of(plane)];
            let distance = f64::from(*mean) - *set_mean;
            *variance += (squares + pixels(plane) * distance * distance) / self.set_len(plane);
        }
        let rounded = |moments: [f64; 2]| moments.map(|moment| moment as f32);
        moments.into_iter().map(rounded).collect()
    }

    /// The values of a chunk, `[pixels, channels]`. Chunks may span images.
    fn chunk_len(&self) -> usize {
        (GRAIN / self.channels).max(1) * self.channels
    }

    /// Calls `update` for each image that has pixels in a chunk: with its index, the place of these
    /// pixels in the whole tensor, and their values in the chunk.
    fn for_each_image<T>(
        &self,
        chunk: usize,
        mut values: &mut [T],
        mut update: impl FnMut(usize, Range<usize>, &mut [T]),
    ) {
        let place = chunk * self.chunk_len()..chunk * self.chunk_len() + values.len();
        let start = |image: usize| self.starts[image] * self.channels;
        let [first, last] = [place.start, place.end - 1].map(|value| {
            let pixel = value / self.channels;
            self.starts.partition_point(|start| *start <= pixel) - 1
        });
        for image in first..=last {
            let of_image = start(image).max(place.start)..start(image + 1).min(place.end);
            let (found, rest) = values.split_at_mut(of_image.len());
            values = rest;
            update(image, of_image, found);
        }
    }

    /// The output for a contiguous input with its channels last, given gamma and beta, and the mean and
    /// variance of each set.
    fn output(
        &self,
        input: &FloatTensor<Flex>,
        parameters: [FloatTensor<Flex>; 2],
        moments: &[[f32; 2]],
        rule: &Rule,
    ) -> FloatTensor<Flex> {
        let [gamma, beta] = parameters.map(|tensor| tensor.to_contiguous());
        let scales = scales(moments, rule.epsilon);
        let constants = Constants::new(self, &scales, [values(&gamma), values(&beta)]);
        let output = self.normalize(values(input), &constants, rule.relu);
        channels_first(output, input.shape().dims())
    }

    /// `input` as normalized by these constants.
    fn normalize(&self, input: &[f32], constants: &Constants, relu: bool) -> Vec<f32> {
        // SAFETY: the chunks cover all values, the images of a chunk all of its values, and there are
        // constants for each channel.
        #[allow(unsafe_code)]
        unsafe {
            vec_written_by(input.len(), |output| {
                for_each_chunk(output, self.chunk_len(), |chunk, output| {
                    self.for_each_image(chunk, output, |image, place, output| {
                        dispatch(Normalize {
                            input: &input[place],
                            normalization: constants.of_planes(self.planes_of(image)),
                            relu,
                            output,
                        });
                    });
                });
            })
        }
    }

    /// The gradient of the input: (g − mean(g) − x̂ · mean(g x̂)) / σ, where x̂ is the
    /// normalized input, g its gradient, and σ and the means are those of the set.
    fn input_gradient(
        &self,
        input: &[f32],
        gradient: FloatTensor<Flex>,
        constants: &Constants,
        means: &[[f64; 2]],
        deviations: &[f32],
        relu: bool,
    ) -> FloatTensor<Flex> {
        // As a gradient times the factor of its plane, minus a distance from the mean times a slope,
        // minus a shift.
        let of_planes = |value: &dyn Fn(usize) -> f32| -> Vec<f32> {
            let planes = 0..self.planes();
            planes.map(|plane| value(self.set_of(plane))).collect()
        };
        let slopes = of_planes(&|set| deviations[set] * deviations[set] * means[set][1] as f32);
        let shifts = of_planes(&|set| deviations[set] * means[set][0] as f32);
        update_chunks(gradient, self.chunk_len(), |chunk, gradient| {
            self.for_each_image(chunk, gradient, |image, place, gradient| {
                let planes = self.planes_of(image);
                dispatch(InputGradient {
                    input: &input[place],
                    normalization: constants.of_planes(planes.clone()),
                    slopes: &slopes[planes.clone()],
                    shifts: &shifts[planes],
                    relu,
                    gradient,
                });
            });
        })
    }
}

/// The constants of the normalization: means and factors of each plane, shifts of each channel.
struct Constants {
    means: Vec<f32>,
    factors: Vec<f32>,
    shifts: Vec<f32>,
}

impl Constants {
    /// Of the planes of a layout, given the mean and the inverse standard deviation of each set.
    fn new(layout: &Layout, scales: &[[f32; 2]], [gamma, beta]: [&[f32]; 2]) -> Self {
        assert_eq!(
            [gamma.len(), beta.len()],
            [layout.channels; 2],
            "values of gamma and beta"
        );
        let planes = 0..layout.planes();
        Self {
            means: (planes.clone())
                .map(|plane| scales[layout.set_of(plane)][0])
                .collect(),
            factors: planes
                .map(|plane| scales[layout.set_of(plane)][1] * gamma[plane % layout.channels])
                .collect(),
            shifts: beta.to_vec(),
        }
    }

    /// Of the planes of one image.
    fn of_planes(&self, planes: Range<usize>) -> Affine<'_> {
        Affine {
            means: &self.means[planes.clone()],
            factors: &self.factors[planes],
            shifts: &self.shifts,
        }
    }
}

/// Normalizes pixels of an image.
struct Normalize<'a> {
    input: &'a [f32],
    normalization: Affine<'a>,
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
        let Affine {
            means,
            factors,
            shifts,
        } = self.normalization;
        let channels = means.len();
        let pixels = self.output.chunks_exact_mut(channels);
        for (output, input) in pixels.zip(self.input.chunks_exact(channels)) {
            let constants = means.iter().zip(factors).zip(shifts);
            for ((output, input), ((mean, factor), shift)) in
                output.iter_mut().zip(input).zip(constants)
            {
                output.write(finish((input - mean) * factor + shift));
            }
        }
    }
}

/// Replaces the gradient of the output by that of the input, for pixels of an image.
struct InputGradient<'a> {
    input: &'a [f32],
    normalization: Affine<'a>,
    slopes: &'a [f32],
    shifts: &'a [f32],
    relu: bool,
    gradient: &'a mut [f32],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.relu {
            // The rule of `Images::products`: the gradient passes where the output is positive or NaN.
            true => self.write(|output, gradient| if output <= 0.0 { 0.0 } else { gradient }),
            false => self.write(|_, gradient| gradient),
        }
    }
}

impl InputGradient<'_> {
    /// `of_output` is the gradient before ReLU, given the value before it and the gradient after it.
    #[inline(always)]
    fn write(self, of_output: impl Fn(f32, f32) -> f32) {
        let Affine {
            means,
            factors,
            shifts,
        } = self.normalization;
        let channels = means.len();
        let pixels = self.gradient.chunks_exact_mut(channels);
        for (gradient, input) in pixels.zip(self.input.chunks_exact(channels)) {
            let constants = (means.iter().zip(factors)).zip(shifts);
            let constants = constants.zip(self.slopes.iter().zip(self.shifts));
            for ((gradient, input), (((mean, factor), shift), (slope, gradient_shift))) in
                gradient.iter_mut().zip(input).zip(constants)
            {
                let distance = input - mean;
                let before = of_output(distance * factor + shift, *gradient);
                *gradient = before * factor - distance * slope - gradient_shift;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::{Device, ops::ConvOptions};

    use super::*;
    use crate::{conv2d, flex::untracked, simd::Level};

    #[test]
    fn a_convolution_does_not_keep_an_output_that_can_be_computed_again() {
        let _level = Level::hold();
        let device = Device::flex().autodiff();
        let input = || Tensor::<4>::ones([2, 3, 4, 5], &device).require_grad();
        let ones = || Tensor::<1>::ones([3], &device).require_grad();
        let weight = Tensor::<4>::ones([2, 3, 1, 1], &device).require_grad();
        let is_kept = |output: Tensor<4>| {
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            let result = conv2d(output.clone(), weight.clone(), None, options);
            let memory = untracked(&output.without_autodiff()).unwrap();
            let is_kept = !memory.is_unique();
            assert!(weight.grad(&result.sum().backward()).is_some());
            is_kept
        };
        let (output, _, _) = batch_norm_relu_train(input(), ones(), ones(), 1e-5);
        assert!(!is_kept(output));
        let (output, _, _) = batch_norm_train(input(), ones(), ones(), 1e-5);
        assert!(is_kept(output));
    }
}
