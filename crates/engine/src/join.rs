//! Joining a space by an invite (`docs/protocol/spaces.md#16`): a newcomer asks, and an owner admits
//! it.

use chacha20::rand_core::Rng;
use p2panda_core::limits::SPACE_HEAL_WAIT;
use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_groups::Member;
use p2panda_spaces::{Invite, InviteError, LocalError, Planned, Role};
use p2panda_store::StoreError;

use crate::desk::{act, act_by_draft, seconds};
use crate::drafts;
use crate::forge;
use crate::now::micros;
use crate::own_keys::follow;
use crate::permit;
use crate::space::Joining;
use crate::space::form::{Form, Told};
use crate::space_command::SpaceError;
use crate::space_news::SpaceNews;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Creates an invite and announces it to all owners.
pub(crate) fn offer(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    offered: (Role, u64, u64),
) -> Result<Result<Invite, SpaceError>, StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(Err(SpaceError::Unknown));
    };
    act(turn, topic, |spaces, desk| {
        let invite = spaces.offer(id, offered, desk)?;
        Ok((invite, spaces.events()))
    })
}

/// Follows the space of an invite. The request is published once keys of an owner have arrived.
pub(crate) fn join(
    turn: &mut Turn<'_>,
    topic: &Topic,
    (invite, own_key): (Invite, bool),
) -> Result<Result<(), SpaceError>, StoreError> {
    let id = invite.space;
    let known = turn.state.spaces.id(topic);
    if known.is_some_and(|known| known != id) {
        return Ok(Err(SpaceError::Exists));
    }
    if let Err(error) = follow(turn, topic, Some(id), own_key)? {
        return Ok(Err(error));
    }
    let topic = turn.resolve(topic)?;
    let mut free = Vec::new();
    permit::take(turn, &topic, None, vec![Told::Space(id)], &mut free)?;
    turn.topic(&topic).waiting.recheck.extend(free);
    let me = turn.state.author_in(&topic.topic);
    let is_in = turn.state.spaces.native(&topic.topic);
    let is_in = is_in.is_some_and(|(id, native)| {
        native.spaces.role(&id, &me).is_some() && !native.spaces.is_claimed(&id, &me)
    });
    if is_in {
        return Ok(Ok(()));
    }
    if let Some(known) = turn.state.spaces.known_mut(&topic.topic) {
        let asked_until = 0;
        known.joining = Some(Joining {
            invite,
            asked_until,
        });
    }
    let now_us = turn.now.elapsed_us;
    turn.state.spaces.ask_by(&topic.topic, now_us);
    Ok(Ok(()))
}

/// Does what is due: asks to join, and admits others.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    for topic in turn.state.spaces.take_asking(now_us) {
        let topic = turn.resolve(&topic)?;
        ask(turn, &topic)?;
    }
    for topic in turn.state.spaces.deciding(now_us) {
        let topic = turn.resolve(&topic)?;
        if turn.state.spaces.drafts.is_under_way(&topic.topic) {
            // An admission would invalidate what is being computed.
            let later_us = after_a_while(turn);
            if let Some(requests) = turn.state.spaces.requests_mut(&topic.topic) {
                requests.wait_until(later_us);
            }
            continue;
        }
        decide(turn, &topic)?;
    }
    Ok(())
}

/// Publishes our request if an owner can be reached, once for each renewal of our keys.
fn ask(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let (now, me) = (seconds(turn), turn.state.author_in(&topic.topic));
    let State { spaces, rng, .. } = &mut *turn.state;
    let Some(known) = spaces.known(&topic.topic) else {
        return Ok(());
    };
    let keys_until = known.keys_until;
    let is_due = |joining: &&Joining| joining.asked_until < keys_until;
    let Some(joining) = known.joining.as_ref().filter(is_due) else {
        return Ok(());
    };
    let invite = joining.invite.clone();
    let Form::Native(native) = spaces.forms.of_mut(&topic.topic) else {
        return Ok(());
    };
    let context = Context::new(&mut native.keys, &mut native.registry, now);
    // If no owner can be reached, the request is published when the keys of one arrive.
    let Ok(body) = invite.request(&me, &context, rng) else {
        return Ok(());
    };
    let refused = forge::control_refusal(turn, topic)?.is_some();
    if refused || forge::forge_control(turn, topic, &[], body)?.is_err() {
        let later_us = after_a_while(turn);
        turn.state.spaces.ask_by(&topic.topic, later_us);
        return Ok(());
    }
    let known = turn.state.spaces.known_mut(&topic.topic);
    if let Some(joining) = known.and_then(|known| known.joining.as_mut()) {
        joining.asked_until = keys_until;
    }
    Ok(())
}

