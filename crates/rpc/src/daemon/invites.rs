//! Invites for unlisted keys, and the keys that they admitted (`docs/protocol/rpc.md#4`).

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use p2panda::{Topic, VerifyingKey};
use p2panda_core::limits::{
    RPC_INVITE_NAME_BYTES_MAX, RPC_INVITE_TOPICS_MAX, RPC_INVITE_USES_MAX, RPC_INVITE_VALID_MAX,
    RPC_INVITES_MAX,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::access::{Scopes, random, unauthenticated};
use crate::api::{
    AccessCode, AccessInviteParams, Code, INVITE_SCOPES, InviteProof, KeyProof, RpcError,
    invite_proof,
};

/// File of the invites in the node's directory.
const FILE: &str = "invites.json";

/// All invites of a node. Changes are on disk before they take effect.
#[derive(Debug)]
pub(crate) struct Invites {
    path: PathBuf,
    stored: Mutex<Stored>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    invites: Vec<Invite>,
}

/// An invite, with the keys that it admitted.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invite {
    pub(crate) name: String,
    id: String,
    /// Hexadecimal, like the id.
    secret: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) uses: u32,
    /// Seconds since 1970.
    pub(crate) expires: u64,
    pub(crate) keys: BTreeSet<VerifyingKey>,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.name;
        f.debug_struct("Invite").field("name", name).finish()
    }
}

impl Invites {
    /// Reads the invites of a directory.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let stored = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(error),
        };
        let stored = Mutex::new(stored);
        Ok(Invites { path, stored })
    }

    /// Returns the invite that admitted a key, or admits it now by this proof over this text.
    pub(crate) fn admit(
        &self,
        proof: &KeyProof,
        text: &str,
        now: Duration,
    ) -> Result<Invite, RpcError> {
        let mut stored = self.stored.lock();
        let has_come = |invite: &&Invite| invite.keys.contains(&proof.key);
        let Some(InviteProof { id, proof: shown }) = &proof.invite else {
            let found = stored.invites.iter().find(has_come);
            return found.cloned().ok_or_else(unauthenticated);
        };
        let mut changed = stored.clone();
        let invite = changed.invites.iter_mut().find(|invite| invite.id == *id);
        let invite = invite.ok_or_else(unauthenticated)?;
        let right = invite
            .secret()
            .map(|secret| invite_proof(&secret, text, &proof.key));
        let shown = <[u8; 32]>::try_from(&shown.0[..]).map(blake3::Hash::from);
        // Compared in constant time.
        if !matches!((right, shown), (Some(right), Ok(shown)) if shown == right) {
            return Err(unauthenticated());
        }
        if invite.keys.contains(&proof.key) {
            return Ok(invite.clone());
        }
        if now.as_secs() > invite.expires || invite.keys.len() >= invite.uses as usize {
            let error = RpcError::new(Code::Unauthenticated, "the invite has ended, or is used up");
            return Err(error.hint("ask the operator of the node for another one"));
        }
        invite.keys.insert(proof.key);
        let admitted = invite.clone();
        self.write(&changed)?;
        *stored = changed;
        Ok(admitted)
    }

    /// Creates an invite to these topics.
    pub(crate) fn create(
        &self,
        node: VerifyingKey,
        params: &AccessInviteParams,
        topics: BTreeSet<Topic>,
        now: Duration,
    ) -> Result<(String, AccessCode), RpcError> {
        let drawn = random()?;
        let secret = random()?;
        let mut id = [0; 8];
        id.copy_from_slice(drawn.split_at(8).0);
        let name = params.name.clone().unwrap_or_else(|| HEXLOWER.encode(&id));
        check(params, &topics, &name)?;
        let mut stored = self.stored.lock();
        if stored.invites.iter().any(|invite| invite.name == name) {
            let error = RpcError::new(Code::Invalid, format!("there is an invite {name} already"));
            return Err(error.hint("choose another name, or revoke it first"));
        }
        if stored.invites.len() >= RPC_INVITES_MAX {
            let message = format!("a node has at most {RPC_INVITES_MAX} invites");
            return Err(
                RpcError::new(Code::Limit, message).hint("revoke some; access.invites lists them")
            );
        }
        let mut changed = stored.clone();
        changed.invites.push(Invite {
            name: name.clone(),
            id: HEXLOWER.encode(&id),
            secret: HEXLOWER.encode(&secret),
            scopes: params.scopes.clone(),
            topics,
            uses: params.uses,
            expires: now.as_secs().saturating_add(params.expires_seconds),
            keys: BTreeSet::new(),
        });
        changed
            .invites
            .sort_by(|one, other| one.name.cmp(&other.name));
        self.write(&changed)?;
        *stored = changed;
        Ok((name, AccessCode { node, id, secret }))
    }

    /// Ends an invite and the access of its keys.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), RpcError> {
        let mut stored = self.stored.lock();
        let mut changed = stored.clone();
        changed.invites.retain(|invite| invite.name != name);
        if changed.invites.len() == stored.invites.len() {
            let shown: String = name.chars().take(64).collect();
            let error = RpcError::new(Code::NotFound, format!("there is no invite {shown:?}"));
            return Err(error.hint("access.invites lists them"));
        }
        self.write(&changed)?;
        *stored = changed;
        Ok(())
    }

    /// Returns all invites.
    pub(crate) fn all(&self) -> Vec<Invite> {
        self.stored.lock().invites.clone()
    }

    /// Writes the file; after a crash it holds either the old or the new invites.
    fn write(&self, stored: &Stored) -> Result<(), RpcError> {
        let write = || -> io::Result<()> {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            // Created with mode 0600.
            let mut made = tempfile::Builder::new()
                .prefix(".invites")
                .tempfile_in(dir)?;
            made.write_all(&serde_json::to_vec(stored)?)?;
            made.as_file().sync_all()?;
            made.persist(&self.path)?;
            #[cfg(unix)]
            std::fs::File::open(dir)?.sync_all()?;
            Ok(())
        };
        write().map_err(|error| {
            let message = format!("the invites cannot be stored: {error}");
            RpcError::new(Code::Storage, message).hint("make room on the disk of the node")
        })
    }
}

