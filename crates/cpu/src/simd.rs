//! Vector instructions: which there are, and which are used.

use std::sync::{
    LazyLock, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(not(target_arch = "x86_64"))]
use pulp::Arch;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V2, V3, V4};
use pulp::{Scalar, Simd, WithSimd};

/// A level of vector instructions that the kernels of this crate are compiled for.
///
/// The best one that the processor has is used. All give the same results to the last bit,
/// except in matrix products: `gemm` chooses its instructions itself.
#[derive(Clone, Copy, Debug)]
pub struct Level(Instructions);

#[derive(Clone, Copy, Debug)]
enum Instructions {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Sse(V2),
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
    #[cfg(not(target_arch = "x86_64"))]
    Native(Arch),
}

/// The levels of this processor, the best one last.
static LEVELS: LazyLock<Vec<Level>> = LazyLock::new(|| {
    let found = [
        Some(Instructions::Scalar(Scalar::new())),
        #[cfg(target_arch = "x86_64")]
        V2::try_new().map(Instructions::Sse),
        #[cfg(target_arch = "x86_64")]
        V3::try_new().map(Instructions::Avx2),
        #[cfg(target_arch = "x86_64")]
        V4::try_new().map(Instructions::Avx512),
        #[cfg(not(target_arch = "x86_64"))]
        Some(Instructions::Native(Arch::new())),
    ];
    found.into_iter().flatten().map(Level).collect()
});

/// How many of the best levels are left out.
static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

impl Level {
    /// Its name: `scalar`, `sse4.2`, `avx2`, `avx512` or, where the processor is not of
    /// x86-64, `native`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Instructions::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Instructions::Sse(_) => "sse4.2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => "avx512",
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Native(_) => "native",
        }
    }

    /// The results of `run` at each level of this processor, from plain numbers to the best
    /// one. The whole process uses the level meanwhile: this is for tests and measurements.
    /// Calls from several threads wait for each other; a call within `run` waits forever.
    pub fn each<T>(mut run: impl FnMut(Self) -> T) -> Vec<T> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = (ONE_AT_A_TIME.lock()).unwrap_or_else(PoisonError::into_inner);
        let _restore = Restore;
        let levels = LEVELS.iter().zip((0..LEVELS.len()).rev());
        levels
            .map(|(level, better)| {
                LEFT_OUT.store(better, Ordering::Relaxed);
                run(*level)
            })
            .collect()
    }
}

/// Brings the best level back, also where a test panics.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        LEFT_OUT.store(0, Ordering::Relaxed);
    }
}

/// Runs `op` with the best instructions.
#[inline]
pub(crate) fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    let level = LEVELS.iter().rev().nth(LEFT_OUT.load(Ordering::Relaxed));
    match level.map(|level| level.0) {
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Avx512(simd)) => Simd::vectorize(simd, op),
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Avx2(simd)) => Simd::vectorize(simd, op),
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Sse(simd)) => Simd::vectorize(simd, op),
        #[cfg(not(target_arch = "x86_64"))]
        Some(Instructions::Native(arch)) => arch.dispatch(op),
        Some(Instructions::Scalar(_)) | None => Simd::vectorize(Scalar::new(), op),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EXPECTED_SIMD` tells what an emulated processor is taken for.
    #[test]
    fn levels_are_those_of_the_processor() {
        let names = Level::each(Level::name);
        assert_eq!(names[0], "scalar");
        if let Ok(expected) = std::env::var("EXPECTED_SIMD") {
            assert_eq!(names.last().copied(), Some(expected.as_str()));
        }
    }

    #[test]
    fn each_level_is_used_in_turn() {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;

            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        let lanes = Level::each(|_| dispatch(Lanes));
        assert_eq!(lanes[0], 1);
        assert!(lanes.is_sorted() && lanes.len() > 1, "{lanes:?}");
    }
}
