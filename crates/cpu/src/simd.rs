//! The vector instructions of the processor, chosen at run time.

#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{
    error::Error,
    fmt,
    sync::{LazyLock, OnceLock},
};

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
static SUPPORTED: LazyLock<Vec<Level>> = LazyLock::new(|| {
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

/// The level of all kernels.
#[cfg(not(test))]
#[inline]
fn current() -> Level {
    *CURRENT.get_or_init(best)
}

/// The number of levels, counted from the best one, that a test skips.
#[cfg(test)]
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// The best level that is not skipped.
#[cfg(test)]
fn current() -> Level {
    (SUPPORTED.iter().rev())
        .nth(SKIPPED.load(Ordering::Relaxed))
        .copied()
        .unwrap_or_else(best)
}

/// The vector instructions that the kernels of this crate use: `avx512`, `avx2`, `sse4.2` or `scalar` on
/// x86-64, and `native` or `scalar` on other processors.
///
/// They are those of [`set_instructions`], or else the best that the processor has, and stay the same from
/// this call, or from the first operation, to the end of the process.
pub fn instructions() -> &'static str {
    current().name()
}

/// Chooses the vector instructions of this crate's kernels for the whole process, by one of the names that
/// [`instructions`] returns. With those of an older processor, they compute what they would compute there,
/// which differs in rounding without AVX2. Operations of Burn are not affected.
///
/// # Errors
///
/// Fails if this processor does not support these instructions or if others are already in use: call it
/// before the first operation.
///
/// ```
/// fcos_burn_cpu::set_instructions("scalar")?;
/// assert_eq!(fcos_burn_cpu::instructions(), "scalar");
/// # Ok::<(), fcos_burn_cpu::InstructionsError>(())
/// ```
pub fn set_instructions(name: &str) -> Result<(), InstructionsError> {
    let Some(level) = SUPPORTED.iter().find(|level| level.name() == name) else {
        return Err(InstructionsError::Unsupported {
            name: name.to_owned(),
            supported: SUPPORTED.iter().map(|level| level.name()).collect(),
        });
    };
    let in_use = CURRENT.get_or_init(|| *level).name();
    match in_use == name {
        true => Ok(()),
        false => Err(InstructionsError::InUse(in_use)),
    }
}

/// Why [`set_instructions`] failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstructionsError {
    /// This processor does not support the instructions.
    Unsupported {
        /// The name that was given.
        name: String,
        /// The names of those that it supports.
        supported: Vec<&'static str>,
    },
    /// Kernels already use others.
    InUse(&'static str),
}

impl fmt::Display for InstructionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { name, supported } => {
                let supported = supported.join(", ");
                write!(
                    f,
                    "this processor does not support {name:?}, only {supported}"
                )
            }
            Self::InUse(name) => write!(f, "the kernels already use {name}"),
        }
    }
}

impl Error for InstructionsError {}

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

    use super::{Level, SKIPPED, SUPPORTED};

    /// Restores the best level, even if a test panics.
    struct Restore;

    impl Drop for Restore {
        fn drop(&mut self) {
            SKIPPED.store(0, Ordering::Relaxed);
        }
    }

    impl Level {
        /// Keeps the level from changing until the guard is dropped.
        pub fn hold() -> MutexGuard<'static, ()> {
            static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
            (ONE_AT_A_TIME.lock()).unwrap_or_else(PoisonError::into_inner)
        }

        /// The results of `run` at each supported level, from scalar code to the best level.
        ///
        /// The level is set for the whole process, so concurrent calls wait for each other. A
        /// call from within `run` deadlocks.
        pub fn each<T>(mut run: impl FnMut(Self) -> T) -> Vec<T> {
            let _guard = Self::hold();
            let _restore = Restore;
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
