//! Reasons why a key is a member of a space, or is not.

use core::fmt;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Action, GroupId, Member, Status, Verdict};

use crate::graph::Kind;
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
    /// The person whose devices were changed; none if it was the space or a team.
    pub person: Option<GroupId>,
    /// The member that it is about, if that is another one than was asked about: of two who removed each other
    /// each is decided about.
    pub about: Option<Member>,
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
        let decision = |id: &Hash| self.decision(id, &group, member);
        let all: Vec<Decision> = why.decided_by.iter().filter_map(decision).collect();
        // What a group that calls itself a person says of a stranger says nothing about the stranger.
        let counts = |one: &&Decision| {
            one.person
                .is_none_or(|person| self.word(&group, &person).counts(member))
        };
        let mut decided: Vec<Decision> = all.iter().filter(counts).cloned().collect();
        // The space follows what a person decides.
        decided.sort_by_key(|one| one.person.is_none());
        let was_member = match why.verdict {
            Verdict::NeverMember | Verdict::UnknownGroup => false,
            Verdict::FormerMember => all.is_empty() || !decided.is_empty(),
            _ => true,
        };
        let overruled = why.overruled.iter();
        let overruled = overruled.filter_map(|(id, status)| Some((decision(id)?, *status)));
        Some(Why {
            member: *member,
            role: known.roles.get(member).copied(),
            was_member,
            decided,
            overruled: overruled.collect(),
            invite: self.came_by(space, member),
            teams: self.teams_with(space, member),
        })
    }

    /// The invite by which a member came, unless it was added again later without one.
    fn came_by(&self, space: &SpaceId, member: &VerifyingKey) -> Option<VerifyingKey> {
        let known = self.spaces.get(space)?;
        let last = known.admitted.get(member);
        let counts = |id: &Hash| match known.graph.get(id).map(|node| &node.kind) {
            Some(Kind::Pointer(pointed)) => last.is_none_or(|last| *last == pointed.auth),
            _ => last.is_none(),
        };
        let invites = self.invites(space);
        let mut came = invites.iter().filter(|(_, state)| {
            let mut admitted = state.admitted.iter();
            admitted.any(|(id, newcomer)| newcomer == member && counts(id))
        });
        came.next().map(|(invite, _)| *invite)
    }

    /// An operation, as it bears on a member of a space.
    fn decision(&self, id: &Hash, space: &GroupId, member: &VerifyingKey) -> Option<Decision> {
        let operation = self.groups.get(id)?;
        let group = operation.arguments.group;
        let team = is_team(&self.groups.now(), &group).then_some(group);
        let about = match &operation.arguments.action {
            Action::Add { member, .. }
            | Action::Remove { member }
            | Action::Promote { member, .. }
            | Action::Demote { member, .. } => Some(*member),
            _ => None,
        };
        let is_other = |about: &Member| match about {
            Member::Individual(key) => key != member,
            Member::Group(within) => {
                let why = self.groups.why(within, &Member::Individual(*member));
                matches!(why.verdict, Verdict::NeverMember | Verdict::UnknownGroup)
            }
        };
        Some(Decision {
            team,
            person: (team.is_none() && group != *space).then_some(group),
            about: about.filter(is_other),
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
        let whom = match &self.about {
            None => "it".to_owned(),
            Some(Member::Individual(key)) => key.to_string(),
            Some(Member::Group(group)) => format!("the group {group}"),
        };
        match (self.deed, self.team, self.person) {
            (Deed::Create, Some(team), _) => write!(f, "created the team {team}"),
            (Deed::Create, None, Some(person)) => write!(f, "created the person {person}"),
            (Deed::Create, None, None) => f.write_str("created the space"),
            (Deed::Add(role), Some(team), _) => {
                write!(f, "added {whom} to the team {team} as {role}")
            }
            (Deed::Add(_), None, Some(person)) => {
                write!(f, "made {whom} a device of the person {person}")
            }
            (Deed::Add(role), None, None) => write!(f, "added {whom} as {role}"),
            (Deed::SetRole(role), Some(team), _) => {
                write!(f, "made {whom} {role} in the team {team}")
            }
            (Deed::SetRole(role), None, Some(person)) => {
                write!(f, "made {whom} {role} of the person {person}")
            }
            (Deed::SetRole(role), None, None) => write!(f, "made {whom} {role}"),
            (Deed::Remove, Some(team), _) => write!(f, "removed {whom} from the team {team}"),
            (Deed::Remove, None, Some(person)) => {
                write!(f, "revoked {whom} as a device of the person {person}")
            }
            (Deed::Remove, None, None) => write!(f, "removed {whom}"),
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
