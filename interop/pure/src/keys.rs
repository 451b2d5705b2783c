//! Key bundles of either side, as bytes.

use chacha20::ChaCha20Rng;
use p2panda_core::SigningKey;
use p2panda_encryption::{
    Lifetime, LongTermBundle, Member, OneTimeBundle, OwnKeys, Registry, SecretKey, Wire,
};
use published_core::cbor::{decode_cbor, encode_cbor};
use published_encryption::Rng;
use published_encryption::crypto::x25519::SecretKey as PublishedSecretKey;
use published_encryption::key_bundle::Lifetime as PublishedLifetime;
use published_encryption::key_manager::{KeyManager, KeyManagerState};
use published_encryption::key_registry::{KeyRegistry, KeyRegistryState};
use published_encryption::traits::PreKeyManager;

use crate::clock::now;
use crate::{Kind, PublishedKey, to_published_key};

/// Seconds that the keys of a case are valid.
const LIFETIME_S: u64 = 86_400;

/// The secret keys of one person.
pub enum Keys {
    /// Of this project.
    Ours(OwnKeys),
    /// Of release 0.7.1; none only while it is taken apart.
    Published(Option<KeyManagerState>),
}

/// What one person knows of the others.
pub enum Book {
    /// Of this project.
    Ours(Registry),
    /// Of release 0.7.1; none only while it is taken apart.
    Published(Option<KeyRegistryState<PublishedKey>>),
}

/// A person that is in no group yet.
pub struct Person {
    /// Its id.
    pub id: Member,
    /// Its secrets.
    pub keys: Keys,
    /// The others.
    pub book: Book,
}

impl Person {
    /// Draws fresh keys.
    pub fn new(kind: Kind, rng: &mut ChaCha20Rng) -> Person {
        let id = SigningKey::generate(rng).verifying_key();
        match kind {
            Kind::Ours => {
                let mut keys = OwnKeys::new(SecretKey::random(rng));
                keys.rotate_prekey(Lifetime::starting(now(), LIFETIME_S), rng);
                Person {
                    id,
                    keys: Keys::Ours(keys),
                    book: Book::Ours(Registry::new()),
                }
            }
            Kind::Published => {
                let rng = Rng::default();
                let secret = PublishedSecretKey::from_rng(&rng).expect("the system has randomness");
                let keys = KeyManager::init(&secret).expect("a fresh key is valid");
                let lifetime = PublishedLifetime::new(LIFETIME_S);
                let keys = KeyManager::rotate_prekey(keys, lifetime, &rng);
                Person {
                    id,
                    keys: Keys::Published(Some(keys.expect("a fresh key signs"))),
                    book: Book::Published(Some(KeyRegistry::init())),
                }
            }
        }
    }

    /// Its long-term bundle.
    pub fn long_term_bundle(&self) -> Vec<u8> {
        match &self.keys {
            Keys::Ours(keys) => {
                let bundle = keys.long_term_bundle(now()).expect("the pre-key is fresh");
                bundle.encode().to_vec()
            }
            Keys::Published(keys) => {
                let keys = keys.as_ref().expect("the keys are here");
                let bundle = KeyManager::prekey_bundle(keys).expect("the pre-key is fresh");
                encode_cbor(&bundle).expect("bundles encode")
            }
        }
    }

    /// A new one-time bundle.
    pub fn one_time_bundle(&mut self, rng: &mut ChaCha20Rng) -> Vec<u8> {
        match &mut self.keys {
            Keys::Ours(keys) => {
                let bundle = keys.one_time_bundle(now(), rng);
                bundle.expect("the pre-key is fresh").encode().to_vec()
            }
            Keys::Published(keys) => {
                let own = keys.take().expect("the keys are here");
                let made = KeyManager::generate_onetime_bundle(own, &Rng::default());
                let (own, bundle) = made.expect("the pre-key is fresh");
                *keys = Some(own);
                encode_cbor(&bundle).expect("bundles encode")
            }
        }
    }

    /// Learns somebody's long-term bundle.
    pub fn learn_long_term(&mut self, owner: Member, bundle: &[u8]) {
        match &mut self.book {
            Book::Ours(registry) => {
                let bundle = LongTermBundle::decode(bundle).expect("their bundle decodes");
                let added = registry.add_long_term(owner, bundle, now());
                added.expect("their bundle is valid");
            }
            Book::Published(registry) => {
                let state = registry.take().expect("the registry is here");
                let bundle = decode_cbor(bundle).expect("our bundle decodes there");
                let owner = to_published_key(&owner);
                let added = KeyRegistry::add_longterm_bundle(state, owner, bundle);
                *registry = Some(added.expect("our bundle is valid there"));
            }
        }
    }

    /// Learns somebody's one-time bundle.
    pub fn learn_one_time(&mut self, owner: Member, bundle: &[u8]) {
        match &mut self.book {
            Book::Ours(registry) => {
                let bundle = OneTimeBundle::decode(bundle).expect("their bundle decodes");
                let added = registry.add_one_time(owner, bundle, now());
                added.expect("their bundle is valid");
            }
            Book::Published(registry) => {
                let state = registry.take().expect("the registry is here");
                let bundle = decode_cbor(bundle).expect("our bundle decodes there");
                let owner = to_published_key(&owner);
                let added = KeyRegistry::add_onetime_bundle(state, owner, bundle);
                *registry = Some(added.expect("our bundle is valid there"));
            }
        }
    }
}

/// People who know each other's bundles of both kinds.
pub fn people(kinds: &[Kind], rng: &mut ChaCha20Rng) -> Vec<Person> {
    let mut people: Vec<_> = kinds.iter().map(|kind| Person::new(*kind, rng)).collect();
    for owner in 0..people.len() {
        let Some(person) = people.get_mut(owner) else {
            continue;
        };
        let (id, long_term) = (person.id, person.long_term_bundle());
        let one_time: Vec<_> = kinds.iter().map(|_| person.one_time_bundle(rng)).collect();
        for (reader, one_time) in people.iter_mut().zip(one_time) {
            reader.learn_long_term(id, &long_term);
            if reader.id != id {
                reader.learn_one_time(id, &one_time);
            }
        }
    }
    people
}
