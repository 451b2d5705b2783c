//! Group key agreement and encryption without a server, for members who are offline, join late
//! and change the group at the same time.
//!
//! The crate is pure: state and input go in, new state and output come out; time (seconds since
//! 1970) and randomness are arguments. After an error the state is as before. The rules are those
//! of `docs/protocol/encryption.md`, the bounds are in [`p2panda_core::limits`].
//!
//! **Not audited.** Safe against quantum computers of later only in groups with hybrid channels
//! ([`SuiteConfig`]), which 0.7.1 peers cannot be in. What is protected against whom, and what is
//! not, is in the crate's README.
//!
//! # What it does
//!
//! | Module | What |
//! |---|---|
//! | [`data`] | secrets of long life: who joins late reads what was written before |
//! | [`message`] | a key per message, gone after use: who joins late reads nothing old |
//! | [`two_party`], [`x3dh`] | the channels of two members that both schemes send secrets through |
//! | [`aead`], [`hpke`], [`hkdf`], [`xeddsa`], [`xwing`] | the primitives beneath |
//!
//! A member has [`OwnKeys`] and a [`Registry`] of the public keys of others for all its groups,
//! and a [`data::Group`] or [`message::Group`] for each group. An operation of ours is drafted,
//! sealed, signed by the caller and committed with its id. Messages of others go in with
//! `receive` and come out, in causal order, of `poll`.
//!
//! # Example
//!
//! Alice makes a group with Bob, writes to it and removes him; he cannot read what she writes
//! then.
//!
//! ```
//! use chacha20::ChaCha20Rng;
//! use chacha20::rand_core::SeedableRng;
//! use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
//! use p2panda_core::{Hash, SigningKey};
//! use p2panda_encryption::data::{Event, Failure, Group, Members, Payload, Prepared, Sent};
//! use p2panda_encryption::{
//!     Context, Lifetime, Member, Message, OperationId, OwnKeys, Registry, SecretKey,
//! };
//!
//! const NOW: u64 = 1_800_000_000;
//! // Take the seed from the operating system.
//! let mut rng = ChaCha20Rng::from_seed([7; 32]);
//!
//! /// All that a member must store.
//! struct Device {
//!     id: Member,
//!     keys: OwnKeys,
//!     registry: Registry,
//!     group: Group,
//! }
//!
//! impl Device {
//!     fn new(seed: u8, rng: &mut ChaCha20Rng) -> Device {
//!         let id = SigningKey::from_bytes(&[seed; 32]).verifying_key();
//!         let mut keys = OwnKeys::new(SecretKey::random(rng));
//!         keys.rotate_prekey(Lifetime::starting(NOW, PRE_KEY_LIFETIME_DEFAULT_S), rng);
//!         let group = Group::new(id, Members::default());
//!         Device { id, keys, registry: Registry::new(), group }
//!     }
//!
//!     fn parts(&mut self) -> (&mut Group, Context<'_>) {
//!         let (keys, registry) = (&mut self.keys, &mut self.registry);
//!         let context = Context::new(keys, registry, NOW);
//!         (&mut self.group, context)
//!     }
//!
//!     /// Gives the sealed operation its id, takes it over, and gives what is to be published.
//!     fn commit(&mut self, prepared: Prepared) -> Message<Payload> {
//!         let control = prepared.control().clone();
//!         let directs = prepared.directs().cloned().collect();
//!         let dependencies = prepared.dependencies().to_vec();
//!         let message = sign(self.id, Payload::Control { control, directs }, dependencies);
//!         let (group, mut context) = self.parts();
//!         group.commit(prepared, message.id, &mut context).expect("nothing came in between");
//!         message
//!     }
//!
//!     fn take(&mut self, message: Message<Payload>) -> Option<Event> {
//!         let (group, mut context) = self.parts();
//!         group.receive(message).expect("sent once, by somebody else");
//!         group.poll(&mut context)
//!     }
//! }
//!
//! /// Stands for the signed envelope: the id is the hash of its header.
//! fn sign(sender: Member, payload: Payload, dependencies: Vec<OperationId>) -> Message<Payload> {
//!     let id = Hash::digest(format!("{sender} {payload:?} {dependencies:?}").as_bytes());
//!     Message { id, sender, dependencies, payload }
//! }
//!
//! let mut alice = Device::new(1, &mut rng);
//! let mut bob = Device::new(2, &mut rng);
//! // Everybody publishes a bundle of keys, so that others can write to them first.
//! alice.registry.add_long_term(bob.id, bob.keys.long_term_bundle(NOW)?, NOW)?;
//! bob.registry.add_long_term(alice.id, alice.keys.long_term_bundle(NOW)?, NOW)?;
//!
//! let (group, context) = alice.parts();
//! let create = group.create(&[bob.id], &context, &mut rng)?.seal()?;
//! let create = alice.commit(create);
//! assert!(matches!(bob.take(create), Some(Event::Joined { .. })));
//!
//! let Sent { payload, dependencies } = alice.group.send(b"hello", &mut rng)?;
//! let sent = sign(alice.id, payload, dependencies);
//! let Some(Event::Application { plaintext, .. }) = bob.take(sent) else { panic!() };
//! assert_eq!(*plaintext, b"hello");
//!
//! let (group, context) = alice.parts();
//! let remove = group.remove(bob.id, &context, &mut rng)?.seal()?;
//! let remove = alice.commit(remove);
//! assert!(matches!(bob.take(remove), Some(Event::RemovedOurselves { .. })));
//!
//! let later = alice.group.send(b"alone", &mut rng)?;
//! let Payload::Application(later) = later.payload else { panic!() };
//! let opened = bob.group.open(&later.secret, &later.nonce, &later.ciphertext);
//! assert_eq!(opened, Err(Failure::UnknownGroupSecret(later.secret)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the caller must do
//!
//! * **Store** what changed of [`OwnKeys`], [`Registry`] and the group ([`OwnKeys::changes`],
//!   [`Registry::changes`], [`data::Group::changes`]) in one transaction with the message that was
//!   produced or processed, and publish afterwards. If that fails, drop the state and load it again.
//!   Encrypt what is stored: it holds secrets in clear. Never continue from an older state: that
//!   uses keys twice. After restoring a backup say so before anything else
//!   ([`data::Group::restored`], [`message::Group::restored`]), and hand in all operations that
//!   others have, your own first.
//! * **Verify** the signature of every envelope before [`data::Group::receive`], and give each
//!   message its true author and the id of its operation.
//! * **Hand in again** the messages that lost their place ([`data::Group::receive`] names them), and
//!   give up those that will not come ([`data::Group::give_up`]).
//! * **Ask** [`data::Group::rekey`] after each input, and draft an update when it says so; ask
//!   [`data::Group::lacking`] before sending and when bundles came, and hand each member that it names
//!   what it lacks ([`data::Group::welcome`]). Rotate
//!   the pre-key well before it expires, publish the new bundle, and delete the old one when no
//!   member is offline any more that may still use it.
//!
//! # What it does not do
//!
//! * It sends, signs and stores nothing, and reads no clock.
//! * It does not decide who may change a group: [`data::Membership`] and [`message::Membership`]
//!   do, and the implementations given here believe every member.
//! * It does not hide who is in a group, who writes, when and how much. Control messages are in
//!   clear.
//! * It does not tie a ciphertext to its author or place: put both inside, or rely on the envelope.
//! * It cannot take back what a removed member has read, and holds nothing against a member that
//!   hands plaintexts on.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The random lives are tests of the public interface and of what is sealed beneath it.
#[cfg(test)]
extern crate self as p2panda_encryption;

