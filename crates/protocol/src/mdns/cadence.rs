//! Times at which to ask and to announce, on one interface and with one family of addresses.

use std::collections::{BTreeMap, VecDeque};

use p2panda_core::VerifyingKey;
use p2panda_core::limits::{
    MDNS_ANNOUNCE_INTERVAL_MS, MDNS_ANSWER_WAIT_PER_NODE_MS, MDNS_ANSWER_WAIT_STEP_MS,
    MDNS_ANSWERS_MAX, MDNS_ECHO_MS, MDNS_FIRST_QUERY_WAIT_MS, MDNS_NODES_MAX,
    MDNS_QUERY_WAIT_MAX_MS, MDNS_QUERY_WAIT_MIN_MS, MDNS_QUERY_WAIT_PER_NODE_MS,
    MDNS_SILENT_MAX_MS, MDNS_UNASKED, MDNS_UNASKED_INTERVAL_MS,
};

use crate::draws::Draws;
use crate::time::Time;

/// Steps of [`MDNS_ANSWER_WAIT_STEP_MS`] that a node waits at most because it answered last time.
const STEPS: u64 = 10;
/// Greatest number of doublings of the wait before a query, more than enough to reach the longest.
const DOUBLED: u32 = 16;

/// Input of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Start, or a moment asked for with [`Output::Wake`] has come.
    Tick,
    /// Somebody asks who is there.
    Query,
    /// Another node announced itself.
    Heard(VerifyingKey),
    /// The announcement of this node has changed, appeared or ended.
    Own {
        /// `true` if there is something to announce.
        announced: bool,
    },
    /// The network may be another one.
    Anew,
    /// The last packet could not be sent.
    Unsent,
}

/// Output of the machine, for its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the query.
    Ask,
    /// Send the announcement.
    Announce,
    /// Give [`Input::Tick`] at this moment. A later one replaces an earlier one.
    Wake(Time),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Asks at this moment, if nobody else does before.
    Waits(Time),
    /// Somebody asked: answers at this moment, unless enough others do before.
    Answers { at: Time, heard: usize },
}

/// Decides when a packet is sent (docs/protocol/network.md#5).
#[derive(Debug)]
pub struct Cadence {
    draws: Draws,
    phase: Phase,
    /// Queries since something new was heard.
    fruitless: u32,
    asked: Option<Time>,
    announced: bool,
    last_announcement: Option<Time>,
    /// Announcements that nobody asked for and are still to be sent, and when.
    unasked: (u8, Time),
    /// Wait before the next attempt after a failure.
    retry_ms: u64,
    /// Additional wait of the next answer, because the last one was ours.
    extra_ms: u64,
    /// The other nodes, and when each was heard last.
    nodes: BTreeMap<VerifyingKey, Time>,
    outputs: VecDeque<Output>,
}

impl Cadence {
    /// Nothing was sent yet, and there is nothing to announce. Wants [`Input::Tick`] first.
    pub fn new(seed: [u8; 32], now: Time) -> Self {
        let mut draws = Draws::from_seed(seed);
        let first = now.after(draws.below(MDNS_FIRST_QUERY_WAIT_MS));
        Self {
            draws,
            phase: Phase::Waits(first),
            fruitless: 0,
            asked: None,
            announced: false,
            last_announcement: None,
            unasked: (0, now),
            retry_ms: MDNS_UNASKED_INTERVAL_MS,
            extra_ms: 0,
            nodes: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The number of other nodes that were heard here.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Tick => self.tick(now),
            Input::Query => self.query(now),
            Input::Heard(node) => self.heard(node, now),
            Input::Own { announced } => {
                self.announced = announced;
                self.announce_unasked(now);
            }
            Input::Anew => {
                self.nodes.clear();
                self.fruitless = 0;
                let wait_ms = self.draws.below(MDNS_FIRST_QUERY_WAIT_MS);
                self.phase = Phase::Waits(now.after(wait_ms));
                self.announce_unasked(now);
            }
            Input::Unsent => {
                let (left, _) = self.unasked;
                self.unasked = (left.max(1), now.after(self.retry_ms));
                self.retry_ms = (self.retry_ms * 2).min(MDNS_QUERY_WAIT_MAX_MS);
            }
        }
        self.outputs.push_back(Output::Wake(self.wake()));
    }

