//! Opening of a session without ranges: each side tells what it holds, as a digest first where
//! that was agreed on (`docs/protocol/digest.md#4`), and as heights (`docs/protocol/sync.md#5`).

use bytes::{Bytes, BytesMut};
use p2panda_core::{Gap, Heights, LogId, VerifyingKey, limits};

use super::{Event, Output, Receiving, Sending, Session};
use crate::close::CloseCode;
use crate::sync::digest::{Digest, State};
use crate::sync::have::{self, Have, Item, Items};
use crate::sync::pair::{Pair, Progress};
use crate::wire::WireError;

/// An author with one log in a Have message: two keys with their lengths, a count, a number.
const LOG_HEIGHT_BYTES_MAX: usize = 33 + 1 + 33 + 5;

impl Session {
    /// Looks up the heights, unless a primary session still transfers what they would ask for.
    pub(super) fn start(&mut self, pair: &mut Pair) {
        if self.waits_for_primary(pair) {
            return;
        }
        pair.set_progress(self.id, Progress::CatchUp);
        self.sending = Sending::Heights;
        self.ask(match self.comparison {
            Some(_) => Output::Heads,
            None => Output::Heights,
        });
    }

    /// Only a secondary waits, and only for a primary: no two sessions wait for each other.
    pub(super) fn waits_for_primary(&self, pair: &Pair) -> bool {
        !pair.is_primary(self.dialled) && pair.primary_in_catch_up(self.id)
    }

    pub(super) fn local_heights(
        &mut self,
        heights: Heights,
        arrival: u64,
        gaps: &[Gap],
        pair: &mut Pair,
    ) {
        self.asked = false;
        self.position = arrival;
        self.arrived = self.arrived.max(arrival);
        self.local = heights;
        self.note_gaps(gaps, pair);
        if matches!(self.receiving, Receiving::Digest(_)) {
            return self.send_digest(pair);
        }
        let logs_max = self.limits.have_bytes_max as usize / LOG_HEIGHT_BYTES_MAX;
        if self.local.len() > logs_max {
            // Both sides' own logs are always among them.
            let logs_max = logs_max.saturating_sub(2);
            return self.ask(Output::OldestHeights { logs_max });
        }
        let local = std::mem::take(&mut self.local);
        self.send_have(&local);
        self.local = local;
    }

    fn send_have(&mut self, heights: &Heights) {
        let lowered = self.lowered(heights);
        let heights = lowered.as_ref().unwrap_or(heights);
        let mut out = BytesMut::new();
        // Within the limit of every frame.
        if have::encode(heights, &mut out).is_ok() {
            self.outputs.push_back(Output::Send(out.freeze()));
        }
        self.sending = Sending::Have;
    }

    /// Sends the part of the heights that fits one Have. The peer sends the rest once more, last
    /// of all, which costs bytes and nothing else.
    pub(super) fn oldest_heights(&mut self, mut heights: Heights, pair: &Pair) {
        self.asked = false;
        if self.sending != Sending::Heights {
            return;
        }
        for author in [pair.local(), pair.remote()] {
            if let Some(seq) = self.local.get(&author, &self.log_id) {
                heights.raise(author, self.log_id, seq);
            }
        }
        self.send_have(&heights);
    }

    /// Only what it says of logs that this node has is of interest, so it is read when they are
    /// known.
    pub(super) fn remote_have(&mut self, have: Have) {
        self.receiving = Receiving::PreSync;
        self.comparing = Some(Comparing::new(have));
    }

    /// Reads on in the peer's Have. At its end it is known what the peer lacks.
    pub(super) fn compare(&mut self, pair: &mut Pair) {
        let Some(mut comparing) = self.comparing.take() else {
            return;
        };
        match comparing.read_on(&self.local, &self.log_id, &pair.local()) {
            Err(_) => self.fail(CloseCode::Violation, pair),
            Ok(false) => {
                self.comparing = Some(comparing);
                self.wake_soon();
            }
            Ok(true) => self.compared(comparing, pair),
        }
    }

