//! Products by the arithmetic of a format.

use pulp::{Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::bf16::Bf16;
use super::{
    arithmetic::{Pairs, Product, Singles},
    format::ProductFormat,
};
use crate::simd::dispatch;

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
