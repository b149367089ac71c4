//! The operation and its derivative.

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            NodeId,
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{DType, Tensor, module, ops::ConvOptions},
};

use crate::{
    flex::{is_f32_on_flex, tensor, values},
    geometry::Geometry,
    images::{Images, matrix, matrix_mut},
    lowered, planes,
    sums::sum,
    unwritten::written,
    winograd,
};

/// The convolution of `input`, `[batch, channels, height, width]`, with `weight`,
/// `[filters, channels, kernel height, kernel width]`, plus `bias`, `[filters]`:
/// `[batch, filters, output height, output width]`, as Burn's
/// [`conv2d`](burn::tensor::module::conv2d).
///
/// In 32 bits on Burn's Flex backend, with one group and the same padding on both sides, it
/// is computed by this crate, with autodiff or without; anything else by the backend.
///
/// # Panics
///
/// Panics if the shapes do not fit each other, as Burn's.
pub fn conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let Some(geometry) = geometry(&input, &weight, bias.as_ref(), &options) else {
        return module::conv2d(input, weight, bias, options);
    };
    let filters = weight.dims()[0];
    let [input, weight] = [input, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            assert_eq!(bias.dims(), [filters], "a bias for each filter");
            let bias = bias.into_dispatch();
            <Dispatch as ConvolutionOps>::convolution_with_bias(input, weight, bias, geometry)
        }
        None => <Dispatch as ConvolutionOps>::convolution(input, weight, geometry),
    })
}

/// `None` for what this crate does not compute.
fn geometry(
    input: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
) -> Option<Geometry> {
    let [_, channels, height, width] = input.dims();
    let [_, weight_channels, kernel_height, kernel_width] = weight.dims();
    let plain = is_f32_on_flex(input)
        && weight.dtype() == DType::F32
        && bias.is_none_or(|bias| bias.dtype() == DType::F32)
        && options.groups == 1
        && !options.is_asymmetric()
        && channels == weight_channels
        && input.shape().num_elements() > 0
        && weight.shape().num_elements() > 0;
    if !plain {
        return None;
    }
    Geometry::new(
        [height, width],
        [kernel_height, kernel_width],
        options.stride,
        options.padding_begin(),
        options.dilation,
    )
}

/// The operation for the backends that have it.
#[backend_extension(Flex, Autodiff)]
trait ConvolutionOps: Backend {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    fn convolution_with_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;
}

impl ConvolutionOps for Flex {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        compute(input, weight, None, &geometry)
    }

    fn convolution_with_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        compute(input, weight, Some(bias), &geometry)
    }
}

fn compute(
    input: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    bias: Option<FloatTensor<Flex>>,
    geometry: &Geometry,
) -> FloatTensor<Flex> {
    let [batch, channels, _, _] = input.shape().dims();
    let [filters, _, _, _] = weight.shape().dims();
    let (input, weight) = (input.to_contiguous(), weight.to_contiguous());
    let bias = bias.map(|bias| bias.to_contiguous());
    let images = Images::new(values(&input), channels, geometry.input);
    let output = forward(images, values(&weight), bias.as_ref().map(values), geometry);
    let [height, width] = geometry.output;
    tensor(output, [batch, filters, height, width])
}

impl<C: CheckpointStrategy> ConvolutionOps for Autodiff<Flex, C> {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        let [x, w] = [&input, &weight].map(|tensor| tensor.primitive().clone());
        let output = Flex::convolution(x, w, geometry);
        record::<C, 2>([&input, &weight], geometry, output)
    }

    fn convolution_with_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        let [x, w, b] = [&input, &weight, &bias].map(|tensor| tensor.primitive().clone());
        let output = Flex::convolution_with_bias(x, w, b, geometry);
        record::<C, 3>([&input, &weight, &bias], geometry, output)
    }
}

/// `output` as what comes of `parents`: input, weight and, where there are three, bias.
fn record<C: CheckpointStrategy, const N: usize>(
    parents: [&FloatTensor<Autodiff<Flex, C>>; N],
    geometry: Geometry,
    output: FloatTensor<Flex>,
) -> FloatTensor<Autodiff<Flex, C>>
where
    Convolution: Backward<Flex, N, State = State>,
{
    let nodes = parents.map(|parent| parent.node());
    match Convolution.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let state = (
                prep.checkpoint(parents[0]),
                prep.checkpoint(parents[1]),
                geometry,
            );
            prep.finish(state, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// Input and weight, by their nodes, and the sizes.
type State = (NodeId, NodeId, Geometry);

#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 2> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, checkpointer, ops.state, parents, &gradient);
    }
}

