//! Answers what the network asks of its node: pages from the store, and received operations on
//! their way through verification into the engine's queue.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use p2panda_core::limits::{SESSION_PAGE_BYTES_MAX, SESSION_PAGE_ROWS_MAX};
use p2panda_core::{
    Gap, Heights, Label, Page, Phase, Read, Received, Timestamp, Topic, VerifyingKey,
};
use p2panda_engine::{Incoming, IngestReport, Source};
use p2panda_net::{Request, Stored, Totals};
use p2panda_protocol::link::Level;
use p2panda_protocol::ranges::SharedHeads;
use p2panda_protocol::sync::SessionId;
use p2panda_store::{Reader, StoreError};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::event::{Event, EventSender};
use crate::inner::blame::Blame;
use crate::inner::hops::Hops;
use crate::inner::known::{self, Known};
use crate::inner::levels::{Levels, check_of};
use crate::inner::new_logs::{Counted, NewLogs};
use crate::inner::queue::Queue;
use crate::inner::storage::Storage;
use crate::inner::topic::Topics;
use crate::inner::verify::verify;

/// Serves the network until it is gone.
pub(crate) async fn serve(mut requests: mpsc::Receiver<Request>, responder: Responder) {
    let sessions = Sessions::default();
    while let Some(request) = requests.recv().await {
        responder.take(request, &sessions);
    }
}

/// Answers the requests of the network.
#[derive(Clone)]
pub(crate) struct Responder {
    pub(crate) id: VerifyingKey,
    pub(crate) levels: Levels,
    pub(crate) storage: Storage,
    pub(crate) queue: Queue,
    pub(crate) topics: Topics,
    pub(crate) new_logs: NewLogs,
    pub(crate) blame: Arc<Blame>,
    pub(crate) known: Arc<Known>,
    pub(crate) hops: Arc<Hops>,
    pub(crate) events: EventSender,
}

/// Work of one session, done in the order in which it came.
enum Job {
    /// Operations to store.
    Batch {
        topic: Topic,
        peer: VerifyingKey,
        trusted: bool,
        operations: Vec<Received>,
        reply: oneshot::Sender<Stored>,
    },
    /// The session is over.
    Ended { topic: Topic },
}

/// In what way a batch may be brought.
enum Brought {
    /// By a trusted peer.
    Trusted,
    /// By another one, with the new logs that were counted for it.
    Untrusted(Option<Counted>),
}

/// The session of a batch has ended before its turn; another one brings it again.
struct Over;

/// The sessions that something is to be done for. Shared with those who do it.
type Sessions = Arc<Mutex<HashMap<SessionId, VecDeque<Job>>>>;

