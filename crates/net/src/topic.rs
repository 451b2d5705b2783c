//! One subscribed topic: its membership overlay, its peers and their sessions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use p2panda_core::{Entry, Few, Label, Tail, Topic, VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::draws::Draws;
use p2panda_protocol::link::{Blocks, ReceiptLog};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::sync::{
    Dialled, Fault, Need, NeedInput, NeedOutput, Protocol, SessionId, Sources,
};
use p2panda_protocol::time::Time;
use tokio::sync::broadcast;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};
use tracing::Instrument;

use crate::admission::Admitted;
use crate::dial;
use crate::event::{NetEvent, Refusal};
use crate::flag::Flag;
use crate::inbox::Inbox;
use crate::membership::{Meets, Membership, MembershipEvent};
use crate::random;
use crate::repairs::Repairs;
use crate::session::{self, PairShare, SessionOf, TopicShare};
use crate::shared::Shared;
use crate::signs::Sign;
use crate::watched::Watcher;
use crate::wire::Wire;

/// An accepted session on its way to its topic. Boxed in the queue, of which every topic has one.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) peer: VerifyingKey,
    pub(crate) wire: Box<Wire>,
    pub(crate) admitted: Admitted,
    /// On the temporary link of a copy: it counts for nothing but what crosses.
    pub(crate) temporary: bool,
}

/// A subscribed topic; it is left when the last reference is dropped.
#[derive(Debug)]
pub(crate) struct TopicHandle {
    shared: Arc<Shared>,
    overlay: Overlay,
    inbox: Arc<Inbox<Box<Incoming>>>,
    repair: Arc<Repairs>,
    leave: Arc<Flag>,
    done: Arc<Flag>,
    sources: Sources,
}

impl TopicHandle {
    /// Joins the topic's overlay and serves its sessions from now on.
    pub(crate) fn open(
        shared: Arc<Shared>,
        topic: Topic,
        arrivals: Watcher<Tail<Entry>>,
    ) -> Arc<TopicHandle> {
        let inbox = Arc::new(Inbox::default());
        let repair = Arc::new(Repairs::default());
        let share = TopicShare {
            sources: Sources::default(),
            sessions: Arc::default(),
            turn: Arc::default(),
            repair: repair.clone(),
        };
        let sources = share.sources.clone();
        let (leave, done) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        let ended = done.clone();
        let inputs = Inputs {
            arrivals,
            incoming: inbox.clone(),
            repair: repair.clone(),
            leave: leave.clone(),
            share,
        };
        let overlay = Overlay::of_sync(&topic);
        shared.overlays.join_sync(topic);
        // Boxed: a future holds what it is called with more than once.
        let task = Box::new(TopicTask::new(shared.clone(), topic, inputs));
        let parted = shared.clone();
        tokio::spawn(async move {
            task.run().await;
            parted.receipts.forget(&overlay);
            parted.blocked.forget(&overlay);
            parted.overlays.part(overlay);
            ended.raise();
        });
        Arc::new(TopicHandle {
            shared,
            overlay,
            inbox,
            repair,
            leave,
            done,
            sources,
        })
    }

    /// Returns `true` if it was not left.
    pub(crate) fn is_running(&self) -> bool {
        !self.leave.is_raised() && !self.done.is_raised()
    }

    /// Returns the inbox for accepted sessions.
    pub(crate) fn inbox(&self) -> Arc<Inbox<Box<Incoming>>> {
        self.inbox.clone()
    }

    /// Compares with a peer again soon.
    pub(crate) fn repair(&self, peer: VerifyingKey) {
        self.repair.ask(peer);
    }

    /// The same, and sends again what it lacks.
    pub(crate) fn resend(&self, peer: VerifyingKey) {
        self.repair.resend(peer);
    }

    /// This author is the node as well.
    pub(crate) fn sign_as(&self, author: VerifyingKey) {
        self.sources.sign_as(author);
    }

