//! State that the sessions with one peer on one topic share, so that every operation crosses once
//! although both sides dial (`docs/protocol/sync.md#11`).

use p2panda_core::{Few, Heights, LogRange, VerifyingKey};

use super::lowered::Lowered;
use super::sent::Sent;
use super::session::SessionId;
use super::sources::Sources;

/// The side that dialled the connection of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// This node.
    ByUs,
    /// The peer.
    ByThem,
}

/// Progress of a session, for the other sessions of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
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
    /// Boxed: a map has room for several from the first one on.
    sessions: Few<SessionId, Box<Share>>,
    lives: u64,
    pub(super) lowered: Lowered,
    /// Of the topic.
    pub(super) sources: Sources,
}

#[derive(Debug)]
struct Share {
    primary: bool,
    progress: Progress,
    /// The order in which sessions became live.
    live_order: u64,
    /// Logs of which the peer has more than this node when they compared, or of which it has sent
    /// entries in this session that this session has not come across in what arrived. Everything
    /// else that it told is in `sent`, or was never lacking.
    has: Few<VerifyingKey, u32>,
    /// Operations that the peer was or will be sent in this session. Not a height: those of another
    /// session are left out, and are missing again if that session fails.
    sent: Sent,
}

/// Bytes of memory that a height of a peer takes.
const HAS_BYTES: usize = 64;

impl Pair {
    /// No session yet between this node and `remote`, which shares its sources with nobody.
    pub fn new(local: VerifyingKey, remote: VerifyingKey) -> Self {
        Pair::among(local, remote, Sources::default())
    }

    /// The same, of a topic that this node has sessions with others about.
    pub fn among(local: VerifyingKey, remote: VerifyingKey, sources: Sources) -> Self {
        Self {
            local,
            remote,
            sessions: Few::new(),
            lives: 0,
            lowered: Lowered::default(),
            sources,
        }
    }

