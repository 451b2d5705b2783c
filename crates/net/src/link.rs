//! Drives a link: its control stream, and the topic streams that the peer opens on it
//! (`docs/protocol/link.md`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{RecvStream, SendStream};
use p2panda_core::budget::{Charge, Intake};
use p2panda_core::limits;
use p2panda_protocol::book::{Handover, Teller};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::draws::Draws;
use p2panda_protocol::link::{
    Control, Farewell, Input, Instance, Level, Opening, Output, ReceiptLog, Side, Start, Told,
};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::TransportInfo;
use p2panda_protocol::time::{Time, patience};
use p2panda_protocol::walk::Step;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use crate::admission::allow_link;
use crate::budget;
use crate::close::close;
use crate::conduct::Conduct;
use crate::connections::round_trip;
use crate::discovery;
use crate::event::NetEvent;
use crate::gossip::Way;
use crate::link_gossip::LinkGossip;
use crate::links::{Begun, Command, Link};
use crate::overlays::Change;
use crate::peer_id::remote;
use crate::random;
use crate::request::Request;
use crate::served::Served;
use crate::session::questions::Questions;
use crate::shared::Shared;
use crate::topic::TopicHandle;
use crate::wire::{NoSession, write};

mod streams;

/// Control goes before sessions.
const PRIORITY: i32 = 2;

/// Drives every link that begins, until the network is shut down.
pub(crate) async fn run(
    shared: Arc<Shared>,
    topics: Arc<Served<TopicHandle>>,
    mut begins: mpsc::Receiver<Begun>,
) {
    loop {
        tokio::select! {
            Some(begun) = begins.recv() => {
                let (shared, topics) = (shared.clone(), topics.clone());
                // The name and the fields are stable: docs/guide/observe.md.
                let span = tracing::debug_span!("link", peer = %begun.link.peer);
                let running = async move {
                    let link = begun.link.clone();
                    if drive(&shared, topics, begun).await.is_none() {
                        close(&link.connection, CloseCode::Failed);
                    }
                    shared.links.end(&link);
                };
                tokio::spawn(running.instrument(span));
            }
            () = shared.signals.stopped() => return,
        }
    }
}

/// `None`: it did not begin.
async fn drive(shared: &Arc<Shared>, topics: Arc<Served<TopicHandle>>, begun: Begun) -> Option<()> {
    let Begun {
        link,
        commands,
        control,
    } = begun;
    let path = round_trip(&link.connection);
    let wait = patience(shared.timings.handshake_timeout, path);
    let (send, recv) = match control {
        Some(control) => control,
        None => timeout(wait, link.connection.accept_bi())
            .await
            .ok()?
            .ok()?,
    };
    let _ = send.set_priority(PRIORITY);
    let intake = shared.connections.account(&link.connection)?.intake();
    let driver = Driver::open(shared, topics, link, intake)?;
    driver.drive(send, recv, commands).await;
    Some(())
}

struct Driver {
    shared: Arc<Shared>,
    topics: Arc<Served<TopicHandle>>,
    link: Arc<Link>,
    control: Control,
    /// Of the overlays that the control stream knows of.
    version: u64,
    changes: watch::Receiver<u64>,
    own: watch::Receiver<Option<TransportInfo>>,
    /// Signals that nodes joined or left overlays; with the version that the peer was told, and
    /// when it may be told again.
    news: watch::Receiver<u64>,
    news_version: u64,
    news_at: Instant,
    intake: Intake,
    held: Charge,
    outbox: VecDeque<Bytes>,
    wake: Option<Time>,
    /// While it carries gossip.
    way: Option<Way>,
    gossip: LinkGossip,
    /// Tasks that wait until it does.
    to_carry: Vec<oneshot::Sender<()>>,
    /// Time at which the peer is asked for records, if it is to be, and the earliest time at which
    /// it may be.
    ask_at: Option<Instant>,
    ask_again_at: Instant,
    /// Time at which the own record may be sent again.
    record_at: Instant,
    /// Tasks that asked for records.
    waiting: Vec<oneshot::Sender<Step>>,
    /// Topics are not told before that what is common.
    tell_at: Instant,
    /// Overlays that are common were told.
    met: bool,
    /// Reported nodes are not processed.
    is_new: bool,
    /// Overlays that began or ended since.
    common_changes: BTreeMap<Overlay, bool>,
    incoming: JoinSet<Opened>,
    /// Questions and news for the node.
    questions: Questions,
    /// Receipts that this node wants, up to where the peer was asked, and when it may be asked again.
    receipts: watch::Receiver<u64>,
    receipts_version: u64,
    receipts_at: Instant,
    /// Receipts that the peer waits for.
    levels: JoinSet<(ReceiptLog, Option<Level>)>,
    /// Logs that this node blocks, up to where the peer was told.
    blocked: watch::Receiver<u64>,
    blocked_version: u64,
    /// `true` if the peer ever said that it blocks a log.
    peer_blocks: bool,
    looking: BTreeMap<ReceiptLog, AbortHandle>,
    conduct: Conduct,
    /// Nothing needs the link since then.
    unneeded: Option<Instant>,
    /// Time at which the link with a copy of the peer ends.
    temporary_until: Option<Instant>,
    ending: Option<Instant>,
    end_code: CloseCode,
    over: bool,
}

