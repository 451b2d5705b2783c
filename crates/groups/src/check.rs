//! Check of an action, and its effect on the entry of its member (`docs/protocol/groups.md#6`).

use crate::table::Entry;
use crate::{Access, NoEffect, Reason, Rule};

/// An action other than create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add(Access),
    Remove,
    Promote(Access),
    Demote(Access),
}

/// The entries of those who take part, in the table of the group.
#[derive(Clone, Copy)]
pub(crate) struct Parties {
    pub(crate) actor: Option<Entry>,
    pub(crate) target: Option<Entry>,
    /// The author is the target.
    pub(crate) own: bool,
}

impl Verb {
    /// The target's new entry; none if it stays as it is.
    pub(crate) fn check(self, parties: Parties) -> Result<Option<Entry>, Reason> {
        let recorded = parties.target;
        match self {
            Verb::Add(access) => {
                parties.check_actor(false)?;
                parties.add(access).map(Some)
            }
            Verb::Remove => {
                parties.check_actor(parties.own)?;
                parties.remove().map(Some)
            }
            Verb::Promote(_) | Verb::Demote(_) => {
                let recorded = recorded.ok_or(Reason::UnrecognisedMember)?;
                if recorded.access() == self.end() {
                    return Ok(None);
                }
                parties.check_actor(false)?;
                self.change(recorded)
            }
        }
    }

    /// The same with the rules Q4 and Q5.
    pub(crate) fn check_hardened(self, parties: Parties) -> Result<Option<Entry>, NoEffect> {
        let (Verb::Promote(access) | Verb::Demote(access)) = self else {
            return self.check(parties).map_err(NoEffect::Reason);
        };
        let standing = || {
            let recorded = parties.target.ok_or(Reason::UnrecognisedMember)?;
            parties.check_actor(false)?;
            self.change(recorded)?;
            Ok(recorded)
        };
        let recorded = standing().map_err(NoEffect::Reason)?;
        let moves = match self {
            Verb::Promote(_) => access > recorded.access(),
            _ => access < recorded.access(),
        };
        if !moves {
            return Err(NoEffect::Hardened(Rule::Direction));
        }
        Ok(Some(recorded.with_access(access)))
    }

    /// The access beyond which a promote or demote cannot go.
    fn end(self) -> Access {
        match self {
            Verb::Demote(_) => Access::Pull,
            _ => Access::Manage,
        }
    }

    fn change(self, recorded: Entry) -> Result<Option<Entry>, Reason> {
        let (Verb::Promote(access) | Verb::Demote(access)) = self else {
            return Ok(None);
        };
        if !recorded.is_active() {
            return Err(Reason::InactiveMember);
        }
        Ok((access != recorded.access()).then(|| recorded.with_access(access)))
    }
}

impl Parties {
    fn check_actor(self, leaves: bool) -> Result<(), Reason> {
        let actor = self.actor.ok_or(Reason::UnrecognisedActor)?;
        match actor.active_access() {
            None => Err(Reason::InactiveActor),
            Some(access) if access < Access::Manage && !leaves => Err(Reason::InsufficientAccess),
            Some(_) => Ok(()),
        }
    }

    fn add(self, access: Access) -> Result<Entry, Reason> {
        match self.target {
            None => Ok(Entry::new(1, access, 0)),
            Some(entry) if entry.is_active() => Err(Reason::AlreadyAdded),
            Some(entry) => Ok(entry.next_membership(access)),
        }
    }

    fn remove(self) -> Result<Entry, Reason> {
        let entry = self.target.ok_or(Reason::UnrecognisedMember)?;
        if entry.is_active() {
            Ok(entry.next_membership(entry.access()))
        } else {
            Err(Reason::AlreadyRemoved)
        }
    }
}
