//! How the terms of products are multiplied and added up.

use pulp::Simd;

/// Multiplies and adds terms, in vectors.
pub trait Arithmetic: Copy {
    type Simd: Simd;

    fn simd(self) -> Self::Simd;

    /// `sum` plus the products of one term of the left factor with those of the right one.
    fn multiply_add(
        self,
        left: f32,
        right: <Self::Simd as Simd>::f32s,
        sum: <Self::Simd as Simd>::f32s,
    ) -> <Self::Simd as Simd>::f32s;
}

/// A product that any arithmetic computes.
pub trait Product {
    fn compute<A: Arithmetic>(self, arithmetic: A);
}

/// A term is a value of 32 bits.
#[derive(Clone, Copy)]
pub struct Singles<S>(pub S);

impl<S: Simd> Arithmetic for Singles<S> {
    type Simd = S;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn multiply_add(self, left: f32, right: S::f32s, sum: S::f32s) -> S::f32s {
        self.0.mul_add_e_f32s(self.0.splat_f32s(left), right, sum)
    }
}

/// A term is a pair of brain floats, which are multiplied in 32 bits: the values of AVX-512 BF16 with any
/// instructions, subnormal numbers aside. Only tests use it, since it is slower than [`Singles`].
#[derive(Clone, Copy)]
pub struct Pairs<S>(pub S);

impl<S: Simd> Arithmetic for Pairs<S> {
    type Simd = S;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn multiply_add(self, left: f32, right: S::f32s, sum: S::f32s) -> S::f32s {
        let simd = self.0;
        let left = simd.transmute_u32s_f32s(simd.splat_f32s(left));
        let right = simd.transmute_u32s_f32s(right);
        let first = |pair: S::u32s| {
            simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pair, simd.splat_u32s(16)))
        };
        let second =
            |pair: S::u32s| simd.transmute_f32s_u32s(simd.and_u32s(pair, simd.splat_u32s(!0xffff)));
        let sum = simd.mul_add_e_f32s(second(left), second(right), sum);
        simd.mul_add_e_f32s(first(left), first(right), sum)
    }
}
