//! Messages of the peer, from what arrives to what it says.

use p2panda_core::limits::FIRST_MESSAGES_MAX;
use zeroize::Zeroizing;

use super::hybrid::{Body, Exported, OwnKey, ReceivedKey, TheirKey};
use super::message::{KeyUsed, TwoPartyCiphertext, TwoPartyMessage, TwoPartyPlaintext};
use super::{ReceiveError, Session};
use crate::hpke::{self, Keys};
use crate::limit::Limit;
use crate::own_keys::OwnKeys;
use crate::secret::Secret;
use crate::suite::{Link, Suite, chained_aad, hybrid_aad};
use crate::wire::Wire;
use crate::x3dh::{self, HybridFirst};
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::{self, XWingPublic, XWingSecret};

impl Session {
    /// Opens a message; changes nothing.
    pub(crate) fn open(
        &self,
        keys: &OwnKeys,
        identity: Option<&PublicKey>,
        message: &TwoPartyMessage,
        link: Option<Link>,
    ) -> Result<Opened, ReceiveError> {
        match (message.ciphertext.suite(), link) {
            (Suite::Classic, None) => {}
            (Suite::Classic, Some(_)) => return Err(ReceiveError::Downgrade),
            (_, None) => return Err(ReceiveError::Unconfigured),
            (_, Some(link)) => return self.open_hybrid(keys, identity, message, &link),
        }
        let (mut first, mut late) = (None, false);
        let body = match (message.key_used, &message.ciphertext) {
            (KeyUsed::PreKey, TwoPartyCiphertext::PreKey(ciphertext)) => {
                let about = First::of(ciphertext);
                let body = self.open_first(keys, identity, ciphertext, &about)?;
                first = Some(about);
                body
            }
            (KeyUsed::ReceivedKey, TwoPartyCiphertext::Hpke(ciphertext)) => {
                let (body, is_late) = self.in_either(|is_late| {
                    let received = self.received(is_late);
                    let received = received.filter(|received| received.chain.is_none());
                    let received = received.ok_or(ReceiveError::UnknownSecretUsed(0))?;
                    Ok(hpke::open(&received.secret, &[], &[], ciphertext)?)
                })?;
                late = is_late;
                body
            }
            (KeyUsed::OwnKey(index), TwoPartyCiphertext::Hpke(ciphertext)) => {
                let own = self.own_key(index)?;
                if own.chain.is_some() {
                    return Err(ReceiveError::InvalidCiphertextType);
                }
                late = self.restart.is_before(index);
                hpke::open(&own.secret, &[], &[], ciphertext)?
            }
            _ => return Err(ReceiveError::InvalidCiphertextType),
        };
        let body = TwoPartyPlaintext::decode(&body)?;
        self.opened(Arrived {
            plaintext: body.plaintext,
            generation: body.generation,
            index: body.sender_next_index,
            key: body.sender_new_verifying_key,
            chain: None,
            xwing: None,
            received: ReceivedKey::classic(body.receiver_new_secret),
            first,
            late,
            answered: message.key_used.own(),
            answered_xwing: None,
        })
    }

    /// The same for the hybrid suite.
    fn open_hybrid(
        &self,
        keys: &OwnKeys,
        identity: Option<&PublicKey>,
        message: &TwoPartyMessage,
        link: &Link,
    ) -> Result<Opened, ReceiveError> {
        let (info, key_used) = (link.info(), &message.key_used);
        let (mut first, mut late, mut answered_xwing) = (None, false, None);
        let (agreed, body) = match (&message.ciphertext, key_used) {
            (TwoPartyCiphertext::First(ciphertext), KeyUsed::PreKey) => {
                let about = First::of_hybrid(ciphertext);
                let opened = self.open_hybrid_first(keys, identity, (ciphertext, &about), &info)?;
                first = Some(about);
                opened
            }
            (
                TwoPartyCiphertext::Hybrid {
                    xwing_used,
                    kem_output,
                    ciphertext,
                },
                _,
            ) => {
                let labels = (key_used, xwing_used);
                let opened = self.open_encapsulated(labels, (kem_output, ciphertext), &info)?;
                late = opened.1;
                answered_xwing = xwing_used.own();
                opened.0
            }
            (
                TwoPartyCiphertext::Chained {
                    kem_output,
                    ciphertext,
                },
                _,
            ) => {
                let opened = self.open_chained(key_used, (kem_output, ciphertext), &info)?;
                late = opened.1;
                opened.0
            }
            _ => return Err(ReceiveError::InvalidCiphertextType),
        };
        let body = Body::decode(&body)?;
        let brings_seed = !matches!(message.ciphertext, TwoPartyCiphertext::Chained { .. });
        if body.xwing.is_some() != brings_seed {
            return Err(ReceiveError::InvalidCiphertextType);
        }
        let Exported { chain, received } = Exported::from(&agreed, brings_seed);
        self.opened(Arrived {
            plaintext: body.plaintext,
            generation: body.generation,
            index: body.index,
            key: body.key,
            chain: Some(chain),
            xwing: body.xwing,
            received,
            first,
            late,
            answered: key_used.own(),
            answered_xwing,
        })
    }

