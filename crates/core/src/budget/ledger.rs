//! The book-keeping: one lock, a few additions per call, no clock.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::level::Kind;
use super::state::{AccountId, IntakeId, State};
use super::{BudgetStatus, Owner, Standing};
use crate::VerifyingKey;

pub(super) struct Ledger {
    state: Mutex<State>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

impl Ledger {
    pub(super) fn new(bytes: usize, operation_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State::new(bytes, operation_bytes_max)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics; and counts that are a little off are better than no node.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn owner(
        &self,
        peer: VerifyingKey,
        standing: Standing,
        open: impl FnOnce(AccountId) -> Owner,
    ) -> Arc<Owner> {
        let mut state = self.state();
        if let Some(owner) = state.peers.get(&peer).and_then(Weak::upgrade) {
            let wakers = state.stand(owner.id, standing);
            drop(state);
            wake(wakers);
            return owner;
        }
        let id = state.open(peer, standing);
        let owner = Arc::new(open(id));
        state.peers.insert(peer, Arc::downgrade(&owner));
        owner
    }

    pub(super) fn known(&self, peer: &VerifyingKey) -> Option<Arc<Owner>> {
        self.state().peers.get(peer).and_then(Weak::upgrade)
    }

    pub(super) fn end_account(&self, id: AccountId) {
        let wakers = self.state().close(id);
        wake(wakers);
    }

    pub(super) fn prove(&self, id: AccountId) {
        let wakers = self.state().stand(id, Standing::Proven);
        wake(wakers);
    }

    pub(super) fn used(&self, id: AccountId) -> usize {
        self.state().used(id)
    }

    pub(super) fn new_intake(&self, account: AccountId) -> IntakeId {
        self.state().new_intake(account)
    }

    /// Ends a session; its charges may be held for a while.
    pub(super) fn stop_intake(&self, id: IntakeId) {
        let wakers = self.state().stop(id);
        wake(wakers);
    }

    pub(super) fn end_intake(&self, id: IntakeId) {
        self.state().intakes.remove(&id);
    }

    /// Charges bytes of a kind that is limited to a part of every share, unless a part is used up.
    pub(super) fn try_charge(&self, id: AccountId, kind: Kind, bytes: usize) -> bool {
        let mut state = self.state();
        let fits = state.try_charge(id, kind, bytes);
        let watcher = state.take_watcher();
        drop(state);
        wake(watcher);
        fits
    }

    pub(super) fn crowds(&self, id: AccountId, other: AccountId, bytes: usize) -> bool {
        self.state().crowds(id, other, bytes)
    }

    pub(super) fn add(&self, id: AccountId, intake: Option<IntakeId>, kind: Kind, bytes: usize) {
        let mut state = self.state();
        state.add(id, kind, bytes);
        if let Some(intake) = intake {
            state.took(intake, bytes);
        }
        let watcher = state.take_watcher();
        drop(state);
        wake(watcher);
    }

    pub(super) fn remove(&self, id: AccountId, intake: Option<IntakeId>, kind: Kind, bytes: usize) {
        let mut state = self.state();
        let mut wakers = state.remove(id, kind, bytes);
        if let Some(intake) = intake {
            wakers.extend(state.gave(intake, bytes));
        }
        wakers.extend(state.settle_turn());
        drop(state);
        wake(wakers);
    }

    pub(super) fn poll_room(&self, id: IntakeId, waker: &Waker, in_frame: bool) -> Poll<usize> {
        let mut state = self.state();
        let mut wakers = match in_frame {
            true => Vec::new(),
            false => state.end_frame(id),
        };
        let mut room = state.room(id);
        if room.is_none() {
            state.wait(id, waker, in_frame);
            wakers.extend(state.settle_turn());
            // It may be this one's turn now.
            room = state.turn_room(id);
        }
        drop(state);
        wake(wakers);
        room.map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn is_slowed(&self, id: IntakeId) -> bool {
        self.state().is_slowed(id)
    }

    pub(super) fn end_frame(&self, id: IntakeId) {
        let wakers = self.state().end_frame(id);
        wake(wakers);
    }

    pub(super) fn tick(&self, now: Duration) -> Vec<VerifyingKey> {
        let mut state = self.state();
        let close = state.tick(now);
        let wakers = state.settle_turn();
        drop(state);
        wake(wakers);
        close
    }

    pub(super) fn poll_used(&self, bytes: usize, waker: &Waker) -> Poll<()> {
        match self.state().watch(bytes, waker) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub(super) fn status(&self) -> BudgetStatus {
        self.state().status()
    }
}

/// Call it without the lock: a waker may run the task that it wakes.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
