//! The budget of bytes for everything that peers make a node hold
//! (`docs/protocol/network.md#11`).
//!
//! Every peer has an [`Account`], every session an [`Intake`] on it, and everything that a peer makes
//! us keep in memory holds a [`Charge`], which is released when it is dropped. A session reads only
//! while [`Intake::poll_room`] allows it.

mod ledger;
mod level;
mod overdue;
mod state;
#[cfg(test)]
mod tests;
mod turn;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;

use self::ledger::Ledger;
use self::level::Kind;
use self::state::{AccountId, IntakeId};
use crate::VerifyingKey;

/// Addresses that probably belong to one holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(Network);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
    Relayed,
}

impl Prefix {
    /// Peers whose address is not known, because they come through a relay.
    pub const RELAYED: Prefix = Prefix(Network::Relayed);

    /// The /24 of an IPv4 address, the /48 of an IPv6 address.
    pub fn of(address: IpAddr) -> Prefix {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Prefix(Network::V4([a, b, c]))
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                Prefix(Network::V6([a, b, c, d, e, f]))
            }
        }
    }
}

/// The standing of the peer of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// A bootstrap node, a configured one, or one that completed a session before: it does not share
    /// the part of its prefix.
    Proven,
    /// Any other peer, at an address of this prefix.
    Unproven(Prefix),
}

/// Figures of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Bytes that may be held.
    pub bytes: usize,
    /// Bytes that are held now.
    pub used_bytes: usize,
    /// The most bytes that were held at once.
    pub peak_bytes: usize,
    /// Times that a peer reached its share and had to wait.
    pub slowed: u64,
    /// Times that the connections of a peer had to be closed.
    pub closed: u64,
}

/// A budget. Clones are the same budget.
#[derive(Clone)]
pub struct Budget {
    ledger: Arc<Ledger>,
}

impl Budget {
    /// A budget of this many bytes, with room for at least two of the largest operations.
    ///
    /// One frame of `operation_bytes_max` is reserved for the session that has the turn.
    pub fn new(bytes: usize, operation_bytes_max: usize) -> Self {
        Self {
            ledger: Arc::new(Ledger::new(bytes, operation_bytes_max)),
        }
    }

    /// The account of a peer, shared by all of its connections. The standing given last counts, but a
    /// proven peer stays so as long as anything is held for it.
    pub fn account(&self, peer: VerifyingKey, standing: Standing) -> Account {
        let owner = self.ledger.owner(peer, standing, |id| Owner {
            ledger: self.ledger.clone(),
            id,
        });
        Account { owner }
    }

    /// Charges an operation that a peer brought and that waits for others. `None` if there is no room:
    /// drop it, and ask for it again later. A peer without an account, that is, without a connection
    /// and without held bytes, is charged nothing.
    pub fn try_keep(&self, peer: &VerifyingKey, bytes: usize) -> Option<Charge> {
        let Some(owner) = self.ledger.known(peer) else {
            return Some(Charge::default());
        };
        Account { owner }.try_charge(Kind::Kept, bytes)
    }

    /// Charges what a peer brought and is in memory already. A peer without an account is
    /// charged nothing.
    pub fn charge(&self, peer: &VerifyingKey, bytes: usize) -> Charge {
        let owner = self.ledger.known(peer);
        owner.map_or_else(Charge::default, |owner| Account { owner }.charge(bytes))
    }

    /// Returns `true` if [`Budget::try_keep`] has no room for that many bytes of a peer in a share
    /// that the other peer is part of too: dropping what waits for the other one may make room.
    pub fn crowds(&self, peer: &VerifyingKey, other: &VerifyingKey, bytes: usize) -> bool {
        let (one, two) = (self.ledger.known(peer), self.ledger.known(other));
        let (Some(one), Some(two)) = (one, two) else {
            return false;
        };
        self.ledger.crowds(one.id, two.id, bytes)
    }

    /// Checks which peers make no progress; call it about twice a second. Returns the peers whose
    /// connections must be closed.
    ///
    /// `now` is the time since any moment that stays the same.
    pub fn tick(&self, now: Duration) -> Vec<VerifyingKey> {
        self.ledger.tick(now)
    }

    /// Ready while this many bytes are held. One task at a time may wait for it.
    pub fn poll_used(&self, context: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.ledger.poll_used(bytes, context.waker())
    }

