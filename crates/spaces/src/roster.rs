//! The members of a space as encryption asks for them; groups decide who they are.

use p2panda_core::ordered::BTreeSet;

use p2panda_encryption::data::{HistoryError, Members, Membership};
use p2panda_encryption::{DecodeError, Member, OperationId, Reader, Wire, Writer};

/// Members that are given secrets. Changes that encryption is told have no effect on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster(BTreeSet<Member>);

impl Roster {
    pub(crate) fn set(&mut self, members: BTreeSet<Member>) {
        self.0 = members;
    }

    /// The same in the form of welcomes.
    fn listed(&self) -> Members {
        let mut members = Members::default();
        members.create(&self.0.iter().copied().collect::<Vec<_>>());
        members
    }
}

impl Membership for Roster {
    fn create(&mut self, _: &[Member]) {}

    fn add(&mut self, _: Member, _: Member, _: OperationId) {}

    fn remove(&mut self, _: Member, _: Member, _: OperationId) {}

    fn welcome(&mut self, history: &[u8]) -> Result<BTreeSet<Member>, HistoryError> {
        let members = Members::decode(history).map_err(|_| HistoryError)?;
        Ok(members.members())
    }

    fn history(&self) -> Vec<u8> {
        self.listed().history()
    }

    fn members(&self) -> BTreeSet<Member> {
        self.0.clone()
    }
}

impl Wire for Roster {
    fn write(&self, w: &mut Writer) {
        self.listed().write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Roster, DecodeError> {
        Members::read(r).map(|members| Roster(members.members()))
    }
}
