//! The addresses to dial or to probe first (docs/protocol/network.md#5).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use p2panda_core::{Timestamp, VerifyingKey};

use super::{Book, Node, Teller};
use crate::dialing::Debtor;
use crate::reach::Ground;
use crate::record::Address;
use crate::time::Time;

/// Plan for dialling a node now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Not at all: it has failed lately, nothing is known, or others had their turn first.
    Rest,
    /// At these addresses.
    Dial(Vec<Address>),
    /// Ask these addresses for a sign of life, and dial the first one that answers next to those
    /// that are known. What was asked is on its teller's account.
    Knock {
        /// Addresses to dial in any case.
        known: Vec<Address>,
        /// Hearsay.
        ask: Vec<SocketAddr>,
    },
}

impl Book {
    /// Says on which networks we are, and which relays are allowed.
    ///
    /// On other networks than before, what did not answer there may do so here.
    pub fn set_ground(&mut self, ground: Ground) {
        if self.dialing.ground.nets != ground.nets {
            self.dialing.start_anew();
        }
        self.dialing.ground = ground;
    }

    /// The network is back, or the machine slept: what did not answer may do so now.
    pub fn start_anew(&mut self) {
        self.dialing.start_anew();
    }

    /// Returns the addresses to dial a node without asking first: nothing if it has failed lately
    /// or nothing of it is more than hearsay.
    pub fn known(&self, node: &VerifyingKey, wall: Timestamp, now: Time) -> BTreeSet<Address> {
        let entry = self.dialable(node, wall, now);
        entry.map_or_else(BTreeSet::new, |entry| self.known_of(node, entry))
    }

    /// The same, also if it has failed lately: for who needs this very node.
    pub fn known_at_any_time(&self, node: &VerifyingKey, now: Time) -> BTreeSet<Address> {
        let entry = self.nodes.get(node);
        let free = entry.filter(|_| self.dialing.is_free(node, now));
        free.map_or_else(BTreeSet::new, |entry| self.known_of(node, entry))
    }

    /// Returns `true` if [`Book::plan`] would not answer [`Plan::Rest`].
    pub fn may_dial(&self, node: &VerifyingKey, wall: Timestamp, now: Time) -> bool {
        let Some(entry) = self.dialable(node, wall, now) else {
            return false;
        };
        let known = self.known_of(node, entry);
        !known.is_empty() || self.to_ask(entry, &known, now).is_some()
    }

    /// Plans how to dial a node now. Addresses to ask count as asked.
    pub fn plan(&mut self, node: &VerifyingKey, wall: Timestamp, now: Time) -> Plan {
        let Some(entry) = self.dialable(node, wall, now) else {
            return Plan::Rest;
        };
        let known = self.known_of(node, entry);
        let asks = known.is_empty() || self.dialing.is_silent(node);
        let ask = asks.then(|| self.to_ask(entry, &known, now)).flatten();
        let known: Vec<_> = known.into_iter().collect();
        match ask {
            Some((debtor, ask)) => {
                self.dialing.ask(&ask, debtor, now);
                Plan::Knock { known, ask }
            }
            None if known.is_empty() => Plan::Rest,
            None => Plan::Dial(known),
        }
    }

    /// Not even one datagram could be sent to an address that was to be asked.
    pub fn unsent(&mut self, socket: &SocketAddr) {
        self.dialing.unsent(socket);
    }

    /// A node proved itself over a connection from or to this address. Returns whether that is
    /// news: it may be dialled there from now on.
    pub fn answered(&mut self, node: &VerifyingKey, socket: SocketAddr) -> bool {
        let socket = SocketAddr::new(socket.ip().to_canonical(), socket.port());
        self.dialing.answered(node, &socket);
        let named = |entry: &Node| {
            let mut signed = entry.record.iter().flat_map(|record| record.addresses());
            signed.any(|address| *address == Address::Ip(socket))
        };
        let news = |entry: &&Node| named(entry) && !entry.answered.contains(&socket);
        let is_news = self.nodes.get(node).as_ref().is_some_and(news);
        if is_news {
            self.change(node, |entry| {
                entry.answered.insert(socket);
            });
        }
        is_news
    }

    /// A dial of ours came to nothing. `asked` had answered before it, if anything was asked: it is
    /// another node then.
    pub fn unanswered(&mut self, node: VerifyingKey, asked: Option<SocketAddr>, now: Time) {
        let Some(entry) = self.nodes.get(&node) else {
            return;
        };
        let debtor = entry.tellers.first().map(|teller| self.debtor(teller));
        self.dialing.unanswered(node);
        if let (Some(_), Some(debtor)) = (asked, debtor) {
            self.dialing.is_another(node, debtor, now);
        }
    }

    pub(super) fn is_trusted(&self, node: &VerifyingKey) -> bool {
        *node == self.local || self.nodes.get(node).is_some_and(Node::is_trusted)
    }

    fn known_of(&self, node: &VerifyingKey, entry: &Node) -> BTreeSet<Address> {
        entry.known(&self.dialing.ground, self.dialing.is_silent(node))
    }

    fn dialable(&self, node: &VerifyingKey, wall: Timestamp, now: Time) -> Option<&Node> {
        let entry = self.nodes.get(node)?;
        (!entry.is_stale(wall) && self.dialing.is_free(node, now)).then_some(entry)
    }

    fn debtor(&self, teller: &Teller) -> Debtor {
        Debtor {
            node: teller.node,
            trusted: self.is_trusted(&teller.node),
        }
    }

    /// The hearsay of a node that may be asked now, and on whose account.
    fn to_ask(
        &self,
        entry: &Node,
        known: &BTreeSet<Address>,
        now: Time,
    ) -> Option<(Debtor, Vec<SocketAddr>)> {
        let debtors = entry.tellers.iter().map(|teller| {
            let debtor = self.debtor(teller);
            (self.dialing.left(&debtor, now), debtor)
        });
        let (left, debtor) = debtors.max_by_key(|(left, _)| *left)?;
        if left == 0 {
            return None;
        }
        let ground = &self.dialing.ground;
        let own = |socket: &SocketAddr| {
            let mut own = self.own.iter().flat_map(|own| own.addresses());
            own.any(|address| *address == Address::Ip(*socket))
        };
        let permitted = |socket: &SocketAddr| {
            let told = |teller: &Teller| ground.permits(*socket, teller.from);
            entry.tellers.iter().any(told) && !own(socket)
        };
        let mut ask = entry.sockets(permitted, ground);
        ask.retain(|socket| {
            !known.contains(&Address::Ip(*socket)) && self.dialing.is_rested(socket, now)
        });
        ask.truncate(left);
        (!ask.is_empty()).then_some((debtor, ask))
    }
}
