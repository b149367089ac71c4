//! Results at every level of vector instructions.

use fcos_burn_cpu::simd::Level;

/// What `results` gives at every level of vector instructions: the same bits.
pub fn at_every_level(results: impl Fn() -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let found = Level::each(|_| results());
    // Equality alone: a failure would print all of them.
    assert!(
        found.iter().all(|level| *level == found[0]),
        "levels differ"
    );
    found.into_iter().next_back().unwrap()
}
