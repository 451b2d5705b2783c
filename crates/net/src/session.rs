//! Drives one sync session: QUIC stream, node and timers on one side, `protocol` on the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, ReadError, WriteError};
use p2panda_core::budget::{Charge, Intake};
use p2panda_core::{Entry, Phase, Tail, Topic, VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::link::Refusal;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::sync::{
    Dialled, End, Fault, Input, Pair, Path, Protocol, Session, SessionId, Sources, Turn,
};
use p2panda_protocol::time::Time;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use crate::acked::{Acks, Marks, Unacked};
use crate::budget::{self, Window};
use crate::close::{close, fault};
use crate::congestion::flow;
use crate::event::{Contact, NetEvent, SessionEnd, SessionStatus};
use crate::flag::Flag;
use crate::flow::Flow;
use crate::repairs::Repairs;
use crate::request::Stored;
use crate::shared::Shared;
use crate::watched::Watcher;
use crate::wire::{NoSession, Scope, Wire, write};

mod chunks;
mod inputs;
mod outputs;
mod pieces;
mod probe;
pub(crate) mod questions;
mod told;

use self::chunks::Chunks;
use self::inputs::{Answer, next_answer, next_stored, unread, unwritten};
use self::pieces::{Turns, wait};
use self::probe::Probe;
use self::questions::{Over, Questions};
use self::told::Progress;

/// The sessions with one peer on one topic.
#[derive(Debug)]
pub(crate) struct PairShare {
    pair: Mutex<Pair>,
    members: Mutex<Vec<Arc<Member>>>,
}

/// Handle that wakes a session of a pair.
#[derive(Debug)]
pub(crate) struct Member {
    id: SessionId,
    /// Another session has changed.
    changed: Notify,
    /// The peer is to be probed.
    probe: Notify,
}

impl PairShare {
    pub(crate) fn new(local: VerifyingKey, remote: VerifyingKey, sources: Sources) -> Self {
        Self {
            pair: Mutex::new(Pair::among(local, remote, sources)),
            members: Mutex::default(),
        }
    }

    /// The peer shows up again: a session that runs may be one that it has lost.
    pub(crate) fn probe(&self) {
        let members = self.members.lock();
        members.iter().for_each(|member| member.probe.notify_one());
    }

    fn join(&self, id: SessionId) -> Arc<Member> {
        let member = Arc::new(Member {
            id,
            changed: Notify::new(),
            probe: Notify::new(),
        });
        let mut members = self.members.lock();
        // Mostly there is one of them.
        members.reserve_exact(1);
        members.push(member.clone());
        member
    }

    fn leave(&self, id: SessionId) {
        self.members.lock().retain(|member| member.id != id);
        self.changed(id);
    }

    /// The peer takes again what it refused.
    pub(crate) fn forget_sent(&self) {
        self.pair.lock().forget_sent();
    }

    /// Returns `true` if the pair is worth keeping without a session.
    pub(crate) fn remembers(&self) -> bool {
        let pair = self.pair.lock();
        pair.remembers()
    }

    /// Tells all but `by` that something changed.
    fn changed(&self, by: SessionId) {
        let members = self.members.lock();
        for member in members.iter().filter(|member| member.id != by) {
            member.changed.notify_one();
        }
    }
}

/// Identity of a session, and what it belongs to.
#[derive(Debug)]
pub(crate) struct SessionOf {
    pub(crate) shared: Arc<Shared>,
    pub(crate) topic: Topic,
    pub(crate) peer: VerifyingKey,
    pub(crate) id: SessionId,
    pub(crate) dialled: Dialled,
    pub(crate) pair: Arc<PairShare>,
    pub(crate) arrivals: Watcher<Tail<Entry>>,
    pub(crate) stop: Arc<Flag>,
    pub(crate) topic_share: TopicShare,
}

/// State that the sessions of a topic share, no matter who the peer is.
#[derive(Clone, Debug)]
pub(crate) struct TopicShare {
    /// Peers by which each author's operations come whole.
    pub(crate) sources: Sources,
    /// The sessions to tell when that changed.
    pub(crate) sessions: Arc<Mutex<Vec<Arc<Member>>>>,
    /// Session that asks for bodies.
    pub(crate) turn: Arc<Mutex<Turn>>,
    /// Peers to compare with again.
    pub(crate) repair: Arc<Repairs>,
}

/// Runs a session to its end. Returns why it ended, unless it ended cleanly.
///
/// Boxed: a future holds what it is called with more than once.
pub(crate) async fn run(of: Box<SessionOf>, mut wire: Box<Wire>) -> Result<(), Fault> {
    let account = of.shared.connections.account(&wire.connection);
    let account = account.ok_or(Fault::Failed)?;
    let first = wire.first.take();
    let window = Window::new(wire.connection.clone(), wire.credit.clone());
    let (acks, intake) = (wire.acks.clone(), account.intake());
    let mut driver = Box::new(Driver::open(*of, wire.protocol, intake, window, acks));
    driver.outbox.extend(first);
    if !matches!(wire.scope, Scope::Stream(Some(_))) {
        driver.reached();
    }
    driver.handle(Input::Tick);
    driver.drive(wire).await
}

#[derive(Debug)]
struct Driver {
    shared: Arc<Shared>,
    topic: Topic,
    peer: VerifyingKey,
    id: SessionId,
    dialled: Dialled,
    /// `true` if the peer was trusted when the session began: one session does not make the peer
    /// trusted in the same one.
    trusted: bool,
    pair: Arc<PairShare>,
    member: Arc<Member>,
    probe: Probe,
    arrivals: Watcher<Tail<Entry>>,
    stop: Arc<Flag>,
    topic_share: TopicShare,
    session: Session,
    intake: Intake,
    /// Frames that were whole when this was last checked.
    frames: u64,
    /// For what is on its way in.
    passing: Charge,
    /// For the heights that are compared.
    heights: Charge,
    window: Window,
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    turns: Turns,
    /// Code with which the peer ended the stream.
    ended_by_peer: Option<u64>,
    undrained: bool,
    /// Arrival number up to which the peer was sent the topic, once what is queued now is written.
    sent: Option<u64>,
    /// Logs with a name cross as well.
    named: bool,
    acks: Acks,
    /// Of the last write.
    marks: Marks,
    unacked: Unacked,
    questions: Questions,
    answer: Option<Answer>,
    stores: VecDeque<oneshot::Receiver<Stored>>,
    wake: Option<Time>,
    finish: bool,
    end: Option<End>,
    /// Answer of the peer instead of a session.
    refused: Option<Fault>,
    reason: SessionEnd,
    /// Of the catch-up, while that continues.
    progress: Option<Box<Progress>>,
    /// Tells the node that the session is over, even if this task is aborted.
    over: Over,
}

/// Input from the stream.
enum Got {
    Bytes(Result<Option<usize>, ReadError>),
    /// In front of the session.
    Answer(Result<(), NoSession>),
}

impl Driver {
    fn open(of: SessionOf, protocol: Protocol, intake: Intake, window: Window, acks: Acks) -> Self {
        let SessionOf {
            shared,
            topic,
            peer,
            id,
            dialled,
            pair,
            mut arrivals,
            stop,
            topic_share,
        } = of;
        let now = shared.clock.now();
        let member = pair.join(id);
        let mut sessions = topic_share.sessions.lock();
        sessions.reserve_exact(1);
        sessions.push(member.clone());
        drop(sessions);
        let session = {
            let mut pair = pair.pair.lock();
            let limits = shared.limits;
            Session::open(id, dialled, protocol, topic, limits, &mut pair, now)
        };
        // Anything that was stored before is in the heights; but a value that nobody has looked at
        // yet must wake us once.
        arrivals.mark_changed();
        let over = Over::new(shared.requests.clone(), topic, id, peer);
        let mut driver = Self {
            questions: Questions::new(shared.requests.clone()),
            trusted: shared.book.is_trusted(&peer),
            shared,
            topic,
            peer,
            id,
            dialled,
            probe: Probe::default(),
            pair,
            member,
            arrivals,
            stop,
            topic_share,
            session,
            passing: intake.charge(0),
            heights: intake.account().charge(0),
            intake,
            frames: 0,
            window,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            turns: Turns::default(),
            ended_by_peer: None,
            undrained: false,
            sent: None,
            named: matches!(protocol, Protocol::Link { .. }),
            unacked: acks.nothing_written(),
            acks,
            marks: Marks::default(),
            answer: None,
            stores: VecDeque::new(),
            wake: None,
            finish: false,
            end: None,
            refused: None,
            reason: SessionEnd::Failed,
            progress: None,
            over,
        };
        let digest = protocol != Protocol::LogSync;
        driver.shared.sessions.started(
            peer,
            SessionStatus {
                session: id,
                topic,
                dialled_by_us: dialled == Dialled::ByUs,
                digest,
                receipts: matches!(protocol, Protocol::Link { .. }),
                live: false,
            },
        );
        driver.tell(Phase::CatchUp);
        driver
    }

    /// The peer takes part in the session.
    fn reached(&self) {
        self.shared.contacts.note(self.peer, Contact::Reached);
    }

    async fn drive(mut self: Box<Self>, mut wire: Box<Wire>) -> Result<(), Fault> {
        let mut chunks = Chunks::default();
        let mut at_end = false;
        let mut stopping = false;
        let mut has_arrivals = true;
        let mut priority = 0;
        while self.end.is_none() {
            tokio::task::consume_budget().await;
            self.charge();
            let is_turn = self.is_turn_of_pieces();
            let flow = is_turn.then(|| flow(&wire.connection)).flatten();
            // Before it is asked, so that nothing is missed.
            let more_room = flow.as_ref().map(Flow::changed);
            let full = !self.send_pieces(flow.as_ref());
            if priority != self.priority() {
                priority = self.priority();
                // An error means that the stream has ended.
                let _ = wire.send.set_priority(priority);
            }
            if !self.outbox.is_empty() {
                self.acks.writing(&mut self.marks);
            }
            let wants_bytes = self.session.wants_bytes() && !at_end;
            let in_frame = self.session.is_in_frame();
            let wake = self.shared.clock.instant(self.wake.unwrap_or(Time::ZERO));
            let Wire {
                connection,
                send,
                recv,
                scope,
                ..
            } = &mut *wire;
            let intake = &self.intake;
            let reading = async {
                match scope {
                    Scope::Stream(Some(answer)) => {
                        Got::Answer(Box::pin(answer.accepted(recv)).await)
                    }
                    _ => Got::Bytes(
                        budget::read(connection, recv, chunks.room(), intake, in_frame).await,
                    ),
                }
            };
            tokio::select! {
                got = reading, if wants_bytes => match got {
                    Got::Bytes(Ok(Some(count))) => self.bytes(chunks.take(count)),
                    Got::Bytes(Ok(None)) => {
                        at_end = true;
                        self.ended_by_peer = Some(CloseCode::Done.code().into());
                        self.handle(Input::EndOfStream);
                    }
                    Got::Bytes(Err(error)) => {
                        at_end = true;
                        if let ReadError::Reset(code) = error {
                            self.ended_by_peer = Some(code.into_inner());
                        }
                        self.handle(unread(&error));
                    }
                    Got::Answer(Ok(())) => {
                        wire.scope = Scope::Stream(None);
                        wire.proofs.add(Overlay::of_sync(&self.topic));
                        self.reached();
                    }
                    Got::Answer(Err(no)) => {
                        at_end = true;
                        tracing::debug!(peer = %self.peer, ?no, "no session on this stream");
                        self.refused = match no {
                            NoSession::Refused(Refusal::Unknown, _) => Some(Fault::NotServed),
                            NoSession::Refused(Refusal::Full, wait) => Some(Fault::Refused(wait)),
                            _ => None,
                        };
                        self.handle(Input::EndOfStream);
                    }
                },
                wrote = write(send, &mut self.outbox), if !self.outbox.is_empty() => {
                    match wrote {
                        Ok(count) => self.wrote(count),
                        Err(error) => {
                            if let WriteError::Stopped(code) = error {
                                self.ended_by_peer = Some(code.into_inner());
                            }
                            self.outbox.clear();
                            self.handle(unwritten(&error));
                        }
                    }
                }
                sent = self.questions.send(), if self.questions.waiting() => {
                    if !sent {
                        self.handle(Input::Lost);
                    }
                }
                answer = next_answer(&mut self.answer), if self.answer.is_some() => {
                    self.answer = None;
                    if let Some(Input::Wanted(Some(wanted))) = &answer
                        && wanted.ranges.is_empty()
                    {
                        self.turn().end(self.id);
                    }
                    self.handle(answer.unwrap_or(Input::Lost));
                }
                stored = next_stored(&mut self.stores), if !self.stores.is_empty() => {
                    self.stores.pop_front();
                    self.handle(match stored {
                        Some(Stored { invalid }) => Input::Stored { invalid },
                        None => Input::Lost,
                    });
                }
                changed = self.arrivals.changed(), if has_arrivals => match changed {
                    Ok(()) => {
                        let arrival = self.arrivals.borrow_and_update().last();
                        self.handle(Input::Arrived(arrival));
                    }
                    Err(_) => has_arrivals = false,
                },
                Some(()) = wait(more_room), if full => {}
                () = self.probe.silent(&self.member.probe, connection, &self.window) => {
                    tracing::debug!(peer = %self.peer, "the peer has lost this connection");
                    // With all that runs on it.
                    close(connection, CloseCode::Failed);
                    self.handle(Input::Lost);
                }
                () = self.member.changed.notified() => self.handle(Input::PairChanged),
                () = sleep_until(wake), if self.wake.is_some() => {
                    self.wake = None;
                    self.handle(Input::Path(self.path(connection)));
                    self.handle(Input::Tick);
                }
                () = self.stop.raised(), if !stopping => {
                    stopping = true;
                    self.handle(Input::Stop);
                }
            }
            if self.finish && self.outbox.is_empty() {
                self.finish = false;
                // An error means that the stream is gone already.
                let _ = wire.send.finish();
            }
        }
        // Boxed, as what is needed once: room for it would be held all the time.
        Box::pin(self.ended(wire)).await
    }

    fn bytes(&mut self, chunks: Vec<Bytes>) {
        let mut bytes = 0;
        for chunk in chunks {
            bytes += chunk.len();
            self.handle(Input::Bytes(chunk));
        }
        let much = !self.session.is_live() || self.session.is_in_frame();
        self.window.read(&self.intake, bytes, much);
        self.tell_progress();
    }

    /// Small and live messages go before bulk on a link (`docs/protocol/link.md#7`).
    fn priority(&self) -> i32 {
        match self.session.is_live() {
            _ if self.outbox_bytes > limits::LINK_BULK_BYTES || self.session.has_pieces() => -1,
            true => 1,
            false => 0,
        }
    }

    fn is_turn_of_pieces(&self) -> bool {
        let has_pieces = self.session.has_pieces();
        self.turns.has_come(has_pieces, self.outbox.is_empty())
    }

    /// Hands out pieces of a large operation, if it is their turn. False if the path has no room.
    fn send_pieces(&mut self, flow: Option<&Flow>) -> bool {
        let company = self.window.credit().has_company(self.shared.clock.now());
        let mut left = match self.is_turn_of_pieces() {
            true => limits::LINK_PIECES_AT_ONCE,
            false => 0,
        };
        while left > 0 && self.session.has_pieces() {
            if !self.turns.begin(flow, company) {
                return false;
            }
            self.handle(Input::Room);
            self.turns.end();
            left -= 1;
        }
        true
    }

    /// Heights are held for long and by our own doing: they count for the peer, but do not keep the
    /// session from reading the little that every session may hold.
    fn charge(&mut self) {
        let announced = self.session.announced_bytes();
        if announced > limits::BUDGET_SESSION_BYTES_MIN && self.intake.is_slowed() {
            self.session.forget_announced();
        }
        let (held, passing) = (self.session.held_bytes(), self.session.passing_bytes());
        self.passing.resize(passing);
        self.heights.resize(held.saturating_sub(passing));
        if self.frames != self.session.frames() {
            self.frames = self.session.frames();
            self.intake.end_frame();
        }
    }

    fn wrote(&mut self, count: usize) {
        self.shared.connections.sync_wrote(count);
        self.outbox_bytes = self.outbox_bytes.saturating_sub(count);
        self.unacked.wrote(count);
        if self.undrained && self.outbox_bytes <= limits::WRITE_LOW_WATER_BYTES {
            self.undrained = false;
            self.handle(Input::Drained);
        }
        self.tell_sent();
        self.tell_progress();
    }

    fn handle(&mut self, input: Input) {
        let now = self.shared.clock.now();
        let share = self.pair.clone();
        let mut pair = share.pair.lock();
        if self.wake.is_some_and(|wake| wake <= now) && !self.session.is_live() {
            // Before it is judged whether the peer takes anything.
            let acked = self.unacked.take(self.acks.bytes());
            self.session.handle(Input::Acked(acked), &mut pair, now);
        }
        self.session.handle(input, &mut pair, now);
        drop(pair);
        while let Some(output) = self.session.poll() {
            self.take(output);
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.topic_share.turn.lock()
    }

    /// By the selected path; a usual one until there is one.
    fn path(&self, connection: &Connection) -> Path {
        let sessions = self.shared.sessions.with(&self.peer);
        let paths = connection.paths();
        let selected = paths.iter().find(|path| path.is_selected());
        let stats = selected.map(|path| path.stats());
        Path {
            rtt: stats.map_or(Duration::ZERO, |stats| stats.rtt),
            window_bytes: stats.map_or(u64::MAX, |stats| stats.cwnd),
            sessions,
        }
    }

    async fn ended(mut self: Box<Self>, mut wire: Box<Wire>) -> Result<(), Fault> {
        let end = self.end.unwrap_or(End {
            code: CloseCode::Failed,
            ok: false,
        });
        let fault = self.refused.unwrap_or_else(|| fault(&wire.connection));
        let closed = wire.connection.close_reason();
        let by_peer = told::by_peer(closed.as_ref(), self.ended_by_peer);
        self.reason = told::end(end, fault, self.stop.is_raised(), by_peer);
        wire.end(end.code);
        self.pair.leave(self.id);
        tracing::debug!(
            peer = %self.peer,
            session = self.id.0,
            by_us = self.dialled == Dialled::ByUs,
            code = ?end.code,
            ok = end.ok,
            reason = ?wire.connection.close_reason(),
            "sync session ended"
        );
        // What was received is worth storing even if the session failed afterwards.
        while self.questions.waiting() && self.questions.send().await {}
        self.over.tell().await;
        end.ok.then_some(()).ok_or(fault)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.pair.leave(self.id);
        self.acks.forget(self.id);
        let mut sessions = self.topic_share.sessions.lock();
        sessions.retain(|other| other.id != self.id);
        drop(sessions);
        self.topic_share.sources.leave(&self.peer, self.id);
        self.turn().end(self.id);
        let (topic, peer, session) = (self.topic, self.peer, self.id);
        let ok = self.end.is_some_and(|end| end.ok);
        let transfer = self.transfer();
        self.shared.sessions.ended(session);
        self.shared.signals.tell(NetEvent::SessionEnded {
            topic,
            peer,
            session,
            ok,
            reason: self.reason,
            transfer,
        });
    }
}
