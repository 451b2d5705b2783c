//! Randomness from a seed.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::Hash;

/// A generator for one case; a seed means the same everywhere.
pub fn generator(domain: &str, seed: u64) -> ChaCha20Rng {
    let seed = Hash::digest_parts(&[domain.as_bytes(), &seed.to_be_bytes()]);
    ChaCha20Rng::from_seed(*seed.as_bytes())
}

/// A number below `end`.
pub fn below(rng: &mut ChaCha20Rng, end: usize) -> usize {
    rng.next_u32() as usize % end
}

/// True in so many of a hundred cases.
pub fn chance(rng: &mut ChaCha20Rng, percent: usize) -> bool {
    below(rng, 100) < percent
}

/// One of these.
pub fn pick<T: Copy>(rng: &mut ChaCha20Rng, from: &[T]) -> Option<T> {
    match from.len() {
        0 => None,
        len => from.get(below(rng, len)).copied(),
    }
}

/// Brings the elements into a random order.
pub fn shuffle<T>(rng: &mut ChaCha20Rng, elements: &mut [T]) {
    for end in (1..elements.len()).rev() {
        elements.swap(end, below(rng, end + 1));
    }
}

/// How many cases a run has: `CASES`, or this many, from `FIRST_CASE`.
pub fn cases(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("FIRST_CASE").unwrap_or(0);
    first..first + number("CASES").unwrap_or(default)
}
