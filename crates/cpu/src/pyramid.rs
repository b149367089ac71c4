//! Layers that all levels of a pyramid share.

use std::{
    iter::repeat_n,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    nn::GroupNorm,
    tensor::{DType, FloatDType, Tensor, ops::ConvOptions},
};

use crate::{
    conv2d,
    convolution::{convolve, supported_parts},
    flex::{is_f32_on_flex, tensor, values},
    group_norm_relu,
    normalization::group_norm_relu_of,
};

/// Feature maps of several sizes with the same number of images and channels, for layers that all of
/// them share, such as the head of a detector.
///
/// On the Flex backend, `f32` levels lie one after the other in one tensor. A convolution prepares its
/// weight once for all of them, forward and backward, and small levels are computed together. On other
/// backends, each layer computes one level after the other.
///
/// ```
/// use burn::tensor::{Device, Tensor, ops::ConvOptions};
/// use fcos_burn_cpu::{Pyramid, conv2d};
///
/// let device = Device::flex();
/// let levels = [4, 2, 1].map(|size| Tensor::<4>::ones([1, 2, size, size], &device));
/// let weight = Tensor::<4>::ones([3, 2, 3, 3], &device);
/// let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
/// let pyramid = Pyramid::new(levels.to_vec()).conv2d(weight.clone(), None, options.clone());
/// for (found, level) in pyramid.into_levels().into_iter().zip(levels) {
///     let expected = conv2d(level, weight.clone(), None, options.clone());
///     assert_eq!(found.into_data(), expected.into_data());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Pyramid(Levels);

#[derive(Clone, Debug)]
enum Levels {
    Joined(Box<Joined>),
    Apart(Vec<Tensor<4>>),
}

/// Levels in one tensor.
#[derive(Clone, Debug)]
struct Joined {
    /// `[1, pixels, 1, channels]`: the images of the first level, then those of the next ones.
    pixels: Tensor<4>,
    /// The number of images and their size, `[height, width]`, of each level.
    sizes: Arc<[(usize, [usize; 2])]>,
}

impl Pyramid {
    /// A pyramid of these levels, `[batch, channels, height, width]` each.
    ///
    /// # Panics
    ///
    /// If levels have different numbers of channels.
    pub fn new(levels: Vec<Tensor<4>>) -> Self {
        let can_be_joined =
            |level: &Tensor<4>| is_f32_on_flex(level) && level.shape().num_elements() > 0;
        Self(match levels.len() > 1 && levels.iter().all(can_be_joined) {
            true => Levels::Joined(Box::new(Joined::new(levels))),
            false => Levels::Apart(levels),
        })
    }

    /// The levels.
    pub fn into_levels(self) -> Vec<Tensor<4>> {
        match self.0 {
            Levels::Joined(joined) => joined.into_levels(),
            Levels::Apart(levels) => levels,
        }
    }

    /// The number format of all levels; `None` without levels.
    pub fn dtype(&self) -> Option<DType> {
        match &self.0 {
            Levels::Joined(joined) => Some(joined.pixels.dtype()),
            Levels::Apart(levels) => levels.first().map(Tensor::dtype),
        }
    }

    /// The levels in another number format.
    #[must_use]
    pub fn cast(self, format: FloatDType) -> Self {
        match self.dtype() {
            Some(found) if found != DType::from(format) => self.map(|level| level.cast(format)),
            _ => self,
        }
    }

    /// The [`conv2d`] of each level.
    ///
    /// # Panics
    ///
    /// If the shapes do not match.
    #[must_use]
    pub fn conv2d(
        self,
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        options: ConvOptions<2>,
    ) -> Self {
        if let Levels::Joined(joined) = &self.0
            && let Some(output) = joined.conv2d(&weight, &bias, &options)
        {
            return Self(Levels::Joined(Box::new(output)));
        }
        self.map(|level| conv2d(level, weight.clone(), bias.clone(), options.clone()))
    }

    /// The [`group_norm_relu`] of each level.
    ///
    /// # Panics
    ///
    /// If the levels have a different number of channels than the layer.
    #[must_use]
    pub fn group_norm_relu(self, layer: &GroupNorm) -> Self {
        if let Levels::Joined(joined) = &self.0
            && let Some(output) = joined.group_norm_relu(layer)
        {
            return Self(Levels::Joined(Box::new(output)));
        }
        self.map(|level| group_norm_relu(layer, level))
    }

    fn map(self, layer: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self::new(self.into_levels().into_iter().map(layer).collect())
    }
}

impl Joined {
    fn new(levels: Vec<Tensor<4>>) -> Self {
        let sizes = levels.iter().map(|level| {
            let [images, _, height, width] = level.dims();
            (images, [height, width])
        });
        let sizes = sizes.collect();
        let pixels = levels.into_iter().map(|level| {
            let [images, channels, height, width] = level.dims();
            let level = level.permute([0, 2, 3, 1]);
            level.reshape([1, images * height * width, 1, channels])
        });
        let pixels = Tensor::cat(pixels.collect(), 1);
        Self { pixels, sizes }
    }

    /// `[1, channels, pixels, 1]`.
    fn channels_first(&self) -> Tensor<4> {
        self.pixels.clone().permute([0, 3, 1, 2])
    }

