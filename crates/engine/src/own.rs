//! Our own log in a topic, as far as peers know more of it than we do: publishing is held
//! until they had the time to send it (`docs/protocol/streams.md#16`, layer c).
//!
//! A claim alone holds for a moment, and all claims of a process that come to nothing share
//! one [`Patience`]. An operation that only we can have signed holds for as long as more of
//! them come.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use p2panda_core::VerifyingKey;
use p2panda_core::limits::{
    OWN_LOG_CLAIMS_MAX, OWN_LOG_HELD_BYTES_MAX, OWN_LOG_HELD_OPERATIONS_MAX, OWN_LOG_SHOW_WAIT,
    OWN_LOG_SHOWN_MAX, OWN_LOG_WAIT_PER_HOUR, PROGRESS_TIMEOUT,
};

use crate::again::{Again, keep_request};
use crate::command::PublishRequest;

const PATIENCE_BACK_US: u64 = OWN_LOG_WAIT_PER_HOUR.as_micros() as u64;
const HOUR_US: u64 = 3_600_000_000;
const SHOW_US: u64 = OWN_LOG_SHOW_WAIT.as_micros() as u64;
const SHOWN_US: u64 = PROGRESS_TIMEOUT.as_micros() as u64;
const SHOWN_MAX_US: u64 = OWN_LOG_SHOWN_MAX.as_micros() as u64;

/// Time for which publishes may still wait for claims that come to nothing, in all topics.
#[derive(Clone)]
pub(crate) struct Patience {
    left_us: u64,
    max_us: u64,
    /// Time at which the rest was right.
    at_us: u64,
}

impl Patience {
    pub fn new(max_us: u64) -> Patience {
        Patience {
            left_us: max_us,
            max_us,
            at_us: 0,
        }
    }

    /// Takes what is left of `us`.
    fn take(&mut self, us: u64, now_us: u64) -> u64 {
        let taken = us.min(self.left(now_us));
        self.left_us -= taken;
        taken
    }

    fn give_back(&mut self, us: u64) {
        self.left_us = self.left_us.saturating_add(us).min(self.max_us);
    }

    fn left(&mut self, now_us: u64) -> u64 {
        let hours = now_us.saturating_sub(self.at_us) / HOUR_US;
        self.at_us += hours * HOUR_US;
        self.give_back(hours.saturating_mul(PATIENCE_BACK_US));
        self.left_us
    }
}

/// Places in our logs of a topic, by the labels of the logs. One log takes no more than its place.
#[derive(Clone, Default)]
struct Seqs {
    first: Option<(VerifyingKey, u32)>,
    others: BTreeMap<VerifyingKey, u32>,
}

impl Seqs {
    fn get(&self, log: &VerifyingKey) -> Option<u32> {
        match &self.first {
            Some((first, seq)) if first == log => Some(*seq),
            _ => self.others.get(log).copied(),
        }
    }

    fn set(&mut self, log: VerifyingKey, seq: u32) {
        match &mut self.first {
            Some((first, known)) if *first == log => *known = seq,
            None => self.first = Some((log, seq)),
            Some(_) => {
                self.others.insert(log, seq);
            }
        }
    }
}

/// The claims of a session, about any log.
fn of_session(session: u64) -> RangeInclusive<(u64, VerifyingKey)> {
    let [first, last] = [0, 255].map(|byte| VerifyingKey::from_bytes_unchecked([byte; 32]));
    (session, first)..=(session, last)
}

/// Our logs in a topic. A claim about one of them holds the publishes to all.
#[derive(Default)]
pub(crate) struct OwnLog {
    /// By session and log.
    claims: BTreeMap<(u64, VerifyingKey), Claim>,
    /// Set while publishes wait for claims alone.
    stretch: Option<Stretch>,
    /// Operations that this run has appended: they prove nothing when they come back.
    appended: Seqs,
    held: VecDeque<PublishRequest>,
    held_operations: usize,
    held_bytes: usize,
    /// Heights of our logs that peers claim to have stored.
    stored: Seqs,
    /// The session that brought an operation of ours last that is in our log, the log and its place.
    echoed: Option<(u64, VerifyingKey, u32)>,
    /// As all of it was when the transaction that runs began to use it.
    saved: Option<Box<Saved>>,
}

struct Saved {
    claims: BTreeMap<(u64, VerifyingKey), Claim>,
    stretch: Option<Stretch>,
    appended: Seqs,
    /// Number of held publishes before the transaction, and those that it released.
    held: usize,
    released: Vec<Again<PublishRequest>>,
}

#[derive(Clone)]
struct Claim {
    /// Claimed height of our log, if a peer has claimed one.
    seq: Option<u32>,
    /// Height of the log here at that time.
    height: Option<u32>,
    made_us: u64,
    shown: Option<Shown>,
}

