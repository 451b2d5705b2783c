//! A subscription: its credit, what it has delivered, and the task behind it
//! (`docs/protocol/rpc.md#5`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use p2panda::{Consumer, ConsumerHandle, Delivery, DeliveryToken, Message, Topic};
use p2panda_core::limits::{RPC_CREDIT_BYTES_MAX, RPC_UNSEEN_MAX};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::api::{Code, RpcError};

/// State of a subscription. When it is dropped its task ends.
pub(crate) struct Subscription {
    pub(crate) credit: Arc<Credit>,
    pub(crate) open: Arc<Open>,
    task: JoinHandle<()>,
}

impl Subscription {
    pub(crate) fn new(credit: Arc<Credit>, open: Arc<Open>, task: JoinHandle<()>) -> Self {
        Subscription { credit, open, task }
    }

    /// Nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes that may be sent before the client says that it has read some.
#[derive(Debug)]
pub(crate) struct Credit {
    left: AtomicI64,
    most: i64,
    more: Notify,
}

impl Credit {
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.clamp(1, RPC_CREDIT_BYTES_MAX) as i64;
        Credit {
            left: AtomicI64::new(bytes),
            most: bytes,
            more: Notify::new(),
        }
    }

    /// Waits until something of this many bytes may be sent, and takes that. Something that is larger than
    /// all of the credit goes when nothing else is under way.
    pub(crate) async fn take(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        loop {
            let more = self.more.notified();
            if self.try_take(bytes) {
                return;
            }
            more.await;
        }
    }

    /// Waits until the same could be taken. Only the task of the subscription takes.
    pub(crate) async fn until(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        loop {
            let more = self.more.notified();
            if self.has(bytes) {
                return;
            }
            more.await;
        }
    }

    /// Bytes that may be sent now.
    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.left.load(Ordering::SeqCst)).unwrap_or_default()
    }

    fn has(&self, bytes: i64) -> bool {
        self.left.load(Ordering::SeqCst) >= bytes.min(self.most)
    }

    /// Takes without waiting.
    pub(crate) fn try_take(&self, bytes: i64) -> bool {
        let goes = self.has(bytes);
        if goes {
            // Only the task of the subscription takes.
            self.left.fetch_sub(bytes, Ordering::SeqCst);
        }
        goes
    }

    /// The client has read this many; what it was not sent does not count.
    pub(crate) fn give(&self, bytes: u32) {
        let add = |left: i64| Some(left.saturating_add(i64::from(bytes)).min(self.most));
        let _ = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        self.more.notify_one();
    }
}

/// Deliveries of a consumer here that are not settled. A subscription without a consumer has none.
pub(crate) struct Open {
    handle: Option<ConsumerHandle>,
    /// Of a subscription that gives messages when it is asked.
    pub(crate) pulled: Option<Pulled>,
    is_cumulative: bool,
    held: Mutex<HeldByNumber>,
    /// Room for messages of the node's own position that are not acknowledged.
    unseen: Arc<Semaphore>,
}

/// Source of a subscription that gives messages when it is asked.
pub(crate) struct Pulled {
    /// `None` once the client may no longer read one of its topics.
    pub(crate) consumer: tokio::sync::Mutex<Option<Consumer>>,
    pub(crate) header: bool,
    pub(crate) keeps: bool,
    /// `true` if the client may be shown what the node opens in spaces.
    pub(crate) opens_spaces: bool,
}

impl Default for Open {
    fn default() -> Self {
        Open {
            handle: None,
            pulled: None,
            is_cumulative: false,
            held: Mutex::default(),
            unseen: Arc::new(Semaphore::new(RPC_UNSEEN_MAX)),
        }
    }
}

#[derive(Default)]
struct HeldByNumber {
    last: u64,
    by_number: HashMap<u64, (Topic, u64, DeliveryToken)>,
    /// Topic and offset; a message that comes again takes the place of the one before.
    places: BTreeMap<(Topic, u64), u64>,
    /// The number of what was pruned has no place.
    pruned: HashMap<u64, Box<Delivery>>,
    seen: HashMap<u64, Box<Seen>>,
}

/// A message of the node's own position, until it is acknowledged.
pub(crate) struct Seen {
    pub(crate) message: Message,
    _room: OwnedSemaphorePermit,
}

/// Token with which one delivery is settled. The message itself is not kept.
pub(crate) enum Held {
    Message(DeliveryToken),
    Pruned(Box<Delivery>),
    Seen(Box<Seen>),
}