impl Invite {
    fn secret(&self) -> Option<[u8; 32]> {
        let bytes = HEXLOWER.decode(self.secret.as_bytes()).ok()?;
        bytes.try_into().ok()
    }

    /// Access of its keys.
    pub(crate) fn scopes(&self) -> Scopes {
        Scopes::parse(&self.scopes.join(",")).unwrap_or_default()
    }
}

/// Checks the parameters of a new invite.
fn check(
    params: &AccessInviteParams,
    topics: &BTreeSet<Topic>,
    name: &str,
) -> Result<(), RpcError> {
    let is_letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let scopes: BTreeSet<&str> = params.scopes.iter().map(String::as_str).collect();
    let valid = Duration::from_secs(params.expires_seconds);
    let fits = [
        (1..=RPC_INVITE_TOPICS_MAX).contains(&topics.len()),
        (1..=RPC_INVITE_USES_MAX).contains(&params.uses),
        (1..=RPC_INVITE_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_letter),
        !scopes.is_empty() && scopes.iter().all(|scope| INVITE_SCOPES.contains(scope)),
        valid <= RPC_INVITE_VALID_MAX && !valid.is_zero(),
    ];
    if fits == [true; 5] {
        return Ok(());
    }
    let message = format!(
        "an invite has 1 to {RPC_INVITE_TOPICS_MAX} topics, 1 to {RPC_INVITE_USES_MAX} uses, a name of up to \
         {RPC_INVITE_NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores, the scopes {}, and ends \
         within {} days",
        INVITE_SCOPES.join(" and "),
        RPC_INVITE_VALID_MAX.as_secs() / 86_400
    );
    Err(RpcError::new(Code::Invalid, message).hint("change what is outside of this"))
}

#[cfg(test)]
mod tests;
