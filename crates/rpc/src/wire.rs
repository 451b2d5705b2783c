//! Messages on the wire: requests, replies and events, in JSON.
//!
//! These types know neither a node nor a transport. They are apart from the node's own types on
//! purpose: names and fields here are what clients rely on, and a struct of the node may be renamed
//! or split without a client noticing. The way between the two is one file, `mapping.rs`. Ids, keys and
//! topics are those of `p2panda-core`, lower-case hexadecimal text.
//!
//! Readers skip fields that they do not know, so that a newer side may say more.
//!
//! ```
//! use p2panda_rpc::wire::{Answer, Call, Done, Outcome, Reply, Request};
//!
//! let call: Call = serde_json::from_str(r#"{"id":1,"op":"peers"}"#)?;
//! assert_eq!(call, Call { id: 1, request: Request::Peers });
//!
//! let answer = Answer { id: Some(1), outcome: Outcome::Ok(Reply::Done(Done {})) };
//! assert_eq!(serde_json::to_string(&answer)?, r#"{"id":1,"ok":{}}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod envelope;
mod event;
mod hex;
mod reply;
mod request;
mod text;

pub use envelope::{Answer, Call, Failure, FailureKind, Outcome, Output};
pub use event::{Ephemeral, Event, FullMessage, Message, Missing, Sync, SyncKind, TextMessage};
pub use hex::Hex;
pub use reply::{
    Contact, ContactStatus, Counters, Digest, Done, Dump, Imported, Opened, Peer, Peers, Pruned,
    Published, Receipt, RejectReason, Reply, Status, StoredOperation,
};
pub use request::{
    AckMode, Bootstrap, Content, Deliver, ImportedOperation, Mdns, Open, Request, StartAt,
};
