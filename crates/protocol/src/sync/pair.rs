//! What the sessions with one peer on one topic know of each other, so that every operation
//! crosses once although both sides dial (`docs/protocol/sync.md#7`).

use std::collections::BTreeMap;

use p2panda_core::{Heights, LogId, VerifyingKey};

use super::session::SessionId;

/// Who dialled the connection of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// This node.
    ByUs,
    /// The peer.
    ByThem,
}

/// How far a session has come, as its siblings need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not the primary, and holds its heights back while a primary is in catch-up.
    Waiting,
    /// Between its first message and the moment all it received is durable.
    CatchUp,
    /// Both sides are done; new operations follow as they come.
    Live,
    /// Live, and about to end: it sends nothing more.
    Closing,
}

/// The sessions with one peer on one topic.
///
/// A value of this type is handed to every call of [`super::session::Session::handle`] of those
/// sessions. It holds no history: what an ended session has sent is forgotten, because only the
/// peer's next heights tell what arrived.
#[derive(Debug)]
pub struct Pair {
    local: VerifyingKey,
    remote: VerifyingKey,
    sessions: BTreeMap<SessionId, Share>,
    lives: u64,
}

#[derive(Debug)]
struct Share {
    primary: bool,
    phase: Phase,
    /// The order in which sessions became live.
    live_order: u64,
    /// What the peer has told to hold, has sent, was sent, or will be sent in this session.
    has: Heights,
}

impl Pair {
    /// No session yet between this node and `remote`.
    pub fn new(local: VerifyingKey, remote: VerifyingKey) -> Self {
        Self {
            local,
            remote,
            sessions: BTreeMap::new(),
            lives: 0,
        }
    }

    /// The node id of the peer, as its TLS identity proved it.
    pub fn remote(&self) -> VerifyingKey {
        self.remote
    }

    /// Number of sessions that have not ended.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn local(&self) -> VerifyingKey {
        self.local
    }

    /// The primary session is the one that the smaller node id dialled; both sides know it.
    pub(super) fn is_primary(&self, dialled: Dialled) -> bool {
        match dialled {
            Dialled::ByUs => self.local < self.remote,
            Dialled::ByThem => self.remote < self.local,
        }
    }

    pub(super) fn join(&mut self, id: SessionId, primary: bool, phase: Phase) {
        let share = Share {
            primary,
            phase,
            live_order: 0,
            has: Heights::default(),
        };
        self.sessions.insert(id, share);
    }

    pub(super) fn leave(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    pub(super) fn set_phase(&mut self, id: SessionId, phase: Phase) {
        if phase == Phase::Live {
            self.lives += 1;
        }
        if let Some(share) = self.sessions.get_mut(&id) {
            share.phase = phase;
            if phase == Phase::Live {
                share.live_order = self.lives;
            }
        }
    }

    pub(super) fn phase(&self, id: SessionId) -> Option<Phase> {
        self.sessions.get(&id).map(|share| share.phase)
    }

    /// The peer holds, or will have been sent, everything of this log up to `seq`.
    pub(super) fn raise(&mut self, id: SessionId, author: VerifyingKey, log: LogId, seq: u32) {
        if let Some(share) = self.sessions.get_mut(&id) {
            share.has.raise(author, log, seq);
        }
    }

    pub(super) fn raise_all(&mut self, id: SessionId, heights: &Heights) {
        if let Some(share) = self.sessions.get_mut(&id) {
            share.has.merge(heights);
        }
    }

    /// Whether a running session covers this entry already.
    pub(super) fn covers(&self, author: &VerifyingKey, log: &LogId, seq: u32) -> bool {
        let covers = |share: &Share| share.has.get(author, log).is_some_and(|has| has >= seq);
        self.sessions.values().any(covers)
    }

    /// The peer's heights, raised by what all running sessions sent or plan to send.
    pub(super) fn remote_heights(&self) -> Heights {
        let mut heights = Heights::default();
        for share in self.sessions.values() {
            heights.merge(&share.has);
        }
        heights
    }

    /// Whether a primary session other than `id` is in catch-up.
    pub(super) fn primary_in_catch_up(&self, id: SessionId) -> bool {
        self.others(id)
            .any(|share| share.primary && share.phase == Phase::CatchUp)
    }

    /// Whether any session other than `id` is in catch-up.
    pub(super) fn other_in_catch_up(&self, id: SessionId) -> bool {
        self.others(id).any(|share| share.phase == Phase::CatchUp)
    }

    /// Whether a live session makes session `id`, itself live, superfluous: a primary does so for
    /// one that is not, and among primaries the one that became live last, because an older one
    /// may be a connection that the peer has already lost.
    pub(super) fn superseded(&self, id: SessionId, dialled: Dialled) -> bool {
        let Some(own) = self.sessions.get(&id) else {
            return false;
        };
        let newer = |share: &Share| !own.primary || share.live_order > own.live_order;
        let live_primary = |share: &Share| share.primary && share.phase == Phase::Live;
        // Of two primaries only the side that dialled both closes one, or each side might close
        // the other one.
        (!own.primary || dialled == Dialled::ByUs)
            && self
                .others(id)
                .any(|share| live_primary(share) && newer(share))
    }

    fn others(&self, id: SessionId) -> impl Iterator<Item = &Share> {
        self.sessions
            .iter()
            .filter(move |(other, _)| **other != id)
            .map(|(_, share)| share)
    }
}
