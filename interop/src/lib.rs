//! Runs this project's node against the published `p2panda` crates 0.7.1.
//!
//! [`Ours`] is our node as a separate process, [`Published`] a node of the published crates inside
//! this one, [`Page`] the package for browsers at a [`Daemon`] of ours. All report what they do into
//! a [`Log`] that a case waits on. The cases are in `tests/interop`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod driver;
mod error;
mod log;
mod message;
mod operation;
mod ours;
mod page;
mod published;

use std::net::{Ipv4Addr, SocketAddr};

pub use error::Error;
pub use log::Log;
pub use message::Message;
pub use operation::{Author, Operation, digest, sorted};
pub use ours::{Event, Imported, Options, Ours, Step};
pub use page::{Daemon, Page};
pub use published::{Heard, Published, PublishedEphemeral, PublishedStream, Setup};

/// A node as others dial it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id, which is also the author of what it publishes.
    pub node: [u8; 32],
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Peer {
    fn unknown() -> Self {
        Self {
            node: [0; 32],
            addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }
}
