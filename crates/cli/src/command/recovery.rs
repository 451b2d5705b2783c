//! `panda device export` and `panda device restore`

use std::path::{Path, PathBuf};

use p2panda::{NetworkId, Passphrase, RecoveryFile, RecoveryPlace};
use p2panda_rpc::api;
use serde::Serialize;
use tokio::task::block_in_place;

use crate::args::DeviceCommand;
use crate::command::device::followed;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use crate::passphrase;

/// Answers of the user that are needed before a node is opened.
pub enum Prepared {
    Nothing,
    Export(Passphrase),
    /// The opened file, and what opens it.
    Restore(Box<RecoveryFile>, Passphrase),
}

impl Prepared {
    /// The network of the file that is restored.
    pub fn network(&self) -> Option<NetworkId> {
        match self {
            Prepared::Restore(file, _) => Some(file.network_id()),
            _ => None,
        }
    }
}

/// Asks for the passphrase, and opens the file that is restored.
pub fn prepare(command: &DeviceCommand) -> Result<Prepared, Failure> {
    let ask = |from: &Option<PathBuf>, twice| {
        let from: Option<&Path> = from.as_deref();
        block_in_place(|| passphrase::ask(from, twice))
    };
    Ok(match command {
        DeviceCommand::Export {
            file,
            passphrase_file,
            ..
        } => {
            // Before the passphrase is typed.
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
            // Before the passphrase is typed.
            if let Err(source) = std::fs::File::open(file) {
                let path = file.clone();
                let error = p2panda::RecoveryError::Io { path, source };
                return Err(p2panda::Error::from(error).into());
            }
            let passphrase = ask(passphrase_file, false)?;
            let open = || RecoveryFile::open(file, &passphrase);
            let opened = block_in_place(open);
            let opened = opened.map_err(p2panda::Error::from)?;
            Prepared::Restore(Box::new(opened), passphrase)
        }
        _ => Prepared::Nothing,
    })
}

#[derive(Serialize)]
struct Line {
    done: &'static str,
    device: String,
    spaces: u64,
}

pub async fn run(
    face: &Face,
    (command, before): (DeviceCommand, Prepared),
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    match (command, before) {
        (
            DeviceCommand::Export {
                file,
                keep_earlier,
                wait,
                json,
                ..
            },
            Prepared::Export(passphrase),
        ) => {
            note("writing the recovery file");
            let spaces = export(face, &file, &passphrase, keep_earlier).await?;
            say("export", face, spaces, json)?;
            let shown = file.display();
            note(&format!(
                "{shown} opens {}; keep it away from your devices",
                counted(spaces)
            ));
            followed(face, wait, interrupt).await
        }
        (
            DeviceCommand::Restore {
                file,
                revoke_others,
                wait,
                json,
                ..
            },
            Prepared::Restore(opened, passphrase),
        ) => {
            let spaces = restore(face, (&file, *opened), &passphrase, revoke_others).await?;
            say("restore", face, spaces, json)?;
            note(&format!(
                "this is a new device of yours, and follows {}",
                counted(spaces)
            ));
            let done = followed(face, wait, interrupt).await?;
            match done {
                Outcome::Done => admitted(face).await,
                done => Ok(done),
            }
        }
        _ => Ok(Outcome::Done),
    }
}

/// Says which spaces have made the restored device a member.
async fn admitted(face: &Face) -> Result<Outcome, Failure> {
    let spaces = face.spaces().await?;
    let left = spaces.iter().filter(|space| space.role.is_none()).count();
    if left > 0 {
        note(&waiting(left, spaces.len()));
        return Ok(Outcome::StoredOnly);
    }
    note("all spaces have admitted it; write a new recovery file with `panda device export`");
    Ok(Outcome::Done)
}

fn waiting(left: usize, all: usize) -> String {
    format!(
        "{left} of {} have not admitted it: what their members said has not come yet, or they no longer take the \
         key of this file, because a newer recovery file was written or the key was revoked; `panda space ls` \
         shows when it is a member",
        counted(all as u64)
    )
}

/// Writes the file; how many spaces are in it.
async fn export(
    face: &Face,
    file: &Path,
    passphrase: &Passphrase,
    keep_earlier: bool,
) -> Result<u64, Failure> {
    let remote = match face {
        Face::Own(node) => {
            let recovery = match keep_earlier {
                true => node.recovery().keeping_earlier(),
                false => node.recovery(),
            };
            recovery.export(file, passphrase).await?;
            return Ok(node.spaces().list().await?.len() as u64);
        }
        Face::Running(remote) => remote,
    };
    let written = |error: p2panda::RecoveryError| Failure::from(p2panda::Error::from(error));
    let mut place = block_in_place(|| RecoveryPlace::new(file)).map_err(written)?;
    let params = api::DeviceExportParams {
        passphrase: passphrase.expose().to_owned(),
        keep_earlier,
    };
    let begun = remote.call::<api::DeviceExport>(&params).await?;
    let mut next = Some(begun.file);
    while let Some(bytes) = next {
        block_in_place(|| place.store(&bytes.0)).map_err(written)?;
        let export = begun.export.clone();
        let params = api::DeviceExportStoredParams { export };
        next = remote.call::<api::DeviceExportStored>(&params).await?.file;
    }
    Ok(begun.spaces)
}

/// Restores the file; how many spaces are in it.
async fn restore(
    face: &Face,
    (path, opened): (&Path, RecoveryFile),
    passphrase: &Passphrase,
    revoke_others: bool,
) -> Result<u64, Failure> {
    let remote = match face {
        Face::Own(node) => {
            let spaces = opened.topics().count() as u64;
            let recovery = match revoke_others {
                true => node.recovery().revoking_others(),
                false => node.recovery(),
            };
            recovery.restore(opened).await?;
            return Ok(spaces);
        }
        Face::Running(remote) => remote,
    };
    let path = path.to_owned();
    let bytes = block_in_place(|| std::fs::read(&path));
    let bytes = bytes
        .map_err(|source| p2panda::Error::from(p2panda::RecoveryError::Io { path, source }))?;
    let params = api::DeviceRestoreParams {
        file: bytes.into(),
        passphrase: passphrase.expose().to_owned(),
        revoke_others,
    };
    Ok(remote.call::<api::DeviceRestore>(&params).await?.spaces)
}

fn say(done: &'static str, face: &Face, spaces: u64, json: bool) -> Result<(), Failure> {
    let device = face.id().to_string();
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

fn counted(spaces: u64) -> String {
    match spaces {
        1 => "1 space".to_owned(),
        _ => format!("{spaces} spaces"),
    }
}
