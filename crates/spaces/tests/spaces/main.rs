//! Encrypted spaces: what is promised, against the vectors and in stories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod defects;
mod file;
mod lives;
mod native;
mod native_ahead;
mod native_hostile;
mod native_invites;
mod native_joining;
mod native_leaks;
mod native_lives;
mod native_messages;
mod native_owners;
mod native_rotation;
mod native_world;
mod persons;
mod persons_claimed;
mod persons_told;
mod recovery;
mod scenarios;
mod standing;
mod teams;
mod wire;
mod world;