/// An operation of our log above what we had.
#[derive(Clone)]
struct Shown {
    /// The highest one.
    seq: u32,
    first_us: u64,
    until_us: u64,
}

/// Time for which publishes wait, taken from the patience in advance.
#[derive(Clone)]
struct Stretch {
    from_us: u64,
    until_us: u64,
}

impl OwnLog {
    /// The peer of a session claims to have our log up to `seq`, and we have it up to `height`.
    pub fn claimed(&mut self, of: (u64, VerifyingKey), seq: u32, height: Option<u32>, now_us: u64) {
        if height.is_none_or(|height| height < seq) && self.has_room(now_us) {
            self.claims.insert(
                of,
                Claim {
                    seq: Some(seq),
                    height,
                    made_us: now_us,
                    shown: None,
                },
            );
        }
    }

    /// A session in catch-up, or one with a claim, brought an operation of our log. Before it we
    /// had the log up to `height`.
    pub fn shown(
        &mut self,
        of: (u64, VerifyingKey),
        seq: u32,
        height: Option<u32>,
        patience: &mut Patience,
        now_us: u64,
    ) {
        let claim = self.claims.get(&of);
        let known = claim.map_or(height, |claim| claim.height);
        let is_new = |known: u32| seq > known;
        if !known.is_none_or(is_new) || !self.appended.get(&of.1).is_none_or(is_new) {
            return;
        }
        if claim.is_none() && !self.has_room(now_us) {
            return;
        }
        let claim = self.claims.entry(of).or_insert(Claim {
            seq: None,
            height,
            made_us: now_us,
            shown: None,
        });
        let shown = claim.shown.get_or_insert(Shown {
            seq,
            first_us: now_us,
            until_us: now_us.saturating_add(SHOWN_US),
        });
        if seq > shown.seq {
            shown.seq = seq;
            let last_us = shown.first_us.saturating_add(SHOWN_MAX_US);
            shown.until_us = now_us.saturating_add(SHOWN_US).min(last_us);
        }
        let made_us = claim.made_us;
        if let Some(stretch) = self.stretch.take() {
            // The publishes did not wait for this claim in vain.
            let since_us = made_us.max(stretch.from_us);
            patience.give_back(stretch.until_us.saturating_sub(since_us));
        }
    }

    /// A peer says that it has stored our log up to here.
    pub fn hold(&mut self, log: VerifyingKey, seq: u32) {
        let known = self.stored.get(&log);
        self.stored
            .set(log, known.map_or(seq, |known| known.max(seq)));
    }

    /// Returns the greatest height of a log of ours that a peer is known to have stored.
    pub fn held(&self, log: &VerifyingKey) -> Option<u32> {
        self.stored.get(log)
    }

    /// A session brought an operation that is in a log of ours.
    pub fn echoed(&mut self, session: u64, log: VerifyingKey, seq: u32) {
        self.echoed = Some((session, log, seq));
    }

    /// The place of the operation in this log of ours that this session brought last, if no other one
    /// has since.
    pub fn echoed_by(&self, session: u64, log: &VerifyingKey) -> Option<u32> {
        let echoed = self
            .echoed
            .filter(|(by, of, _)| *by == session && of == log);
        echoed.map(|(_, _, seq)| seq)
    }

    pub fn is_claimed_by(&self, session: u64) -> bool {
        self.claims.range(of_session(session)).next().is_some()
    }

    /// A log of ours has reached `height`: claims up to there are met.
    pub fn reached(&mut self, log: &VerifyingKey, height: u32) {
        self.claims.retain(|(_, of), claim| {
            let shown = claim.shown.as_ref().map_or(0, |shown| shown.seq);
            of != log || claim.seq.is_none_or(|seq| seq.max(shown) > height)
        });
    }

    /// We have appended an operation ourselves.
    pub fn appended(&mut self, log: VerifyingKey, seq: u32) {
        self.appended.set(log, seq);
    }

    /// The catch-up of a session is over.
    pub fn settle(&mut self, session: u64) {
        while let Some((of, _)) = self.claims.range(of_session(session)).next() {
            let of = *of;
            self.claims.remove(&of);
        }
    }

    /// Returns `true` if a publish would wait now, as far as is known.
    pub fn would_hold(&self, patience: &mut Patience, now_us: u64) -> bool {
        self.shown_until() > now_us
            || (self.claimed_until() > now_us
                && (patience.left(now_us) > 0 || self.is_waiting(now_us)))
    }

