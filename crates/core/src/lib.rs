//! The pure core of p2panda: keys, hashes, canonical CBOR, operations and the rules of logs.
//!
//! Nothing here reads a clock, a file, a socket or a random generator; time and randomness are
//! arguments. Bytes from a peer never panic, recurse or allocate beyond [`limits`]. The formats
//! are those of `docs/protocol/operations.md`.
//!
//! ```
//! use p2panda_core::{Draft, NodeExtensions, Operation, SigningKey, Timestamp, Topic};
//!
//! let key = SigningKey::from_bytes(&[42; 32]);
//! let topic = Topic::from_bytes([7; 32]);
//! let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
//! let draft = Draft {
//!     seq: 0,
//!     backlink: None,
//!     body: Some(b"\x65panda"),
//!     extensions: Some(&extensions),
//! };
//! let sent = Operation::create(&key, draft)?;
//!
//! let received = Operation::decode(sent.header.as_bytes().clone(), sent.body.clone())?;
//! assert_eq!(received.header.id(), sent.header.id());
//! assert_eq!(received.header.node_extensions()?.log_id, topic.log_id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod access_code;
#[cfg(feature = "std")]
pub mod budget;
pub mod cbor;
mod cursor;
mod ephemeral;
mod extensions;
mod few;
mod fixed;
mod hash;
mod header;
mod heads;
mod heights;
mod host;
mod key;
pub mod limits;
pub mod log;
mod operation;
pub mod ordered;
mod page;
mod phase;
mod received;
mod tail;
mod ticket;
mod time;
mod topic;
mod unsigned;

#[cfg(feature = "std")]
pub use access_code::{AccessCode, AccessCodeError, invite_proof};
pub use cursor::Cursor;
pub use ephemeral::{EphemeralError, EphemeralMessage};
pub use extensions::{Dependency, ExtensionsError, NodeExtensions};
pub use few::Few;
pub use fixed::ParseError;
pub use hash::Hash;
pub use header::{Draft, DraftError, Field, Header, HeaderError, Verifier};
pub use heads::{HeadId, Heads, HeadsChange, LogHead, Prefix, TopicHeads};
pub use heights::{Heights, LogRange, missing};
pub use host::{HostAddr, HostAddrError, NamedAddr};
pub use key::{KeyError, Signature, SignatureError, SigningKey, VerifyingKey};
pub use operation::{Operation, OperationError, PayloadMismatch};
pub use page::{Absent, Entry, Gap, Look, Page, Read, Unreadable, Wanted};
pub use phase::Phase;
pub use received::{Received, Refusal, Refused};
pub use tail::Tail;
pub use ticket::{
    DeviceCode, DeviceCodeError, Ticket, TicketContact, TicketContactError, TicketError,
    TicketInviteError,
};
pub use time::{HybridTimestamp, LamportTimestamp, ParseTimestampError, Timestamp};
pub use topic::{Label, LogId, LogName, LogNameError, NetworkId, Topic};
pub use unsigned::{AssembleError, UnsignedEphemeral, UnsignedHeader};
