//! Log sync: catch-up and live mode between two nodes (docs/protocol/sync.md).

pub mod dialer;
pub mod message;
pub mod pair;
pub mod session;

pub use dialer::{Dialer, DialerInput, DialerOutput};
pub use message::{Limits, Message, MessageError};
pub use pair::{Dialled, Pair};
pub use session::{
    Counters, End, Entry, Event, Input, Output, Page, Read, Received, Session, SessionId,
};
