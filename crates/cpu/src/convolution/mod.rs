//! 2D convolutions: the public functions and the derivative for Burn's autodiff. Only `fused` and
//! `packed_weights` also depend on Burn; the other submodules compute on slices.

mod algorithm;
mod direct;
#[forbid(unsafe_code)]
mod fused;
#[forbid(unsafe_code)]
mod geometry;
#[forbid(unsafe_code)]
mod maps;
#[forbid(unsafe_code)]
mod packed_weights;
#[forbid(unsafe_code)]
mod partial_sums;
#[forbid(unsafe_code)]
mod stencil;
mod winograd;

pub use fused::{Epilogue, conv2d_fused};

use std::sync::Arc;

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
        ops::FloatTensorOps,
        tensor::FloatTensor,
    },
    tensor::{DType, Shape, Tensor, module, ops::ConvOptions},
};

use crate::{
    flex::{channels_first, channels_last, is_f32_on_flex, tensor, update_chunks, values},
    nhwc::Nhwc,
    product::{Finish, ProductFormat},
};

use algorithm::{Algorithm, PackedWeight};
use geometry::Geometry;
use maps::{Maps, Part};

/// The 2D convolution of `input` with `weight`, plus `bias`, like Burn's
/// [`conv2d`](burn::tensor::module::conv2d).
///
/// | tensor   | shape                                               |
/// |----------|-----------------------------------------------------|
/// | `input`  | `[batch, channels, height, width]`                  |
/// | `weight` | `[filters, channels, kernel height, kernel width]`  |
/// | `bias`   | `[filters]`                                         |
/// | result   | `[batch, filters, output height, output width]`     |
///
/// This crate computes it, with or without autodiff, for `f32` tensors on the Flex backend, if
/// there is one group and the padding is the same on both sides. The backend of the tensors
/// computes everything else.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    match supported_parts(
        &[images_of(&input)],
        &input,
        &weight,
        bias.as_ref(),
        &options,
    ) {
        Some(parts) => convolve(input, weight, bias, parts),
        None => module::conv2d(input, weight, bias, options),
    }
}

/// The convolution of the images of all parts, one part after the other: if there are several,
/// the stride is 1, and `input` and output are `[1, channels, pixels, 1]`.
pub fn convolve(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    parts: Arc<[Part]>,
) -> Tensor<4> {
    assert!(
        parts.len() == 1 || parts.iter().all(|part| part.geometry.stride == [1, 1]),
        "images of several sizes need a stride of 1"
    );
    let filters = weight.dims()[0];
    let format = ProductFormat::current();
    let [input, weight] = [input, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            assert_eq!(
                bias.dims(),
                [filters],
                "bias must have one value per filter"
            );
            let bias = bias.into_dispatch();
            <Dispatch as ConvolutionOps>::convolution_with_bias(input, weight, bias, format, parts)
        }
        None => <Dispatch as ConvolutionOps>::convolution(input, weight, format, parts),
    })
}

/// `scale` · [`convolve`] + `shift`, without bias; both vectors have one value for each filter. The scaled
/// weight is not kept for the backward pass, unless autodiff tracks one of them.
fn convolve_scaled(
    input: Tensor<4>,
    weight: Tensor<4>,
    [scale, shift]: [Tensor<1>; 2],
    parts: Arc<[Part]>,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as ConvolutionOps>::scaled_convolution(
        input.into_dispatch(),
        weight.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        ProductFormat::current(),
        parts,
    ))
}

/// The number of images of a tensor and their size, `[height, width]`.
pub fn images_of(maps: &Tensor<4>) -> (usize, [usize; 2]) {
    let [images, _, height, width] = maps.dims();
    (images, [height, width])
}

/// The parts of an input with so many images of these sizes. `None` for convolutions that this crate
/// does not compute.
pub fn supported_parts(
    sizes: &[(usize, [usize; 2])],
    input: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
) -> Option<Arc<[Part]>> {
    let channels = input.dims()[1];
    let [_, weight_channels, kernel_height, kernel_width] = weight.dims();
    let is_supported = is_f32_on_flex(input)
        && weight.dtype() == DType::F32
        && bias.is_none_or(|bias| bias.dtype() == DType::F32)
        && options.groups == 1
        && !options.is_asymmetric()
        && channels == weight_channels
        && input.shape().num_elements() > 0
        && weight.shape().num_elements() > 0;
    if !is_supported {
        return None;
    }
    let parts = sizes.iter().map(|(images, size)| {
        let geometry = Geometry::new(
            *size,
            [kernel_height, kernel_width],
            options.stride,
            options.padding_begin(),
            options.dilation,
        )?;
        Some(Part {
            images: *images,
            geometry,
        })
    });
    parts.collect()
}

