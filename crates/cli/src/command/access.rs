//! `panda node invite`, `invites` and `revoke`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda_rpc::api;
use serde::Serialize;

use crate::args::{AccessArgs, NodeArgs};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Done, Written, note};
use crate::remote::Remote;

async fn running(args: &NodeArgs) -> Result<Remote, Failure> {
    Face::running(args, false)
        .await?
        .ok_or_else(|| crate::open::nothing_runs(args))
}

#[derive(Serialize)]
struct AccessLine {
    invite: String,
    name: String,
}

/// Creates and prints an invite to the running node.
pub async fn invite(args: &NodeArgs, access: AccessArgs) -> Result<Outcome, Failure> {
    let remote = running(args).await?;
    let topics = access.topics.iter();
    let scopes: &[&str] = match access.read_only {
        true => &["read"],
        false => &api::INVITE_SCOPES,
    };
    let params = api::AccessInviteParams {
        topics: topics.map(|named| named.topic.to_string()).collect(),
        name: access.name,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        uses: access.uses,
        expires_seconds: access.expires.as_secs(),
    };
    let made = remote.call::<api::AccessInvite>(&params).await?;
    let line = AccessLine {
        invite: made.invite,
        name: made.name,
    };
    let written = match access.json {
        true => output::json(&line),
        false => output::line(&line.invite),
    };
    let _ = written.map_err(Failure::Stdout)?;
    note(&format!(
        "anyone who has it may have a key admitted; `panda node revoke {}` ends that",
        line.name
    ));
    if remote.status().await?.rpc.is_empty() {
        note("keys are admitted at an address for HTTP: set rpc.listen, and start the node again");
    }
    Ok(Outcome::Done)
}

/// An invite as `panda node invites --json` prints it.
#[derive(Serialize)]
struct InviteLine {
    name: String,
    scopes: Vec<String>,
    topics: Vec<String>,
    uses: u32,
    expires: u64,
    keys: Vec<String>,
}

/// Prints the invites of the running node.
pub async fn list(args: &NodeArgs, json: bool) -> Result<Outcome, Failure> {
    let remote = running(args).await?;
    let invites = remote
        .call::<api::AccessInvites>(&api::Empty {})
        .await?
        .invites;
    for invite in invites {
        let line = InviteLine {
            topics: remote.reveal(&invite.topics).await?,
            keys: invite.keys.iter().map(ToString::to_string).collect(),
            name: invite.name,
            scopes: invite.scopes,
            uses: invite.uses,
            expires: invite.expires,
        };
        let written = match json {
            true => output::json(&line),
            false => output::line(&line.plain()),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

/// Ends an invite.
pub async fn revoke(args: &NodeArgs, name: String, json: bool) -> Result<Outcome, Failure> {
    let remote = running(args).await?;
    let params = api::AccessRevokeParams { name };
    remote.call::<api::AccessRevoke>(&params).await?;
    output::done(json, &Done::new("revoke", &params.name)).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

impl InviteLine {
    fn plain(&self) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let left = Duration::from_secs(self.expires).checked_sub(now);
        let until = match left {
            Some(left) if self.keys.len() < self.uses as usize => {
                format!("ends in {:.1} days", left.as_secs_f64() / 86_400.0)
            }
            _ => "admits no more".to_owned(),
        };
        let (name, scopes, topics) = (&self.name, self.scopes.join("+"), self.topics.join(" "));
        let mut plain = format!(
            "{name}  {scopes}  {} of {}, {until}  {topics}",
            self.keys.len(),
            self.uses
        );
        for key in &self.keys {
            plain.push_str(&format!("\n  {key}"));
        }
        plain
    }
}