impl Responder {
    fn take(&self, request: Request, sessions: &Sessions) {
        match request {
            Request::Heights { topic, reply } => self.heights(topic, reply),
            Request::Heads { topic, reply } => self.heads(topic, reply),
            Request::Evidence {
                topic,
                author,
                reply,
            } => self.answer(reply, move |storage| async move {
                let read = storage
                    .read(move |reader| reader.shows_fork(&topic, &author, SESSION_PAGE_BYTES_MAX));
                read.await
            }),
            Request::OldestHeights {
                topic,
                logs_max,
                reply,
            } => self.answer(reply, move |storage| async move {
                let read = storage.read(move |reader| reader.oldest_heights(&topic, logs_max));
                read.await
            }),
            Request::Wanted { topic, look, reply } => {
                self.answer(reply, move |storage| async move {
                    let wanted = storage.read(move |reader| reader.look(&topic, &look));
                    wanted.await
                });
            }
            Request::Totals {
                topic,
                ranges,
                reply,
            } => {
                self.answer(reply, move |storage| async move {
                    let read = storage.read(move |reader| {
                        let mut ranges = ranges;
                        let found = reader.totals_oldest_first(&topic, &mut ranges)?;
                        Ok(Totals {
                            operations: found.operations,
                            bytes: found.bytes,
                            ranges,
                        })
                    });
                    read.await
                });
            }
            Request::Read { topic, read, reply } => {
                let (rows, events) = (self.rows(&topic, &read), self.events.clone());
                self.answer(reply, move |storage| async move {
                    let read = move |reader: &Reader| page(reader, &topic, &read, &events);
                    let page = storage.read_newest(rows, read).await?;
                    storage.keep(page.entries.iter().filter_map(|entry| entry.body.as_ref()));
                    Ok(page)
                });
            }
            Request::Store {
                topic,
                session,
                peer,
                trusted,
                operations,
                reply,
            } => {
                let batch = Job::Batch {
                    topic,
                    peer,
                    trusted,
                    operations,
                    reply,
                };
                self.session(session, sessions, batch);
            }
            Request::Phase {
                topic,
                session,
                peer: _,
                phase,
            } => {
                if phase != Phase::Ended {
                    return self.queue.session(topic, session, phase);
                }
                // Behind the batches of the session that are being verified.
                if let Some(jobs) = sessions.lock().get_mut(&session) {
                    return jobs.push_back(Job::Ended { topic });
                }
                self.queue.session(topic, session, phase);
            }
            Request::Sent { peer, acked } => {
                for reached in acked {
                    if let Some(state) = self.topics.get(&reached.topic) {
                        state.receipts().sent(peer, reached.arrival, reached.named);
                    }
                }
            }
            Request::Level {
                topic,
                author,
                label,
                above,
                reply,
            } => {
                // Of a topic that is not open nothing is said.
                if self.topics.get(&topic).is_some() {
                    let label = label.unwrap_or(author.into());
                    self.levels.ask(topic, (author, label), above, reply);
                }
            }
            Request::Confirmed {
                topic,
                peer,
                label,
                level,
            } => self.confirmed(topic, peer, label, level),
            Request::Blocked {
                topic,
                peer,
                link,
                changes,
            } => {
                if let Some(state) = self.topics.get(&topic) {
                    let (begun, ended) = state.blocked_by(peer, link, changes);
                    if let (false, Some(sync)) = (ended.is_empty(), state.sync()) {
                        sync.resend(peer);
                    }
                    let begun = begun.into_iter().map(|log| Event::NotKept { topic, log });
                    let ended = ended.into_iter().map(|log| Event::KeptAgain { topic, log });
                    begun.chain(ended).for_each(|event| self.events.tell(event));
                }
            }
            Request::Unlinked { peer, link } => {
                for state in self.topics.all() {
                    state.unlinked(&peer, link);
                }
            }
            Request::PeerHas {
                topic,
                session,
                peer,
                own_seq,
            } => {
                if let Some(own_seq) = own_seq {
                    self.queue.peer_has(topic, session, peer, own_seq);
                }
            }
            Request::Record { node, stored } => self.queue.put_address(node, stored),
            Request::Forget { node } => self.queue.remove_address(node),
            other => tracing::warn!(?other, "a request of the network is not known"),
        }
    }

    /// Rows that a page can have at most, if they were stored last.
    fn rows(&self, topic: &Topic, read: &Read) -> u64 {
        match (read, self.topics.get(topic)) {
            (Read::Arrivals { after, .. }, Some(state)) => state.arrived_since(*after),
            _ => u64::MAX,
        }
    }

    fn heights(&self, topic: Topic, reply: oneshot::Sender<(Heights, u64, Vec<Gap>)>) {
        let state = self.topics.get(&topic);
        self.answer(reply, move |storage| async move {
            let read =
                move |reader: &Reader| Ok((reader.holdings(&topic)?, reader.blocked(&topic)?));
            let (mut held, blocked) = storage.read(read).await?;
            if let Some(state) = state {
                state.raise_blocked(&mut held.heights, &blocked);
            }
            Ok((held.heights, held.arrival, held.gaps))
        });
    }

    /// A peer says how far it has stored the log of this node: true only of the branch that this node has.
    fn confirmed(&self, topic: Topic, peer: VerifyingKey, named: Option<Label>, level: Level) {
        let (responder, own) = (self.clone(), self.id);
        tokio::spawn(async move {
            let label = named.unwrap_or(own.into());
            let read = move |reader: &Reader| {
                let log = reader.named_log(&label)?;
                let id = reader.operation_id(&topic, &label, level.height)?;
                Ok((log.filter(|log| log.author == own), id))
            };
            let (log, id) = match responder.storage.read(read).await {
                Ok(found) => found,
                Err(Error::Closed) => return,
                Err(error) => return tracing::error!(%error, "a receipt cannot be compared"),
            };
            let is_own = named.is_none() || log.is_some();
            let ours = is_own && id.is_some_and(|id| check_of(&id) == level.check);
            match responder.topics.get(&topic).filter(|_| ours) {
                Some(state) => {
                    let name = log.map(|log| log.name);
                    // The peer may say so before it says that the log is not blocked any more.
                    if let Some(log) = state.stored_by(peer, (name, label), level.height) {
                        responder.events.tell(Event::KeptAgain { topic, log });
                    }
                }
                None => tracing::debug!(%peer, "a receipt for another branch of an own log"),
            }
        });
    }

