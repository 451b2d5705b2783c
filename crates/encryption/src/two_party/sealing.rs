//! Messages of ours, from what was drawn to what travels.

use std::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::announced::Announced;
use super::hybrid::{Body, Exported, OwnKey, TheirKey};
use super::message::{KeyUsed, TwoPartyCiphertext, TwoPartyMessage, TwoPartyPlaintext};
use super::{SendError, TAG_BYTES};
use crate::bundle::Bundle;
use crate::hpke::{self, HpkeError, Keys};
use crate::secret::Secret;
use crate::suite::{Link, chained_aad, hybrid_aad};
use crate::wire::Wire;
use crate::x3dh;
use crate::x3dh::hybrid::HybridTarget;
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::{ENCAPSULATION_BYTES, Randomness, XWingPublic, XWingSecret, ephemeral_of};

/// One message with everything drawn and nothing computed: independent work per recipient.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub(super) head: Head,
    pub(super) target: Target,
}

/// The common part of messages of all kinds.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) key_used: KeyUsed,
    pub(super) generation: Option<u64>,
    pub(super) index: u64,
    pub(super) plaintext: Zeroizing<Vec<u8>>,
    pub(super) ours: SecretKey,
}

/// The key that a message is encrypted to.
pub(super) enum Target {
    X3dh {
        theirs: SecretKey,
        identity: SecretKey,
        bundle: Box<Bundle>,
        now: u64,
        ephemeral: SecretKey,
    },
    Hpke {
        theirs: SecretKey,
        receiver: PublicKey,
        ephemeral: Option<SecretKey>,
    },
    First {
        target: Box<HybridTarget>,
        announced: Announced,
        link: Link,
    },
    Hybrid {
        newest: Newest,
        xwing: (KeyUsed, XWingPublic),
        randomness: Randomness,
        announced: Announced,
        link: Link,
    },
    Chained {
        newest: Newest,
        ephemeral: SecretKey,
        link: Link,
    },
}

/// The newest X25519 key of the peer, with its chain key.
pub(super) struct Newest {
    pub(super) key: PublicKey,
    pub(super) chain: Secret,
}

impl Newest {
    fn agree(&self, ephemeral: (&SecretKey, &PublicKey), link: &Link) -> Result<Keys, HpkeError> {
        Keys::chained_to(&self.key, &self.chain, &link.info(), ephemeral)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(..)")
    }
}

impl Sealing {
    /// Draws the HPKE ephemeral, if one is needed. Apart from the other keys, because those of
    /// several recipients are drawn before the first ephemeral.
    pub(crate) fn draw(&mut self, rng: &mut impl CryptoRng) {
        if let Target::Hpke { ephemeral, .. } = &mut self.target {
            *ephemeral = Some(SecretKey::random(rng));
        }
    }

    /// The length of the longest string that will travel.
    pub(crate) fn ciphertext_len(&self) -> usize {
        let head = &self.head;
        match &self.target {
            Target::X3dh { .. } | Target::Hpke { .. } => {
                let zeros = SecretKey::from_bytes([0; 32]);
                let body = head.classic(PublicKey::from_bytes([0; 32]), zeros);
                body.encode().len() + TAG_BYTES
            }
            Target::First { .. } | Target::Hybrid { .. } => {
                let body = head.plaintext.len() + Body::HYBRID_BYTES;
                ENCAPSULATION_BYTES.max(body + TAG_BYTES)
            }
            Target::Chained { .. } => head.plaintext.len() + Body::CHAINED_BYTES + TAG_BYTES,
        }
    }

    /// Computes the message.
    pub(crate) fn seal(self) -> Result<(Sent, TwoPartyMessage), SendError> {
        let head = self.head;
        let key_used = head.key_used;
        let (sent, ciphertext) = match self.target {
            Target::X3dh {
                theirs,
                identity,
                bundle,
                now,
                ephemeral,
            } => {
                let (theirs, body) = head.seal_classic(theirs);
                let sealed = x3dh::encrypt_with(&body, &identity, &bundle, now, &ephemeral)?;
                let first = head.first(*bundle.prekey(), bundle.onetime().is_some(), now);
                let sent = Sent::classic(head, theirs, Some(first));
                (sent, TwoPartyCiphertext::PreKey(sealed))
            }
            Target::Hpke {
                theirs,
                receiver,
                ephemeral,
            } => {
                let (theirs, body) = head.seal_classic(theirs);
                let ephemeral = ephemeral.expect("drawn before sealing");
                let sealed = hpke::seal_with(&ephemeral, &receiver, &[], &[], &body)?;
                let sent = Sent::classic(head, theirs, None);
                (sent, TwoPartyCiphertext::Hpke(sealed))
            }
            Target::First {
                target,
                announced,
                link,
            } => head.seal_first(*target, &announced, &link)?,
            Target::Hybrid {
                newest,
                xwing,
                randomness,
                announced,
                link,
            } => head.seal_hybrid(&newest, (xwing, randomness), &announced, &link)?,
            Target::Chained {
                newest,
                ephemeral,
                link,
            } => head.seal_chained(&newest, &ephemeral, &link)?,
        };
        let message = TwoPartyMessage {
            key_used,
            ciphertext,
        };
        Ok((sent, message))
    }
}

