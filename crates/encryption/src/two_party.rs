//! 2SM: a channel of two that replaces keys with each message (`docs/protocol/encryption.md#9`).

mod message;
mod restart;
mod stored;

use std::collections::VecDeque;

use p2panda_core::limits::{FIRST_MESSAGES_MAX, OWN_KEYS_MAX, SENT_WITH_MAX};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use message::TwoPartyPlaintext;
pub use message::{KeyUsed, TwoPartyCiphertext, TwoPartyMessage};
use restart::Restart;

use crate::OperationId;
use crate::bundle::{Bundle, BundleError};
use crate::hpke::{self, HpkeError};
use crate::limit::Limit;
use crate::own_keys::OwnKeys;
use crate::rows::Table;
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, map, tuple, version};
use crate::x3dh::{self, X3dhError};
use crate::x25519::{PublicKey, SecretKey};

/// How far a restored session jumps ahead of the own indices that it may have used.
const RESTORED_INDICES: u64 = 1 << 32;

/// Bytes that the cipher appends.
const TAG_BYTES: usize = 16;

/// Why nothing was sent.
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
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// Why a message was refused; session and keys are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The one-time key was used before.
    #[error("the one-time key was used before")]
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
    #[error("the first message was opened before")]
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
    /// The key that the sender announces is of small order.
    #[error("the announced key is of small order")]
    SmallOrder,
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

