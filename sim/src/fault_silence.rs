//! Nodes that misbehave in what they send.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::network::{LinkId, Parcel};
use crate::node::NodeId;
use crate::simulation::Sim;

/// What is wrong with what a node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its sessions open, and say nothing more. It never ends one.
    Silence,
    /// Its sessions say one byte now and then.
    Dripping,
}

/// The faults of all nodes.
#[derive(Default)]
pub(crate) struct Faults(BTreeMap<NodeId, Fault>);

/// Time between two bytes of a node that drips.
const DRIP_MS: u64 = 29_000;
/// Bytes of each message that drip; a run ends before.
const DRIPS: usize = 20;

impl Sim {
    /// From now on `node` misbehaves in this way, or no longer. What is under way arrives.
    pub fn set_fault(&mut self, node: NodeId, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.faults_mut().0.insert(node, fault),
            None => self.faults_mut().0.remove(&node),
        };
    }

    /// What is left of a parcel of this node, and how long each part of it takes.
    pub(crate) fn with_fault(&self, node: NodeId, parcel: Parcel) -> Vec<(u64, Parcel)> {
        match (self.faults().0.get(&node), parcel) {
            (None, parcel) => vec![(0, parcel)],
            (Some(Fault::Dripping), Parcel::Bytes(bytes)) => {
                let drips = bytes.iter().take(DRIPS);
                let drip = |byte: &u8| Parcel::Bytes(Bytes::copy_from_slice(&[*byte]));
                drips.map(|byte| (DRIP_MS, drip(byte))).collect()
            }
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