    /// A topic that was left in the meantime has no heads, and its sessions end.
    fn heads(&self, topic: Topic, reply: oneshot::Sender<SharedHeads>) {
        if let Some(state) = self.topics.get(&topic) {
            self.answer(
                reply,
                move |storage| async move { state.heads(&storage).await },
            );
        }
    }

    fn answer<T, F, R>(&self, reply: oneshot::Sender<T>, read: R)
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send,
        R: FnOnce(Storage) -> F + Send + 'static,
    {
        let storage = self.storage.clone();
        tokio::spawn(async move {
            match read(storage).await {
                Ok(answer) => drop(reply.send(answer)),
                // Without an answer the session ends; others go on.
                Err(Error::Closed) => {}
                Err(error) => tracing::error!(%error, "a peer cannot be served from the store"),
            }
        });
    }

    /// The session itself bounds how many batches are in progress.
    fn session(&self, session: SessionId, sessions: &Sessions, job: Job) {
        match sessions.lock().entry(session) {
            Entry::Occupied(mut jobs) => jobs.get_mut().push_back(job),
            Entry::Vacant(jobs) => {
                jobs.insert(VecDeque::from([job]));
                tokio::spawn(self.clone().work(session, sessions.clone()));
            }
        }
    }

    /// Does what there is to do for a session; idle sessions, which are many, cost nothing here.
    async fn work(self, session: SessionId, sessions: Sessions) {
        while let Some(job) = next_job(&sessions, session) {
            match job {
                Job::Ended { topic } => self.queue.session(topic, session, Phase::Ended),
                Job::Batch {
                    topic,
                    peer,
                    trusted,
                    mut operations,
                    mut reply,
                } => {
                    self.hops.came(peer, &operations, system_now());
                    let number = self.topics.get(&topic).map(|state| state.number());
                    if let Some(number) = number {
                        self.known.leave_out(number, &mut operations);
                    }
                    if operations.is_empty() {
                        // Nothing of it waits for a commit. The session may be gone by now.
                        let _ = reply.send(Stored { invalid: 0 });
                        continue;
                    }
                    let brought = match trusted {
                        true => Ok(Brought::Trusted),
                        false => self.turn(topic, peer, &operations, &mut reply).await,
                    };
                    let Ok(brought) = brought else {
                        continue;
                    };
                    let stored = self.store(topic, session, peer, operations, brought, reply);
                    let stored = stored.await;
                    if stored.is_err() {
                        sessions.lock().remove(&session);
                        return;
                    }
                }
            }
        }
    }

    /// Waits until a batch may bring its new logs.
    async fn turn(
        &self,
        topic: Topic,
        peer: VerifyingKey,
        operations: &[Received],
        reply: &mut oneshot::Sender<Stored>,
    ) -> Result<Brought, Over> {
        tokio::select! {
            biased;
            counted = self.new_logs.wait(topic, peer, operations) => Ok(Brought::Untrusted(counted)),
            // Sessions one after another must not pile up what waits.
            () = reply.closed() => Err(Over),
        }
    }

    /// Verifies and queues. The answer follows once the batch is durable; until then the next one
    /// is verified.
    async fn store(
        &self,
        topic: Topic,
        session: SessionId,
        peer: VerifyingKey,
        operations: Vec<Received>,
        brought: Brought,
        mut reply: oneshot::Sender<Stored>,
    ) -> Result<(), Error> {
        let operations = self.check(&peer, operations, &mut reply).await?;
        let number = self.topics.get(&topic).map(|state| state.number());
        let complete = known::complete(&operations);
        let source = Source::Session {
            id: session.0,
            peer,
        };
        let (report, counted) = match brought {
            Brought::Trusted => (self.queue.ingest(topic, source, operations).await?, None),
            Brought::Untrusted(counted) => {
                let report = self.queue.ingest_untrusted(topic, source, operations);
                (report.await?, counted)
            }
        };
        let responder = self.clone();
        tokio::spawn(async move {
            let Ok(report) = report.await else {
                return;
            };
            if let Some(number) = number
                && all_stored(&report)
            {
                responder.known.add_stored(number, &complete);
            }
            if let Some(counted) = counted {
                responder.new_logs.settle(&counted, report.new_logs);
            }
            if report.dropped > 0 {
                responder.topics.repair(&topic, peer);
            }
            // The session may be gone by now.
            let _ = reply.send(Stored {
                invalid: report.invalid,
            });
        });
        Ok(())
    }

