//! Acknowledgements by the peer of a connection for what its sessions wrote.
//!
//! The transport says of a stream only that all of it was acknowledged, once it is finished; those
//! of sessions stay open. But it tells the congestion controller of each packet that it sends, that
//! is acknowledged or lost, and whether it has anything left to send. One task for each connection
//! that waits follows that, no matter what the number of sessions, and tells the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use iroh::endpoint::{Connection, PathId};
use p2panda_core::{Topic, VerifyingKey, limits};
use p2panda_protocol::sync::SessionId;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::congestion::flight_of;
use crate::flight::{Flight, Seen};
use crate::request::{Reached, Request};

/// Unacknowledged bytes of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Acks {
    connection: Connection,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    paths: Vec<Followed>,
    /// Acknowledged on paths that are no more.
    gone_bytes: u64,
    waiting: BTreeMap<SessionId, Waiting>,
    /// A task follows the connection.
    followed: bool,
}

#[derive(Debug)]
struct Followed {
    path: PathId,
    flight: Arc<Flight>,
}

/// Writes of a session. While they wait, only the last of the following writes is kept.
#[derive(Debug)]
struct Waiting {
    written: Written,
    next: Option<Written>,
}

/// Once it is acknowledged, the peer was sent the topic up to here.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) topic: Topic,
    pub(crate) arrival: u64,
    /// Logs with a name crossed as well.
    pub(crate) named: bool,
    pub(crate) marks: Marks,
}

/// Number of packets that each path had sent before the last write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(Vec<(PathId, u64)>);

impl Marks {
    fn of(&self, path: PathId) -> Option<u64> {
        let mark = self.0.iter().find(|(marked, _)| *marked == path);
        mark.map(|(_, count)| *count)
    }
}

/// Bytes that a session wrote on a connection and that its peer may have acknowledged.
///
/// The transport does not say of which stream acknowledged bytes were: they count for every session
/// that has written, up to what it wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unacked {
    written: u64,
    /// Bytes of the connection that were acknowledged when this was last checked.
    seen: u64,
}

impl Unacked {
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Returns the number of bytes that are not acknowledged.
    pub(crate) fn left(&self) -> u64 {
        self.written
    }

    /// Returns the number of bytes that were acknowledged since the last time, of that many bytes
    /// of the connection by now.
    pub(crate) fn take(&mut self, acked: u64) -> usize {
        let new = acked.saturating_sub(self.seen).min(self.written);
        self.written -= new;
        self.seen = acked.max(self.seen);
        usize::try_from(new).unwrap_or(usize::MAX)
    }
}

impl Acks {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            inner: Arc::default(),
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A session is about to write.
    pub(crate) fn writing(&self, marks: &mut Marks) {
        let mut inner = self.inner.lock();
        if inner.paths.is_empty() {
            inner.look(&self.connection);
        }
        marks.0.clear();
        let counts = inner.paths.iter().map(Followed::mark);
        marks.0.extend(counts);
    }

    /// All that a session had to write is written.
    pub(crate) fn wrote(
        &self,
        session: SessionId,
        peer: VerifyingKey,
        requests: &mpsc::Sender<Request>,
        written: Written,
    ) {
        let mut inner = self.inner.lock();
        inner.wait(session, written);
        if !std::mem::replace(&mut inner.followed, true) {
            drop(inner);
            tokio::spawn(follow(self.clone(), peer, requests.clone()));
        }
    }

    /// Bytes that the peer has acknowledged, over all paths.
    pub(crate) fn bytes(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.look(&self.connection);
        inner.bytes()
    }

    /// For a session that begins.
    pub(crate) fn nothing_written(&self) -> Unacked {
        Unacked {
            written: 0,
            seen: self.inner.lock().bytes(),
        }
    }

    /// A session is over: what it wrote may never arrive.
    pub(crate) fn forget(&self, session: SessionId) {
        self.inner.lock().waiting.remove(&session);
    }
}

impl Inner {
    /// Looks at the paths that there are.
    fn look(&mut self, connection: &Connection) {
        let ids: Vec<PathId> = connection.paths().iter().map(|path| path.id()).collect();
        let gone_bytes = &mut self.gone_bytes;
        self.paths.retain(|followed| {
            let is_there = ids.contains(&followed.path);
            *gone_bytes += u64::from(!is_there) * followed.flight.seen().bytes;
            is_there
        });
        for path in ids {
            if self.paths.iter().any(|followed| followed.path == path) {
                continue;
            }
            let controller = connection.congestion_state(path);
            if let Some(flight) = controller.and_then(flight_of) {
                self.paths.push(Followed { path, flight });
                // It may bring what was written before: what it sends from now on counts.
                let waiting = self.waiting.values_mut();
                let written = waiting.flat_map(|one| [Some(&mut one.written), one.next.as_mut()]);
                written.flatten().for_each(|one| one.mark(&self.paths));
            }
        }
    }

