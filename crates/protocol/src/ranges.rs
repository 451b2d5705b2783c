//! Finding out what two nodes lack of each other in a topic, by ranges
//! (`docs/protocol/ranges.md`).

mod compare;
mod initiator;
mod keys;
mod message;
mod reconcile;
mod responder;
mod shared;

use p2panda_core::limits::RANGES_FRAME_BYTES_MAX;
use thiserror::Error;

pub use message::{Ask, Asked, Behind, Fingerprint, Has, Known, Message, Open, Split, Told};
pub use reconcile::{Output, Reconcile, Role, Start};
pub use shared::SharedHeads;

use crate::close::CloseCode;
use crate::wire::WireError;

/// The largest payload of a frame, for [`crate::frame::Decoder::next`].
pub const fn frame_bytes_max(_: &[u8]) -> u32 {
    RANGES_FRAME_BYTES_MAX as u32
}

/// Reason why differences cannot be found with this peer. Nothing more is taken from it after
/// that.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangesError {
    /// It is not a message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It names the version 0, which there is not.
    #[error("there is no version 0")]
    Version,
    /// Ranges or logs do not ascend, or overlap.
    #[error("ranges or logs are not in order")]
    Order,
    /// A range is malformed, is divided too far, or a log is outside of it.
    #[error("a range is malformed, or a log is outside of it")]
    Range,
    /// More ranges, parts or logs than one message may have.
    #[error("a message has too many ranges, parts or logs")]
    TooMany,
    /// Another message was due, or an answer does not fit its question.
    #[error("the message does not fit here")]
    Unexpected,
    /// The peer made this node look at more than an honest one needs.
    #[error("the peer asks for more work than one session may")]
    Work,
}

impl RangesError {
    /// Returns the code with which the connection or stream is closed.
    pub const fn code(self) -> CloseCode {
        match self {
            RangesError::Work | RangesError::TooMany => CloseCode::Limit,
            _ => CloseCode::Violation,
        }
    }
}