    /// Returns `true` if anything is worth keeping when no session is left.
    pub fn remembers(&self) -> bool {
        !self.lowered.is_empty()
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

    pub(super) fn join(&mut self, id: SessionId, primary: bool, progress: Progress) {
        let share = Share {
            primary,
            progress,
            live_order: 0,
            has: Few::new(),
            sent: Sent::default(),
        };
        self.sessions.insert(id, Box::new(share));
    }

    pub(super) fn leave(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        self.forget_plans();
    }

    /// Bytes that a session holds here, as far as they grow with the logs of the topic.
    pub(super) fn held_bytes(&self, id: SessionId) -> usize {
        let held = |share: &Share| share.has.len() * HAS_BYTES + share.sent.held_bytes();
        self.sessions.get(&id).map_or(0, |share| held(share))
    }

    pub(super) fn set_progress(&mut self, id: SessionId, progress: Progress) {
        if progress == Progress::Live {
            self.lives += 1;
        }
        if let Some(share) = self.sessions.get_mut(&id) {
            share.progress = progress;
            if progress == Progress::Live {
                share.live_order = self.lives;
            }
        }
        self.forget_plans();
    }

    /// Forgets what catch-up sent: only sessions that compare need it, and all are live now.
    fn forget_plans(&mut self) {
        let live = |share: &Share| matches!(share.progress, Progress::Live | Progress::Closing);
        if self.sessions.values().all(|share| live(share)) {
            let shares = self.sessions.values_mut();
            shares.for_each(|share| share.sent.forget_plan());
        }
    }

    /// The peer takes again what it refused: the next session sends that, although another one has sent
    /// it (`docs/protocol/sync.md 8.8`).
    pub fn forget_sent(&mut self) {
        let shares = self.sessions.values_mut();
        shares.for_each(|share| share.sent.forget_recent());
    }

    pub(super) fn progress(&self, id: SessionId) -> Option<Progress> {
        self.sessions.get(&id).map(|share| share.progress)
    }

    /// The peer has told, or shown by sending an entry, that it holds everything of a log of the
    /// topic up to this entry.
    pub(super) fn peer_has(&mut self, id: SessionId, author: VerifyingKey, seq: u32) {
        if let Some(share) = self.sessions.get_mut(&id) {
            let has = share.has.get_or_insert_with(author, || seq);
            *has = seq.max(*has);
        }
    }

    /// The peer tells a height of a log now. Where it is lower than what it told or showed before,
    /// the peer asks for the rest once more, since bodies of it have not arrived. In its own log
    /// it lacks none: there it may have sent more since.
    pub(super) fn peer_tells(&mut self, author: &VerifyingKey, told: Option<u32>) {
        if *author == self.remote {
            return;
        }
        for share in self.sessions.values_mut() {
            match (share.has.get_mut(author), told) {
                (Some(has), Some(told)) => *has = told.min(*has),
                (Some(_), None) => drop(share.has.remove(author)),
                (None, _) => {}
            }
        }
    }

    /// Session `id` is about to send these ranges in catch-up.
    pub(super) fn plans(&mut self, id: SessionId, ranges: &[LogRange]) {
        if let Some(share) = self.sessions.get_mut(&id) {
            share.sent.plan(ranges);
        }
    }

    /// Session `id` sends this entry.
    pub(super) fn sends(&mut self, id: SessionId, author: VerifyingKey, seq: u32) {
        if let Some(share) = self.sessions.get_mut(&id) {
            share.sent.add(author, seq);
        }
    }

    /// Session `id` has not sent this entry after all, since its body is wanted here.
    pub(super) fn keeps_back(&mut self, id: SessionId, author: VerifyingKey, seq: u32) {
        if let Some(share) = self.sessions.get_mut(&id) {
            share.sent.remove(&author, seq);
        }
    }

    /// Session `id` came across this entry in what arrived. What the peer showed to have of its log
    /// up to there does not come again: it needs no longer be known.
    pub(super) fn passes(&mut self, id: SessionId, author: VerifyingKey, seq: u32) {
        let Some(share) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(has) = share.has.get(&author).copied() else {
            return;
        };
        if has <= seq {
            share.has.remove(&author);
        }
        if has == seq {
            share.sent.add(author, seq);
        }
    }

    /// Returns `true` if a running session covers this entry already.
    pub(super) fn covers(&self, author: &VerifyingKey, seq: u32) -> bool {
        self.sessions.values().any(|share| {
            let has = share.has.get(author).is_some_and(|has| *has >= seq);
            has || share.sent.contains(author, seq)
        })
    }

    /// Returns what the peer lacks of the local logs, without what running sessions sent or will
    /// send.
    ///
    /// `remote` has the peer's height of each log of `local`, in the same order.
    pub(super) fn lacks(&self, local: &Heights, remote: &[Option<u32>]) -> Vec<LogRange> {
        let mut ranges = Vec::new();
        for ((author, log, until), after) in local.iter().zip(remote) {
            let found = LogRange {
                author,
                log,
                after: *after,
                until,
            };
            self.add_uncovered(&found, |_| false, &mut ranges);
        }
        ranges
    }

    /// These ranges, which the peer was found to lack, without what running sessions sent or will send.
    /// What it has sent of a log that `is_forked` may be of the other branch: it does not show that the
    /// peer has this one.
    pub(super) fn uncovered(
        &self,
        found: &[LogRange],
        is_forked: impl Fn(&LogRange) -> bool,
    ) -> Vec<LogRange> {
        let mut ranges = Vec::with_capacity(found.len());
        for found in found {
            self.add_uncovered(found, &is_forked, &mut ranges);
        }
        ranges
    }

    fn add_uncovered(
        &self,
        found: &LogRange,
        is_forked: impl Fn(&LogRange) -> bool,
        ranges: &mut Vec<LogRange>,
    ) {
        let shares = || self.sessions.values();
        let shown = shares().filter_map(|share| share.has.get(&found.author).copied());
        let held = match shown.max() {
            Some(shown) if Some(shown) > found.after && !is_forked(found) => Some(shown),
            _ => found.after,
        };
        let next = held.map_or(0, |held| u64::from(held) + 1);
        if next > u64::from(found.until) {
            return;
        }
        let mut covered = Spans::default();
        shares().for_each(|share| share.sent.add_to(&mut covered, &found.author));
        let ends = u64::from(found.until) + 1;
        covered.gaps(next, ends, |after, until| {
            ranges.push(LogRange {
                after,
                until,
                ..*found
            });
        });
    }

    /// Returns `true` if a primary session other than `id` is in catch-up.
    pub(super) fn primary_in_catch_up(&self, id: SessionId) -> bool {
        self.others(id)
            .any(|share| share.primary && share.progress == Progress::CatchUp)
    }

    /// Returns `true` if a live session makes session `id`, itself live, superfluous: a primary
    /// does so for one that is not, and among primaries the one that became live last, because an
    /// older one may be a connection that the peer has already lost.
    pub(super) fn superseded(&self, id: SessionId, dialled: Dialled) -> bool {
        let Some(own) = self.sessions.get(&id) else {
            return false;
        };
        let newer = |share: &Share| !own.primary || share.live_order > own.live_order;
        let live_primary = |share: &Share| share.primary && share.progress == Progress::Live;
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
            .map(|(_, share)| share.as_ref())
    }
}

/// Entries of one log, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Span {
    pub(super) fn single(seq: u32) -> Span {
        Span {
            first: seq,
            last: seq,
        }
    }

