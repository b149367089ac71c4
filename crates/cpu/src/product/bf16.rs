//! Products of brain floats with AVX-512 BF16.

use std::{
    arch::x86_64::{
        __m256bh, __m256i, __m512bh, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_dpbf16_ps,
        _mm512_or_si512, _mm512_slli_epi32,
    },
    mem::transmute,
};

use pulp::{NullaryFnOnce, cast, f32x16, x86::V4};

use super::arithmetic::{Arithmetic, Product};
use crate::simd::{Level, current, expected};

pulp::simd_type! {
    /// Those of [`V4`] and those for brain floats.
    struct Instructions {
        pub sse: "sse",
        pub sse2: "sse2",
        pub fxsr: "fxsr",
        pub sse3: "sse3",
        pub ssse3: "ssse3",
        pub sse4_1: "sse4.1",
        pub sse4_2: "sse4.2",
        pub popcnt: "popcnt",
        pub avx: "avx",
        pub avx2: "avx2",
        pub bmi1: "bmi1",
        pub bmi2: "bmi2",
        pub fma: "fma",
        pub lzcnt: "lzcnt",
        pub avx512f: "avx512f",
        pub avx512bw: "avx512bw",
        pub avx512cd: "avx512cd",
        pub avx512dq: "avx512dq",
        pub avx512vl: "avx512vl",
        pub avx512bf16: "avx512bf16",
    }
}

/// A term is a pair of brain floats. One instruction adds both products to the sum.
#[derive(Clone, Copy)]
pub struct Bf16 {
    simd: V4,
    instructions: Instructions,
}

impl Bf16 {
    /// `None` if the kernels use other instructions, or the processor has none for brain floats.
    pub fn new() -> Option<Self> {
        Self::at(current())
    }

    /// Whether kernels can have these instructions. Does not fix the level.
    pub fn is_available() -> bool {
        Self::at(expected()).is_some()
    }

    fn at(level: Level) -> Option<Self> {
        match level {
            Level::Avx512(simd) => Some(Self {
                simd,
                instructions: Instructions::try_new()?,
            }),
            _ => None,
        }
    }

    pub fn compute(self, product: impl Product) {
        struct Compute<P>(P, Bf16);
        impl<P: Product> NullaryFnOnce for Compute<P> {
            type Output = ();

            #[inline(always)]
            fn call(self) {
                self.0.compute(self.1);
            }
        }
        self.vectorize(Compute(product, self));
    }

    /// Runs `op` with these instructions.
    pub fn vectorize(self, op: impl NullaryFnOnce<Output = ()>) {
        self.instructions.vectorize(op);
    }

    /// The pairs of rounded values. For use in [`vectorize`](Self::vectorize).
    #[inline(always)]
    pub fn pair(self, first: f32x16, second: f32x16) -> f32x16 {
        // SAFETY: the processor has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            pair(first, second)
        }
    }
}

impl Arithmetic for Bf16 {
    type Simd = V4;

    #[inline(always)]
    fn simd(self) -> V4 {
        self.simd
    }

    #[inline(always)]
    fn multiply_add(self, left: f32, right: f32x16, sum: f32x16) -> f32x16 {
        // SAFETY: the processor has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            dot(self.simd.splat_f32x16(left), right, sum)
        }
    }
}

/// `sum` plus both products of pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot(left: f32x16, right: f32x16, sum: f32x16) -> f32x16 {
    // SAFETY: vectors of 512 bits, any of which are valid.
    #[allow(unsafe_code)]
    let [left, right] = [left, right].map(|pairs| unsafe { transmute::<f32x16, __m512bh>(pairs) });
    cast(_mm512_dpbf16_ps(cast(sum), left, right))
}

/// The pairs of rounded values.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pair(first: f32x16, second: f32x16) -> f32x16 {
    let [first, second] = [first, second].map(|values| {
        let rounded = _mm512_cvtneps_pbh(cast(values));
        // SAFETY: vectors of 256 bits, any of which are valid.
        #[allow(unsafe_code)]
        _mm512_cvtepu16_epi32(unsafe { transmute::<__m256bh, __m256i>(rounded) })
    });
    cast(_mm512_or_si512(first, _mm512_slli_epi32::<16>(second)))
}