pub mod aead;
mod applications;
mod bundle;
mod control;
pub mod data;
mod direct;
mod draft;
mod graph;
mod hkdf;
pub mod hpke;
mod limit;
pub mod message;
mod operation;
mod orderer;
mod own_keys;
pub mod passphrase;
mod payload;
mod registry;
mod rows;
mod sealed_box;
#[cfg(test)]
mod seals_tests;
mod secret;
mod sessions;
mod suite;
pub mod two_party;
#[cfg(test)]
#[path = "../tests/support/vectors.rs"]
mod vectors;
mod wire;
mod x25519;
pub mod x3dh;
pub mod xeddsa;
pub mod xwing;

pub use bundle::{
    Bundle, BundleError, HybridBundle, Lifetime, LongTermBundle, OneTimeBundle, OneTimePreKey,
    PreKey, latest,
};
pub use control::Change;
pub use direct::{Content, DirectError, DirectMessage, Kind};
pub use draft::{Draft, Prepared};
pub use hkdf::{HkdfTooLong, hkdf};
pub use limit::Limit;
pub use operation::OperationError;
pub use orderer::{Message, QueueError};
pub use own_keys::{OwnKeys, OwnKeysError};
pub use payload::{Outgoing, Payload};
pub use registry::{Registry, RegistryError};
pub use rows::{LoadError, Row};
pub use secret::Secret;
pub use sessions::{Context, DeliverError, HEADER_ELEMENTS_0_7_1, LeftOut, Sealed, Sealing};
pub use suite::{Suite, SuiteConfig};
pub use wire::{DecodeError, Items, Reader, Wire, Writer};
pub use x25519::{PublicKey, SecretKey, ZeroAgreement};

/// A member's id: the Ed25519 key that signs its envelopes.
pub type Member = p2panda_core::VerifyingKey;

/// The id of an operation: the hash of its header.
pub type OperationId = p2panda_core::Hash;