    pub(super) fn contains(&self, seq: u32) -> bool {
        self.first <= seq && seq <= self.last
    }
}

/// Disjoint spans in ascending order, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<Span>);

impl Spans {
    pub(super) fn add(&mut self, span: Span) {
        // Those that the new span touches lie next to each other.
        let first = self
            .0
            .partition_point(|other| u64::from(other.last) + 1 < u64::from(span.first));
        let end = self
            .0
            .partition_point(|other| u64::from(other.first) <= u64::from(span.last) + 1);
        let mut merged = span;
        for other in self.0.iter().take(end).skip(first) {
            merged.first = merged.first.min(other.first);
            merged.last = merged.last.max(other.last);
        }
        // The common case, one more entry at the end, moves nothing.
        self.0.splice(first..end, [merged]);
    }

    pub(super) fn remove(&mut self, seq: u32) {
        let place = self.0.partition_point(|span| span.last < seq);
        let Some(span) = self.0.get(place).filter(|span| span.first <= seq).copied() else {
            return;
        };
        let below = seq.checked_sub(1).map(|last| Span {
            first: span.first,
            last,
        });
        let above = seq.checked_add(1).map(|first| Span {
            first,
            last: span.last,
        });
        let rest = [below, above].into_iter().flatten();
        let rest = rest.filter(|span| span.first <= span.last);
        self.0.splice(place..=place, rest);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Span> {
        self.0.iter().copied()
    }

    /// Calls `gap` for each range between the spans, from `next` on and before `end`, with an
    /// exclusive start and an inclusive end.
    fn gaps(&self, mut next: u64, end: u64, mut gap: impl FnMut(Option<u32>, u32)) {
        let mut between = |next: u64, end: u64| {
            // Both are within a sequence number plus one.
            if let (true, Ok(until)) = (next < end, u32::try_from(end.saturating_sub(1))) {
                let after = next.checked_sub(1);
                gap(after.and_then(|after| u32::try_from(after).ok()), until);
            }
        };
        for span in &self.0 {
            between(next, end.min(span.first.into()));
            next = next.max(u64::from(span.last) + 1);
        }
        between(next, end);
    }

    pub(super) fn contains(&self, seq: u32) -> bool {
        let after = self.0.partition_point(|span| span.first <= seq);
        let before = after.checked_sub(1).and_then(|place| self.0.get(place));
        before.is_some_and(|span| span.last >= seq)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p2panda_core::{LogId, SigningKey};

    use super::*;

    fn spans(list: &[(u32, u32)]) -> Spans {
        let mut spans = Spans::default();
        list.iter().for_each(|(first, last)| {
            spans.add(Span {
                first: *first,
                last: *last,
            })
        });
        spans
    }

    #[test]
    fn spans_that_touch_become_one() {
        let joined = spans(&[(5, 6), (0, 1), (7, 9), (2, 2), (u32::MAX, u32::MAX)]);
        let expected = [(0, 2), (5, 9), (u32::MAX, u32::MAX)];
        assert_eq!(joined, spans(&expected));
        assert_eq!(joined.0.len(), 3);
        assert!(joined.contains(2) && joined.contains(9) && joined.contains(u32::MAX));
        assert!(!joined.contains(3) && !joined.contains(10));
    }

    #[test]
    fn an_entry_that_is_taken_out_leaves_the_rest() {
        let mut all = spans(&[(0, 4), (7, 7)]);
        for (seq, left) in [
            (2, &[(0, 1), (3, 4), (7, 7)][..]),
            (7, &[(0, 1), (3, 4)]),
            (9, &[(0, 1), (3, 4)]),
            (0, &[(1, 1), (3, 4)]),
            (4, &[(1, 1), (3, 3)]),
        ] {
            all.remove(seq);
            assert_eq!(all, spans(left), "{seq}");
        }
        let mut end = spans(&[(u32::MAX, u32::MAX)]);
        end.remove(u32::MAX);
        assert_eq!(end, spans(&[]));
    }

    #[test]
    fn what_the_peer_takes_again_is_missing_again() {
        let [local, remote] =
            [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let log = LogId::from_bytes([7; 32]);
        let mut pair = Pair::new(local, remote);
        pair.join(SessionId(1), true, Progress::Live);
        (4..=5).for_each(|seq| pair.sends(SessionId(1), local, seq));
        let heights = Heights::from_iter([(local, log, 5)]);
        let range = |after, until| LogRange {
            author: local,
            log,
            after: Some(after),
            until,
        };
        assert_eq!(pair.lacks(&heights, &[Some(2)]), [range(2, 3)]);
        pair.forget_sent();
        assert_eq!(pair.lacks(&heights, &[Some(2)]), [range(2, 5)]);
    }

    #[test]
    fn what_a_failed_session_left_out_is_missing_again() {
        let keys = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let [local, remote] = keys;
        let log = LogId::from_bytes([7; 32]);
        let mut pair = Pair::new(local, remote);
        let (dead, alive) = (SessionId(1), SessionId(2));
        pair.join(dead, true, Progress::Live);
        pair.join(alive, true, Progress::Live);
        (3..=5).for_each(|seq| pair.sends(dead, local, seq));
        (6..=7).for_each(|seq| pair.sends(alive, local, seq));
        let heights = Heights::from_iter([(local, log, 9)]);
        let range = |after, until| LogRange {
            author: local,
            log,
            after: Some(after),
            until,
        };
        assert_eq!(pair.lacks(&heights, &[Some(2)]), [range(7, 9)]);
        pair.leave(dead);
        assert_eq!(pair.lacks(&heights, &[Some(2)]), [range(2, 5), range(7, 9)]);
    }

    #[test]
    fn a_live_session_does_not_remember_every_log() {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]).verifying_key();
        let author = |number: u32| {
            let mut bytes = [9; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            VerifyingKey::from_bytes_unchecked(bytes)
        };
        let mut pair = Pair::new(key(1), key(2));
        let (live, other) = (SessionId(1), SessionId(2));
        pair.join(live, true, Progress::CatchUp);
        let ranges = (0..20_000).map(|number| LogRange {
            author: author(number),
            log: LogId::from_bytes([7; 32]),
            after: None,
            until: 0,
        });
        let ranges: Vec<_> = ranges.collect();
        pair.plans(live, &ranges);
        assert!(pair.held_bytes(live) <= 20_000 * 40 + 64);
        // As long as another one compares, all of it counts.
        pair.join(other, false, Progress::Waiting);
        pair.set_progress(live, Progress::Live);
        assert!((0..20_000).all(|number| pair.covers(&author(number), 0)));
        pair.set_progress(other, Progress::Live);
        assert_eq!(pair.held_bytes(live), 0);
        for number in 20_000..60_000 {
            pair.peer_has(live, author(number), 0);
            assert!(pair.covers(&author(number), 0));
            pair.passes(live, author(number), 0);
            assert!(pair.covers(&author(number), 0));
            pair.sends(live, author(number), 1);
        }
        assert_eq!(pair.held_bytes(live), 0);
        assert!(!pair.covers(&author(20_000), 1));
        assert!(pair.covers(&author(59_999), 1));
    }
}