    /// Returns `true` if publishes wait now. Patience is taken for the time for which they wait in
    /// vain.
    pub fn holds(&mut self, patience: &mut Patience, now_us: u64) -> bool {
        let until_us = self.claimed_until();
        let shown = self.shown_until() > now_us;
        let is_over = |stretch: &Stretch| stretch.until_us <= now_us;
        if shown || until_us <= now_us || self.stretch.as_ref().is_some_and(is_over) {
            self.end_stretch(patience, now_us);
            return shown;
        }
        let stretch = self.stretch.get_or_insert(Stretch {
            from_us: now_us,
            until_us: now_us,
        });
        let so_far_us = stretch.until_us;
        if so_far_us < until_us {
            let more_us = patience.take(until_us - so_far_us, now_us);
            stretch.until_us = so_far_us.saturating_add(more_us);
        } else {
            patience.give_back(so_far_us - until_us);
            stretch.until_us = until_us;
        }
        let waits = stretch.until_us > now_us;
        if !waits {
            self.stretch = None;
        }
        waits
    }

    pub fn holds_publishes(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the time at which publishes that wait may continue.
    pub fn deadline(&self) -> Option<u64> {
        if self.held.is_empty() {
            return None;
        }
        let stretch = self.stretch.as_ref().map(|stretch| stretch.until_us);
        Some(stretch.unwrap_or_else(|| self.shown_until()))
    }

    /// Keeps a publish for later, or gives it back if there is no room.
    // It goes back as it came, and hardly ever.
    #[allow(clippy::result_large_err)]
    pub fn keep(&mut self, request: PublishRequest) -> Result<(), PublishRequest> {
        let operations = self
            .held_operations
            .saturating_add(request.messages().len());
        let bytes = self.held_bytes.saturating_add(request.body_bytes());
        if operations > OWN_LOG_HELD_OPERATIONS_MAX || bytes > OWN_LOG_HELD_BYTES_MAX {
            return Err(request);
        }
        (self.held_operations, self.held_bytes) = (operations, bytes);
        self.held.push_back(request);
        Ok(())
    }

    /// The publishes that are held, in order.
    pub fn held_requests(&self) -> impl Iterator<Item = &PublishRequest> {
        self.held.iter()
    }

    /// The publishes that were held, in order.
    pub fn release(&mut self) -> VecDeque<PublishRequest> {
        (self.held_operations, self.held_bytes) = (0, 0);
        let held = std::mem::take(&mut self.held);
        let Some(saved) = &mut self.saved else {
            return held;
        };
        let mut released = VecDeque::with_capacity(held.len());
        for request in held {
            let (request, again) = keep_request(request);
            released.push_back(request);
            saved.released.push(again);
        }
        released
    }

    /// A transaction begins to use it.
    pub fn save(&mut self) {
        self.saved = Some(Box::new(Saved {
            claims: self.claims.clone(),
            stretch: self.stretch.clone(),
            appended: self.appended.clone(),
            held: self.held.len(),
            released: Vec::new(),
        }));
    }

    /// Ends the transaction: its changes are committed.
    pub fn settle_saved(&mut self) {
        self.saved = None;
    }

    /// The transaction was rolled back; its own commands come again by themselves.
    pub fn take_back(&mut self) {
        let Some(saved) = self.saved.take() else {
            return;
        };
        (self.claims, self.stretch) = (saved.claims, saved.stretch);
        self.appended = saved.appended;
        let released = saved.released.into_iter().map(|again| again());
        let held = std::mem::take(&mut self.held);
        self.held = released.chain(held).take(saved.held).collect();
        let operations = self.held.iter().map(|request| request.messages().len());
        self.held_operations = operations.sum();
        self.held_bytes = self.held.iter().map(PublishRequest::body_bytes).sum();
    }

    fn is_waiting(&self, now_us: u64) -> bool {
        let stretch = self.stretch.as_ref();
        stretch.is_some_and(|stretch| stretch.until_us > now_us)
    }

    fn end_stretch(&mut self, patience: &mut Patience, now_us: u64) {
        if let Some(stretch) = self.stretch.take() {
            patience.give_back(stretch.until_us.saturating_sub(now_us));
        }
    }

    /// Returns the time until which claims without an operation count.
    fn claimed_until(&self) -> u64 {
        let claimed = self.claims.values().filter(|claim| claim.shown.is_none());
        let until = claimed.map(|claim| claim.made_us.saturating_add(SHOW_US));
        until.max().unwrap_or(0)
    }

    /// Returns the time until which operations above what we had count.
    fn shown_until(&self) -> u64 {
        let shown = self
            .claims
            .values()
            .filter_map(|claim| claim.shown.as_ref());
        shown.map(|shown| shown.until_us).max().unwrap_or(0)
    }

    /// Makes room for a claim: one that came to nothing goes.
    fn has_room(&mut self, now_us: u64) -> bool {
        if self.claims.len() < OWN_LOG_CLAIMS_MAX {
            return true;
        }
        let is_void = |claim: &Claim| {
            claim.shown.is_none() && claim.made_us.saturating_add(SHOW_US) <= now_us
        };
        let void = self.claims.iter().find(|(_, claim)| is_void(claim));
        let void = void.map(|(of, _)| *of);
        void.is_some_and(|of| self.claims.remove(&of).is_some())
    }
}
