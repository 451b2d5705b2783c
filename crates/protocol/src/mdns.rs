//! Multicast DNS: the packets with which nodes find each other on a local network, when they are
//! sent, and whose packets count.
//!
//! Rules: docs/protocol/network.md#5. Sockets and interfaces are the driver's; it has one
//! [`Cadence`] for each interface and family of addresses.

mod cadence;
mod dns;
mod packet;
mod segment;

pub use cadence::{Cadence, Input, Output};
pub use dns::PacketError;
pub use packet::{Announcement, Packet, Unannounceable, query};
pub use segment::{PORT, Segment};
