//! Maps whose keys strangers choose: which keys share a place depends on a secret of the process.

use core::hash::{BuildHasher, Hasher};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::sync::OnceLock;

/// Nobody goes through one: its order says nothing.
pub(crate) type Map<K, V> = HashMap<K, V, Secret>;

#[derive(Clone, Copy)]
pub(crate) struct Secret {
    start: u64,
    factor: u64,
}

impl Default for Secret {
    fn default() -> Secret {
        static SECRET: OnceLock<Secret> = OnceLock::new();
        *SECRET.get_or_init(|| {
            let random = RandomState::new();
            Secret {
                start: random.hash_one(0),
                factor: random.hash_one(1) | 1,
            }
        })
    }
}

impl BuildHasher for Secret {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded {
            state: self.start,
            factor: self.factor,
        }
    }
}

/// Multiplies each word into the state, and folds the product.
pub(crate) struct Folded {
    state: u64,
    factor: u64,
}

impl Folded {
    fn word(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.word(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    /// The length of an array, which is the same for all keys of a map.
    fn write_usize(&mut self, _: usize) {}

    /// Hashes the discriminant of an enum.
    fn write_isize(&mut self, number: isize) {
        self.word(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two changes of a key that would cancel out, if words were only added.
    #[test]
    fn a_change_of_one_word_is_not_undone_by_the_next() {
        let highest = 1 << 63;
        let secret = Secret::default();
        for word in 0..100_u64 {
            let known = secret.hash_one([word, word]);
            for next in [word ^ highest, word ^ highest ^ 1] {
                assert_ne!(secret.hash_one([word ^ highest, next]), known);
            }
        }
    }
}
