//! Layers that all levels of a pyramid share.

use std::{
    iter::repeat_n,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    convolution::{convolve, images_of, supported_parts},
    flex::{is_f32_on_flex, tensor, values},
    fork, group_norm_relu,
    normalization::group_norm_relu_of,
};

/// Feature maps of several sizes with the same number of channels, for layers that all of them share,
/// such as the head of a detector.
///
/// On the Flex backend, `f32` levels lie one after the other in one tensor. A convolution prepares its
/// weight once for all levels, forward and backward, and small levels are computed together. If a layer
/// cannot be computed this way, for instance one with a stride, it and all later layers run on each level
/// separately.
///
/// # Gradients
///
/// All levels share one backward pass. Add up their losses and call `backward` once.
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
    /// `[1, channels, pixels, 1]`: the images of the first level, then those of the next ones. The axes
    /// are in the order that convolutions take: with a permutation between normalization and convolution,
    /// autodiff would keep its output.
    pixels: Tensor<4>,
    /// The number of images and their size, `[height, width]`, of each level.
    sizes: Arc<[(usize, [usize; 2])]>,
}

impl Pyramid {
    /// A pyramid of these levels, `[batch, channels, height, width]` each.
    ///
    /// # Panics
    ///
    /// If levels differ in their number of channels, number format or device.
    pub fn new(levels: Vec<Tensor<4>>) -> Self {
        let shared = |level: &Tensor<4>| (level.dims()[1], level.dtype(), level.device());
        assert!(
            (levels.windows(2)).all(|pair| shared(&pair[0]) == shared(&pair[1])),
            "the levels of a pyramid must have the same number of channels, number format and device"
        );
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

    /// The same pyramid `N` times, for as many uses. See [`fork`](crate::fork()).
    pub fn fork<const N: usize>(self) -> [Self; N] {
        match self.0 {
            Levels::Joined(joined) => {
                let Joined { pixels, sizes } = *joined;
                fork(pixels).map(|pixels| {
                    let sizes = sizes.clone();
                    Self(Levels::Joined(Box::new(Joined { pixels, sizes })))
                })
            }
            Levels::Apart(levels) => {
                let mut uses: [Vec<_>; N] = std::array::from_fn(|_| Vec::new());
                for level in levels {
                    for (levels, level) in uses.iter_mut().zip(fork::<N>(level)) {
                        levels.push(level);
                    }
                }
                uses.map(|levels| Self(Levels::Apart(levels)))
            }
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

    /// The [`conv2d`] of each level, up to rounding: one algorithm is chosen for all levels.
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

    /// Applies a layer to one level after the other. They stay apart: joining them takes a copy.
    fn map(self, layer: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        let levels = self.into_levels().into_iter();
        Self(Levels::Apart(levels.map(layer).collect()))
    }
}

impl Joined {
    fn new(levels: Vec<Tensor<4>>) -> Self {
        let sizes = levels.iter().map(images_of).collect();
        let pixels = levels.into_iter().map(|level| {
            let [images, channels, height, width] = level.dims();
            let level = level.permute([0, 2, 3, 1]);
            level.reshape([1, images * height * width, 1, channels])
        });
        let pixels = Tensor::cat(pixels.collect(), 1).permute([0, 3, 1, 2]);
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
        let input = self.pixels.clone();
        let parts = supported_parts(&self.sizes, &input, weight, bias.as_ref(), options)?;
        let sizes = parts.iter().map(|part| (part.images, part.geometry.output));
        let sizes = sizes.collect();
        let pixels = convolve(input, weight.clone(), bias.clone(), parts);
        Some(Self { pixels, sizes })
    }

    /// `None` if this crate does not compute it.
    fn group_norm_relu(&self, layer: &GroupNorm) -> Option<Self> {
        let images = (self.sizes.iter())
            .flat_map(|(images, [height, width])| repeat_n(height * width, *images));
        let pixels = group_norm_relu_of(layer, self.pixels.clone(), images.collect())?;
        let sizes = self.sizes.clone();
        Some(Self { pixels, sizes })
    }

    fn into_levels(self) -> Vec<Tensor<4>> {
        let channels = self.pixels.dims()[1];
        let gradients = LevelGradients::default();
        let pixels = self.pixels.permute([0, 2, 3, 1]).into_dispatch();
        let pixels = <Dispatch as LevelOps>::divided(pixels, gradients.clone());
        let mut start = 0;
        let level = |(images, [height, width]): &(usize, [usize; 2])| {
            let end = start + images * height * width;
            let level =
                <Dispatch as LevelOps>::level(pixels.clone(), start..end, gradients.clone());
            start = end;
            let level = Tensor::<4>::from_dispatch(level);
            level
                .reshape([*images, *height, *width, channels])
                .permute([0, 3, 1, 2])
        };
        self.sizes.iter().map(level).collect()
    }
}

/// The gradients of levels. Autodiff would make a tensor of zeros for each level and add them up.
#[derive(Clone, Debug, Default)]
struct LevelGradients(Arc<Mutex<Vec<LevelGradient>>>);

#[derive(Debug)]
struct LevelGradient {
    pixels: Range<usize>,
    gradient: FloatTensor<Flex>,
}

impl LevelGradients {
    fn lock(&self) -> MutexGuard<'_, Vec<LevelGradient>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The division of pixels into levels as operations of the backends that implement them.
#[backend_extension(Flex, Autodiff)]
trait LevelOps: Backend {
    /// The pixels from which [levels](Self::level) are taken.
    fn divided(pixels: FloatTensor<Self>, gradients: LevelGradients) -> FloatTensor<Self>;

    /// The pixels of a level, `[1, pixels, 1, channels]`, in memory of their own.
    fn level(
        pixels: FloatTensor<Self>,
        range: Range<usize>,
        gradients: LevelGradients,
    ) -> FloatTensor<Self>;
}

impl LevelOps for Flex {
    fn divided(pixels: FloatTensor<Self>, _: LevelGradients) -> FloatTensor<Self> {
        pixels
    }

    fn level(
        pixels: FloatTensor<Self>,
        range: Range<usize>,
        _: LevelGradients,
    ) -> FloatTensor<Self> {
        let pixels = pixels.to_contiguous();
        let channels = pixels.shape()[3];
        let level = &values(&pixels)[range.start * channels..range.end * channels];
        tensor(level.to_vec(), [1, range.len(), 1, channels])
    }
}

impl<C: CheckpointStrategy> LevelOps for Autodiff<Flex, C> {
    fn divided(pixels: FloatTensor<Self>, gradients: LevelGradients) -> FloatTensor<Self> {
        let node = pixels.node();
        let output = pixels.into_primitive();
        match Divided.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let shape = output.shape().dims();
                prep.finish((shape, gradients), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn level(
        pixels: FloatTensor<Self>,
        range: Range<usize>,
        gradients: LevelGradients,
    ) -> FloatTensor<Self> {
        let node = pixels.node();
        let output = Flex::level(pixels.into_primitive(), range.clone(), gradients.clone());
        match Level.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((range, gradients), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Level;

impl Backward<Flex, 1> for Level {
    type State = (Range<usize>, LevelGradients);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (pixels, gradients) = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node);
        gradients.lock().push(LevelGradient { pixels, gradient });
    }
}

#[derive(Debug)]
struct Divided;

impl Backward<Flex, 1> for Divided {
    type State = ([usize; 4], LevelGradients);

    /// Burn runs the steps in the order of their depth, so all levels have run. They register no gradient
    /// for this node, so there is none to consume.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([_, pixels, _, channels], gradients) = ops.state;
        let mut gradients = std::mem::take(&mut *gradients.lock());
        gradients.sort_by_key(|level| level.pixels.start);
        let mut all = Vec::with_capacity(pixels * channels);
        for level in gradients {
            // Levels without a gradient.
            all.resize(level.pixels.start * channels, 0.0);
            all.extend_from_slice(values(&level.gradient.to_contiguous()));
            let end = level.pixels.end * channels;
            assert_eq!(all.len(), end, "the gradient of a level");
        }
        all.resize(pixels * channels, 0.0);
        if let [Some(parent)] = ops.parents {
            grads.register::<Flex>(parent.id, tensor(all, [1, pixels, 1, channels]));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{nn::GroupNormConfig, tensor::Device};

    use super::*;
    use crate::{flex::untracked, simd::Level};

    #[test]
    fn a_convolution_does_not_keep_levels_that_can_be_computed_again() {
        let _level = Level::hold();
        let device = Device::flex().autodiff();
        let level = |size| Tensor::<4>::ones([2, 4, size, size], &device).require_grad();
        let layer = GroupNormConfig::new(2, 4).init(&device);
        let pyramid = Pyramid::new(vec![level(5), level(3)]).group_norm_relu(&layer);
        let Levels::Joined(joined) = pyramid.clone().0 else {
            panic!("the levels are joined");
        };
        let weight = Tensor::<4>::ones([3, 4, 3, 3], &device).require_grad();
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let output = pyramid.conv2d(weight.clone(), None, options).into_levels();
        let memory = untracked(&joined.pixels.without_autodiff()).unwrap();
        assert!(memory.is_unique());
        let sum = (output.into_iter().map(Tensor::sum))
            .reduce(|a, b| a + b)
            .unwrap();
        assert!(weight.grad(&sum.backward()).is_some());
    }
}
