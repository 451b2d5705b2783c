//! One sync session: catch-up, then live (`docs/protocol/sync.md#5`, `docs/protocol/sync.md#6`).
//!
//! The same machine runs on both sides. It frames and parses, keeps the order of messages, asks
//! its driver for stored pages and hands over what was received; it never waits, never fails on
//! peer input (it ends with a close code) and holds at most [`limits::UNSTORED_BYTES_MAX`] of
//! received operations plus one frame.
//!
//! # The driver's contract
//!
//! A driver opens a [`Session`] after the topic handshake ([`crate::handshake`]) and says
//! [`Input::Tick`]. From then on it passes in one [`Input`] at a time and, after each, acts on
//! every [`Output`] of [`Session::poll`] in order until there is none. `examples/two_sessions.rs`
//! is a whole driver in one file.
//!
//! | Output | The driver | and answers with |
//! |---|---|---|
//! | [`Output::Heights`], [`Output::OldestHeights`], [`Output::Totals`], [`Output::Read`], [`Output::Wanted`], [`Output::Evidence`] | reads its store in one short transaction | the input of the same name ([`Input::Page`] for a read), once, in the order of the questions |
//! | [`Output::Heads`] | gets the heads that the sessions of the topic share, which follow its commits | [`Input::Heads`] |
//! | [`Output::Send`] | writes the bytes to the stream, in order | [`Input::Drained`] when little is left, [`Input::Acked`] before [`Input::Tick`] at the latest |
//! | | is done with all that, and has room | [`Input::Room`], while [`Session::has_pieces`] |
//! | [`Output::Store`] | verifies and stores the batch | [`Input::Stored`] once it is durable, in the order of the batches |
//! | [`Output::Wake`] | replaces its one timer of this session | [`Input::Tick`] at that time, not before |
//! | [`Output::Rest`] | sets no timer any more | nothing |
//! | [`Output::PairChanged`] | hands [`Input::PairChanged`] to the other sessions of the same [`Pair`] | nothing |
//! | [`Output::SourcesChanged`] | hands it to the other sessions of the same [`super::Sources`] | nothing |
//! | [`Output::Compare`], [`Output::Event`] | tells the [`super::Need`], the application | nothing |
//! | [`Output::Finish`] | finishes its side of the stream | nothing |
//! | [`Output::End`] | closes the connection with the code | nothing; comes once and last |
//!
//! Without being asked it says:
//!
//! * [`Input::Bytes`] for what it read, while [`Session::wants_bytes`]; otherwise it leaves the bytes
//!   in the stream, so that the transport pushes back;
//! * [`Input::EndOfStream`] once when the peer finishes, [`Input::Lost`] once when the connection is
//!   lost;
//! * [`Input::Arrived`] when operations of the topic became durable, wherever they came from; numbers
//!   may be skipped, the last one counts;
//! * [`Input::Reading`] when it stops reading for reasons of its own, and when it continues;
//!   [`Input::Path`] when it measured the path;
//! * [`Input::Stop`] when the application leaves.
//!
//! All sessions of two nodes on one topic share one [`Pair`]: that is how nothing crosses twice. Time
//! is an argument and never steps back. A failure of the driver's own store has no input: it drops
//! the session and closes the connection.

use std::collections::VecDeque;

use bytes::Bytes;
use p2panda_core::{
    Gap, Heights, LogId, LogRange, Look, Page, Read, Received, Topic, VerifyingKey, Wanted, limits,
};

use super::Protocol;
use super::digest::Digest;
use super::message::{Limits, Message};
use super::pace::{Pace, Path};
use super::pair::{Dialled, Pair, Progress};
use crate::close::CloseCode;
use crate::frame::Decoder;
use crate::ranges::SharedHeads;
use crate::time::Time;

mod announcing;
mod bodies;
mod ending;
mod opening;
mod pieces;
mod ranges;
mod received;
mod receiving;
mod sending;

use announcing::Announcing;
use bodies::Bodies;
use opening::Comparing;
use pieces::Pieces;
use ranges::Comparison;
use received::Unstored;

