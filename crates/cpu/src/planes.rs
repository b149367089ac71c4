//! Sums over the planes of feature maps, and maps of them, in parallel.

use pulp::Arch;
use rayon::prelude::*;

use crate::lanes::{LANES, Lanes};

/// Values that are worth a task of their own.
const TASK: usize = 1 << 14;

/// `of` each plane of `pixels` values, in order.
pub fn map<T: Send>(
    values: &[f32],
    pixels: usize,
    of: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    let planes = planes_of_task(pixels);
    values
        .par_chunks(pixels * planes)
        .enumerate()
        .flat_map_iter(|(task, values)| {
            let of = &of;
            let planes = values.chunks_exact(pixels).enumerate();
            Arch::new().dispatch(|| {
                planes
                    .map(|(plane, values)| of(task * planes_of_task(pixels) + plane, values))
                    .collect::<Vec<_>>()
            })
        })
        .collect()
}

/// Fills each plane of `output`.
pub fn fill(output: &mut [f32], pixels: usize, with: impl Fn(usize, &mut [f32]) + Sync) {
    let planes = planes_of_task(pixels);
    output
        .par_chunks_mut(pixels * planes)
        .enumerate()
        .for_each(|(task, values)| {
            Arch::new().dispatch(|| {
                for (plane, values) in values.chunks_exact_mut(pixels).enumerate() {
                    with(task * planes + plane, values);
                }
            });
        });
}

fn planes_of_task(pixels: usize) -> usize {
    (TASK / pixels).max(1)
}

/// The sum of `of` the values of two planes.
#[inline(always)]
pub fn sum(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = Lanes::splat(0.0);
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_lanes.remainder().iter().zip(b_lanes.remainder());
    let rest: f32 = rest.map(|(a, b)| of(*a, *b)).sum();
    for (a, b) in a_lanes.zip(b_lanes) {
        for (sum, (a, b)) in sums.0.iter_mut().zip(a.iter().zip(b)) {
            *sum += of(*a, *b);
        }
    }
    sums.0.iter().sum::<f32>() + rest
}
