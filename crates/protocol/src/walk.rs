//! The random walk: which nodes to run a discovery session with, and when.
//!
//! Rules: docs/protocol/discovery.md#6. Several walkers share one machine, so that two of them
//! never visit a node at once and the ceiling per peer counts for all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use p2panda_core::{Timestamp, VerifyingKey, limits};

use crate::book::Book;
use crate::draws::Draws;
use crate::time::Time;

/// A step that learned less than one in this many records makes a walker slower.
const LEARNED_ONE_IN: usize = 50;
/// One step in this many starts the walk again.
const RESTART_ONE_IN: u64 = 50;
const MINUTE: Duration = Duration::from_secs(60);

const fn ms(wait: Duration) -> u64 {
    wait.as_millis() as u64
}

/// Input from the driver.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start, or a moment asked for with [`Output::Wake`] has come.
    Tick,
    /// Something changed that others should hear of: a topic was added, our addresses are
    /// others, a new neighbour was found. Also counts for walkers that are in a session.
    Reset,
    /// Tells whether the node looks for peers for one of its topics. It does until this is said.
    Lacking(bool),
    /// The session asked for with [`Output::Dial`] ended.
    Ended {
        /// The node that was dialled.
        node: VerifyingKey,
        /// Result of the session, `None` when it failed.
        step: Option<Step>,
    },
}

/// Result of a session, from [`crate::book::Book::apply`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Records received.
    pub received: usize,
    /// Records that told us something new.
    pub learned: usize,
    /// `true` if the shared overlays changed.
    pub overlays_changed: bool,
    /// The nodes in the records.
    pub nodes: Vec<VerifyingKey>,
}

/// Action for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Run a discovery session with this node as Alice, then give [`Input::Ended`].
    Dial(VerifyingKey),
    /// Give [`Input::Tick`] at this moment. A later one replaces an earlier one.
    Wake(Time),
}

/// Sessions with one peer, lately.
#[derive(Clone, Copy, Debug)]
struct Visits {
    minute: Time,
    count: usize,
    last: Time,
    fruitless: bool,
    /// Something changed since, or while the session ran.
    reset: bool,
}

