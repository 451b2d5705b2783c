//! Recovery of a person that has lost all devices.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use p2panda_core::limits::{RECOVERY_FILE_BYTES_MAX, RECOVERY_FOLLOW_WAIT};
use p2panda_core::{NetworkId, SigningKey, Topic, VerifyingKey};
use p2panda_engine::{
    DeviceChange, FileError, Passphrase, PassphraseCost, Pending, RandomSource, RecoveryCommand,
    RecoveryContent, Reply, SpaceCommand, lock, unlock,
};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::node::Node;
use crate::{Error, random_key};

/// Recovery files of the person whose device a node is. Made by [`Node::recovery`].
///
/// A recovery file holds a key of its own, which is a device of the person, and the secrets of all its
/// spaces, sealed under a passphrase (`docs/protocol/recovery.md`).
///
/// ```no_run
/// # async fn example(phone: p2panda::Node, new: p2panda::Node) -> Result<(), Box<dyn std::error::Error>> {
/// let passphrase = p2panda::Passphrase::new("correct horse battery staple")?;
/// phone.recovery().export("person.recovery", &passphrase).await?;
/// // Later, when all devices are lost:
/// let file = p2panda::RecoveryFile::open("person.recovery", &passphrase)?;
/// new.recovery().revoking_others().restore(file).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Recovery {
    node: Node,
    revoke_others: bool,
    keep_earlier: bool,
}

/// An export under way. Made by [`Recovery::begin_export`]. Its passphrase and key are erased when it is
/// dropped; if nothing was stored by then, the next export revokes the key.
pub struct RecoveryExport {
    recovery: Recovery,
    key: SigningKey,
    passphrase: Passphrase,
    bytes: Bytes,
    step: Step,
}

/// Condition that an export waits for.
#[derive(PartialEq, Eq)]
enum Step {
    /// The file is stored; these keys are revoked then.
    First(Vec<VerifyingKey>),
    /// The file with the newest secrets is stored.
    Second,
    Done,
}

/// Place where a recovery file is written, which its owner alone can read.
#[derive(Debug)]
pub struct RecoveryPlace {
    path: PathBuf,
    /// Until something is written.
    first: Option<NamedTempFile>,
}

/// An opened recovery file. Erased when dropped.
pub struct RecoveryFile {
    content: RecoveryContent,
}

