//! Teams, by the node that a command works with.

use p2panda::{GroupId, Member, Role, Team, Topic, VerifyingKey};
use p2panda_rpc::api;
use p2panda_rpc::client::ClientError;
use p2panda_rpc::daemon::map;

use super::Face;
use crate::failure::Failure;

impl Face {
    pub async fn create_team(&self, name: &str) -> Result<VerifyingKey, Failure> {
        match self {
            Face::Own(node) => Ok(*node.teams().create(name).await?.id().as_key()),
            Face::Running(remote) => {
                let name = name.to_owned();
                let params = api::TeamCreateParams { name };
                Ok(remote.call::<api::TeamCreate>(&params).await?.team)
            }
        }
    }

    /// The teams that the node knows. Topics are named in full.
    pub async fn teams(&self) -> Result<Vec<api::TeamView>, Failure> {
        let remote = match self {
            Face::Own(node) => {
                let teams = node.teams().list().await?;
                let view = |team| map::team(team, Topic::to_string);
                return Ok(teams.iter().map(view).collect());
            }
            Face::Running(remote) => remote,
        };
        let list = remote.call::<api::TeamList>(&api::Empty {}).await?;
        let mut teams = list.teams;
        for team in &mut teams {
            team.spaces = remote.reveal(&team.spaces).await?;
            team.pending = remote.reveal(&team.pending).await?;
        }
        Ok(teams)
    }

    /// Gives somebody a role in a team, or removes it from there.
    pub async fn change_team(
        &self,
        team: VerifyingKey,
        member: VerifyingKey,
        role: Option<Role>,
    ) -> Result<(), Failure> {
        let remote = match self {
            Face::Own(node) => {
                let named = self.member_named(member).await?;
                let of: Option<Team> = node.teams().get(GroupId::from(team)).await?;
                let of = of.ok_or(Failure::NoTeam { team })?;
                let done = match role {
                    Some(role) => of.add(named, role).await,
                    None => of.remove(named).await,
                };
                return done.map_err(|error| Failure::from(error).about(member));
            }
            Face::Running(remote) => remote,
        };
        let failed = |error: ClientError| match error.code() {
            api::Code::NotFound => Failure::NoTeam { team },
            _ => Failure::from(error).about(member),
        };
        let client = remote.client();
        match role {
            Some(role) => {
                let role = map::role(role);
                let params = api::TeamAddParams { team, member, role };
                client.call::<api::TeamAdd>(&params).await.map_err(failed)?;
            }
            None => {
                let params = api::TeamRemoveParams { team, member };
                let done = client.call::<api::TeamRemove>(&params).await;
                done.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The device, person or team that an id names.
    pub async fn member_named(&self, id: VerifyingKey) -> Result<Member, Failure> {
        match self {
            Face::Own(node) => Ok(node.teams().named(id).await?),
            // The node that runs finds out by itself.
            Face::Running(_) => Ok(Member::Individual(id)),
        }
    }
}
