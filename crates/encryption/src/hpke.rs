//! HPKE, base mode, single shot (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! ChaCha20-Poly1305 (`docs/protocol/encryption.md#3.7`).

use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::aead;
use crate::secret::Secret;
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, bytes_array};
use crate::x25519::{PublicKey, SecretKey, ZeroAgreement};

const KEM_SUITE: [u8; 5] = *b"KEM\x00\x20";
const SUITE: [u8; 10] = *b"HPKE\x00\x20\x00\x01\x00\x03";

/// Reason why nothing was sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HpkeError {
    /// The receiver's key is of small order, or the plaintext is too long.
    #[error("could not seal with HPKE")]
    Encryption,
    /// The ciphertext is not for this key, or it was altered.
    #[error("could not open with HPKE")]
    Decryption,
}

/// Ciphertext of one message, with what the receiver needs to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkeCiphertext {
    /// The ephemeral public key.
    pub kem_output: PublicKey,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl Wire for HpkeCiphertext {
    fn write(&self, w: &mut Writer) {
        w.map(2).text("ciphertext").bytes(&self.ciphertext);
        w.text("kem_output").item(&self.kem_output);
    }

    fn read(r: &mut Reader<'_>) -> Result<HpkeCiphertext, DecodeError> {
        let mut fields = Fields::open(r)?;
        let ciphertext = fields.required("ciphertext", |r| Ok(r.bytes()?.to_vec()))?;
        let kem_output = fields.required("kem_output", bytes_array)?;
        fields.close()?;
        Ok(HpkeCiphertext {
            kem_output: PublicKey::from_bytes(kem_output),
            ciphertext,
        })
    }
}

/// Seals for the holder of the receiver's secret key.
pub fn seal(
    receiver: &PublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<HpkeCiphertext, HpkeError> {
    seal_with(&SecretKey::random(rng), receiver, info, aad, plaintext)
}

/// Seals with a given ephemeral key, which must not be used again.
pub(crate) fn seal_with(
    ephemeral: &SecretKey,
    receiver: &PublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<HpkeCiphertext, HpkeError> {
    let kem_output = ephemeral.public_key();
    let dh = ephemeral
        .agree(receiver)
        .map_err(|ZeroAgreement| HpkeError::Encryption)?;
    let schedule = Schedule::new(&dh, &kem_output, receiver, info);
    let ciphertext = aead::seal(schedule.key.as_bytes(), &schedule.nonce, aad, plaintext)
        .map_err(|_| HpkeError::Encryption)?;
    Ok(HpkeCiphertext {
        kem_output,
        ciphertext,
    })
}

/// Opens with the receiver's secret key.
pub fn open(
    receiver: &SecretKey,
    info: &[u8],
    aad: &[u8],
    sealed: &HpkeCiphertext,
) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let dh = receiver
        .agree(&sealed.kem_output)
        .map_err(|ZeroAgreement| HpkeError::Decryption)?;
    let schedule = Schedule::new(&dh, &sealed.kem_output, &receiver.public_key(), info);
    aead::open(
        schedule.key.as_bytes(),
        &schedule.nonce,
        aad,
        &sealed.ciphertext,
    )
    .map_err(|_| HpkeError::Decryption)
}

/// Everything derived from one agreement.
struct Schedule {
    #[cfg(test)]
    shared: Secret,
    key: Secret,
    nonce: [u8; 12],
}

impl Schedule {
    fn new(dh: &Secret, kem_output: &PublicKey, receiver: &PublicKey, info: &[u8]) -> Schedule {
        let shared = dhkem(dh, kem_output, receiver);
        let psk = Psk::none();
        let secret = extract(&SUITE, shared.as_bytes(), b"secret", psk.secret);
        let context = context(&SUITE, &psk, info);
        let mut key = Secret::zeros();
        let mut nonce = [0; 12];
        expand(&SUITE, &secret, b"key", &context, key.as_mut());
        expand(&SUITE, &secret, b"base_nonce", &context, &mut nonce);
        Schedule {
            #[cfg(test)]
            shared,
            key,
            nonce,
        }
    }
}

/// The shared secret of DHKEM(X25519, HKDF-SHA256).
fn dhkem(dh: &Secret, kem_output: &PublicKey, receiver: &PublicKey) -> Secret {
    let eae = extract(&KEM_SUITE, &[], b"eae_prk", dh.as_bytes());
    let mut shared = Secret::zeros();
    let kem_context = [kem_output.as_bytes().as_slice(), receiver.as_bytes()].concat();
    let label = b"shared_secret";
    expand(&KEM_SUITE, &eae, label, &kem_context, shared.as_mut());
    shared
}

/// The pre-shared key of a key schedule, or none.
struct Psk<'a> {
    mode: u8,
    secret: &'a [u8],
    id: &'a [u8],
}

impl Psk<'_> {
    fn none() -> Psk<'static> {
        Psk {
            mode: 0,
            secret: &[],
            id: &[],
        }
    }
}

/// The context of a key schedule: its mode and what the parties know in clear.
fn context(suite: &[u8; 10], psk: &Psk<'_>, info: &[u8]) -> [u8; 65] {
    let psk_id_hash = extract(suite, &[], b"psk_id_hash", psk.id);
    let info_hash = extract(suite, &[], b"info_hash", info);
    let mut context = [0; 65];
    let [mode, hashes @ ..] = &mut context;
    *mode = psk.mode;
    let (left, right) = hashes.split_at_mut(32);
    left.copy_from_slice(psk_id_hash.as_bytes());
    right.copy_from_slice(info_hash.as_bytes());
    context
}

/// `LabeledExtract` of RFC 9180.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Secret {
    let mut labeled = Zeroizing::new(Vec::with_capacity(64 + ikm.len()));
    for part in [b"HPKE-v1".as_slice(), suite, label, ikm] {
        labeled.extend_from_slice(part);
    }
    let (prk, _) = Hkdf::<Sha256>::extract(Some(salt), &labeled);
    Secret::from_bytes(prk.into())
}

/// `LabeledExpand` of RFC 9180.
fn expand(suite: &[u8], prk: &Secret, label: &[u8], info: &[u8], okm: &mut [u8]) {
    let length = (okm.len() as u16).to_be_bytes();
    Hkdf::<Sha256>::from_prk(prk.as_bytes())
        .expect("32 bytes are a key of SHA-256")
        .expand_multi_info(&[&length, b"HPKE-v1", suite, label, info], okm)
        .expect("at most 32 bytes are asked for");
}

mod keys;

pub(crate) use keys::Keys;

#[cfg(test)]
#[path = "hpke_tests.rs"]
mod tests;
