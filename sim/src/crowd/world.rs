//! Pending events, in order.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::VerifyingKey;
use p2panda_protocol::gossip::Message;
use p2panda_protocol::sync::Fault;
use p2panda_protocol::time::Time;

/// Nodes are named by their number, and by key where there may be none.
#[derive(Debug)]
pub(super) enum Event {
    /// A node starts with what it holds.
    Start(usize, BTreeSet<u64>),
    /// A node gets a message of its own once it runs.
    Give(usize, u64),
    NeedTick(usize),
    GossipTick(usize),
    /// A node looks whether it lacks neighbours.
    Seek(usize),
    /// A message of the overlay: to whom, from whom.
    Frame(usize, VerifyingKey, Message),
    /// There is no way from a node to a peer.
    Unreachable(usize, VerifyingKey),
    /// A dial of a node for a session arrives.
    Reached(usize, VerifyingKey),
    /// A node sees its session with another end.
    Ended(usize, usize, u64, Fault),
    /// A message arrives in a session at a node.
    Message(u64, usize, u64),
    /// A stranger does what it does.
    Stranger(usize),
}

#[derive(Debug, Default)]
pub(super) struct Events {
    order: u64,
    queue: BTreeMap<(Time, u64), Event>,
}

impl Events {
    pub(super) fn add(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.queue.insert((at, self.order), event);
    }

    /// The next one up to a time.
    pub(super) fn next(&mut self, until: Time) -> Option<(Time, Event)> {
        let first = self.queue.first_entry()?;
        let at = first.key().0;
        (at <= until).then(|| (at, first.remove()))
    }
}