fn after_a_while(turn: &mut Turn<'_>) -> u64 {
    let wait_us = turn.state.rng.next_u64() % micros(SPACE_HEAL_WAIT);
    turn.now.elapsed_us.saturating_add(1 + wait_us)
}

/// Decides on some of the requests.
fn decide(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let requests = turn.state.spaces.requests_mut(&topic.topic);
    let requests = requests.map_or_else(Vec::new, |requests| requests.take_next());
    if waits(turn, topic, &requests) {
        let later_us = after_a_while(turn);
        if let Some(waiting) = turn.state.spaces.requests_mut(&topic.topic) {
            waiting.wait_for_draft(requests, later_us);
        }
        return Ok(());
    }
    add_together(turn, topic, true);
    let mut failed = false;
    for (newcomer, invite) in requests {
        let decided = match failed {
            true => Decided::Failed,
            false => admit(turn, topic, newcomer, invite)?,
        };
        failed |= decided == Decided::Failed;
        if let Some(requests) = turn.state.spaces.requests_mut(&topic.topic) {
            match decided {
                Decided::Yes => requests.end(&newcomer),
                Decided::NotYet | Decided::Failed => requests.keep(newcomer, invite),
            }
        }
    }
    add_together(turn, topic, false);
    if failed {
        let later_us = after_a_while(turn);
        if let Some(requests) = turn.state.spaces.requests_mut(&topic.topic) {
            requests.wait_until(later_us);
        }
    }
    Ok(())
}

/// Returns `true` if the first admission makes a secret for many, which is sealed elsewhere.
fn waits(turn: &mut Turn<'_>, topic: &TopicRef, requests: &[(VerifyingKey, VerifyingKey)]) -> bool {
    let (now, me) = (seconds(turn), turn.state.author_in(&topic.topic));
    let Some((id, native)) = turn.state.spaces.native(&topic.topic) else {
        return false;
    };
    if native.spaces.role(&id, &me) != Some(Role::Owner) {
        return false;
    }
    let mut admitted = requests.iter().filter_map(|(newcomer, invite)| {
        let role = native.spaces.admits(&id, invite, newcomer, now).ok()?;
        Some(Planned::Add(Member::Individual(*newcomer), role))
    });
    let planned = admitted.next();
    planned.is_some_and(|planned| drafts::waits(turn, &topic.topic, &planned))
}

/// The admissions of one step share a secret where they make one.
fn add_together(turn: &mut Turn<'_>, topic: &TopicRef, is_on: bool) {
    if let Form::Native(native) = turn.state.spaces.forms.of_mut(&topic.topic) {
        native.spaces.add_together(is_on);
    }
}

/// Outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decided {
    /// Its author is admitted, or never will be.
    Yes,
    /// We are not an owner, or do not know the invite.
    NotYet,
    /// Admission failed and is tried again.
    Failed,
}

/// Admits a newcomer if we are an owner and the invite allows it.
fn admit(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    newcomer: VerifyingKey,
    invite: VerifyingKey,
) -> Result<Decided, StoreError> {
    let (now, me) = (seconds(turn), turn.state.author_in(&topic.topic));
    let Some((id, native)) = turn.state.spaces.native(&topic.topic) else {
        return Ok(Decided::NotYet);
    };
    let members = native.spaces.members(&id);
    if !members.contains(&(me, Role::Owner)) {
        return Ok(Decided::NotYet);
    }
    let news = match native.spaces.admits(&id, &invite, &newcomer, now) {
        Err(InviteError::Unknown) => return Ok(Decided::NotYet),
        Err(InviteError::AlreadyIn) => return Ok(Decided::Yes),
        Err(reason) => SpaceNews::NotAdmitted {
            newcomer,
            invite,
            reason,
        },
        Ok(_) => {
            let done = act_by_draft(turn, topic, |spaces, desk| {
                let events = spaces.admit_newcomer(id, invite, newcomer, desk)?;
                Ok(((), events))
            })?;
            match done {
                Ok(()) => SpaceNews::Admitted { newcomer, invite },
                // Repairing the space first has changed the decision.
                Err(SpaceError::Space(LocalError::Invite(_) | LocalError::Role(_))) => {
                    return Ok(Decided::NotYet);
                }
                Err(_) => return Ok(Decided::Failed),
            }
        }
    };
    let topic = topic.topic;
    turn.tell_of_space(topic, news);
    Ok(Decided::Yes)
}
