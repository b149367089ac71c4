//! The format in which products multiply.

use std::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::bf16::Bf16;

/// The format of the numbers that the products of convolutions multiply. Tensors, and the sums of
/// products, are in 32 bits either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProductFormat {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit brain floats: each factor is rounded to 8 significant bits. Processors with AVX-512 BF16
    /// multiply and add twice as many of them at once.
    Bf16,
}

thread_local! {
    static CURRENT: Cell<ProductFormat> = const { Cell::new(ProductFormat::F32) };
}

impl ProductFormat {
    /// Whether convolutions use this format where it is asked for, given the
    /// [instructions](crate::instructions). Otherwise, they use 32 bits.
    pub fn is_supported(self) -> bool {
        match self {
            Self::F32 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => Bf16::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }

    /// Calls `run`. Convolutions that this thread computes meanwhile have products in this format, if it
    /// [is supported](Self::is_supported), and so have their gradients, whenever they are computed. It does
    /// not apply to convolutions in threads that `run` starts. On a thread of a pool, it applies to other tasks
    /// that the thread picks up while it waits for a part of `run`, unless they have a scope of their own.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor, ops::ConvOptions};
    /// use fcos_burn_cpu::{ProductFormat, conv2d};
    ///
    /// let device = Device::flex();
    /// let [input, weight] = [Tensor::ones([1, 8, 4, 4], &device), Tensor::ones([8, 8, 1, 1], &device)];
    /// let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    /// let output = ProductFormat::Bf16.scope(|| conv2d(input, weight, None, options));
    /// assert_eq!(output.into_data(), Tensor::<4>::full([1, 8, 4, 4], 8.0, &device).into_data());
    /// ```
    pub fn scope<R>(self, run: impl FnOnce() -> R) -> R {
        struct Restore(ProductFormat);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        run()
    }

    /// The format of this thread's products. Tests also use an unsupported one, for the portable kernels.
    pub(crate) fn current() -> Self {
        let format = CURRENT.get();
        match format.is_supported() || cfg!(test) {
            true => format,
            false => Self::F32,
        }
    }

    /// The number of terms that a product of such depth has: in 16 bits, a term is the sum of two.
    pub(crate) fn terms(self, depth: usize) -> usize {
        match self {
            Self::F32 => depth,
            Self::Bf16 => depth.div_ceil(2),
        }
    }
}
