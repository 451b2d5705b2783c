//! How a session opens: each side tells what it holds, as a digest first where that was agreed
//! on (`docs/protocol/digest.md#4`), and as heights (`docs/protocol/sync.md#5`).

use bytes::{Bytes, BytesMut};
use p2panda_core::Heights;

use super::{Event, Output, Receiving, Sending, Session};
use crate::close::CloseCode;
use crate::sync::digest::{Digest, State};
use crate::sync::message::Message;
use crate::sync::pair::{Pair, Phase};

/// An author with one log in a Have message: two keys with their lengths, a count, a number.
const LOG_HEIGHT_BYTES_MAX: usize = 33 + 1 + 33 + 5;

impl Session {
    /// Looks up the heights, unless a primary session still transfers what they would ask for.
    pub(super) fn start(&mut self, pair: &mut Pair) {
        if self.waits_for_primary(pair) {
            return;
        }
        pair.set_phase(self.id, Phase::CatchUp);
        self.sending = Sending::Heights;
        self.ask(Output::Heights);
    }

    /// Only a secondary waits, and only for a primary: no two sessions wait for each other.
    pub(super) fn waits_for_primary(&self, pair: &Pair) -> bool {
        !pair.is_primary(self.dialled) && pair.primary_in_catch_up(self.id)
    }

    pub(super) fn local_heights(&mut self, heights: Heights, arrival: u64, pair: &mut Pair) {
        self.asked = false;
        self.position = arrival;
        self.arrived = self.arrived.max(arrival);
        self.local = heights;
        if matches!(self.receiving, Receiving::Digest(_)) {
            return self.send_digest(pair);
        }
        let logs_max = self.limits.have_bytes_max as usize / LOG_HEIGHT_BYTES_MAX;
        if self.local.len() > logs_max {
            // Both sides' own logs are always among them.
            let logs_max = logs_max.saturating_sub(2);
            return self.ask(Output::OldestHeights { logs_max });
        }
        self.send(&Message::Have(self.local.clone()));
        self.sending = Sending::Have;
    }

    /// What of the heights fits one Have. The peer sends the rest once more, last of all, which
    /// costs bytes and nothing else.
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
        self.send(&Message::Have(heights));
        self.sending = Sending::Have;
    }

    pub(super) fn remote_heights(&mut self, heights: Heights, pair: &mut Pair) {
        self.receiving = Receiving::PreSync;
        self.peer_has(&heights, pair);
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
            return self.peer_has(&local, pair);
        }
        // The heights are looked up once more: what they ask for must not be what a primary that
        // came in between transfers.
        self.sending = Sending::Waiting;
        self.receiving = Receiving::Have;
        if !pair.is_primary(self.dialled) {
            pair.set_phase(self.id, Phase::Waiting);
        }
    }

    fn peer_has(&mut self, heights: &Heights, pair: &mut Pair) {
        let own_seq = heights.get(&pair.local(), &self.log_id);
        pair.peer_has(self.id, heights);
        self.outputs
            .push_back(Output::Event(Event::PeerHas { own_seq }));
    }
}
