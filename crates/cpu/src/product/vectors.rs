//! Vectors from slices and to them, with fewer values than lanes at the end.

use std::mem::MaybeUninit;

use pulp::{Simd, bytemuck::cast_slice};

/// The first values of a slice, and zeros if it has fewer values than there are lanes.
#[inline(always)]
pub fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match values.get(..S::F32_LANES) {
        Some(values) => S::as_simd_f32s(values).0[0],
        None => simd.partial_load_f32s(values),
    }
}

/// Writes as many values as the slice has, at most all lanes.
#[inline(always)]
pub fn store<S: Simd>(slice: &mut [MaybeUninit<f32>], vector: S::f32s) {
    let vector = [vector];
    let values: &[f32] = cast_slice(&vector);
    match slice.get_mut(..S::F32_LANES) {
        Some(slice) => {
            slice.write_copy_of_slice(values);
        }
        None => {
            for (slot, value) in slice.iter_mut().zip(values) {
                slot.write(*value);
            }
        }
    }
}
