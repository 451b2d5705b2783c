//! The turn: one frame at a time is admitted over every share, so that large operations arrive
//! regardless of what else is held.

use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

use super::Standing;
use super::state::{AccountId, IntakeId, State};
use crate::limits;

pub(super) struct Turn {
    account: AccountId,
    /// The session that reads the frame; none once it is complete.
    reader: Option<IntakeId>,
    taken: usize,
    /// Bytes held for the peer before.
    before: usize,
    since: Option<Duration>,
    moved: Option<(Duration, usize)>,
}

impl Turn {
    /// Bytes admitted by the turn.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn took(&mut self, id: IntakeId, bytes: usize) {
        if self.reader == Some(id) {
            self.taken = self.taken.saturating_add(bytes);
        }
    }
}

impl State {
    /// The bytes that the session may read by its turn.
    pub(super) fn turn_room(&self, id: IntakeId) -> Option<usize> {
        let turn = self.turn.as_ref()?;
        // A read brings some of what follows the frame as well.
        let most = self.turn_bytes.saturating_add(limits::READ_BYTES_MAX);
        let left = most.saturating_sub(turn.taken).min(limits::READ_BYTES_MAX);
        (turn.reader == Some(id) && left > 0).then_some(left)
    }

    /// Ends the reading of the frame. Returns the waiters to wake.
    pub(super) fn end_frame(&mut self, id: IntakeId) -> Vec<Waker> {
        if let Some(turn) = &mut self.turn
            && turn.reader == Some(id)
        {
            turn.reader = None;
            // It may be released already.
            return self.settle_turn();
        }
        Vec::new()
    }

    /// Queues one session of a peer at a time.
    pub(super) fn stand_in_line(&mut self, account: AccountId, id: IntakeId) {
        let of_account = |waiting: &IntakeId| {
            let session = self.intakes.get(waiting);
            session.is_some_and(|session| session.account == account)
        };
        if !self.queue.iter().any(of_account) {
            self.queue.push_back(id);
        }
    }

    /// Returns whether it was queued.
    pub(super) fn leave_line(&mut self, id: IntakeId) -> bool {
        let before = self.queue.len();
        self.queue.retain(|waiting| *waiting != id);
        self.queue.len() < before
    }

    /// Ends a turn whose frame is released, and gives it to the next session. Returns the waiters to wake.
    pub(super) fn settle_turn(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if let Some(account) = self.turn_is_over() {
            self.turn = None;
            // Its other sessions may stand in line now.
            wakers = self.take_wakers_of(account);
        }
        if self.turn.is_some() {
            return wakers;
        }
        let Some((account, id)) = self.first_in_line() else {
            return wakers;
        };
        self.turn = Some(Turn {
            account,
            reader: Some(id),
            taken: 0,
            before: self.used(account),
            since: None,
            moved: None,
        });
        wakers.extend(self.take_waker(account, id));
        wakers
    }

    /// Ends the turn if the admitted bytes were released, or fit everywhere by now.
    fn turn_is_over(&mut self) -> Option<AccountId> {
        let turn = self.turn.as_ref()?;
        let (account, before) = (turn.account, turn.before);
        if turn.reader.is_some() {
            return None;
        }
        let Some(record) = self.accounts.get(&account) else {
            return Some(account);
        };
        let (standing, used) = (record.standing, record.level.used);
        let mut fits = used <= record.level.limit;
        self.shared(standing, |level| {
            fits &= level.used <= level.limit;
            false
        });
        (fits || used <= before).then_some(account)
    }

    /// The first proven peer, or else the first one.
    fn first_in_line(&mut self) -> Option<(AccountId, IntakeId)> {
        let account = |id: &IntakeId| Some(self.intakes.get(id)?.account);
        let proven = |id: &IntakeId| {
            let record = account(id).and_then(|account| self.accounts.get(&account));
            record.is_some_and(|record| record.standing == Standing::Proven)
        };
        let index = self.queue.iter().position(proven).unwrap_or(0);
        let id = self.queue.remove(index)?;
        Some((self.intakes.get(&id)?.account, id))
    }

    /// Checks whether a turn is lost: without progress, or after a while if others wait.
    pub(super) fn check_turn(&mut self, now: Duration, close: &mut Vec<AccountId>) {
        let wanted = !self.queue.is_empty();
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.reader.is_some()) else {
            return;
        };
        let record = self.accounts.get(&turn.account);
        let proven = record.is_some_and(|record| record.standing == Standing::Proven);
        let time_max = match proven {
            true => limits::TURN_TIME_PROVEN_MAX,
            false => limits::TURN_TIME_MAX,
        };
        let since = *turn.since.get_or_insert(now);
        let moved = turn.moved.get_or_insert((now, turn.taken));
        if (turn.taken - moved.1.min(turn.taken)) as u64 >= limits::PROGRESS_BYTES_MIN {
            *moved = (now, turn.taken);
        }
        let still = now.saturating_sub(moved.0) >= limits::PROGRESS_TIMEOUT;
        let too_long = wanted && now.saturating_sub(since) >= time_max;
        if still || too_long {
            turn.reader = None;
            close.push(turn.account);
        }
    }
}
