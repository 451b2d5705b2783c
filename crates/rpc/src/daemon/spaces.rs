//! Encrypted spaces (`docs/protocol/rpc.md#14`).

use std::sync::Arc;
use std::time::Duration;

use p2panda::{Member, Space, Spaces, Ticket, TicketContact, Topic, VerifyingKey};

use super::access::Who;
use super::service::whole_topic;
use super::session::Session;
use super::{map, reading};
use crate::api::{self, Code, Empty, RpcError};
use crate::reachable::reachable;

type Of<T> = Result<T, RpcError>;

fn failed(error: p2panda::Error) -> RpcError {
    map::error(&error)
}

/// The space of a parameter.
pub(crate) async fn named(session: &Session, who: &Who, text: &str) -> Of<Space> {
    let (topic, _) = session.service.used_topic(who, text).await?;
    let space = session.service.node.spaces().get(topic).await;
    space.map_err(failed)?.ok_or_else(no_space)
}

/// The device, person or team of a parameter.
pub(crate) async fn meant(session: &Session, id: VerifyingKey) -> Of<Member> {
    let teams = session.service.node.teams();
    teams.named(id).await.map_err(failed)
}

/// The spaces of the node, for new ones with or without a key of their own.
fn spaces(session: &Session, own_key: bool) -> Spaces {
    let spaces = session.service.node.spaces();
    match own_key {
        true => spaces.with_own_key(),
        false => spaces,
    }
}

fn no_space() -> RpcError {
    RpcError::new(Code::NotFound, "the node follows no space in this topic")
        .hint("space.list has the spaces; space.join follows one")
}

/// Returns what is shown of a space.
async fn view(session: &Session, space: &Space) -> Of<api::SpaceView> {
    let state = space.state().await.map_err(failed)?;
    Ok(map::space(
        session.service.aliases.learn(space.topic()),
        &state,
    ))
}

pub(crate) async fn create(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceCreateParams,
) -> Of<api::SpaceView> {
    if who.topics.is_some() {
        let error = RpcError::new(Code::Forbidden, "the credential is for some topics only");
        return Err(error.hint("a new space gets a new topic, which this credential cannot use"));
    }
    let settings = match (params.scheme, params.no_history) {
        (api::SpaceScheme::Message, _) => p2panda::Settings::with_a_key_per_message(),
        (api::SpaceScheme::Data, true) => p2panda::Settings::from_joining_on(),
        (api::SpaceScheme::Data, false) => p2panda::Settings::with_history(),
    };
    let settings = match params.suite {
        Some(suite) => settings.with_suite(suite),
        None => settings,
    };
    let topic = p2panda::random_topic().map_err(failed)?;
    let spaces = spaces(session, params.own_key);
    let made = spaces.create_in(topic, &params.name, settings).await;
    view(session, &made.map_err(failed)?).await
}

