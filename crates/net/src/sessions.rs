//! The running sync sessions of all topics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda_core::{Topic, VerifyingKey};
use p2panda_protocol::sync::SessionId;
use parking_lot::Mutex;

use crate::event::{CatchUp, NetEvent, SessionStatus};
use crate::signals::Signals;

/// The running sessions with their peers, and the number of the next one.
#[derive(Debug)]
pub(crate) struct Sessions {
    running: Mutex<Running>,
    number: AtomicU64,
    signals: Signals,
}

/// All sessions, with counts of what is requested often, so that a request costs the same for any
/// number of sessions.
#[derive(Debug, Default)]
struct Running {
    all: BTreeMap<SessionId, (VerifyingKey, SessionStatus)>,
    by_peer: Counts<VerifyingKey>,
    /// Those that are live.
    live: Counts<Topic>,
    /// Progress of those that catch up.
    catch_ups: HashMap<SessionId, CatchUp>,
}

/// Number of each, without those of which there are none.
#[derive(Debug)]
struct Counts<K>(HashMap<K, usize>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

impl Sessions {
    pub(crate) fn new(signals: Signals) -> Self {
        Self {
            running: Mutex::default(),
            number: AtomicU64::new(1),
            signals,
        }
    }

    /// A number that no session had before.
    pub(crate) fn next(&self) -> SessionId {
        SessionId(self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the number of open sessions with this peer, on all topics.
    pub(crate) fn with(&self, peer: &VerifyingKey) -> usize {
        self.running.lock().by_peer.of(peer)
    }

    pub(crate) fn started(&self, peer: VerifyingKey, status: SessionStatus) {
        let SessionStatus { session, topic, .. } = status;
        {
            let mut running = self.running.lock();
            running.by_peer.add(peer);
            running.all.insert(session, (peer, status));
        }
        self.signals.tell(NetEvent::SessionStarted {
            topic,
            peer,
            session,
        });
    }

    /// A catch-up has begun, or continues.
    pub(crate) fn catches_up(&self, session: SessionId, catch_up: CatchUp) {
        self.running.lock().catch_ups.insert(session, catch_up);
    }

    pub(crate) fn live(&self, session: SessionId) {
        let mut running = self.running.lock();
        running.catch_ups.remove(&session);
        let Running { all, live, .. } = &mut *running;
        if let Some((_, status)) = all.get_mut(&session)
            && !std::mem::replace(&mut status.live, true)
        {
            live.add(status.topic);
        }
    }

    /// Those among them that run and are not live.
    pub(crate) fn not_live(&self, sessions: impl Iterator<Item = SessionId>) -> Vec<SessionId> {
        let running = self.running.lock();
        let is_behind = |session: &SessionId| {
            let found = running.all.get(session);
            found.is_some_and(|(_, status)| !status.live)
        };
        sessions.filter(is_behind).collect()
    }

    pub(crate) fn ended(&self, session: SessionId) {
        let mut running = self.running.lock();
        let Some((peer, ended)) = running.all.remove(&session) else {
            return;
        };
        running.by_peer.remove(&peer);
        running.catch_ups.remove(&session);
        if ended.live {
            running.live.remove(&ended.topic);
        }
        if running.live.of(&ended.topic) == 0 {
            drop(running);
            // The topic has lost its last peer.
            self.signals.walk();
        }
    }

    /// Returns the number of topics with a live session.
    pub(crate) fn live_topics(&self) -> usize {
        self.running.lock().live.0.len()
    }

    /// With how many peers there is a session on a topic, and with how many of them one is live.
    pub(crate) fn peers_on(&self, topic: &Topic) -> (usize, usize) {
        let running = self.running.lock();
        let on_topic = || running.all.values().filter(|(_, one)| one.topic == *topic);
        let peers: BTreeSet<_> = on_topic().map(|(peer, _)| *peer).collect();
        let live: BTreeSet<_> = on_topic()
            .filter(|(_, one)| one.live)
            .map(|(peer, _)| *peer)
            .collect();
        (peers.len(), live.len())
    }

    /// Returns the number of sessions, and how many of them are live.
    pub(crate) fn count(&self) -> (u64, u64) {
        let running = self.running.lock();
        let live = running.all.values().filter(|(_, one)| one.live);
        (running.all.len() as u64, live.count() as u64)
    }

    /// Running sessions on a topic with their peers, and how far they are while they catch up.
    pub(crate) fn on(&self, topic: &Topic) -> Vec<(VerifyingKey, SessionStatus, Option<CatchUp>)> {
        let running = self.running.lock();
        let on_topic = running
            .all
            .iter()
            .filter(|(_, (_, one))| one.topic == *topic);
        let on_topic = on_topic.map(|(session, (peer, status))| {
            let catch_up = running.catch_ups.get(session).copied();
            (*peer, *status, catch_up)
        });
        on_topic.collect()
    }

    /// Running sessions with their peers.
    pub(crate) fn all(&self) -> Vec<(VerifyingKey, SessionStatus)> {
        self.running.lock().all.values().copied().collect()
    }
}
