//! The accounts: what each holds, and which may read.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Weak;
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;
use std::collections::HashMap;

use super::level::{Kind, Level};
use super::turn::Turn;
use super::{BudgetStatus, Owner, Prefix, Standing};
use crate::{VerifyingKey, limits};

pub(super) type AccountId = u64;
pub(super) type IntakeId = u64;

pub(super) struct State {
    bytes: usize,
    /// The largest frame; the turn always has room for it.
    pub(super) turn_bytes: usize,
    next: u64,
    pub(super) peers: HashMap<VerifyingKey, Weak<Owner>>,
    pub(super) accounts: BTreeMap<AccountId, Record>,
    pub(super) intakes: HashMap<IntakeId, Session>,
    /// Everything but the reserve for the turn.
    pub(super) all: Level,
    pub(super) unproven: Level,
    pub(super) prefixes: HashMap<Prefix, Level>,
    pub(super) turn: Option<Turn>,
    pub(super) queue: VecDeque<IntakeId>,
    pub(super) marked_at: Option<Duration>,
    peak_bytes: usize,
    slowed: u64,
    pub(super) closed: u64,
    /// The waiter for this many held bytes.
    watcher: Option<(usize, Waker)>,
}

/// An account.
pub(super) struct Record {
    pub(super) peer: VerifyingKey,
    pub(super) standing: Standing,
    pub(super) level: Level,
    pub(super) waiting: Vec<(IntakeId, Waker)>,
    /// Bytes charged and released so far.
    pub(super) moved: u64,
    /// The last time of progress while it was over its share, and its progress then.
    pub(super) slow_since: Option<(Duration, u64)>,
    /// Its progress at the last check of the common shares.
    pub(super) marked: u64,
}

pub(super) struct Session {
    pub(super) account: AccountId,
    held: usize,
}

impl State {
    pub(super) fn new(bytes: usize, operation_bytes_max: usize) -> Self {
        let least = operation_bytes_max.saturating_mul(limits::BUDGET_OPERATIONS_MIN);
        let bytes = bytes.max(least);
        let all = bytes.saturating_sub(operation_bytes_max);
        Self {
            bytes,
            turn_bytes: operation_bytes_max,
            next: 0,
            peers: HashMap::new(),
            accounts: BTreeMap::new(),
            intakes: HashMap::new(),
            all: Level::of_all(all),
            unproven: Level::new(all / limits::BUDGET_UNPROVEN_PART),
            prefixes: HashMap::new(),
            turn: None,
            queue: VecDeque::new(),
            marked_at: None,
            peak_bytes: 0,
            slowed: 0,
            closed: 0,
            watcher: None,
        }
    }

    /// Returns `true` if this many bytes are held; if not, keeps the waker until they are.
    pub(super) fn watch(&mut self, bytes: usize, waker: &Waker) -> bool {
        let reached = self.all.used >= bytes;
        self.watcher = (!reached).then(|| (bytes, waker.clone()));
        reached
    }

    /// Takes the waiter for as many bytes as are held now.
    pub(super) fn take_watcher(&mut self) -> Option<Waker> {
        let used = self.all.used;
        let watcher = self.watcher.take_if(|(bytes, _)| used >= *bytes);
        watcher.map(|(_, waker)| waker)
    }

    pub(super) fn status(&self) -> BudgetStatus {
        BudgetStatus {
            bytes: self.bytes,
            used_bytes: self.all.used,
            peak_bytes: self.peak_bytes,
            slowed: self.slowed,
            closed: self.closed,
        }
    }

    // Accounts and their sessions.

    pub(super) fn open(&mut self, peer: VerifyingKey, standing: Standing) -> AccountId {
        let id = self.next();
        let record = Record {
            peer,
            standing,
            level: Level::new(self.bytes / limits::BUDGET_PEER_PART),
            waiting: Vec::new(),
            moved: 0,
            slow_since: None,
            marked: 0,
        };
        self.accounts.insert(id, record);
        id
    }

    pub(super) fn close(&mut self, id: AccountId) -> Vec<Waker> {
        let Some(record) = self.accounts.remove(&id) else {
            return Vec::new();
        };
        // Another account of the peer may have been opened meanwhile.
        let gone = |owner: &Weak<Owner>| owner.strong_count() == 0;
        if self.peers.get(&record.peer).is_some_and(gone) {
            self.peers.remove(&record.peer);
        }
        self.settle_turn()
    }

    pub(super) fn new_intake(&mut self, account: AccountId) -> IntakeId {
        let id = self.next();
        self.intakes.insert(id, Session { account, held: 0 });
        id
    }

