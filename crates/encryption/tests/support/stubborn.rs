//! Message groups whose members can refuse to leave, and copies of whole people.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::BTreeSet;

use p2panda_encryption::message::{Config, Group, Membership, MembershipError, Views};
use p2panda_encryption::{
    DecodeError, Member, OperationId, OwnKeys, Reader, Registry, Wire, Writer,
};

use super::world::{Person, Store};

/// Membership from the control messages, unless its owner refuses to leave.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Stubborn {
    views: Views,
    pub stays: Option<Member>,
}

impl Membership for Stubborn {
    fn create(&mut self, members: &[Member]) -> Result<(), MembershipError> {
        self.views.create(members)
    }

    fn welcome(&mut self, history: &[u8]) -> Result<(), MembershipError> {
        self.views.welcome(history)
    }

    fn add(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        self.views.add(adder, added, operation)
    }

    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        self.views.remove(remover, removed, operation)
    }

    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError> {
        self.views.ack(acker, operation)
    }

    fn added_by(&self, operation: &OperationId) -> Option<Member> {
        self.views.added_by(operation)
    }

    fn removed_by(&self, operation: &OperationId) -> Option<Member> {
        self.views.removed_by(operation)
    }

    fn members(&self) -> BTreeSet<Member> {
        self.views.members().into_iter().chain(self.stays).collect()
    }

    fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        self.views.view(viewer)
    }

    fn acquainted(&self, viewer: &Member) -> BTreeSet<Member> {
        self.views.acquainted(viewer)
    }

    fn history(&self) -> Vec<u8> {
        self.views.history()
    }
}

impl Wire for Stubborn {
    fn write(&self, w: &mut Writer) {
        self.views.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Stubborn, DecodeError> {
        let (views, stays) = (Views::read(r)?, None);
        Ok(Stubborn { views, stays })
    }
}

/// One person, with the messages on their way to it.
pub struct Actor {
    pub person: Person,
    pub group: Group<Stubborn>,
    pub inbox: Vec<usize>,
    pub processed: BTreeSet<OperationId>,
    pub opened: BTreeSet<OperationId>,
    /// Stored state of the group.
    stored: Store,
}

impl Actor {
    pub fn new(person: Person) -> Actor {
        Actor {
            group: Group::new(person.id, Stubborn::default(), Config::default()),
            person,
            inbox: Vec::new(),
            processed: BTreeSet::new(),
            opened: BTreeSet::new(),
            stored: Store::default(),
        }
    }

    /// Stores what has changed, after which what is stored is the state.
    pub fn store(&mut self) {
        self.stored.write(self.group.changes());
        let loaded = Group::load(Stubborn::default(), self.stored.rows()).unwrap();
        assert_eq!(loaded.encode(), self.group.encode());
    }

    /// The same person with the same secrets, as they are stored.
    pub fn copy(&self) -> Actor {
        let person = Person {
            id: self.person.id,
            keys: OwnKeys::decode(&self.person.keys.encode()).unwrap(),
            registry: Registry::decode(&self.person.registry.encode()).unwrap(),
        };
        let stored = self.group.encode();
        let group = Group::<Stubborn>::decode(&stored).unwrap();
        assert_eq!(group.encode(), stored);
        Actor {
            person,
            group,
            inbox: self.inbox.clone(),
            processed: self.processed.clone(),
            opened: BTreeSet::new(),
            stored: Store::default(),
        }
    }
}
