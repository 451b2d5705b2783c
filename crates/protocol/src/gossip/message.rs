//! The messages of an overlay (`docs/protocol/network.md#6`).
//!
//! The bytes are those of iroh-gossip 0.101. Each message is the payload of one frame.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use p2panda_core::{Hash, VerifyingKey, limits};
use thiserror::Error;

use crate::frame;
use crate::overlay::Overlay;
use crate::wire::{Reader, WireError, Writer};

const MEMBERSHIP: u32 = 0;
const BROADCAST: u32 = 1;

/// Reason why bytes are not a message of an overlay.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are not well formed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A node id is not a key.
    #[error("a node id is no key")]
    Key,
    /// More nodes than a message may name.
    #[error("more nodes than a message may name")]
    Nodes,
    /// The id of a broadcast is not the hash of its content.
    #[error("the id of a broadcast is not the hash of its content")]
    Id,
}

/// The BLAKE3 hash of what is broadcast.
pub type MessageId = [u8; 32];

/// A node, and what it says about its addresses: an opaque byte string, not signed by anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The node id.
    pub node: VerifyingKey,
    /// Its addresses as it tells them.
    pub addresses: Option<Bytes>,
}

/// Urgency of a request to become a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// It has no neighbour.
    High,
    /// It has others.
    Low,
}

/// Recipients of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everyone in the overlay; with the hops that it has taken.
    Everyone(u16),
    /// Anyone who gets it from its author.
    Neighbours,
}

/// A message on the stream of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The sender joins through the receiver. With its addresses.
    Join(Option<Bytes>),
    /// A node joined through a neighbour of the sender, or further away.
    ForwardJoin {
        /// The node that joined.
        joined: Named,
        /// Number of hops that are left.
        hops: u16,
    },
    /// Nodes that the origin knows, for anyone who is at the end of a random walk.
    Shuffle {
        /// The node that began the walk.
        origin: VerifyingKey,
        /// Nodes that it knows.
        nodes: Vec<Named>,
        /// Number of hops that are left.
        hops: u16,
    },
    /// Nodes that the sender knows.
    ShuffleReply(Vec<Named>),
    /// The sender wants to be, or is, a neighbour.
    Neighbour {
        /// Urgency of the request.
        priority: Priority,
        /// Encoded addresses of the sender.
        addresses: Option<Bytes>,
    },
    /// The sender is no longer a neighbour.
    Disconnect {
        /// It continues in the overlay.
        alive: bool,
    },
    /// A broadcast.
    Payload {
        /// The hash of its content.
        id: MessageId,
        /// The broadcast content.
        content: Bytes,
        /// The recipients.
        scope: Scope,
    },
    /// From now on the sender wants announcements only.
    Prune,
    /// From now on the sender wants broadcasts.
    Graft {
        /// And this one at once.
        id: Option<MessageId>,
        /// Hops of the announcement that this answers.
        hops: u16,
    },
    /// Broadcasts that the sender has, with their hops.
    Announce(Vec<(MessageId, u16)>),
}

impl Message {
    /// Reads the payload of a frame.
    pub fn decode(payload: Bytes) -> Result<Message, MessageError> {
        let mut reader = Reader::new(payload);
        let message = match reader.tag()? {
            MEMBERSHIP => membership(&mut reader)?,
            BROADCAST => broadcast(&mut reader)?,
            _ => return Err(WireError::Tag.into()),
        };
        reader.finish()?;
        Ok(message)
    }

    /// The whole frame.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        // A message is never empty, and bounded by the lists that it names.
        let _ = frame::encode(&mut out, |out| self.write(&mut Writer::new(out)));
        out.freeze()
    }

    fn write(&self, out: &mut Writer<'_>) {
        let tags = |out: &mut Writer<'_>, kind: u32, tag: u32| {
            out.uint(kind).uint(tag);
        };
        match self {
            Message::Join(addresses) => {
                tags(out, MEMBERSHIP, 0);
                out.option_bytes(addresses.as_deref());
            }
            Message::ForwardJoin { joined, hops } => {
                tags(out, MEMBERSHIP, 1);
                named(out, joined);
                out.uint(*hops);
            }
            Message::Shuffle {
                origin,
                nodes,
                hops,
            } => {
                tags(out, MEMBERSHIP, 2);
                out.array(origin.as_bytes());
                all_named(out, nodes);
                out.uint(*hops);
            }
            Message::ShuffleReply(nodes) => {
                tags(out, MEMBERSHIP, 3);
                all_named(out, nodes);
            }
            Message::Neighbour {
                priority,
                addresses,
            } => {
                tags(out, MEMBERSHIP, 4);
                out.uint(match priority {
                    Priority::High => 0_u32,
                    Priority::Low => 1,
                });
                out.option_bytes(addresses.as_deref());
            }
            Message::Disconnect { alive } => {
                tags(out, MEMBERSHIP, 5);
                // The second is not used any more.
                out.array(&[u8::from(*alive), 0]);
            }
            Message::Payload { id, content, scope } => {
                tags(out, BROADCAST, 0);
                out.array(id).bytes(content);
                match scope {
                    Scope::Everyone(hops) => out.uint(0_u32).uint(*hops),
                    Scope::Neighbours => out.uint(1_u32),
                };
            }
            Message::Prune => tags(out, BROADCAST, 1),
            Message::Graft { id, hops } => {
                tags(out, BROADCAST, 2);
                match id {
                    Some(id) => out.array(&[1]).array(id),
                    None => out.array(&[0]),
                };
                out.uint(*hops);
            }
            Message::Announce(announced) => {
                tags(out, BROADCAST, 3);
                out.count(announced.len());
                for (id, hops) in announced {
                    out.array(id).uint(*hops);
                }
            }
        }
    }
}