impl ReceiveError {
    /// Whether we lack a key, so that the channel has to begin anew.
    pub(crate) fn is_channel(&self) -> bool {
        matches!(
            self,
            ReceiveError::PreKeyReuse
                | ReceiveError::UnknownPreKeyUsed(_)
                | ReceiveError::UnknownSecretUsed(_)
                | ReceiveError::X3dh(_)
                | ReceiveError::Hpke(_)
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
    our_secret_keys: Table<u64, SecretKey>,
    our_min_key_index: u64,
    our_next_key_index: u64,
    their_next_key_used: KeyUsed,
    their_prekey_bundle: Option<Bundle>,
    their_verifying_key: Option<PublicKey>,
    our_received_secret_key: Option<SecretKey>,
    /// Pre-key and ephemeral key of first messages that were opened.
    opened: Vec<(PublicKey, PublicKey)>,
    restart: Restart,
    /// With which operations our last messages went, and their own indices.
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

    /// The same, because something of the peer did not open; at most once per hour.
    pub(crate) fn cannot_follow(&mut self, now: u64) {
        self.restart.want(now);
    }

    /// We are not the newest copy of ourselves: no key that we may have used is used again.
    pub(crate) fn restored(&mut self) {
        self.restart.force();
        self.our_next_key_index = self.our_next_key_index.saturating_add(RESTORED_INDICES);
    }

    /// Whether our next message may begin the channel anew, if there is a bundle to do so.
    pub(crate) fn may_begin_anew(&self) -> bool {
        self.restart.is_wanted() || self.restart.is_unanswered()
    }

    /// Whether our next message begins the channel anew, if this is the newest bundle.
    pub(crate) fn begins_anew(&self, newest: &Bundle, now: u64) -> bool {
        let has_begun = self.their_verifying_key.is_some();
        let outdated = || self.restart.is_outdated(newest.prekey(), now);
        self.restart.is_wanted() || has_begun && outdated()
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
        let bundle = self.their_prekey_bundle;
        let mut sealing = self.prepare((bundle, anew), keys, plaintext, now, rng)?;
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
        let mut opened = self.open(keys, identity, message)?;
        let received = Received {
            plaintext: std::mem::take(&mut opened.plaintext),
            identity: opened.identity,
        };
        self.apply_opened(keys, opened);
        Ok(received)
    }

    /// Draws what a message needs, in the order a, b, X3DH ephemeral; changes nothing.
    ///
    /// `fallback` is the bundle for a session that does not exist yet, or that begins anew.
    pub(crate) fn prepare(
        &self,
        (fallback, anew): (Option<Bundle>, bool),
        keys: &OwnKeys,
        plaintext: &[u8],
        now: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<Sealing, SendError> {
        if self.our_next_key_index == u64::MAX {
            return Err(Limit::OwnKeys.into());
        }
        let (bundle, generation) = match fallback.filter(|_| anew) {
            Some(bundle) => (Some(bundle), Some(self.restart.next(now))),
            None => (self.their_prekey_bundle.or(fallback), None),
        };
        let receiver = self.their_verifying_key.filter(|_| generation.is_none());
        if let (None, Some(bundle)) = (receiver, &bundle)
            && !bundle.lifetime().is_valid(now)
        {
            return Err(X3dhError::Bundle(BundleError::InvalidLifetime).into());
        }
        let (ours, theirs) = (SecretKey::random(rng), SecretKey::random(rng));
        let target = match (receiver, bundle) {
            (Some(receiver), _) => Target::Hpke {
                receiver,
                ephemeral: None,
            },
            (None, Some(bundle)) => Target::X3dh {
                identity: keys.identity_secret().duplicate(),
                bundle: Box::new(bundle),
                now,
                ephemeral: SecretKey::random(rng),
            },
            (None, None) => return Err(SendError::PreKeyReuse),
        };
        let key_used = match generation {
            Some(_) => KeyUsed::PreKey,
            None => self.their_next_key_used,
        };
        Ok(Sealing {
            key_used,
            generation,
            index: self.our_next_key_index,
            plaintext: Zeroizing::new(plaintext.to_vec()),
            ours,
            theirs,
            target,
        })
    }

    pub(crate) fn apply_sent(&mut self, sent: Sent) {
        let index = self.our_next_key_index;
        self.our_secret_keys.insert(index, sent.ours);
        // Whoever is silent for so long cannot answer to the oldest any more.
        while self.our_secret_keys.len() > OWN_KEYS_MAX {
            if let Some(oldest) = self.our_secret_keys.first().copied() {
                self.our_secret_keys.remove(&oldest);
                self.our_min_key_index = oldest.saturating_add(1);
            }
        }
        self.our_next_key_index += 1;
        self.their_verifying_key = Some(sent.theirs);
        self.their_next_key_used = KeyUsed::ReceivedKey;
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

    /// Whether the next message of ours is a first one and no bundle is at hand.
    pub(crate) fn needs_bundle(&self) -> bool {
        self.their_verifying_key.is_none() && self.their_prekey_bundle.is_none()
    }

    /// The index that the next message of ours will carry; tells whether a draft is stale.
    pub(crate) fn next_index(&self) -> u64 {
        self.our_next_key_index
    }

    /// Opens a message; changes nothing.
    pub(crate) fn open(
        &self,
        keys: &OwnKeys,
        identity: Option<&PublicKey>,
        message: &TwoPartyMessage,
    ) -> Result<Opened, ReceiveError> {
        let (mut first, mut late) = (None, false);
        let body = match (message.key_used, &message.ciphertext) {
            (KeyUsed::PreKey, TwoPartyCiphertext::PreKey(ciphertext)) => {
                first = Some(First::of(ciphertext));
                self.open_first(keys, identity, ciphertext)?
            }
            (KeyUsed::ReceivedKey, TwoPartyCiphertext::Hpke(ciphertext)) => {
                let (body, is_late) = self.open_received(ciphertext)?;
                late = is_late;
                body
            }
            (KeyUsed::OwnKey(index), TwoPartyCiphertext::Hpke(ciphertext)) => {
                let key = self.our_secret_keys.get(&index);
                let key = key.ok_or(ReceiveError::UnknownSecretUsed(index))?;
                late = self.restart.awaiting.is_some_and(|awaited| index < awaited);
                hpke::open(key, &[], &[], ciphertext)?
            }
            _ => return Err(ReceiveError::InvalidCiphertextType),
        };
        let body = TwoPartyPlaintext::decode(&body)?;
        if body.sender_new_verifying_key.is_small_order() {
            return Err(ReceiveError::SmallOrder);
        }
        let generation = first.as_ref().map(|_| body.generation.unwrap_or(0));
        Ok(Opened {
            plaintext: body.plaintext,
            identity: first.as_ref().map(|first| first.identity),
            late: late || generation.is_some_and(|generation| !self.restart.admits(generation)),
            generation,
            first,
            answered: match message.key_used {
                KeyUsed::OwnKey(index) => Some(index),
                _ => None,
            },
            their_verifying_key: body.sender_new_verifying_key,
            their_index: body.sender_next_index,
            received: body.receiver_new_secret,
        })
    }

    pub(crate) fn apply_opened(&mut self, keys: &mut OwnKeys, opened: Opened) {
        if let Some(first) = opened.first {
            if let Some(id) = first.onetime {
                // Its absence was an error in `open`, and nothing else runs in between.
                let _ = keys.use_one_time(id);
            }
            self.opened
                .retain(|(prekey, _)| keys.prekey_secret(prekey).is_ok());
            self.opened.push((first.prekey, first.ephemeral));
        }
        if let Some(index) = opened.answered {
            self.our_secret_keys.drop_below(&index.saturating_add(1));
            self.our_min_key_index = index.saturating_add(1);
        }
        if opened.late {
            self.restart.late = Some(opened.received);
            return;
        }
        self.their_verifying_key = Some(opened.their_verifying_key);
        self.their_next_key_used = KeyUsed::OwnKey(opened.their_index);
        self.our_received_secret_key = Some(opened.received);
        self.restart.adopted(opened.generation);
    }

    /// With the key of this channel or that of one that was given up.
    fn open_received(
        &self,
        ciphertext: &hpke::HpkeCiphertext,
    ) -> Result<(Zeroizing<Vec<u8>>, bool), ReceiveError> {
        let received = self.our_received_secret_key.iter().map(|key| (key, false));
        let late = self.restart.late.iter().map(|key| (key, true));
        let mut error = ReceiveError::UnknownSecretUsed(0);
        for (key, is_late) in received.chain(late) {
            match hpke::open(key, &[], &[], ciphertext) {
                Ok(body) => return Ok((body, is_late)),
                Err(refused) => error = refused.into(),
            }
        }
        Err(error)
    }

    fn open_first(
        &self,
        keys: &OwnKeys,
        identity: Option<&PublicKey>,
        ciphertext: &x3dh::X3dhCiphertext,
    ) -> Result<Zeroizing<Vec<u8>>, ReceiveError> {
        if identity.is_some_and(|known| *known != ciphertext.identity_key) {
            return Err(ReceiveError::IdentityMismatch);
        }
        if self
            .opened
            .contains(&(ciphertext.prekey_id, ciphertext.ephemeral_key))
        {
            return Err(ReceiveError::Replayed);
        }
        let same = |(prekey, _): &&(PublicKey, _)| *prekey == ciphertext.prekey_id;
        if self.opened.iter().filter(same).count() >= FIRST_MESSAGES_MAX {
            return Err(Limit::FirstMessages.into());
        }
        let onetime = match ciphertext.onetime_prekey_id {
            Some(id) => Some(keys.one_time_secret(id).ok_or(ReceiveError::PreKeyReuse)?),
            None => None,
        };
        let prekey = keys
            .prekey_secret(&ciphertext.prekey_id)
            .map_err(|_| ReceiveError::UnknownPreKeyUsed(ciphertext.prekey_id))?;
        let identity = keys.identity_secret();
        Ok(x3dh::decrypt(ciphertext, identity, prekey, onetime)?)
    }

    /// Writes the layout that published peers store.
    pub(crate) fn write_layout(&self, with_bundle: bool, w: &mut Writer) {
        w.map(7)
            .text("our_secret_keys")
            .map(self.our_secret_keys.len());
        for (index, key) in self.our_secret_keys.iter() {
            w.uint(*index).item(key);
        }
        w.text("our_min_key_index").uint(self.our_min_key_index);
        w.text("our_next_key_index").uint(self.our_next_key_index);
        w.text("their_next_key_used")
            .item(&self.their_next_key_used);
        let bundle = self.their_prekey_bundle.as_ref();
        w.text("their_prekey_bundle")
            .optional(bundle.filter(|_| with_bundle));
        w.text("their_verifying_key")
            .optional(self.their_verifying_key.as_ref());
        w.text("our_received_secret_key")
            .optional(self.our_received_secret_key.as_ref());
    }

    /// Reads the layout that published peers store.
    pub(crate) fn read_layout(r: &mut Reader<'_>) -> Result<Session, DecodeError> {
        let mut fields = Fields::open(r)?;
        let our_secret_keys = fields.required("our_secret_keys", |r| {
            map(r, |r| Ok(r.uint()?), SecretKey::read)
        })?;
        let session = Session {
            our_secret_keys: Table::fresh(our_secret_keys),
            our_min_key_index: fields.required("our_min_key_index", |r| Ok(r.uint()?))?,
            our_next_key_index: fields.required("our_next_key_index", |r| Ok(r.uint()?))?,
            their_next_key_used: fields.required("their_next_key_used", KeyUsed::read)?,
            their_prekey_bundle: fields.optional("their_prekey_bundle", Bundle::read)?,
            their_verifying_key: fields.optional("their_verifying_key", PublicKey::read)?,
            our_received_secret_key: fields.optional("our_received_secret_key", SecretKey::read)?,
            opened: Vec::new(),
            restart: Restart::default(),
            sent_with: VecDeque::new(),
        };
        fields.close()?;
        Ok(session)
    }

    /// Takes over a session from the layout that published peers store.
    pub fn decode_layout(bytes: &[u8]) -> Result<Session, DecodeError> {
        let mut r = Reader::checked(bytes, p2panda_core::cbor::VALUE)?;
        let session = Session::read_layout(&mut r)?;
        r.finish().map_err(DecodeError::Cbor)?;
        Ok(session)
    }

    /// The layout that published peers store; first messages opened are not part of it.
    pub fn encode_layout(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        self.write_layout(true, &mut w);
        w.into_bytes()
    }
}

impl Wire for Session {
    fn write(&self, w: &mut Writer) {
        w.array(3).uint(3).map(self.our_secret_keys.len());
        for (index, key) in self.our_secret_keys.iter() {
            w.uint(*index).item(key);
        }
        self.write_rest(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Session, DecodeError> {
        tuple(r, 3, |r| {
            version(r, 3)?;
            let keys = map(r, |r| Ok(r.uint()?), SecretKey::read)?;
            let mut session = Session::read_rest(r)?;
            session.our_secret_keys = Table::fresh(keys);
            Ok(session)
        })
    }
}

/// What a received message brought.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// What the peer sent.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The sender's identity key, with a first message only.
    pub identity: Option<PublicKey>,
}

/// One message with everything drawn and nothing computed: independent work per recipient.
#[derive(Debug)]
pub(crate) struct Sealing {
    key_used: KeyUsed,
    generation: Option<u64>,
    index: u64,
    plaintext: Zeroizing<Vec<u8>>,
    ours: SecretKey,
    theirs: SecretKey,
    target: Target,
}

#[derive(Debug)]
enum Target {
    X3dh {
        identity: SecretKey,
        bundle: Box<Bundle>,
        now: u64,
        ephemeral: SecretKey,
    },
    Hpke {
        receiver: PublicKey,
        ephemeral: Option<SecretKey>,
    },
}

impl Sealing {
    /// Draws the HPKE ephemeral, if one is needed. Apart from [`Session::prepare`], because the
    /// keys of several recipients are drawn before the first ephemeral.
    pub(crate) fn draw(&mut self, rng: &mut impl CryptoRng) {
        if let Target::Hpke { ephemeral, .. } = &mut self.target {
            *ephemeral = Some(SecretKey::random(rng));
        }
    }

    /// The length that the ciphertext will have.
    pub(crate) fn ciphertext_len(&self) -> usize {
        let zeros = SecretKey::from_bytes([0; 32]);
        let body = TwoPartyPlaintext {
            generation: self.generation,
            plaintext: self.plaintext.clone(),
            sender_next_index: self.index,
            sender_new_verifying_key: PublicKey::from_bytes([0; 32]),
            receiver_new_secret: zeros,
        };
        body.encode().len() + TAG_BYTES
    }

    /// Computes the message.
    pub(crate) fn seal(self) -> Result<(Sent, TwoPartyMessage), SendError> {
        let theirs = self.theirs.public_key();
        let generation = self.generation;
        let body = TwoPartyPlaintext {
            generation,
            plaintext: self.plaintext,
            sender_next_index: self.index,
            receiver_new_secret: self.theirs,
            sender_new_verifying_key: self.ours.public_key(),
        };
        let body = body.encode();
        let first = match &self.target {
            Target::X3dh { bundle, now, .. } => Some(SentFirst {
                prekey: *bundle.prekey(),
                generation,
                at_s: *now,
            }),
            Target::Hpke { .. } => None,
        };
        let ciphertext = match self.target {
            Target::X3dh {
                identity,
                bundle,
                now,
                ephemeral,
            } => {
                let sealed = x3dh::encrypt_with(&body, &identity, &bundle, now, &ephemeral)?;
                TwoPartyCiphertext::PreKey(sealed)
            }
            Target::Hpke {
                receiver,
                ephemeral,
            } => {
                let ephemeral = ephemeral.expect("drawn before sealing");
                let sealed = hpke::seal_with(&ephemeral, &receiver, &[], &[], &body)?;
                TwoPartyCiphertext::Hpke(sealed)
            }
        };
        let ours = self.ours;
        let sent = Sent {
            ours,
            theirs,
            first,
        };
        let key_used = self.key_used;
        Ok((
            sent,
            TwoPartyMessage {
                key_used,
                ciphertext,
            },
        ))
    }
}

/// What a sent message changes in the session.
#[derive(Debug)]
pub(crate) struct Sent {
    ours: SecretKey,
    theirs: PublicKey,
    first: Option<SentFirst>,
}

/// What a sent first message was.
#[derive(Debug)]
struct SentFirst {
    prekey: PublicKey,
    /// If it began the channel anew.
    generation: Option<u64>,
    at_s: u64,
}

/// What a received message changes in session, keys and registry.
pub(crate) struct Opened {
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) identity: Option<PublicKey>,
    first: Option<First>,
    generation: Option<u64>,
    /// It belongs to a channel that was given up: only what it carries counts.
    late: bool,
    answered: Option<u64>,
    their_verifying_key: PublicKey,
    their_index: u64,
    received: SecretKey,
}

impl Opened {
    /// Whether the peer has begun the channel anew, so that it may lack what we sent before.
    pub(crate) fn begins_anew(&self) -> bool {
        !self.late && self.generation.is_some_and(|generation| generation > 0)
    }
}

struct First {
    identity: PublicKey,
    prekey: PublicKey,
    ephemeral: PublicKey,
    onetime: Option<u64>,
}

impl First {
    fn of(ciphertext: &x3dh::X3dhCiphertext) -> First {
        First {
            identity: ciphertext.identity_key,
            prekey: ciphertext.prekey_id,
            ephemeral: ciphertext.ephemeral_key,
            onetime: ciphertext.onetime_prekey_id,
        }
    }
}

#[cfg(test)]
mod tests;