/// A topic stream that the peer opened.
struct Opened {
    opening: Result<Opening, NoSession>,
    send: SendStream,
    recv: RecvStream,
}

impl Driver {
    fn open(
        shared: &Arc<Shared>,
        topics: Arc<Served<TopicHandle>>,
        link: Arc<Link>,
        intake: Intake,
    ) -> Option<Self> {
        let changes = shared.overlays.changes();
        let (overlays, version) = shared.overlays.now();
        let mut own = shared.own.subscribe();
        let mut news = shared.book.news().changes();
        let news_version = *news.borrow_and_update();
        let mut receipts = shared.receipts.changes();
        receipts.mark_changed();
        let mut blocked = shared.blocked.changes();
        blocked.mark_changed();
        let start = Start {
            node: shared.local,
            peer: link.peer,
            side: link.side,
            secret: link.secret.clone(),
            instance: shared.links.instance(),
            record: own.borrow_and_update().clone(),
            overlays,
            round_trip: round_trip(&link.connection),
            draws: Draws::from_seed(random::seed()?),
        };
        let gossip = LinkGossip::new(link.acks.clone());
        Some(Self {
            control: Control::new(start, shared.clock.now()),
            conduct: Conduct::new(link.broken.clone(), Instant::now()),
            held: intake.account().charge(0),
            shared: shared.clone(),
            topics,
            link,
            version,
            changes,
            own,
            news,
            news_version,
            news_at: Instant::now(),
            intake,
            outbox: VecDeque::new(),
            wake: None,
            way: None,
            gossip,
            to_carry: Vec::new(),
            ask_at: None,
            ask_again_at: Instant::now(),
            record_at: Instant::now(),
            waiting: Vec::new(),
            tell_at: Instant::now(),
            met: false,
            is_new: false,
            common_changes: BTreeMap::new(),
            incoming: JoinSet::new(),
            questions: Questions::new(shared.requests.clone()),
            receipts,
            receipts_version: 0,
            receipts_at: Instant::now(),
            levels: JoinSet::new(),
            blocked,
            blocked_version: 0,
            peer_blocks: false,
            looking: BTreeMap::new(),
            unneeded: None,
            temporary_until: None,
            ending: None,
            end_code: CloseCode::Done,
            over: false,
        })
    }