    /// The figures now.
    pub fn status(&self) -> BudgetStatus {
        self.ledger.status()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

/// The bytes that one peer makes us hold. Clones are the same account.
#[derive(Clone, Debug)]
pub struct Account {
    owner: Arc<Owner>,
}

impl Account {
    /// The peer has proved itself.
    pub fn prove(&self) {
        self.owner.ledger.prove(self.owner.id);
    }

    /// Charges an open connection of the peer, if its share and those that contain it allow another.
    pub fn try_connection(&self, bytes: usize) -> Option<Charge> {
        self.try_charge(Kind::Connection, bytes)
    }

    /// Charges a connection that we opened.
    pub fn connection(&self, bytes: usize) -> Charge {
        let mut charge = self.charged(Kind::Connection, 0);
        charge.grow(bytes);
        charge
    }

    /// Charges what the peer may send before anybody reads it, if its share and those that contain it
    /// allow that.
    pub fn try_window(&self, bytes: usize) -> Option<Charge> {
        self.try_charge(Kind::Window, bytes)
    }

    /// Charges what is in memory already. If that puts the peer over its share, its sessions stop
    /// reading.
    pub fn charge(&self, bytes: usize) -> Charge {
        let mut charge = self.charged(Kind::Passing, 0);
        charge.grow(bytes);
        charge
    }

    /// The intake of a session of the peer; each session has one.
    pub fn intake(&self) -> Intake {
        let id = self.owner.ledger.new_intake(self.owner.id);
        Intake {
            part: Arc::new(Part {
                owner: self.owner.clone(),
                id,
            }),
        }
    }

    /// Bytes held for the peer.
    pub fn used_bytes(&self) -> usize {
        self.owner.ledger.used(self.owner.id)
    }

    fn try_charge(&self, kind: Kind, bytes: usize) -> Option<Charge> {
        let Owner { ledger, id } = &*self.owner;
        let fits = ledger.try_charge(*id, kind, bytes);
        fits.then(|| self.charged(kind, bytes))
    }

    /// A charge for bytes that are counted already.
    fn charged(&self, kind: Kind, bytes: usize) -> Charge {
        Charge(Some(Held {
            owner: self.owner.clone(),
            part: None,
            kind,
            bytes,
        }))
    }
}

/// Removes the account with its last charge.
struct Owner {
    ledger: Arc<Ledger>,
    id: AccountId,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.id).finish()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.ledger.end_account(self.id);
    }
}

/// The intake of a session.
#[derive(Debug)]
pub struct Intake {
    part: Arc<Part>,
}

#[derive(Debug)]
struct Part {
    owner: Arc<Owner>,
    id: IntakeId,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.owner.ledger.end_intake(self.id);
    }
}

impl Intake {
    /// The number of bytes that may be read now; a waiter is woken when there is room.
    ///
    /// `in_frame` says whether a frame is incomplete: such a session can get the turn, which admits one
    /// frame regardless of what else is held. [`Intake::end_frame`] ends the turn's reading, and so
    /// does the first call between two frames.
    ///
    /// Call it whenever bytes are about to be taken from the stream, not only once before waiting for
    /// them.
    pub fn poll_room(&self, context: &mut Context<'_>, in_frame: bool) -> Poll<usize> {
        let Part { owner, id } = &*self.part;
        owner.ledger.poll_room(*id, context.waker(), in_frame)
    }

    /// Ends a frame whose bytes are charged. The next frame, which may have begun, needs another turn:
    /// its bytes are not released with this one.
    pub fn end_frame(&self) {
        let Part { owner, id } = &*self.part;
        owner.ledger.end_frame(*id);
    }

    /// Returns `true` if a share that contains the peer is used up: drop what is held only to save
    /// traffic.
    pub fn is_slowed(&self) -> bool {
        let Part { owner, id } = &*self.part;
        owner.ledger.is_slowed(*id)
    }

    /// Charges what was read.
    pub fn charge(&self, bytes: usize) -> Charge {
        let mut charge = Charge(Some(Held {
            owner: self.part.owner.clone(),
            part: Some(self.part.clone()),
            kind: Kind::Passing,
            bytes: 0,
        }));
        charge.grow(bytes);
        charge
    }

    /// The account of this intake.
    pub fn account(&self) -> Account {
        Account {
            owner: self.part.owner.clone(),
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // What it charged may live on without it.
        self.part.owner.ledger.stop_intake(self.part.id);
    }
}

/// Bytes that are held; dropping it releases them.
///
/// The default charge is for data that no peer brought: it has no account and counts nowhere.
#[derive(Debug, Default)]
#[must_use = "dropping it releases what it charges"]
pub struct Charge(Option<Held>);

#[derive(Debug)]
struct Held {
    owner: Arc<Owner>,
    part: Option<Arc<Part>>,
    kind: Kind,
    bytes: usize,
}

impl Held {
    fn change(&mut self, bytes: usize) {
        let ledger = &self.owner.ledger;
        let part = self.part.as_ref().map(|part| part.id);
        if bytes > self.bytes {
            ledger.add(self.owner.id, part, self.kind, bytes - self.bytes);
        } else if bytes < self.bytes {
            ledger.remove(self.owner.id, part, self.kind, self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Charge {
    /// The charged bytes.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.bytes)
    }

    /// Sets the charged bytes.
    pub fn resize(&mut self, bytes: usize) {
        if let Some(held) = &mut self.0 {
            held.change(bytes);
        }
    }

    /// Adds to the charged bytes.
    pub fn grow(&mut self, bytes: usize) {
        self.resize(self.bytes().saturating_add(bytes));
    }

    /// Subtracts from the charged bytes.
    pub fn shrink(&mut self, bytes: usize) {
        self.resize(self.bytes().saturating_sub(bytes));
    }

    /// Splits this many of its bytes, at most all, into another charge.
    pub fn split(&mut self, bytes: usize) -> Charge {
        let Some(held) = &mut self.0 else {
            return Charge::default();
        };
        let bytes = bytes.min(held.bytes);
        held.bytes -= bytes;
        Charge(Some(Held {
            owner: held.owner.clone(),
            part: held.part.clone(),
            kind: held.kind,
            bytes,
        }))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}
