//! `panda device`

use std::future::pending;
use std::time::Duration;

use p2panda_rpc::api;
use serde::Serialize;
use tokio::time::sleep;

use crate::args::{DeviceCommand, NodeArgs};
use crate::command::device_link;
use crate::command::following::{LOOK_INTERVAL, until_followed};
use crate::command::recovery::{self, Prepared};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Written, note};
use crate::settings::{Resolved, Settings};

/// Does one thing with the devices of the person whose device the node that runs is, or the home directory.
pub async fn run(args: &mut NodeArgs, command: DeviceCommand) -> Result<Outcome, Failure> {
    let before = recovery::prepare(&command)?;
    args.network_of_file = before.network();
    let settings = Settings::load(args)?.resolved;
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    let work = with(&face, &settings, (command, before), &mut interrupt);
    let done = match &face {
        Face::Own(node) => until_stopped(node, work).await,
        Face::Running(remote) => remote.until_gone(work).await,
    };
    interrupt.finish(face.close()).await?;
    done
}

async fn with(
    face: &Face,
    settings: &Resolved,
    (command, before): (DeviceCommand, Prepared),
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    match command {
        DeviceCommand::Export { .. } | DeviceCommand::Restore { .. } => {
            recovery::run(face, (command, before), interrupt).await
        }
        DeviceCommand::Link { qr, json } => {
            device_link::link(face, settings, (qr, json), interrupt).await
        }
        DeviceCommand::Accept { code, json } => {
            device_link::accept(face, &code.code, json, interrupt).await
        }
        DeviceCommand::Ls { json } => list(&face.devices().await?, json),
        DeviceCommand::Revoke { device, wait, json } => {
            face.revoke_device(device).await?;
            let line = RevokedLine {
                done: "revoke",
                device: device.to_string(),
            };
            if json {
                // Whether somebody reads it makes no difference to what is stored.
                let _ = output::json(&line).map_err(Failure::Stdout)?;
            }
            followed(face, wait, interrupt).await
        }
    }
}

/// Completes once no peer is connected that could be sent anything.
pub async fn is_alone(face: &Face) -> Result<(), Failure> {
    loop {
        let peers = face.peers().await?.peers;
        if !peers.iter().any(|peer| peer.connected) {
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
    }
}

#[derive(Serialize)]
struct RevokedLine {
    done: &'static str,
    device: String,
}

/// Waits until all spaces have followed, and a peer was sent that.
pub async fn followed(
    face: &Face,
    wait: Duration,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    followed_unless(face, wait, interrupt, pending()).await
}

/// The same, until it is of no use to wait for peers.
pub async fn followed_unless(
    face: &Face,
    wait: Duration,
    interrupt: &mut Interrupt,
    gone: impl Future<Output = Result<(), Failure>>,
) -> Result<Outcome, Failure> {
    let done = async {
        loop {
            let list = face.devices().await?;
            let mut devices = list.devices.iter();
            if list.unsent == 0 && devices.all(|device| device.pending.is_empty()) {
                return Ok::<(), Failure>(());
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    until_followed(face, (wait, "some spaces"), done, gone, interrupt).await
}

fn list(list: &api::DeviceListResult, json: bool) -> Result<Outcome, Failure> {
    if list.person.is_none() {
        note("this node is a member of spaces by itself; it has no other devices");
    }
    if list.renewal_due {
        note(output::RENEWAL);
    }
    for line in &list.devices {
        let written = match json {
            true => output::json(line),
            false => output::line(&plain(line)),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

fn plain(line: &api::DeviceView) -> String {
    let this = match line.this {
        true => " (this one)",
        false => "",
    };
    let pending = match line.pending.len() {
        0 => String::new(),
        1 => ", 1 space has not been told yet".to_owned(),
        count => format!(", {count} spaces have not been told yet"),
    };
    format!("{} {}{this}{pending}", line.device, line.state.as_str())
}

#[cfg(test)]
mod tests {
    use p2panda::{DeviceChange, Pending, PersonState, Topic};
    use p2panda_rpc::daemon::map;

    use super::*;

    #[test]
    fn each_device_counts_the_spaces_not_told_yet() {
        let [a, b, c] =
            [1, 2, 3].map(|seed| p2panda::SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let [one, two] = [1, 2].map(|number| Topic::from_bytes([number; 32]));
        let mut look = PersonState::default();
        look.devices = vec![a, b];
        look.pending = vec![
            (one, Pending::Change(DeviceChange::Add(b))),
            (one, Pending::Change(DeviceChange::Revoke(c))),
            (two, Pending::Change(DeviceChange::Revoke(c))),
        ];
        let devices = map::devices(a, &look, Topic::to_string);
        let lines: Vec<String> = devices.iter().map(plain).collect();
        let expected = [
            format!("{a} linked (this one)"),
            format!("{b} linked, 1 space has not been told yet"),
            format!("{c} revoked, 2 spaces have not been told yet"),
        ];
        assert_eq!(lines, expected);
    }
}