    /// Verifies, in parts: a peer that brings too much that is invalid waits before the next one.
    /// What is left of a session that has ended by then comes again with another one.
    async fn check(
        &self,
        peer: &VerifyingKey,
        operations: Vec<Received>,
        reply: &mut oneshot::Sender<Stored>,
    ) -> Result<Vec<Incoming>, Error> {
        let mut checked = Vec::with_capacity(operations.len());
        let mut operations = operations.into_iter();
        while operations.len() > 0 {
            let (count, wait) = self.blame.next(peer, Instant::now());
            if !wait.is_zero() {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = reply.closed() => break,
                }
            }
            let part: Vec<Received> = operations.by_ref().take(count).collect();
            let bytes: Vec<usize> = part.iter().map(Received::came_bytes).collect();
            let part = verify(&self.known, part).await?;
            self.blame.checked(*peer, &part, &bytes, Instant::now());
            checked.extend(part);
        }
        Ok(checked)
    }
}

/// Returns `true` if every operation of a batch is stored, by now or before.
fn all_stored(report: &IngestReport) -> bool {
    report.rejected + report.early + report.blocked + report.dropped == 0
}

/// The next job of a session. `None`: there is none, and the next one is done by a task of its own.
fn next_job(sessions: &Sessions, session: SessionId) -> Option<Job> {
    let mut sessions = sessions.lock();
    let job = sessions.get_mut(&session)?.pop_front();
    if job.is_none() {
        sessions.remove(&session);
    }
    job
}

fn page(
    reader: &Reader,
    topic: &Topic,
    read: &Read,
    events: &EventSender,
) -> Result<Page, StoreError> {
    let page = reader.page(topic, read, SESSION_PAGE_ROWS_MAX, system_now())?;
    events.damaged(*topic, &page.unreadable);
    Ok(page)
}

fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use bytes::Bytes;
    use p2panda_core::{Draft, Header, LogName, NodeExtensions, Operation, SigningKey};
    use p2panda_engine::{Engine, Options, RejectReason, thread};

    use super::*;
    use crate::health::HealthSender;
    use crate::inner::topic::TopicNumber;

    const TOPIC: Topic = Topic::from_bytes([7; 32]);

    fn responder(dir: &std::path::Path) -> (Responder, TopicNumber) {
        let options = Options {
            guard_dir: None,
            ..Options::default()
        };
        let engine = Engine::open(dir, options, thread::system_clock()()).unwrap();
        let storage = Storage::new(engine.readers());
        let levels = Levels::new(storage.clone(), engine.journal());
        let (_, health) = HealthSender::new();
        let own = SigningKey::from_bytes(&[9; 32]).verifying_key();
        let engine = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
        let responder = Responder {
            id: own,
            topics: Topics::new(p2panda_engine::Authors::new(own), levels.clone()),
            levels,
            storage,
            queue: Queue::new(engine, health, Arc::default()),
            new_logs: NewLogs::default(),
            blame: Arc::default(),
            known: Arc::default(),
            hops: Arc::default(),
            events: EventSender::new(),
        };
        let (state, _) = responder.topics.join(TOPIC, &responder.queue);
        (responder, state.number())
    }

    fn operation(body: &[u8]) -> Operation {
        operation_in(None, body)
    }

    fn operation_in(name: Option<LogName>, body: &[u8]) -> Operation {
        let extensions = NodeExtensions {
            log_id: name.map_or(TOPIC.log_id(), |name| TOPIC.named_log_id(&name)),
            timestamp: Timestamp::from_micros(1),
            prune: false,
            deps: Vec::new(),
            name,
        };
        let draft = Draft {
            seq: 0,
            backlink: None,
            body: Some(body),
            extensions: Some(&extensions.encode()),
        };
        Operation::create(&SigningKey::from_bytes(&[1; 32]), draft).unwrap()
    }

    /// The same with a signature that does not hold.
    fn spoiled(operation: &Operation) -> Operation {
        let signature = operation.header.signature();
        let mut bytes = operation.header.as_bytes().to_vec();
        let mut places = bytes.windows(64);
        let at = places.position(|part| part == signature.as_bytes());
        bytes[at.unwrap()] ^= 1;
        Operation {
            header: Header::decode_unverified(bytes.into()).unwrap(),
            body: operation.body.clone(),
        }
    }

    fn received(Operation { header, body }: Operation) -> Received {
        Received::Operation { header, body }
    }

    /// A session of a peer brings it; the answer says how many were invalid.
    async fn bring(responder: &Responder, peer: u8, operation: &Operation) -> usize {
        let (reply, stored) = oneshot::channel();
        let request = Request::Store {
            topic: TOPIC,
            session: SessionId(u64::from(peer)),
            peer: SigningKey::from_bytes(&[peer; 32]).verifying_key(),
            trusted: false,
            operations: vec![received(operation.clone())],
            reply,
        };
        responder.take(request, &Sessions::default());
        stored.await.unwrap().invalid
    }

    #[tokio::test]
    async fn what_was_stored_is_recognised_when_it_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let (responder, topic) = responder(dir.path());
        let one = operation(b"\x63one");
        assert_eq!(bring(&responder, 2, &one).await, 0);
        let mut again = vec![received(one)];
        responder.known.leave_out(topic, &mut again);
        assert!(again.is_empty());
    }

    #[tokio::test]
    async fn what_is_recognised_costs_no_check_of_a_signature_or_a_body() {
        let dir = tempfile::tempdir().unwrap();
        let (responder, topic) = responder(dir.path());
        // Any check would find them invalid.
        let bad = [b"\x63one", b"\x63two"].map(|body| spoiled(&operation(body)));
        assert_eq!(bring(&responder, 2, &bad[0]).await, 1);
        responder.known.add_stored(topic, &[bad[0].header.id()]);
        for peer in 2..7 {
            assert_eq!(bring(&responder, peer, &bad[0]).await, 0);
        }
        // Verified and not known to be stored: the signature is not checked again, the body is.
        responder
            .known
            .add_verified(&[Incoming::Valid(bad[1].clone())]);
        let mut other_body = bad[1].clone();
        other_body.body = Some(Bytes::from_static(b"\x63six"));
        assert_eq!(bring(&responder, 2, &other_body).await, 1);
        assert_eq!(bring(&responder, 2, &bad[1]).await, 0);
    }

    #[tokio::test]
    async fn only_the_author_of_a_log_is_told_how_far_it_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let (responder, _) = responder(dir.path());
        let [author, other] =
            [1, 2].map(|byte| SigningKey::from_bytes(&[byte; 32]).verifying_key());
        let named = operation_in(LogName::of("one").ok(), b"\x63one");
        let first = operation(b"\x63two");
        assert_ne!(named.header.label(), author);
        for operation in [&named, &first] {
            assert_eq!(bring(&responder, 3, operation).await, 0);
        }
        let ask = |author, label: Option<Label>| {
            let (reply, level) = oneshot::channel();
            let request = Request::Level {
                topic: TOPIC,
                author,
                label,
                above: None,
                reply,
            };
            responder.take(request, &Sessions::default());
            level
        };
        let label = Some(Label::from(named.header.label()));
        let mut refused = [ask(other, label), ask(other, Some(author.into()))];
        // Asked last: anyone who is answered was answered by then.
        let level = ask(author, label).await.unwrap();
        assert_eq!(level.check, check_of(&named.header.id()));
        let level = ask(author, None).await.unwrap();
        assert_eq!(level.check, check_of(&first.header.id()));
        assert!(refused.iter_mut().all(|level| level.try_recv().is_err()));
    }

    #[tokio::test]
    async fn another_header_at_a_known_place_is_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let (responder, _) = responder(dir.path());
        let (one, other) = (operation(b"\x63one"), operation(b"\x63two"));
        for peer in 2..4 {
            assert_eq!(bring(&responder, peer, &one).await, 0);
        }
        assert_eq!(bring(&responder, 4, &other).await, 0);
        // What is refused is not known, however often it comes.
        assert_eq!(bring(&responder, 4, &other).await, 0);
        let read = |reader: &Reader| {
            let refused = reader.rejected_page(&TOPIC, 0, 10)?;
            Ok((reader.forks(&TOPIC, 10)?, refused))
        };
        let (forks, refused) = responder.storage.read(read).await.unwrap();
        assert_eq!(forks.len(), 1);
        assert_eq!(forks[0].second, *other.header.as_bytes());
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].reason, Some(RejectReason::Fork));
    }
}
