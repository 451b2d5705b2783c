//! 2SM: a channel of two that replaces keys with each message (`docs/protocol/encryption.md#9`).

mod announced;
mod hybrid;
mod message;
mod opening;
mod receiving;
mod restart;
mod sealing;
mod stored;

use std::collections::VecDeque;

use p2panda_core::limits::{OWN_KEYS_MAX, SENT_WITH_MAX};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use announced::Announced;
use hybrid::{Hybrid, OwnKey, ReceivedKey, TheirKey};
pub use message::{KeyUsed, TwoPartyCiphertext, TwoPartyMessage};
pub(crate) use opening::{Opening, Over, OverHybrid};
pub(crate) use receiving::Opened;
use restart::Restart;
use sealing::{Head, Newest, SentFirst, Target};
pub(crate) use sealing::{Sealing, Sent};

use crate::OperationId;
use crate::bundle::{Bundle, BundleError};
use crate::hpke::HpkeError;
use crate::limit::Limit;
use crate::own_keys::OwnKeys;
use crate::rows::{Single, Table};
use crate::suite::Suite;
use crate::wire::DecodeError;
use crate::x3dh::X3dhError;
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::{Randomness, XWingError};

/// Jump of a restored session ahead of the own indices that it may have used.
const RESTORED_INDICES: u64 = 1 << 32;

/// Bytes that the cipher appends.
const TAG_BYTES: usize = 16;