    fn from_channels_first(output: Tensor<4>, sizes: Arc<[(usize, [usize; 2])]>) -> Self {
        let pixels = output.permute([0, 2, 3, 1]);
        Self { pixels, sizes }
    }

    /// `None` if this crate does not compute it.
    fn conv2d(
        &self,
        weight: &Tensor<4>,
        bias: &Option<Tensor<1>>,
        options: &ConvOptions<2>,
    ) -> Option<Self> {
        // With a stride, the gradient of the input would differ in its phases between levels.
        if options.stride != [1, 1] {
            return None;
        }
        let input = self.channels_first();
        let parts = supported_parts(&self.sizes, &input, weight, bias.as_ref(), options)?;
        let sizes = parts.iter().map(|part| (part.images, part.geometry.output));
        let sizes = sizes.collect();
        let output = convolve(input, weight.clone(), bias.clone(), parts);
        Some(Self::from_channels_first(output, sizes))
    }

    /// `None` if this crate does not compute it.
    fn group_norm_relu(&self, layer: &GroupNorm) -> Option<Self> {
        let pixels = (self.sizes.iter())
            .flat_map(|(images, [height, width])| repeat_n(height * width, *images));
        let output = group_norm_relu_of(layer, self.channels_first(), pixels.collect())?;
        Some(Self::from_channels_first(output, self.sizes.clone()))
    }

    fn into_levels(self) -> Vec<Tensor<4>> {
        let channels = self.pixels.dims()[3];
        let gradient = SharedGradient::default();
        let pixels = self.pixels.into_dispatch();
        let pixels = <Dispatch as LevelOps>::divided(pixels, gradient.clone());
        let mut start = 0;
        let level = |(images, [height, width]): &(usize, [usize; 2])| {
            let end = start + images * height * width;
            let level = <Dispatch as LevelOps>::level(pixels.clone(), start..end, gradient.clone());
            start = end;
            let level = Tensor::<4>::from_dispatch(level);
            level
                .reshape([*images, *height, *width, channels])
                .permute([0, 3, 1, 2])
        };
        self.sizes.iter().map(level).collect()
    }
}

/// The gradient of the pixels of all levels, which each level writes its part of. Autodiff would make
/// a tensor of zeros for each level and add them up.
#[derive(Clone, Debug, Default)]
struct SharedGradient(Arc<Mutex<Option<Vec<f32>>>>);

/// The division of pixels into levels as operations of the backends that implement them.
#[backend_extension(Flex, Autodiff)]
trait LevelOps: Backend {
    /// The pixels of which [levels](Self::level) are taken.
    fn divided(pixels: FloatTensor<Self>, gradient: SharedGradient) -> FloatTensor<Self>;

    /// The pixels of a level, `[1, pixels, 1, channels]`, in memory of their own.
    fn level(
        pixels: FloatTensor<Self>,
        range: Range<usize>,
        gradient: SharedGradient,
    ) -> FloatTensor<Self>;
}

impl LevelOps for Flex {
    fn divided(pixels: FloatTensor<Self>, _: SharedGradient) -> FloatTensor<Self> {
        pixels
    }

    fn level(
        pixels: FloatTensor<Self>,
        range: Range<usize>,
        _: SharedGradient,
    ) -> FloatTensor<Self> {
        let pixels = pixels.to_contiguous();
        let channels = pixels.shape()[3];
        let level = &values(&pixels)[range.start * channels..range.end * channels];
        tensor(level.to_vec(), [1, range.len(), 1, channels])
    }
}

impl<C: CheckpointStrategy> LevelOps for Autodiff<Flex, C> {
    fn divided(pixels: FloatTensor<Self>, gradient: SharedGradient) -> FloatTensor<Self> {
        let node = pixels.node();
        let output = pixels.into_primitive();
        match Divided.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let shape = output.shape().dims();
                prep.finish((shape, gradient), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn level(
        pixels: FloatTensor<Self>,
        range: Range<usize>,
        gradient: SharedGradient,
    ) -> FloatTensor<Self> {
        let node = pixels.node();
        let [_, all, _, channels] = pixels.primitive().shape().dims();
        let output = Flex::level(pixels.into_primitive(), range.clone(), gradient.clone());
        match Level.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let part = Part {
                    start: range.start * channels,
                    all: all * channels,
                };
                prep.finish((part, gradient), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// Where the values of a level start among all values, and how many these are.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: usize,
    all: usize,
}

#[derive(Debug)]
struct Level;

impl Backward<Flex, 1> for Level {
    type State = (Part, SharedGradient);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (part, SharedGradient(shared)) = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node);
        let [Some(parent)] = ops.parents else { return };
        let gradient = gradient.to_contiguous();
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = shared.is_none();
        let all = shared.get_or_insert_with(|| vec![0.0; part.all]);
        let level = values(&gradient);
        all[part.start..part.start + level.len()].copy_from_slice(level);
        if is_first {
            // Its place is taken by the shared gradient.
            grads.register::<Flex>(parent.id, gradient);
        }
    }
}

#[derive(Debug)]
struct Divided;

impl Backward<Flex, 1> for Divided {
    type State = ([usize; 4], SharedGradient);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (shape, SharedGradient(shared)) = ops.state;
        grads.consume::<Flex>(&ops.node);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let ([Some(parent)], Some(gradient)) = (ops.parents, shared.take()) {
            grads.register::<Flex>(parent.id, tensor(gradient, shape));
        }
    }
}