/// The first frame of a stream: the overlay that all others on it are about.
pub fn encode_header(overlay: &Overlay) -> Bytes {
    let mut out = BytesMut::new();
    // 32 bytes are within every limit.
    let _ = frame::encode(&mut out, |out| out.extend_from_slice(overlay.as_bytes()));
    out.freeze()
}

/// Reads the payload of the first frame of a stream.
pub fn decode_header(payload: Bytes) -> Result<Overlay, MessageError> {
    let mut reader = Reader::new(payload);
    let overlay = Overlay::from_bytes(reader.array()?);
    reader.finish()?;
    Ok(overlay)
}

/// Encodes the addresses of a node in the form of iroh-gossip.
pub fn encode_addresses(relay: Option<&str>, sockets: &[SocketAddr]) -> Bytes {
    let mut sockets = sockets.to_vec();
    sockets.sort();
    sockets.dedup();
    let mut bytes = BytesMut::new();
    let mut out = Writer::new(&mut bytes);
    out.option_bytes(relay.map(str::as_bytes));
    out.count(sockets.len());
    for socket in sockets {
        match socket.ip() {
            IpAddr::V4(ip) => out.uint(0_u32).array(&ip.octets()),
            IpAddr::V6(ip) => out.uint(1_u32).array(&ip.octets()),
        };
        out.uint(socket.port());
    }
    bytes.freeze()
}

fn membership(reader: &mut Reader) -> Result<Message, MessageError> {
    let message = match reader.tag()? {
        0 => Message::Join(addresses(reader)?),
        1 => Message::ForwardJoin {
            joined: read_named(reader)?,
            hops: reader.u16()?,
        },
        2 => Message::Shuffle {
            origin: node(reader)?,
            nodes: read_all_named(reader)?,
            hops: reader.u16()?,
        },
        3 => Message::ShuffleReply(read_all_named(reader)?),
        4 => Message::Neighbour {
            priority: match reader.tag()? {
                0 => Priority::High,
                1 => Priority::Low,
                _ => return Err(WireError::Tag.into()),
            },
            addresses: addresses(reader)?,
        },
        5 => {
            let alive = reader.option()?;
            reader.option()?;
            Message::Disconnect { alive }
        }
        _ => return Err(WireError::Tag.into()),
    };
    Ok(message)
}

fn broadcast(reader: &mut Reader) -> Result<Message, MessageError> {
    let message = match reader.tag()? {
        0 => {
            let (id, content) = (reader.array()?, reader.bytes()?);
            if Hash::digest(&content).as_bytes() != &id {
                return Err(MessageError::Id);
            }
            let scope = match reader.tag()? {
                0 => Scope::Everyone(reader.u16()?),
                1 => Scope::Neighbours,
                _ => return Err(WireError::Tag.into()),
            };
            Message::Payload { id, content, scope }
        }
        1 => Message::Prune,
        2 => Message::Graft {
            id: reader.option()?.then(|| reader.array()).transpose()?,
            hops: reader.u16()?,
        },
        3 => {
            let count = reader.count(33)?;
            let mut announced = Vec::with_capacity(count);
            for _ in 0..count {
                announced.push((reader.array()?, reader.u16()?));
            }
            Message::Announce(announced)
        }
        _ => return Err(WireError::Tag.into()),
    };
    Ok(message)
}

fn node(reader: &mut Reader) -> Result<VerifyingKey, MessageError> {
    // Anyone who is told of a node that is not a key does not read the message at all.
    VerifyingKey::from_bytes(reader.array()?).map_err(|_| MessageError::Key)
}

fn addresses(reader: &mut Reader) -> Result<Option<Bytes>, MessageError> {
    if !reader.option()? {
        return Ok(None);
    }
    let bytes = reader.bytes()?;
    // A copy of its own: it is kept for longer than the message.
    let short = bytes.len() <= limits::GOSSIP_ADDRESSES_BYTES_MAX;
    Ok(short.then(|| Bytes::copy_from_slice(&bytes)))
}

fn read_named(reader: &mut Reader) -> Result<Named, MessageError> {
    Ok(Named {
        node: node(reader)?,
        addresses: addresses(reader)?,
    })
}

fn read_all_named(reader: &mut Reader) -> Result<Vec<Named>, MessageError> {
    let count = reader.count(33)?;
    if count > limits::GOSSIP_NODES_MAX {
        return Err(MessageError::Nodes);
    }
    (0..count).map(|_| read_named(reader)).collect()
}

fn named(out: &mut Writer<'_>, named: &Named) {
    out.array(named.node.as_bytes());
    out.option_bytes(named.addresses.as_deref());
}

fn all_named(out: &mut Writer<'_>, nodes: &[Named]) {
    out.count(nodes.len());
    for node in nodes {
        named(out, node);
    }
}
