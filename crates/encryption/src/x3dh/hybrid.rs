//! X3DH with one encapsulation (`docs/protocol/encryption-hybrid.md#4.2`).

use zeroize::Zeroizing;

use super::{Agreements, X3dhError};
use crate::bundle::{HybridBundle, OneTimePreKey};
use crate::hkdf::derive_secret;
use crate::hpke::Keys;
use crate::secret::Secret;
use crate::suite::first_aad;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, nullable, tuple};
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::{ENCAPSULATION_BYTES, Randomness, XWingSecret};

/// A first message of the hybrid suite. Its identity key is a claim until it is compared with the
/// registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridFirst {
    /// The pre-key of the receiver; its X-Wing pre-key is the one that was published with it.
    pub prekey_id: PublicKey,
    /// The sender's identity key.
    pub identity_key: PublicKey,
    /// The sender's key for this message only.
    pub ephemeral_key: PublicKey,
    /// The one-time key of the receiver, if one was used.
    pub onetime_prekey_id: Option<u64>,
    /// Encapsulated to the X-Wing pre-key.
    pub kem_output: Vec<u8>,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl Wire for HybridFirst {
    fn write(&self, w: &mut Writer) {
        w.array(6).item(&self.prekey_id).item(&self.identity_key);
        w.item(&self.ephemeral_key);
        match self.onetime_prekey_id {
            Some(id) => w.uint(id),
            None => w.null(),
        };
        w.bytes(&self.kem_output).bytes(&self.ciphertext);
    }

    fn read(r: &mut Reader<'_>) -> Result<HybridFirst, DecodeError> {
        tuple(r, 6, |r| {
            let message = HybridFirst {
                prekey_id: PublicKey::read(r)?,
                identity_key: PublicKey::read(r)?,
                ephemeral_key: PublicKey::read(r)?,
                onetime_prekey_id: nullable(r, |r| Ok(r.uint()?))?,
                kem_output: r.bytes()?.to_vec(),
                ciphertext: r.bytes()?.to_vec(),
            };
            match message.kem_output.len() {
                ENCAPSULATION_BYTES => Ok(message),
                _ => Err(DecodeError::Length),
            }
        })
    }
}

/// Receiver of a first message, and what was drawn for it.
pub(crate) struct HybridTarget {
    pub(crate) identity: SecretKey,
    pub(crate) bundle: HybridBundle,
    pub(crate) onetime: Option<OneTimePreKey>,
    pub(crate) now: u64,
    pub(crate) ephemeral: SecretKey,
    pub(crate) randomness: Randomness,
}

impl HybridTarget {
    /// Agrees on keys, and gives what travels but for the ciphertext, and the associated data. The
    /// bundle is verified once more.
    pub(crate) fn agree(&self, info: &[u8]) -> Result<(Keys, HybridFirst, Vec<u8>), X3dhError> {
        let bundle = &self.bundle;
        bundle.verify(self.now)?;
        let prekey = &bundle.signed_prekey.key;
        let agreements = Agreements {
            dh1: self.identity.agree(prekey)?,
            dh2: self.ephemeral.agree(&bundle.identity_key)?,
            dh3: self.ephemeral.agree(prekey)?,
            dh4: match &self.onetime {
                Some(onetime) => Some(self.ephemeral.agree(&onetime.key)?),
                None => None,
            },
        };
        let (kem_output, shared) = bundle.xwing.encapsulate(&self.randomness);
        let identity_key = self.identity.public_key();
        let first = HybridFirst {
            prekey_id: *prekey,
            identity_key,
            ephemeral_key: self.ephemeral.public_key(),
            onetime_prekey_id: self.onetime.map(|onetime| onetime.id),
            kem_output: kem_output.to_vec(),
            ciphertext: Vec::new(),
        };
        let both = (&identity_key, &bundle.identity_key);
        let aad = first_aad(both, (prekey, &bundle.xwing), first.onetime_prekey_id);
        Ok((keys(&agreements, &shared, info), first, aad))
    }
}

/// Opens a first message with the secrets that it names.
pub(crate) fn open(
    message: &HybridFirst,
    identity: &SecretKey,
    (prekey, xwing): (&SecretKey, &XWingSecret),
    onetime: Option<&SecretKey>,
    info: &[u8],
) -> Result<(Keys, Zeroizing<Vec<u8>>), X3dhError> {
    let agreements = Agreements::of_receiver(
        (&message.identity_key, &message.ephemeral_key),
        (identity, prekey),
        onetime,
    )?;
    let shared = xwing.open(&message.kem_output)?;
    let keys = keys(&agreements, &shared, info);
    let both = (&message.identity_key, &identity.public_key());
    let prekeys = (&message.prekey_id, &xwing.public_key());
    let aad = first_aad(both, prekeys, message.onetime_prekey_id);
    let body = keys.open(&aad, &message.ciphertext)?;
    Ok((keys, body))
}

fn keys(agreements: &Agreements, shared: &Secret, info: &[u8]) -> Keys {
    let mut ikm = agreements.ikm();
    ikm.extend_from_slice(shared.as_bytes());
    let shared = derive_secret(&[0; 32], &ikm, b"p2panda hybrid x3dh");
    Keys::first(&shared, info)
}