    async fn drive(
        mut self,
        mut send: SendStream,
        mut recv: RecvStream,
        mut commands: mpsc::Receiver<Command>,
    ) {
        let connection = self.link.connection.clone();
        let mut chunks = [const { Bytes::new() }; 8];
        self.take_outputs().await;
        // An error shows up below.
        if let Ok(count) = write(&mut send, &mut self.outbox).await {
            self.shared.connections.link_wrote(count);
        }
        self.try_topics();
        while !self.over {
            self.held.resize(self.control.held_bytes());
            let wake = self.wake();
            let reading = budget::read(&connection, &mut recv, &mut chunks, &self.intake, true);
            tokio::select! {
                read = reading, if !self.questions.waiting() => match read {
                    Ok(Some(count)) => {
                        for chunk in chunks.iter_mut().take(count) {
                            self.handle(Input::Bytes(std::mem::take(chunk)));
                        }
                    }
                    Ok(None) | Err(_) => self.handle(Input::Lost),
                },
                wrote = write(&mut send, &mut self.outbox), if !self.outbox.is_empty() => match wrote {
                    Ok(count) => self.shared.connections.link_wrote(count),
                    Err(_) => self.handle(Input::Lost),
                },
                batch = self.gossip.next(self.way.as_ref()), if self.waiting_bytes() < limits::LINK_GOSSIP_WAITING_BYTES => {
                    self.gossip(batch);
                }
                Some(command) = commands.recv() => self.command(command),
                Ok(()) = self.changes.changed() => self.overlays_changed(),
                Ok(()) = changed(&mut self.news, self.news_at), if self.met => self.tell_news(),
                Ok(()) = changed(&mut self.receipts, self.receipts_at), if !self.link.is_temporary() => self.ask_for_receipts(),
                Ok(()) = self.blocked.changed(), if !self.link.is_temporary() => self.tell_blocked(),
                proved = self.link.proofs.next() => {
                    proved.into_iter().for_each(|overlay| self.handle(Input::Proved(overlay)));
                }
                Some(found) = self.levels.join_next() => {
                    // One that is not needed any more says nothing.
                    if let Ok((log, level)) = found {
                        self.looking.remove(&log);
                        self.handle(Input::Stored(log, level));
                    }
                }
                sent = self.questions.send(), if self.questions.waiting() => {
                    if !sent {
                        self.handle(Input::Lost);
                    }
                }
                Ok(()) = changed(&mut self.own, self.record_at) => {
                    self.record_at = Instant::now() + limits::LINK_ASK_INTERVAL;
                    let record = self.own.borrow_and_update().clone();
                    if let Some(record) = record {
                        self.handle(Input::Record(record));
                    }
                }
                accepted = connection.accept_bi(), if self.accepts() => match accepted {
                    Ok((send, recv)) => self.accept(send, recv),
                    Err(_) => self.over = true,
                },
                Some(opened) = self.incoming.join_next() => {
                    if let Ok(opened) = opened {
                        self.opened(opened);
                    }
                }
                () = sleep_until(wake) => self.tick(),
                () = self.shared.signals.stopped(), if self.ending.is_none() => self.farewell(Farewell::Stopping),
            }
            self.take_outputs().await;
        }
        self.remember_path();
        self.forget_blocked();
        close(&connection, self.end_code);
    }

    fn handle(&mut self, input: Input) {
        self.control.handle(input, self.shared.clock.now());
    }

