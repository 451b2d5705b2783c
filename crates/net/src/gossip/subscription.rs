//! Subscriptions to an overlay.

use std::collections::VecDeque;

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Neighbours, each with a number of its own every time that it became one. Mostly they are few, and
/// there is one of these for every topic.
pub(crate) type Neighbours = Vec<(VerifyingKey, u64)>;

/// Neighbours are a state here, not events: anyone who looks rarely still sees who is there now.
#[derive(Debug, Default)]
pub(super) struct News {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    neighbours: Neighbours,
    number: u64,
    messages: VecDeque<(Bytes, VerifyingKey)>,
    lost: u64,
}

impl News {
    pub(super) fn up(&self, peer: VerifyingKey) {
        let mut state = self.state.lock();
        state.number += 1;
        let number = state.number;
        if state.neighbours.is_empty() {
            state.neighbours.reserve_exact(1);
        }
        state.neighbours.retain(|(other, _)| *other != peer);
        state.neighbours.push((peer, number));
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn down(&self, peer: &VerifyingKey) {
        let mut state = self.state.lock();
        state.neighbours.retain(|(other, _)| other != peer);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn message(&self, content: Bytes, from: VerifyingKey) {
        let mut state = self.state.lock();
        if state.messages.len() < limits::GOSSIP_EVENTS_MAX {
            state.messages.push_back((content, from));
        } else {
            state.lost += 1;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Resolves when there is something new. May be cancelled.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next message, in order.
    pub(super) fn next_message(&self) -> Option<(Bytes, VerifyingKey)> {
        let mut state = self.state.lock();
        if state.lost > 0 {
            tracing::debug!(
                lost = state.lost,
                "broadcasts came faster than they were read"
            );
            state.lost = 0;
        }
        let message = state.messages.pop_front();
        if state.messages.is_empty() {
            // Not the memory of the largest flood forever.
            state.messages = VecDeque::new();
        }
        message
    }

    /// The neighbours, those first that are it for longest.
    pub(super) fn neighbours(&self) -> Neighbours {
        self.state.lock().neighbours.clone()
    }
}
