//! `panda team`

use std::future::pending;

use p2panda::VerifyingKey;
use p2panda_rpc::api;
use serde::Serialize;
use tokio::time::sleep;

use crate::args::{NodeArgs, TeamChangeArgs, TeamCommand};
use crate::command::following::{LOOK_INTERVAL, until_followed};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Written, visible};

/// Does one thing with the teams of the node that runs, or of the home directory.
pub async fn run(args: &NodeArgs, command: TeamCommand) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    let work = with(&face, command, &mut interrupt);
    let done = match &face {
        Face::Own(node) => until_stopped(node, work).await,
        Face::Running(remote) => remote.until_gone(work).await,
    };
    interrupt.finish(face.close()).await?;
    done
}

async fn with(
    face: &Face,
    command: TeamCommand,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    match command {
        TeamCommand::Create { name, json } => {
            let team = face.create_team(&name).await?.to_string();
            let line = CreatedLine { team: &team, name };
            // Whether somebody reads it makes no difference: it is listed from now on.
            let _ = print(&line, &team, json)?;
            Ok(Outcome::Done)
        }
        TeamCommand::Ls { json } => list(&face.teams().await?, json),
        TeamCommand::Add { change, role } => {
            face.change_team(change.team, change.member, Some(role))
                .await?;
            let role = Some(role.to_string());
            changed(face, ("add", change, role), interrupt).await
        }
        TeamCommand::Remove { change } => {
            face.change_team(change.team, change.member, None).await?;
            changed(face, ("remove", change, None), interrupt).await
        }
    }
}

#[derive(Serialize)]
struct CreatedLine<'a> {
    team: &'a str,
    name: String,
}

#[derive(Serialize)]
struct ChangedLine {
    /// The last word of the command.
    done: &'static str,
    team: String,
    member: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

/// Waits until all spaces have followed, and a peer was sent that.
async fn changed(
    face: &Face,
    (done, args, role): (&'static str, TeamChangeArgs, Option<String>),
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    if args.json {
        let line = ChangedLine {
            done,
            team: args.team.to_string(),
            member: args.member.to_string(),
            role,
        };
        // Whether somebody reads it makes no difference to what is stored.
        let _ = output::json(&line).map_err(Failure::Stdout)?;
    }
    let followed = async {
        while !has_followed(face, &args.team).await? {
            sleep(LOOK_INTERVAL).await;
        }
        Ok::<(), Failure>(())
    };
    let behind = "some spaces of the team";
    until_followed(face, (args.wait, behind), followed, pending(), interrupt).await
}

/// Returns `true` if each space of a team that this node follows has been told, and somebody has
/// that.
async fn has_followed(face: &Face, team: &VerifyingKey) -> Result<bool, Failure> {
    let teams = face.teams().await?;
    let Some(of) = teams.into_iter().find(|known| known.team == *team) else {
        return Ok(true);
    };
    if !of.pending.is_empty() {
        return Ok(false);
    }
    for topic in &of.spaces {
        let Ok(topic) = topic.parse() else {
            continue;
        };
        if !face.delivered(topic, LOOK_INTERVAL).await?.is_enough {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(teams: &[api::TeamView], json: bool) -> Result<Outcome, Failure> {
    for team in teams {
        if print(team, &plain(team), json)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

fn plain(team: &api::TeamView) -> String {
    let manages = match team.manages {
        true => ", managed here",
        false => "",
    };
    let pending = match team.pending.len() {
        0 => String::new(),
        1 => ", 1 space has not been told yet".to_owned(),
        count => format!(", {count} spaces have not been told yet"),
    };
    let spaces = match team.spaces.len() {
        1 => "1 space".to_owned(),
        count => format!("{count} spaces"),
    };
    let name = visible(team.name.as_deref().unwrap_or_default());
    let head = format!("{} {name}", team.team);
    let mut lines = format!("{}, {spaces}{manages}{pending}", head.trim_end());
    for member in &team.members {
        let kind = match member.group {
            true => "group ",
            false => "",
        };
        lines.push_str(&format!("\n  {kind}{} {}", member.member, member.role));
    }
    lines
}

fn print(line: &impl Serialize, plain: &str, json: bool) -> Result<Written, Failure> {
    let written = match json {
        true => output::json(line),
        false => output::line(plain),
    };
    written.map_err(Failure::Stdout)
}

#[cfg(test)]
mod tests {
    use p2panda::SigningKey;
    use p2panda_rpc::api::SpaceRole;

    use super::*;

    #[test]
    fn a_team_is_listed_with_its_members_and_what_is_left_to_do() {
        let [team, one, two] = [1, 2, 3].map(|n| SigningKey::from_bytes(&[n; 32]).verifying_key());
        let member = |member, group, role| api::TeamMemberView {
            member,
            group,
            role,
        };
        let mut view = api::TeamView {
            team,
            name: Some("night shift".to_owned()),
            manages: true,
            members: vec![
                member(one, false, SpaceRole::Owner),
                member(two, true, SpaceRole::Editor),
            ],
            spaces: vec!["a".to_owned(), "b".to_owned()],
            pending: vec!["b".to_owned()],
        };
        assert_eq!(
            plain(&view),
            format!(
                "{team} night shift, 2 spaces, managed here, 1 space has not been told yet\n  \
                 {one} owner\n  group {two} editor"
            )
        );
        view.name = None;
        view.manages = false;
        view.pending.clear();
        view.spaces.pop();
        view.members.clear();
        assert_eq!(plain(&view), format!("{team}, 1 space"));
    }
}
