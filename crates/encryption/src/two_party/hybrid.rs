//! The additional state of channels of the hybrid suite (`docs/protocol/encryption-hybrid.md#5`).

use p2panda_core::ordered::BTreeMap;

use p2panda_core::limits::OWN_KEYS_MAX;
use zeroize::Zeroizing;

use super::message::KeyUsed;
use crate::hpke::Keys;
use crate::secret::Secret;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, map, nullable, tuple};
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::{PUBLIC_KEY_BYTES, XWingPublic, XWingSecret};

/// One of our own keys, with the key of the chain if a hybrid channel announced it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnKey {
    pub(super) secret: SecretKey,
    pub(super) chain: Option<Secret>,
}

impl OwnKey {
    pub(super) fn classic(secret: SecretKey) -> OwnKey {
        OwnKey {
            secret,
            chain: None,
        }
    }
}

/// The next key to encrypt to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TheirKey {
    pub(super) key: PublicKey,
    pub(super) chain: Option<Secret>,
}

/// The last key of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReceivedKey {
    pub(super) secret: SecretKey,
    pub(super) chain: Option<Secret>,
    /// Of the last first or hybrid message.
    pub(super) seed: Option<XWingSecret>,
}

impl ReceivedKey {
    pub(super) fn classic(secret: SecretKey) -> ReceivedKey {
        ReceivedKey {
            secret,
            chain: None,
            seed: None,
        }
    }

    /// Takes the place of what came before in the same channel: a chained message brings no seed.
    pub(super) fn after(mut self, before: Option<ReceivedKey>) -> ReceivedKey {
        if self.chain.is_some() && self.seed.is_none() {
            self.seed = before.and_then(|before| before.seed);
        }
        self
    }
}

impl Wire for ReceivedKey {
    fn write(&self, w: &mut Writer) {
        w.array(3).item(&self.secret).optional(self.chain.as_ref());
        w.optional(self.seed.as_ref());
    }

    fn read(r: &mut Reader<'_>) -> Result<ReceivedKey, DecodeError> {
        tuple(r, 3, |r| {
            Ok(ReceivedKey {
                secret: SecretKey::read(r)?,
                chain: nullable(r, Secret::read)?,
                seed: nullable(r, XWingSecret::read)?,
            })
        })
    }
}

/// The X-Wing side of a channel: a 2SM of its own, which hybrid messages advance.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hybrid {
    /// By the index of the message that announced the public half.
    seeds: BTreeMap<u64, XWingSecret>,
    /// The key to encapsulate to, with its label.
    theirs: Option<(KeyUsed, XWingPublic)>,
    /// Messages of ours since the last that was hybrid.
    pub(super) chained: u64,
}

/// Encoding of the long part; the counter is stored elsewhere.
impl Hybrid {
    /// Returns `true` if there is none, as in a classic channel.
    pub(super) fn is_none(&self) -> bool {
        self.seeds.is_empty() && self.theirs.is_none()
    }

    /// Returns the key for the next message if that is hybrid.
    pub(super) fn receiver(&self, is_forced: bool, every: u32) -> Option<&(KeyUsed, XWingPublic)> {
        let is_due = is_forced || self.chained.saturating_add(1) >= every.into();
        self.theirs.as_ref().filter(|_| is_due)
    }

    pub(super) fn seed(&self, index: u64) -> Option<&XWingSecret> {
        self.seeds.get(&index)
    }

    /// A message of ours was sent.
    pub(super) fn sent(
        &mut self,
        index: u64,
        seed: Option<XWingSecret>,
        xwing: Option<XWingPublic>,
    ) {
        if let Some(seed) = seed {
            self.seeds.insert(index, seed);
            while self.seeds.len() > OWN_KEYS_MAX {
                self.seeds.pop_first();
            }
        }
        match xwing {
            Some(xwing) => {
                self.theirs = Some((KeyUsed::ReceivedKey, xwing));
                self.chained = 0;
            }
            None => self.chained = self.chained.saturating_add(1),
        }
    }

    /// A message of ours made the channel a classic one, or one of the peer.
    pub(super) fn leave(&mut self) {
        self.theirs = None;
        self.chained = 0;
    }