impl Visits {
    fn next(&self) -> Time {
        let gap = match (self.reset, self.fruitless) {
            (true, _) => limits::WALK_GAP_AFTER_RESET_MIN,
            (false, true) => limits::WALK_GAP_AFTER_NOTHING_MIN,
            (false, false) => limits::WALK_GAP_MIN,
        };
        if self.count >= limits::DISCOVERY_SESSIONS_PER_MINUTE_MAX {
            (self.last + gap).max(self.minute + MINUTE)
        } else {
            self.last + gap
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waits(Time),
    Visits { node: VerifyingKey, reset: bool },
}

#[derive(Debug)]
struct Walker {
    state: State,
    draws: Draws,
    visited: BTreeSet<VerifyingKey>,
    unvisited: BTreeSet<VerifyingKey>,
    backoff_ms: u64,
    backoff_reset: Time,
    restart: bool,
}

/// Chooses nodes for discovery sessions.
#[derive(Debug)]
pub struct Walk {
    /// `true` if the node looks for peers for one of its topics.
    lacking: bool,
    walkers: Vec<Walker>,
    visits: BTreeMap<VerifyingKey, Visits>,
    outputs: VecDeque<Output>,
}

impl Walk {
    /// One walker for each of the draws, which must have different seeds.
    pub fn new(draws: impl IntoIterator<Item = Draws>, now: Time) -> Walk {
        let walkers = draws
            .into_iter()
            .map(|draws| Walker::new(draws, now))
            .collect();
        Walk {
            lacking: true,
            walkers,
            visits: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input; drain [`Walk::poll`] afterwards. `wall` is for the book's times.
    pub fn handle(&mut self, input: Input, book: &Book, wall: Timestamp, now: Time) {
        match input {
            Input::Tick => {}
            Input::Lacking(lacking) => {
                if lacking && !self.lacking {
                    self.reset(now);
                }
                self.lacking = lacking;
            }
            Input::Reset => self.reset(now),
            Input::Ended { node, step } => self.ended(node, step, book, now),
        }
        for position in 0..self.walkers.len() {
            self.step(position, book, wall, now);
        }
        let next = self.walkers.iter().filter_map(|walker| match walker.state {
            State::Waits(until) => Some(until),
            State::Visits { .. } => None,
        });
        if let Some(next) = next.min() {
            self.outputs.push_back(Output::Wake(next));
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn reset(&mut self, now: Time) {
        for visits in self.visits.values_mut() {
            visits.reset = true;
        }
        for walker in &mut self.walkers {
            match &mut walker.state {
                State::Waits(until) => *until = now,
                State::Visits { reset, .. } => *reset = true,
            }
            walker.backoff_ms = 0;
            walker.restart = true;
        }
    }

    fn ended(&mut self, node: VerifyingKey, step: Option<Step>, book: &Book, now: Time) {
        let visiting = |walker: &&mut Walker| match walker.state {
            State::Visits { node: visited, .. } => visited == node,
            State::Waits(_) => false,
        };
        let Some(walker) = self.walkers.iter_mut().find(visiting) else {
            return;
        };
        let reset = matches!(walker.state, State::Visits { reset: true, .. });
        if let Some(visits) = self.visits.get_mut(&node) {
            let nothing = |step: &Step| step.learned == 0 && !step.overlays_changed;
            visits.fruitless = step.as_ref().is_some_and(nothing);
            visits.reset = reset;
            visits.last = now;
        }
        if !reset {
            walker.learn(step, self.lacking, book, now);
        }
        walker.state = State::Waits(now.after(walker.backoff_ms));
    }

    fn step(&mut self, position: usize, book: &Book, wall: Timestamp, now: Time) {
        let busy: BTreeSet<VerifyingKey> = self.walkers.iter().filter_map(Walker::visits).collect();
        let Some(walker) = self.walkers.get_mut(position) else {
            return;
        };
        match walker.state {
            State::Waits(until) if until <= now => {}
            _ => return,
        }
        let visits = &self.visits;
        let free = |node: &VerifyingKey| {
            let rested = visits.get(node).is_none_or(|visits| visits.next() <= now);
            rested && !busy.contains(node) && book.may_dial(node, wall, now)
        };
        match walker.choose(book, wall, free) {
            None => {
                // A peer may only have to rest: then look again when it has.
                let usable =
                    |node: &VerifyingKey| book.get(node).is_some_and(|e| !e.is_stale(wall));
                let rests = visits
                    .iter()
                    .filter(|(node, _)| usable(node) && !busy.contains(node));
                let rested = rests
                    .map(|(_, visits)| visits.next())
                    .filter(|next| *next > now);
                let wait = match self.lacking {
                    true => limits::WALK_NOBODY_WAIT,
                    false => limits::WALK_REST_MIN,
                };
                let until = rested.min().unwrap_or(now + wait);
                walker.state = State::Waits(until.min(now + wait));
            }
            Some(node) => {
                walker.state = State::Visits { node, reset: false };
                self.count(node, now);
                self.outputs.push_back(Output::Dial(node));
            }
        }
    }

    fn count(&mut self, node: VerifyingKey, now: Time) {
        self.visits.retain(|_, visits| now < visits.last + MINUTE);
        let fresh = Visits {
            minute: now,
            count: 0,
            last: now,
            fruitless: false,
            reset: false,
        };
        let visits = self.visits.entry(node).or_insert(fresh);
        if now >= visits.minute + MINUTE {
            (visits.minute, visits.count) = (now, 0);
        }
        visits.count += 1;
        visits.reset = false;
        visits.last = now;
    }
}

impl Walker {
    fn new(draws: Draws, now: Time) -> Walker {
        Walker {
            state: State::Waits(now),
            draws,
            visited: BTreeSet::new(),
            unvisited: BTreeSet::new(),
            backoff_ms: 0,
            backoff_reset: now,
            restart: true,
        }
    }

    fn visits(&self) -> Option<VerifyingKey> {
        match self.state {
            State::Visits { node, .. } => Some(node),
            State::Waits(_) => None,
        }
    }

    /// An empty answer counts as one that taught nothing, or it would be asked for at once again.
    fn learn(&mut self, step: Option<Step>, lacking: bool, book: &Book, now: Time) {
        let Some(step) = step else {
            match lacking {
                true => self.slow_down(limits::WALK_BACKOFF_FAILED_MAX, now),
                false => self.rest(),
            }
            return;
        };
        // The book forgets nodes, and what it forgets is not visited.
        self.unvisited.retain(|node| book.get(node).is_some());
        self.visited.retain(|node| book.get(node).is_some());
        let known = step.nodes.iter().filter(|node| book.get(node).is_some());
        let new = known.filter(|node| !self.visited.contains(*node)).copied();
        self.unvisited.extend(new.collect::<Vec<_>>());
        if step.received == 0 || step.learned * LEARNED_ONE_IN < step.received {
            match lacking {
                true => self.slow_down(limits::WALK_BACKOFF_MAX, now),
                false => self.rest(),
            }
        } else {
            self.backoff_ms = 0;
        }
    }

    fn slow_down(&mut self, backoff_max: Duration, now: Time) {
        if self.backoff_ms == 0 {
            let (low, high) = (
                limits::WALK_BACKOFF_RESET_MIN,
                limits::WALK_BACKOFF_RESET_MAX,
            );
            self.backoff_reset = now.after(self.draws.between(ms(low), ms(high)));
        } else if now >= self.backoff_reset {
            self.backoff_ms = 0;
            return;
        }
        let (low, high) = (limits::WALK_BACKOFF_STEP_MIN, limits::WALK_BACKOFF_STEP_MAX);
        let grown = self.backoff_ms + self.draws.between(ms(low), ms(high));
        self.backoff_ms = grown.min(ms(backoff_max));
    }

    /// Nothing is missing and nothing is learned: every look doubles the time to the next.
    fn rest(&mut self) {
        let (min, max) = (ms(limits::WALK_REST_MIN), ms(limits::WALK_REST_MAX));
        let doubled = (self.backoff_ms * 2).clamp(min, max);
        // Nodes that began together look at different times.
        self.backoff_ms = doubled - self.draws.below(doubled / 4);
    }

    fn choose(
        &mut self,
        book: &Book,
        wall: Timestamp,
        free: impl Fn(&VerifyingKey) -> bool,
    ) -> Option<VerifyingKey> {
        let restart = self.restart || self.draws.below(RESTART_ONE_IN) == 0;
        if restart || !self.unvisited.iter().any(&free) {
            self.restart = false;
            self.visited.clear();
            self.unvisited = book.usable(wall).map(|(node, _)| *node).collect();
            let bootstrap = book
                .usable(wall)
                .filter(|(node, e)| e.is_bootstrap() && free(node));
            let bootstrap: Vec<_> = bootstrap.map(|(node, _)| *node).collect();
            if let Some(node) = self.pick(&bootstrap) {
                return Some(node);
            }
        }
        let candidates: Vec<_> = self.unvisited.iter().copied().filter(&free).collect();
        self.pick(&candidates)
    }

    fn pick(&mut self, candidates: &[VerifyingKey]) -> Option<VerifyingKey> {
        let node = *candidates.get(self.draws.position(candidates.len())?)?;
        self.unvisited.remove(&node);
        self.visited.insert(node);
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use p2panda_core::{HybridTimestamp, SigningKey};

    use super::*;
    use crate::book::{Inserted, Source};
    use crate::record::TransportInfo;

    const WALL: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn node(byte: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[byte; 32]).verifying_key()
    }

    fn book(nodes: &[u8]) -> Book {
        let mut book = Book::new(node(0));
        for byte in nodes {
            let addresses = BTreeSet::from([SocketAddr::from(([8, 8, 8, 8], 4)).into()]);
            let key = SigningKey::from_bytes(&[*byte; 32]);
            let timestamp = HybridTimestamp::new(WALL.as_micros(), 0);
            let record = TransportInfo::sign(&key, timestamp, addresses);
            let record = record.expect("one address");
            let inserted = book.insert(node(*byte), record, Source::Announced, WALL, Time::ZERO);
            assert_eq!(inserted, Ok(Inserted::New));
        }
        book
    }

    fn walk(walkers: u8) -> Walk {
        Walk::new(
            (0..walkers).map(|seed| Draws::from_seed([seed; 32])),
            Time::ZERO,
        )
    }

    fn dials(walk: &mut Walk) -> Vec<VerifyingKey> {
        let outputs = std::iter::from_fn(|| walk.poll());
        outputs
            .filter_map(|output| match output {
                Output::Dial(node) => Some(node),
                Output::Wake(_) => None,
            })
            .collect()
    }

    /// Runs a walk for a while against peers that all answer the same; the moments of all dials.
    fn run(
        walk: &mut Walk,
        book: &Book,
        seconds: u64,
        answer: impl Fn() -> Option<Step>,
    ) -> Vec<(Time, VerifyingKey)> {
        let (mut now, end) = (Time::ZERO, Time::ZERO.after(seconds * 1_000));
        let mut log = Vec::new();
        walk.handle(Input::Tick, book, WALL, now);
        while now < end {
            let outputs: Vec<_> = std::iter::from_fn(|| walk.poll()).collect();
            let mut wake = end;
            for output in &outputs {
                match output {
                    Output::Wake(at) => wake = *at,
                    Output::Dial(node) => log.push((now, *node)),
                }
            }
            let mut again = false;
            for output in outputs {
                if let Output::Dial(node) = output {
                    walk.handle(
                        Input::Ended {
                            node,
                            step: answer(),
                        },
                        book,
                        WALL,
                        now,
                    );
                    again = true;
                }
            }
            if !again {
                assert!(wake > now, "a wake-up in the past would spin");
                now = wake;
                walk.handle(Input::Tick, book, WALL, now);
            }
        }
        log
    }

    fn learned() -> Option<Step> {
        Some(Step {
            received: 1,
            learned: 1,
            overlays_changed: false,
            nodes: Vec::new(),
        })
    }

    #[test]
    fn two_walkers_visit_two_nodes_and_never_the_same_at_once() {
        let mut walk = walk(2);
        walk.handle(Input::Tick, &book(&[1, 2]), WALL, Time::ZERO);
        let mut dialled = dials(&mut walk);
        dialled.sort();
        let mut expected = [node(1), node(2)];
        expected.sort();
        assert_eq!(dialled, expected);

        let mut walk = self::walk(2);
        walk.handle(Input::Tick, &book(&[1]), WALL, Time::ZERO);
        assert_eq!(dials(&mut walk), [node(1)]);
    }

    #[test]
    fn empty_answers_do_not_make_a_hot_loop() {
        let mut walk = walk(2);
        let log = run(&mut walk, &book(&[1]), 120, || Some(Step::default()));
        assert!((2..=6).contains(&log.len()), "{} sessions", log.len());
    }

    #[test]
    fn a_peer_is_never_visited_more_often_than_the_ceiling_allows() {
        let mut walk = walk(2);
        let log = run(&mut walk, &book(&[1]), 60, learned);
        assert_eq!(log.len(), limits::DISCOVERY_SESSIONS_PER_MINUTE_MAX);
    }

    #[test]
    fn a_peer_that_is_back_is_visited_within_ten_seconds_or_so() {
        let mut walk = walk(1);
        let log = run(&mut walk, &book(&[1]), 300, || None);
        for (earlier, later) in log.iter().zip(log.iter().skip(1)) {
            let most = limits::WALK_BACKOFF_FAILED_MAX + limits::WALK_NOBODY_WAIT;
            assert!(later.0.ms_since(earlier.0) <= ms(most));
        }
        assert!(log.len() > 20);
    }

    #[test]
    fn a_reset_during_a_session_is_not_lost() {
        let book = book(&[1]);
        let mut walk = walk(1);
        walk.handle(Input::Tick, &book, WALL, Time::ZERO);
        assert_eq!(dials(&mut walk), [node(1)]);
        walk.handle(Input::Reset, &book, WALL, Time::ZERO);
        assert_eq!(dials(&mut walk), []);
        let step = Some(Step::default());
        walk.handle(
            Input::Ended {
                node: node(1),
                step,
            },
            &book,
            WALL,
            Time::ZERO,
        );
        walk.handle(
            Input::Tick,
            &book,
            WALL,
            Time::ZERO + limits::WALK_GAP_AFTER_RESET_MIN,
        );
        assert_eq!(dials(&mut walk), [node(1)]);
    }

    #[test]
    fn constant_changes_do_not_break_the_ceiling() {
        let book = book(&[1]);
        let mut walk = walk(2);
        let mut sessions = 0;
        for ms in (0..60_000).step_by(10) {
            let now = Time::ZERO.after(ms);
            walk.handle(Input::Reset, &book, WALL, now);
            for node in dials(&mut walk) {
                sessions += 1;
                let step = Some(Step::default());
                walk.handle(Input::Ended { node, step }, &book, WALL, now);
            }
        }
        assert_eq!(sessions, limits::DISCOVERY_SESSIONS_PER_MINUTE_MAX);
    }

    #[test]
    fn a_reset_wakes_a_walker_that_sleeps() {
        let book = book(&[1]);
        let mut walk = walk(1);
        run(&mut walk, &book, 100, || Some(Step::default()));
        let now = Time::ZERO.after(100_000);
        walk.handle(Input::Tick, &book, WALL, now);
        for node in dials(&mut walk) {
            let step = Some(Step::default());
            walk.handle(Input::Ended { node, step }, &book, WALL, now);
            dials(&mut walk);
        }
        walk.handle(Input::Reset, &book, WALL, now.after(10));
        assert_eq!(dials(&mut walk), [node(1)]);
    }

    #[test]
    fn a_walk_starts_at_a_bootstrap_node_and_reaches_everybody() {
        let mut book = book(&[1, 2, 3, 4, 5]);
        let address = SocketAddr::from(([8, 8, 8, 8], 6)).into();
        book.add_bootstrap(node(6), [address], WALL);
        let mut walk = walk(1);
        let log = run(&mut walk, &book, 600, || {
            Some(Step {
                received: 9,
                ..Step::default()
            })
        });
        assert_eq!(log.first().map(|dial| dial.1), Some(node(6)));
        let reached: BTreeSet<_> = log.iter().map(|dial| dial.1).collect();
        assert_eq!(reached.len(), 6);
    }

    #[test]
    fn nobody_to_visit_is_looked_at_again_later() {
        let mut walk = walk(1);
        walk.handle(Input::Tick, &book(&[]), WALL, Time::ZERO);
        assert_eq!(
            walk.poll(),
            Some(Output::Wake(Time::ZERO + limits::WALK_NOBODY_WAIT))
        );
        walk.handle(
            Input::Tick,
            &book(&[1]),
            WALL,
            Time::ZERO + limits::WALK_NOBODY_WAIT,
        );
        assert_eq!(dials(&mut walk), [node(1)]);
    }

    #[test]
    fn a_walk_that_learns_nothing_rests_up_to_an_hour() {
        let book = book(&[1, 2, 3]);
        let nothing = || Some(Step::default());
        let (mut walk, mut lacking) = (walk(2), walk(2));
        walk.handle(Input::Lacking(false), &book, WALL, Time::ZERO);
        let day = 24 * 60 * 60;
        let rested = run(&mut walk, &book, day, nothing).len();
        // Two walkers, each at least every hour, and a few looks until they rest that long.
        assert!((48..=96).contains(&rested), "{rested}");
        assert!(run(&mut lacking, &book, day, nothing).len() > 10 * rested);
    }

    #[test]
    fn a_walk_that_rests_looks_at_once_when_something_is_lacking() {
        let book = book(&[1]);
        let mut walk = walk(1);
        walk.handle(Input::Lacking(false), &book, WALL, Time::ZERO);
        let mut now = Time::ZERO;
        for _ in 0..10 {
            walk.handle(Input::Tick, &book, WALL, now);
            if let [node] = dials(&mut walk)[..] {
                let step = Some(Step::default());
                walk.handle(Input::Ended { node, step }, &book, WALL, now);
            }
            now = now + limits::WALK_REST_MAX;
        }
        let now = now.after(60_000);
        walk.handle(Input::Lacking(true), &book, WALL, now);
        assert_eq!(dials(&mut walk), [node(1)]);
    }
}
