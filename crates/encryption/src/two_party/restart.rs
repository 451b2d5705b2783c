//! A channel that restarts (`docs/protocol/encryption.md#9.7`).

use p2panda_core::limits::RESTART_INTERVAL_S;

use super::hybrid::ReceivedKey;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, nullable, tuple};
use crate::x25519::PublicKey;

/// Knowledge of a session about its first messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restart {
    /// The greatest generation of a first message that became the channel.
    pub(super) generation: u64,
    /// One of the peer's with this generation became the channel.
    pub(super) is_theirs: bool,
    /// The own index of our last first message, while nothing answers to that or a later one.
    pub(super) awaiting: Option<u64>,
    /// Key that opens the peer's messages of a channel that was given up.
    pub(super) late: Option<ReceivedKey>,
    /// Our next message is to be a first one.
    wanted: bool,
    /// And nothing else may be sent before it, since a newer copy of us may have used this channel.
    is_due: bool,
    /// Time of our last restart.
    last_s: Option<u64>,
    /// The pre-key that our last first message was sent to.
    prekey: Option<PublicKey>,
    /// Time at which our last first message was sent, if it used a one-time key.
    one_time_s: Option<u64>,
    /// Nothing came since our last first message.
    is_unanswered: bool,
}

impl Restart {
    /// Restarts with the next message; by itself a session does so once per hour at most while
    /// nothing answers. Tells whether that is news.
    pub(super) fn want(&mut self, now: u64) -> bool {
        let before = self.wanted;
        self.wanted |= !self.is_unanswered || self.may(now);
        self.wanted && !before
    }

    pub(super) fn force(&mut self) {
        self.wanted = true;
    }

    pub(super) fn restored(&mut self) {
        self.wanted = true;
        self.is_due = true;
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.is_unanswered
    }

    /// Returns `true` if our unanswered first message may be one that did not open: a bundle came
    /// since, or somebody else may have used the one-time key.
    pub(super) fn is_outdated(&self, newest: &PublicKey, now: u64) -> bool {
        let is_newer = self.prekey.is_some_and(|used| used != *newest) && self.may(now);
        let passed = |at: u64| now >= at.saturating_add(RESTART_INTERVAL_S);
        self.is_unanswered && (is_newer || self.one_time_s.is_some_and(passed))
    }

    /// The generation of a first message that is not the first of all: it outranks those of the
    /// past also where we do not know them any more.
    pub(super) fn next(&self, now: u64) -> u64 {
        self.generation.saturating_add(1).max(now)
    }

    /// A first message of ours was sent.
    pub(super) fn sent(&mut self, first: &super::SentFirst, index: u64) {
        self.prekey = Some(first.prekey);
        self.one_time_s = first.one_time.then_some(first.at_s);
        self.is_unanswered = true;
        if let Some(generation) = first.generation {
            self.generation = generation;
            self.is_theirs = false;
            self.awaiting = Some(index);
            self.wanted = false;
            self.is_due = false;
            self.last_s = Some(first.at_s);
        }
    }

    /// Returns `true` if an own index belongs to a channel that was given up.
    pub(super) fn is_before(&self, index: u64) -> bool {
        self.awaiting.is_some_and(|awaited| index < awaited)
    }

    /// Returns `true` if a first message of the peer becomes the channel. Of one generation two
    /// may, one of each side: both sides then continue from each other's.
    pub(super) fn admits(&self, generation: u64) -> bool {
        match generation == self.generation {
            true => generation == 0 || !self.is_theirs,
            false => generation > self.generation,
        }
    }

    /// Something became the channel.
    pub(super) fn adopted(&mut self, generation: Option<u64>) {
        if let Some(generation) = generation {
            self.generation = generation;
            self.is_theirs = true;
            // What we could not open before, we can now.
            self.wanted = self.is_due;
        }
        self.awaiting = None;
        self.late = None;
        self.is_unanswered = false;
    }

    fn may(&self, now: u64) -> bool {
        let next = self
            .last_s
            .map(|last| last.saturating_add(RESTART_INTERVAL_S));
        next.is_none_or(|next| now >= next)
    }
}

impl Wire for Restart {
    fn write(&self, w: &mut Writer) {
        w.array(10).uint(self.generation).bool(self.is_theirs);
        let number = |number: Option<u64>, w: &mut Writer| {
            match number {
                Some(number) => w.uint(number),
                None => w.null(),
            };
        };
        number(self.awaiting, w);
        w.optional(self.late.as_ref());
        w.bool(self.wanted).bool(self.is_due);
        number(self.last_s, w);
        w.optional(self.prekey.as_ref());
        number(self.one_time_s, w);
        w.bool(self.is_unanswered);
    }

    fn read(r: &mut Reader<'_>) -> Result<Restart, DecodeError> {
        tuple(r, 10, |r| {
            Ok(Restart {
                generation: r.uint()?,
                is_theirs: r.bool()?,
                awaiting: nullable(r, |r| Ok(r.uint()?))?,
                late: nullable(r, ReceivedKey::read)?,
                wanted: r.bool()?,
                is_due: r.bool()?,
                last_s: nullable(r, |r| Ok(r.uint()?))?,
                prekey: nullable(r, PublicKey::read)?,
                one_time_s: nullable(r, |r| Ok(r.uint()?))?,
                is_unanswered: r.bool()?,
            })
        })
    }
}