/// Numbers the sessions of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Input of a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// Bytes of the session's stream.
    Bytes(Bytes),
    /// The peer finished its side of the stream, or closed the connection.
    EndOfStream,
    /// The connection was lost.
    Lost,
    /// Answers [`Output::Heights`]: one consistent look at the topic.
    Heights {
        /// Highest sequence number of each stored log of the topic.
        heights: Heights,
        /// Highest arrival number of the topic at that moment.
        arrival: u64,
        /// The logs with bodies that have not arrived.
        gaps: Vec<Gap>,
    },
    /// Answers [`Output::Heads`]: all that is stored is in them, and every later commit.
    Heads(SharedHeads),
    /// Answers [`Output::Evidence`]: headers of the log that exclude each other, or that of its head
    /// where there is no evidence.
    Evidence(Vec<Bytes>),
    /// Answers [`Output::Totals`].
    Totals {
        /// Number of stored operations in the ranges.
        operations: u64,
        /// Their header and payload bytes.
        bytes: u64,
        /// The ranges, those of the logs that are known longest first.
        ranges: Vec<LogRange>,
    },
    /// Answers [`Output::OldestHeights`].
    OldestHeights(Heights),
    /// Answers [`Output::Read`].
    Page(Page),
    /// Answers [`Output::Wanted`]; `None` while another session of the topic asks.
    Wanted(Option<Wanted>),
    /// Answers the oldest unanswered [`Output::Store`].
    Stored {
        /// Operations of the batch that were not valid in themselves: their header did not decode,
        /// or their signature or body hash was wrong.
        invalid: usize,
    },
    /// Operations of the topic are durable up to this arrival number.
    Arrived(u64),
    /// The peer has acknowledged this many more bytes of what [`Output::Send`] handed out.
    Acked(usize),
    /// All but a little of what [`Output::Send`] handed out is written.
    Drained,
    /// There is room for a piece of a large operation, and nothing else to be written: while
    /// [`Session::has_pieces`].
    Room,
    /// Another session of the pair, or of the topic, changed.
    PairChanged,
    /// Properties of the connection's path. Without them a usual path is assumed.
    Path(Path),
    /// Tells whether the driver reads the stream when the session wants bytes. It does not while
    /// there is no room for them, which is not the peer's fault.
    Reading(bool),
    /// The application left the topic, or the node shuts down.
    Stop,
    /// Time has passed; also the first input of a session.
    Tick,
}

/// Output of a session, for its driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Look up the topic's heights.
    Heights,
    /// Look up the heights of this many logs of the topic, those that are known longest.
    OldestHeights {
        /// The greatest number of logs.
        logs_max: usize,
    },
    /// Hand over the heads of the topic.
    Heads,
    /// Look up what shows that the log with this label is forked.
    Evidence(VerifyingKey),
    /// Sum up these ranges, and put them in the order in which their logs became known.
    Totals(Vec<LogRange>),
    /// Read a page.
    Read(Read),
    /// Look up wanted bodies, if no other session of the topic has its [`super::Turn`].
    Wanted(Look),
    /// Compare heights with the peer once more, by another session.
    Compare,
    /// Write these bytes to the stream.
    Send(Bytes),
    /// Verify and store; answer with [`Input::Stored`] once durable.
    Store(Vec<Received>),
    /// For the application and for metrics.
    Event(Event),
    /// Hand [`Input::PairChanged`] to the other sessions of the pair.
    PairChanged,
    /// Hand [`Input::PairChanged`] to the other sessions of the topic.
    SourcesChanged,
    /// Come back with [`Input::Tick`] at this time.
    Wake(Time),
    /// The time that was asked for is no longer needed.
    Rest,
    /// Finish the sending side of the stream.
    Finish,
    /// The session is over: close the connection. Nothing follows.
    End(End),
}

/// End of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The close code that the peer receives.
    pub code: CloseCode,
    /// `true` if it ended cleanly. If not, a new session is needed.
    pub ok: bool,
}

/// Progress of a session, for its observers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer told its heights; the one it knows of this node's own log.
    PeerHas {
        /// `None` when it knows no entry.
        own_seq: Option<u32>,
    },
    /// Both sides know what they will send. Estimates, for progress only.
    CatchUpStarted {
        /// Operations to send.
        send_operations: u64,
        /// Bytes to send.
        send_bytes: u64,
        /// Operations to receive.
        receive_operations: u64,
        /// Bytes to receive.
        receive_bytes: u64,
    },
    /// Everything was sent, and everything received is durable.
    CatchUpEnded,
    /// The peer holds or was sent all operations of the topic up to this arrival number.
    Sent {
        /// Inclusive.
        arrival: u64,
    },
}