impl Open {
    /// Waits until there is room for one more message that is not acknowledged.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.unseen).acquire_owned().await.ok()
    }

    /// The same without waiting.
    pub(crate) fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.unseen).try_acquire_owned().ok()
    }

    /// Keeps a message of the node's own position, and gives its number.
    pub(crate) fn keep_seen(&self, message: Message, room: OwnedSemaphorePermit) -> u64 {
        let mut held = self.held.lock();
        held.last += 1;
        let number = held.last;
        let seen = Seen {
            message,
            _room: room,
        };
        held.seen.insert(number, Box::new(seen));
        number
    }

    /// Returns what `consumer.fetch` reads from.
    pub(crate) fn pulled(&self) -> Result<&Pulled, RpcError> {
        self.pulled.as_ref().ok_or_else(|| {
            let message = "messages of this subscription come by themselves";
            RpcError::new(Code::Invalid, message).hint("subscribe with a consumer and `pull`")
        })
    }

    pub(crate) fn of(handle: ConsumerHandle, is_cumulative: bool) -> Self {
        Open {
            handle: Some(handle),
            is_cumulative,
            ..Self::default()
        }
    }

    /// Keeps what settles a message, and gives its number.
    pub(crate) fn keep(&self, topic: Topic, offset: u64, token: DeliveryToken) -> u64 {
        let mut held = self.held.lock();
        held.last += 1;
        let number = held.last;
        if let Some(before) = held.places.insert((topic, offset), number) {
            held.by_number.remove(&before);
        }
        held.by_number.insert(number, (topic, offset, token));
        number
    }

    /// The same for what was pruned.
    pub(crate) fn keep_pruned(&self, delivery: Box<Delivery>) -> u64 {
        let mut held = self.held.lock();
        held.last += 1;
        let number = held.last;
        held.pruned.insert(number, delivery);
        number
    }

    /// Takes out the token with which a number is settled: nothing is settled twice.
    pub(crate) fn take(&self, number: u64) -> Result<Held, RpcError> {
        let mut held = self.held.lock();
        if let Some(pruned) = held.pruned.remove(&number) {
            return Ok(Held::Pruned(pruned));
        }
        if let Some(seen) = held.seen.remove(&number) {
            return Ok(Held::Seen(seen));
        }
        let Some((topic, offset, token)) = held.by_number.remove(&number) else {
            let message = format!("the delivery {number} is not open on this subscription");
            let error = RpcError::new(Code::StaleDelivery, message);
            return Err(
                error.hint("it was settled or redelivered, or belongs to another subscription")
            );
        };
        held.places.remove(&(topic, offset));
        Ok(Held::Message(token))
    }

    /// The same for an acknowledgement, which may be one of everything before.
    pub(crate) fn take_acked(&self, number: u64) -> Result<Held, RpcError> {
        let place = {
            let held = self.held.lock();
            let of = held.by_number.get(&number);
            of.map(|(topic, offset, _)| (*topic, *offset))
        };
        let taken = self.take(number)?;
        if let (true, Some((topic, offset))) = (self.is_cumulative, place) {
            let mut held = self.held.lock();
            let covered = held.places.range((topic, 0)..=(topic, offset));
            let covered: Vec<_> = covered.map(|(place, number)| (*place, *number)).collect();
            for (place, number) in covered {
                held.places.remove(&place);
                held.by_number.remove(&number);
            }
        }
        Ok(taken)
    }

    /// Returns the token with which a message that is still worked on is settled later.
    pub(crate) fn token(&self, number: u64) -> Option<DeliveryToken> {
        let held = self.held.lock();
        held.by_number.get(&number).map(|(_, _, token)| *token)
    }

    pub(crate) fn handle(&self) -> Result<&ConsumerHandle, RpcError> {
        self.handle.as_ref().ok_or_else(|| {
            RpcError::new(Code::Invalid, "this subscription has no consumer")
                .hint("subscribe with `consumer` to settle messages")
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn credit_is_what_is_under_way_and_one_large_message_goes_alone() {
        let credit = Credit::new(100);
        credit.take(60).await;
        assert!(credit.take(60).now_or_never().is_none());
        credit.take(40).await;
        assert!(credit.take(1).now_or_never().is_none());
        credit.give(100);
        credit.take(1_000).await;
        assert!(credit.take(1).now_or_never().is_none());
        // More than was sent is no credit.
        credit.give(u32::MAX);
        credit.take(100).await;
        assert!(credit.take(1).now_or_never().is_none());
        let all = Credit::new(usize::MAX);
        assert!(all.try_take(RPC_CREDIT_BYTES_MAX as i64));
        assert!(!all.try_take(1));
    }
}
