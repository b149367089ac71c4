//! How the terms of products are multiplied and added up.

use pulp::{Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::bf16::Bf16;
use super::format::ProductFormat;
use crate::simd::dispatch;

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

/// Computes a product whose factors are in a format.
pub fn multiply(format: ProductFormat, product: impl Product) {
    match format {
        ProductFormat::F32 => dispatch(InSingles(product)),
        ProductFormat::Bf16 => {
            #[cfg(target_arch = "x86_64")]
            if let Some(bf16) = Bf16::new() {
                return bf16.compute(product);
            }
            dispatch(InPairs(product));
        }
    }
}

struct InSingles<P>(P);

impl<P: Product> WithSimd for InSingles<P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.compute(Singles(simd));
    }
}

struct InPairs<P>(P);

impl<P: Product> WithSimd for InPairs<P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.compute(Pairs(simd));
    }
}

/// A term is a value of 32 bits.
#[derive(Clone, Copy)]
struct Singles<S>(S);

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
struct Pairs<S>(S);

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
