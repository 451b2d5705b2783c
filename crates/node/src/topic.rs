//! What a node keeps for each topic it is interested in.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use p2panda_core::{Topic, VerifyingKey};
use p2panda_net::SyncHandle;
use p2panda_protocol::sync::SessionId;
use tokio::sync::watch;

use crate::Error;
use crate::acks::Acks;
use crate::queue::Queue;

/// The topics of a node. Shared by the node, the engine's commit signal and the network.
#[derive(Clone, Default)]
pub(crate) struct Topics(Arc<Mutex<HashMap<Topic, Arc<TopicState>>>>);

impl Topics {
    pub(crate) fn get(&self, topic: &Topic) -> Option<Arc<TopicState>> {
        self.map().get(topic).cloned()
    }

    /// The state of a topic and whether it is new.
    pub(crate) fn join(&self, topic: Topic, queue: &Queue) -> (Arc<TopicState>, bool) {
        let mut map = self.map();
        if let Some(state) = map.get(&topic) {
            return (Arc::clone(state), false);
        }
        let state = Arc::new(TopicState::new(topic, queue.clone()));
        map.insert(topic, Arc::clone(&state));
        (state, true)
    }

    pub(crate) fn leave(&self, topic: &Topic) -> Option<Arc<TopicState>> {
        let state = self.map().remove(topic)?;
        state.left.send_replace(true);
        Some(state)
    }

    pub(crate) fn leave_all(&self) -> Vec<Arc<TopicState>> {
        let states: Vec<_> = self.map().drain().map(|(_, state)| state).collect();
        for state in &states {
            state.left.send_replace(true);
        }
        states
    }

    /// Operations of a topic are durable up to `arrival`, its feed reaches up to `offset`.
    pub(crate) fn committed(&self, topic: &Topic, arrival: Option<u64>, offset: Option<u64>) {
        if let Some(state) = self.get(topic) {
            state.committed(arrival, offset);
        }
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Topic, Arc<TopicState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One topic of a node.
pub(crate) struct TopicState {
    arrivals: watch::Sender<u64>,
    offsets: watch::Sender<u64>,
    left: watch::Sender<bool>,
    /// Up to which arrival number each session has sent, while it runs.
    sent: watch::Sender<BTreeMap<SessionId, (VerifyingKey, u64)>>,
    sync: OnceLock<SyncHandle>,
    acks: Arc<Acks>,
}

impl TopicState {
    fn new(topic: Topic, queue: Queue) -> Self {
        Self {
            arrivals: watch::Sender::new(0),
            offsets: watch::Sender::new(0),
            left: watch::Sender::new(false),
            sent: watch::Sender::default(),
            sync: OnceLock::new(),
            acks: Acks::new(topic, queue),
        }
    }

    pub(crate) fn committed(&self, arrival: Option<u64>, offset: Option<u64>) {
        raise(&self.arrivals, arrival.unwrap_or(0));
        raise(&self.offsets, offset.unwrap_or(0));
    }

    /// How many arrivals there are above this one, at most; many if nothing came since the start.
    pub(crate) fn arrived_since(&self, arrival: u64) -> u64 {
        above(*self.arrivals.borrow(), arrival)
    }

    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// Closes when the topic is left.
    pub(crate) fn offsets(&self) -> Offsets {
        Offsets {
            offsets: self.offsets.subscribe(),
            left: self.left.subscribe(),
        }
    }

    pub(crate) fn acks(&self) -> Arc<Acks> {
        Arc::clone(&self.acks)
    }

    /// The network's side of the topic. The first call sets it.
    pub(crate) fn set_sync(&self, sync: SyncHandle) {
        // Set once: only the caller that made the state does so.
        let _ = self.sync.set(sync);
    }

    pub(crate) fn sync(&self) -> Option<&SyncHandle> {
        self.sync.get()
    }

    pub(crate) fn session_sent(&self, session: SessionId, peer: VerifyingKey, arrival: u64) {
        self.sent.send_modify(|sent| {
            sent.insert(session, (peer, arrival));
        });
    }

    pub(crate) fn session_ended(&self, session: SessionId) {
        self.sent
            .send_if_modified(|sent| sent.remove(&session).is_some());
    }

    pub(crate) fn sent_to(&self, arrival: u64) -> usize {
        peers_with(&self.sent.borrow(), arrival)
    }

    pub(crate) async fn wait_sent(&self, arrival: u64, peers: usize) -> Result<(), Error> {
        let (mut sent, mut left) = (self.sent.subscribe(), self.left.subscribe());
        tokio::select! {
            _ = sent.wait_for(|sent| peers_with(sent, arrival) >= peers) => Ok(()),
            _ = left.wait_for(|left| *left) => Err(Error::Closed),
        }
    }
}

/// Tells that the feed of a topic has grown.
#[derive(Clone, Debug)]
pub(crate) struct Offsets {
    offsets: watch::Receiver<u64>,
    left: watch::Receiver<bool>,
}

impl Offsets {
    /// Growth from here on wakes [`Offsets::changed`].
    pub(crate) fn mark_seen(&mut self) {
        self.offsets.borrow_and_update();
    }

    /// How many offsets there are above this one, at most; many if nothing came since the start.
    pub(crate) fn above(&self, offset: u64) -> u64 {
        above(*self.offsets.borrow(), offset)
    }

    /// Waits for growth. `None` when the topic was left.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            changed = self.offsets.changed() => changed.ok(),
            _ = self.left.wait_for(|left| *left) => None,
        }
    }
}

fn above(last: u64, number: u64) -> u64 {
    match last.saturating_sub(number) {
        0 => u64::MAX,
        rows => rows,
    }
}

fn raise(value: &watch::Sender<u64>, to: u64) {
    value.send_if_modified(|value| {
        let higher = to > *value;
        *value = to.max(*value);
        higher
    });
}

fn peers_with(sent: &BTreeMap<SessionId, (VerifyingKey, u64)>, arrival: u64) -> usize {
    let peers = sent
        .values()
        .filter(|(_, up_to)| *up_to >= arrival)
        .map(|(peer, _)| peer);
    peers.collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_as_new_only_if_something_came_since_the_start() {
        assert_eq!(above(0, 0), u64::MAX);
        assert_eq!(above(7, 7), u64::MAX);
        assert_eq!(above(7, 4), 3);
    }
}
