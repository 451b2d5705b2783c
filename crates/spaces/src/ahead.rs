//! Secrets that are drawn before the change that they go with, so that what is sealed for many
//! members can be computed elsewhere (`docs/protocol/streams.md#7`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::{Draft, Rekey};
use p2panda_encryption::{Context, Sealed, Sealing};
use p2panda_groups::{Access, Action, GroupId, Member};
use rand_core::CryptoRng;

use crate::person::roles_after;
use crate::space::{Roles, Space, secret};
use crate::spaces::Spaces;
use crate::steps::Turn;
use crate::team::is_team;
use crate::{Role, SpaceId};

/// A change of ours that is planned, as far as it makes a secret for those who stay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Planned {
    /// [`Spaces::heal`], [`Spaces::follow_person`], [`Spaces::follow_team`].
    Heal,
    /// [`Spaces::rotate`].
    Rotate,
    /// [`Spaces::remove_members`], [`Spaces::remove_team`], [`Spaces::remove_all`].
    Remove(Vec<Member>),
    /// [`Spaces::set_member_role`].
    SetRole(Member, Role),
    /// [`Spaces::add`], [`Spaces::add_person`], [`Spaces::add_team`], [`Spaces::admit_newcomer`].
    Add(Member, Role),
}

/// The secret of a change of ours, with what is to be sealed for each member. Nothing has changed,
/// and dropping it costs nothing.
#[derive(Debug)]
pub struct Ahead {
    space: SpaceId,
    round: Round,
    /// Messages that the space had processed.
    seen: (usize, Vec<Hash>),
    draft: Draft,
    directs: usize,
}

/// For whom a secret is made, and after whose removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) removed: Option<VerifyingKey>,
    pub(crate) members: BTreeSet<VerifyingKey>,
}

impl Ahead {
    /// Takes the work out, to do it elsewhere; [`Ahead::put`] the results back in order.
    pub fn take(&mut self) -> Vec<Sealing> {
        self.draft.take()
    }

    /// Puts the finished work in.
    pub fn put(&mut self, sealed: impl IntoIterator<Item = Sealed>) {
        self.draft.put(sealed);
    }

    fn fits(&self, space: &Space, round: &Round, context: &Context<'_>) -> bool {
        self.space == space.id
            && self.round == *round
            && self.seen == seen(space)
            && self.draft.ready() == self.directs
            && space.encryption.fits(&self.draft, context)
    }
}

