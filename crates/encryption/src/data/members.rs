//! Membership, as the data scheme asks for it.

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::GROUP_MEMBERS_MAX;
use thiserror::Error;

use crate::wire::{DecodeError, Reader, Wire, Writer, field, list, write_list};
use crate::{Member, OperationId};

/// The membership in a welcome cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the membership in the welcome does not decode")]
pub struct HistoryError;

/// Decides who is a member. The schemes never do: they tell what happened and ask who is left.
pub trait Membership: Clone + Wire {
    /// The group begins with these members.
    fn create(&mut self, members: &[Member]);
    /// Somebody adds a member.
    fn add(&mut self, adder: Member, added: Member, operation: OperationId);
    /// Somebody adds, or hands a secret to, a member that somebody else removed at the same time;
    /// `is_member` tells whether it is one nevertheless.
    fn add_beside_removal(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
        is_member: bool,
    ) {
        let _ = is_member;
        self.add(adder, added, operation);
    }
    /// Somebody removes a member.
    fn remove(&mut self, remover: Member, removed: Member, operation: OperationId);
    /// We join with the membership that the adder saw before the add. Gives the members it names.
    fn welcome(&mut self, history: &[u8]) -> Result<BTreeSet<Member>, HistoryError>;
    /// The membership to send in a welcome: one CBOR item.
    fn history(&self) -> Vec<u8>;
    /// The members now.
    fn members(&self) -> BTreeSet<Member>;
}

/// A plain set that believes every control message, in the form that welcomes carry. Above
/// [`GROUP_MEMBERS_MAX`] nobody is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(BTreeSet<Member>);

impl Membership for Members {
    fn create(&mut self, members: &[Member]) {
        self.0 = members.iter().copied().collect();
    }

    fn add(&mut self, _: Member, added: Member, _: OperationId) {
        if self.0.len() < GROUP_MEMBERS_MAX {
            self.0.insert(added);
        }
    }

    fn add_beside_removal(&mut self, _: Member, added: Member, _: OperationId, is_member: bool) {
        // The removal wins, in any order of arrival.
        if !is_member {
            self.0.remove(&added);
        }
    }

    fn remove(&mut self, _: Member, removed: Member, _: OperationId) {
        self.0.remove(&removed);
    }

    fn welcome(&mut self, history: &[u8]) -> Result<BTreeSet<Member>, HistoryError> {
        *self = Members::decode(history).map_err(|_| HistoryError)?;
        Ok(self.0.clone())
    }

    fn history(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn members(&self) -> BTreeSet<Member> {
        self.0.clone()
    }
}

impl Wire for Members {
    fn write(&self, w: &mut Writer) {
        w.map(1).text("members");
        write_list(&self.0, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Members, DecodeError> {
        let members: Vec<Member> = field(r, "members", |r| list(r, GROUP_MEMBERS_MAX))?;
        Ok(Members(members.into_iter().collect()))
    }
}