    /// Wants receipts for an own log up to this entry; the label is that of one with a name.
    pub(crate) fn confirm(&self, label: Option<Label>, height: u32) {
        if self.is_running() {
            let overlay = self.overlay;
            let log = ReceiptLog { overlay, label };
            self.shared.receipts.want(log, height);
        }
    }

    /// Tells peers which logs are blocked here.
    pub(crate) fn block(&self, blocks: Blocks) {
        if self.is_running() {
            self.shared.blocked.set(self.overlay, blocks);
        }
    }

    /// Returns the events of the network.
    pub(crate) fn events(&self) -> broadcast::Receiver<NetEvent> {
        self.shared.signals.events()
    }

    /// The peers with a session.
    pub(crate) fn peers(&self, topic: &Topic) -> BTreeSet<VerifyingKey> {
        let sessions = self.shared.sessions.on(topic);
        sessions.into_iter().map(|(peer, ..)| peer).collect()
    }

    /// The network is shut down. Told by the registry of topics rather than heard of: nothing waits for
    /// it meanwhile, however many they are.
    pub(crate) fn stop(&self) {
        self.leave.raise();
    }

    /// Ends all sessions cleanly; returns when they have ended.
    pub(crate) async fn leave(&self) {
        self.leave.raise();
        // The task bounds its own end; twice that is for a runtime that is busy.
        let wait = self.shared.timings.leave_timeout * 2;
        let _ = timeout(wait, self.done.raised()).await;
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        self.leave.raise();
        self.shared.leaving.add(self.done.clone());
    }
}

#[derive(Debug)]
struct Inputs {
    arrivals: Watcher<Tail<Entry>>,
    incoming: Arc<Inbox<Box<Incoming>>>,
    repair: Arc<Repairs>,
    leave: Arc<Flag>,
    share: TopicShare,
}

/// Task of a topic.
#[derive(Debug)]
struct TopicTask {
    shared: Arc<Shared>,
    topic: Topic,
    arrivals: Watcher<Tail<Entry>>,
    incoming: Arc<Inbox<Box<Incoming>>>,
    leave: Arc<Flag>,
    repair: Arc<Repairs>,
    membership: Membership,
    /// Once there is anybody to need.
    need: Option<Box<Need>>,
    wake: Option<Time>,
    pairs: Few<VerifyingKey, Arc<PairShare>>,
    share: TopicShare,
    tasks: JoinSet<Outcome>,
    /// Purpose of each task, in case it ends without a report.
    started: Vec<(Id, Task)>,
}

#[derive(Debug)]
enum Task {
    Dial(VerifyingKey, AbortHandle),
    /// Raising the flag ends it cleanly.
    Session(VerifyingKey, SessionId, Arc<Flag>),
    /// With a copy of a peer.
    Copy(Arc<Flag>),
}

#[derive(Debug)]
enum Outcome {
    Dialled(Result<Box<Wire>, Fault>),
    Ended(Result<(), Fault>),
}

impl TopicTask {
    fn new(shared: Arc<Shared>, topic: Topic, inputs: Inputs) -> Self {
        let overlay = Overlay::of_sync(&topic);
        let membership = Membership::new(shared.clone(), overlay, Meets::Published);
        let Inputs {
            arrivals,
            incoming,
            repair,
            leave,
            share,
        } = inputs;
        Self {
            need: None,
            shared,
            topic,
            arrivals,
            incoming,
            leave,
            repair,
            membership,
            wake: None,
            pairs: Few::new(),
            share,
            tasks: JoinSet::new(),
            started: Vec::new(),
        }
    }