/// Reason why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no bundle for a first message, and nothing was received yet.
    #[error("no key bundle is left for a first message")]
    PreKeyReuse,
    /// The first message could not be encrypted, for instance because the bundle has expired.
    #[error(transparent)]
    X3dh(#[from] X3dhError),
    /// A later message could not be encrypted.
    #[error(transparent)]
    Hpke(#[from] HpkeError),
    /// The channel is hybrid, and the group has no [`SuiteConfig`](crate::SuiteConfig).
    #[error("the group is not configured for the suite of the channel")]
    Unconfigured,
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// Reason why a message was refused; session and keys are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The one-time key was used before.
    #[error("the one-time key was already used")]
    PreKeyReuse,
    /// The pre-key was removed or never ours.
    #[error("the message uses an unknown pre-key")]
    UnknownPreKeyUsed(PublicKey),
    /// The own key was deleted or never ours; 0 stands for the received key.
    #[error("the message uses the unknown key {0}")]
    UnknownSecretUsed(u64),
    /// Label and ciphertext contradict each other.
    #[error("the ciphertext is not of the kind its label says")]
    InvalidCiphertextType,
    /// This first message was opened before.
    #[error("the first message was already opened")]
    Replayed,
    /// The message claims another identity key than the sender is known by.
    #[error("the message claims a foreign identity key")]
    IdentityMismatch,
    /// The first message does not open.
    #[error(transparent)]
    X3dh(#[from] X3dhError),
    /// A later message does not open.
    #[error(transparent)]
    Hpke(#[from] HpkeError),
    /// The content is not what a peer writes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The encapsulation of a later message does not open.
    #[error(transparent)]
    XWing(#[from] XWingError),
    /// The key that the sender announces is of small order.
    #[error("the announced key is of small order")]
    SmallOrder,
    /// It is of the classic suite, and the group is hybrid.
    #[error("the message is of the classic suite, in a hybrid group")]
    Downgrade,
    /// It is of the hybrid suite, and the group has no [`SuiteConfig`](crate::SuiteConfig).
    #[error("the group is not configured for the suite of the message")]
    Unconfigured,
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

impl ReceiveError {
    /// Returns `true` if we lack a key, so that the channel has to restart.
    pub(crate) fn is_channel(&self) -> bool {
        matches!(
            self,
            ReceiveError::PreKeyReuse
                | ReceiveError::UnknownPreKeyUsed(_)
                | ReceiveError::UnknownSecretUsed(_)
                | ReceiveError::X3dh(_)
                | ReceiveError::Hpke(_)
                | ReceiveError::XWing(_)
                | ReceiveError::Limit(_)
        )
    }
}

/// One side's state of a channel with one peer.
///
/// Messages of one direction must be received in the order sent, without gaps. After an error
/// nothing has changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    our_secret_keys: Table<u64, OwnKey>,
    our_min_key_index: u64,
    our_next_key_index: u64,
    their_next_key_used: KeyUsed,
    their_prekey_bundle: Option<Bundle>,
    their_verifying_key: Option<TheirKey>,
    our_received_secret_key: Option<ReceivedKey>,
    hybrid: Hybrid,
    hybrid_row: Single,
    /// Pre-key and ephemeral key of first messages that were opened.
    opened: Vec<(PublicKey, PublicKey)>,
    restart: Restart,
    /// Operations with which our last messages went, and their own indices.
    sent_with: VecDeque<(u64, OperationId)>,
}

impl Session {
    /// Starts with a bundle of the peer, to send first or at the same time.
    pub fn to_send(bundle: Bundle) -> Session {
        Session {
            their_prekey_bundle: Some(bundle),
            ..Session::to_receive()
        }
    }

    /// Starts without a bundle, to receive first.
    pub fn to_receive() -> Session {
        Session {
            our_secret_keys: Table::default(),
            our_min_key_index: 1,
            our_next_key_index: 1,
            their_next_key_used: KeyUsed::PreKey,
            their_prekey_bundle: None,
            their_verifying_key: None,
            our_received_secret_key: None,
            hybrid: Hybrid::default(),
            hybrid_row: Single::default(),
            opened: Vec::new(),
            restart: Restart::default(),
            sent_with: VecDeque::new(),
        }
    }

    /// Makes the next message of ours a first one of a new channel, to this bundle of the peer.
    pub fn restart(&mut self, bundle: Bundle) {
        self.their_prekey_bundle = Some(bundle);
        self.restart.force();
    }

    /// The same, with the newest bundle that there is then.
    pub(crate) fn restart_later(&mut self) {
        self.restart.force();
    }

    /// The same, because something of the peer did not open; at most once per hour while the peer
    /// does not answer. Tells whether that is news.
    pub(crate) fn cannot_follow(&mut self, now: u64) -> bool {
        self.restart.want(now)
    }

    /// We are not the newest copy of ourselves: no key that we may have used is used again.
    pub(crate) fn restored(&mut self) {
        self.restart.restored();
        self.our_next_key_index = self.our_next_key_index.saturating_add(RESTORED_INDICES);
    }

    /// Returns `true` if a newer copy of us may have used this channel, so that it has to restart
    /// before anything is sent.
    pub(crate) fn must_begin_anew(&self) -> bool {
        self.restart.is_due()
    }

    /// Returns `true` if nothing came since our last first message.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.restart.is_unanswered()
    }

    /// Returns `true` if our next message may begin the channel again, if there is a bundle to do
    /// so.
    pub(crate) fn may_begin_anew(&self) -> bool {
        self.restart.is_wanted() || self.restart.is_unanswered()
    }

    /// Returns `true` if our next message begins the channel again, if this is the newest bundle.
    pub(crate) fn begins_anew(&self, newest: &Opening, now: u64) -> bool {
        let has_begun = self.their_verifying_key.is_some();
        let outdated = || self.restart.is_outdated(newest.prekey(), now);
        self.restart.is_wanted() || has_begun && outdated()
    }

    /// The suite of the channel, as far as it has begun.
    fn suite(&self) -> Suite {
        match &self.their_verifying_key {
            Some(TheirKey { chain: Some(_), .. }) => Suite::Hybrid,
            _ => Suite::Classic,
        }
    }

    /// Our last message went with this operation.
    pub(crate) fn sent_with(&mut self, operation: OperationId) {
        self.sent_with
            .push_back((self.our_next_key_index.saturating_sub(1), operation));
        if self.sent_with.len() > SENT_WITH_MAX {
            self.sent_with.pop_front();
        }
    }

    /// Forgets the own keys that are older than what the peer has processed: it answers to later
    /// ones.
    ///
    /// Tells whether anything changed.
    pub(crate) fn passed(&mut self, has_processed: impl Fn(&OperationId) -> bool) -> bool {
        let processed = |(_, id): &(u64, OperationId)| has_processed(id);
        let Some(place) = self.sent_with.iter().rposition(processed) else {
            return false;
        };
        let passed = self.sent_with.drain(..=place).next_back();
        let index = passed.map_or(0, |(index, _)| index);
        if index > self.our_min_key_index {
            self.our_secret_keys.drop_below(&index);
            self.our_min_key_index = index;
        }
        self.hybrid.passed(index);
        true
    }

    /// Encrypts for the peer.
    pub fn send(
        &mut self,
        keys: &OwnKeys,
        plaintext: &[u8],
        now: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<TwoPartyMessage, SendError> {
        let anew = self.restart.is_wanted();
        let opening = self.their_prekey_bundle.map(Opening::Classic);
        let over = Over {
            opening,
            anew,
            ..Over::default()
        };
        let mut sealing = self.prepare(over, keys, plaintext, now, rng)?;
        sealing.draw(rng);
        let (sent, message) = sealing.seal()?;
        self.apply_sent(sent);
        Ok(message)
    }

    /// Decrypts a message of the peer whose identity key is known, or not known yet.
    ///
    /// With a first message comes the identity key that it claims: record it for the sender.
    pub fn receive(
        &mut self,
        keys: &mut OwnKeys,
        identity: Option<&PublicKey>,
        message: &TwoPartyMessage,
    ) -> Result<Received, ReceiveError> {
        let mut opened = self.open(keys, identity, message, None)?;
        let received = Received {
            plaintext: std::mem::take(&mut opened.plaintext),
            identity: opened.identity,
        };
        self.apply_opened(keys, opened);
        Ok(received)
    }

    /// Draws what a message needs, in the order a, b, X3DH ephemeral; changes nothing.
    pub(crate) fn prepare(
        &self,
        mut over: Over<'_>,
        keys: &OwnKeys,
        plaintext: &[u8],
        now: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<Sealing, SendError> {
        if self.our_next_key_index == u64::MAX {
            return Err(Limit::OwnKeys.into());
        }
        let (opening, generation) = match over.opening {
            Some(opening) if over.anew => (Some(opening), Some(self.restart.next(now))),
            opening => {
                let ours = self.their_prekey_bundle.map(Opening::Classic);
                (ours.or(opening), None)
            }
        };
        let receiver = self.their_verifying_key.as_ref();
        let receiver = receiver.filter(|_| generation.is_none());
        if let (None, Some(opening)) = (receiver, &opening)
            && !opening.lifetime().is_valid(now)
        {
            return Err(X3dhError::Bundle(BundleError::InvalidLifetime).into());
        }
        let ours = SecretKey::random(rng);
        let (key_used, target) = match (receiver, opening) {
            (Some(receiver), _) => self.to_key(receiver, over.hybrid.as_mut(), rng)?,
            (None, Some(opening)) => {
                let target = opening.target(keys, now, over.hybrid.as_mut(), rng)?;
                (KeyUsed::PreKey, target)
            }
            (None, None) => return Err(SendError::PreKeyReuse),
        };
        Ok(Sealing {
            head: Head {
                key_used,
                generation,
                index: self.our_next_key_index,
                plaintext: Zeroizing::new(plaintext.to_vec()),
                ours,
            },
            target,
        })
    }

    /// A message to a key of an earlier one.
    fn to_key(
        &self,
        receiver: &TheirKey,
        hybrid: Option<&mut OverHybrid<'_>>,
        rng: &mut impl CryptoRng,
    ) -> Result<(KeyUsed, Target), SendError> {
        let Some(chain) = &receiver.chain else {
            let target = Target::Hpke {
                theirs: SecretKey::random(rng),
                receiver: receiver.key,
                ephemeral: None,
            };
            return Ok((self.their_next_key_used, target));
        };
        let over = hybrid.ok_or(SendError::Unconfigured)?;
        let link = over.link;
        let newest = Newest {
            key: receiver.key,
            chain: chain.duplicate(),
        };
        let target = match self.hybrid.receiver(over.is_forced, over.every) {
            Some(xwing) => Target::Hybrid {
                newest,
                xwing: xwing.clone(),
                randomness: Randomness::random(rng),
                announced: over.announced(rng),
                link,
            },
            None => Target::Chained {
                newest,
                ephemeral: SecretKey::random(rng),
                link,
            },
        };
        Ok((self.their_next_key_used, target))
    }

    pub(crate) fn apply_sent(&mut self, sent: Sent) {
        let index = self.our_next_key_index;
        self.our_secret_keys.insert(index, sent.ours);
        // Anyone who is silent for so long cannot answer to the oldest any more.
        while self.our_secret_keys.len() > OWN_KEYS_MAX {
            if let Some(oldest) = self.our_secret_keys.first().copied() {
                self.our_secret_keys.remove(&oldest);
                self.our_min_key_index = oldest.saturating_add(1);
            }
        }
        self.our_next_key_index += 1;
        self.their_verifying_key = Some(sent.theirs);
        self.their_next_key_used = KeyUsed::ReceivedKey;
        match self.suite() {
            Suite::Hybrid => self.hybrid.sent(index, sent.seed, sent.xwing),
            _ => self.hybrid.leave(),
        }
        if let Some(first) = sent.first {
            self.their_prekey_bundle = None;
            if first.generation.is_some() {
                // What the peer sent before it hears of this still opens.
                let received = self.our_received_secret_key.take();
                self.restart.late = received.or_else(|| self.restart.late.take());
            }
            self.restart.sent(&first, index);
        }
    }

    /// Returns `true` if the next message of ours is a first one and no bundle is available.
    pub(crate) fn needs_bundle(&self) -> bool {
        self.their_verifying_key.is_none() && self.their_prekey_bundle.is_none()
    }

    /// The index that the next message of ours will carry; tells whether a draft is stale.
    pub(crate) fn next_index(&self) -> u64 {
        self.our_next_key_index
    }

    pub(crate) fn apply_opened(&mut self, keys: &mut OwnKeys, opened: Opened) {
        if let Some(first) = opened.first {
            if let Some(id) = first.onetime {
                // Its absence was an error in `open`, and nothing else runs in between.
                let _ = keys.use_one_time(id);
            }
            keys.used(&first.prekey);
            self.opened
                .retain(|(prekey, _)| keys.prekey_secret(prekey).is_ok());
            self.opened.push((first.prekey, first.ephemeral));
        }
        if let Some(index) = opened.answered {
            self.our_secret_keys.drop_below(&index.saturating_add(1));
            self.our_min_key_index = index.saturating_add(1);
            self.hybrid.passed(index);
        }
        if let Some(index) = opened.answered_xwing {
            self.hybrid.answered(index);
        }
        if opened.late {
            let before = self.restart.late.take();
            self.restart.late = Some(opened.received.after(before));
            return;
        }
        self.their_verifying_key = Some(opened.their_verifying_key);
        self.their_next_key_used = KeyUsed::OwnKey(opened.their_index);
        let before = self.our_received_secret_key.take();
        self.our_received_secret_key = Some(opened.received.after(before));
        match (self.suite(), opened.xwing) {
            (Suite::Classic, _) => self.hybrid.leave(),
            (_, Some(xwing)) => self.hybrid.announced(opened.their_index, xwing),
            (_, None) => {}
        }
        self.restart.adopted(opened.generation);
    }
}

/// Content of a received message.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// Decrypted text of the peer.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The sender's identity key, with a first message only.
    pub identity: Option<PublicKey>,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod hybrid_tests;
