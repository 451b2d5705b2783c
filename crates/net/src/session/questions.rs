//! Questions of a session or a link to the node, in order, through its bounded channel.

use std::collections::VecDeque;

use p2panda_core::{Phase, Topic, VerifyingKey};
use p2panda_protocol::sync::SessionId;
use tokio::sync::mpsc;

use crate::request::Request;

/// Requests that wait for room in the node's channel; the place in its line is kept.
///
/// They are few: a session has one question open and two batches in progress, and says of its
/// phases and of the peer's heights what there is to say once each. What comes at the peer's pace
/// and is not a batch ([`Request::Sent`]) does not wait here.
pub(crate) struct Questions {
    requests: mpsc::Sender<Request>,
    queue: VecDeque<Request>,
    reserved: Option<Reserved>,
}

type Reserved = futures_lite::future::Boxed<Option<mpsc::OwnedPermit<Request>>>;

impl Questions {
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self {
            requests,
            queue: VecDeque::new(),
            reserved: None,
        }
    }

    /// Sends at once if there is room.
    pub(crate) fn push(&mut self, request: Request) {
        if self.waiting() {
            return self.queue.push_back(request);
        }
        if let Err(error) = self.requests.try_send(request) {
            // That the node is gone is found out by `send`.
            self.queue.push_back(error.into_inner());
        }
    }

    pub(crate) fn waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends the oldest request. Returns false when the node is gone. May be cancelled.
    pub(crate) async fn send(&mut self) -> bool {
        let requests = &self.requests;
        let reserved = self.reserved.get_or_insert_with(|| {
            let requests = requests.clone();
            Box::pin(async move { requests.reserve_owned().await.ok() })
        });
        let permit = reserved.await;
        self.reserved = None;
        let (Some(permit), Some(request)) = (permit, self.queue.pop_front()) else {
            return false;
        };
        permit.send(request);
        true
    }
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Says that a session is over exactly once: in order, or when it is dropped.
#[derive(Debug)]
pub(super) struct Over {
    requests: mpsc::Sender<Request>,
    notice: Option<Request>,
}

impl Over {
    pub(super) fn new(
        requests: mpsc::Sender<Request>,
        topic: Topic,
        session: SessionId,
        peer: VerifyingKey,
    ) -> Self {
        let phase = Phase::Ended;
        let notice = Some(Request::Phase {
            topic,
            session,
            peer,
            phase,
        });
        Self { requests, notice }
    }

    pub(super) async fn tell(&mut self) {
        if let Ok(permit) = self.requests.reserve().await
            && let Some(notice) = self.notice.take()
        {
            permit.send(notice);
        }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        let Some(notice) = self.notice.take() else {
            return;
        };
        if let (Err(error), Ok(runtime)) = (
            self.requests.try_send(notice),
            tokio::runtime::Handle::try_current(),
        ) {
            let (requests, notice) = (self.requests.clone(), error.into_inner());
            runtime.spawn(async move {
                // Fails only when the node is gone.
                let _ = requests.send(notice).await;
            });
        }
    }
}
