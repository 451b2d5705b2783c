//! Messages of the peer, from what arrives to what it says.

use p2panda_core::limits::FIRST_MESSAGES_MAX;
use zeroize::Zeroizing;

use super::hybrid::{Body, Exported, OwnKey, ReceivedKey, TheirKey};
use super::message::{KeyUsed, TwoPartyCiphertext, TwoPartyMessage, TwoPartyPlaintext};
use super::{ReceiveError, Session};
use crate::hpke::{self, Keys, Kind};
use crate::limit::Limit;
use crate::own_keys::OwnKeys;
use crate::secret::Secret;
use crate::suite::{Link, Suite, later_aad};
use crate::wire::Wire;
use crate::x3dh::{self, HybridFirst};
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::{XWingPublic, XWingSecret};

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
                let (body, is_late) = self.open_received(|received| match received.chain {
                    None => Ok(Some(hpke::open(&received.secret, &[], &[], ciphertext)?)),
                    Some(_) => Ok(None),
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
        let (mut first, mut late) = (None, false);
        let (agreed, body) = match (&message.ciphertext, key_used) {
            (TwoPartyCiphertext::First(ciphertext), KeyUsed::PreKey) => {
                let about = First::of_hybrid(ciphertext);
                let opened = self.open_hybrid_first(keys, identity, (ciphertext, &about), &info)?;
                first = Some(about);
                opened
            }
            (
                TwoPartyCiphertext::Hybrid {
                    kem_output,
                    ciphertext,
                },
                _,
            ) => {
                let opened = self.open_encapsulated(key_used, (kem_output, ciphertext), &info)?;
                late = opened.1;
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
        })
    }

    /// A message to an X-Wing key of ours; tells whether the channel was given up.
    fn open_encapsulated(
        &self,
        key_used: &KeyUsed,
        (kem_output, ciphertext): (&[u8], &[u8]),
        info: &[u8],
    ) -> Result<(Agreed, bool), ReceiveError> {
        let with = |seed: &XWingSecret| {
            let keys = Keys::base(Kind::Hybrid, &seed.open(kem_output)?, info);
            let body = keys.open(&later_aad("hybrid", key_used), ciphertext)?;
            Ok::<_, ReceiveError>((keys, body))
        };
        let Some(index) = key_used.own() else {
            return self.open_received(|received| received.seed.as_ref().map(with).transpose());
        };
        let seed = self.hybrid.seed(index);
        let seed = seed.ok_or(ReceiveError::UnknownSecretUsed(index))?;
        Ok((with(seed)?, self.restart.is_before(index)))
    }

    /// A message to an X25519 key of ours and the key of the chain that belongs to it.
    fn open_chained(
        &self,
        key_used: &KeyUsed,
        (kem_output, ciphertext): (&PublicKey, &[u8]),
        info: &[u8],
    ) -> Result<(Agreed, bool), ReceiveError> {
        let with = |secret: &SecretKey, chain: &Secret| {
            let keys = Keys::chained_from(secret, chain, info, kem_output)?;
            let body = keys.open(&later_aad("chained", key_used), ciphertext)?;
            Ok::<_, ReceiveError>((keys, body))
        };
        let Some(index) = key_used.own() else {
            return self.open_received(|received| {
                let chain = received.chain.as_ref();
                chain.map(|chain| with(&received.secret, chain)).transpose()
            });
        };
        let own = self.own_key(index)?;
        let chain = own.chain.as_ref();
        let chain = chain.ok_or(ReceiveError::InvalidCiphertextType)?;
        Ok((with(&own.secret, chain)?, self.restart.is_before(index)))
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
            their_verifying_key: TheirKey {
                key: arrived.key,
                chain: arrived.chain,
            },
            their_index: arrived.index,
            xwing: arrived.xwing,
            received: arrived.received,
        })
    }

    /// With the key of this channel or that of one that was given up, as far as it is of the kind
    /// that the message needs.
    fn open_received<T>(
        &self,
        with: impl Fn(&ReceivedKey) -> Result<Option<T>, ReceiveError>,
    ) -> Result<(T, bool), ReceiveError> {
        let received = self.our_received_secret_key.iter().map(|key| (key, false));
        let late = self.restart.late.iter().map(|key| (key, true));
        let mut error = ReceiveError::UnknownSecretUsed(0);
        for (key, is_late) in received.chain(late) {
            match with(key) {
                Ok(Some(opened)) => return Ok((opened, is_late)),
                Ok(None) => {}
                Err(refused) => error = refused,
            }
        }
        Err(error)
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

/// What a received message changes in session, keys and registry.
pub(crate) struct Opened {
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) identity: Option<PublicKey>,
    pub(super) first: Option<First>,
    pub(super) generation: Option<u64>,
    /// It belongs to a channel that was given up: only what it carries counts.
    pub(super) late: bool,
    pub(super) answered: Option<u64>,
    pub(super) their_verifying_key: TheirKey,
    pub(super) their_index: u64,
    pub(super) xwing: Option<XWingPublic>,
    pub(super) received: ReceivedKey,
}

/// What a message of either suite carried.
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
    answered: Option<u64>,
}

impl Opened {
    /// Whether the peer has begun the channel anew, so that it may lack what we sent before.
    pub(crate) fn begins_anew(&self) -> bool {
        !self.late && self.generation.is_some_and(|generation| generation > 0)
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