    /// A message to an X-Wing key of ours and the newest X25519 key; tells whether the channel was
    /// given up.
    fn open_encapsulated(
        &self,
        (key_used, xwing_used): (&KeyUsed, &KeyUsed),
        (kem_output, ciphertext): (&[u8], &[u8]),
        info: &[u8],
    ) -> Result<(Agreed, bool), ReceiveError> {
        let ephemeral = xwing::ephemeral_of(kem_output)?;
        self.in_either(|is_late| {
            let (secret, chain) = self.chained_key(key_used, is_late)?;
            let seed = self.seed(xwing_used, is_late)?;
            let chained = Keys::chained_from(secret, chain, info, &ephemeral)?;
            let keys = Keys::hybrid(&seed.open(kem_output)?, &chained, info);
            let body = keys.open(&hybrid_aad(key_used, xwing_used), ciphertext)?;
            Ok((keys, body))
        })
    }

    /// A message to an X25519 key of ours and the key of the chain that belongs to it.
    fn open_chained(
        &self,
        key_used: &KeyUsed,
        (kem_output, ciphertext): (&PublicKey, &[u8]),
        info: &[u8],
    ) -> Result<(Agreed, bool), ReceiveError> {
        self.in_either(|is_late| {
            let (secret, chain) = self.chained_key(key_used, is_late)?;
            let keys = Keys::chained_from(secret, chain, info, kem_output)?;
            let body = keys.open(&chained_aad(key_used), ciphertext)?;
            Ok((keys, body))
        })
    }

    /// The X25519 key with this label and its chain key, in the channel or in the one that was
    /// given up.
    fn chained_key(
        &self,
        label: &KeyUsed,
        is_late: bool,
    ) -> Result<(&SecretKey, &Secret), ReceiveError> {
        let (secret, chain) = match self.own_index(label, is_late)? {
            Some(index) => {
                let OwnKey { secret, chain } = self.own_key(index)?;
                let chain = chain.as_ref();
                (secret, chain.ok_or(ReceiveError::InvalidCiphertextType)?)
            }
            None => {
                let received = self.received(is_late);
                let pair = received.and_then(|key| Some((&key.secret, key.chain.as_ref()?)));
                pair.ok_or(ReceiveError::UnknownSecretUsed(0))?
            }
        };
        Ok((secret, chain))
    }

    /// The seed of the X-Wing key with this label, in the channel or in the one that was given up.
    fn seed(&self, label: &KeyUsed, is_late: bool) -> Result<&XWingSecret, ReceiveError> {
        let index = self.own_index(label, is_late)?;
        let seed = match index {
            Some(index) => self.hybrid.seed(index),
            None => self.received(is_late).and_then(|key| key.seed.as_ref()),
        };
        seed.ok_or(ReceiveError::UnknownSecretUsed(index.unwrap_or(0)))
    }

    /// The own index of a label, which must belong to the channel or to the one that was given up.
    fn own_index(&self, label: &KeyUsed, is_late: bool) -> Result<Option<u64>, ReceiveError> {
        match label.own() {
            Some(index) if self.restart.is_before(index) != is_late => {
                Err(ReceiveError::UnknownSecretUsed(index))
            }
            own => Ok(own),
        }
    }

    fn own_key(&self, index: u64) -> Result<&OwnKey, ReceiveError> {
        let key = self.our_secret_keys.get(&index);
        key.ok_or(ReceiveError::UnknownSecretUsed(index))
    }

    fn opened(&self, arrived: Arrived) -> Result<Opened, ReceiveError> {
        if arrived.key.is_small_order() {
            return Err(ReceiveError::SmallOrder);
        }
        let first = arrived.first;
        let generation = first.as_ref().map(|_| arrived.generation.unwrap_or(0));
        let is_old = generation.is_some_and(|generation| !self.restart.admits(generation));
        Ok(Opened {
            plaintext: arrived.plaintext,
            identity: first.as_ref().map(|first| first.identity),
            late: arrived.late || is_old,
            generation,
            first,
            answered: arrived.answered,
            answered_xwing: arrived.answered_xwing,
            their_verifying_key: TheirKey {
                key: arrived.key,
                chain: arrived.chain,
            },
            their_index: arrived.index,
            xwing: arrived.xwing,
            received: arrived.received,
        })
    }

    /// Returns the last key that the peer made for us in the channel, or in the one that was given
    /// up.
    fn received(&self, is_late: bool) -> Option<&ReceivedKey> {
        match is_late {
            true => self.restart.late.as_ref(),
            false => self.our_received_secret_key.as_ref(),
        }
    }

