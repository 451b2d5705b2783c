//! Content of a recovery file (`docs/protocol/recovery.md#4`).

use p2panda_core::cbor::{self, Reader};
use p2panda_core::limits::{GROUP_SECRETS_MAX, PERSON_SPACES_MAX};
use p2panda_core::{NetworkId, SigningKey};
use p2panda_encryption::data::SecretBundle;
use p2panda_encryption::{Items, Secret, Wire, Writer};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::sealed::{read_array, read_list};
use crate::{Invalid, PersonCard};

const VERSION: u64 = 1;

/// Reason why the content of a recovery file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// A newer version wrote it.
    #[error("the recovery file was written by a newer p2panda; run a newer version")]
    Newer,
    /// Its content is not that of a recovery file.
    #[error("the recovery file opens, but its content is invalid")]
    Invalid(#[from] Invalid),
}

/// Data that restores a person that has lost all devices. Erased when dropped.
#[derive(Debug)]
pub struct RecoveryContent {
    /// The network of the person's nodes.
    pub network: NetworkId,
    /// The recovery key, which is a device of the person.
    pub key: SigningKey,
    /// Time at which it was written, in seconds since 1970.
    pub written: u64,
    /// The person and its spaces.
    pub card: PersonCard,
    /// The secrets of each space of [`PersonCard::followed`], in the same order.
    pub secrets: Vec<SpaceSecrets>,
}

/// The secrets of one space.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SpaceSecrets {
    /// The secrets of content. Each also gives a structure key.
    pub(super) secrets: SecretBundle,
    /// Structure keys without a secret of content.
    pub(super) keys: Vec<Secret>,
}

impl SpaceSecrets {
    /// Returns `true` if the space has no secrets.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.keys.is_empty()
    }

    /// Number of secrets of content.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.secrets).array(self.keys.len());
        for key in &self.keys {
            w.bytes(key.as_bytes());
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<SpaceSecrets, Invalid> {
        if r.array()? != 2 {
            return Err(Invalid::Bytes);
        }
        let secrets = SecretBundle::decode(r.item()?).map_err(|_| Invalid::Bytes)?;
        let keys = read_list(r, GROUP_SECRETS_MAX, |r| {
            Ok(Secret::from_bytes(read_array(r)?))
        })?;
        Ok(SpaceSecrets { secrets, keys })
    }
}

impl RecoveryContent {
    /// Encodes the content, to be sealed with a passphrase.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.array(6).uint(VERSION).bytes(self.network.as_bytes());
        w.bytes(self.key.to_bytes().as_slice()).uint(self.written);
        w.bytes(&self.card.encode());
        w.array(self.secrets.len());
        for secrets in &self.secrets {
            secrets.write(&mut w);
        }
        w.into_bytes()
    }

    /// Decodes the output of [`RecoveryContent::encode`].
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn decode(bytes: &[u8]) -> Result<RecoveryContent, RecoveryError> {
        let mut r = Reader::checked(bytes, cbor::VALUE).map_err(Invalid::from)?;
        let items = r.array().map_err(Invalid::from)?;
        if r.uint().map_err(Invalid::from)? != VERSION {
            return Err(RecoveryError::Newer);
        }
        if items != 6 {
            return Err(Invalid::Variant.into());
        }
        let content = read(&mut r)?;
        r.finish().map_err(Invalid::from)?;
        Ok(content)
    }
}

fn read(r: &mut Reader<'_>) -> Result<RecoveryContent, Invalid> {
    let content = RecoveryContent {
        network: NetworkId::from_bytes(read_array(r)?),
        key: SigningKey::from_bytes(&Zeroizing::new(read_array(r)?)),
        written: r.uint()?,
        card: PersonCard::decode(r.bytes()?)?,
        secrets: read_list(r, PERSON_SPACES_MAX + 1, SpaceSecrets::read)?,
    };
    match content.secrets.len() == content.card.followed().count() {
        true => Ok(content),
        false => Err(Invalid::Bytes),
    }
}
