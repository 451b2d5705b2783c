//! Somebody who copied a member's whole state once and then reads all traffic.
//!
//! The knowledge of the thief is tracked apart from the code under test, from nothing but who was
//! sent what: a seed, if its author's channel to the victim has not healed; a chain that began
//! with one that it knows, or that was handed to the victim, until the chain takes a seed in that
//! it does not know. A first message begins a channel with a pre-key that was stolen, so that it
//! has to heal again.

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use p2panda_encryption::message::{Control, Event, Outgoing, Payload};
use p2panda_encryption::two_party::KeyUsed;
use p2panda_encryption::{Change, Content, DirectMessage, Member, Message, OperationId};

use super::stubborn::Actor;
use super::world::operation;

pub struct Theft {
    pub copy: Actor,
    /// Messages that the thief must not read.
    pub safe: BTreeSet<OperationId>,
    /// Number of messages it has read.
    pub read: usize,
    /// Members that have opened a direct message that the victim sent after the theft.
    healed: BTreeSet<Member>,
    /// The last first message of each member to the victim.
    begun: BTreeMap<Member, OperationId>,
    /// Messages that the victim sent after the theft: to whom directly, on the channel that began
    /// with which first message.
    fresh: BTreeMap<OperationId, BTreeMap<Member, Option<OperationId>>>,
    /// Operations whose seed the thief does not know.
    seeds: BTreeSet<OperationId>,
    /// By add: `true` if the chain that a new member was given is out of reach.
    starts: BTreeMap<OperationId, bool>,
    /// Members whose chains are out of reach.
    chains: BTreeSet<Member>,
}

impl Theft {
    pub fn new(copy: Actor, messages: &[Message<Payload>]) -> Theft {
        let mut theft = Theft {
            begun: BTreeMap::new(),
            copy,
            safe: BTreeSet::new(),
            read: 0,
            healed: BTreeSet::new(),
            fresh: BTreeMap::new(),
            seeds: BTreeSet::new(),
            starts: BTreeMap::new(),
            chains: BTreeSet::new(),
        };
        for message in messages {
            if let Payload::Control { directs, .. } = &message.payload {
                theft.begins(message.sender, message.id, directs);
            }
        }
        theft
    }

    pub fn victim(&self) -> Member {
        self.copy.person.id
    }

    /// Returns `true` if all these members are out of reach.
    pub fn is_over(&self, members: &BTreeSet<Member>) -> bool {
        members.is_subset(&self.chains)
    }

    /// The copy does not leave when the victim does.
    pub fn settle_in(&mut self) {
        self.copy.group.members_mut().stays = Some(self.victim());
    }

    pub fn sent(&mut self, sender: Member, id: OperationId) {
        if self.chains.contains(&sender) {
            self.safe.insert(id);
        }
    }

    pub fn committed(
        &mut self,
        (author, processed): (Member, &BTreeSet<OperationId>),
        id: OperationId,
        control: &Control,
        directs: &[DirectMessage],
    ) {
        let reaches_thief = self.reaches(author, directs);
        self.answered((author, processed), id, directs);
        match control {
            Control::Change(Change::Add { .. }) => {
                if reaches_thief {
                    self.chains.remove(&author);
                }
                self.starts.insert(id, self.chains.contains(&author));
            }
            _ if !reaches_thief => {
                self.seeds.insert(id);
                self.chains.insert(author);
            }
            _ => {}
        }
    }

    /// An answer, or any other message, of the victim heals channels, if the victim has processed
    /// the first message with which they began last.
    pub fn answered(
        &mut self,
        (author, processed): (Member, &BTreeSet<OperationId>),
        id: OperationId,
        directs: &[DirectMessage],
    ) {
        if author != self.victim() {
            return self.begins(author, id, directs);
        }
        let mut recipients = BTreeMap::new();
        for direct in directs {
            let first = self.begun.get(&direct.recipient).copied();
            if first.is_none_or(|first| processed.contains(&first)) {
                recipients.insert(direct.recipient, first);
            }
        }
        self.fresh.insert(id, recipients);
    }

