//! Group key agreement and encryption without a server, for members who are offline, join late
//! and change the group at the same time.
//!
//! Pure: state and input in, new state and output out; time (seconds since 1970) and randomness
//! are arguments. After an error the state is as before. The rules are those of
//! `docs/protocol/encryption.md`.
//!
//! Not audited, and not safe against quantum computers yet: see the crate's README.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod aead;
mod bundle;
mod control;
pub mod data;
mod direct;
mod draft;
mod hkdf;
pub mod hpke;
mod limit;
pub mod message;
mod operation;
mod orderer;
mod own_keys;
mod payload;
mod registry;
mod secret;
mod sessions;
pub mod two_party;
#[cfg(test)]
#[path = "../tests/support/vectors.rs"]
mod vectors;
mod wire;
mod x25519;
pub mod x3dh;
pub mod xeddsa;

pub use bundle::{
    Bundle, BundleError, Lifetime, LongTermBundle, OneTimeBundle, OneTimePreKey, PreKey, latest,
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
pub use secret::Secret;
pub use sessions::{Context, DeliverError, HEADER_ELEMENTS_0_7_1, Sealed, Sealing};
pub use wire::{DecodeError, Items, Reader, Wire, Writer};
pub use x25519::{PublicKey, SecretKey, ZeroAgreement};

/// A member's id: the Ed25519 key that signs its envelopes.
pub type Member = p2panda_core::VerifyingKey;

/// The id of an operation: the hash of its header.
pub type OperationId = p2panda_core::Hash;
