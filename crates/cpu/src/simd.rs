//! The vector instructions of the processor, chosen at run time.

#[cfg(test)]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};

#[cfg(not(target_arch = "x86_64"))]
use pulp::Arch;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V2, V3, V4};
use pulp::{Scalar, Simd, WithSimd};

/// A set of vector instructions that the kernels of this crate are compiled for.
///
/// All levels give bit-identical results, except for products: those without fused multiplications and
/// additions round differently.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Sse42(V2),
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
    #[cfg(not(target_arch = "x86_64"))]
    Native(Arch),
}

/// The levels that this processor supports, the best one last.
pub static SUPPORTED: LazyLock<Vec<Level>> = LazyLock::new(|| {
    let levels = [
        Some(Level::Scalar(Scalar::new())),
        #[cfg(target_arch = "x86_64")]
        V2::try_new().map(Level::Sse42),
        #[cfg(target_arch = "x86_64")]
        V3::try_new().map(Level::Avx2),
        #[cfg(target_arch = "x86_64")]
        V4::try_new().map(Level::Avx512),
        #[cfg(not(target_arch = "x86_64"))]
        Some(Level::Native(Arch::new())),
    ];
    levels.into_iter().flatten().collect()
});

/// The level of all kernels, once it is chosen.
static CURRENT: OnceLock<Level> = OnceLock::new();

/// The best level that this processor supports.
fn best() -> Level {
    (SUPPORTED.last().copied()).unwrap_or(Level::Scalar(Scalar::new()))
}

/// Chooses the level of all kernels, unless one is chosen. Returns the level that is.
pub fn choose(level: Level) -> Level {
    *CURRENT.get_or_init(|| level)
}

/// The level that all kernels will have, unless another is chosen before the first of them runs.
#[cfg(not(test))]
pub fn expected() -> Level {
    CURRENT.get().copied().unwrap_or_else(best)
}

#[cfg(test)]
pub fn expected() -> Level {
    current()
}

/// The level of all kernels: the best one, unless another was chosen.
#[cfg(not(test))]
#[inline]
pub fn current() -> Level {
    *CURRENT.get_or_init(best)
}

/// The number of levels, counted from the best one, that a test skips.
#[cfg(test)]
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Whether a test holds the level.
#[cfg(test)]
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// The best level that is not skipped.
///
/// # Panics
///
/// If no test holds the level: another test could change it between two kernels.
#[cfg(test)]
pub fn current() -> Level {
    assert!(
        IS_HELD.load(Ordering::Relaxed),
        "a test that runs kernels must call Level::hold or Level::each"
    );
    (SUPPORTED.iter().rev())
        .nth(SKIPPED.load(Ordering::Relaxed))
        .copied()
        .unwrap_or_else(best)
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Sse42(_) => "sse4.2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(not(target_arch = "x86_64"))]
            Self::Native(_) => "native",
        }
    }
}

/// Runs `op` with the vector instructions of all kernels.
#[inline]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    match current() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(simd) => Simd::vectorize(simd, op),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(simd) => Simd::vectorize(simd, op),
        #[cfg(target_arch = "x86_64")]
        Level::Sse42(simd) => Simd::vectorize(simd, op),
        #[cfg(not(target_arch = "x86_64"))]
        Level::Native(arch) => arch.dispatch(op),
        Level::Scalar(_) => Simd::vectorize(Scalar::new(), op),
    }
}

/// Lets tests run at each level in turn.
#[cfg(test)]
mod testing {
    use std::sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering};

    use super::{IS_HELD, Level, SKIPPED, SUPPORTED};

    /// Keeps other tests from changing the level. Restores the best one, even if a test panics.
    pub struct Hold {
        _guard: MutexGuard<'static, ()>,
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            SKIPPED.store(0, Ordering::Relaxed);
            IS_HELD.store(false, Ordering::Relaxed);
        }
    }

    impl Level {
        /// Keeps the level from changing until the result is dropped. Concurrent calls wait for each
        /// other, as the level is that of the whole process. A second call on the same thread deadlocks.
        pub fn hold() -> Hold {
            static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
            let _guard = (ONE_AT_A_TIME.lock()).unwrap_or_else(PoisonError::into_inner);
            IS_HELD.store(true, Ordering::Relaxed);
            Hold { _guard }
        }

        /// The results of `run` at each supported level, from scalar code to the best level. It
        /// [holds](Self::hold) the level meanwhile.
        pub fn each<T>(mut run: impl FnMut(Self) -> T) -> Vec<T> {
            let _hold = Self::hold();
            let levels = SUPPORTED.iter().zip((0..SUPPORTED.len()).rev());
            levels
                .map(|(level, skipped)| {
                    SKIPPED.store(skipped, Ordering::Relaxed);
                    run(*level)
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::lanes;

    /// `EXPECTED_SIMD` names the best level of the processor that runs the test, such as an
    /// emulated one.
    #[test]
    fn best_level_is_the_expected_one() {
        let names = Level::each(Level::name);
        assert_eq!(names[0], "scalar");
        if let Ok(expected) = std::env::var("EXPECTED_SIMD") {
            assert_eq!(names.last().copied(), Some(expected.as_str()));
        }
    }

    #[test]
    fn each_level_runs_with_its_own_number_of_lanes() {
        let lanes = Level::each(|_| lanes());
        assert_eq!(lanes[0], 1);
        assert!(lanes.is_sorted() && lanes.len() > 1, "{lanes:?}");
    }
}