    fn bytes(&self) -> u64 {
        let paths = self.paths.iter().map(|followed| followed.flight.seen());
        self.gone_bytes + paths.map(|seen| seen.bytes).sum::<u64>()
    }

    fn wait(&mut self, session: SessionId, mut written: Written) {
        written.mark(&self.paths);
        match self.waiting.get_mut(&session) {
            Some(waiting) => waiting.next = Some(written),
            None => {
                let next = None;
                self.waiting.insert(session, Waiting { written, next });
            }
        }
    }

    /// Takes what is acknowledged: topics, and how far the peer was sent each.
    fn take_acked(&mut self) -> Vec<Reached> {
        let seen: Vec<(PathId, Seen)> = self.paths.iter().map(Followed::seen).collect();
        let mut acked = Vec::new();
        self.waiting.retain(|_, waiting| {
            if !waiting.written.is_acked(&seen) {
                return true;
            }
            acked.push(waiting.written.reached());
            match waiting.next.take() {
                Some(next) => waiting.written = next,
                None => return false,
            }
            let is_acked = waiting.written.is_acked(&seen);
            if is_acked {
                acked.pop();
                acked.push(waiting.written.reached());
            }
            !is_acked
        });
        acked
    }
}

impl Followed {
    fn mark(&self) -> (PathId, u64) {
        (self.path, self.flight.seen().sent)
    }

    fn seen(&self) -> (PathId, Seen) {
        (self.path, self.flight.seen())
    }
}

impl Written {
    fn reached(&self) -> Reached {
        Reached {
            topic: self.topic,
            arrival: self.arrival,
            named: self.named,
        }
    }

    /// Of paths of which nothing was known when it was written, what they send later counts.
    fn mark(&mut self, paths: &[Followed]) {
        let marks = &mut self.marks;
        for followed in paths {
            if marks.of(followed.path).is_none() {
                marks.0.push(followed.mark());
            }
        }
    }

    fn is_acked(&self, paths: &[(PathId, Seen)]) -> bool {
        let (mut any_sent, mut all_acked) = (false, true);
        for (path, seen) in paths {
            let (any, all) = seen.since(self.marks.of(*path).unwrap_or_default());
            any_sent |= any;
            all_acked &= all;
        }
        any_sent && all_acked
    }
}

/// Tells the node what is acknowledged, until nothing waits.
async fn follow(acks: Acks, peer: VerifyingKey, requests: mpsc::Sender<Request>) {
    loop {
        let look_at = Instant::now() + limits::ACKED_LOOK_INTERVAL;
        let flights: Vec<Arc<Flight>> = {
            let mut inner = acks.inner.lock();
            inner.look(&acks.connection);
            let flights = inner.paths.iter().map(|followed| followed.flight.clone());
            flights.collect()
        };
        let changes = flights.iter().map(|flight| {
            let mut changed = Box::pin(flight.changed());
            changed.as_mut().enable();
            changed
        });
        let changes: Vec<_> = changes.collect();
        let acked = {
            let mut inner = acks.inner.lock();
            let acked = inner.take_acked();
            inner.followed = !inner.waiting.is_empty() || !acked.is_empty();
            if !inner.followed {
                return;
            }
            acked
        };
        if !acked.is_empty() {
            // The node is gone otherwise.
            if requests.send(Request::Sent { peer, acked }).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            () = any(changes) => {}
            // There may be another path by now.
            () = sleep_until(look_at) => {}
            _ = acks.connection.closed() => return,
        }
    }
}

/// Resolves with the first of them.
async fn any<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|cx| {
        let mut futures = futures.iter_mut();
        match futures.any(|future| std::pin::Pin::new(future).poll(cx).is_ready()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_acknowledged_bytes_up_to_its_own() {
        let (written, seen) = (0, 1_000);
        let mut unacked = Unacked { written, seen };
        assert_eq!(unacked.take(1_500), 0, "of others");
        unacked.wrote(300);
        assert_eq!(unacked.take(1_600), 100);
        assert_eq!(unacked.take(1_600), 0);
        assert_eq!(unacked.take(9_000), 200);
        assert_eq!(unacked.take(20_000), 0);
        // A path has gone.
        assert_eq!(unacked.take(10), 0);
        unacked.wrote(5);
        assert_eq!(unacked.take(20_001), 1);
    }
}