/// Operations and bytes that one session exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Number of operations from this node to the peer.
    pub sent_operations: u64,
    /// Header and body bytes sent.
    pub sent_bytes: u64,
    /// Number of operations from the peer to this node.
    pub received_operations: u64,
    /// Header and body bytes received.
    pub received_bytes: u64,
}

/// One session with one peer on one topic.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    topic: Topic,
    log_id: LogId,
    /// Logs with a name cross as well.
    named: bool,
    dialled: Dialled,
    limits: Limits,
    decoder: Decoder,
    sending: Sending,
    receiving: Receiving,
    ending: Ending,
    local: Heights,
    /// The peer's Have, until it is compared with them.
    comparing: Option<Comparing>,
    /// The comparison by ranges, until it has found what the peer lacks.
    comparison: Option<Box<Comparison>>,
    /// Of whose logs the peer is shown that they are forked, when all else is sent.
    forked: VecDeque<VerifyingKey>,
    /// A frame of the comparison was taken, and more may have come with it.
    behind: bool,
    /// Everything of the topic up to this arrival number is sent or known to the peer.
    position: u64,
    arrived: u64,
    /// The position last reported by [`Event::Sent`].
    reported: Option<u64>,
    asked: bool,
    drained: bool,
    pending: Vec<Received>,
    pending_bytes: Unstored,
    /// Bytes of each batch that the store has not answered yet.
    stores: VecDeque<Unstored>,
    /// Batches received in catch-up that the store has not answered, once both said Done.
    unsettled: Option<usize>,
    totals_out: Option<(u64, u64)>,
    totals_in: Option<(u64, u64)>,
    announced: bool,
    invalid: usize,
    bodies: Bodies,
    announcing: Announcing,
    pieces: Pieces,
    counters: Counters,
    /// Bytes that the pair holds for this session.
    shared_bytes: usize,
    /// Time of the input that is being handled.
    now: Time,
    pace: Pace,
    /// `true` if the driver reads when it is asked to.
    reading: bool,
    /// Time at which the wait after a sent close is over.
    deadline: Time,
    wake: Option<Time>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, PartialEq)]
enum Sending {
    /// Holds its heights back while a primary is in catch-up.
    Waiting,
    /// Asked for the local heights.
    Heights,
    /// Finds out by ranges what the peer lacks.
    Ranges,
    /// Sent its digest, needs the peer's.
    Digest {
        /// The digest of a peer that holds the same.
        equal: Digest,
    },
    /// Sent its heights, needs the peer's.
    Have,
    /// Asked for the totals of what the peer lacks.
    Totals,
    /// Sends these ranges.
    Transfer(VecDeque<LogRange>),
    /// Sent Done.
    Done,
}

