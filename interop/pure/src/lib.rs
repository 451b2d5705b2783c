//! Both sides of groups and encryption in one process: this project's crates and the published
//! ones, release 0.7.1.
//!
//! What one side makes reaches the other as bytes only: a [`Frame`] for encryption, the encodings
//! of `docs/protocol/groups.md#11` for groups.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod data;
pub mod dice;
mod frame;
pub mod groups;
pub mod keys;
pub mod message;
mod names;
mod order;
mod party;
mod views;

pub use frame::{Body, Frame};
pub use names::{from_published_id, from_published_key, to_published_id, to_published_key};
pub use order::{Order, OrderError, Ordered};
pub use party::{Kind, Party, Received, Refused, World};
pub use views::{PublishedViews, ViewsState};

/// A member's or group's id as the published crates name it.
pub type PublishedKey = published_core::VerifyingKey;

/// An operation's id as the published crates name it.
pub type PublishedId = published_core::Hash;
