//! Bounds on what we send to hearsay addresses that have never answered.
//!
//! Rules: docs/protocol/network.md#5. It is an account of bytes and of rests; which addresses a
//! node has, and who told them, is in the [`crate::book::Book`] that holds it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use p2panda_core::{VerifyingKey, limits};

use crate::reach::Ground;
use crate::time::Time;

const MINUTE: Duration = Duration::from_secs(60);

/// Bytes that one address may cost before it answers.
pub(crate) const ADDRESS_BYTES: usize = limits::KNOCKS_MAX * limits::KNOCK_BYTES;

/// Someone who told us a record, as the account sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Debtor {
    pub(crate) node: VerifyingKey,
    /// The configuration names it, or it has proved itself in a sync session.
    pub(crate) trusted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    at: Time,
    by: Debtor,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    rest: Duration,
    until: Time,
}

/// The account.
#[derive(Debug, Default)]
pub(crate) struct Dialing {
    pub(crate) ground: Ground,
    /// Of the last minute.
    spent: VecDeque<Spent>,
    tried: BTreeMap<SocketAddr, Tried>,
    resting: BTreeMap<VerifyingKey, Time>,
    silent: BTreeSet<VerifyingKey>,
}

impl Dialing {
    /// Returns the number of addresses that may still be asked on this teller's account.
    pub(crate) fn left(&self, by: &Debtor, now: Time) -> usize {
        let recent = || self.spent.iter().filter(|spent| now < spent.at + MINUTE);
        let sum = |of: &dyn Fn(&Debtor) -> bool| -> usize {
            let counted = recent().filter(|spent| of(&spent.by));
            counted.map(|spent| spent.bytes).sum()
        };
        let all = limits::KNOCK_BYTES_PER_MINUTE_MAX.saturating_sub(sum(&|_| true));
        let own = sum(&|other| other.node == by.node);
        let own = limits::KNOCK_BYTES_PER_TELLER_MAX.saturating_sub(own);
        let strangers = if by.trusted {
            all
        } else {
            let strangers = sum(&|other| !other.trusted);
            limits::KNOCK_BYTES_OF_STRANGERS_MAX.saturating_sub(strangers)
        };
        all.min(own).min(strangers) / ADDRESS_BYTES
    }

    /// Returns `true` if an address does not rest.
    pub(crate) fn is_rested(&self, socket: &SocketAddr, now: Time) -> bool {
        self.tried
            .get(socket)
            .is_none_or(|tried| tried.until <= now)
    }

    /// Returns `true` if a node may be dialled at all.
    pub(crate) fn is_free(&self, node: &VerifyingKey, now: Time) -> bool {
        self.resting.get(node).is_none_or(|until| *until <= now)
    }

    /// Returns `true` if the addresses of a node that have answered before did not the last time.
    pub(crate) fn is_silent(&self, node: &VerifyingKey) -> bool {
        self.silent.contains(node)
    }

    /// Notes that these addresses are asked now.
    pub(crate) fn ask(&mut self, sockets: &[SocketAddr], by: Debtor, now: Time) {
        self.spend(sockets.len() * ADDRESS_BYTES, by, now);
        for socket in sockets {
            let earlier = self.tried.get(socket).copied();
            let rest = earlier.map_or(limits::KNOCK_REST_MIN, |tried| {
                // One that was left alone for much longer than it had to starts over.
                if now > tried.until + limits::KNOCK_REST_MAX {
                    limits::KNOCK_REST_MIN
                } else {
                    (tried.rest * 2).min(limits::KNOCK_REST_MAX)
                }
            });
            let until = now + rest;
            self.tried.insert(*socket, Tried { rest, until });
        }
        while self.tried.len() > limits::KNOCKS_REMEMBERED_MAX {
            let first = self.tried.iter().min_by_key(|(_, tried)| tried.until);
            let Some(first) = first.map(|(socket, _)| *socket) else {
                break;
            };
            self.tried.remove(&first);
        }
    }

    /// Nothing could be sent there: the fault is ours, and it does not rest.
    pub(crate) fn unsent(&mut self, socket: &SocketAddr) {
        self.tried.remove(socket);
    }

    /// A node proved itself at an address.
    pub(crate) fn answered(&mut self, node: &VerifyingKey, socket: &SocketAddr) {
        self.tried.remove(socket);
        self.resting.remove(node);
        self.silent.remove(node);
    }

    /// A dial to addresses that have answered before came to nothing.
    pub(crate) fn unanswered(&mut self, node: VerifyingKey) {
        self.silent.insert(node);
    }