    /// Returns the next output; `None` if there is nothing left to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn wake(&self) -> Time {
        let (Phase::Waits(at) | Phase::Answers { at, .. }) = self.phase;
        match self.unasked {
            (1.., unasked) if self.announced => at.min(unasked),
            _ => at,
        }
    }

    fn tick(&mut self, now: Time) {
        let (left, at) = self.unasked;
        if left > 0 && self.announced && now >= at {
            self.unasked = (left - 1, now.after(MDNS_UNASKED_INTERVAL_MS));
            self.announce(now);
        }
        match self.phase {
            Phase::Waits(at) if now >= at => {
                self.outputs.push_back(Output::Ask);
                self.asked = Some(now);
                self.fruitless = self.fruitless.saturating_add(1);
                self.answer_later(now);
            }
            Phase::Answers { at, .. } if now >= at => {
                self.announce(now);
                let nodes = self.nodes.len() as u64 / MDNS_ANSWERS_MAX as u64;
                self.extra_ms = MDNS_ANSWER_WAIT_STEP_MS * nodes.min(STEPS);
                self.wait(now);
            }
            _ => {}
        }
    }

    fn query(&mut self, now: Time) {
        let echo = |asked: Time| now < asked.after(MDNS_ECHO_MS);
        if matches!(self.phase, Phase::Waits(_)) && !self.asked.is_some_and(echo) {
            self.answer_later(now);
        }
    }

    fn heard(&mut self, node: VerifyingKey, now: Time) {
        if !self.nodes.contains_key(&node) {
            self.make_room();
            self.fruitless = 0;
            if let Phase::Waits(at) = self.phase {
                let sooner = self.next_query(now);
                self.phase = Phase::Waits(at.min(sooner));
            }
        }
        self.nodes.insert(node, now);
        let silent_too_long = self
            .last_announcement
            .is_none_or(|last| now >= last.after(MDNS_SILENT_MAX_MS));
        if let Phase::Answers { at, heard } = self.phase {
            let heard = heard + 1;
            self.phase = Phase::Answers { at, heard };
            if heard >= MDNS_ANSWERS_MAX && !(self.announced && silent_too_long) {
                self.extra_ms = self.extra_ms.saturating_sub(MDNS_ANSWER_WAIT_STEP_MS);
                self.wait(now);
            }
        }
    }

    fn make_room(&mut self) {
        if self.nodes.len() >= MDNS_NODES_MAX {
            let oldest = self.nodes.iter().min_by_key(|(_, heard)| **heard);
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.nodes.remove(&oldest);
            }
        }
    }

    fn announce_unasked(&mut self, now: Time) {
        self.retry_ms = MDNS_UNASKED_INTERVAL_MS;
        self.unasked = (MDNS_UNASKED, self.may_announce(now));
    }

    /// The first moment from `now` on at which an announcement may be sent.
    fn may_announce(&self, now: Time) -> Time {
        let next = self
            .last_announcement
            .map(|last| last.after(MDNS_ANNOUNCE_INTERVAL_MS));
        next.map_or(now, |next| next.max(now))
    }

    fn announce(&mut self, now: Time) {
        if self.announced && self.may_announce(now) == now {
            self.outputs.push_back(Output::Announce);
            self.last_announcement = Some(now);
        }
    }

    fn answer_later(&mut self, now: Time) {
        let most_ms = MDNS_ANSWER_WAIT_PER_NODE_MS * (self.nodes.len() as u64 + 1);
        let wait_ms = self.draws.below(most_ms) + self.extra_ms;
        self.phase = Phase::Answers {
            at: self.may_announce(now.after(wait_ms)),
            heard: 0,
        };
    }

    fn wait(&mut self, now: Time) {
        self.phase = Phase::Waits(self.next_query(now));
    }

    fn next_query(&mut self, now: Time) -> Time {
        let most_ms = MDNS_QUERY_WAIT_PER_NODE_MS * (self.nodes.len() as u64 + 1);
        let doubled = self.fruitless.saturating_sub(1).min(DOUBLED);
        let wait_ms = (MDNS_QUERY_WAIT_MIN_MS << doubled).min(MDNS_QUERY_WAIT_MAX_MS);
        now.after(wait_ms + self.draws.below(most_ms))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use p2panda_core::SigningKey;

    use super::*;

    const MINUTE: u64 = 60_000;

    fn node(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    /// A machine alone with the time.
    struct Rig {
        cadence: Cadence,
        now: Time,
        wake: Time,
        sent: Vec<(Output, Time)>,
    }

    impl Rig {
        fn new(announced: bool) -> Self {
            let cadence = Cadence::new([7; 32], Time::ZERO);
            let (now, wake, sent) = (Time::ZERO, Time::ZERO, Vec::new());
            let mut rig = Self {
                cadence,
                now,
                wake,
                sent,
            };
            rig.input(Input::Own { announced });
            rig
        }

        fn input(&mut self, input: Input) {
            self.cadence.handle(input, self.now);
            while let Some(output) = self.cadence.poll() {
                match output {
                    Output::Wake(at) => self.wake = at,
                    sent => self.sent.push((sent, self.now)),
                }
            }
        }

        /// Lets time pass and tells what was sent meanwhile.
        fn pass(&mut self, ms: u64) -> Vec<(Output, Time)> {
            let end = self.now.after(ms);
            while self.wake <= end {
                self.now = self.now.max(self.wake);
                self.input(Input::Tick);
            }
            self.now = end;
            std::mem::take(&mut self.sent)
        }

        fn ask(&mut self) {
            self.input(Input::Query);
        }
    }

    fn count(sent: &[(Output, Time)], what: Output) -> usize {
        sent.iter().filter(|(output, _)| *output == what).count()
    }

    #[test]
    fn a_node_announces_itself_at_once_and_again_and_asks_soon() {
        let mut rig = Rig::new(true);
        let sent = rig.pass(MDNS_FIRST_QUERY_WAIT_MS);
        assert_eq!(sent[0], (Output::Announce, Time::ZERO));
        assert_eq!(count(&sent, Output::Ask), 1);
        assert!(count(&rig.pass(1_500), Output::Announce) >= 1);
    }

    #[test]
    fn queries_become_rare_until_something_new_is_heard() {
        let mut rig = Rig::new(true);
        assert!(count(&rig.pass(10_000), Output::Ask) >= 4);
        rig.pass(5 * MINUTE);
        // A query and an answer to it in two minutes.
        let sent = rig.pass(20 * MINUTE);
        assert!((8..=11).contains(&count(&sent, Output::Ask)), "{sent:?}");
        assert!(count(&sent, Output::Announce) <= 11, "{sent:?}");
        rig.input(Input::Heard(node(1)));
        assert!(count(&rig.pass(10_000), Output::Ask) >= 3);
        rig.pass(5 * MINUTE);
        rig.input(Input::Heard(node(1)));
        assert!(count(&rig.pass(10_000), Output::Ask) <= 1);
        rig.input(Input::Anew);
        assert!(count(&rig.pass(10_000), Output::Ask) >= 4);
    }

    #[test]
    fn a_listener_asks_and_never_announces() {
        let mut rig = Rig::new(false);
        let mut sent = rig.pass(MINUTE);
        rig.ask();
        rig.input(Input::Anew);
        sent.extend(rig.pass(MINUTE));
        assert!(count(&sent, Output::Ask) > 5);
        assert_eq!(count(&sent, Output::Announce), 0);
    }

    #[test]
    fn every_query_of_a_published_node_is_answered_in_time() {
        let mut rig = Rig::new(true);
        rig.pass(10 * MINUTE);
        rig.input(Input::Heard(node(1)));
        for _ in 0..100 {
            rig.ask();
            assert_eq!(count(&rig.pass(700), Output::Announce), 1);
        }
    }

    #[test]
    fn a_flood_of_queries_is_answered_twice_in_a_second() {
        let mut rig = Rig::new(true);
        let mut sent = rig.pass(MINUTE);
        sent.clear();
        for _ in 0..10_000 {
            rig.ask();
            sent.extend(rig.pass(1));
        }
        let answers = count(&sent, Output::Announce);
        assert!((15..=21).contains(&answers), "{answers}");
    }

    #[test]
    fn two_answers_of_others_are_enough_for_a_time() {
        let mut rig = Rig::new(true);
        rig.pass(10 * MINUTE);
        let mut silent = 0;
        let mut announced = 0;
        for _ in 0..300 {
            rig.ask();
            rig.input(Input::Heard(node(1)));
            rig.input(Input::Heard(node(2)));
            match count(&rig.pass(600), Output::Announce) {
                0 => silent += 1,
                _ => announced += 1,
            }
        }
        // 300 queries in three minutes.
        assert!(silent > 250 && (2..=6).contains(&announced), "{announced}");
    }

    #[test]
    fn the_echo_of_an_own_query_is_no_query() {
        let mut rig = Rig::new(true);
        rig.pass(10 * MINUTE);
        while rig.sent.is_empty() {
            rig.now = rig.wake;
            rig.input(Input::Tick);
        }
        rig.ask();
        assert_eq!(count(&rig.pass(30_000), Output::Announce), 1);
    }

    #[test]
    fn what_could_not_be_sent_is_tried_again_less_and_less_often() {
        let mut rig = Rig::new(true);
        let mut tries = 0;
        for _ in 0..20 * 60 {
            let sent = rig.pass(1_000);
            tries += sent.len();
            if !sent.is_empty() {
                rig.input(Input::Unsent);
            }
        }
        assert!((10..60).contains(&tries), "{tries}");
        rig.input(Input::Own { announced: true });
        assert!(count(&rig.pass(2_000), Output::Announce) >= 2);
    }

    #[test]
    fn the_number_of_nodes_that_are_counted_is_bounded() {
        let mut rig = Rig::new(true);
        let made_up = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            VerifyingKey::from_bytes_unchecked(bytes)
        };
        for n in 0..=MDNS_NODES_MAX {
            rig.input(Input::Heard(made_up(n)));
        }
        assert_eq!(rig.cadence.nodes(), MDNS_NODES_MAX);
    }
}
