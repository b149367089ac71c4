//! Nearest-neighbor upsampling that is added to a finer map, as in a feature pyramid.

use std::{mem::MaybeUninit, ops::Range};

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
    tensor::{
        Tensor, module,
        ops::{InterpolateMode, InterpolateOptions},
    },
};
use rayon::prelude::*;

use crate::{
    flex::{channels_first, channels_last, is_f32_on_flex, update_chunks, values},
    nhwc::Nhwc,
    uninit::{vec_written_by, zeroed},
};

/// `fine` plus `coarse`, `[batch, channels, height, width]` each, where `coarse` is resized to the
/// height and width of `fine` by nearest neighbors.
///
/// # Panics
///
/// Panics on the Flex backend if batch or channels differ, or if `coarse` is empty and `fine` is not.
pub fn add_upsampled(fine: Tensor<4>, coarse: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = fine.dims();
    let is_supported =
        is_f32_on_flex(&fine) && is_f32_on_flex(&coarse) && fine.shape().num_elements() > 0;
    if !is_supported {
        let options = InterpolateOptions::new(InterpolateMode::Nearest);
        return fine + module::interpolate(coarse, options.with_output_size([height, width]));
    }
    assert_eq!(
        coarse.dims()[..2],
        [batch, channels],
        "batch and channels of the coarse map"
    );
    assert!(coarse.shape().num_elements() > 0, "the coarse map is empty");
    let [fine, coarse] = [fine, coarse].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as UpsamplingOps>::add_nearest(fine, coarse))
}

/// The sum as an operation of the backends that implement it.
#[backend_extension(Flex, Autodiff)]
trait UpsamplingOps: Backend {
    fn add_nearest(fine: FloatTensor<Self>, coarse: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl UpsamplingOps for Flex {
    fn add_nearest(fine: FloatTensor<Self>, coarse: FloatTensor<Self>) -> FloatTensor<Self> {
        let [_, channels, height, width] = fine.shape().dims();
        let [_, _, coarse_height, coarse_width] = coarse.shape().dims();
        let fine_in_order = channels_last(&fine);
        drop(fine);
        let coarse = channels_last(&coarse);
        let coarse = Nhwc::new(values(&coarse), [coarse_height, coarse_width], channels);
        let columns: Vec<usize> = (0..width)
            .map(|x| nearest(x, coarse_width, width))
            .collect();
        let sum = update_chunks(fine_in_order, width * channels, |index, row| {
            let y = nearest(index % height, coarse_height, height);
            let coarse = coarse.row(index / height, y);
            for (pixel, column) in row.chunks_exact_mut(channels).zip(&columns) {
                let coarse = &coarse[column * channels..][..channels];
                for (value, coarse) in pixel.iter_mut().zip(coarse) {
                    *value += coarse;
                }
            }
        });
        sum.permute(&[0, 3, 1, 2])
    }
}

/// The coarse index of the nearest neighbor of a fine one.
fn nearest(index: usize, coarse: usize, fine: usize) -> usize {
    let position = index as f64 * (coarse as f64 / fine as f64);
    (position.floor() as usize).min(coarse - 1)
}

/// The fine indices whose nearest neighbor is each coarse one.
fn neighbors(coarse: usize, fine: usize) -> Vec<Range<usize>> {
    let mut end = 0;
    (0..coarse)
        .map(|index| {
            let start = end;
            while end < fine && nearest(end, coarse, fine) == index {
                end += 1;
            }
            start..end
        })
        .collect()
}

impl<C: CheckpointStrategy> UpsamplingOps for Autodiff<Flex, C> {
    fn add_nearest(fine: FloatTensor<Self>, coarse: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [fine.node(), coarse.node()];
        let [_, _, height, width] = coarse.shape().dims();
        let output = Flex::add_nearest(fine.into_primitive(), coarse.into_primitive());
        match AddNearest.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish([height, width], output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct AddNearest;

impl Backward<Flex, 2> for AddNearest {
    /// The size of the coarse map.
    type State = [usize; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let [fine, coarse] = ops.parents;
        if let Some(coarse) = coarse {
            let gradient = gradient_of_coarse(&gradient, ops.state);
            grads.register::<Flex>(coarse.id, gradient);
        }
        if let Some(fine) = fine {
            grads.register::<Flex>(fine.id, gradient);
        }
    }
}

/// The sums of the gradients of all pixels that a coarse one was added to.
fn gradient_of_coarse(
    gradient: &FloatTensor<Flex>,
    [height, width]: [usize; 2],
) -> FloatTensor<Flex> {
    let [batch, channels, fine_height, fine_width] = gradient.shape().dims();
    let gradient = channels_last(gradient);
    let gradient = Nhwc::new(values(&gradient), [fine_height, fine_width], channels);
    let [rows, columns] = [neighbors(height, fine_height), neighbors(width, fine_width)];
    let write = |index: usize, output: &mut [MaybeUninit<f32>]| {
        let output = zeroed(output);
        for y in rows[index % height].clone() {
            let row = gradient.row(index / height, y);
            for (output, columns) in output.chunks_exact_mut(channels).zip(&columns) {
                for pixel in
                    row[columns.start * channels..columns.end * channels].chunks_exact(channels)
                {
                    for (output, value) in output.iter_mut().zip(pixel) {
                        *output += value;
                    }
                }
            }
        }
    };
    // SAFETY: the rows cover all values, and each is written.
    #[allow(unsafe_code)]
    let output = unsafe {
        vec_written_by(batch * height * width * channels, |output| {
            let rows = output.par_chunks_exact_mut(width * channels).enumerate();
            rows.for_each(|(index, output)| write(index, output));
        })
    };
    channels_first(output, [batch, height, width, channels])
}
