//! Running several operations on one thread of a pool.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;

use crate::{flex::untracked, product::ProductFormat};

/// Set while a call of [`in_pool`] runs in the pool. If there were several, a thread that waits for a part of
/// one could begin another and finish it first.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Calls `work` with its `input`: on a thread of rayon's current pool if `input` is `f32` on the Flex backend
/// without autodiff, and if no other call of this process is in the pool; otherwise, on the calling thread.
///
/// An operation that is called from outside the pool wakes one of its threads and waits for it, which can take
/// longer than the operation. Wrap a whole network in one call rather than single operations. The
/// [format](ProductFormat::scope) of this thread's products applies to `work`.
///
/// `work` must not wait for another thread that needs the pool. A panic in it reaches the caller.
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
    // The queue of a GPU and running statistics of batch normalization belong to threads.
    if untracked(&input).is_none() || rayon::current_thread_index().is_some() {
        return work(input);
    }
    let Some(_turn) = Turn::take() else {
        return work(input);
    };
    let format = ProductFormat::current();
    rayon::scope(|_| format.scope(|| work(input)))
}

/// The right to run work in the pool.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        // Not `then_some`, which would also drop a turn that is not given.
        (!BUSY.swap(true, Ordering::Acquire)).then(|| Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Mutex,
        thread,
    };

    use burn::tensor::Device;

    use super::*;
    use crate::{relu, simd::Level};

    #[test]
    fn work_runs_in_the_pool_in_the_same_format_unless_it_is_tracked() {
        // Also keeps the tests from taking each other's turn.
        let _level = Level::hold();
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
        assert_eq!(
            run(&device.clone().autodiff()),
            (false, ProductFormat::Bf16)
        );
        assert_eq!(ProductFormat::current(), ProductFormat::F32);

        let others = {
            let _turn = Turn::take().unwrap();
            run(&device)
        };
        assert_eq!(others, (false, ProductFormat::Bf16));
        // A panic gives the turn back.
        let panicking = || in_pool(Tensor::ones([1, 1, 1, 1], &device), |_| panic!("expected"));
        assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
        assert_eq!(run(&device), (true, ProductFormat::Bf16));
    }

    #[test]
    fn many_callers_do_not_run_inside_each_other() {
        let _level = Level::hold();
        let device = Device::flex();
        let work = || {
            in_pool(Tensor::ones([1, 8, 128, 128], &device), |input| {
                thread_local! {
                    static DEPTH: Mutex<()> = const { Mutex::new(()) };
                }
                // Fails if this thread has begun other work meanwhile.
                DEPTH.with(|depth| {
                    let _entered = depth.try_lock().unwrap();
                    relu(relu(input)).dims()
                })
            })
        };
        thread::scope(|scope| {
            let callers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| (0..20).for_each(|_| assert_eq!(work()[1], 8))))
                .collect();
            callers
                .into_iter()
                .for_each(|caller| caller.join().unwrap());
        });
    }
}