pub(crate) async fn list(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::SpaceListResult> {
    let service = &session.service;
    let states = service.node.spaces().states().await.map_err(failed)?;
    let seen = states.iter().filter(|(topic, _)| who.may_see(topic));
    let view = |(topic, state): &(Topic, _)| map::space(service.aliases.learn(*topic), state);
    Ok(api::SpaceListResult {
        spaces: seen.map(view).collect(),
    })
}

pub(crate) async fn join(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceJoinParams,
) -> Of<api::SpaceView> {
    let spaces = spaces(session, params.own_key);
    let may = |topic: &Topic| match who.may_see(topic) {
        true => Ok(()),
        false => Err(
            RpcError::new(Code::Forbidden, "the credential is not for this topic")
                .hint("give it the topic in the node's configuration"),
        ),
    };
    let space = match (&params.ticket, &params.topic) {
        (Some(ticket), None) => {
            let ticket: Ticket = ticket.parse().map_err(|error| {
                RpcError::new(Code::InvalidParams, format!("not a ticket: {error}"))
                    .hint("space.invite makes them; they begin with `panda:`")
            })?;
            may(&ticket.topic())?;
            spaces.join(&ticket).await
        }
        (None, Some(text)) => {
            // The scope brings the topics of spaces.
            let topic = match whole_topic(text)? {
                Some(topic) => topic,
                None => session.service.topic(&who, text).await?,
            };
            may(&topic)?;
            spaces.follow(topic).await
        }
        _ => {
            let error = RpcError::new(Code::InvalidParams, "either `ticket` or `topic`");
            return Err(error.hint("use a ticket to ask to join, or a topic to follow its space"));
        }
    };
    view(session, &space.map_err(failed)?).await
}

pub(crate) async fn invite(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceInviteParams,
) -> Of<api::SpaceInviteResult> {
    let space = named(session, &who, &params.topic).await?;
    let invite = space.invite(map::role_of(params.role)).uses(params.uses);
    let invite = match params.expires_seconds {
        Some(seconds) => invite.expires(Duration::from_secs(seconds)),
        None => invite,
    };
    let made = invite.await.map_err(failed)?;
    let mut ticket = made.ticket;
    if params.contact {
        let node = &session.service.node;
        let contact = TicketContact::new(node.id(), reachable(node.net().addr()));
        ticket.add(contact).map_err(|error| {
            RpcError::new(
                Code::Invalid,
                format!("this node cannot be named in a ticket: {error}"),
            )
            .hint("leave out `contact`; the invite is among those of space.invites")
        })?;
    }
    Ok(api::SpaceInviteResult {
        ticket: ticket.to_string(),
        invite: made.id,
    })
}

pub(crate) async fn invites(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<api::SpaceInvitesResult> {
    let space = named(session, &who, &params.topic).await?;
    let invites = space.invites().await.map_err(failed)?;
    Ok(api::SpaceInvitesResult {
        invites: invites.iter().map(map::space_invite).collect(),
    })
}

pub(crate) async fn revoke(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRevokeParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    space.revoke(params.invite).await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn members(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceMembersParams,
) -> Of<api::SpaceMembersResult> {
    let space = named(session, &who, &params.topic).await?;
    let look = space.look().await.map_err(failed)?;
    let now = map::space_members(look.as_ref());
    let Some(operation) = params.at else {
        return Ok(now);
    };
    let at = space.members_at(operation).await.map_err(failed)?;
    let view = |(member, role): (_, p2panda::Role)| api::SpaceMemberView {
        member,
        role: map::role(role),
        lacking: false,
        person: None,
        teams: Vec::new(),
        recovery: false,
        no_keys: false,
    };
    Ok(api::SpaceMembersResult {
        known: at.is_some(),
        members: at.into_iter().flatten().map(view).collect(),
        teams: Vec::new(),
        pending: Vec::new(),
        suite: None,
        rotation_days: None,
        rotates_at: None,
        secrets_left: None,
        healed: now.healed,
    })
}

pub(crate) async fn add(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRoleParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    let member = meant(session, params.member).await?;
    let added = space.add(member, map::role_of(params.role)).await;
    added.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn set_role(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRoleParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    let role = map::role_of(params.role);
    let member = meant(session, params.member).await?;
    space.set_role(member, role).await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn remove(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRemoveParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    let removed = match params.members[..] {
        [member] => space.remove(meant(session, member).await?).await,
        _ => space.remove_all(params.members).await,
    };
    removed.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn leave(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    space.leave().await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn rename(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRenameParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    space.rename(&params.name).await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn raise_suite(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRaiseSuiteParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    let raised = space.raise_suite_floor(params.suite).await;
    raised.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn rotate(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    space.rotate().await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn rotate_every(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceRotateEveryParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    let days = Some(params.days).filter(|days| *days > 0);
    space.rotate_every(days).await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn heal(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<Empty> {
    let space = named(session, &who, &params.topic).await?;
    space.heal().await.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn why(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SpaceMemberParams,
) -> Of<api::SpaceWhyResult> {
    let space = named(session, &who, &params.topic).await?;
    let why = space.why(params.member).await.map_err(failed)?;
    let why = why.ok_or_else(no_space)?;
    Ok(map::space_why(&why))
}

pub(crate) async fn lacking(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<api::SpaceLackingResult> {
    let space = named(session, &who, &params.topic).await?;
    let members = space.lacking().await.map_err(failed)?;
    Ok(api::SpaceLackingResult { members })
}

pub(crate) async fn subscribe(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SubscribeParams,
) -> Of<api::SubscribeResult> {
    for text in &params.topics {
        named(session, &who, text).await?;
    }
    reading::subscribe(session, who, params).await
}
