//! The messages between two members.

use p2panda_core::cbor::Kind;
use zeroize::Zeroizing;

use crate::hpke::HpkeCiphertext;
use crate::suite::Suite;
use crate::wire::{
    DecodeError, Fields, Items, Reader, Wire, Writer, bytes_array, ints, tuple, unit, variant,
};
use crate::x3dh::{HybridFirst, X3dhCiphertext};
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::ENCAPSULATION_BYTES;

/// Key of the receiver that a message was encrypted to.
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

impl KeyUsed {
    /// The index, if it is an own key of the receiver.
    pub(super) fn own(&self) -> Option<u64> {
        match self {
            KeyUsed::OwnKey(index) => Some(*index),
            _ => None,
        }
    }

    /// In the hybrid suite: an own index, which is never 0, or 0 for the received key.
    fn write_short(&self, w: &mut Writer) {
        match self {
            KeyUsed::OwnKey(index) => w.uint(*index),
            KeyUsed::PreKey | KeyUsed::ReceivedKey => w.uint(0),
        };
    }

    fn read_short(r: &mut Reader<'_>) -> Result<KeyUsed, DecodeError> {
        Ok(match r.uint()? {
            0 => KeyUsed::ReceivedKey,
            index => KeyUsed::OwnKey(index),
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
    /// Of the hybrid suite, to a bundle.
    First(HybridFirst),
    /// Of the hybrid suite, to an X-Wing key of an earlier message and the newest X25519 key.
    Hybrid {
        /// X-Wing key that was used; that of the message names the X25519 key.
        xwing_used: KeyUsed,
        /// Encapsulated to the key; its ephemeral X25519 key serves both keys.
        kem_output: Vec<u8>,
        /// Ciphertext and tag.
        ciphertext: Vec<u8>,
    },
    /// Of the hybrid suite, to an X25519 key of an earlier message and the secret that came with
    /// it.
    Chained {
        /// The ephemeral public key.
        kem_output: PublicKey,
        /// Ciphertext and tag.
        ciphertext: Vec<u8>,
    },
}

impl TwoPartyCiphertext {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            TwoPartyCiphertext::PreKey(ciphertext) => ciphertext.ciphertext.len(),
            TwoPartyCiphertext::Hpke(ciphertext) => ciphertext.ciphertext.len(),
            TwoPartyCiphertext::First(first) => first.ciphertext.len() + ENCAPSULATION_BYTES,
            TwoPartyCiphertext::Hybrid { ciphertext, .. } => ciphertext.len() + ENCAPSULATION_BYTES,
            TwoPartyCiphertext::Chained { ciphertext, .. } => ciphertext.len(),
        }
    }

    /// The suite of the channel that it belongs to.
    pub fn suite(&self) -> Suite {
        match self {
            TwoPartyCiphertext::PreKey(_) | TwoPartyCiphertext::Hpke(_) => Suite::Classic,
            TwoPartyCiphertext::First(_)
            | TwoPartyCiphertext::Hybrid { .. }
            | TwoPartyCiphertext::Chained { .. } => Suite::Hybrid,
        }
    }
}

/// A message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwoPartyMessage {
    /// Key that opens it.
    pub key_used: KeyUsed,
    /// Ciphertext for that key.
    pub ciphertext: TwoPartyCiphertext,
}

/// The classic suite writes maps, the hybrid one arrays with a short label.
impl Wire for TwoPartyMessage {
    fn write(&self, w: &mut Writer) {
        match &self.ciphertext {
            TwoPartyCiphertext::PreKey(ciphertext) => {
                w.map(2).text("key_used").item(&self.key_used);
                w.text("ciphertext").map(1).text("PreKey").item(ciphertext);
            }
            TwoPartyCiphertext::Hpke(ciphertext) => {
                w.map(2).text("key_used").item(&self.key_used);
                w.text("ciphertext").map(1).text("Hpke").item(ciphertext);
            }
            TwoPartyCiphertext::First(first) => {
                w.array(2).null().item(first);
            }
            TwoPartyCiphertext::Hybrid {
                xwing_used,
                kem_output,
                ciphertext,
            } => {
                self.key_used.write_short(w.array(4));
                xwing_used.write_short(w);
                w.bytes(kem_output).bytes(ciphertext);
            }
            TwoPartyCiphertext::Chained {
                kem_output,
                ciphertext,
            } => {
                self.key_used.write_short(w.array(3));
                w.item(kem_output).bytes(ciphertext);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<TwoPartyMessage, DecodeError> {
        if r.peek()? == Kind::Array {
            return read_hybrid(r);
        }
        let mut fields = Fields::open(r)?;
        let key_used = fields.required("key_used", KeyUsed::read)?;
        let ciphertext = fields.required("ciphertext", |r| match variant(r)? {
            ("PreKey", true) => X3dhCiphertext::read(r).map(TwoPartyCiphertext::PreKey),
            ("Hpke", true) => HpkeCiphertext::read(r).map(TwoPartyCiphertext::Hpke),
            _ => Err(DecodeError::Variant),
        })?;
        fields.close()?;
        Ok(TwoPartyMessage {
            key_used,
            ciphertext,
        })
    }
}

/// The number of elements tells the kind.
fn read_hybrid(r: &mut Reader<'_>) -> Result<TwoPartyMessage, DecodeError> {
    let elements = r.clone().array()?;
    tuple(r, elements, |r| {
        let (key_used, ciphertext) = match elements {
            2 => {
                r.null()?;
                (
                    KeyUsed::PreKey,
                    HybridFirst::read(r).map(TwoPartyCiphertext::First)?,
                )
            }
            3 => (KeyUsed::read_short(r)?, read_chained(r)?),
            4 => (KeyUsed::read_short(r)?, read_encapsulated(r)?),
            _ => return Err(DecodeError::Length),
        };
        Ok(TwoPartyMessage {
            key_used,
            ciphertext,
        })
    })
}

fn read_chained(r: &mut Reader<'_>) -> Result<TwoPartyCiphertext, DecodeError> {
    Ok(TwoPartyCiphertext::Chained {
        kem_output: PublicKey::from_bytes(bytes_array(r)?),
        ciphertext: r.bytes()?.to_vec(),
    })
}

fn read_encapsulated(r: &mut Reader<'_>) -> Result<TwoPartyCiphertext, DecodeError> {
    let xwing_used = KeyUsed::read_short(r)?;
    let kem_output = r.bytes()?.to_vec();
    if kem_output.len() != ENCAPSULATION_BYTES {
        return Err(DecodeError::Length);
    }
    Ok(TwoPartyCiphertext::Hybrid {
        xwing_used,
        kem_output,
        ciphertext: r.bytes()?.to_vec(),
    })
}

/// Content of the ciphertext.
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
