//! Random number generators keyed by their purpose.
//!
//! Each sample has its own generator, keyed by seed, epoch and index. Results do not depend on the number of workers or
//! the order in which they finish.

use std::convert::Infallible;

use rand::{Rng, RngExt, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;

/// The random number generator of a sample: ChaCha with 8 rounds. Its output is the same on every machine.
#[derive(Debug, Clone)]
pub struct SampleRng(ChaCha8Rng);

impl TryRng for SampleRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

/// The generator of one sample in one epoch.
///
/// ```
/// use fcos_burn_data::rand::Rng;
/// use fcos_burn_data::sample_rng;
/// assert_eq!(sample_rng(7, 0, 3).next_u64(), sample_rng(7, 0, 3).next_u64());
/// assert_ne!(sample_rng(7, 0, 3).next_u64(), sample_rng(7, 1, 3).next_u64());
/// ```
pub fn sample_rng(seed: u64, epoch: u64, index: usize) -> SampleRng {
    keyed_rng(*b"sample..", seed, epoch, index as u64)
}

/// A generator whose 256-bit key consists of the four arguments, so that no two purposes share a stream.
pub(crate) fn keyed_rng(purpose: [u8; 8], seed: u64, major: u64, minor: u64) -> SampleRng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&purpose);
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&major.to_le_bytes());
    key[24..].copy_from_slice(&minor.to_le_bytes());
    SampleRng(ChaCha8Rng::from_seed(key))
}

/// Whether an event of this probability happens.
pub(crate) fn chance(probability: f32, rng: &mut (impl Rng + ?Sized)) -> bool {
    rng.random::<f32>() < probability
}
