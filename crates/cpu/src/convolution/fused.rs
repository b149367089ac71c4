//! Convolutions whose sums are scaled, shifted, added to and clipped before they are written.

use std::sync::Arc;

use burn::{
    backend::{Flex, tensor::FloatTensor},
    tensor::{DType, Tensor, ops::ConvOptions},
};

use crate::{
    activation::{add_relu, relu},
    flex::{channels_last, from_untracked, untracked, values},
    product::{Finish, ProductFormat},
};

use super::{
    compute, conv2d, convolve_scaled, images_of, maps::Part, packed_weights, supported_parts,
};

/// What becomes of the output of a convolution: relu(`scale` · output + `shift` + `addend`), each
/// part of which may be left out.
#[derive(Clone, Debug, Default)]
pub struct Epilogue {
    /// One factor for each filter, `[filters]`, such as that of a normalization with fixed
    /// statistics.
    pub scale: Option<Tensor<1>>,
    /// One value for each filter, `[filters]`, such as a bias.
    pub shift: Option<Tensor<1>>,
    /// A tensor of the shape of the output, such as the shortcut of a residual block.
    pub addend: Option<Tensor<4>>,
    /// Whether negative values become 0.
    pub relu: bool,
}

/// [`conv2d`] without bias, followed by `epilogue`.
///
/// Without autodiff, the output of the convolution is not written before the epilogue. With autodiff, scale
/// and shift are part of the convolution if both are given and neither requires a gradient; otherwise, and on
/// other backends, the weight is multiplied by the scale. [`add_relu`] and [`relu`] do the rest.
///
/// ```
/// use burn::tensor::{Device, Tensor, ops::ConvOptions};
/// use fcos_burn_cpu::{Epilogue, conv2d_fused};
///
/// let device = Device::flex();
/// let input = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0]]]], &device);
/// let weight = Tensor::<4>::from_floats([[[[2.0]]]], &device);
/// let epilogue = Epilogue {
///     shift: Some(Tensor::from_floats([-5.0], &device)),
///     relu: true,
///     ..Epilogue::default()
/// };
/// let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
/// let output = conv2d_fused(input, weight, epilogue, options);
/// let expected = Tensor::<4>::from_floats([[[[0.0, 0.0, 1.0]]]], &device);
/// assert_eq!(output.into_data(), expected.into_data());
/// ```
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn conv2d_fused(
    input: Tensor<4>,
    weight: Tensor<4>,
    epilogue: Epilogue,
    options: ConvOptions<2>,
) -> Tensor<4> {
    for (vector, name) in [(&epilogue.scale, "scale"), (&epilogue.shift, "shift")] {
        if let Some(vector) = vector {
            let filters = weight.dims()[0];
            assert_eq!(
                vector.dims(),
                [filters],
                "{name} must have one value per filter"
            );
        }
    }
    match Fused::new(&input, &weight, &epilogue, &options) {
        Some(fused) => fused.compute(epilogue.relu),
        None => in_steps(input, weight, epilogue, options),
    }
}

fn in_steps(
    input: Tensor<4>,
    weight: Tensor<4>,
    epilogue: Epilogue,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let output = match (epilogue.scale, epilogue.shift) {
        (Some(scale), Some(shift)) => {
            let parts = supported_parts(
                &[images_of(&input)],
                &input,
                &weight,
                Some(&shift),
                &options,
            );
            match parts {
                Some(parts) if scale.dtype() == DType::F32 => {
                    convolve_scaled(input, weight, [scale, shift], parts)
                }
                _ => conv2d(input, times(weight, scale), Some(shift), options),
            }
        }
        (Some(scale), None) => conv2d(input, times(weight, scale), None, options),
        (None, shift) => conv2d(input, weight, shift, options),
    };
    if let Some(addend) = &epilogue.addend {
        assert_is_of_output(addend, output.dims());
    }
    match (epilogue.addend, epilogue.relu) {
        (Some(addend), true) => add_relu(output, addend),
        (Some(addend), false) => output + addend,
        (None, true) => relu(output),
        (None, false) => output,
    }
}

/// Each filter times its scale.
fn times(weight: Tensor<4>, scale: Tensor<1>) -> Tensor<4> {
    weight * scale.reshape([-1, 1, 1, 1])
}

fn assert_is_of_output(addend: &Tensor<4>, shape: [usize; 4]) {
    assert_eq!(
        addend.dims(),
        shape,
        "the addend must have the shape of the output"
    );
}

/// The tensors of a convolution without autodiff.
struct Fused {
    input: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    scale: Option<FloatTensor<Flex>>,
    shift: Option<FloatTensor<Flex>>,
    addend: Option<FloatTensor<Flex>>,
    format: ProductFormat,
    parts: Arc<[Part]>,
}

impl Fused {
    /// `None` if this crate does not compute it in one step.
    fn new(
        input: &Tensor<4>,
        weight: &Tensor<4>,
        epilogue: &Epilogue,
        options: &ConvOptions<2>,
    ) -> Option<Self> {
        let parts = supported_parts(&[images_of(input)], input, weight, None, options)?;
        let vector = |vector: &Option<Tensor<1>>| match vector {
            Some(vector) => untracked(vector).map(|vector| Some(vector.to_contiguous())),
            None => Some(None),
        };
        let addend = match &epilogue.addend {
            Some(addend) => {
                let [height, width] = parts[0].geometry.output;
                let shape = [input.dims()[0], weight.dims()[0], height, width];
                assert_is_of_output(addend, shape);
                Some(channels_last(&untracked(addend)?))
            }
            None => None,
        };
        Some(Self {
            input: untracked(input)?,
            weight: untracked(weight)?,
            scale: vector(&epilogue.scale)?,
            shift: vector(&epilogue.shift)?,
            addend,
            format: ProductFormat::current(),
            parts,
        })
    }

    fn compute(&self, relu: bool) -> Tensor<4> {
        let finish = Finish {
            scale: self.scale.as_ref().map(values),
            bias: self.shift.as_ref().map(values),
            addend: self.addend.as_ref().map(values),
            relu,
        };
        let pack = packed_weights::kept;
        from_untracked(compute(
            &self.input,
            &self.weight,
            pack,
            finish,
            self.format,
            &self.parts,
        ))
    }
}
