//! Randomness for machines that run next to the engine.

use chacha20::ChaCha20Rng;
use p2panda_store::{OpenError, draw_secret};
use rand_core::{Infallible, SeedableRng, TryCryptoRng, TryRng};

/// A generator of its own, seeded by the system.
pub struct RandomSource(ChaCha20Rng);

impl RandomSource {
    /// Draws the seed.
    ///
    /// # Errors
    /// [`OpenErrorKind::Random`](p2panda_store::OpenErrorKind::Random).
    pub fn open() -> Result<RandomSource, OpenError> {
        Ok(RandomSource(ChaCha20Rng::from_seed(*draw_secret()?)))
    }
}

impl std::fmt::Debug for RandomSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RandomSource(..)")
    }
}

impl TryRng for RandomSource {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(dst)
    }
}

impl TryCryptoRng for RandomSource {}
