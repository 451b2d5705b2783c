//! Reasons why a key is a member of a space, or is not.

use core::fmt;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Action, GroupId, Member, Status, Verdict};

use crate::spaces::Spaces;
use crate::team::is_team;
use crate::{Role, SpaceId};

/// Reason why a key is a member of a space, or is not. `to_string` returns the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Why {
    /// Member that was asked about.
    pub member: VerifyingKey,
    /// The role, if it is a member.
    pub role: Option<Role>,
    /// `true` if it ever was one.
    pub was_member: bool,
    /// Decisions that made it so.
    pub decided: Vec<Decision>,
    /// Decisions without effect, because others decided otherwise at the same time.
    pub overruled: Vec<(Decision, Status)>,
    /// The invite by which it came.
    pub invite: Option<VerifyingKey>,
    /// The teams by which it is a member, sorted.
    pub teams: Vec<GroupId>,
}

/// An operation on a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Its id.
    pub operation: Hash,
    /// Author of the decision.
    pub author: VerifyingKey,
    /// Decision that was made.
    pub deed: Deed,
    /// The team that was changed; none if it was the space, or a person in it.
    pub team: Option<GroupId>,
}

/// Decision about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deed {
    /// Created the space, or a group in it, with the member.
    Create,
    /// Added it with this role.
    Add(Role),
    /// Gave it this role.
    SetRole(Role),
    /// Removed it.
    Remove,
}

impl Spaces {
    /// Explains why a key is a member of a space now, or is not; `None` for an unknown space.
    pub fn why(&self, space: &SpaceId, member: &VerifyingKey) -> Option<Why> {
        let known = self.spaces.get(space)?;
        let group = known.founded?.group;
        let why = self.groups.why(&group, &Member::Individual(*member));
        let decided = why.decided_by.iter().filter_map(|id| self.decision(id));
        let overruled = why.overruled.iter();
        let overruled = overruled.filter_map(|(id, status)| Some((self.decision(id)?, *status)));
        let role = known.roles.get(member).copied();
        let invites = self.invites(space);
        let came_by = invites.iter().filter(|(_, state)| {
            let mut came = state.admitted.iter();
            came.any(|(_, newcomer)| newcomer == member)
        });
        Some(Why {
            member: *member,
            role,
            was_member: !matches!(why.verdict, Verdict::NeverMember | Verdict::UnknownGroup),
            decided: decided.collect(),
            overruled: overruled.collect(),
            invite: came_by.map(|(invite, _)| *invite).next(),
            teams: self.teams_with(space, member),
        })
    }

    fn decision(&self, id: &Hash) -> Option<Decision> {
        let operation = self.groups.get(id)?;
        let group = operation.arguments.group;
        Some(Decision {
            team: is_team(&self.groups.now(), &group).then_some(group),
            operation: *id,
            author: operation.author,
            deed: match operation.arguments.action {
                Action::Add { access, .. } => Deed::Add(access.into()),
                Action::Promote { access, .. } | Action::Demote { access, .. } => {
                    Deed::SetRole(access.into())
                }
                Action::Remove { .. } => Deed::Remove,
                _ => Deed::Create,
            },
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.author)?;
        match (self.deed, self.team) {
            (Deed::Create, None) => f.write_str("created the space"),
            (Deed::Create, Some(team)) => write!(f, "created the team {team}"),
            (Deed::Add(role), None) => write!(f, "added it as {role}"),
            (Deed::Add(role), Some(team)) => write!(f, "added it to the team {team} as {role}"),
            (Deed::SetRole(role), None) => write!(f, "made it {role}"),
            (Deed::SetRole(role), Some(team)) => write!(f, "made it {role} in the team {team}"),
            (Deed::Remove, None) => f.write_str("removed it"),
            (Deed::Remove, Some(team)) => write!(f, "removed it from the team {team}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => write!(f, "{} is {role}", self.member)?,
            None if self.was_member => write!(f, "{} is no longer a member", self.member)?,
            None => write!(f, "{} was never a member", self.member)?,
        }
        for (at, team) in self.teams.iter().enumerate() {
            write!(
                f,
                "{} {team}",
                if at == 0 { " by the team" } else { " and" }
            )?;
        }
        for (at, decision) in self.decided.iter().enumerate() {
            write!(f, "{}{decision}", if at == 0 { ": " } else { ", " })?;
        }
        if let Some(invite) = self.invite.filter(|_| self.role.is_some()) {
            write!(f, ", by the invite {invite}")?;
        }
        for (decision, status) in &self.overruled {
            write!(f, "; that {decision} {status}")?;
        }
        Ok(())
    }
}
