//! Values that both devices derive (`docs/protocol/device-link.md#4`).

use p2panda_core::{DeviceCode, VerifyingKey};
use p2panda_encryption::{PublicKey, Secret, SecretKey, hkdf};
use zeroize::Zeroizing;

use super::Side;

const LINK_KEY: &str = "p2panda device link key v1";
const COMMIT: &str = "p2panda device link commit v1";
const SESSION: &[u8] = b"p2panda device link session v1";
const DIGITS: &str = "p2panda device link digits v1";

/// A key of one link, and the digits that show whether both ends have the same one.
pub(super) struct Session {
    pub key: Secret,
    pub digits: String,
}

/// Derives the key of everyone who has the code.
pub(super) fn link_key(code: &DeviceCode) -> Secret {
    Secret::from_bytes(blake3::derive_key(LINK_KEY, code.as_bytes()))
}

/// Returns the commitment to a key, sent before the key itself.
pub(super) fn commitment(
    link: &Secret,
    (side, author): (Side, &VerifyingKey),
    key: &PublicKey,
) -> [u8; 32] {
    let link = link.as_bytes().as_slice();
    let parts = [link, &[side as u8], author.as_bytes(), key.as_bytes()];
    blake3::derive_key(COMMIT, &Zeroizing::new(parts.concat()))
}

/// Derives the session of two devices, the old one first, from their node ids and public keys.
/// `None` if the agreement is zero.
pub(super) fn session(
    link: &Secret,
    [old, new]: [(&VerifyingKey, &PublicKey); 2],
    (own, other): (&SecretKey, &PublicKey),
) -> Option<Session> {
    let agreement = own.agree(other).ok()?;
    let transcript = [
        old.0.as_bytes().as_slice(),
        new.0.as_bytes(),
        old.1.as_bytes(),
        new.1.as_bytes(),
    ];
    let transcript = transcript.concat();
    let mut key = Zeroizing::new([0; 32]);
    let info = [SESSION, &transcript].concat();
    let agreement = agreement.as_bytes();
    hkdf(link.as_bytes(), agreement, &info, key.as_mut_slice()).ok()?;
    let key = Secret::from_bytes(*key);
    let digits = digits(link, &transcript);
    Some(Session { key, digits })
}

fn digits(link: &Secret, transcript: &[u8]) -> String {
    let parts = [link.as_bytes().as_slice(), transcript];
    let hash = blake3::derive_key(DIGITS, &Zeroizing::new(parts.concat()));
    let [a, b, c, d, e, f, g, h, ..] = hash;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    format!("{:06}", number % 1_000_000)
}
