//! The linear transforms of F(4×4, 3×3), applied to many channels at once: one in each lane.
//!
//! Their matrices interpolate polynomials at 0, ±1/√2, ±√2 and ∞. The results round less than
//! with the usual points 0, ±1, ±2 and ∞.

use std::{
    f32::consts::{FRAC_1_SQRT_2, SQRT_2},
    mem::MaybeUninit,
    ops::{Add, Mul, Sub},
};

use pulp::Simd;

/// The side of an output tile.
pub const TILE: usize = 4;

/// The side of an input tile, and of a transformed tile.
pub const INPUT_TILE: usize = 6;

/// The elements of a transformed tile.
pub const ELEMENTS: usize = INPUT_TILE * INPUT_TILE;

/// The interpolation points ±`NEAR` lie next to 0.
const NEAR: f32 = FRAC_1_SQRT_2;

/// The interpolation points ±`FAR` lie next to ∞.
const FAR: f32 = SQRT_2;

/// Elements in a vector register.
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
    /// T times a column vector.
    fn apply<S: Simd>(column: [Vector<S>; N]) -> [Vector<S>; M];
}

/// T x Tᵀ for `N × N` matrices x, one in each lane: `load` gives the elements at a row and a column,
/// `store` takes those of the result.
#[inline(always)]
#[allow(
    clippy::needless_range_loop,
    reason = "the indices of rows and columns are swapped"
)]
pub fn transform_2d<T: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    load: impl Fn(usize, usize) -> S::f32s,
    mut store: impl FnMut(usize, usize, S::f32s),
) {
    // Zeros would be written to memory first, for each tile.
    let mut half = [[MaybeUninit::uninit(); N]; M];
    for j in 0..N {
        let column = T::apply(std::array::from_fn(|i| Vector {
            simd,
            values: load(i, j),
        }));
        for i in 0..M {
            half[i][j].write(column[i]);
        }
    }
    for i in 0..M {
        // SAFETY: the loops over the columns have written all rows.
        #[allow(unsafe_code)]
        let row = T::apply(std::array::from_fn(|j| unsafe { half[i][j].assume_init() }));
        for j in 0..M {
            store(i, j, row[j].values);
        }
    }
}

/// Bᵀ, for an input tile.
pub struct Input;

impl Transform<INPUT_TILE, INPUT_TILE> for Input {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [Vector<S>; INPUT_TILE]) -> [Vector<S>; INPUT_TILE] {
        let (near, near_odd) = (e - 2.0 * c, NEAR * (d - 2.0 * b));
        let (far, far_odd) = (e - 0.5 * c, FAR * (d - 0.5 * b));
        [
            a - 2.5 * c + e,
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            b - 2.5 * d + f,
        ]
    }
}

/// Aᵀ, to an output tile.
pub struct Output;

impl Transform<INPUT_TILE, TILE> for Output {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [Vector<S>; INPUT_TILE]) -> [Vector<S>; TILE] {
        let (near, near_odd) = (b + c, NEAR * (b - c));
        let (far, far_odd) = (d + e, FAR * (d - e));
        [
            a + near + far,
            near_odd + far_odd,
            0.5 * near + 2.0 * far,
            0.5 * near_odd + 2.0 * far_odd + f,
        ]
    }
}

/// A, for the gradient of an output tile.
pub struct OutputGradient;

impl Transform<TILE, INPUT_TILE> for OutputGradient {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d]: [Vector<S>; TILE]) -> [Vector<S>; INPUT_TILE] {
        let (near, near_odd) = (a + 0.5 * c, NEAR * (b + 0.5 * d));
        let (far, far_odd) = (a + 2.0 * c, FAR * (b + 2.0 * d));
        [
            a,
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            d,
        ]
    }
}

/// G, for a kernel.
pub struct Kernel;

impl Transform<3, INPUT_TILE> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c]: [Vector<S>; 3]) -> [Vector<S>; INPUT_TILE] {
        let (near, near_odd) = ((-2.0 / 3.0) * (a + 0.5 * c), (-2.0 / 3.0 * NEAR) * b);
        let (far, far_odd) = ((1.0 / 6.0) * (a + 2.0 * c), (1.0 / 6.0 * FAR) * b);
        [
            a,
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            c,
        ]
    }
}

/// Gᵀ, to the gradient of a kernel.
pub struct KernelGradient;

