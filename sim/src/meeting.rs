//! Ways in which nodes learn of each other: the address book and the discovery sessions of a real
//! node.
//!
//! A session takes no simulated time, and only the tests decide who dials whom.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use p2panda_core::{SigningKey, Timestamp};
use p2panda_engine::Command;
use p2panda_protocol::book::{Book, Handover, Teller};
use p2panda_protocol::discovery::{Discovery, Input, Local, Outcome, Output};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{Address, TransportInfo};

use crate::node::{NodeId, SimNode};
use crate::simulation::Sim;

/// Knowledge of a running node about others, and the record that it publishes about itself.
pub(crate) struct Contacts {
    book: Book,
    own: TransportInfo,
}

/// Where a node is. It stays there over restarts.
fn address(node: NodeId) -> Address {
    let [.., high, low] = node.0.to_be_bytes();
    Address::ip(SocketAddr::from(([20, 0, high, low], 4433)))
}

impl Contacts {
    /// Reads the book that was stored and signs the own record, as a start does.
    pub(crate) fn open(state: &SimNode, key: &SigningKey, at: NodeId, wall: Timestamp) -> Contacts {
        let mut book = Book::new(key.verifying_key());
        let mut last = None;
        loop {
            let page = state.reader().addresses(last.as_ref());
            let page = page.expect("the database can be read");
            let Some((node, _)) = page.last() else { break };
            last = Some(*node);
            for (node, stored) in page {
                book.restore(node, stored).expect("a row that we stored");
            }
        }
        let own = book.sign_own(key, BTreeSet::from([address(at)]), wall);
        let own = own.expect("one address can be signed");
        Contacts { book, own }
    }

    /// Returns what there is to store since the last call.
    fn take_changed(&mut self) -> Vec<Command> {
        let changed = self.book.take_changed().into_iter();
        let commands = changed.map(|(node, stored)| match stored {
            Some(record) => Command::PutAddress {
                node,
                record,
                reply: None,
            },
            None => Command::RemoveAddress { node, reply: None },
        });
        commands.collect()
    }
}

impl Sim {
    /// The user of `node` tells it where `other` is.
    pub fn introduce(&mut self, node: NodeId, other: NodeId) {
        let (key, wall) = (self.key(other), self.wall().wall);
        let contacts = self.at_mut(node).contacts_mut();
        contacts.book.add_bootstrap(key, [address(other)], wall);
        self.store_contacts(node);
    }

    /// Returns `true` if the address book of `node` says where `other` is.
    pub fn knows(&self, node: NodeId, other: NodeId) -> bool {
        let entry = self.at(node).contacts().book.get(&self.key(other));
        entry.is_some_and(|entry| entry.addresses().any(|known| *known == address(other)))
    }

    /// `node` dials `peer` for a discovery session. Anyone who then knows of a common topic becomes
    /// a neighbour in it. Returns whether the session succeeded.
    pub fn discover(&mut self, node: NodeId, peer: NodeId) -> bool {
        let reached = self.knows(node, peer) && self.at(peer).is_up();
        let outcomes = reached.then(|| self.discovery_session([node, peer]));
        let Some([Some(of_node), Some(of_peer)]) = outcomes else {
            let (key, wall) = (self.key(peer), self.wall().wall);
            self.at_mut(node).contacts_mut().book.failed(key, wall);
            return false;
        };
        self.book_session(node, peer, of_node);
        self.book_session(peer, node, of_peer);
        true
    }

    /// The two machines, each fed with what the other sends.
    fn discovery_session(&mut self, ends: [NodeId; 2]) -> [Option<Outcome>; 2] {
        let (now, wall) = (self.now(), self.wall().wall);
        let [alice, bob] = ends.map(|end| (self.local(end), self.draws()));
        let mut machines = [
            Discovery::alice(alice.0, alice.1, now),
            Discovery::bob(bob.0, bob.1, now),
        ];
        let mut outcomes = [None, None];
        let mut inputs = VecDeque::from([(0, Input::Tick)]);
        while let Some((end, input)) = inputs.pop_front() {
            let (Some(machine), Some(outcome)) = (machines.get_mut(end), outcomes.get_mut(end))
            else {
                break;
            };
            machine.handle(input, now);
            while let Some(output) = machine.poll() {
                match output {
                    Output::Send(bytes) => inputs.push_back((1 - end, Input::Bytes(bytes))),
                    Output::Nodes(common) => {
                        let [own, other] = if end == 0 { ends } else { [ends[1], ends[0]] };
                        let (peer, mut draws) = (self.key(other), self.draws());
                        let book = &self.at(own).contacts().book;
                        let records = book.share(&peer, &common, &mut draws, wall);
                        inputs.push_back((end, Input::Nodes(records)));
                    }
                    Output::Finished(finished) => *outcome = Some(finished),
                    Output::Close(code) => {
                        inputs.push_back((1 - end, Input::Closed(code.code().into())));
                    }
                    Output::Failed(_) | Output::Wake(_) => {}
                }
            }
        }
        outcomes
    }

    /// Takes over what a session brought, and joins anyone who shares a topic.
    fn book_session(&mut self, node: NodeId, peer: NodeId, outcome: Outcome) {
        let (key, wall, now) = (self.key(peer), self.wall().wall, self.now());
        let teller = Teller {
            node: key,
            from: address(peer).socket().map(|socket| socket.ip()),
        };
        let state = self.at_mut(node);
        let book = &mut state.contacts_mut().book;
        let handover = Handover { teller, began: now };
        book.apply(outcome.records, handover, wall, now);
        book.succeeded(key, wall, now);
        book.set_overlays(key, outcome.common, wall);
        self.store_contacts(node);
        for topic in self.at(node).topics.clone() {
            let (book, overlay) = (&self.at(node).contacts().book, Overlay::of_sync(&topic));
            let interested = book.interested(&overlay, wall);
            for other in interested.map(|key| self.node_of(key)).collect::<Vec<_>>() {
                if self.knows(node, other) {
                    self.connect(node, other, topic);
                }
            }
        }
    }

    /// Stores what changed in the address book of a node.
    pub(crate) fn store_contacts(&mut self, node: NodeId) {
        let state = self.at_mut(node);
        let changed = state.contacts_mut().take_changed();
        if !changed.is_empty() {
            for command in changed {
                state.queue.push(command);
            }
            self.run_engine(node);
        }
    }

    fn local(&self, node: NodeId) -> Local {
        let state = self.at(node);
        Local {
            node: self.key(node),
            record: state.contacts().own.clone(),
            overlays: state.topics.iter().map(Overlay::of_sync).collect(),
        }
    }

    fn draws(&mut self) -> Draws {
        Draws::from_seed(self.random_bytes())
    }
}