    /// The peer announced a key with its message of this index.
    pub(super) fn announced(&mut self, index: u64, xwing: XWingPublic) {
        self.theirs = Some((KeyUsed::OwnKey(index), xwing));
    }

    /// The peer encapsulated to the key of this index: that and all before it are done with.
    pub(super) fn answered(&mut self, index: u64) {
        self.seeds = self.seeds.split_off(&index.saturating_add(1));
    }

    /// The peer has processed our message of this index: it encapsulates to none that was announced
    /// before the last one up to it.
    pub(super) fn passed(&mut self, index: u64) {
        if let Some((last, _)) = self.seeds.range(..=index).next_back() {
            self.seeds = self.seeds.split_off(&last.clone());
        }
    }
}

impl Wire for Hybrid {
    fn write(&self, w: &mut Writer) {
        w.array(2).map(self.seeds.len());
        for (index, seed) in &self.seeds {
            w.uint(*index).item(seed);
        }
        match &self.theirs {
            Some((label, key)) => w.array(2).item(label).item(key),
            None => w.null(),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Hybrid, DecodeError> {
        tuple(r, 2, |r| {
            Ok(Hybrid {
                seeds: map(r, |r| Ok(r.uint()?), XWingSecret::read)?,
                theirs: nullable(r, |r| {
                    tuple(r, 2, |r| Ok((KeyUsed::read(r)?, XWingPublic::read(r)?)))
                })?,
                chained: 0,
            })
        })
    }
}

/// Secrets that both sides derive from a message, apart from its key.
pub(super) struct Exported {
    /// Goes with the key that the sender announces.
    pub(super) chain: Secret,
    pub(super) received: ReceivedKey,
}

impl Exported {
    pub(super) fn from(keys: &Keys, is_hybrid: bool) -> Exported {
        let seed = is_hybrid.then(|| XWingSecret::from_seed(keys.export(b"receiver seed")));
        Exported {
            chain: keys.export(b"sender chain"),
            received: ReceivedKey {
                secret: SecretKey::from_secret(keys.export(b"receiver key")),
                chain: Some(keys.export(b"receiver chain")),
                seed,
            },
        }
    }
}

/// The plaintext inside the ciphertext.
pub(super) struct Body {
    pub(super) plaintext: Zeroizing<Vec<u8>>,
    pub(super) key: PublicKey,
    /// In first and hybrid messages.
    pub(super) xwing: Option<XWingPublic>,
    pub(super) index: u64,
    pub(super) generation: Option<u64>,
}

impl Body {
    /// At most that many bytes more than the plaintext.
    pub(super) const CHAINED_BYTES: usize = 64 + 32;
    pub(super) const HYBRID_BYTES: usize = Body::CHAINED_BYTES + PUBLIC_KEY_BYTES;
}

impl Wire for Body {
    fn write(&self, w: &mut Writer) {
        w.array(3 + usize::from(self.generation.is_some()));
        w.bytes(&self.plaintext);
        let xwing = self.xwing.as_ref().map(|key| key.as_bytes().as_slice());
        w.bytes(&[self.key.as_bytes(), xwing.unwrap_or_default()].concat());
        w.uint(self.index);
        if let Some(generation) = self.generation {
            w.uint(generation);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Body, DecodeError> {
        let len = r.array()?;
        if len < 3 {
            return Err(DecodeError::Length);
        }
        let plaintext = Zeroizing::new(r.bytes()?.to_vec());
        let announced = r.bytes()?;
        let (key, xwing) = announced
            .split_first_chunk::<32>()
            .ok_or(DecodeError::Length)?;
        let xwing = match xwing {
            [] => None,
            xwing => Some(XWingPublic::from_bytes(xwing).map_err(|_| DecodeError::Key)?),
        };
        let index = r.uint()?;
        let generation = (len > 3).then(|| r.uint()).transpose()?;
        for _ in 4..len {
            r.skip()?;
        }
        Ok(Body {
            plaintext,
            key: PublicKey::from_bytes(*key),
            xwing,
            index,
            generation,
        })
    }
}
