//! State of a node for each topic it is interested in.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use p2panda_core::{Entry, Few, Heights, Label, LogName, Prefix, Tail, Topic, VerifyingKey};
use p2panda_engine::{Authors, PublishError, TopicChange};
use p2panda_net::{NetEvent, SyncHandle, Watched, Watcher};
use p2panda_protocol::link::{AuthorLog, BlockChange};
use p2panda_protocol::ranges::SharedHeads;
use p2panda_store::{BlockedLog, FeedEntry, Reader, StoreError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OnceCell, broadcast};
use tokio::time::Instant;

use crate::Error;
use crate::inner::acks::Acks;
use crate::inner::blocked::Blocked;
use crate::inner::blocking::Changed;
use crate::inner::held_heads::{HeldHeads, OfTopic};
use crate::inner::levels::Levels;
use crate::inner::not_kept::NotKeptBy;
use crate::inner::queue::Queue;
use crate::inner::receipts::{Branches, Place, Receipts};
use crate::inner::storage::Storage;
use crate::not_kept::{NotKept, Refusers};
use crate::publisher::label_of;

/// The topics of a node. Shared by the node, the engine's commit signal and the network.
#[derive(Clone)]
pub(crate) struct Topics {
    map: Arc<Mutex<HashMap<Topic, Arc<TopicState>>>>,
    authors: Authors,
    levels: Levels,
    heads: HeldHeads,
    blocking: Changed,
}

impl Topics {
    pub(crate) fn new(authors: Authors, levels: Levels) -> Self {
        Self {
            map: Arc::default(),
            authors,
            levels,
            heads: HeldHeads::default(),
            blocking: Changed::default(),
        }
    }

    /// The topics of which a log was blocked or continues.
    pub(crate) fn blocking(&self) -> &Changed {
        &self.blocking
    }

    /// Returns the counter of the heads that the sessions of all topics hold.
    pub(crate) fn heads(&self) -> &HeldHeads {
        &self.heads
    }

    pub(crate) fn all(&self) -> Vec<Arc<TopicState>> {
        self.map().values().cloned().collect()
    }

    pub(crate) fn get(&self, topic: &Topic) -> Option<Arc<TopicState>> {
        self.map().get(topic).cloned()
    }

    /// The state of a topic and whether it is new.
    pub(crate) fn join(&self, topic: Topic, queue: &Queue) -> (Arc<TopicState>, bool) {
        let mut map = self.map();
        if let Some(state) = map.get(&topic) {
            return (Arc::clone(state), false);
        }
        let (authors, heads) = (self.authors.clone(), self.heads.clone());
        let state = TopicState::new(topic, authors, queue.clone(), heads);
        let state = Arc::new(state);
        map.insert(topic, Arc::clone(&state));
        (state, true)
    }

    pub(crate) fn leave(&self, topic: &Topic) -> Option<Arc<TopicState>> {
        let state = self.map().remove(topic)?;
        state.end(Leaving::Topic);
        self.levels.left(topic);
        Some(state)
    }

    pub(crate) fn leave_all(&self) -> Vec<Arc<TopicState>> {
        self.blocking.end();
        let states: Vec<_> = self.map().drain().map(|(_, state)| state).collect();
        for state in &states {
            state.end(Leaving::Node);
            self.levels.left(&state.topic);
        }
        states
    }

    /// Something of a topic is durable now. Anyone who is waited for hears of it first: the peers
    /// of our own operations, the application of those of others.
    pub(crate) fn committed(&self, change: &TopicChange, own: bool) {
        let Some(state) = self.get(&change.topic) else {
            return;
        };
        // A session that hears of it finds it in the heads.
        state.follow(change);
        for (author, seen) in &change.heads.blocked {
            state.blocked.lock().note(*author, seen.is_some());
        }
        if !change.heads.blocked.is_empty() {
            self.blocking.add(change.topic);
        }
        if own {
            state.arrived(change);
            state.delivered(change);
        } else {
            state.delivered(change);
            state.arrived(change);
        }
        self.levels.committed(change);
    }

    /// Asks a peer again for what was dropped.
    pub(crate) fn repair(&self, topic: &Topic, peer: VerifyingKey) {
        if let Some(state) = self.get(topic)
            && let Some(sync) = state.sync()
        {
            sync.repair(peer);
        }
    }

