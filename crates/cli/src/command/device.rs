//! `panda device`

use std::time::Duration;

use p2panda::{DeviceChange, Node, Pending, VerifyingKey};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::args::{DeviceCommand, NodeArgs};
use crate::command::device_link;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Written, note};
use crate::remote::Remote;
use crate::settings::{Resolved, Settings};

/// How often to look whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Does one thing with the devices of the person whose device the home directory is.
pub async fn run(args: &NodeArgs, command: DeviceCommand) -> Result<Outcome, Failure> {
    if let Some(running) = Remote::find(args).await? {
        let at = running.at().to_owned();
        return Err(Failure::DevicesOfRunning { at });
    }
    let settings = Settings::load(args)?.resolved;
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    let work = with(&node, &settings, command, &mut interrupt);
    let done = until_stopped(&node, work).await;
    interrupt.finish(node.shutdown()).await?;
    done
}

async fn with(
    node: &Node,
    settings: &Resolved,
    command: DeviceCommand,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    match command {
        DeviceCommand::Link { qr, json } => {
            device_link::link(node, settings, (qr, json), interrupt).await
        }
        DeviceCommand::Accept { code, json } => {
            device_link::accept(node, &code.code, json, interrupt).await
        }
        DeviceCommand::Ls { json } => list(node, json).await,
        DeviceCommand::Revoke { device, wait, json } => {
            node.person().revoke_device(device).await?;
            let line = RevokedLine {
                done: "revoke",
                device: device.to_string(),
            };
            if json {
                // Whether somebody reads it makes no difference to what is stored.
                let _ = output::json(&line).map_err(Failure::Stdout)?;
            }
            followed(node, wait, interrupt).await
        }
    }
}

#[derive(Serialize)]
struct RevokedLine {
    done: &'static str,
    device: String,
}

/// Waits until all spaces have followed, and a peer was sent that.
pub async fn followed(
    node: &Node,
    wait: Duration,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let done = async {
        while !(node.person().pending().await?.is_empty() && node.unsent().await?.is_empty()) {
            sleep(LOOK_INTERVAL).await;
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        done = timeout(wait, done) => if let Ok(done) = done {
            return done.map(|()| Outcome::Done);
        },
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    }
    note("stored here; some spaces have not heard of it yet: the next command continues this");
    Ok(Outcome::StoredOnly)
}

#[derive(Serialize)]
struct DeviceLine {
    device: String,
    /// It is this one.
    this: bool,
    /// `linked`; `revoked` while spaces have not heard of that.
    state: &'static str,
    /// The topics of spaces that have not heard of it yet.
    pending: Vec<String>,
}

async fn list(node: &Node, json: bool) -> Result<Outcome, Failure> {
    let person = node.person().look().await?;
    if person.id.is_none() {
        note("this node is a member of spaces by itself; it has no other devices");
    }
    for line in lines(node.id(), &person.devices, &person.pending) {
        let written = match json {
            true => output::json(&line),
            false => output::line(&plain(&line)),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

fn lines(
    me: VerifyingKey,
    devices: &[VerifyingKey],
    pending: &[(p2panda::Topic, Pending)],
) -> Vec<DeviceLine> {
    let line = |device: VerifyingKey, state: &'static str| {
        let concerns = |what: &Pending| match what {
            Pending::Introduce => true,
            Pending::Change(change) => change.device() == device,
        };
        let waits = pending.iter().filter(|(_, what)| concerns(what));
        let mut topics: Vec<String> = waits.map(|(topic, _)| topic.to_string()).collect();
        topics.dedup();
        DeviceLine {
            device: device.to_string(),
            this: device == me,
            state,
            pending: topics,
        }
    };
    let mut lines: Vec<DeviceLine> = Vec::new();
    lines.extend(devices.iter().map(|device| line(*device, "linked")));
    let mut revoked: Vec<VerifyingKey> = Vec::new();
    for (_, what) in pending {
        if let Pending::Change(DeviceChange::Revoke(device)) = what
            && !revoked.contains(device)
        {
            revoked.push(*device);
        }
    }
    lines.extend(revoked.iter().map(|device| line(*device, "revoked")));
    lines
}

fn plain(line: &DeviceLine) -> String {
    let this = match line.this {
        true => " (this one)",
        false => "",
    };
    let pending = match line.pending.len() {
        0 => String::new(),
        1 => ", 1 space has not heard of it yet".to_owned(),
        count => format!(", {count} spaces have not heard of it yet"),
    };
    format!("{} {}{this}{pending}", line.device, line.state)
}

#[cfg(test)]
mod tests {
    use p2panda::Topic;

    use super::*;

    #[test]
    fn each_device_says_where_it_is_not_heard_of() {
        let [a, b, c] =
            [1, 2, 3].map(|seed| p2panda::SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let [one, two] = [1, 2].map(|number| Topic::from_bytes([number; 32]));
        let pending = [
            (one, Pending::Change(DeviceChange::Add(b))),
            (one, Pending::Change(DeviceChange::Revoke(c))),
            (two, Pending::Change(DeviceChange::Revoke(c))),
        ];
        let lines: Vec<String> = lines(a, &[a, b], &pending).iter().map(plain).collect();
        let expected = [
            format!("{a} linked (this one)"),
            format!("{b} linked, 1 space has not heard of it yet"),
            format!("{c} revoked, 2 spaces have not heard of it yet"),
        ];
        assert_eq!(lines, expected);
    }
}
