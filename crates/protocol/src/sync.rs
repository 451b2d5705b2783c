//! Log sync: catch-up and live mode between two nodes (docs/protocol/sync.md).

mod announced;
pub mod digest;
pub mod have;
mod heard;
mod lowered;
pub mod message;
pub mod need;
mod pace;
pub mod pair;
mod sent;
pub mod session;
mod sources;
mod turn;

pub use announced::{Announced, Check, Entries, Prefer};
pub use have::Have;
pub use message::{Absence, Limits, Message, MessageError};
pub use need::{Fault, Need, NeedInput, NeedOutput};
pub use pace::Path;
pub use pair::{Dialled, Pair};
pub use session::{Counters, End, Event, Input, Output, Session, SessionId};
pub use sources::Sources;
pub use turn::Turn;

/// Protocol that the two sides of a connection agreed on, by its ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The one that release 0.7.1 speaks (`docs/protocol/sync.md`).
    LogSync,
    /// The same with a digest in front of the heights (`docs/protocol/digest.md`).
    DigestSync,
    /// A topic stream of a link, where ranges replace the heights (`docs/protocol/link.md#4`).
    Link {
        /// Secret that nobody else knows of this stream (`docs/protocol/ranges.md#1`).
        binding: [u8; 32],
    },
}

impl Protocol {
    /// The protocol id, before it is mixed with the network id (`docs/protocol/network.md#2`).
    pub const fn id(self) -> &'static [u8] {
        match self {
            Protocol::LogSync => b"p2panda/log_sync/v1",
            Protocol::DigestSync => b"p2panda/digest_sync/v1",
            Protocol::Link { .. } => crate::link::LABEL,
        }
    }
}
