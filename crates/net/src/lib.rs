//! The network of a p2panda node: one iroh endpoint, and the drivers that run the machines of
//! `p2panda-protocol` on its connections.
//!
//! It finds nodes (bootstrap addresses, multicast DNS, the discovery walk), meets them in one
//! gossip overlay per topic, syncs topics with the neighbours there, and carries ephemeral
//! messages. It stores nothing and decides nothing about operations: what it needs it asks of the
//! node through one bounded channel of [`Request`]s, and while that channel is full it stops
//! reading from the peers.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accept;
mod admission;
mod alpns;
mod book;
mod broadcasts;
mod budget;
mod clock;
mod close;
mod config;
mod connections;
mod dial;
mod discovery;
mod endpoint;
mod ephemeral;
mod error;
mod event;
mod gossip;
mod ground;
mod knock;
mod lookup;
mod mdns;
mod membership;
mod net;
mod overlays;
mod own;
mod peer_id;
mod persist;
mod random;
mod recovery;
mod request;
mod served;
mod session;
mod sessions;
mod shared;
mod signals;
mod topic;

pub use config::{Bootstrap, Config, Known, Mdns, Relay, Timings};
pub use ephemeral::{EphemeralReceiver, EphemeralSender};
pub use error::{EphemeralError, SpawnError};
pub use event::{Counters, NetEvent, PeerStatus, SessionStatus, Transfer};
pub use net::{Net, SyncHandle, spawn};
pub use request::{Request, Stored, Totals};