    /// Serves the topic until it is left, or the network is shut down ([`TopicHandle::stop`]).
    async fn run(mut self: Box<Self>) {
        for peer in self.shared.book.interested(&self.overlay()) {
            self.look_at_interest(peer);
        }
        while !self.shared.signals.is_stopped() {
            let wake = self.shared.clock.instant(self.wake.unwrap_or(Time::ZERO));
            tokio::select! {
                event = self.membership.next() => self.membership_event(event),
                incoming = self.incoming.next() => self.accept(*incoming),
                (peer, resend) = self.repair.next() => self.compare(peer, resend),
                Some(done) = self.tasks.join_next_with_id() => self.task_done(done),
                () = sleep_until(wake), if self.wake.is_some() => {
                    self.wake = None;
                    self.look_who_is_behind();
                    self.need(NeedInput::Tick);
                }
                () = self.leave.raised() => break,
            }
        }
        // Boxed, as what is needed once: room for it would be held all the time.
        Box::pin(self.end()).await;
    }

    fn compare(&mut self, peer: VerifyingKey, resend: bool) {
        if resend && let Some(pair) = self.pairs.get(&peer) {
            pair.forget_sent();
        }
        self.need(NeedInput::Repair(peer));
    }

    fn overlay(&self) -> Overlay {
        Overlay::of_sync(&self.topic)
    }

    fn sign(&mut self, sign: Sign) {
        match sign {
            Sign::Shown(peer) => self.need(NeedInput::Shown(peer)),
            Sign::Interest(peer) => self.look_at_interest(peer),
            Sign::Told(peer) => self.need(NeedInput::Told(peer)),
            Sign::Linked(peer) => self.need(NeedInput::Linked(peer)),
        }
    }

    fn look_at_interest(&mut self, peer: VerifyingKey) {
        let interest = self.shared.book.interest_of(&peer, &self.overlay());
        if interest.is_none() {
            self.shared.refusals.forget(self.topic, peer);
        }
        self.need(match interest {
            Some(named) => NeedInput::Interested { peer, named },
            None => NeedInput::Uninterested(peer),
        });
    }

    fn look_who_is_behind(&mut self) {
        let running = self.started.iter().filter_map(|(_, task)| match task {
            Task::Session(_, session, _) => Some(*session),
            Task::Dial(..) | Task::Copy(_) => None,
        });
        let behind = self.shared.sessions.not_live(running);
        let knows = self.need.as_ref().is_some_and(|need| need.has_behind());
        if knows || !behind.is_empty() {
            self.need(NeedInput::Behind(behind));
        }
    }

    fn membership_event(&mut self, event: MembershipEvent) {
        let topic = self.topic;
        match event {
            MembershipEvent::Up(peer) => {
                self.shared
                    .signals
                    .tell(NetEvent::NeighbourUp { topic, peer });
                if let Some(pair) = self.pairs.get(&peer) {
                    pair.probe();
                }
                self.need(NeedInput::Up(peer));
            }
            MembershipEvent::Down(peer) => {
                self.shared
                    .signals
                    .tell(NetEvent::NeighbourDown { topic, peer });
                self.need(NeedInput::Down(peer));
            }
            MembershipEvent::Sign(sign) => self.sign(sign),
            MembershipEvent::Reset => self.need(NeedInput::Reset),
            // Nothing is broadcast in a membership overlay.
            MembershipEvent::Message { .. } => {}
        }
    }

    fn accept(&mut self, incoming: Incoming) {
        let Incoming {
            peer,
            wire,
            admitted,
            temporary,
        } = incoming;
        match temporary {
            true => self.serve_copy(peer, wire, admitted),
            false => self.open(peer, wire, Dialled::ByThem, Some(admitted)),
        }
    }

    /// Serves a copy of a peer. What it has and lacks is not what the peer has and lacks.
    fn serve_copy(&mut self, peer: VerifyingKey, wire: Box<Wire>, admitted: Admitted) {
        let pair = self.new_pair(peer);
        let stop = Arc::new(Flag::default());
        let copy = Task::Copy(stop.clone());
        let of = self.session_of(peer, Dialled::ByThem, pair, stop);
        self.run_session(of, wire, Some(admitted), copy);
    }

