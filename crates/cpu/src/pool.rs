//! Running several operations on one thread of a pool.

use burn::tensor::Tensor;

use crate::{flex::untracked, product::ProductFormat};

/// Calls `work` with `input`: on a thread of rayon's current pool, if `input` is `f32`, on the Flex backend and
/// without autodiff.
///
/// An operation that is called by any other thread wakes one of the pool and waits for it, which can take
/// longer than the operation. So run a whole network this way. The [format](ProductFormat::scope) of this
/// thread's products applies to `work`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fcos_burn_cpu::{in_pool, relu};
///
/// let input = Tensor::<4>::ones([1, 2, 3, 3], &Device::flex());
/// let output = in_pool(input, |input| relu(relu(input)));
/// assert_eq!(output.dims(), [1, 2, 3, 3]);
/// ```
pub fn in_pool<R: Send>(input: Tensor<4>, work: impl FnOnce(Tensor<4>) -> R + Send) -> R {
    if untracked(&input).is_none() {
        // A GPU has a queue for each thread, and batch normalization statistics of each thread.
        return work(input);
    }
    let format = ProductFormat::current();
    rayon::scope(|_| format.scope(|| work(input)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn only_work_without_autodiff_runs_in_the_pool_in_the_same_format() {
        let device = Device::flex();
        let run = |device: &Device| {
            ProductFormat::Bf16.scope(|| {
                in_pool(Tensor::ones([1, 1, 1, 1], device), |_| {
                    (
                        rayon::current_thread_index().is_some(),
                        ProductFormat::current(),
                    )
                })
            })
        };
        assert_eq!(run(&device), (true, ProductFormat::Bf16));
        assert_eq!(run(&device.autodiff()), (false, ProductFormat::Bf16));
        assert_eq!(ProductFormat::current(), ProductFormat::F32);
    }
}
