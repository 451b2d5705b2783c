//! Random draws from a seed that the caller supplies.

use p2panda_core::Hash;

const DOMAIN: &[u8] = b"p2panda draws v1";

/// A stream of random draws, wholly determined by its seed.
///
/// The machines have no random generator of their own: a node passes 32 bytes from the system's
/// generator, a simulator bytes from its own seed. Two walks or sessions never share a seed.
#[derive(Clone)]
pub struct Draws {
    seed: [u8; 32],
    count: u64,
}

impl Draws {
    /// Draws from a seed of 32 uniformly random bytes.
    pub const fn from_seed(seed: [u8; 32]) -> Draws {
        Draws { seed, count: 0 }
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let count = self.count.to_le_bytes();
        self.count += 1;
        *Hash::digest_parts(&[DOMAIN, &self.seed, &count]).as_bytes()
    }

    /// A random number from 0 up to and without `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let bytes = self.bytes();
        let (low, _) = bytes.split_first_chunk::<8>().expect("32 bytes hold 8");
        let product = u128::from(u64::from_le_bytes(*low)) * u128::from(end);
        (product >> 64) as u64
    }

    /// A random number between two bounds, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A random position in a list of `len` items, `None` when it is empty.
    pub fn position(&mut self, len: usize) -> Option<usize> {
        if len == 0 {
            None
        } else {
            Some(self.below(len as u64) as usize)
        }
    }
}

impl core::fmt::Debug for Draws {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Draws")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_bounds_and_follow_from_the_seed() {
        let mut draws = Draws::from_seed([1; 32]);
        let mut seen = [false; 5];
        for _ in 0..200 {
            let value = draws.between(3, 7);
            assert!((3..=7).contains(&value));
            if let Some(slot) = seen.get_mut(value as usize - 3) {
                *slot = true;
            }
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(draws.below(0), 0);
        assert_eq!(draws.below(1), 0);
        assert_eq!(draws.position(0), None);
        assert_eq!(
            Draws::from_seed([1; 32]).bytes(),
            Draws::from_seed([1; 32]).bytes()
        );
        assert_ne!(
            Draws::from_seed([1; 32]).bytes(),
            Draws::from_seed([2; 32]).bytes()
        );
    }
}