impl Sending {
    fn held_bytes(&self) -> usize {
        match self {
            Sending::Transfer(ranges) => ranges.capacity() * size_of::<LogRange>(),
            _ => 0,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Receiving {
    /// The peer's digest, if it came before this side had sent its own.
    Digest(Option<Digest>),
    /// Messages of the comparison by ranges.
    Ranges,
    Have,
    PreSync,
    Transfer,
    Done,
}

#[derive(Debug, PartialEq)]
enum Ending {
    No,
    /// Stop was asked for.
    Stop,
    /// Sent Close, because the application asked for it or because another session does the same.
    Closed {
        superseded: bool,
    },
    Ended,
}

impl Session {
    /// A session whose topic handshake is done. Say [`Input::Tick`] to start it.
    pub fn open(
        id: SessionId,
        dialled: Dialled,
        protocol: Protocol,
        topic: Topic,
        limits: Limits,
        pair: &mut Pair,
        now: Time,
    ) -> Self {
        let primary = pair.is_primary(dialled);
        // A primary counts as in catch-up from the start, so that the other sessions wait for it.
        let progress = if primary {
            Progress::CatchUp
        } else {
            Progress::Waiting
        };
        pair.join(id, primary, progress);
        let (receiving, comparison) = match protocol {
            Protocol::LogSync => (Receiving::Have, None),
            Protocol::DigestSync => (Receiving::Digest(None), None),
            Protocol::Link { binding } => {
                let comparison = Box::new(Comparison::new(binding));
                (Receiving::Ranges, Some(comparison))
            }
        };
        Self {
            id,
            topic,
            log_id: topic.log_id(),
            named: matches!(protocol, Protocol::Link { .. }),
            dialled,
            limits,
            decoder: Decoder::default(),
            sending: Sending::Waiting,
            receiving,
            ending: Ending::No,
            local: Heights::default(),
            comparing: None,
            comparison,
            forked: VecDeque::new(),
            behind: false,
            position: 0,
            arrived: 0,
            reported: None,
            asked: false,
            drained: true,
            pending: Vec::new(),
            pending_bytes: Unstored::default(),
            stores: VecDeque::new(),
            unsettled: None,
            totals_out: None,
            totals_in: None,
            announced: false,
            invalid: 0,
            bodies: Bodies::new(protocol),
            announcing: Announcing::new(protocol),
            pieces: Pieces::new(protocol),
            counters: Counters::default(),
            shared_bytes: 0,
            now,
            pace: Pace::new(now),
            reading: true,
            deadline: now,
            wake: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event. Afterwards drain [`Session::poll`] until `None`.
    pub fn handle(&mut self, input: Input, pair: &mut Pair, now: Time) {
        if self.ending == Ending::Ended {
            return;
        }
        self.now = now;
        match input {
            Input::Bytes(bytes) => self.bytes(bytes, pair),
            Input::EndOfStream => self.peer_ended(pair),
            Input::Lost => self.lost(pair),
            Input::Heights {
                heights,
                arrival,
                gaps,
            } => self.local_heights(heights, arrival, &gaps, pair),
            Input::Heads(heads) => self.local_heads(heads, pair),
            Input::Evidence(headers) => self.evidence(headers),
            Input::OldestHeights(heights) => self.oldest_heights(heights, pair),
            Input::Totals {
                operations,
                bytes,
                ranges,
            } => self.totals(operations, bytes, ranges, pair),
            Input::Page(page) if self.bodies.is_reading() => self.answer_page(page, pair),
            Input::Page(page) if self.announcing.is_reading() => self.fetched_page(page, pair),
            Input::Page(page) => self.page(page, pair),
            Input::Wanted(wanted) => self.wanted(wanted),
            Input::Stored { invalid } => self.stored(invalid, pair),
            Input::Arrived(arrival) => self.arrived = self.arrived.max(arrival),
            Input::Acked(bytes) if !self.is_live() => self.pace.moved(bytes),
            Input::Drained => self.drained = true,
            Input::Room => self.room(),
            Input::Path(path) => {
                self.pace.set_window(path.progress_window_ms());
                self.announcing.set_round_trip(path.rtt);
            }
            Input::Reading(reading) => self.reading = reading,
            Input::Stop if self.ending == Ending::No => self.ending = Ending::Stop,
            Input::Tick => {
                self.timer_came();
                if self.behind {
                    self.take_frames(pair);
                }
            }
            Input::Acked(_) | Input::Stop | Input::PairChanged => {}
        }
        if self.ending != Ending::Ended {
            self.advance(pair, now);
        }
        if self.ending != Ending::Ended {
            self.watch_time(pair, now);
        }
        self.shared_bytes = pair.held_bytes(self.id);
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.is_live() {
            // Live sessions are many, and mostly idle.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Bytes that this session holds for its peer: what of a frame has come, what the store has not
    /// taken yet, heights and ranges in catch-up, what the peer was found to have and what it
    /// announced or fetched.
    pub fn held_bytes(&self) -> usize {
        let comparing = self.comparing.as_ref().map_or(0, Comparing::held_bytes);
        let compared = self
            .comparison
            .as_ref()
            .map_or(0, |comparison| comparison.held_bytes());
        let forked = self.forked.capacity() * size_of::<VerifyingKey>();
        let told = self.local.held_bytes() + comparing + compared + self.shared_bytes;
        let told = told + self.announcing.held_bytes();
        self.passing_bytes() + told + forked + self.sending.held_bytes()
    }

    /// Those among them that are on their way in: heights and ranges set aside.
    pub fn passing_bytes(&self) -> usize {
        let begun = self.decoder.held_bytes() + self.pieces.held_bytes();
        begun + self.unstored(|batch| batch.held)
    }

    /// Returns `true` if a frame was begun that is not whole, or an operation that comes in
    /// pieces.
    pub fn is_in_frame(&self) -> bool {
        !self.decoder.is_between_frames() || self.pieces.is_coming()
    }

    /// Changes when a frame has come whole. The pieces of an operation, and what came between them,
    /// are one.
    pub fn frames(&self) -> u64 {
        self.pieces.frames(&self.decoder)
    }

    /// Returns `true` if the driver should read the stream; if not, QUIC pushes back on the peer.
    pub fn wants_bytes(&self) -> bool {
        self.ending != Ending::Ended
            && !self.behind
            && !self.answers_wait()
            && self.unstored(|batch| batch.came) < limits::UNSTORED_BYTES_MAX
    }

    /// Returns `true` if catch-up is over: both sides said Done and what came before is durable.
    pub fn is_live(&self) -> bool {
        self.unsettled == Some(0)
    }

    /// Returns what was exchanged so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn advance(&mut self, pair: &mut Pair, now: Time) {
        self.flush();
        if self.ending == Ending::Stop && !self.exchanged() {
            // Close is not legal before live mode, and the stream is not finished in Transfer.
            return self.end(CloseCode::Stopped, true, pair);
        }
        match self.sending {
            Sending::Waiting => self.start(pair),
            Sending::Have if self.receiving != Receiving::Have => self.compare(pair),
            _ => {}
        }
        self.transfer();
        self.announce();
        if self.exchanged() {
            self.go_live(pair, now);
        }
    }

    fn announce(&mut self) {
        if let (false, Some(out), Some(in_)) = (self.announced, self.totals_out, self.totals_in) {
            self.announced = true;
            self.outputs.push_back(Output::Event(Event::CatchUpStarted {
                send_operations: out.0,
                send_bytes: out.1,
                receive_operations: in_.0,
                receive_bytes: in_.1,
            }));
        }
    }

    fn go_live(&mut self, pair: &mut Pair, now: Time) {
        let open_batches = self.stores.len() + usize::from(!self.pending.is_empty());
        self.unsettled.get_or_insert(open_batches);
        if self.is_live() && pair.progress(self.id) == Some(Progress::CatchUp) {
            pair.set_progress(self.id, Progress::Live);
            self.outputs.push_back(Output::Event(Event::CatchUpEnded));
            self.outputs.push_back(Output::PairChanged);
            self.join_sources(pair);
        }
        let live = pair.progress(self.id) == Some(Progress::Live);
        let superseded =
            self.ending == Ending::No && live && pair.superseded(self.id, self.dialled);
        if (superseded || self.ending == Ending::Stop) && !self.asked {
            self.pieces.give_up();
            self.send(&Message::Close);
            self.ending = Ending::Closed { superseded };
            self.deadline = match superseded {
                true => now + limits::REPLACED_TIMEOUT,
                false => now + limits::CLOSE_TIMEOUT,
            };
            pair.set_progress(self.id, Progress::Closing);
        }
        let sent = self.drained && self.pieces.is_idle();
        let arrival = self.sent_up_to();
        if !self.asked && sent && self.reported != Some(arrival) {
            self.reported = Some(arrival);
            self.outputs
                .push_back(Output::Event(Event::Sent { arrival }));
        }
        if self.ending == Ending::No && !self.asked && self.drained && !self.pieces.is_full() {
            let news = self.arrived > self.position;
            let read = self.announcing.next_read(news, self.log_id);
            if let Some(read) = read.or_else(|| self.bodies.next_read(news)) {
                self.ask(Output::Read(read));
            } else if news {
                self.ask(Output::Read(Read::Arrivals {
                    after: self.position,
                    bytes_max: limits::SESSION_LIVE_PAGE_BYTES_MAX,
                }));
            }
        }
        self.ask_for_bodies(pair);
        self.look_at_offers(pair);
    }

    fn unstored(&self, bytes: impl Fn(&Unstored) -> usize) -> usize {
        bytes(&self.pending_bytes) + self.stores.iter().map(bytes).sum::<usize>()
    }

    /// Both sides said Done.
    fn exchanged(&self) -> bool {
        self.sending == Sending::Done && self.receiving == Receiving::Done
    }
}
