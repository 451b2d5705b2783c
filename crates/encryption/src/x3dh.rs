//! X3DH, which encrypts the first message to somebody who may be offline
//! (`docs/protocol/encryption.md#8`).

pub(crate) mod hybrid;

pub use hybrid::HybridFirst;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::aead::{self, AeadError};
use crate::bundle::{Bundle, BundleError};
use crate::hkdf::{derive_nonce, derive_secret};
use crate::hpke::HpkeError;
use crate::secret::Secret;
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, ints};
use crate::x25519::{PublicKey, SecretKey, ZeroAgreement};
use crate::xwing::XWingError;

/// Reason why nothing was encrypted or decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum X3dhError {
    /// The bundle does not verify.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A key in the message or bundle is of small order.
    #[error(transparent)]
    ZeroAgreement(#[from] ZeroAgreement),
    /// The ciphertext does not open, or the plaintext is too long.
    #[error(transparent)]
    Aead(#[from] AeadError),
    /// The encapsulation of a hybrid message does not open.
    #[error(transparent)]
    XWing(#[from] XWingError),
    /// The hybrid message does not open, or is too long.
    #[error(transparent)]
    Hpke(#[from] HpkeError),
}

/// A first message. Its identity key is a claim until it is compared with the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X3dhCiphertext {
    /// The pre-key of the receiver.
    pub prekey_id: PublicKey,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
    /// The sender's identity key.
    pub identity_key: PublicKey,
    /// The sender's key for this message only.
    pub ephemeral_key: PublicKey,
    /// The one-time key of the receiver, if the bundle had one.
    pub onetime_prekey_id: Option<u64>,
}

impl Wire for X3dhCiphertext {
    fn write(&self, w: &mut Writer) {
        w.map(5).text("prekey_id").item(&self.prekey_id);
        w.text("ciphertext").ints(&self.ciphertext);
        w.text("identity_key").item(&self.identity_key);
        w.text("ephemeral_key").item(&self.ephemeral_key);
        w.text("onetime_prekey_id");
        match self.onetime_prekey_id {
            Some(id) => w.uint(id),
            None => w.null(),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<X3dhCiphertext, DecodeError> {
        let mut fields = Fields::open(r)?;
        let prekey_id = fields.required("prekey_id", PublicKey::read)?;
        let ciphertext = fields.required("ciphertext", |r| Ok(ints(r)?.to_vec()))?;
        let identity_key = fields.required("identity_key", PublicKey::read)?;
        let ephemeral_key = fields.required("ephemeral_key", PublicKey::read)?;
        let onetime_prekey_id = fields.optional("onetime_prekey_id", |r| Ok(r.uint()?))?;
        fields.close()?;
        Ok(X3dhCiphertext {
            prekey_id,
            ciphertext,
            identity_key,
            ephemeral_key,
            onetime_prekey_id,
        })
    }
}

/// Encrypts for the owner of the bundle, which is verified once more.
pub fn encrypt(
    plaintext: &[u8],
    identity: &SecretKey,
    bundle: &Bundle,
    now: u64,
    rng: &mut impl CryptoRng,
) -> Result<X3dhCiphertext, X3dhError> {
    encrypt_with(plaintext, identity, bundle, now, &SecretKey::random(rng))
}

/// Encrypts with a given ephemeral key, which must not be used again.
pub(crate) fn encrypt_with(
    plaintext: &[u8],
    identity: &SecretKey,
    bundle: &Bundle,
    now: u64,
    ephemeral: &SecretKey,
) -> Result<X3dhCiphertext, X3dhError> {
    bundle.verify(now)?;
    let agreements = Agreements {
        dh1: identity.agree(bundle.prekey())?,
        dh2: ephemeral.agree(bundle.identity_key())?,
        dh3: ephemeral.agree(bundle.prekey())?,
        dh4: match bundle.onetime() {
            Some(onetime) => Some(ephemeral.agree(&onetime.key)?),
            None => None,
        },
    };
    let identity_key = identity.public_key();
    let (key, nonce) = agreements.derive();
    let ad = associated(&identity_key, bundle.identity_key());
    Ok(X3dhCiphertext {
        prekey_id: *bundle.prekey(),
        ciphertext: aead::seal(key.as_bytes(), &nonce, &ad, plaintext)?,
        identity_key,
        ephemeral_key: ephemeral.public_key(),
        onetime_prekey_id: bundle.onetime().map(|onetime| onetime.id),
    })
}

/// Decrypts with the secrets that the message names.
pub fn decrypt(
    message: &X3dhCiphertext,
    identity: &SecretKey,
    prekey: &SecretKey,
    onetime: Option<&SecretKey>,
) -> Result<Zeroizing<Vec<u8>>, X3dhError> {
    let agreements = Agreements::of_receiver(
        (&message.identity_key, &message.ephemeral_key),
        (identity, prekey),
        onetime,
    )?;
    let (key, nonce) = agreements.derive();
    let ad = associated(&message.identity_key, &identity.public_key());
    Ok(aead::open(
        key.as_bytes(),
        &nonce,
        &ad,
        &message.ciphertext,
    )?)
}

struct Agreements {
    dh1: Secret,
    dh2: Secret,
    dh3: Secret,
    dh4: Option<Secret>,
}

impl Agreements {
    /// From the sender's keys and our secrets.
    fn of_receiver(
        (their_identity, ephemeral): (&PublicKey, &PublicKey),
        (identity, prekey): (&SecretKey, &SecretKey),
        onetime: Option<&SecretKey>,
    ) -> Result<Agreements, ZeroAgreement> {
        Ok(Agreements {
            dh1: prekey.agree(their_identity)?,
            dh2: identity.agree(ephemeral)?,
            dh3: prekey.agree(ephemeral)?,
            dh4: match onetime {
                Some(onetime) => Some(onetime.agree(ephemeral)?),
                None => None,
            },
        })
    }

    /// The key, used once, and its nonce.
    fn derive(&self) -> (Secret, [u8; 12]) {
        let ikm = self.ikm();
        let key = derive_secret(&[0; 32], &ikm, b"p2panda");
        let nonce = derive_nonce(&[], key.as_bytes());
        (key, nonce)
    }

    fn ikm(&self) -> Zeroizing<Vec<u8>> {
        let mut ikm = Zeroizing::new(Vec::with_capacity(6 * 32));
        ikm.extend_from_slice(&[0xff; 32]);
        let three = [&self.dh1, &self.dh2, &self.dh3];
        for dh in three.into_iter().chain(&self.dh4) {
            ikm.extend_from_slice(dh.as_bytes());
        }
        ikm
    }
}

fn associated(sender: &PublicKey, receiver: &PublicKey) -> [u8; 64] {
    let mut ad = [0; 64];
    let (left, right) = ad.split_at_mut(32);
    left.copy_from_slice(sender.as_bytes());
    right.copy_from_slice(receiver.as_bytes());
    ad
}

#[cfg(test)]
#[path = "x3dh_tests.rs"]
mod tests;
