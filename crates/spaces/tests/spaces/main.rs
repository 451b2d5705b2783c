//! Encrypted spaces: what is promised, against the vectors and in stories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod defects;
mod file;
mod lives;
mod scenarios;
mod standing;
mod wire;
mod world;
