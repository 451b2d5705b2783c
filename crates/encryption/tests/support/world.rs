//! Keys and names of a small world, drawn from a seed.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::BTreeMap;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::{Hash, SigningKey};
use p2panda_encryption::{
    Context, Lifetime, Member, OperationId, OwnKeys, Registry, Row, SecretKey, SuiteConfig,
};

/// The time at which every life begins.
pub const START: u64 = 1_790_000_000;

/// Returns the lives of a run: `LIVES`, or this many.
pub fn lives(default: u64) -> std::ops::Range<u64> {
    let first = number("FIRST_LIFE").unwrap_or(0);
    first..first + number("LIVES").unwrap_or(default)
}

/// Returns the number of steps of a life: `STEPS`, or this many.
pub fn steps(default: u64) -> u64 {
    number("STEPS").unwrap_or(default)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A generator for one life.
pub fn life_rng(domain: &str, seed: u64) -> ChaCha20Rng {
    let seed = Hash::digest(format!("{domain} {seed}").as_bytes());
    ChaCha20Rng::from_seed(*seed.as_bytes())
}

/// A number below `end`.
pub fn below(rng: &mut ChaCha20Rng, end: usize) -> usize {
    rng.next_u32() as usize % end
}

/// True in this many of a hundred cases.
pub fn chance(rng: &mut ChaCha20Rng, percent: usize) -> bool {
    below(rng, 100) < percent
}

/// A fresh operation id.
pub fn operation(rng: &mut ChaCha20Rng) -> OperationId {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    Hash::from_bytes(bytes)
}

/// Rows as a database has them.
#[derive(Clone, Default)]
pub struct Store(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store {
    /// Stores changes, and gives the bytes written.
    pub fn write(&mut self, rows: Vec<Row>) -> usize {
        let mut bytes = 0;
        for Row { key, value } in rows {
            bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            match value {
                Some(value) => self.0.insert(key, value.to_vec()),
                None => self.0.remove(&key),
            };
        }
        bytes
    }

    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows = self.0.iter();
        rows.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    pub fn bytes(&self) -> usize {
        self.rows()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }

    pub fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert(key, value);
    }
}

/// One member's own and foreign keys.
pub struct Person {
    pub id: Member,
    pub keys: OwnKeys,
    pub registry: Registry,
}

impl Person {
    pub fn context(&mut self, now: u64) -> Context<'_> {
        Context::new(&mut self.keys, &mut self.registry, now)
    }
}

/// The suite of a life's channels: hybrid in every second one.
pub fn suites(seed: u64) -> Option<SuiteConfig> {
    let mut config = SuiteConfig::new([seed as u8; 32]);
    config.hybrid_every = 1 + seed as u32 / 2 % 4;
    (seed % 2 == 1).then_some(config)
}

/// Gives people hybrid bundles that all know, if the suite needs them.
pub fn speak(people: &mut [Person], suites: Option<SuiteConfig>, one_time: usize, seed: u64) {
    if suites.is_none() {
        return;
    }
    let mut rng = life_rng("hybrid", seed);
    let now = START + 1;
    for owner in 0..people.len() {
        let (id, keys) = (people[owner].id, &mut people[owner].keys);
        keys.rotate_hybrid_prekey(Lifetime::starting(now, 1_000_000), &mut rng);
        let hybrid = keys.hybrid_bundle(now).unwrap().clone();
        for reader in 0..people.len() {
            let keys = &mut people[owner].keys;
            let bundles: Vec<_> = (0..one_time)
                .map(|_| keys.one_time_bundle(now, &mut rng).unwrap())
                .collect();
            let registry = &mut people[reader].registry;
            registry.add_hybrid(id, hybrid.clone(), now).unwrap();
            for bundle in bundles {
                registry.add_one_time(id, bundle, now).unwrap();
            }
        }
    }
}

/// This many people who know each other's bundles, of both kinds.
pub fn people(count: usize, one_time: usize, rng: &mut ChaCha20Rng) -> Vec<Person> {
    let mut people: Vec<Person> = (0..count)
        .map(|_| {
            let id = SigningKey::generate(rng).verifying_key();
            let mut keys = OwnKeys::new(SecretKey::random(rng));
            keys.rotate_prekey(Lifetime::starting(START, 1_000_000), rng);
            Person {
                id,
                keys,
                registry: Registry::new(),
            }
        })
        .collect();
    for owner in 0..count {
        let id = people[owner].id;
        let long_term = people[owner].keys.long_term_bundle(START).unwrap();
        for reader in 0..count {
            let bundles: Vec<_> = (0..one_time)
                .map(|_| people[owner].keys.one_time_bundle(START, rng).unwrap())
                .collect();
            let registry = &mut people[reader].registry;
            registry.add_long_term(id, long_term, START).unwrap();
            for bundle in bundles {
                registry.add_one_time(id, bundle, START).unwrap();
            }
        }
    }
    people
}
