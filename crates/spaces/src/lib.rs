//! Encrypted spaces: who is a member is decided by groups, and group encryption hands the members
//! secrets, without a server.
//!
//! [`Spaces`] processes messages and returns their outcome; our own changes it returns
//! to be signed. Any two nodes with the same messages have the same members and show the same
//! data. The rules are those of `docs/protocol/spaces.md`. Nothing here reads a clock, a file, a
//! socket or a random generator; signatures were verified by the layer above.
//!
//! **Not audited.** Messages have two forms. Between our own nodes everything is sealed but
//! authors, sizes, times and who follows whom ([`Sealed`], [`Spaces::create_sealed`],
//! [`Spaces::receive_control`]; `docs/protocol/spaces.md#9`). In the form of 0.7.1 everything but
//! content is in clear, and no node sends it (`docs/protocol/spaces.md#3`):
//!
//! ```
//! use chacha20::ChaCha20Rng;
//! use chacha20::rand_core::SeedableRng;
//! use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
//! use p2panda_core::{Hash, SigningKey};
//! use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
//! use p2panda_groups::Member;
//! use p2panda_spaces::{Desk, Event, Message, Role, SpaceId, Spaces, SpacesArgs};
//!
//! const NOW: u64 = 1_800_000_000;
//! // Take the seed from the operating system.
//! let mut rng = ChaCha20Rng::from_seed([7; 32]);
//!
//! // All that a device must store, and the log that it publishes.
//! let mut device = |seed: u8| {
//!     let me = SigningKey::from_bytes(&[seed; 32]).verifying_key();
//!     let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
//!     keys.rotate_prekey(Lifetime::starting(NOW, PRE_KEY_LIFETIME_DEFAULT_S), &mut rng);
//!     (me, Spaces::new(me), keys, Registry::new())
//! };
//! let (alice, mut at_alice, mut alice_keys, mut alice_registry) = device(1);
//! let (bob, mut at_bob, mut bob_keys, mut bob_registry) = device(2);
//! alice_registry.add_long_term(bob, bob_keys.long_term_bundle(NOW)?, NOW)?;
//! bob_registry.add_long_term(alice, alice_keys.long_term_bundle(NOW)?, NOW)?;
//!
//! // Stands for the operation that carries a message: the id is the hash of its header.
//! let mut log: Vec<Message> = Vec::new();
//! let forge = |args: &SpacesArgs| {
//!     let id = Hash::digest(&args.encode());
//!     log.push(Message { id, author: alice, args: args.clone() });
//!     id
//! };
//! let mut context = Context::new(&mut alice_keys, &mut alice_registry, NOW);
//! let mut desk = Desk { context: &mut context, rng: &mut rng, forge };
//! let crew = SpaceId::from_bytes([1; 32]);
//! at_alice.create_space(crew, &[(Member::Individual(bob), Role::Editor)], &mut desk)?;
//! at_alice.publish(crew, b"hello", &mut desk)?;
//!
//! let mut context = Context::new(&mut bob_keys, &mut bob_registry, NOW);
//! let mut read = Vec::new();
//! for message in &log {
//!     for event in at_bob.process(message, &mut context)? {
//!         if let Event::Opened { data, .. } = event {
//!             read.push(data.to_vec());
//!         }
//!     }
//! }
//! assert_eq!(read, [b"hello".to_vec()]);
//! assert_eq!(at_bob.members(&crew), at_alice.members(&crew));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the caller must do
//!
//! * **Verify** signatures, and hand messages over after those that they name, those of one
//!   author in the order of its log.
//! * **Store** [`Spaces::changes`], and the changes of own keys and registry, in one transaction
//!   with the message that was processed or signed. If that fails, drop the state and load it.
//! * **Heal**: ask [`Spaces::health`] after each input, and call [`Spaces::heal`] after a random
//!   time, or immediately where publishing requires it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The vector is made by nodes that know the public interface only.
#[cfg(test)]
extern crate self as p2panda_spaces;

mod ahead;
mod device_link;
mod event;
#[doc(hidden)]
pub mod fuzzed;
mod graph;
mod holders;
mod joining;
mod local;
mod message;
#[cfg(test)]
#[allow(
    dead_code,
    unreachable_patterns,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#[path = "../tests/spaces/native_world.rs"]
mod native_world;
mod person;
mod receive;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod recorded;
mod recovery;
mod role;
mod roster;
mod rows;
mod sealed;
mod space;
mod space_id;
mod spaces;
mod steps;
mod team;
mod touched;
mod why;
mod wire;

pub use ahead::{Ahead, Planned};
pub use device_link::{ConfirmError, DeviceLink, LinkEnd, LinkOutput, NewDevice};
pub use event::{Event, Refusal, RoleChange, Verdict};
pub use local::{Desk, LocalError};
pub use message::Message;
pub use p2panda_encryption::Row;
pub use person::{CardError, DeviceChange, Pending, PersonCard, PersonMember, Telling};
pub use receive::ProcessError;
pub use recovery::{RecoveryContent, RecoveryError, SpaceSecrets};
pub use role::{Role, RoleParseError};
pub use rows::LoadError;
pub use sealed::{
    Content, Glance, Invite, InviteError, InviteState, KeyId, Log, Offer, Outgoing, ReceiveError,
    Received, Scheme, Sealed, Settings, Signer, Wait,
};
pub use space_id::SpaceId;
pub use spaces::{Health, Spaces};
pub use team::{Team, TeamMember};
pub use why::{Decision, Deed, Why};
pub use wire::{Invalid, Pointer, SpacesArgs};
