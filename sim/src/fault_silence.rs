//! Nodes that misbehave in what they send.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use p2panda_core::limits;
use p2panda_protocol::sync::Message;

use crate::network::{LinkId, Parcel};
use crate::node::NodeId;
use crate::simulation::Sim;

/// Fault of what a node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its sessions open, and say nothing more. It never ends one.
    Silence,
    /// Its sessions say one byte now and then.
    Dripping,
    /// Before each operation it sends one whose header does not decode.
    Undecodable,
    /// Before each operation it sends one that is larger than anybody takes.
    Oversize,
}

/// The faults of all nodes.
#[derive(Default)]
pub(crate) struct Faults(BTreeMap<NodeId, Fault>);

/// Time between two bytes of a node that drips.
const DRIP_MS: u64 = 29_000;
/// Bytes of each message that drip; a run ends before.
const DRIPS: usize = 20;

/// The header of an operation that a node with [`Fault::Undecodable`] sends.
pub const UNDECODABLE_HEADER: &[u8] = &[0xff; 5_000];

/// The header of an operation that a node with [`Fault::Oversize`] sends; its frame is larger than
/// all that is taken.
pub const OVERSIZE_HEADER: &[u8] = &[0xfe; 5_000];

/// The same frames, with another operation before each operation.
fn with_bad_operations(frames: &Bytes, fault: Option<Fault>) -> Bytes {
    let (header, body_bytes) = match fault {
        Some(Fault::Oversize) => (OVERSIZE_HEADER, limits::OPERATION_BYTES_MAX_DEFAULT),
        _ => (UNDECODABLE_HEADER, 1),
    };
    let (header, body) = (Bytes::from_static(header), Some(vec![0; body_bytes].into()));
    let (mut rest, mut out) = (frames.clone(), BytesMut::new());
    while let Some(len) = rest.first_chunk::<4>() {
        let frame = rest.split_to((4 + u32::from_be_bytes(*len) as usize).min(rest.len()));
        let bad = match Message::decode(frame.slice(4..)) {
            Ok(Message::Operation { .. }) => Some(Message::Operation {
                header: header.clone(),
                body: body.clone(),
            }),
            Ok(Message::Live { .. }) => Some(Message::Live {
                header: header.clone(),
                body: body.clone(),
            }),
            _ => None,
        };
        if let Some(bad) = bad {
            bad.encode(&mut out)
                .expect("within the limit of every frame");
        }
        out.extend_from_slice(&frame);
    }
    out.extend_from_slice(&rest);
    out.freeze()
}

impl Sim {
    /// From now on `node` misbehaves in this way, or no longer. What is in progress arrives.
    pub fn set_fault(&mut self, node: NodeId, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.faults_mut().0.insert(node, fault),
            None => self.faults_mut().0.remove(&node),
        };
    }

    /// Returns what is left of a parcel of this node, and how long each part of it takes.
    pub(crate) fn with_fault(&self, node: NodeId, parcel: Parcel) -> Vec<(u64, Parcel)> {
        match (self.faults().0.get(&node), parcel) {
            (None, parcel) => vec![(0, parcel)],
            (Some(Fault::Dripping), Parcel::Bytes(bytes)) => {
                let drips = bytes.iter().take(DRIPS);
                let drip = |byte: &u8| Parcel::Bytes(Bytes::copy_from_slice(&[*byte]));
                drips.map(|byte| (DRIP_MS, drip(byte))).collect()
            }
            (Some(Fault::Undecodable | Fault::Oversize), Parcel::Bytes(bytes)) => {
                let fault = self.faults().0.get(&node).copied();
                vec![(0, Parcel::Bytes(with_bad_operations(&bytes, fault)))]
            }
            (Some(Fault::Undecodable | Fault::Oversize), parcel) => vec![(0, parcel)],
            (Some(_), _) => Vec::new(),
        }
    }

    /// Puts what a node sends on its way, with its faults.
    pub(crate) fn send(&mut self, link: LinkId, to: usize, parcel: Parcel) {
        let Some(sender) = self.node_at(link, 1 - to) else {
            return;
        };
        for (delay_ms, part) in self.with_fault(sender, parcel) {
            self.put_on_its_way(link, to, delay_ms, part);
        }
    }
}
