//! Sessions that peers have refused, for anyone who looks at the peers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use p2panda_core::{Topic, VerifyingKey, limits};
use parking_lot::Mutex;

use crate::event::{Refusal, RefusalStatus};

/// The last refusal of each peer and topic, until it is made good. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    by_topic: BTreeMap<Topic, BTreeMap<VerifyingKey, Refused>>,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    reason: Refusal,
    at: SystemTime,
    times: u32,
}

impl Refusals {
    /// A peer refused a session. When there are very many, a new one is not remembered.
    pub(crate) fn add(&self, topic: Topic, peer: VerifyingKey, reason: Refusal, at: SystemTime) {
        let mut inner = self.0.lock();
        let Inner { by_topic, count } = &mut *inner;
        let before = by_topic.get(&topic).and_then(|peers| peers.get(&peer));
        let times = before.map_or(0, |refused| refused.times);
        if before.is_none() {
            if *count >= limits::REFUSALS_REMEMBERED_MAX {
                return;
            }
            *count += 1;
        }
        let times = times.saturating_add(1);
        let refused = Refused { reason, at, times };
        by_topic.entry(topic).or_default().insert(peer, refused);
    }

    /// A session with the peer is live, or it is not interested in the topic any more.
    pub(crate) fn forget(&self, topic: Topic, peer: VerifyingKey) {
        let mut inner = self.0.lock();
        let Some(peers) = inner.by_topic.get_mut(&topic) else {
            return;
        };
        let removed = usize::from(peers.remove(&peer).is_some());
        if peers.is_empty() {
            inner.by_topic.remove(&topic);
        }
        inner.count = inner.count.saturating_sub(removed);
    }

    /// The topic was left.
    pub(crate) fn forget_topic(&self, topic: Topic) {
        let mut inner = self.0.lock();
        let removed = inner.by_topic.remove(&topic).unwrap_or_default();
        inner.count = inner.count.saturating_sub(removed.len());
    }

    /// All of them by peer.
    pub(crate) fn by_peer(&self) -> HashMap<VerifyingKey, Vec<RefusalStatus>> {
        let mut by_peer: HashMap<_, Vec<RefusalStatus>> = HashMap::new();
        let inner = self.0.lock();
        let all = inner.by_topic.iter();
        for (topic, (peer, refused)) in
            all.flat_map(|(topic, peers)| peers.iter().map(move |refused| (topic, refused)))
        {
            by_peer.entry(*peer).or_default().push(RefusalStatus {
                topic: *topic,
                reason: refused.reason,
                at: refused.at,
                times: refused.times,
            });
        }
        by_peer
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn topic(number: usize) -> Topic {
        let mut bytes = [0; 32];
        for (byte, of) in bytes.iter_mut().zip(number.to_be_bytes()) {
            *byte = of;
        }
        Topic::from_bytes(bytes)
    }

    #[test]
    fn the_last_refusal_of_a_topic_is_said_until_mended() {
        let peer = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let (refusals, at) = (Refusals::default(), SystemTime::UNIX_EPOCH);
        for number in 0..limits::REFUSALS_REMEMBERED_MAX + 1 {
            refusals.add(topic(number), peer, Refusal::TooMany, at);
        }
        refusals.add(topic(0), peer, Refusal::NotServed, at);
        let said = refusals.by_peer().remove(&peer).unwrap_or_default();
        assert_eq!(said.len(), limits::REFUSALS_REMEMBERED_MAX);
        let first = RefusalStatus {
            topic: topic(0),
            reason: Refusal::NotServed,
            at,
            times: 2,
        };
        assert_eq!(said.first(), Some(&first));
        refusals.forget(topic(0), peer);
        refusals.forget_topic(topic(1));
        let said = refusals.by_peer().remove(&peer).unwrap_or_default();
        assert_eq!(said.len(), limits::REFUSALS_REMEMBERED_MAX - 2);
    }
}
