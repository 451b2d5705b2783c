//! Spaces of a page (`docs/protocol/spaces.md`): what a node does with them, without disk, network, clock
//! and random numbers. Operations go in as they were verified, rows and news come out; what the page does
//! itself is signed where its key is.

mod book;
mod deeds;
pub(crate) mod facade;
mod pen;
mod room;
#[cfg(test)]
mod tests;

pub use book::{Book, LoadError, News, Opened, Row, Shown};
pub use deeds::{Act, Acted, Deed, DeedError};
pub use room::{Kind, Operation};