    /// Something answered at an address that was asked, but it is not that node.
    pub(crate) fn is_another(&mut self, node: VerifyingKey, by: Debtor, now: Time) {
        self.spend(ADDRESS_BYTES, by, now);
        self.resting.insert(node, now + limits::WRONG_NODE_REST);
    }

    /// Forgets a node that is not in the book any more.
    pub(crate) fn forget(&mut self, node: &VerifyingKey) {
        self.silent.remove(node);
        self.resting.remove(node);
    }

    /// The network is another one, or is back: what did not answer may do so now. What was spent
    /// stays spent.
    pub(crate) fn start_anew(&mut self) {
        self.tried.clear();
    }

    fn spend(&mut self, bytes: usize, by: Debtor, now: Time) {
        self.spent.retain(|spent| now < spent.at + MINUTE);
        if bytes == 0 {
            return;
        }
        self.spent.push_back(Spent { at: now, by, bytes });
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn debtor(byte: u8, trusted: bool) -> Debtor {
        let node = SigningKey::from_bytes(&[byte; 32]).verifying_key();
        Debtor { node, trusted }
    }

    fn sockets(host: u8, count: usize) -> Vec<SocketAddr> {
        let ports = 1..=count as u16;
        ports
            .map(|port| SocketAddr::from(([8, 8, 8, host], port)))
            .collect()
    }

    /// Asks as much as is allowed by these tellers at a moment, and answers how many bytes.
    fn ask_all(dialing: &mut Dialing, tellers: &[Debtor], now: Time) -> usize {
        let mut bytes = 0;
        for (host, teller) in (0..).zip(tellers) {
            let left = dialing.left(teller, now);
            dialing.ask(&sockets(host, left), *teller, now);
            bytes += left * ADDRESS_BYTES;
        }
        bytes
    }

    #[test]
    fn tellers_cannot_exceed_their_share_in_any_minute() {
        let one = [debtor(1, true)];
        let strangers: Vec<_> = (0..200).map(|byte| debtor(byte, false)).collect();
        let everyone: Vec<_> = (0..200).map(|byte| debtor(byte, byte % 2 == 0)).collect();
        for (tellers, max) in [
            (&one[..], limits::KNOCK_BYTES_PER_TELLER_MAX),
            (&strangers, limits::KNOCK_BYTES_OF_STRANGERS_MAX),
            (&everyone, limits::KNOCK_BYTES_PER_MINUTE_MAX),
        ] {
            let mut dialing = Dialing::default();
            let mut log = Vec::new();
            for second in 0..300 {
                let now = Time::ZERO.after(second * 1_000);
                log.push(ask_all(&mut dialing, tellers, now));
            }
            for minute in log.windows(60) {
                assert!(minute.iter().sum::<usize>() <= max);
            }
            // It continues: the bound is not an end.
            assert!(log.iter().sum::<usize>() > 4 * (max - 2 * ADDRESS_BYTES));
        }
    }

    #[test]
    fn made_up_tellers_leave_room_for_those_we_trust() {
        let mut dialing = Dialing::default();
        let strangers: Vec<_> = (0..100).map(|byte| debtor(byte, false)).collect();
        ask_all(&mut dialing, &strangers, Time::ZERO);
        assert_eq!(dialing.left(&debtor(200, false), Time::ZERO), 0);
        assert_eq!(dialing.left(&debtor(201, true), Time::ZERO), 8);
    }

    #[test]
    fn a_silent_address_rests_twice_as_long_each_time() {
        let mut dialing = Dialing::default();
        let socket = sockets(1, 1);
        let mut now = Time::ZERO;
        let mut rests = Vec::new();
        for _ in 0..12 {
            dialing.ask(&socket, debtor(1, true), now);
            let from = now;
            while socket.iter().any(|socket| !dialing.is_rested(socket, now)) {
                now = now.after(1_000);
            }
            rests.push(now.ms_since(from) / 60_000);
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240, 240]);
        let node = debtor(2, false).node;
        for socket in &socket {
            dialing.answered(&node, socket);
            assert!(dialing.is_rested(socket, now));
        }
    }

    #[test]
    fn the_memory_of_what_did_not_answer_is_bounded() {
        let mut dialing = Dialing::default();
        for host in 0..=u8::MAX {
            dialing.ask(&sockets(host, 80), debtor(1, true), Time::ZERO);
        }
        assert_eq!(dialing.tried.len(), limits::KNOCKS_REMEMBERED_MAX);
    }
}