    /// Asks for the rest of a log, of which this node told that it was seen: its author, or else everybody.
    pub(crate) fn fetch_rest(&self, topic: &Topic, author: &VerifyingKey) {
        let Some(state) = self.get(topic) else {
            return;
        };
        let Some(sync) = state.sync() else {
            return;
        };
        let peers = sync.peers();
        match peers.contains(author) {
            true => sync.repair(*author),
            false => peers.into_iter().for_each(|peer| sync.repair(peer)),
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Topic, Arc<TopicState>>> {
        self.map.lock()
    }
}

/// Tells what is kept of one topic from what is kept of others. A topic that was left and is joined
/// again has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicNumber(u32);

impl TopicNumber {
    pub(crate) fn next() -> TopicNumber {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        TopicNumber(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One topic of a node.
pub(crate) struct TopicState {
    topic: Topic,
    authors: Authors,
    number: TopicNumber,
    arrivals: Watched<Tail<Entry>>,
    feed: Watched<FeedState>,
    receipts: Receipts,
    not_kept: NotKeptBy,
    sync: OnceLock<SyncHandle>,
    queue: Queue,
    /// The heads of the logs, from the first session on that compares them.
    heads: Mutex<Option<Arc<KnownHeads>>>,
    held_heads: HeldHeads,
    /// By the name of the consumer.
    acks: Mutex<Few<String, Arc<Acks>>>,
    blocked: Mutex<Blocked>,
}

/// The heads of a topic.
struct KnownHeads {
    heads: SharedHeads,
    /// Set once all that was stored before is in them.
    read: OnceCell<()>,
    held: OfTopic,
}

impl KnownHeads {
    /// Counts them, unless somebody looks at them: then with the next commit.
    fn count(&self) {
        if let Some(logs) = self.heads.try_len() {
            self.held.set(logs);
        }
    }
}

/// The end of the feed, and why the topic is open no longer.
#[derive(Debug, Default)]
struct FeedState {
    tail: Tail<FeedEntry>,
    left: Option<Leaving>,
}

/// Reason to end a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// The application left it.
    Topic,
    /// The node ends as a whole.
    Node,
}

impl TopicState {
    fn new(topic: Topic, authors: Authors, queue: Queue, held_heads: HeldHeads) -> Self {
        Self {
            topic,
            authors,
            number: TopicNumber::next(),
            arrivals: Watched::default(),
            feed: Watched::default(),
            receipts: Receipts::default(),
            not_kept: NotKeptBy::default(),
            sync: OnceLock::new(),
            queue,
            heads: Mutex::default(),
            held_heads,
            acks: Mutex::default(),
            blocked: Mutex::default(),
        }
    }

    pub(crate) fn number(&self) -> TopicNumber {
        self.number
    }

    /// Tells peers that know heights only what was seen of blocked logs.
    pub(crate) fn raise_blocked(&self, heights: &mut Heights, blocked: &[BlockedLog]) {
        let log_id = self.topic.log_id();
        let mut known = self.blocked.lock();
        known.raise(heights, log_id, blocked, Instant::now());
    }

    /// Returns the number of blocked logs.
    pub(crate) fn blocked(&self) -> usize {
        self.blocked.lock().len()
    }

    pub(crate) fn topic(&self) -> Topic {
        self.topic
    }

    /// It is open no longer.
    fn end(&self, leaving: Leaving) {
        self.feed.send_modify(|feed| feed.left = Some(leaving));
        self.receipts.wake();
    }

    /// Operations are durable up to `arrival`, the feed reaches up to `offset`.
    pub(crate) fn opened(&self, arrival: u64, offset: u64, blocked: &[BlockedLog]) {
        let mut known = self.blocked.lock();
        blocked.iter().for_each(|log| known.note(log.label, true));
        drop(known);
        extend(&self.arrivals, whole, |tail| tail.skip_to(arrival));
        extend(
            &self.feed,
            |feed| &mut feed.tail,
            |tail| {
                tail.skip_to(offset);
            },
        );
    }

    /// Tells the sessions.
    fn arrived(&self, change: &TopicChange) {
        self.tell_own_key();
        extend(&self.arrivals, whole, |tail| change.add_arrivals(tail));
    }

    /// Tells the subscriptions.
    fn delivered(&self, change: &TopicChange) {
        extend(
            &self.feed,
            |feed| &mut feed.tail,
            |tail| {
                change.add_feed(tail);
            },
        );
    }

    /// Returns the maximum number of arrivals above this one; many if nothing came since the
    /// start.
    pub(crate) fn arrived_since(&self, arrival: u64) -> u64 {
        above(self.arrivals.borrow().last(), arrival)
    }

    pub(crate) fn arrivals(&self) -> Watcher<Tail<Entry>> {
        self.arrivals.subscribe()
    }

    /// The heads of all logs, as they follow the commits. They are read once, next to the async
    /// threads, and by all sessions that ask meanwhile together.
    pub(crate) async fn heads(&self, storage: &Storage) -> Result<SharedHeads, Error> {
        // Commits from here on are in them, no matter what the read still sees of them.
        let known = Arc::clone(self.heads.lock().get_or_insert_with(|| {
            Arc::new(KnownHeads {
                heads: SharedHeads::new(&self.topic),
                read: OnceCell::new(),
                held: self.held_heads.of_topic(),
            })
        }));
        let read = known.read.get_or_try_init(|| async {
            let (topic, heads) = (self.topic, known.heads.clone());
            storage
                .read(move |reader| read_heads(reader, &topic, &heads))
                .await
        });
        read.await?;
        known.count();
        Ok(known.heads.clone())
    }

    /// Applies the changes of a commit to the heads. Heads that have to be looked up again are
    /// read by the next session.
    fn follow(&self, change: &TopicChange) {
        let mut known = self.heads.lock();
        match &*known {
            Some(_) if change.heads_anew => *known = None,
            Some(known) => {
                known.heads.follow(&change.heads);
                known.count();
            }
            None => {}
        }
    }

    /// Closes when the topic is left.
    pub(crate) fn feed(&self) -> Feed {
        Feed(self.feed.subscribe())
    }

    /// Fails when the topic was left, and says why.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.feed.borrow().left {
            None => Ok(()),
            Some(Leaving::Topic) => Err(Error::Left),
            Some(Leaving::Node) => Err(self.queue.ended()),
        }
    }

    /// The acknowledgements of a consumer in this topic.
    pub(crate) fn acks(&self, consumer: &str) -> Arc<Acks> {
        let mut acks = self.acks.lock();
        if let Some(acks) = acks.get(&consumer.to_owned()) {
            return Arc::clone(acks);
        }
        let new = Acks::new(consumer.to_owned(), self.topic, self.queue.clone());
        acks.insert(consumer.to_owned(), Arc::clone(&new));
        new
    }

    /// Hands every acknowledgement that waits to the engine.
    pub(crate) fn flush_acks(&self) {
        let acks = self.acks.lock();
        acks.values().for_each(Acks::flush);
    }

    /// The network's side of the topic. The first call sets it.
    pub(crate) fn set_sync(&self, sync: SyncHandle) {
        // Set once: only the caller that made the state does so.
        let _ = self.sync.set(sync);
        self.tell_own_key();
    }

    /// A space gets its own key while the topic may be open.
    fn tell_own_key(&self) {
        if let (Some(key), Some(sync)) = (self.authors.own_key(&self.topic), self.sync()) {
            sync.sign_as(key);
        }
    }

    pub(crate) fn sync(&self) -> Option<&SyncHandle> {
        self.sync.get()
    }

    /// A peer has stored a log of this node up to an entry, on this node's branch. Returns what it refused
    /// before, if it took it.
    pub(crate) fn stored_by(
        &self,
        peer: VerifyingKey,
        (log, label): (Option<LogName>, Label),
        seq: u32,
    ) -> Option<NotKept> {
        let kept_again = self.not_kept.stored(&peer, &self.own_log(log), seq);
        self.receipts.stored(peer, log, seq);
        // Where there is no other branch, nobody has to know.
        if self.receipts.branches(log).is_some() {
            self.queue.own_held(self.topic, label, seq);
        }
        kept_again
    }

    /// Another branch of a log of this node is known; `ours` if a peer has shown that it holds this one.
    pub(crate) fn own_forked(&self, (log, label): (Option<LogName>, Label), ours: bool) {
        self.receipts.fork(log, ours);
        if let (_, Some(seq)) = self.receipts.furthest(log) {
            self.queue.own_held(self.topic, label, seq);
        }
    }

    /// A quota of a peer blocks logs, or blocks them no longer. Returns which of both.
    pub(crate) fn blocked_by(
        &self,
        peer: VerifyingKey,
        link: u64,
        changes: Vec<BlockChange>,
    ) -> (Vec<NotKept>, Vec<NotKept>) {
        let news = self.not_kept.said(peer, link, changes);
        self.receipts.wake();
        news
    }

    /// A link with a peer is over.
    pub(crate) fn unlinked(&self, peer: &VerifyingKey, link: u64) {
        if self.not_kept.unlinked(peer, link) {
            self.receipts.wake();
        }
    }

    /// Returns what peers do not keep of the topic.
    pub(crate) fn not_kept(&self) -> &NotKeptBy {
        &self.not_kept
    }

    /// Returns the author of what this node signs in the topic.
    fn own(&self) -> VerifyingKey {
        self.authors.in_topic(&self.topic)
    }

    fn own_log(&self, log: Option<LogName>) -> AuthorLog {
        AuthorLog {
            author: self.own(),
            label: log.map(|_| label_of(&self.topic, &self.own(), log)),
        }
    }

    /// The peers that refuse an own operation, and do not have it.
    pub(crate) fn refusers(&self, place: Place) -> Vec<NotKept> {
        let mut refusers = self.not_kept.of(&self.own_log(place.log), place.seq);
        let held_by = self.receipts.held_by(place);
        refusers.retain(|one| !held_by.contains(&one.peer));
        refusers
    }

    /// Returns the error of a wait for receipts of an own operation that cannot end well, if there
    /// are not that many peers that have it or may store it.
    fn refused(&self, place: Place, peers: usize) -> Option<Error> {
        let refusers = self.refusers(place);
        if refusers.is_empty() {
            return None;
        }
        let held_by = self.receipts.held_by(place);
        let open = self.sync().map(SyncHandle::peers).unwrap_or_default();
        let may_store = |peer: &&VerifyingKey| {
            !held_by.contains(peer) && refusers.iter().all(|one| one.peer != **peer)
        };
        let possible = held_by.len() + open.iter().filter(may_store).count();
        (possible < peers).then(|| Error::NotKept(Refusers(refusers)))
    }

    /// The same for these peers.
    fn refused_by(&self, place: Place, peers: &[VerifyingKey]) -> Option<Error> {
        let mut refusers = self.refusers(place);
        refusers.retain(|one| peers.contains(&one.peer));
        (!refusers.is_empty()).then(|| Error::NotKept(Refusers(refusers)))
    }

    /// Returns what peers have of the node's own log.
    pub(crate) fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// Returns `true` if peers are asked for receipts. Of a log of an own key the question would tell them
    /// whose it is (`docs/protocol/spaces.md#20`).
    pub(crate) fn asks_peers(&self) -> bool {
        self.authors.own_key(&self.topic).is_none()
    }

    /// Asks the peers for receipts of an own log up to this entry.
    fn confirm(&self, place: Place) -> Result<(), Error> {
        if !self.asks_peers() {
            return Err(Error::OwnKey);
        }
        if self.receipts.want(place.log, place.seq)?
            && let Some(sync) = self.sync()
        {
            let label = place
                .log
                .map(|_| label_of(&self.topic, &self.own(), place.log));
            sync.confirm(label, place.seq);
        }
        Ok(())
    }

    /// Waits until enough peers were sent an operation.
    pub(crate) async fn wait_sent(&self, place: Place, peers: usize) -> Result<(), Error> {
        let is_enough = || self.receipts.sent_to(place).len() >= peers;
        // Anyone can be sent it, whether or not it is kept.
        self.wait_for_receipts(place.log, is_enough, || None).await
    }

    /// Asks the peers, and waits until enough of them say that they have stored an operation.
    pub(crate) async fn wait_stored(&self, place: Place, peers: usize) -> Result<(), Error> {
        self.confirm(place)?;
        let is_enough = || self.receipts.held_by(place).len() >= peers;
        let refused = || self.refused(place, peers);
        self.wait_for_receipts(place.log, is_enough, refused).await
    }

    /// The same for these peers.
    pub(crate) async fn wait_stored_by(
        &self,
        place: Place,
        peers: &[VerifyingKey],
    ) -> Result<(), Error> {
        let naming = self.receipts.name(peers);
        self.confirm(place)?;
        let is_enough = || {
            let held_by = self.receipts.held_by(place);
            peers.iter().all(|peer| held_by.contains(peer))
        };
        let refused = || self.refused_by(place, peers);
        let waited = self.wait_for_receipts(place.log, is_enough, refused).await;
        drop(naming);
        waited
    }

    async fn wait_for_receipts(
        &self,
        log: Option<LogName>,
        is_enough: impl Fn() -> bool,
        refused: impl Fn() -> Option<Error>,
    ) -> Result<(), Error> {
        loop {
            let changed = self.receipts.changed();
            // Where a peer refuses, another one that leaves may have been the last to wait for.
            let refuses = !self.not_kept.is_empty();
            let mut leaves = self.sync().filter(|_| refuses).map(SyncHandle::events);
            if is_enough() {
                return Ok(());
            }
            self.check_open()?;
            if let Some(Branches { held }) = self.receipts.branches(log) {
                return Err(PublishError::OwnFork { held }.into());
            }
            if let Some(error) = refused() {
                return Err(error);
            }
            tokio::select! {
                () = changed => {}
                () = session_ended(leaves.as_mut()) => {}
            }
        }
    }
}

/// Waits until a session is over, of any topic.
async fn session_ended(events: Option<&mut broadcast::Receiver<NetEvent>>) {
    if let Some(events) = events {
        loop {
            match events.recv().await {
                Ok(NetEvent::SessionEnded { .. }) | Err(RecvError::Lagged(_)) => return,
                Ok(_) => {}
                Err(RecvError::Closed) => break,
            }
        }
    }
    std::future::pending().await
}

/// The end of a topic's feed, as it grows.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Watcher<FeedState>);

impl Feed {
    /// Returns `true` if it has grown since it was marked.
    pub(crate) fn has_grown(&self) -> bool {
        self.0.has_changed()
    }

    /// Growth from here on wakes [`Feed::changed`].
    pub(crate) fn mark_seen(&mut self) {
        drop(self.0.borrow_and_update());
    }

    /// Everything above this offset, or `None` if it must be read from the store.
    pub(crate) fn newest(&self, offset: u64) -> Option<VecDeque<FeedEntry>> {
        let feed = self.0.borrow();
        let newest = feed.tail.above(offset)?.map(|(entry, _)| entry.clone());
        Some(newest.collect())
    }

    /// Returns the maximum number of offsets above this one; many if nothing came since the start.
    pub(crate) fn above(&self, offset: u64) -> u64 {
        above(self.0.borrow().tail.last(), offset)
    }

    /// Waits until the topic is left.
    pub(crate) async fn left(&mut self) {
        // An error means that the topic is gone.
        let _ = self.0.wait_for(|feed| feed.left.is_some()).await;
    }

    /// Waits for growth. `None` when the topic was left.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        if self.0.borrow().left.is_none() {
            self.0.changed().await.ok()?;
        }
        self.0.borrow().left.is_none().then_some(())
    }
}