    /// Carries out what the machine wants. Records are processed here, some at a time.
    async fn take_outputs(&mut self) {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Send(bytes) => self.outbox.push_back(bytes),
                Output::Wake(time) => self.wake = Some(time),
                Output::Hello { instance, record } => {
                    self.introduced(instance);
                    let records = record.map(|record| (self.link.peer, record));
                    self.take_records(records.into_iter().collect()).await;
                }
                Output::Met(_) => {
                    (self.met, self.is_new) = (true, true);
                    self.carry_if_asked();
                }
                Output::Common(overlay) => drop(self.common_changes.insert(overlay, true)),
                Output::Parted(overlay) => {
                    self.common_changes.insert(overlay, false);
                    self.stop_looking(overlay);
                }
                Output::WantStored { log, above } => self.look_for_level(log, above),
                // What a copy has stored, the peer may not have.
                Output::Stored(..) if self.link.is_temporary() => {}
                Output::Stored(log, level) => {
                    if let Some(topic) = self.shared.overlays.topic(&log.overlay) {
                        self.questions.push(Request::Confirmed {
                            topic,
                            peer: self.link.peer,
                            label: log.label,
                            level,
                        });
                    }
                }
                // What a copy blocks, the peer may not.
                Output::Blocked(..) if self.link.is_temporary() => {}
                Output::Blocked(overlay, changes) => {
                    self.peer_blocks = true;
                    if let Some(topic) = self.shared.overlays.topic(&overlay) {
                        self.questions.push(Request::Blocked {
                            topic,
                            peer: self.link.peer,
                            link: self.link.number,
                            changes,
                        });
                    }
                }
                Output::WantNodes(common) => {
                    let told = self.all_known(&common);
                    self.handle(Input::Nodes(told));
                }
                Output::Nodes(told) => {
                    let step = self.take_records(told.records).await;
                    for (overlay, nodes) in &told.members {
                        for node in nodes.iter().filter(|node| **node != self.link.peer) {
                            self.shared.book.heard_of(node, overlay);
                        }
                    }
                    for waiting in self.waiting.drain(..) {
                        // Fails only if nobody waits any more.
                        let _ = waiting.send(step.clone());
                    }
                }
                Output::Answered => {}
                Output::Gossip(..) if self.link.is_temporary() => {}
                Output::Gossip(overlay, payload) => {
                    let round_trip = round_trip(&self.link.connection);
                    let way = self.carry();
                    if !way.received(overlay, payload, round_trip) {
                        self.end(CloseCode::Violation);
                    }
                }
                Output::Farewell(farewell) => {
                    let wait = match farewell {
                        Farewell::Copy => {
                            let peer = self.link.peer;
                            self.shared.signals.tell(NetEvent::CopyRuns { peer });
                            // The peer closes, with a code that says to wait.
                            limits::LINK_REPLACED_WAIT
                        }
                        _ => limits::LINK_END_WAIT,
                    };
                    self.end_after(wait);
                }
                Output::Close(code, failure) => {
                    tracing::debug!(peer = %self.link.peer, %failure, "a link failed");
                    self.end(code);
                }
            }
        }
        if self.waiting_bytes() > limits::LINK_OUTBOX_BYTES_MAX {
            tracing::debug!(peer = %self.link.peer, "the peer of a link reads nothing");
            self.end(CloseCode::Timeout);
        }
        self.take_common();
    }

    /// Returns the number of bytes that wait to be written.
    fn waiting_bytes(&self) -> usize {
        self.outbox.iter().map(Bytes::len).sum()
    }

    /// Closes the connection. A peer at fault is not admitted again at once.
    fn end(&mut self, code: CloseCode) {
        if matches!(code, CloseCode::Violation | CloseCode::Limit) {
            self.shared.connections.broke_rules(self.link.peer);
        }
        close(&self.link.connection, code);
        self.over = true;
    }

    /// Returns `true` if the topics are to be told what is common.
    fn has_common(&self) -> bool {
        self.met && (self.is_new || !self.common_changes.is_empty())
    }

    /// Takes in which overlays are common: all of them once, and then what changes. A dialler opens
    /// its first sessions at once: who accepts leaves it a moment, so that there is one session and
    /// not one of each side.
    fn take_common(&mut self) {
        if !self.has_common() {
            return;
        }
        allow_link(&self.link.connection, self.control.common().len());
        if self.link.is_temporary() {
            (self.is_new, self.common_changes) = (false, BTreeMap::new());
            return;
        }
        if Instant::now() < self.tell_at {
            return;
        }
        let changes = std::mem::take(&mut self.common_changes);
        let peer = self.link.peer;
        let is_new = std::mem::take(&mut self.is_new);
        if is_new || self.control.common().is_empty() {
            self.shared.met(peer, self.control.common().clone());
        } else {
            self.shared.common_changed(peer, changes);
        }
    }

    /// Begins with the topics before the peer said which ones it has, if it is one to start with.
    fn try_topics(&mut self) {
        match self.link.side {
            Side::Dialler if self.shared.book.is_bootstrap(&self.link.peer) => {
                let signs = self.shared.book.signs();
                signs.linked(self.link.peer, limits::LINK_TOPICS_TRIED_MAX);
            }
            Side::Dialler => {}
            Side::Acceptor => self.tell_at = Instant::now() + limits::LINK_OPEN_WAIT,
        }
    }

    /// A copy of the peer has a moment to sync.
    fn introduced(&mut self, instance: Instance) {
        let links = &self.shared.links;
        links.introduced(&self.link, instance, self.shared.clock.now());
        if self.link.is_temporary() {
            let path = round_trip(&self.link.connection);
            let time = patience(limits::LINK_TEMPORARY_TIME, path);
            self.temporary_until = Some(Instant::now() + time);
        }
    }

    /// Stores how slow the path is, for the next dial.
    fn remember_path(&self) {
        let round_trip = round_trip(&self.link.connection);
        self.shared.paths.measured(self.link.peer, round_trip);
    }

    /// Processes records. What a copy says of itself does not hold for the peer.
    async fn take_records(&mut self, mut records: Records) -> Step {
        if self.link.is_temporary() {
            records.retain(|(node, _)| *node != self.link.peer);
        }
        let from = remote(&self.link.connection);
        let teller = Teller {
            node: self.link.peer,
            from: from.map(|socket| socket.ip()),
        };
        if let Some(socket) = from {
            self.shared.book.answered(&self.link.peer, socket);
        }
        // They come in the order in which the peer said them.
        let began = self.shared.clock.now();
        let handover = Handover { teller, began };
        discovery::take_records(&self.shared, handover, records).await
    }

    /// Draws without randomness are as good as others, only not spread.
    fn all_known(&self, common: &BTreeSet<Overlay>) -> Told {
        let mut draws = Draws::from_seed(random::seed().unwrap_or_default());
        self.shared.book.tell(&self.link.peer, common, &mut draws)
    }

    /// The peer is told who joined an overlay that it is in, too. The joining nodes said so
    /// themselves: what others told is not forwarded.
    fn tell_news(&mut self) {
        self.news_at = Instant::now() + limits::LINK_ASK_INTERVAL;
        let (joins, version) = self.shared.book.news().since(self.news_version);
        self.news_version = version;
        let common = self.control.common();
        let told = match joins {
            Some(joins) => {
                let mut joins: BTreeSet<_> = joins.into_iter().collect();
                joins.retain(|(node, overlay)| *node != self.link.peer && common.contains(overlay));
                self.shared.book.tell_of(&joins)
            }
            None => self.all_known(common),
        };
        if !told.records.is_empty() {
            self.handle(Input::Tell(told));
        }
    }

    /// The peer is asked for the receipts that this node wants, those of 200 ms together.
    fn ask_for_receipts(&mut self) {
        self.receipts.mark_unchanged();
        self.receipts_at = Instant::now() + limits::RECEIPT_INTERVAL;
        let (wanted, version) = self.shared.receipts.since(self.receipts_version);
        self.receipts_version = version;
        for (log, height) in wanted {
            self.handle(Input::Confirm(log, height));
        }
    }

    /// The peer is told which logs this node blocks; the machine decides when.
    fn tell_blocked(&mut self) {
        let (changed, version) = self.shared.blocked.since(self.blocked_version);
        self.blocked_version = version;
        for (overlay, blocks) in changed {
            self.handle(Input::Blocked(overlay, blocks));
        }
    }

    /// The link is over: what the peer blocks is not known any more.
    fn forget_blocked(&self) {
        if !self.peer_blocks {
            return;
        }
        let requests = self.shared.requests.clone();
        let (peer, link) = (self.link.peer, self.link.number);
        tokio::spawn(async move {
            // Fails only when the node is gone.
            let _ = requests.send(Request::Unlinked { peer, link }).await;
        });
    }

    /// The peer wants to be told how far a log of it is stored.
    fn look_for_level(&mut self, log: ReceiptLog, above: Option<u32>) {
        let (reply, answer) = oneshot::channel();
        if let Some(topic) = self.shared.overlays.topic(&log.overlay) {
            self.questions.push(Request::Level {
                topic,
                author: self.link.peer,
                label: log.label,
                above,
                reply,
            });
        }
        let looking = async move { (log, answer.await.ok()) };
        let looking = self.levels.spawn(looking);
        if let Some(before) = self.looking.insert(log, looking) {
            before.abort();
        }
    }

    /// The overlay is common no longer.
    fn stop_looking(&mut self, overlay: Overlay) {
        let looking = self.looking.range(ReceiptLog::all(overlay));
        let logs: Vec<_> = looking.map(|(log, _)| *log).collect();
        for log in logs {
            if let Some(looking) = self.looking.remove(&log) {
                looking.abort();
            }
        }
    }

    fn carry(&mut self) -> &Way {
        let (peer, round_trip) = (self.link.peer, round_trip(&self.link.connection));
        let gossip = &self.shared.gossip;
        self.way
            .get_or_insert_with(|| gossip.carry(peer, round_trip))
    }

    /// Answers those who wait for the link to carry gossip, once it is known what is common.
    fn carry_if_asked(&mut self) {
        if self.met && !self.to_carry.is_empty() {
            self.carry();
            for asked in self.to_carry.drain(..) {
                // Fails only if nobody waits any more.
                let _ = asked.send(());
            }
        }
    }

    fn gossip(&mut self, batch: Result<(Overlay, Vec<Bytes>), CloseCode>) {
        // No overlay needs it now, or the peer brought too much.
        let Ok((overlay, frames)) = batch else {
            self.way = None;
            return;
        };
        if !self.control.common().contains(&overlay) {
            if let Some(way) = &self.way {
                way.not_shared(overlay);
            }
            return;
        }
        for frame in frames {
            self.gossip.wrote(frame.len());
            // Behind the length.
            self.handle(Input::Gossip(overlay, frame.slice(4.min(frame.len())..)));
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Carry(reply) => {
                self.to_carry.push(reply);
                self.carry_if_asked();
            }
            Command::Meet(reply) => {
                // Without having met: the records come unasked.
                if self.met {
                    self.ask_at.get_or_insert(self.ask_again_at);
                }
                self.waiting.push(reply);
            }
            Command::Replaced if self.link.side == Side::Dialler => {
                self.farewell(Farewell::Replaced);
            }
            // The peer says farewell.
            Command::Replaced => self.end_after(limits::LINK_REPLACED_WAIT),
        }
    }

    fn overlays_changed(&mut self) {
        self.changes.mark_unchanged();
        match self.shared.overlays.since(self.version) {
            Some((changes, version)) => {
                self.version = version;
                for change in changes {
                    self.handle(match change {
                        Change::Begun(overlay) => Input::Begin(overlay),
                        Change::Ended(overlay) => Input::End(overlay),
                    });
                }
            }
            None => {
                let (overlays, version) = self.shared.overlays.now();
                self.version = version;
                self.handle(Input::All(overlays));
            }
        }
    }

    /// Returns the time at which the next tick is due. While something needs the link, all links
    /// look together whether that is still so.
    fn wake(&mut self) -> Instant {
        let now = Instant::now();
        let look = match self.is_needed() {
            true => {
                self.unneeded = None;
                let wait = limits::LINK_LOOK_INTERVAL.min(self.shared.timings.link_duty_wait * 2);
                self.shared.clock.together(now + wait, wait)
            }
            false => *self.unneeded.get_or_insert(now) + self.duty_wait(),
        };
        let machine = self.wake.map(|time| self.shared.clock.instant(time));
        let tells = self.has_common().then_some(self.tell_at);
        let due = [
            Some(look),
            machine,
            self.ask_at,
            tells,
            self.temporary_until,
        ]
        .into_iter()
        .flatten();
        // Once it ends, nothing else is due.
        self.ending.or(due.min()).unwrap_or(look)
    }

    /// Returns the time for which the link may be of no use.
    fn duty_wait(&self) -> Duration {
        let path = round_trip(&self.link.connection);
        patience(self.shared.timings.link_duty_wait, path)
    }

    /// Returns `true` while something runs that two nodes have in common. Gossip of a peer that
    /// has proved nothing does not suffice: it has to be a neighbour.
    fn is_needed(&mut self) -> bool {
        self.waiting.retain(|waiting| !waiting.is_closed());
        let (shared, peer) = (&self.shared, &self.link.peer);
        !self.waiting.is_empty()
            || self.has_sessions()
            || shared.gossip.is_neighbour(peer)
            || (self.way.is_some() && shared.connections.is_proven(peer))
    }

    fn has_sessions(&self) -> bool {
        !self.incoming.is_empty() || self.shared.sessions.with(&self.link.peer) > 0
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.ending.is_some_and(|end| now >= end) {
            self.over = true;
            return;
        }
        if self.ask_at.is_some_and(|at| now >= at) {
            self.ask_at = None;
            self.ask_again_at = now + limits::LINK_ASK_INTERVAL;
            self.handle(Input::Ask);
        }
        if self
            .wake
            .is_some_and(|wake| self.shared.clock.now() >= wake)
        {
            self.wake = None;
            self.handle(Input::Tick);
        }
        if self.temporary_until.is_some_and(|end| now >= end) {
            self.temporary_until = None;
            self.end_code = CloseCode::Refused;
            self.farewell(Farewell::Copy);
        }
        let unneeded = self.unneeded.filter(|_| !self.is_needed());
        if unneeded.is_some_and(|since| now >= since + self.duty_wait()) {
            self.farewell(Farewell::Unneeded);
        }
        self.remember_path();
    }

    fn farewell(&mut self, farewell: Farewell) {
        if self.ending.is_none() {
            self.handle(Input::Farewell(farewell));
            self.end_after(limits::LINK_END_WAIT);
        }
    }

    fn end_after(&mut self, wait: Duration) {
        self.ending.get_or_insert(Instant::now() + wait);
    }
}

/// Changes that follow each other soon are told as one.
async fn changed<T>(
    watched: &mut watch::Receiver<T>,
    not_before: Instant,
) -> Result<(), watch::error::RecvError> {
    if Instant::now() < not_before {
        sleep_until(not_before).await;
    }
    watched.changed().await
}