impl Head {
    fn classic(&self, ours: PublicKey, theirs: SecretKey) -> TwoPartyPlaintext {
        TwoPartyPlaintext {
            generation: self.generation,
            plaintext: self.plaintext.clone(),
            sender_next_index: self.index,
            receiver_new_secret: theirs,
            sender_new_verifying_key: ours,
        }
    }

    /// The public half of the peer's next key, and the body that carries the secret half.
    fn seal_classic(&self, theirs: SecretKey) -> (PublicKey, Zeroizing<Vec<u8>>) {
        let key = theirs.public_key();
        (key, self.classic(self.ours.public_key(), theirs).encode())
    }

    fn body(&self, announced: Option<&Announced>) -> Zeroizing<Vec<u8>> {
        let body = Body {
            plaintext: self.plaintext.clone(),
            key: self.ours.public_key(),
            xwing: announced.map(|announced| announced.public().clone()),
            index: self.index,
            generation: self.generation,
        };
        body.encode()
    }

    fn first(&self, prekey: PublicKey, one_time: bool, at_s: u64) -> SentFirst {
        SentFirst {
            prekey,
            one_time,
            generation: self.generation,
            at_s,
        }
    }

    fn seal_first(
        self,
        target: HybridTarget,
        announced: &Announced,
        link: &Link,
    ) -> Result<(Sent, TwoPartyCiphertext), SendError> {
        let (keys, mut message, aad) = target.agree(&link.info())?;
        let exported = Exported::from(&keys, true);
        message.ciphertext = keys.seal(&aad, &self.body(Some(announced)))?;
        let first = self.first(message.prekey_id, target.onetime.is_some(), target.now);
        let sent = Sent::hybrid(self, Some(announced.seed()), exported, Some(first));
        Ok((sent, TwoPartyCiphertext::First(message)))
    }

    fn seal_hybrid(
        self,
        newest: &Newest,
        ((xwing_used, receiver), randomness): ((KeyUsed, XWingPublic), Randomness),
        announced: &Announced,
        link: &Link,
    ) -> Result<(Sent, TwoPartyCiphertext), SendError> {
        let (kem_output, shared) = receiver.encapsulate(&randomness);
        // The encapsulation has computed the public half already.
        let public = ephemeral_of(&*kem_output).map_err(|_| HpkeError::Encryption)?;
        let chained = newest.agree((&randomness.ephemeral(), &public), link)?;
        let keys = Keys::hybrid(&shared, &chained, &link.info());
        let exported = Exported::from(&keys, true);
        let aad = hybrid_aad(&self.key_used, &xwing_used);
        let ciphertext = TwoPartyCiphertext::Hybrid {
            xwing_used,
            kem_output: kem_output.to_vec(),
            ciphertext: keys.seal(&aad, &self.body(Some(announced)))?,
        };
        let sent = Sent::hybrid(self, Some(announced.seed()), exported, None);
        Ok((sent, ciphertext))
    }

    fn seal_chained(
        self,
        newest: &Newest,
        ephemeral: &SecretKey,
        link: &Link,
    ) -> Result<(Sent, TwoPartyCiphertext), SendError> {
        let kem_output = ephemeral.public_key();
        let keys = newest.agree((ephemeral, &kem_output), link)?;
        let exported = Exported::from(&keys, false);
        let aad = chained_aad(&self.key_used);
        let ciphertext = TwoPartyCiphertext::Chained {
            kem_output,
            ciphertext: keys.seal(&aad, &self.body(None))?,
        };
        Ok((Sent::hybrid(self, None, exported, None), ciphertext))
    }
}

/// Changes of the session by a sent message.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(super) ours: OwnKey,
    /// The seed whose public half was announced.
    pub(super) seed: Option<XWingSecret>,
    pub(super) theirs: TheirKey,
    /// The key to encapsulate to from now on.
    pub(super) xwing: Option<XWingPublic>,
    pub(super) first: Option<SentFirst>,
}

impl Sent {
    fn classic(head: Head, theirs: PublicKey, first: Option<SentFirst>) -> Sent {
        Sent {
            ours: OwnKey::classic(head.ours),
            seed: None,
            theirs: TheirKey {
                key: theirs,
                chain: None,
            },
            xwing: None,
            first,
        }
    }

    fn hybrid(
        head: Head,
        seed: Option<XWingSecret>,
        exported: Exported,
        first: Option<SentFirst>,
    ) -> Sent {
        let Exported { chain, received } = exported;
        Sent {
            ours: OwnKey {
                secret: head.ours,
                chain: Some(chain),
            },
            seed,
            theirs: TheirKey {
                key: received.secret.public_key(),
                chain: received.chain,
            },
            xwing: received.seed.as_ref().map(XWingSecret::public_key),
            first,
        }
    }
}

/// A sent first message.
#[derive(Debug)]
pub(super) struct SentFirst {
    pub(super) prekey: PublicKey,
    pub(super) one_time: bool,
    /// If it began the channel again.
    pub(super) generation: Option<u64>,
    pub(super) at_s: u64,
}
