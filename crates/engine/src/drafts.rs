//! Changes of ours that are drawn before they are made (`docs/protocol/streams.md#7`).

use p2panda_core::Topic;
use p2panda_core::limits::{SPACE_DRAFTS_MAX, SPACE_SEALED_AT_ONCE_MAX};
use p2panda_groups::Member;
use p2panda_spaces::Planned;

use crate::desk::seconds;
use crate::space::form::Form;
use crate::space_command::SpaceChange;
use crate::state::State;
use crate::turn::Turn;

/// Returns `true` if a change waits: what it seals is computed elsewhere, by now or already.
pub(crate) fn waits(turn: &mut Turn<'_>, topic: &Topic, planned: &Planned) -> bool {
    if !turn.state.spaces.drafts.is_on() {
        return false;
    }
    let now = seconds(turn);
    let State { spaces, rng, .. } = &mut *turn.state;
    let Some(id) = spaces.id(topic) else {
        return false;
    };
    let Form::Native(native) = spaces.forms.of_mut(topic) else {
        return false;
    };
    let (known, context) = native.context(now);
    let lost = match spaces.drafts.get(topic) {
        None => 0,
        Some(drafting) if !drafting.is_done => return true,
        Some(drafting) if known.fits_ahead(&drafting.ahead, planned, &context) => return false,
        Some(drafting) => drafting.lost + 1,
    };
    spaces.drafts.forget(topic);
    if lost >= SPACE_DRAFTS_MAX {
        spaces.drafts.give_up(topic);
        return false;
    }
    let at_once = SPACE_SEALED_AT_ONCE_MAX;
    match known.draw_ahead(id, (planned, at_once), &context, rng) {
        None => false,
        Some(ahead) => {
            spaces.drafts.begin(*topic, ahead, lost);
            true
        }
    }
}

/// Returns the part of a change for which secrets are made for many.
pub(crate) fn planned(change: &SpaceChange) -> Option<Planned> {
    let individual = |member| Member::Individual(member);
    Some(match change {
        SpaceChange::Heal => Planned::Heal,
        SpaceChange::Rotate => Planned::Rotate,
        SpaceChange::Remove(member) => Planned::Remove(vec![individual(*member)]),
        SpaceChange::RemoveAll(members) => {
            Planned::Remove(members.iter().copied().map(individual).collect())
        }
        SpaceChange::RemoveGroup(group) => Planned::Remove(vec![Member::Group(*group)]),
        SpaceChange::SetRole(member, role) => Planned::SetRole(individual(*member), *role),
        SpaceChange::Add(member, role) => Planned::Add(individual(*member), *role),
        SpaceChange::AddGroup(group, role) => Planned::Add(Member::Group(*group), *role),
        _ => return None,
    })
}