impl Spaces {
    /// Draws the secret of a change of ours; none if it makes no secret, if something else has to
    /// be done before, or if no more than `at_once` members are sent it.
    pub fn draw_ahead(
        &mut self,
        id: SpaceId,
        (planned, at_once): (&Planned, usize),
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Option<Ahead> {
        let round = self.round(&id, planned, Some(context))?;
        if round.members.len() <= at_once.saturating_add(1) {
            return None;
        }
        let space = self.spaces.get_mut(&id)?;
        space.tell_secret(round.members.clone());
        let draft = match round.removed {
            Some(removed) => space.encryption.rotate_after_removal(removed, context, rng),
            None => space.encryption.update(context, rng),
        };
        space.tell_members(&space.roles.clone());
        let draft = draft.ok()?;
        Some(Ahead {
            space: id,
            round,
            seen: seen(space),
            directs: draft.open(),
            draft,
        })
    }

    /// Returns `true` if a change would use what was drawn for it: nothing has come between.
    pub fn fits_ahead(&self, ahead: &Ahead, planned: &Planned, context: &Context<'_>) -> bool {
        let space = self.spaces.get(&ahead.space);
        let round = self.round(&ahead.space, planned, Some(context));
        space
            .zip(round)
            .is_some_and(|(space, round)| ahead.fits(space, &round, context))
    }

    /// Returns `true` if a change makes a secret for the remaining members.
    pub fn makes_secret(&self, id: &SpaceId, planned: &Planned) -> bool {
        self.round(id, planned, None).is_some()
    }

    /// The next change uses this if it fits, and makes another secret if it does not. Nothing
    /// remains of it after [`Spaces::forget_ahead`].
    pub fn go_by(&mut self, ahead: Ahead) {
        self.ahead = Some(ahead);
    }

    /// Takes back what the change has not used.
    pub fn take_unused(&mut self) -> Option<Ahead> {
        self.ahead.take()
    }

    /// The change is made, or failed; whether what was drawn was of no use.
    pub fn forget_ahead(&mut self) -> bool {
        self.take_unused().is_some()
    }

    pub(crate) fn take_ahead(
        &mut self,
        id: &SpaceId,
        round: &Round,
        context: &Context<'_>,
    ) -> Option<Draft> {
        let space = self.spaces.get(id)?;
        let ahead = self
            .ahead
            .take_if(|ahead| ahead.fits(space, round, context))?;
        Some(ahead.draft)
    }

    /// Returns `true` if what was drawn before is for this.
    pub(crate) fn is_drawn(&self, id: &SpaceId, round: &Round, context: &Context<'_>) -> bool {
        let drawn = self.spaces.get(id).zip(self.ahead.as_ref());
        drawn.is_some_and(|(space, ahead)| ahead.fits(space, round, context))
    }

    /// The first secret that a change makes; of epochs and secrets that lack, and of what owners do about
    /// members, only what a context shows.
    fn round(
        &self,
        id: &SpaceId,
        planned: &Planned,
        context: Option<&Context<'_>>,
    ) -> Option<Round> {
        let space = self.spaces.get(id).filter(|space| space.native.is_some())?;
        let group = space.founded?.group;
        space.speaks().ok()?;
        space.encryption.members().ok()?;
        let wanted = self.wanted(space);
        let is_behind = wanted != space.roles;
        let reads = |roles: &Roles| roles.get(&self.me).is_some_and(|role| role.has_secrets());
        if space.has_many_heads() || !reads(&space.roles) {
            return None;
        }
        let before = secret(&space.roles);
        let after = |actions: &[Action]| {
            let after = roles_after(&self.groups.now(), &group, actions);
            self.made_between(space, &before, secret(&after))
        };
        let round = match planned {
            Planned::Heal if is_behind => self.made_between(space, &before, secret(&wanted)),
            Planned::Heal if space.encryption.rekey() == Rekey::None => {
                let context = context?;
                match space.lacks_epoch(context) || space.owes_secret(&self.groups, context) {
                    true => Some(Round {
                        removed: None,
                        members: before,
                    }),
                    false => after(&self.tending(id, &group)),
                }
            }
            Planned::Heal | Planned::Rotate => Some(Round {
                removed: None,
                members: before,
            }),
            _ if is_behind => None,
            Planned::SetRole(_, role) if role.has_secrets() && !space.is_without_history() => None,
            Planned::SetRole(member, role) | Planned::Add(member, role) => {
                after(&self.changing(id, member, Some(*role)))
            }
            Planned::Remove(members) => {
                let actions = members.iter();
                let actions = actions.flat_map(|member| self.changing(id, member, None));
                after(&actions.collect::<Vec<_>>())
            }
        };
        round.filter(|round| round.members.contains(&self.me))
    }

    /// Returns the actions that remove a member from a space, or give it a lower role: with all
    /// devices if it is a person.
    fn changing(&self, id: &SpaceId, member: &Member, role: Option<Role>) -> Vec<Action> {
        let person = match member {
            Member::Individual(key) => self.person_of(id, key),
            Member::Group(group) => Some(*group).filter(|it| !is_team(&self.groups.now(), it)),
        };
        if let (Some(person), Some(group)) = (person, self.group(id)) {
            return self.person_actions(&group, &person, role);
        }
        let (member, access) = (*member, role.map(Access::from));
        vec![match access {
            Some(access) => Action::Demote { member, access },
            None => Action::Remove { member },
        }]
    }

    /// The first of what an owner does about members when it heals, which may remove some.
    fn tending(&self, id: &SpaceId, group: &GroupId) -> Vec<Action> {
        if let Some(member) = self.excess(id).into_iter().next() {
            let member = Member::Individual(member);
            return vec![Action::Remove { member }];
        }
        let mut tasks = self.person_tasks(id).into_iter();
        let first = tasks.next();
        first.map_or_else(Vec::new, |(person, role)| {
            self.person_actions(group, &person, role)
        })
    }
}

impl Spaces {
    /// Returns the secret that a pointer makes between these members: for those who stay if one is
    /// removed, and without history for all if one is added.
    fn made_between(
        &self,
        space: &Space,
        before: &BTreeSet<VerifyingKey>,
        after: BTreeSet<VerifyingKey>,
    ) -> Option<Round> {
        let turn = Turn {
            before: before.clone(),
            after,
            creates: false,
        };
        self.round_of(&space.id, &turn)
    }
}

fn seen(space: &Space) -> (usize, Vec<Hash>) {
    (space.graph.len(), space.graph.heads())
}