/// The convolution as an operation of the backends that implement it.
#[backend_extension(Flex, Autodiff)]
trait ConvolutionOps: Backend {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self>;

    fn convolution_with_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self>;

    fn scaled_convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self>;
}

impl ConvolutionOps for Flex {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self> {
        compute(
            &input,
            &weight,
            packed_weights::kept,
            Finish::default(),
            format,
            &parts,
        )
    }

    fn convolution_with_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self> {
        let bias = bias.to_contiguous();
        let finish = Finish {
            bias: Some(values(&bias)),
            ..Finish::default()
        };
        compute(
            &input,
            &weight,
            packed_weights::kept,
            finish,
            format,
            &parts,
        )
    }

    fn scaled_convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self> {
        let tensors = [&input, &weight, &scale, &shift];
        compute_scaled(tensors, packed_weights::kept, format, &parts)
    }
}

/// The values of a scaled convolution.
fn compute_scaled(
    [input, weight, scale, shift]: [&FloatTensor<Flex>; 4],
    pack: Pack,
    format: ProductFormat,
    parts: &[Part],
) -> FloatTensor<Flex> {
    let [scale, shift] = [scale, shift].map(|vector| vector.to_contiguous());
    let finish = Finish {
        scale: Some(values(&scale)),
        bias: Some(values(&shift)),
        ..Finish::default()
    };
    compute(input, weight, pack, finish, format, parts)
}

/// How a contiguous weight is packed.
type Pack =
    for<'a> fn(&'a FloatTensor<Flex>, Algorithm, ProductFormat, &Geometry) -> Arc<PackedWeight<'a>>;

/// The output. `pack` packs the weight, unless it has to be copied first.
fn compute(
    input: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    pack: Pack,
    finish: Finish,
    format: ProductFormat,
    parts: &[Part],
) -> FloatTensor<Flex> {
    let [_, channels, _, _] = input.shape().dims();
    let [filters, _, _, _] = weight.shape().dims();
    let pack: Pack = match packed_weights::is_whole(weight) {
        true => pack,
        false => packed_weights::fresh,
    };
    let [input, weight] = [channels_last(input), weight.to_contiguous()];
    let inputs = inputs(values(&input), parts, channels);
    let weight = pack(
        &weight,
        Algorithm::of(parts, channels, filters),
        format,
        &parts[0].geometry,
    );
    let output = algorithm::forward(&inputs, &weight, finish);
    let size = |part: &Part| part.geometry.output;
    channels_first(output, shape(parts, size, filters))
}

/// The images of each part of an input.
fn inputs<'a>(values: &'a [f32], parts: &[Part], channels: usize) -> Vec<Maps<'a>> {
    let sizes = parts.iter().map(|part| (part.images, part.geometry.input));
    let images = Nhwc::several(values, sizes, channels).into_iter();
    images
        .zip(parts)
        .map(|(images, part)| Maps {
            images,
            geometry: part.geometry,
        })
        .collect()
}

/// The images of each part of an output.
fn outputs<'a>(values: &'a [f32], parts: &[Part], filters: usize) -> Vec<Nhwc<'a>> {
    let sizes = parts.iter().map(|part| (part.images, part.geometry.output));
    Nhwc::several(values, sizes, filters)
}

/// The shape of an input or output with channels last, given the size of the images of a part.
fn shape(parts: &[Part], size: impl Fn(&Part) -> [usize; 2], channels: usize) -> [usize; 4] {
    match parts {
        [part] => {
            let [height, width] = size(part);
            [part.images, height, width, channels]
        }
        parts => {
            let pixels = |part: &Part| part.images * size(part).iter().product::<usize>();
            [1, parts.iter().map(pixels).sum(), 1, channels]
        }
    }
}

impl<C: CheckpointStrategy> ConvolutionOps for Autodiff<Flex, C> {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self> {
        let [x, w] = [&input, &weight].map(|tensor| tensor.primitive());
        let output = compute(
            x,
            w,
            packed_weights::fresh,
            Finish::default(),
            format,
            &parts,
        );
        track::<C, 2>([&input, &weight], None, format, parts, output)
    }

