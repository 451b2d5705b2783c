//! Bytes of deliveries that were read and are not handed to the transport yet (`docs/protocol/rpc.md#5`).

use std::sync::Arc;

use p2panda_core::limits::{RPC_DELIVERY_BYTES_MAX, RPC_LARGE_BYTES_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a connection may hold, within what its client and all clients may hold of large messages.
/// Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    connection: Arc<Semaphore>,
    /// Of the client and of all clients; none for the Unix socket.
    large: Option<[Arc<Semaphore>; 2]>,
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Budget,
    bytes: usize,
    small: Option<OwnedSemaphorePermit>,
    large: [Option<OwnedSemaphorePermit>; 2],
}

/// The bytes that count for a connection, and those that count for its client. A large message takes all
/// of a connection: nothing else is under way there.
fn parts(bytes: usize) -> (u32, u32) {
    let small = bytes.min(RPC_DELIVERY_BYTES_MAX);
    let large = match bytes > RPC_DELIVERY_BYTES_MAX {
        true => bytes.min(RPC_LARGE_BYTES_MAX),
        false => 0,
    };
    (small as u32, large as u32)
}

impl Budget {
    /// With what all clients share, and what the client has.
    pub(crate) fn new(connection: Arc<Semaphore>, large: Option<[Arc<Semaphore>; 2]>) -> Self {
        Budget { connection, large }
    }

    /// Nothing of it yet.
    pub(crate) fn empty(&self) -> Room {
        Room {
            budget: self.clone(),
            bytes: 0,
            small: None,
            large: [None, None],
        }
    }

    /// Waits until this many bytes may be held. What is waited for last is what others wait for most, so
    /// that a large message delays no small ones.
    pub(crate) async fn take(&self, bytes: usize) -> Room {
        let mut room = self.empty();
        let (small, large) = parts(bytes);
        for (semaphore, held) in self.large.iter().flatten().zip(&mut room.large) {
            if large > 0 {
                // The semaphores are never closed.
                *held = Arc::clone(semaphore).acquire_many_owned(large).await.ok();
            }
        }
        let permit = Arc::clone(&self.connection).acquire_many_owned(small);
        room.small = permit.await.ok();
        room.bytes = bytes;
        room
    }
}

impl Room {
    /// Returns `true` if this many bytes fit, after it has grown if there is budget for that now.
    pub(crate) fn covers(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let ((had_small, had_large), (small, large)) = (parts(self.bytes), parts(bytes));
        let grow = |semaphore: &Arc<Semaphore>, more: u32| {
            let grown = Arc::clone(semaphore).try_acquire_many_owned(more);
            grown.ok()
        };
        let Some(more) = grow(&self.budget.connection, small - had_small) else {
            return false;
        };
        let mut grown = [None, None];
        for (semaphore, grown) in self.budget.large.iter().flatten().zip(&mut grown) {
            *grown = grow(semaphore, large - had_large);
            if grown.is_none() {
                return false;
            }
        }
        merge(&mut self.small, Some(more));
        let pairs = self.large.iter_mut().zip(grown);
        pairs.for_each(|(held, grown)| merge(held, grown));
        self.bytes = bytes;
        true
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: Option<OwnedSemaphorePermit>) {
    match (held.as_mut(), more) {
        (Some(held), Some(more)) => held.merge(more),
        (None, more) => *held = more,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;
    use p2panda_core::limits::RPC_LARGE_ALL_BYTES_MAX;

    use super::*;

    const MIB: usize = 1_024 * 1_024;

    struct All {
        client: Arc<Semaphore>,
        all: Arc<Semaphore>,
    }

    impl All {
        fn new() -> Self {
            All {
                client: Arc::new(Semaphore::new(RPC_LARGE_BYTES_MAX)),
                all: Arc::new(Semaphore::new(RPC_LARGE_ALL_BYTES_MAX)),
            }
        }

        fn connection(&self) -> Budget {
            let connection = Arc::new(Semaphore::new(RPC_DELIVERY_BYTES_MAX));
            let large = [Arc::clone(&self.client), Arc::clone(&self.all)];
            Budget::new(connection, Some(large))
        }
    }

    #[test]
    fn one_large_message_of_a_connection_is_under_way() {
        let budget = All::new().connection();
        let small = budget.take(1_000).now_or_never().unwrap();
        assert!(budget.take(MIB).now_or_never().is_none());
        drop(small);
        let large = budget.take(MIB).now_or_never().unwrap();
        assert!(budget.take(1).now_or_never().is_none());
        assert!(!budget.empty().covers(1));
        drop(large);
        assert!(budget.empty().covers(2 * MIB));
    }

    #[test]
    fn large_messages_of_a_client_are_bounded() {
        let all = All::new();
        let (one, two) = (all.connection(), all.connection());
        let held = one.take(RPC_LARGE_BYTES_MAX + MIB).now_or_never().unwrap();
        assert!(two.take(MIB).now_or_never().is_none());
        assert!(two.empty().covers(RPC_DELIVERY_BYTES_MAX));
        assert!(!two.empty().covers(RPC_DELIVERY_BYTES_MAX + 1));
        let expected = RPC_LARGE_ALL_BYTES_MAX - RPC_LARGE_BYTES_MAX;
        assert_eq!(all.all.available_permits(), expected);
        drop(held);
        assert!(two.take(MIB).now_or_never().is_some());
        assert_eq!(all.all.available_permits(), RPC_LARGE_ALL_BYTES_MAX);
    }

    #[test]
    fn a_room_grows_as_far_as_there_is_budget() {
        let all = All::new();
        let budget = all.connection();
        let mut room = budget.take(1_000).now_or_never().unwrap();
        assert!(room.covers(2_000) && room.covers(MIB) && room.covers(2 * MIB));
        assert_eq!(
            all.client.available_permits(),
            RPC_LARGE_BYTES_MAX - 2 * MIB
        );
        let mut other = all.connection().empty();
        assert!(!other.covers(RPC_LARGE_BYTES_MAX));
        drop(room);
        assert!(other.covers(RPC_LARGE_BYTES_MAX));
        assert_eq!(
            budget.connection.available_permits(),
            RPC_DELIVERY_BYTES_MAX
        );
    }
}