    fn compared(&mut self, comparing: Comparing, pair: &mut Pair) {
        let local = std::mem::take(&mut self.local);
        let Comparing {
            told,
            own_seq,
            is_whole,
            ..
        } = comparing;
        for ((author, _, height), told) in local.iter().zip(&told) {
            if told.is_some() || is_whole {
                pair.peer_tells(&author, *told);
            }
            if let Some(seq) = told.filter(|seq| *seq > height) {
                pair.peer_has(self.id, author, seq);
            }
        }
        self.outputs
            .push_back(Output::Event(Event::PeerHas { own_seq }));
        self.send_ranges(pair.lacks(&local, &told), pair);
    }

    pub(super) fn remote_digest(&mut self, payload: Bytes, pair: &mut Pair) {
        match (&self.receiving, Digest::decode(payload)) {
            (Receiving::Digest(None), Ok(digest)) => {
                self.receiving = Receiving::Digest(Some(digest));
                self.compare_digests(pair);
            }
            _ => self.fail(CloseCode::Violation, pair),
        }
    }

    fn send_digest(&mut self, pair: &mut Pair) {
        let state = State::of(&self.local);
        let mut out = BytesMut::new();
        state.digest(&pair.local()).encode(&mut out);
        self.outputs.push_back(Output::Send(out.freeze()));
        self.sending = Sending::Digest {
            equal: state.digest(&pair.remote()),
        };
        self.compare_digests(pair);
    }

    /// Once both digests are known: equal ones end catch-up, others start it.
    fn compare_digests(&mut self, pair: &mut Pair) {
        let (Sending::Digest { equal }, Receiving::Digest(Some(theirs))) =
            (&self.sending, &self.receiving)
        else {
            return;
        };
        let same = equal == theirs;
        let local = std::mem::take(&mut self.local);
        if same {
            self.sending = Sending::Done;
            self.receiving = Receiving::Done;
            (self.totals_out, self.totals_in) = (Some((0, 0)), Some((0, 0)));
            let own_seq = local.get(&pair.local(), &self.log_id);
            self.outputs
                .push_back(Output::Event(Event::PeerHas { own_seq }));
            return;
        }
        // The heights are looked up once more: what they ask for must not be what a primary that
        // came in between transfers.
        self.sending = Sending::Waiting;
        self.receiving = Receiving::Have;
        if !pair.is_primary(self.dialled) {
            pair.set_progress(self.id, Progress::Waiting);
        }
    }
}

/// The peer's Have, while it is compared with what this node has.
#[derive(Debug)]
pub(super) struct Comparing {
    items: Items,
    /// The peer's height of each log of this node, in the order of the local heights.
    told: Vec<Option<u32>>,
    /// The log of the author that was named last, if this node has it.
    place: Option<usize>,
    own: bool,
    own_seq: Option<u32>,
    /// No log was left out of it for lack of room.
    is_whole: bool,
}

impl Comparing {
    fn new(have: Have) -> Comparing {
        let is_whole = have.as_bytes().len() <= limits::HAVE_BYTES_MAX / 2;
        Comparing {
            is_whole,
            items: have.items(),
            told: Vec::new(),
            place: None,
            own: false,
            own_seq: None,
        }
    }

    /// Bytes that are held for it.
    pub(super) fn held_bytes(&self) -> usize {
        self.items.held_bytes() + self.told.capacity() * size_of::<Option<u32>>()
    }

    /// Reads as much as takes a moment. Returns whether that was all.
    fn read_on(
        &mut self,
        local: &Heights,
        log_id: &LogId,
        own: &VerifyingKey,
    ) -> Result<bool, WireError> {
        self.told.resize(local.len(), None);
        for _ in 0..limits::HAVE_ITEMS_AT_ONCE {
            match self.items.next().transpose()? {
                None => return Ok(true),
                Some(Item::Author(author)) => {
                    self.own = author == *own.as_bytes();
                    self.place = local.place_of(&VerifyingKey::from_bytes_unchecked(author));
                    self.tell(None);
                }
                Some(Item::Log(id, seq)) if id == *log_id => self.tell(Some(seq)),
                Some(Item::Log(..)) => {}
            }
        }
        Ok(false)
    }

    /// The last word on a log counts.
    fn tell(&mut self, seq: Option<u32>) {
        if let Some(told) = self.place.and_then(|place| self.told.get_mut(place)) {
            *told = seq;
        }
        if self.own {
            self.own_seq = seq;
        }
    }
}