    fn open(
        &mut self,
        peer: VerifyingKey,
        wire: Box<Wire>,
        dialled: Dialled,
        admitted: Option<Admitted>,
    ) {
        let pair = self.pairs.get(&peer).cloned();
        let pair = pair.unwrap_or_else(|| {
            let new = self.new_pair(peer);
            self.pairs.insert(peer, new.clone());
            new
        });
        if dialled == Dialled::ByThem {
            pair.probe();
        }
        let published = wire.protocol == Protocol::LogSync;
        let stop = Arc::new(Flag::default());
        let of = self.session_of(peer, dialled, pair, stop.clone());
        let session = of.id;
        self.run_session(of, wire, admitted, Task::Session(peer, session, stop));
        self.need(NeedInput::Opened {
            peer,
            session,
            dialled,
            published,
        });
    }

    fn new_pair(&self, peer: VerifyingKey) -> Arc<PairShare> {
        let sources = self.share.sources.clone();
        Arc::new(PairShare::new(self.shared.local, peer, sources))
    }

    fn session_of(
        &self,
        peer: VerifyingKey,
        dialled: Dialled,
        pair: Arc<PairShare>,
        stop: Arc<Flag>,
    ) -> Box<SessionOf> {
        Box::new(SessionOf {
            shared: self.shared.clone(),
            topic: self.topic,
            peer,
            id: self.shared.sessions.next(),
            dialled,
            pair,
            arrivals: self.arrivals.clone(),
            stop,
            topic_share: self.share.clone(),
        })
    }

    fn run_session(
        &mut self,
        of: Box<SessionOf>,
        wire: Box<Wire>,
        admitted: Option<Admitted>,
        task: Task,
    ) {
        let (peer, session) = (of.peer, of.id.0);
        // The name and the fields are stable: docs/guide/observe.md.
        let span = tracing::debug_span!("session", %peer, topic = ?self.topic, session);
        let running = async move {
            let ended = session::run(of, wire).await;
            drop(admitted);
            Outcome::Ended(ended)
        };
        let id = self.tasks.spawn(running.instrument(span)).id();
        self.start(id, task);
    }

    fn start(&mut self, id: Id, task: Task) {
        // Mostly there is one of them.
        self.started.reserve_exact(1);
        self.started.push((id, task));
    }

    fn take_started(&mut self, id: Id) -> Option<Task> {
        let place = self.started.iter().position(|(other, _)| *other == id)?;
        Some(self.started.swap_remove(place).1)
    }