/// Nobody compares them before, so nobody waits for the lock.
fn read_heads(reader: &Reader, topic: &Topic, heads: &SharedHeads) -> Result<(), StoreError> {
    let mut known = heads.lock();
    let mut after = None;
    loop {
        let (found, next) = reader.heads(topic, after)?;
        known.follow(&found);
        if next.is_none() {
            // Rather here than in the first session.
            known.heads().hash(&Prefix::WHOLE);
            return Ok(());
        }
        after = next;
    }
}

fn above(last: u64, number: u64) -> u64 {
    match last.saturating_sub(number) {
        0 => u64::MAX,
        rows => rows,
    }
}

/// Changes a tail and wakes its readers if it has become longer.
fn extend<S, T>(
    state: &Watched<S>,
    tail: impl FnOnce(&mut S) -> &mut Tail<T>,
    change: impl FnOnce(&mut Tail<T>),
) {
    state.send_if_modified(|state| {
        let tail = tail(state);
        let before = tail.last();
        change(tail);
        tail.last() > before
    });
}

fn whole<T>(tail: &mut T) -> &mut T {
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_as_new_only_if_something_came_since_the_start() {
        assert_eq!(above(0, 0), u64::MAX);
        assert_eq!(above(7, 7), u64::MAX);
        assert_eq!(above(7, 4), 3);
    }
}
