//! Members of one encrypted group, each of either side, and the network between them.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_encryption::{Member, OperationId};

use crate::{Body, Frame};

/// Which implementation a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This project's.
    Ours,
    /// Release 0.7.1.
    Published,
}

/// Why a member did not do what was asked, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// What became of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Plaintexts that were opened.
    pub texts: Vec<Vec<u8>>,
    /// Messages to send in return.
    pub answers: Vec<Frame>,
    /// Whether we are out.
    pub removed: bool,
    /// Messages without effect.
    pub failed: Vec<(OperationId, Refused)>,
}

/// One member of a group.
pub trait Party {
    /// Its id.
    fn id(&self) -> Member;
    /// Makes the group with these and itself.
    fn create(&mut self, members: &[Member]) -> Result<Frame, Refused>;
    /// Invites.
    fn add(&mut self, added: Member) -> Result<Frame, Refused>;
    /// Removes.
    fn remove(&mut self, removed: Member) -> Result<Frame, Refused>;
    /// Renews the secrets.
    fn update(&mut self) -> Result<Frame, Refused>;
    /// Sends a text.
    fn send(&mut self, text: &[u8]) -> Result<Frame, Refused>;
    /// Takes a message of another member.
    fn receive(&mut self, frame: &Frame) -> Received;
    /// Who is in the group.
    fn members(&self) -> BTreeSet<Member>;
    /// Whether it needs a new secret before it can send, as far as it says so.
    fn needs_update(&self) -> bool;
}

/// Some members and all messages between them.
pub struct World {
    /// The members, also those outside the group.
    pub parties: Vec<Box<dyn Party>>,
    log: Vec<Frame>,
    /// How many messages of the log each party has received.
    cursors: Vec<usize>,
    /// The texts that each party has opened.
    opened: Vec<Vec<Vec<u8>>>,
    sent: BTreeMap<Vec<u8>, (Member, BTreeSet<Member>)>,
    out: BTreeSet<Member>,
    /// Whether those outside receive application messages too, which a late joiner may open.
    pub with_history: bool,
    /// Messages that somebody could not use: the receiver, the message and why.
    pub failed: Vec<(usize, OperationId, Refused)>,
}

impl World {
    /// Nobody has said anything yet.
    pub fn new(parties: Vec<Box<dyn Party>>) -> World {
        World {
            cursors: vec![0; parties.len()],
            opened: vec![Vec::new(); parties.len()],
            parties,
            log: Vec::new(),
            sent: BTreeMap::new(),
            out: BTreeSet::new(),
            with_history: false,
            failed: Vec::new(),
        }
    }

    /// The ids of these parties.
    pub fn ids(&self, who: std::ops::Range<usize>) -> Vec<Member> {
        let parties = self.parties.get(who).unwrap_or_default();
        parties.iter().map(|party| party.id()).collect()
    }

    /// Publishes what a party makes.
    pub fn publish(
        &mut self,
        who: usize,
        make: impl FnOnce(&mut dyn Party) -> Result<Frame, Refused>,
    ) -> Result<OperationId, Refused> {
        let party = self.parties.get_mut(who).expect("a party of this world");
        let frame = make(party.as_mut())?;
        let id = frame.id;
        self.log.push(frame);
        Ok(id)
    }

    /// Publishes a text that all members of the moment should read.
    pub fn send(&mut self, who: usize, text: &[u8]) -> Result<(), Refused> {
        self.publish(who, |party| party.send(text))?;
        let party = self.parties.get(who).expect("a party of this world");
        let mut readers = party.members();
        readers.remove(&party.id());
        self.sent.insert(text.to_vec(), (party.id(), readers));
        Ok(())
    }

    /// Delivers at most that many messages to a party; says whether one was left.
    pub fn deliver(&mut self, who: usize, count: usize) -> bool {
        for _ in 0..count {
            let place = self.cursors.get_mut(who).expect("a party of this world");
            let Some(frame) = self.log.get(*place).cloned() else {
                return false;
            };
            *place += 1;
            let party = self.parties.get_mut(who).expect("a party of this world");
            if frame.sender == party.id() || self.out.contains(&party.id()) {
                continue;
            }
            let is_control = matches!(frame.body, Body::Control { .. });
            if !is_control && !self.with_history && !party.members().contains(&party.id()) {
                continue;
            }
            let received = party.receive(&frame);
            if received.removed {
                self.out.insert(party.id());
            }
            self.log.extend(received.answers);
            let failed = received.failed.into_iter();
            self.failed.extend(failed.map(|(id, why)| (who, id, why)));
            let opened = self.opened.get_mut(who).expect("a party of this world");
            opened.extend(received.texts);
        }
        true
    }

    /// Delivers everything, also the answers, until nothing is left.
    pub fn settle(&mut self) {
        while (0..self.parties.len()).any(|who| self.deliver(who, 1)) {}
    }

    /// Forgets the texts sent so far after asserting that all readers opened them, and nobody
    /// else did.
    pub fn check_texts(&mut self) {
        for (text, (sender, readers)) in std::mem::take(&mut self.sent) {
            for (who, (party, opened)) in self.parties.iter().zip(&self.opened).enumerate() {
                let id = party.id();
                let times = opened.iter().filter(|other| **other == text).count();
                assert_eq!(
                    times,
                    usize::from(readers.contains(&id)),
                    "{who} reading {} of {sender}; failures: {:?}",
                    String::from_utf8_lossy(&text),
                    self.failed
                );
            }
        }
    }

    /// The parties that every member counts as a member; asserts that all agree.
    pub fn members(&self) -> Vec<usize> {
        let inside: Vec<_> = (0..self.parties.len())
            .filter(|who| {
                let party = self.parties.get(*who).expect("a party of this world");
                party.members().contains(&party.id()) && !self.out.contains(&party.id())
            })
            .collect();
        let ids: BTreeSet<_> = inside
            .iter()
            .flat_map(|who| self.ids(*who..*who + 1))
            .collect();
        for who in &inside {
            let party = self.parties.get(*who).expect("a party of this world");
            let seen = party.members();
            assert_eq!(seen, ids, "as {who} sees them; failures: {:?}", self.failed);
        }
        inside
    }

    /// How many texts a party has opened.
    pub fn opened(&self, who: usize) -> usize {
        self.opened.get(who).map_or(0, Vec::len)
    }

    /// Whether this party was ever removed.
    pub fn is_out(&self, who: usize) -> bool {
        let party = self.parties.get(who).expect("a party of this world");
        self.out.contains(&party.id())
    }
}