    pub(super) fn used(&self, id: AccountId) -> usize {
        let record = self.accounts.get(&id);
        record.map_or(0, |record| record.level.used)
    }

    /// Moves what is held for a peer to the shares of its standing. A proven peer stays so.
    pub(super) fn stand(&mut self, id: AccountId, standing: Standing) -> Vec<Waker> {
        let Some(record) = self.accounts.get_mut(&id) else {
            return Vec::new();
        };
        let before = record.standing;
        if before == standing || before == Standing::Proven {
            return Vec::new();
        }
        record.standing = standing;
        let held = record.level.clone();
        self.shared(before, |level| level.carry(&held, false));
        self.shared(standing, |level| level.carry(&held, true));
        self.forget_empty(before);
        self.take_wakers(|_| true)
    }

    // What is held.

    pub(super) fn try_charge(&mut self, id: AccountId, kind: Kind, bytes: usize) -> bool {
        let Some(record) = self.accounts.get(&id) else {
            return false;
        };
        let standing = record.standing;
        let mut fits = record.level.fits(kind, bytes) && self.is_within(bytes);
        self.shared(standing, |level| {
            fits &= level.fits(kind, bytes);
            false
        });
        if fits {
            self.add(id, kind, bytes);
        }
        fits
    }

    /// Returns `true` if this many more bytes stay within the budget and leave room for charges
    /// that are not requested. The frame that has the turn has its own reserve.
    fn is_within(&self, bytes: usize) -> bool {
        let in_turn = self.turn.as_ref().map_or(0, Turn::taken);
        let used = self.all.used.saturating_sub(in_turn.min(self.turn_bytes));
        let most = self.all.limit - self.all.limit / limits::BUDGET_UNASKED_PART;
        used.saturating_add(bytes) <= most
    }

    /// Returns `true` if this many waiting bytes of a peer have no room in a share that also
    /// contains the other.
    pub(super) fn crowds(&mut self, id: AccountId, other: AccountId, bytes: usize) -> bool {
        let (one, two) = (self.accounts.get(&id), self.accounts.get(&other));
        let (Some(one), Some(two)) = (one, two) else {
            return false;
        };
        let fits = |level: &Level| level.fits(Kind::Kept, bytes);
        if !fits(&one.level) {
            return id == other;
        }
        // The narrowest one that is used up.
        if let Standing::Unproven(prefix) = one.standing {
            if self.prefixes.get(&prefix).is_some_and(|level| !fits(level)) {
                return one.standing == two.standing;
            }
            if !fits(&self.unproven) {
                return two.standing != Standing::Proven;
            }
        }
        !fits(&self.all) || !self.is_within(bytes)
    }

    pub(super) fn add(&mut self, id: AccountId, kind: Kind, bytes: usize) {
        let Some(record) = self.accounts.get_mut(&id) else {
            return;
        };
        record.level.add(kind, bytes);
        record.moved = record.moved.saturating_add(bytes as u64);
        let standing = record.standing;
        self.shared(standing, |level| {
            level.add(kind, bytes);
            false
        });
        self.peak_bytes = self.peak_bytes.max(self.all.used);
    }

    /// Returns the waiters that may continue.
    pub(super) fn remove(&mut self, id: AccountId, kind: Kind, bytes: usize) -> Vec<Waker> {
        let Some(record) = self.accounts.get_mut(&id) else {
            return Vec::new();
        };
        let own = record.level.remove(kind, bytes);
        record.moved = record.moved.saturating_add(bytes as u64);
        let standing = record.standing;
        let shared = self.shared(standing, |level| level.remove(kind, bytes));
        self.forget_empty(standing);
        match (shared, own) {
            (true, _) => self.take_wakers(|record| !record.level.full),
            (false, true) => self.take_wakers_of(id),
            (false, false) => Vec::new(),
        }
    }

    /// Charges bytes of a session.
    pub(super) fn took(&mut self, id: IntakeId, bytes: usize) {
        if let Some(session) = self.intakes.get_mut(&id) {
            session.held = session.held.saturating_add(bytes);
        }
        if let Some(turn) = &mut self.turn {
            turn.took(id, bytes);
        }
    }

    /// Releases bytes of a session.
    pub(super) fn gave(&mut self, id: IntakeId, bytes: usize) -> Option<Waker> {
        let session = self.intakes.get_mut(&id)?;
        let before = session.held;
        session.held = before.saturating_sub(bytes);
        let least = limits::BUDGET_SESSION_BYTES_MIN;
        let account = session.account;
        if before < least || session.held >= least {
            return None;
        }
        self.take_waker(account, id)
    }

