//! `panda device export` and `panda device restore`

use std::path::{Path, PathBuf};

use p2panda::{NetworkId, Node, Passphrase, RecoveryFile};
use serde::Serialize;

use crate::args::DeviceCommand;
use crate::command::device::followed;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use crate::passphrase;

/// What is asked for before a node is opened.
pub enum Prepared {
    Nothing,
    Export(Passphrase),
    Restore(Box<RecoveryFile>),
}

impl Prepared {
    /// The network of the file that is restored.
    pub fn network(&self) -> Option<NetworkId> {
        match self {
            Prepared::Restore(file) => Some(file.network_id()),
            _ => None,
        }
    }
}

/// Asks for the passphrase, and opens the file that is restored.
pub fn prepare(command: &DeviceCommand) -> Result<Prepared, Failure> {
    let ask = |from: &Option<PathBuf>, twice| {
        let from: Option<&Path> = from.as_deref();
        tokio::task::block_in_place(|| passphrase::ask(from, twice))
    };
    Ok(match command {
        DeviceCommand::Export {
            file,
            passphrase_file,
            ..
        } => {
            // Nobody types a passphrase for nothing.
            if file.symlink_metadata().is_ok() {
                let path = file.clone();
                let error = p2panda::RecoveryError::Exists { path };
                return Err(p2panda::Error::from(error).into());
            }
            Prepared::Export(ask(passphrase_file, true)?)
        }
        DeviceCommand::Restore {
            file,
            passphrase_file,
            ..
        } => {
            let passphrase = ask(passphrase_file, false)?;
            let open = || RecoveryFile::open(file, &passphrase);
            let opened = tokio::task::block_in_place(open);
            Prepared::Restore(Box::new(opened.map_err(p2panda::Error::from)?))
        }
        _ => Prepared::Nothing,
    })
}

#[derive(Serialize)]
struct Line {
    done: &'static str,
    device: String,
    spaces: usize,
}

pub async fn run(
    face: &Face,
    (command, before): (DeviceCommand, Prepared),
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let node = match face {
        Face::Own(node) => node,
        Face::Running(remote) => {
            let at = remote.at().to_owned();
            return Err(Failure::RecoveryOfRunning { at });
        }
    };
    match (command, before) {
        (
            DeviceCommand::Export {
                file, wait, json, ..
            },
            Prepared::Export(passphrase),
        ) => {
            note("writing the recovery file");
            node.recovery().export(&file, &passphrase).await?;
            let spaces = node.spaces().list().await?.len();
            say("export", node, spaces, json)?;
            let shown = file.display();
            note(&format!(
                "{shown} opens {}; keep it away from your devices",
                counted(spaces)
            ));
            followed(face, wait, interrupt).await
        }
        (
            DeviceCommand::Restore {
                revoke_others,
                wait,
                json,
                ..
            },
            Prepared::Restore(file),
        ) => {
            let spaces = file.topics().count();
            let recovery = match revoke_others {
                true => node.recovery().revoking_others(),
                false => node.recovery(),
            };
            recovery.restore(*file).await?;
            say("restore", node, spaces, json)?;
            note(&format!(
                "this is a new device of yours, and follows {}",
                counted(spaces)
            ));
            let done = followed(face, wait, interrupt).await?;
            if done == Outcome::Done {
                note(
                    "all spaces have let it in; write a new recovery file with `panda device export`",
                );
            }
            Ok(done)
        }
        _ => Ok(Outcome::Done),
    }
}

fn say(done: &'static str, node: &Node, spaces: usize, json: bool) -> Result<(), Failure> {
    let device = node.id().to_string();
    let line = Line {
        done,
        device,
        spaces,
    };
    if json {
        // Whether somebody reads it makes no difference to what is stored.
        let _ = output::json(&line).map_err(Failure::Stdout)?;
    }
    Ok(())
}

fn counted(spaces: usize) -> String {
    match spaces {
        1 => "1 space".to_owned(),
        _ => format!("{spaces} spaces"),
    }
}
