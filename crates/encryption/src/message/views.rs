//! Who is a member, and as whom each member saw the group when it last sent a control message.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::limits::MEMBERS_MAX;
use crate::wire::{DecodeError, Reader, Wire, Writer, list, map, tuple, version, write_list};
use crate::{Member, OperationId};

/// Why the membership does not follow a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// Somebody who never was a member cannot be removed.
    #[error("nobody of that name was a member")]
    UnknownMember,
    /// The acknowledged message is no add or removal that we know.
    #[error("unknown operation")]
    UnknownOperation,
    /// Nobody acknowledges the own removal.
    #[error("a member acknowledged its own removal")]
    OwnRemoval,
    /// The membership in a welcome does not decode.
    #[error("the membership in the welcome does not decode")]
    History,
    /// [`MEMBERS_MAX`] was reached.
    #[error("too many members")]
    TooMany,
}

/// Decides who is a member and what each member knows of it. The schemes never do: they tell
/// what happened and ask.
pub trait Membership: Clone + Wire {
    /// The group begins with these members.
    fn create(&mut self, members: &[Member]) -> Result<(), MembershipError>;
    /// We join with the membership that the adder saw before the add; takes the union.
    fn welcome(&mut self, history: &[u8]) -> Result<(), MembershipError>;
    /// Somebody adds a member.
    fn add(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError>;
    /// Somebody removes a member.
    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError>;
    /// Somebody has taken over an add or removal.
    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError>;
    /// Whom this operation added.
    fn added_by(&self, operation: &OperationId) -> Option<Member>;
    /// Whom this operation removed.
    fn removed_by(&self, operation: &OperationId) -> Option<Member>;
    /// The members now.
    fn members(&self) -> BTreeSet<Member>;
    /// The members as another member knew them when it sent its last control message.
    fn view(&self, viewer: &Member) -> BTreeSet<Member>;
    /// The membership to send in a welcome: one CBOR item.
    fn history(&self) -> Vec<u8>;
}

/// Membership from the control messages and acknowledgements alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Members, with those who know of them.
    members: BTreeMap<Member, BTreeSet<Member>>,
    removals: Vec<Removal>,
    adds: BTreeMap<OperationId, Member>,
}

/// A member that left, until everybody has heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Removal {
    operation: OperationId,
    member: Member,
    /// Who knew of the member.
    known_by: BTreeSet<Member>,
    /// Who knows that it left.
    acks: BTreeSet<Member>,
}

impl Membership for Views {
    fn create(&mut self, members: &[Member]) -> Result<(), MembershipError> {
        let everybody: BTreeSet<_> = members.iter().copied().collect();
        self.members = everybody.iter().map(|m| (*m, everybody.clone())).collect();
        Ok(())
    }

    fn welcome(&mut self, history: &[u8]) -> Result<(), MembershipError> {
        let theirs = Views::decode(history).map_err(|_| MembershipError::History)?;
        let gone = |views: &Views, other: &Views, member: &Member| {
            // Left by a removal that the other side has not heard of, and did not come back.
            !views.members.contains_key(member)
                && views.removals.iter().any(|removal| {
                    removal.member == *member && other.removal(&removal.operation).is_none()
                })
        };
        let mut members = BTreeMap::new();
        for (views, other) in [(&*self, &theirs), (&theirs, &*self)] {
            for (member, acks) in &views.members {
                if !gone(other, views, member) {
                    let entry: &mut BTreeSet<_> = members.entry(*member).or_default();
                    entry.extend(acks);
                }
            }
        }
        if members.len() > MEMBERS_MAX {
            return Err(MembershipError::TooMany);
        }
        self.members = members;
        for removal in theirs.removals {
            match self
                .removals
                .iter_mut()
                .find(|r| r.operation == removal.operation)
            {
                Some(known) => {
                    known.known_by.extend(removal.known_by);
                    known.acks.extend(removal.acks);
                }
                None => self.removals.push(removal),
            }
        }
        self.adds.extend(theirs.adds);
        Ok(())
    }