    // Who may read.

    /// The bytes that a session may read now.
    pub(super) fn room(&mut self, id: IntakeId) -> Option<usize> {
        if let Some(room) = self.turn_room(id) {
            return Some(room);
        }
        let session = self.intakes.get(&id)?;
        let (account, held) = (session.account, session.held);
        let least = limits::BUDGET_SESSION_BYTES_MIN.saturating_sub(held);
        let room = match self.admits(account) {
            true => limits::READ_BYTES_MAX,
            false if least > 0 => least,
            false => return None,
        };
        if !self.queue.is_empty() {
            // Anyone who reads again does not stand in line.
            self.queue.retain(|waiting| *waiting != id);
        }
        Some(room)
    }

    /// Returns `true` if no share that contains the account is used up. Notes those that are.
    pub(super) fn admits(&mut self, id: AccountId) -> bool {
        let Some(record) = self.accounts.get_mut(&id) else {
            return false;
        };
        let was_full = record.level.full;
        let mut admits = record.level.admits();
        self.slowed += u64::from(!admits && !was_full);
        let standing = record.standing;
        self.shared(standing, |level| {
            admits &= level.admits();
            false
        });
        admits
    }

    /// Returns `true` if any share that contains the peer of a session is used up.
    pub(super) fn is_slowed(&mut self, id: IntakeId) -> bool {
        let account = self.intakes.get(&id).map(|session| session.account);
        account.is_some_and(|account| !self.admits(account))
    }

    /// Registers a waiter, which also queues for the turn if it is in a frame.
    pub(super) fn wait(&mut self, id: IntakeId, waker: &Waker, in_frame: bool) {
        let Some(account) = self.intakes.get(&id).map(|session| session.account) else {
            return;
        };
        let Some(record) = self.accounts.get_mut(&account) else {
            return;
        };
        match record.waiting.iter_mut().find(|(other, _)| *other == id) {
            Some((_, before)) => before.clone_from(waker),
            None => record.waiting.push((id, waker.clone())),
        }
        if in_frame {
            self.stand_in_line(account, id);
        }
    }

    /// Ends a session.
    pub(super) fn stop(&mut self, id: IntakeId) -> Vec<Waker> {
        let Some(account) = self.intakes.get(&id).map(|session| session.account) else {
            return Vec::new();
        };
        // Another session of the peer may want its place in the line.
        let mut wakers = match self.leave_line(id) {
            true => self.take_wakers_of(account),
            false => Vec::new(),
        };
        if let Some(record) = self.accounts.get_mut(&account) {
            record.waiting.retain(|(waiting, _)| *waiting != id);
        }
        wakers.extend(self.end_frame(id));
        wakers.extend(self.settle_turn());
        wakers
    }

    // Helpers.

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Applies `change` to the common shares of a peer of this standing. Returns whether it was true for
    /// any.
    pub(super) fn shared(
        &mut self,
        standing: Standing,
        mut change: impl FnMut(&mut Level) -> bool,
    ) -> bool {
        let mut any = change(&mut self.all);
        if let Standing::Unproven(prefix) = standing {
            any |= change(&mut self.unproven);
            let limit = self.unproven.limit / limits::BUDGET_PREFIX_PART;
            let level = self.prefixes.entry(prefix);
            any |= change(level.or_insert_with(|| Level::new(limit)));
        }
        any
    }

    fn forget_empty(&mut self, standing: Standing) {
        if let Standing::Unproven(prefix) = standing
            && self
                .prefixes
                .get(&prefix)
                .is_some_and(|level| level.used == 0)
        {
            self.prefixes.remove(&prefix);
        }
    }

    pub(super) fn take_waker(&mut self, account: AccountId, id: IntakeId) -> Option<Waker> {
        let waiting = &mut self.accounts.get_mut(&account)?.waiting;
        let index = waiting.iter().position(|(other, _)| *other == id)?;
        Some(waiting.swap_remove(index).1)
    }

    pub(super) fn take_wakers_of(&mut self, account: AccountId) -> Vec<Waker> {
        let record = self.accounts.get_mut(&account);
        let waiting = record
            .into_iter()
            .flat_map(|record| record.waiting.drain(..));
        waiting.map(|(_, waker)| waker).collect()
    }

    fn take_wakers(&mut self, of: impl Fn(&Record) -> bool) -> Vec<Waker> {
        let records = self.accounts.values_mut().filter(|record| of(record));
        let waiting = records.flat_map(|record| record.waiting.drain(..));
        waiting.map(|(_, waker)| waker).collect()
    }
}
