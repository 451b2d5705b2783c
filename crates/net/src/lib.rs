//! The network of a p2panda node: one iroh endpoint, and the drivers that run the machines of
//! `p2panda-protocol` on its connections.
//!
//! It finds nodes (bootstrap addresses, multicast DNS, the discovery walk), meets them in one
//! gossip overlay per topic, syncs topics with the neighbours there, and carries ephemeral
//! messages. It stores nothing and decides nothing about operations: what it needs it asks of the
//! node through one bounded channel of [`Request`]s, and while that channel is full it stops
//! reading from the peers.
//!
//! Two networks on loopback. Topics would need a store that answers the requests; ephemeral messages
//! need none:
//!
//! ```
//! use std::net::{Ipv4Addr, SocketAddrV4};
//!
//! use p2panda_core::{SigningKey, Topic, cbor};
//! use p2panda_net::{Bootstrap, Config, Mdns, Net, Request, spawn};
//! use tokio::sync::mpsc;
//!
//! async fn start(seed: u8) -> Result<(Net, mpsc::Receiver<Request>), Box<dyn std::error::Error>> {
//!     let mut config = Config::new(SigningKey::from_bytes(&[seed; 32]));
//!     config.bind_v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
//!     config.bind_v6 = None;
//!     config.mdns = Mdns::Off;
//!     let (requests, incoming) = mpsc::channel(16);
//!     Ok((spawn(config, requests).await?, incoming))
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (panda, _requests) = start(1).await?;
//! let (penguin, _other_requests) = start(2).await?;
//! let topic = Topic::from_bytes([7; 32]);
//! let (sender, _receiver) = panda.ephemeral(topic);
//! let (_sender, mut receiver) = penguin.ephemeral(topic);
//! let addrs = penguin.addr();
//! panda.add_peer(Bootstrap { node: penguin.id(), addrs, relay: None });
//!
//! let mut hello = cbor::Writer::new();
//! hello.text("hello");
//! let hello = hello.into_bytes();
//! sender.publish(hello.clone().into()).await?; // held until the first neighbour is there
//! let message = receiver.recv().await.ok_or("shut down")?;
//! assert_eq!((message.author, &message.body[..]), (panda.id(), &hello[..]));
//!
//! panda.shutdown().await;
//! penguin.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! | To | Use |
//! |---|---|
//! | find and sync with others who have a topic | [`Net::subscribe`]; the answers to [`Request`]s bring what the store has |
//! | store what came | [`Request::Store`]; its reply says that it is durable |
//! | report a new operation | the `watch` channel that [`Net::subscribe`] was given |
//! | reach anyone who is there, without storing | [`Net::ephemeral`] |
//! | see what happens | [`Net::events`], [`Net::peers`], [`Net::counters`] |
//!
//! What peers make it hold counts against one budget ([`Config::budget`],
//! `docs/protocol/network.md#11`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accept;
mod acked;
mod admission;
mod alpns;
mod blocked;
mod book;
mod broadcasts;
mod budget;
mod clock;
mod close;
mod conduct;
mod config;
mod congestion;
mod connections;
mod contact;
mod credit;
mod dial;
mod discovery;
mod endpoint;
mod ephemeral;
mod error;
mod event;
mod flag;
mod flight;
mod flow;
mod gossip;
mod ground;
mod host;
mod inbox;
mod knock;
mod leaving;
mod link;
mod link_gossip;
mod link_refused;
mod links;
mod lookup;
mod mdns;
mod membership;
mod names;
mod net;
mod news;
mod overlays;
mod own;
mod paths;
mod peer_id;
mod persist;
mod places;
mod port;
mod random;
mod receipts;
mod recovery;
mod refusals;
mod repairs;
mod request;
mod revisits;
mod served;
mod session;
mod sessions;
mod shared;
mod signals;
mod signs;
mod topic;
mod unread;
mod watched;
mod wire;

#[doc(hidden)]
pub use clock::WallAhead;
pub use config::{Bootstrap, Config, Known, Mdns, PathGuess, Relay, Timings};
pub use ephemeral::{EphemeralReceiver, EphemeralSender, MayGo};
pub use error::{EphemeralError, SpawnError};
pub use event::{
    CatchUp, ClockDifference, Contact, ContactStatus, Counters, LocalNetwork, NetEvent, PeerState,
    PeerStatus, Refusal, RefusalStatus, SessionEnd, SessionStatus, Transfer,
};
pub use host::BootstrapHost;
#[doc(hidden)]
pub use host::Resolver;
pub use net::{Net, SyncHandle, spawn};
pub use request::{Reached, Request, Stored, Totals};
pub use watched::{NoMoreChanges, Watched, Watcher};