/// Reason why a recovery file was not written, or cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The file does not open.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file opens, but its content is invalid.
    #[error(transparent)]
    Content(#[from] p2panda_engine::RecoveryError),
    /// The file belongs to another network than the node.
    #[error("the recovery file is for network {file}, and this node is in {node}")]
    OtherNetwork {
        /// Network that the file belongs to.
        file: NetworkId,
        /// Network that the node is in.
        node: NetworkId,
    },
    /// The file exists; no file is ever replaced.
    #[error("{} already exists; choose another name", path.display())]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

impl Node {
    /// Returns access to the recovery files of the person whose device this node is.
    pub fn recovery(&self) -> Recovery {
        Recovery {
            node: self.clone(),
            revoke_others: false,
            keep_earlier: false,
        }
    }
}

impl Recovery {
    /// Writes a recovery file, which its owner alone may read. The node becomes a device of a person if it
    /// is none. Earlier recovery files of the person, also of its other devices, are of no use any more once
    /// this one is there: their keys are revoked in all spaces ([`Recovery::keeping_earlier`]).
    ///
    /// The file does not contain spaces that are created or joined later. Write it again from time
    /// to time ([`Event::RecoveryDue`](crate::Event::RecoveryDue) is a reminder).
    ///
    /// # Errors
    /// [`Error::Recovery`]: the file exists, or cannot be written; [`Error::Space`]: the person has too
    /// many devices; [`Error::Closed`] after shutdown.
    pub async fn export(
        &self,
        path: impl AsRef<Path>,
        passphrase: &Passphrase,
    ) -> Result<(), Error> {
        let path = path.as_ref().to_owned();
        // Find out whether the file can be written before anything changes.
        let mut place = blocking(move || Ok(RecoveryPlace::new(path)?)).await?;
        let mut export = self.begin_export(passphrase).await?;
        loop {
            let bytes = export.bytes().clone();
            place = blocking(move || {
                place.store(&bytes)?;
                Ok(place)
            })
            .await?;
            if !export.stored().await? {
                return Ok(());
            }
        }
    }

    /// Begins an export whose file is stored elsewhere, in one or two steps: first store
    /// [`RecoveryExport::bytes`], then call [`RecoveryExport::stored`], again as long as that returns true.
    ///
    /// # Errors
    /// As [`Recovery::export`].
    pub async fn begin_export(&self, passphrase: &Passphrase) -> Result<RecoveryExport, Error> {
        let key = random_key()?;
        let begun = self.ask(|reply| RecoveryCommand::Begin {
            key: key.verifying_key(),
            reply,
        });
        let mut earlier = begun.await??;
        if self.keep_earlier {
            earlier.clear();
        }
        Ok(RecoveryExport {
            bytes: self.sealed(&key, passphrase).await?,
            recovery: self.clone(),
            key,
            passphrase: passphrase.clone(),
            step: Step::First(earlier),
        })
    }

    /// Earlier recovery files stay valid when a file is exported: the person then has several.
    #[must_use]
    pub fn keeping_earlier(mut self) -> Recovery {
        self.keep_earlier = true;
        self
    }

    /// Makes [`Recovery::restore`] revoke all other devices of the person.
    #[must_use]
    pub fn revoking_others(mut self) -> Recovery {
        self.revoke_others = true;
        self
    }

    /// Makes this node a new device of the person, and follows its spaces. Messages that the
    /// secrets of the file open are shown as soon as they have synced.
    /// [`Person::pending`](crate::Person::pending) lists the spaces that this device has not joined
    /// yet.
    ///
    /// # Errors
    /// [`Error::Recovery`]: the file is of another network; [`Error::Space`]: this node follows spaces, or
    /// the file is not of a person; [`Error::Closed`] after shutdown.
    pub async fn restore(&self, file: RecoveryFile) -> Result<(), Error> {
        let (file, node) = (file.content, self.node.network_id());
        if file.network != node {
            let file = file.network;
            return Err(RecoveryError::OtherNetwork { file, node }.into());
        }
        let topics: Vec<Topic> = file.card.followed().map(|(topic, _)| *topic).collect();
        let file = Arc::new(file);
        let restored = self.ask(|reply| RecoveryCommand::Restore {
            content: file.clone(),
            revoke_others: self.revoke_others,
            reply,
        });
        restored.await??;
        for topic in topics {
            // The engine keeps it already.
            self.node.join(topic).await?;
        }
        Ok(())
    }

    /// Returns the time at which a recovery file that is still valid was written last, by any
    /// device of the person; `None` if none is known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn written(&self) -> Result<Option<SystemTime>, Error> {
        let look = self.node.person().look().await?;
        Ok(look.exported.map(time))
    }

    /// Returns `true` if the file should be written again: the last one is older than 30 days.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn is_due(&self) -> Result<bool, Error> {
        Ok(self.node.person().look().await?.is_renewal_due)
    }

    /// Seals what a file should hold now.
    async fn sealed(&self, key: &SigningKey, passphrase: &Passphrase) -> Result<Bytes, Error> {
        let content = self.ask(|reply| RecoveryCommand::Content {
            key: Box::new(key.clone()),
            network: self.node.network_id(),
            reply,
        });
        let content = content.await??;
        let passphrase = passphrase.clone();
        blocking(move || {
            let mut rng = RandomSource::open()?;
            let bytes = content.encode();
            let locked = lock(&bytes, &passphrase, PassphraseCost::OURS, &mut rng);
            Ok(locked.map_err(RecoveryError::from)?.into())
        })
        .await
    }

    async fn note(
        &self,
        key: &SigningKey,
        earlier: Vec<VerifyingKey>,
        is_last: bool,
    ) -> Result<usize, Error> {
        let key = key.verifying_key();
        let written = self.ask(|reply| RecoveryCommand::Written {
            key,
            earlier,
            is_last,
            reply,
        });
        Ok(written.await??)
    }

    /// Returns `true` if a revocation has not reached all spaces.
    async fn is_revoking(&self) -> Result<bool, Error> {
        let pending = self.node.person().pending().await?;
        let mut left = pending.iter().map(|(_, what)| what);
        Ok(left.any(|what| matches!(what, Pending::Change(DeviceChange::Revoke(_)))))
    }

    async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> RecoveryCommand,
    ) -> Result<T, Error> {
        let queue = self.node.queue();
        queue
            .space(|reply| SpaceCommand::Recovery(command(reply)))
            .await
    }
}

