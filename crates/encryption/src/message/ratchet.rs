//! The message ratchet: a key per message, gone after use
//! (`docs/protocol/encryption.md#11.5`).

use std::collections::VecDeque;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::aead::{self, AeadError};
use crate::hkdf::{derive_nonce, derive_secret};
use crate::secret::Secret;
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, ints_array, nullable, tuple};

/// Reason why there is no key for a message; the ratchet is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// More messages are missing before this one than are skipped at once.
    #[error("the message is too far ahead")]
    TooDistantInTheFuture,
    /// The key was dropped, because too many later messages were opened.
    #[error("the message is too late")]
    TooDistantInThePast,
    /// There never was a key for the message.
    #[error("no key was kept for the message")]
    IndexOutOfBounds,
    /// The key was used.
    #[error("the message was already opened")]
    SecretReuse,
    /// Every generation was used: an update is needed.
    #[error("the ratchet is at its end")]
    Exhausted,
    /// The message does not open, or is too long.
    #[error(transparent)]
    Aead(#[from] AeadError),
}

/// Key and nonce of one message.
#[derive(Debug, PartialEq, Eq)]
pub struct MessageKey {
    key: Secret,
    nonce: [u8; 12],
}

impl MessageKey {
    fn open(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, AeadError> {
        aead::open(self.key.as_bytes(), &self.nonce, &[], ciphertext)
    }
}

impl Wire for MessageKey {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.key).ints(&self.nonce);
    }

    fn read(r: &mut Reader<'_>) -> Result<MessageKey, DecodeError> {
        tuple(r, 2, |r| {
            Ok(MessageKey {
                key: Secret::read(r)?,
                nonce: ints_array(r)?,
            })
        })
    }
}

/// The chain that gives a sender the key of each next message.
#[derive(Debug, PartialEq, Eq)]
pub struct Ratchet {
    secret: Secret,
    generation: u32,
}

impl Ratchet {
    /// Starts at generation 0 from an update secret.
    pub fn new(update_secret: Secret) -> Ratchet {
        Ratchet {
            secret: update_secret,
            generation: 0,
        }
    }

    /// Seals the next message and gives its generation.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<(u32, Vec<u8>), RatchetError> {
        let (key, next) = self.step()?;
        let sealed = aead::seal(key.key.as_bytes(), &key.nonce, &[], plaintext)?;
        let generation = self.generation;
        *self = next;
        Ok((generation, sealed))
    }

    /// The key of this generation, and the ratchet after it.
    fn step(&self) -> Result<(MessageKey, Ratchet), RatchetError> {
        let generation = self.generation.checked_add(1);
        let next = Ratchet {
            generation: generation.ok_or(RatchetError::Exhausted)?,
            secret: derive_secret(b"chain", self.secret.as_bytes(), &[]),
        };
        let key = MessageKey {
            nonce: derive_nonce(b"nonce", self.secret.as_bytes()),
            key: derive_secret(b"key", self.secret.as_bytes(), &[]),
        };
        Ok((key, next))
    }

    fn duplicate(&self) -> Ratchet {
        Ratchet {
            secret: self.secret.duplicate(),
            generation: self.generation,
        }
    }
}

impl Wire for Ratchet {
    fn write(&self, w: &mut Writer) {
        w.map(2).text("secret").item(&self.secret);
        w.text("generation").uint(u64::from(self.generation));
    }

    fn read(r: &mut Reader<'_>) -> Result<Ratchet, DecodeError> {
        let mut fields = Fields::open(r)?;
        let secret = fields.required("secret", Secret::read)?;
        let generation = fields.required("generation", |r| Ok(r.uint()?))?;
        let generation = u32::try_from(generation).map_err(|_| DecodeError::Range)?;
        fields.close()?;
        Ok(Ratchet { secret, generation })
    }
}

/// The chain that gives receivers the keys of one sender, with those of messages that are late.
#[derive(Debug, PartialEq, Eq)]
pub struct DecryptionRatchet {
    /// Newest first; the first one is of the generation before the head's.
    past: VecDeque<Option<MessageKey>>,
    head: Ratchet,
}

impl DecryptionRatchet {
    /// Starts at generation 0 from an update secret.
    pub fn new(update_secret: Secret) -> DecryptionRatchet {
        DecryptionRatchet {
            past: VecDeque::new(),
            head: Ratchet::new(update_secret),
        }
    }

    /// Opens a message, which uses up its key.
    ///
    /// At most `forward_max` messages are skipped, and the keys of the last `late_max`
    /// generations are kept.
    pub fn open(
        &mut self,
        generation: u32,
        ciphertext: &[u8],
        forward_max: u32,
        late_max: u32,
    ) -> Result<Zeroizing<Vec<u8>>, RatchetError> {
        let open = |key: &MessageKey| Ok(key.open(ciphertext)?);
        self.with_key(generation, forward_max, late_max, open)
    }

    /// Uses the key of a generation, unless `with` fails.
    pub(super) fn with_key<T>(
        &mut self,
        generation: u32,
        forward_max: u32,
        late_max: u32,
        with: impl FnOnce(&MessageKey) -> Result<T, RatchetError>,
    ) -> Result<T, RatchetError> {
        let head = self.head.generation;
        if head < u32::MAX.saturating_sub(forward_max)
            && generation > head.saturating_add(forward_max)
        {
            return Err(RatchetError::TooDistantInTheFuture);
        }
        if generation >= head {
            return self.forward(generation, late_max, with);
        }
        let back = head - generation;
        if back > late_max {
            return Err(RatchetError::TooDistantInThePast);
        }
        let index = usize::try_from(back - 1).map_err(|_| RatchetError::IndexOutOfBounds)?;
        let entry = self.past.get_mut(index);
        let entry = entry.ok_or(RatchetError::IndexOutOfBounds)?;
        let value = with(entry.as_ref().ok_or(RatchetError::SecretReuse)?)?;
        *entry = None;
        Ok(value)
    }

    fn forward<T>(
        &mut self,
        generation: u32,
        late_max: u32,
        with: impl FnOnce(&MessageKey) -> Result<T, RatchetError>,
    ) -> Result<T, RatchetError> {
        let mut skipped = Vec::new();
        let mut ratchet = self.head.duplicate();
        while ratchet.generation < generation {
            let (key, next) = ratchet.step()?;
            skipped.push(Some(key));
            ratchet = next;
        }
        let (key, next) = ratchet.step()?;
        let value = with(&key)?;
        for key in skipped.into_iter().chain([None]) {
            self.past.push_front(key);
        }
        self.past.truncate(late_max as usize);
        self.head = next;
        Ok(value)
    }
}

impl Wire for DecryptionRatchet {
    fn write(&self, w: &mut Writer) {
        w.map(2).text("past_secrets").array(self.past.len());
        for key in &self.past {
            w.optional(key.as_ref());
        }
        w.text("ratchet_head").item(&self.head);
    }

    fn read(r: &mut Reader<'_>) -> Result<DecryptionRatchet, DecodeError> {
        let mut fields = Fields::open(r)?;
        let past = fields.required("past_secrets", |r| {
            let mut past = VecDeque::new();
            for _ in 0..r.array()? {
                past.push_back(nullable(r, MessageKey::read)?);
            }
            Ok(past)
        })?;
        let head = fields.required("ratchet_head", Ratchet::read)?;
        fields.close()?;
        Ok(DecryptionRatchet { past, head })
    }
}

#[cfg(test)]
#[path = "ratchet_tests.rs"]
mod tests;