    fn convolution_with_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self> {
        let [x, w] = [&input, &weight].map(|tensor| tensor.primitive());
        let b = bias.primitive().to_contiguous();
        let finish = Finish {
            bias: Some(values(&b)),
            ..Finish::default()
        };
        let output = compute(x, w, packed_weights::fresh, finish, format, &parts);
        track::<C, 3>([&input, &weight, &bias], None, format, parts, output)
    }

    fn scaled_convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        format: ProductFormat,
        parts: Arc<[Part]>,
    ) -> FloatTensor<Self> {
        if scale.is_tracked() || shift.is_tracked() {
            let filters = scale.primitive().shape()[0];
            let scale = Self::float_reshape(scale, Shape::from([filters, 1, 1, 1]));
            let weight = Self::float_mul(weight, scale);
            return Self::convolution_with_bias(input, weight, shift, format, parts);
        }
        let tensors = [&input, &weight, &scale, &shift].map(|tensor| tensor.primitive());
        let output = compute_scaled(tensors, packed_weights::fresh, format, &parts);
        let parents = [&input, &weight];
        let scale = scale.into_primitive().to_contiguous();
        track::<C, 2>(parents, Some(scale), format, parts, output)
    }
}

/// Records `output` as the result of `parents`, which are input, weight and optionally bias, times a
/// constant `scale`.
fn track<C: CheckpointStrategy, const N: usize>(
    parents: [&FloatTensor<Autodiff<Flex, C>>; N],
    scale: Option<FloatTensor<Flex>>,
    format: ProductFormat,
    parts: Arc<[Part]>,
    output: FloatTensor<Flex>,
) -> FloatTensor<Autodiff<Flex, C>>
where
    Convolution: Backward<Flex, N, State = State>,
{
    let nodes = parents.map(|parent| parent.node());
    match Convolution.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let state = State {
                input: (parents[1].is_tracked()).then(|| prep.checkpoint(parents[0])),
                weight: prep.checkpoint(parents[1]),
                scale,
                format,
                parts,
            };
            prep.finish(state, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    /// For the gradient of the weight, if it is required.
    input: Option<NodeId>,
    weight: NodeId,
    /// One factor for each filter, contiguous.
    scale: Option<FloatTensor<Flex>>,
    format: ProductFormat,
    parts: Arc<[Part]>,
}

#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 2> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = channels_last(&grads.consume::<Flex>(&ops.node));
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register_gradients(grads, checkpointer, ops.state, parents, &gradient);
    }
}

impl Backward<Flex, 3> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = channels_last(&grads.consume::<Flex>(&ops.node));
        let [input, weight, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        if let Some(bias) = bias {
            let filters = gradient.shape()[3];
            let result = algorithm::bias_gradient(values(&gradient), filters);
            grads.register::<Flex>(bias, tensor(result, [filters]));
        }
        register_gradients(grads, checkpointer, ops.state, [input, weight], &gradient);
    }
}

/// Computes and registers the gradients of input and weight, if they are required.
fn register_gradients(
    grads: &mut Gradients,
    checkpointer: &mut Checkpointer,
    state: State,
    [input_parent, weight_parent]: [Option<NodeId>; 2],
    gradient: &FloatTensor<Flex>,
) {
    let State {
        input,
        weight,
        scale,
        format,
        parts,
    } = state;
    let scaled = |weight: FloatTensor<Flex>| match &scale {
        Some(scale) => {
            let scale = values(scale);
            let filter = weight.shape().num_elements() / scale.len().max(1);
            update_chunks(weight, filter.max(1), |index, values| {
                for value in values {
                    *value *= scale[index];
                }
            })
        }
        None => weight,
    };
    let weight = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(weight);
    let shape_of_weight: [usize; 4] = weight.shape().dims();
    let [filters, channels, _, _] = shape_of_weight;
    let gradients = outputs(values(gradient), &parts, filters);
    if let Some(node) = input_parent {
        let weight = scaled(weight.to_contiguous());
        let result =
            algorithm::input_gradient(format, &gradients, &parts, values(&weight), channels);
        let size = |part: &Part| part.geometry.input;
        grads.register::<Flex>(node, channels_first(result, shape(&parts, size, channels)));
    }
    debug_assert_eq!(weight_parent.is_some(), input.is_some());
    if let (Some(node), Some(input)) = (weight_parent, input) {
        let input = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(input);
        let input = channels_last(&input);
        let inputs = inputs(values(&input), &parts, channels);
        let result = algorithm::weight_gradient(format, &inputs, &gradients);
        grads.register::<Flex>(node, scaled(tensor(result, shape_of_weight)));
    }
}
