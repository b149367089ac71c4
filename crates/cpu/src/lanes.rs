//! Small matrices side by side, a lane each.

use std::{
    marker::PhantomData,
    ops::{Add, Mul, Sub},
};

use pulp::{Simd, WithSimd};

use crate::simd::dispatch;

/// Tiles or channels that are transformed together: a multiple of every processor's lanes.
pub const LANES: usize = 16;

/// A value of each of them.
pub type Lanes = [f32; LANES];

/// Values in a register.
#[derive(Clone, Copy)]
pub struct Vector<S: Simd> {
    simd: S,
    values: S::f32s,
}

impl<S: Simd> Add for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let values = self.simd.add_f32s(self.values, other.values);
        Self { values, ..self }
    }
}

impl<S: Simd> Sub for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let values = self.simd.sub_f32s(self.values, other.values);
        Self { values, ..self }
    }
}

impl<S: Simd> Mul<Vector<S>> for f32 {
    type Output = Vector<S>;

    #[inline(always)]
    fn mul(self, vector: Vector<S>) -> Vector<S> {
        let factor = vector.simd.splat_f32s(self);
        let values = vector.simd.mul_f32s(factor, vector.values);
        Vector { values, ..vector }
    }
}

/// A matrix T of `M` rows and `N` columns.
pub trait Transform<const N: usize, const M: usize> {
    /// T of a column.
    fn apply<S: Simd>(column: [Vector<S>; N]) -> [Vector<S>; M];
}

/// T x Tᵀ of `N` × `N` values x, row by row, into `M` × `M`.
pub fn sandwich<T: Transform<N, M>, const N: usize, const M: usize>(
    input: &[Lanes],
    output: &mut [Lanes],
) {
    dispatch(Sandwich::<T, N, M> {
        input: &input[..N * N],
        output: &mut output[..M * M],
        transform: PhantomData,
    });
}

struct Sandwich<'a, T, const N: usize, const M: usize> {
    input: &'a [Lanes],
    output: &'a mut [Lanes],
    transform: PhantomData<T>,
}

impl<T: Transform<N, M>, const N: usize, const M: usize> WithSimd for Sandwich<'_, T, N, M> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "columns become rows")]
    fn with_simd<S: Simd>(self, simd: S) {
        let zero = Vector {
            simd,
            values: simd.splat_f32s(0.0),
        };
        for part in 0..LANES / S::F32_LANES {
            let mut half = [[zero; N]; M];
            for j in 0..N {
                let mut column = [zero; N];
                for i in 0..N {
                    column[i].values = S::as_simd_f32s(&self.input[i * N + j]).0[part];
                }
                let column = T::apply(column);
                for i in 0..M {
                    half[i][j] = column[i];
                }
            }
            for i in 0..M {
                let row = T::apply(half[i]);
                for j in 0..M {
                    S::as_mut_simd_f32s(&mut self.output[i * M + j]).0[part] = row[j].values;
                }
            }
        }
    }
}