impl RecoveryExport {
    /// The recovery file as it is now.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes are stored where they survive. Earlier recovery files are then of no use any more; true
    /// if there are other bytes now, which must replace those, before the next call.
    ///
    /// # Errors
    /// [`Error::Space`]: another device has revoked the key of the file meanwhile; [`Error::Closed`] after
    /// shutdown. What is stored stays as it is.
    pub async fn stored(&mut self) -> Result<bool, Error> {
        match &self.step {
            Step::First(earlier) => {
                let earlier = earlier.clone();
                let mut events = self.recovery.node.events();
                if self.recovery.note(&self.key, earlier, false).await? == 0 {
                    self.step = Step::Done;
                    return Ok(false);
                }
                let recovery = &self.recovery;
                let followed = async {
                    while recovery.is_revoking().await? && events.next().await.is_some() {}
                    Ok::<(), Error>(())
                };
                if let Ok(followed) = timeout(RECOVERY_FOLLOW_WAIT, followed).await {
                    followed?;
                }
                self.bytes = self.recovery.sealed(&self.key, &self.passphrase).await?;
                self.step = Step::Second;
            }
            Step::Second => {
                self.recovery.note(&self.key, Vec::new(), true).await?;
                self.step = Step::Done;
            }
            Step::Done => {}
        }
        Ok(self.step == Step::Second)
    }
}

impl std::fmt::Debug for RecoveryExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecoveryExport").finish_non_exhaustive()
    }
}

impl RecoveryPlace {
    /// Looks whether a file can be written there.
    ///
    /// # Errors
    /// [`RecoveryError`]: something is there, or its directory cannot be written.
    pub fn new(path: impl Into<PathBuf>) -> Result<RecoveryPlace, RecoveryError> {
        let path = path.into();
        let first = Some(temporary(&path)?);
        Ok(RecoveryPlace { path, first })
    }

    /// Writes the file. The first call replaces nothing, later ones replace what it wrote.
    ///
    /// # Errors
    /// [`RecoveryError`]; what was there stays.
    pub fn store(&mut self, bytes: &[u8]) -> Result<(), RecoveryError> {
        match self.first.take() {
            Some(file) => write(file, bytes, &self.path, false),
            None => write(temporary_next_to(&self.path)?, bytes, &self.path, true),
        }
    }
}

impl RecoveryFile {
    /// Opens a recovery file. Deriving the key from the passphrase takes 64 MiB of memory and up to
    /// some seconds.
    ///
    /// # Errors
    /// [`RecoveryError`]: what is wrong with the file, or that the passphrase is another one.
    pub fn open(
        path: impl AsRef<Path>,
        passphrase: &Passphrase,
    ) -> Result<RecoveryFile, RecoveryError> {
        let path = path.as_ref();
        let failed = |source| io(path, source);
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        // One byte above the limit shows that the file is too large.
        let mut file = file.take(RECOVERY_FILE_BYTES_MAX as u64 + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        RecoveryFile::from_bytes(&bytes, passphrase)
    }

    /// The same with what was read.
    ///
    /// # Errors
    /// As [`RecoveryFile::open`].
    pub fn from_bytes(
        bytes: &[u8],
        passphrase: &Passphrase,
    ) -> Result<RecoveryFile, RecoveryError> {
        let content: Zeroizing<Vec<u8>> = unlock(bytes, passphrase)?;
        let content = RecoveryContent::decode(&content)?;
        Ok(RecoveryFile { content })
    }

    /// Returns the network of the person. The node that restores the file must be in it.
    pub fn network_id(&self) -> NetworkId {
        self.content.network
    }

    /// Returns when the file was written.
    pub fn written(&self) -> SystemTime {
        time(self.content.written)
    }

    /// Returns the topics of its spaces.
    pub fn topics(&self) -> impl Iterator<Item = Topic> + '_ {
        self.content.card.spaces.iter().map(|(topic, _)| *topic)
    }
}

impl std::fmt::Debug for RecoveryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecoveryFile").finish_non_exhaustive()
    }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(u64::from(u32::MAX)))
}

fn io(path: &Path, source: std::io::Error) -> RecoveryError {
    let path = path.to_owned();
    RecoveryError::Io { path, source }
}

/// Creates a temporary file next to the path of the recovery file, which must not exist.
fn temporary(path: &Path) -> Result<NamedTempFile, RecoveryError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(exists(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => temporary_next_to(path),
        Err(error) => Err(io(path, error)),
    }
}

/// Creates a file that only its owner may read.
fn temporary_next_to(path: &Path) -> Result<NamedTempFile, RecoveryError> {
    let made = NamedTempFile::new_in(directory(path));
    made.map_err(|error| io(path, error))
}

fn directory(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> RecoveryError {
    let path = path.to_owned();
    RecoveryError::Exists { path }
}

/// Writes and syncs the file before it gets its name.
fn write(
    mut file: NamedTempFile,
    bytes: &[u8],
    path: &Path,
    replace: bool,
) -> Result<(), RecoveryError> {
    let failed = |source| io(path, source);
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let named = match replace {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    named.map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => io(path, error.error),
    })?;
    #[cfg(unix)]
    std::fs::File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(|_| Error::Closed)?
}
