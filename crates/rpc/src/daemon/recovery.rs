//! Recovery files of the node's person (`docs/protocol/rpc.md#15`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use p2panda::{Error, Passphrase, RecoveryExport, RecoveryFile};
use p2panda_core::limits::{RPC_EXPORT_LIFETIME, RPC_RECOVERY_BYTES_MAX, RPC_RENEWAL_INTERVAL};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::access::Who;
use super::map;
use super::service::Service;
use super::session::Session;
use crate::api::{self, Bin, Code, RpcError};

type Of<T> = Result<T, RpcError>;

fn failed(error: Error) -> RpcError {
    map::error(&error)
}

/// The export that is under way: one at a time, since each takes the memory of a passphrase.
#[derive(Debug, Default)]
pub(crate) struct Exports(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    name: String,
    export: RecoveryExport,
}

/// Set if the recovery file should be written again, as far as is known: a status does not wait
/// until the node can store.
#[derive(Debug, Default)]
pub(crate) struct Renewal(AtomicBool);

impl Renewal {
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks whether the recovery file should be written again.
async fn look(service: &Service) -> Of<()> {
    let is_due = service.node.recovery().is_due().await.map_err(failed)?;
    service.renewal.0.store(is_due, Ordering::Relaxed);
    Ok(())
}

/// Looks again from time to time: other devices export as well, and files age.
pub(crate) async fn keep_looking(service: Service) {
    let mut ended = std::pin::pin!(service.ended());
    // A node that has stopped has nothing to say about it.
    while look(&service).await.is_ok() {
        tokio::select! {
            () = sleep(RPC_RENEWAL_INTERVAL) => {}
            () = &mut ended => return,
        }
    }
}

fn busy() -> RpcError {
    RpcError::new(Code::Limit, "a recovery file is being written or restored")
        .hint("wait, and call it again")
}

fn passphrase(text: &str) -> Of<Passphrase> {
    let passphrase = Passphrase::new(text);
    passphrase.map_err(|error| RpcError::new(Code::InvalidParams, error.to_string()))
}

fn fits(bytes: usize) -> Of<()> {
    match bytes <= RPC_RECOVERY_BYTES_MAX {
        true => Ok(()),
        false => {
            let error = RpcError::new(
                Code::Limit,
                "the recovery file is larger than the RPC returns",
            );
            Err(error.hint("stop the node, and run `panda device export` without it"))
        }
    }
}

pub(crate) async fn export(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceExportParams,
) -> Of<api::DeviceExportResult> {
    let service = &session.service;
    let passphrase = passphrase(&params.passphrase)?;
    let mut open = service.exports.0.try_lock().map_err(|_| busy())?;
    let recovery = match params.keep_earlier {
        true => service.node.recovery().keeping_earlier(),
        false => service.node.recovery(),
    };
    // An earlier one that its client gave up ends here.
    *open = None;
    let export = recovery.begin_export(&passphrase).await.map_err(failed)?;
    fits(export.bytes().len())?;
    let spaces = service.node.spaces().list().await.map_err(failed)?.len() as u64;
    let name = p2panda::random_topic().map_err(failed)?.to_string();
    let name: String = name.chars().take(32).collect();
    let file = Bin(export.bytes().clone());
    *open = Some(Open {
        name: name.clone(),
        export,
    });
    tokio::spawn(give_up(service.clone(), name.clone()));
    Ok(api::DeviceExportResult {
        export: name,
        file,
        spaces,
    })
}

/// Erases an export that its client does not continue.
async fn give_up(service: Service, name: String) {
    tokio::select! {
        () = sleep(RPC_EXPORT_LIFETIME) => {}
        () = service.ended() => {}
    }
    let mut open = service.exports.0.lock().await;
    if open.as_ref().is_some_and(|open| open.name == name) {
        *open = None;
    }
}

pub(crate) async fn export_stored(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceExportStoredParams,
) -> Of<api::DeviceExportStoredResult> {
    let exports = &session.service.exports;
    let mut slot = exports.0.try_lock().map_err(|_| busy())?;
    let Some(mut open) = slot.take_if(|open| open.name == params.export) else {
        let error = RpcError::new(Code::NotFound, "there is no such export");
        return Err(error.hint("device.export begins one; it ends after 10 minutes"));
    };
    let is_again = open.export.stored().await.map_err(failed)?;
    look(&session.service).await?;
    if !is_again {
        return Ok(api::DeviceExportStoredResult { file: None });
    }
    fits(open.export.bytes().len())?;
    let file = Some(Bin(open.export.bytes().clone()));
    *slot = Some(open);
    Ok(api::DeviceExportStoredResult { file })
}

pub(crate) async fn restore(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceRestoreParams,
) -> Of<api::DeviceRestoreResult> {
    let service = &session.service;
    let passphrase = passphrase(&params.passphrase)?;
    let _alone = service.exports.0.try_lock().map_err(|_| busy())?;
    let open = move || RecoveryFile::from_bytes(&params.file.0, &passphrase);
    let opened = spawn_blocking(open)
        .await
        .map_err(|_| failed(Error::Closed))?;
    let file = opened.map_err(|error| failed(error.into()))?;
    let spaces = file.topics().count() as u64;
    let recovery = match params.revoke_others {
        true => service.node.recovery().revoking_others(),
        false => service.node.recovery(),
    };
    recovery.restore(file).await.map_err(failed)?;
    look(service).await?;
    Ok(api::DeviceRestoreResult { spaces })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_returned_up_to_its_limit() {
        assert!(fits(RPC_RECOVERY_BYTES_MAX).is_ok());
        let refused = fits(RPC_RECOVERY_BYTES_MAX + 1);
        assert!(refused.is_err_and(|error| error.kind() == Code::Limit));
    }
}