    /// With the keys of the channel, or with those of the one that was given up.
    fn in_either<T>(
        &self,
        open: impl Fn(bool) -> Result<T, ReceiveError>,
    ) -> Result<(T, bool), ReceiveError> {
        let error = match open(false) {
            Ok(opened) => return Ok((opened, false)),
            Err(error) => error,
        };
        match open(true) {
            Ok(opened) => Ok((opened, true)),
            Err(ReceiveError::UnknownSecretUsed(_)) => Err(error),
            Err(late) => Err(late),
        }
    }

    /// Refuses what was opened before or claims a foreign identity; gives pre-key and one-time key.
    fn first_keys<'k>(
        &self,
        keys: &'k OwnKeys,
        identity: Option<&PublicKey>,
        first: &First,
    ) -> Result<(&'k SecretKey, Option<&'k SecretKey>), ReceiveError> {
        if identity.is_some_and(|known| *known != first.identity) {
            return Err(ReceiveError::IdentityMismatch);
        }
        if self.opened.contains(&(first.prekey, first.ephemeral)) {
            return Err(ReceiveError::Replayed);
        }
        let same = |(prekey, _): &&(PublicKey, _)| *prekey == first.prekey;
        if self.opened.iter().filter(same).count() >= FIRST_MESSAGES_MAX {
            return Err(Limit::FirstMessages.into());
        }
        let onetime = match first.onetime {
            Some(id) => Some(keys.one_time_secret(id).ok_or(ReceiveError::PreKeyReuse)?),
            None => None,
        };
        let prekey = keys
            .prekey_secret(&first.prekey)
            .map_err(|_| ReceiveError::UnknownPreKeyUsed(first.prekey))?;
        Ok((prekey, onetime))
    }

    fn open_first(
        &self,
        keys: &OwnKeys,
        identity: Option<&PublicKey>,
        ciphertext: &x3dh::X3dhCiphertext,
        about: &First,
    ) -> Result<Zeroizing<Vec<u8>>, ReceiveError> {
        let (prekey, onetime) = self.first_keys(keys, identity, about)?;
        let identity = keys.identity_secret();
        Ok(x3dh::decrypt(ciphertext, identity, prekey, onetime)?)
    }

    fn open_hybrid_first(
        &self,
        keys: &OwnKeys,
        identity: Option<&PublicKey>,
        (ciphertext, about): (&HybridFirst, &First),
        info: &[u8],
    ) -> Result<(Keys, Zeroizing<Vec<u8>>), ReceiveError> {
        let (prekey, onetime) = self.first_keys(keys, identity, about)?;
        let xwing = keys
            .xwing_secret(&about.prekey)
            .ok_or(ReceiveError::UnknownPreKeyUsed(about.prekey))?;
        let (identity, prekeys) = (keys.identity_secret(), (prekey, xwing));
        Ok(x3dh::hybrid::open(
            ciphertext, identity, prekeys, onetime, info,
        )?)
    }
}

/// The keys of a message, and what it says.
type Agreed = (Keys, Zeroizing<Vec<u8>>);

/// Changes by a received message in session, keys and registry.
pub(crate) struct Opened {
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) identity: Option<PublicKey>,
    pub(super) first: Option<First>,
    pub(super) generation: Option<u64>,
    /// It belongs to a channel that was given up: only what it carries counts.
    pub(super) late: bool,
    pub(super) answered: Option<u64>,
    pub(super) answered_xwing: Option<u64>,
    pub(super) their_verifying_key: TheirKey,
    pub(super) their_index: u64,
    pub(super) xwing: Option<XWingPublic>,
    pub(super) received: ReceivedKey,
}

/// Content of a message of either suite.
struct Arrived {
    plaintext: Zeroizing<Vec<u8>>,
    generation: Option<u64>,
    index: u64,
    key: PublicKey,
    chain: Option<Secret>,
    xwing: Option<XWingPublic>,
    received: ReceivedKey,
    first: Option<First>,
    late: bool,
    /// The own X25519 key that it used, and the own X-Wing key.
    answered: Option<u64>,
    answered_xwing: Option<u64>,
}

impl Opened {
    /// Returns `true` if the peer has begun the channel again, so that it may lack what we sent
    /// before.
    pub(crate) fn begins_anew(&self) -> bool {
        self.generation.is_some_and(|generation| generation > 0)
    }

    /// Returns `true` if it is a first message.
    pub(crate) fn is_first(&self) -> bool {
        self.generation.is_some()
    }
}

pub(super) struct First {
    pub(super) identity: PublicKey,
    pub(super) prekey: PublicKey,
    pub(super) ephemeral: PublicKey,
    pub(super) onetime: Option<u64>,
}

impl First {
    fn of_hybrid(message: &HybridFirst) -> First {
        First {
            identity: message.identity_key,
            prekey: message.prekey_id,
            ephemeral: message.ephemeral_key,
            onetime: message.onetime_prekey_id,
        }
    }

    fn of(ciphertext: &x3dh::X3dhCiphertext) -> First {
        First {
            identity: ciphertext.identity_key,
            prekey: ciphertext.prekey_id,
            ephemeral: ciphertext.ephemeral_key,
            onetime: ciphertext.onetime_prekey_id,
        }
    }
}