impl Transform<INPUT_TILE, 3> for KernelGradient {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [Vector<S>; INPUT_TILE]) -> [Vector<S>; 3] {
        let (near, far) = (b + c, d + e);
        [
            a - (2.0 / 3.0) * near + (1.0 / 6.0) * far,
            (-2.0 / 3.0 * NEAR) * (b - c) + (1.0 / 6.0 * FAR) * (d - e),
            (1.0 / 3.0) * (far - near) + f,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use pulp::WithSimd;

    use super::*;
    use crate::simd::{Level, dispatch};

    const LANES: usize = 16;

    /// One element of matrices beside each other.
    type Lanes = [f32; LANES];

    struct BothSides<'a, T, const N: usize, const M: usize> {
        input: &'a [Lanes],
        output: &'a mut [Lanes],
        transform: PhantomData<T>,
    }

    impl<T: Transform<N, M>, const N: usize, const M: usize> WithSimd for BothSides<'_, T, N, M> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for part in 0..LANES / S::F32_LANES {
                transform_2d::<T, S, N, M>(
                    simd,
                    |i, j| S::as_simd_f32s(&self.input[i * N + j]).0[part],
                    |i, j, values| {
                        S::as_mut_simd_f32s(&mut self.output[i * M + j]).0[part] = values;
                    },
                );
            }
        }
    }

    /// Small matrices of pseudo-random numbers between -1 and 1, one in each lane.
    fn numbers(side: usize, seed: usize) -> Vec<Lanes> {
        let number = |index: usize| ((index + seed * 7919) as f32 * 78.233).sin();
        (0..side * side)
            .map(|element| std::array::from_fn(|lane| number(element * LANES + lane)))
            .collect()
    }

    /// The transformed matrices, which must be the same at every level.
    fn transformed<T: Transform<N, M>, const N: usize, const M: usize>(
        input: &[Lanes],
    ) -> Vec<Lanes> {
        let results = Level::each(|_| {
            let mut output = vec![[f32::NAN; LANES]; M * M];
            dispatch(BothSides::<T, N, M> {
                input,
                output: &mut output,
                transform: PhantomData,
            });
            output
        });
        assert!(results.iter().all(|result| *result == results[0]));
        results[0].clone()
    }

    fn multiplied(a: &[Lanes], b: &[Lanes]) -> Vec<Lanes> {
        let product = |(a, b): (&Lanes, &Lanes)| std::array::from_fn(|lane| a[lane] * b[lane]);
        a.iter().zip(b).map(product).collect()
    }

    /// Asserts that each element of `found`, `side × side`, is the sum over `count × count`
    /// offsets of the products of the elements of `a` and `b` at these offsets.
    fn assert_correlation(
        found: &[Lanes],
        side: usize,
        (a, a_side): (&[Lanes], usize),
        (b, b_side): (&[Lanes], usize),
    ) {
        for (y, x, lane) in (0..side)
            .flat_map(|y| (0..side).flat_map(move |x| (0..LANES).map(move |lane| (y, x, lane))))
        {
            let expected: f64 = (0..b_side * b_side)
                .map(|offset| {
                    let (v, u) = (offset / b_side, offset % b_side);
                    let a = a[(y + v) * a_side + x + u][lane];
                    f64::from(a) * f64::from(b[offset][lane])
                })
                .sum();
            let found = f64::from(found[y * side + x][lane]);
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn transforms_compute_the_correlation_with_a_kernel() {
        let (tile, kernel) = (numbers(INPUT_TILE, 1), numbers(3, 2));
        let product = multiplied(
            &transformed::<Input, INPUT_TILE, INPUT_TILE>(&tile),
            &transformed::<Kernel, 3, INPUT_TILE>(&kernel),
        );
        let output = transformed::<Output, INPUT_TILE, TILE>(&product);
        assert_correlation(&output, TILE, (&tile, INPUT_TILE), (&kernel, 3));
    }

    #[test]
    fn transforms_compute_the_gradient_of_a_kernel() {
        let (tile, gradient) = (numbers(INPUT_TILE, 3), numbers(TILE, 4));
        let product = multiplied(
            &transformed::<Input, INPUT_TILE, INPUT_TILE>(&tile),
            &transformed::<OutputGradient, TILE, INPUT_TILE>(&gradient),
        );
        let kernel = transformed::<KernelGradient, INPUT_TILE, 3>(&product);
        assert_correlation(&kernel, 3, (&tile, INPUT_TILE), (&gradient, TILE));
    }
}
