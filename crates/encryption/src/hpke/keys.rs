//! The key schedules of suite 2, which also export secrets
//! (`docs/protocol/encryption-hybrid.md#3.2`).

use zeroize::Zeroizing;

use super::{HpkeError, Psk, SUITE, context, dhkem, expand, extract};
use crate::aead;
use crate::secret::Secret;
use crate::x25519::{PublicKey, SecretKey, ZeroAgreement};

/// The identifier of the pre-shared key, which both sides find by the label of the key.
const PSK_ID: &[u8] = b"2sm";

/// X3DH with an encapsulation.
const FIRST: [u8; 10] = *b"X3DH\x64\x7a\x00\x01\x00\x03";

/// X-Wing.
const HYBRID: [u8; 10] = *b"HPKE\x64\x7a\x00\x01\x00\x03";

/// Result of one agreement: a key for one message, and secrets next to it.
#[derive(Debug)]
pub(crate) struct Keys {
    suite: [u8; 10],
    key: Secret,
    nonce: [u8; 12],
    exporter: Secret,
}

impl Keys {
    /// In base mode, from the secret of X3DH.
    pub(crate) fn first(shared: &Secret, info: &[u8]) -> Keys {
        Keys::schedule(FIRST, shared, &Psk::none(), info)
    }

    /// In base mode with X-Wing.
    pub(crate) fn base(shared: &Secret, info: &[u8]) -> Keys {
        Keys::schedule(HYBRID, shared, &Psk::none(), info)
    }

    /// In PSK mode with X-Wing: anyone who lacks the secret of the encapsulation or the keys that
    /// the newest X25519 key gives has nothing.
    pub(crate) fn hybrid(shared: &Secret, chained: &Keys, info: &[u8]) -> Keys {
        let secret = chained.export(b"hybrid psk");
        let psk = Psk {
            mode: 1,
            secret: secret.as_bytes(),
            id: PSK_ID,
        };
        Keys::schedule(HYBRID, shared, &psk, info)
    }

    /// In PSK mode with X25519, for the sender, who has both halves of the ephemeral key.
    pub(crate) fn chained_to(
        receiver: &PublicKey,
        chain: &Secret,
        info: &[u8],
        (ephemeral, kem_output): (&SecretKey, &PublicKey),
    ) -> Result<Keys, HpkeError> {
        let dh = ephemeral.agree(receiver);
        let dh = dh.map_err(|ZeroAgreement| HpkeError::Encryption)?;
        let shared = dhkem(&dh, kem_output, receiver);
        Ok(Keys::chained(&shared, chain, info))
    }

    /// In PSK mode with X25519, for the receiver.
    pub(crate) fn chained_from(
        receiver: &SecretKey,
        chain: &Secret,
        info: &[u8],
        kem_output: &PublicKey,
    ) -> Result<Keys, HpkeError> {
        let dh = receiver.agree(kem_output);
        let dh = dh.map_err(|ZeroAgreement| HpkeError::Decryption)?;
        let shared = dhkem(&dh, kem_output, &receiver.public_key());
        Ok(Keys::chained(&shared, chain, info))
    }

    fn chained(shared: &Secret, chain: &Secret, info: &[u8]) -> Keys {
        let psk = Psk {
            mode: 1,
            secret: chain.as_bytes(),
            id: PSK_ID,
        };
        Keys::schedule(SUITE, shared, &psk, info)
    }

    fn schedule(suite: [u8; 10], shared: &Secret, psk: &Psk<'_>, info: &[u8]) -> Keys {
        let secret = extract(&suite, shared.as_bytes(), b"secret", psk.secret);
        let context = context(&suite, psk, info);
        let (mut key, mut nonce, mut exporter) = (Secret::zeros(), [0; 12], Secret::zeros());
        expand(&suite, &secret, b"key", &context, key.as_mut());
        expand(&suite, &secret, b"base_nonce", &context, &mut nonce);
        expand(&suite, &secret, b"exp", &context, exporter.as_mut());
        Keys {
            suite,
            key,
            nonce,
            exporter,
        }
    }

    /// Seals the one message of the key, which is gone then.
    pub(crate) fn seal(self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, HpkeError> {
        aead::seal(self.key.as_bytes(), &self.nonce, aad, plaintext)
            .map_err(|_| HpkeError::Encryption)
    }

    /// Opens the message.
    pub(crate) fn open(
        &self,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
        aead::open(self.key.as_bytes(), &self.nonce, aad, ciphertext)
            .map_err(|_| HpkeError::Decryption)
    }

    /// A secret for another purpose.
    pub(crate) fn export(&self, label: &[u8]) -> Secret {
        let mut secret = Secret::zeros();
        expand(&self.suite, &self.exporter, b"sec", label, secret.as_mut());
        secret
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