    fn begins(&mut self, author: Member, id: OperationId, directs: &[DirectMessage]) {
        if directs.iter().any(|direct| self.is_first(direct)) {
            self.begun.insert(author, id);
            self.healed.remove(&author);
        }
    }

    /// Returns `true` if a direct message begins a channel with a pre-key of the victim.
    fn is_first(&self, direct: &DirectMessage) -> bool {
        let message = match &direct.content {
            Content::Welcome { ciphertext, .. }
            | Content::TwoParty { ciphertext }
            | Content::Forward { ciphertext } => ciphertext,
            other => panic!("{other:?}"),
        };
        direct.recipient == self.victim() && message.key_used == KeyUsed::PreKey
    }

    /// A member has processed a control message and is about to answer.
    pub fn processed(&mut self, me: Member, message: &Message<Payload>, answer: Option<&Outgoing>) {
        let Payload::Control { control, directs } = &message.payload else {
            return;
        };
        let handed_on = match answer.map(|answer| &answer.payload) {
            Some(Payload::Control { directs, .. }) => self.reaches(me, directs),
            _ => false,
        };
        let fresh = self.fresh.get(&message.id).and_then(|sent| sent.get(&me));
        if fresh.is_some_and(|first| *first == self.begun.get(&me).copied()) {
            self.healed.insert(me);
        }
        let was_sent = directs.iter().any(|direct| direct.recipient == me);
        match control {
            Control::Change(Change::Add { added }) if *added == me => {
                match self.starts.get(&message.id) {
                    Some(true) if !handed_on => self.chains.insert(me),
                    _ => self.chains.remove(&me),
                };
            }
            // The answer to any other add hands our chain on as it is.
            Control::Change(Change::Add { .. }) if handed_on => {
                self.chains.remove(&me);
            }
            Control::Change(Change::Create { .. } | Change::Update | Change::Remove { .. })
                if was_sent && !handed_on && self.seeds.contains(&message.id) =>
            {
                self.chains.insert(me);
            }
            _ => {}
        }
    }

    /// Returns `true` if the copy opens a message once more, under another name.
    pub fn reads_again(
        &self,
        message: &Message<Payload>,
        again: OperationId,
        now: u64,
        rng: &mut ChaCha20Rng,
    ) -> bool {
        let mut copy = self.copy.copy();
        copy.inbox.clear();
        let message = Message {
            id: again,
            ..message.clone()
        };
        if copy.group.receive(message).is_err() {
            return false;
        }
        let mut context = copy.person.context(now);
        let event = copy.group.poll(&mut context, rng);
        matches!(event, Some(Event::Application { operation, .. }) if operation == again)
    }

    /// Takes everything in that came since, and gives what it could read.
    pub fn read(
        &mut self,
        messages: &[Message<Payload>],
        now: u64,
        rng: &mut ChaCha20Rng,
    ) -> BTreeSet<OperationId> {
        let mut read = BTreeSet::new();
        let (victim, group) = (self.victim(), &mut self.copy.group);
        for index in std::mem::take(&mut self.copy.inbox) {
            let message = messages[index].clone();
            if message.sender == victim {
                group.give_up(message.id);
            } else {
                let _ = group.receive(message);
            }
            let mut context = self.copy.person.context(now);
            while let Some(event) = group.poll(&mut context, rng) {
                match event {
                    Event::Changed {
                        answer: Some(_), ..
                    }
                    | Event::Joined {
                        answer: Some(_), ..
                    } => group.published(operation(rng)),
                    Event::Application { operation, .. } => {
                        read.insert(operation);
                    }
                    _ => {}
                }
            }
        }
        read
    }

    fn reaches(&self, author: Member, directs: &[DirectMessage]) -> bool {
        let victim = self.victim();
        let mut sent = directs.iter().filter(|direct| direct.recipient == victim);
        let healed = self.healed.contains(&author);
        author != victim && sent.any(|direct| !healed || self.is_first(direct))
    }
}