    fn add(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        if self.members.len() >= MEMBERS_MAX {
            return Err(MembershipError::TooMany);
        }
        let known = self.view(&adder);
        for (member, acks) in &mut self.members {
            if known.contains(member) {
                acks.insert(added);
            }
        }
        for removal in &mut self.removals {
            // Whoever comes learns what the adder knows, also if it was here before.
            if removal.acks.contains(&adder) {
                removal.acks.insert(added);
            } else if removal.known_by.contains(&adder) {
                removal.known_by.insert(added);
            }
        }
        self.members
            .entry(added)
            .or_default()
            .extend([adder, added]);
        self.adds.insert(operation, added);
        Ok(())
    }

    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        let (known_by, mut acks) = match self.members.remove(&removed) {
            Some(known_by) => (known_by, BTreeSet::new()),
            // Somebody else removed the member at the same time.
            None => {
                let earlier = self.removals.iter().rev().find(|r| r.member == removed);
                let earlier = earlier.ok_or(MembershipError::UnknownMember)?;
                (earlier.known_by.clone(), earlier.acks.clone())
            }
        };
        acks.insert(remover);
        // Who hears of one removal knows that the member is gone, whoever else removed it.
        let concurrent = self.removals.iter_mut().filter(|r| r.member == removed);
        for removal in concurrent {
            removal.acks.insert(remover);
        }
        self.removals.push(Removal {
            operation,
            member: removed,
            known_by,
            acks,
        });
        Ok(())
    }

    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError> {
        if let Some(added) = self.adds.get(operation) {
            match self.members.get_mut(added) {
                Some(acks) => {
                    acks.insert(acker);
                }
                None => {
                    let removals = self.removals.iter_mut();
                    for removal in removals.filter(|r| r.member == *added) {
                        removal.known_by.insert(acker);
                    }
                }
            }
            return Ok(());
        }
        let removed = self.removal(operation).map(|removal| removal.member);
        let removed = removed.ok_or(MembershipError::UnknownOperation)?;
        if removed == acker {
            return Err(MembershipError::OwnRemoval);
        }
        for removal in self.removals.iter_mut().filter(|r| r.member == removed) {
            removal.acks.insert(acker);
        }
        Ok(())
    }

    fn added_by(&self, operation: &OperationId) -> Option<Member> {
        self.adds.get(operation).copied()
    }

    fn removed_by(&self, operation: &OperationId) -> Option<Member> {
        self.removal(operation).map(|removal| removal.member)
    }

    fn members(&self) -> BTreeSet<Member> {
        self.members.keys().copied().collect()
    }

    fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        let members = self.members.iter();
        let known = members
            .filter(|(_, acks)| acks.contains(viewer))
            .map(|(member, _)| *member);
        let removals = self.removals.iter();
        let not_heard = removals
            .filter(|r| r.known_by.contains(viewer) && !r.acks.contains(viewer))
            .map(|removal| removal.member);
        known.chain(not_heard).collect()
    }

    fn history(&self) -> Vec<u8> {
        self.encode().to_vec()
    }
}

impl Views {
    fn removal(&self, operation: &OperationId) -> Option<&Removal> {
        self.removals.iter().find(|r| r.operation == *operation)
    }
}

impl Wire for Views {
    fn write(&self, w: &mut Writer) {
        w.array(4).uint(1).map(self.members.len());
        for (member, acks) in &self.members {
            w.item(member);
            write_list(acks, w);
        }
        w.array(self.removals.len());
        for removal in &self.removals {
            w.array(4).item(&removal.operation).item(&removal.member);
            write_list(&removal.known_by, w);
            write_list(&removal.acks, w);
        }
        w.map(self.adds.len());
        for (operation, added) in &self.adds {
            w.item(operation).item(added);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Views, DecodeError> {
        tuple(r, 4, |r| {
            version(r, 1)?;
            let members = map(r, Member::read, read_set)?;
            let mut removals = Vec::new();
            for _ in 0..r.array()? {
                removals.push(tuple(r, 4, |r| {
                    Ok(Removal {
                        operation: OperationId::read(r)?,
                        member: Member::read(r)?,
                        known_by: read_set(r)?,
                        acks: read_set(r)?,
                    })
                })?);
            }
            let adds = map(r, OperationId::read, Member::read)?;
            Ok(Views {
                members,
                removals,
                adds,
            })
        })
    }
}

// Not bounded here: over a long life more members than one group holds come and go.
fn read_set(r: &mut Reader<'_>) -> Result<BTreeSet<Member>, DecodeError> {
    let members: Vec<Member> = list(r, usize::MAX)?;
    Ok(members.into_iter().collect())
}
