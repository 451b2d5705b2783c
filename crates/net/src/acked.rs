//! Whether the peer of a connection has acknowledged what was written to it.
//!
//! The transport says of a stream only that all of it was acknowledged, once it is finished; those of
//! sessions stay open. But it tells the congestion controller of each packet that it sends, that is
//! acknowledged or lost, and whether it has anything left to send.

use std::sync::Arc;

use iroh::endpoint::{Connection, PathId};
use p2panda_core::limits;
use tokio::time::{Instant, sleep_until};

use crate::congestion::flight_of;
use crate::flight::Flight;

/// The paths of one connection, as far as somebody writes to it.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    paths: Vec<Followed>,
}

#[derive(Debug)]
struct Followed {
    path: PathId,
    flight: Arc<Flight>,
    /// Packets that were sent before the last write.
    before: u64,
    /// The same of the write that is to be acknowledged.
    marked: u64,
}

impl Flights {
    /// Looks at the paths that there are.
    pub(crate) fn look(&mut self, connection: &Connection) {
        let ids: Vec<PathId> = connection.paths().iter().map(|path| path.id()).collect();
        self.paths.retain(|followed| ids.contains(&followed.path));
        for path in ids {
            if self.paths.iter().any(|followed| followed.path == path) {
                continue;
            }
            let controller = connection.congestion_state(path);
            if let Some(flight) = controller.and_then(flight_of) {
                // What it has sent until now may have been of the last write.
                self.paths.push(Followed {
                    path,
                    flight,
                    before: 0,
                    marked: 0,
                });
            }
        }
    }

    /// Something is about to be written.
    pub(crate) fn writing(&mut self) {
        for followed in &mut self.paths {
            followed.before = followed.flight.count();
        }
    }

    /// The last write is to be acknowledged, and all before.
    pub(crate) fn wrote(&mut self) {
        for followed in &mut self.paths {
            followed.marked = followed.before;
        }
    }

    /// Resolves when the peer has acknowledged what was to be. May be cancelled.
    pub(crate) async fn acked(&mut self, connection: &Connection) {
        loop {
            let look_at = Instant::now() + limits::ACKED_LOOK_INTERVAL;
            self.look(connection);
            let changes = self.paths.iter().map(|followed| {
                let mut changed = Box::pin(followed.flight.changed());
                changed.as_mut().enable();
                changed
            });
            let changes: Vec<_> = changes.collect();
            if self.is_acked() {
                return;
            }
            tokio::select! {
                () = any(changes) => {}
                // There may be another path by now.
                () = sleep_until(look_at) => {}
            }
        }
    }

    fn is_acked(&self) -> bool {
        let since = |followed: &Followed| followed.flight.since(followed.marked);
        let (mut any_sent, mut all_acked) = (false, true);
        for (any, all) in self.paths.iter().map(since) {
            any_sent |= any;
            all_acked &= all;
        }
        any_sent && all_acked
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