impl Backward<Flex, 3> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [input, weight, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        if let Some(bias) = bias {
            grads.register::<Flex>(bias, bias_gradient(&gradient));
        }
        register(grads, checkpointer, ops.state, [input, weight], &gradient);
    }
}

/// Registers the gradients of input and weight, of those that need one.
fn register(
    grads: &mut Gradients,
    checkpointer: &mut Checkpointer,
    (input, weight, geometry): State,
    [input_parent, weight_parent]: [Option<NodeId>; 2],
    gradient: &FloatTensor<Flex>,
) {
    let input = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(input);
    let weight = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(weight);
    let [batch, channels, _, _] = input.shape().dims::<4>();
    let shape: [usize; 4] = weight.shape().dims();
    let gradient = Images::new(values(gradient), shape[0], geometry.output);
    if let Some(node) = input_parent {
        let weight = weight.to_contiguous();
        let found = input_gradient(gradient, values(&weight), channels, &geometry);
        let [height, width] = geometry.input;
        grads.register::<Flex>(node, tensor(found, [batch, channels, height, width]));
    }
    if let Some(node) = weight_parent {
        let input = input.to_contiguous();
        let images = Images::new(values(&input), channels, geometry.input);
        let found = weight_gradient(images, gradient, &geometry);
        grads.register::<Flex>(node, tensor(found, shape));
    }
}

fn forward(input: Images, weight: &[f32], bias: Option<&[f32]>, geometry: &Geometry) -> Vec<f32> {
    let taps = input.channels() * geometry.taps();
    let filters = weight.len() / taps;
    let length = input.batch() * filters * geometry.output_pixels();
    // SAFETY: either algorithm writes all of it: their parts and tiles cover every pixel of
    // every plane of the output.
    #[allow(unsafe_code)]
    unsafe {
        written(length, |output| {
            if winograd::suits(geometry, input.batch(), input.channels(), filters) {
                let kernels = winograd::Kernels::new(weight, filters);
                winograd::forward(input, &kernels, bias, geometry, output);
            } else {
                let weight = matrix(weight, filters, taps);
                lowered::forward(input, weight, bias, geometry, output);
            }
        })
    }
}

fn input_gradient(
    output_gradient: Images,
    weight: &[f32],
    channels: usize,
    geometry: &Geometry,
) -> Vec<f32> {
    let (batch, filters) = (output_gradient.batch(), output_gradient.channels());
    let matrix = matrix(weight, filters, channels * geometry.taps());
    let length = batch * channels * geometry.input_pixels();
    // SAFETY: each algorithm writes all of it: their parts and tiles cover every pixel of
    // every plane of the input, or the planes are zeroed first.
    #[allow(unsafe_code)]
    unsafe {
        written(length, |gradient| match geometry.transposed() {
            Some(transposed) if winograd::suits(&transposed, batch, filters, channels) => {
                let kernels = winograd::Kernels::reversed(weight, filters);
                winograd::forward(output_gradient, &kernels, None, &transposed, gradient);
            }
            Some(transposed) if transposed.is_pointwise() => {
                let weight = matrix.reversed_axes();
                lowered::forward(output_gradient, weight, None, &transposed, gradient);
            }
            _ => lowered::input_gradient(output_gradient, matrix, geometry, gradient),
        })
    }
}

fn weight_gradient(input: Images, output_gradient: Images, geometry: &Geometry) -> Vec<f32> {
    let (channels, filters) = (input.channels(), output_gradient.channels());
    let taps = channels * geometry.taps();
    // SAFETY: either algorithm writes all of it: their blocks and kernels cover every weight.
    #[allow(unsafe_code)]
    unsafe {
        written(filters * taps, |gradient| {
            if winograd::suits(geometry, input.batch(), channels, filters) {
                winograd::weight_gradient(input, output_gradient, geometry, gradient);
            } else {
                let weight = matrix_mut(gradient, filters, taps);
                lowered::weight_gradient(input, output_gradient, geometry, weight);
            }
        })
    }
}

fn bias_gradient(output_gradient: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let [_, filters, height, width] = output_gradient.shape().dims();
    let of_planes = planes::map(values(output_gradient), height * width, |_, plane| {
        sum(plane)
    });
    tensor(planes::channel_sums(of_planes, filters), [filters])
}
