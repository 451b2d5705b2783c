//! Teams (`docs/protocol/rpc.md#14`).

use std::sync::Arc;

use p2panda::{GroupId, Team, Topic};

use super::access::Who;
use super::map;
use super::session::Session;
use super::spaces::meant;
use crate::api::{self, Code, Empty, RpcError};

type Of<T> = Result<T, RpcError>;

fn failed(error: p2panda::Error) -> RpcError {
    map::error(&error)
}

fn no_team() -> RpcError {
    RpcError::new(Code::NotFound, "the node knows no such team")
        .hint("team.list has the teams; team.create makes one")
}

/// Teams reach beyond topics: a credential for some topics changes none.
fn reaches(who: &Who) -> Of<()> {
    match who.topics {
        None => Ok(()),
        Some(_) => Err(
            RpcError::new(Code::Forbidden, "the credential is for some topics only")
                .hint("a change of a team reaches all its spaces; use another credential"),
        ),
    }
}

async fn of(session: &Session, id: p2panda::VerifyingKey) -> Of<Team> {
    let team = session.service.node.teams().get(GroupId::from(id)).await;
    team.map_err(failed)?.ok_or_else(no_team)
}

pub(crate) async fn create(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TeamCreateParams,
) -> Of<api::TeamView> {
    reaches(&who)?;
    let service = &session.service;
    let team = service.node.teams().create(&params.name).await;
    let look = team.map_err(failed)?.look().await.map_err(failed)?;
    let look = look.ok_or_else(no_team)?;
    Ok(map::team(&look, |topic| service.aliases.learn(*topic)))
}

pub(crate) async fn list(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::TeamListResult> {
    let service = &session.service;
    let mut teams = service.node.teams().list().await.map_err(failed)?;
    for team in &mut teams {
        let seen = |topic: &Topic| who.may_see(topic);
        team.spaces.retain(seen);
        team.pending.retain(seen);
    }
    if who.topics.is_some() {
        teams.retain(|team| !team.spaces.is_empty());
    }
    let view = |team| map::team(team, |topic| service.aliases.learn(*topic));
    Ok(api::TeamListResult {
        teams: teams.iter().map(view).collect(),
    })
}

pub(crate) async fn add(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TeamAddParams,
) -> Of<Empty> {
    reaches(&who)?;
    let team = of(session, params.team).await?;
    let member = meant(session, params.member).await?;
    let added = team.add(member, map::role_of(params.role)).await;
    added.map_err(failed)?;
    Ok(Empty {})
}

pub(crate) async fn remove(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TeamRemoveParams,
) -> Of<Empty> {
    reaches(&who)?;
    let team = of(session, params.team).await?;
    let member = meant(session, params.member).await?;
    team.remove(member).await.map_err(failed)?;
    Ok(Empty {})
}
