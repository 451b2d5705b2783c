//! What travels between two members.

use zeroize::Zeroizing;

use crate::hpke::HpkeCiphertext;
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, ints, unit, variant};
use crate::x3dh::X3dhCiphertext;
use crate::x25519::{PublicKey, SecretKey};

/// Which of the receiver's keys a message was encrypted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyUsed {
    /// Those of a bundle: a first message.
    PreKey,
    /// The key that the sender made for the receiver in the message before.
    ReceivedKey,
    /// The receiver's own key with this index.
    OwnKey(u64),
}

impl Wire for KeyUsed {
    fn write(&self, w: &mut Writer) {
        match self {
            KeyUsed::PreKey => w.text("PreKey"),
            KeyUsed::ReceivedKey => w.text("ReceivedKey"),
            KeyUsed::OwnKey(index) => w.map(1).text("OwnKey").uint(*index),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<KeyUsed, DecodeError> {
        Ok(match variant(r)? {
            ("PreKey", value) => {
                unit(r, value)?;
                KeyUsed::PreKey
            }
            ("ReceivedKey", value) => {
                unit(r, value)?;
                KeyUsed::ReceivedKey
            }
            ("OwnKey", true) => KeyUsed::OwnKey(r.uint()?),
            _ => return Err(DecodeError::Variant),
        })
    }
}

/// The ciphertext of a first or a later message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TwoPartyCiphertext {
    /// To a bundle.
    PreKey(X3dhCiphertext),
    /// To a key of an earlier message.
    Hpke(HpkeCiphertext),
}

impl TwoPartyCiphertext {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            TwoPartyCiphertext::PreKey(ciphertext) => ciphertext.ciphertext.len(),
            TwoPartyCiphertext::Hpke(ciphertext) => ciphertext.ciphertext.len(),
        }
    }
}

impl Wire for TwoPartyCiphertext {
    fn write(&self, w: &mut Writer) {
        match self {
            TwoPartyCiphertext::PreKey(ciphertext) => w.map(1).text("PreKey").item(ciphertext),
            TwoPartyCiphertext::Hpke(ciphertext) => w.map(1).text("Hpke").item(ciphertext),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<TwoPartyCiphertext, DecodeError> {
        match variant(r)? {
            ("PreKey", true) => X3dhCiphertext::read(r).map(TwoPartyCiphertext::PreKey),
            ("Hpke", true) => HpkeCiphertext::read(r).map(TwoPartyCiphertext::Hpke),
            _ => Err(DecodeError::Variant),
        }
    }
}

/// A message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwoPartyMessage {
    /// Which key opens it.
    pub key_used: KeyUsed,
    /// The ciphertext.
    pub ciphertext: TwoPartyCiphertext,
}

impl Wire for TwoPartyMessage {
    fn write(&self, w: &mut Writer) {
        w.map(2).text("key_used").item(&self.key_used);
        w.text("ciphertext").item(&self.ciphertext);
    }

    fn read(r: &mut Reader<'_>) -> Result<TwoPartyMessage, DecodeError> {
        let mut fields = Fields::open(r)?;
        let key_used = fields.required("key_used", KeyUsed::read)?;
        let ciphertext = fields.required("ciphertext", TwoPartyCiphertext::read)?;
        fields.close()?;
        Ok(TwoPartyMessage {
            key_used,
            ciphertext,
        })
    }
}

/// What is inside the ciphertext.
pub(super) struct TwoPartyPlaintext {
    /// Of a first message that is not the first of all; 0.7.1 peers do not look at it.
    pub(super) generation: Option<u64>,
    pub(super) plaintext: Zeroizing<Vec<u8>>,
    pub(super) sender_next_index: u64,
    pub(super) receiver_new_secret: SecretKey,
    pub(super) sender_new_verifying_key: PublicKey,
}

impl Wire for TwoPartyPlaintext {
    fn write(&self, w: &mut Writer) {
        w.map(4 + usize::from(self.generation.is_some()));
        w.text("plaintext").ints(&self.plaintext);
        if let Some(generation) = self.generation {
            w.text("generation").uint(generation);
        }
        w.text("sender_next_index").uint(self.sender_next_index);
        w.text("receiver_new_secret")
            .item(&self.receiver_new_secret);
        w.text("sender_new_verifying_key")
            .item(&self.sender_new_verifying_key);
    }

    fn read(r: &mut Reader<'_>) -> Result<TwoPartyPlaintext, DecodeError> {
        let mut fields = Fields::open(r)?;
        let plaintext = fields.required("plaintext", ints)?;
        let generation = fields.optional("generation", |r| Ok(r.uint()?))?;
        let sender_next_index = fields.required("sender_next_index", |r| Ok(r.uint()?))?;
        let receiver_new_secret = fields.required("receiver_new_secret", SecretKey::read)?;
        let sender_new_verifying_key =
            fields.required("sender_new_verifying_key", PublicKey::read)?;
        fields.close()?;
        Ok(TwoPartyPlaintext {
            generation,
            plaintext,
            sender_next_index,
            receiver_new_secret,
            sender_new_verifying_key,
        })
    }
}