    fn task_done(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match done {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                tracing::error!(%error, "a task of a topic broke");
                (error.id(), None)
            }
        };
        match (self.take_started(id), outcome) {
            (Some(Task::Dial(peer, _)), Some(Outcome::Dialled(Ok(wire)))) => {
                self.open(peer, wire, Dialled::ByUs, None);
            }
            (Some(Task::Dial(peer, _)), outcome) => {
                let fault = match outcome {
                    Some(Outcome::Dialled(Err(fault))) => fault,
                    _ => Fault::Failed,
                };
                self.tell_refused(peer, fault);
                self.need(NeedInput::DialFailed { peer, fault });
                self.wait_for_sign(peer);
            }
            (Some(Task::Session(peer, session, _)), outcome) => {
                let fault = match outcome {
                    Some(Outcome::Ended(ended)) => ended.err(),
                    _ => Some(Fault::Failed),
                };
                self.session_ended(peer, session, fault);
            }
            // Nobody needs it: the copy comes again.
            (Some(Task::Copy(_)) | None, _) => {}
        }
    }

    fn session_ended(&mut self, peer: VerifyingKey, session: SessionId, fault: Option<Fault>) {
        // It was tried before it said anything.
        let was_a_try = fault == Some(Fault::NotServed) && !self.is_interested(&peer);
        if let Some(fault) = fault.filter(|_| !was_a_try) {
            self.tell_refused(peer, fault);
        }
        self.need(NeedInput::Ended {
            peer,
            session,
            fault,
        });
        if was_a_try {
            self.need(NeedInput::Uninterested(peer));
        }
        self.forget_pair(&peer);
        self.wait_for_sign(peer);
    }

    fn is_interested(&self, peer: &VerifyingKey) -> bool {
        let book = &self.shared.book;
        book.interest_of(peer, &self.overlay()).is_some()
    }

    fn tell_refused(&self, peer: VerifyingKey, fault: Fault) {
        let topic = self.topic;
        let reason = match fault {
            Fault::Refused(_) => {
                self.shared.contacts.note_refused(peer);
                Refusal::TooMany
            }
            Fault::NotServed => Refusal::NotServed,
            Fault::Silent | Fault::Left | Fault::Failed => return,
        };
        let at = self.shared.clock.wall().as_micros();
        let at = UNIX_EPOCH + Duration::from_micros(at);
        self.shared.refusals.add(topic, peer, reason, at);
        let refused = NetEvent::SessionRefused {
            topic,
            peer,
            reason,
        };
        self.shared.signals.tell(refused);
    }

    /// Waits for a sign of life. Signs of a peer that has a session or answers are not checked.
    fn wait_for_sign(&mut self, peer: VerifyingKey) {
        let need = self.need.as_deref();
        let waits = need.is_some_and(|need| need.waits_for(&peer));
        self.membership.wait_for(peer, waits);
    }

    /// Without a session a pair is kept for what it remembers, as long as there is room.
    fn forget_pair(&mut self, peer: &VerifyingKey) {
        let kept = |pair: &Arc<PairShare>| {
            pair.remembers() && self.pairs.len() <= limits::PAIRS_REMEMBERED_MAX
        };
        let need = self.need.as_deref();
        let runs = need.is_some_and(|need| need.has_session(peer));
        if !runs && !self.pairs.get(peer).is_some_and(kept) {
            self.pairs.remove(peer);
        }
    }

    fn need(&mut self, input: NeedInput) {
        let awaited = match &input {
            NeedInput::Opened { peer, .. } | NeedInput::Shown(peer) => Some(*peer),
            _ => None,
        };
        let (shared, topic) = (&self.shared, self.topic);
        let need = self.need.get_or_insert_with(|| {
            // Choices without randomness are as good as others, only not spread.
            let draws = Draws::from_seed(random::seed().unwrap_or_default());
            Box::new(Need::new(
                shared.local,
                topic,
                shared.sessions_sought,
                draws,
            ))
        });
        need.handle(input, shared.clock.now());
        let outputs: Vec<NeedOutput> = std::iter::from_fn(|| need.poll()).collect();
        if let Some(peer) = awaited {
            self.wait_for_sign(peer);
        }
        for output in outputs {
            match output {
                NeedOutput::Dial(peer) => self.dial(peer),
                NeedOutput::Wake(time) => {
                    self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
                }
            }
        }
    }

    fn dial(&mut self, peer: VerifyingKey) {
        let (shared, topic) = (self.shared.clone(), self.topic);
        let task = self.tasks.spawn(async move {
            Outcome::Dialled(dial::dial(&shared, peer, topic).await.map(Box::new))
        });
        self.start(task.id(), Task::Dial(peer, task));
    }

    /// Ends every session cleanly, within the time that leaving may take.
    async fn end(mut self: Box<Self>) {
        self.shared.refusals.forget_topic(self.topic);
        for mut incoming in self.incoming.close() {
            incoming.wire.end(CloseCode::Stopped);
        }
        for (_, task) in &self.started {
            match task {
                Task::Dial(_, dial) => dial.abort(),
                Task::Session(_, _, stop) | Task::Copy(stop) => stop.raise(),
            }
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.shared.timings.leave_timeout, ended)
            .await
            .is_err()
        {
            tracing::debug!("some sessions were cut when their topic was left");
        }
        self.tasks.shutdown().await;
    }
}
