//! The keys to which the first message of a channel is sealed.

use rand_core::CryptoRng;

use super::SendError;
use super::announced::Announced;
use super::sealing::Target;
use crate::bundle::{Bundle, HybridBundle, Lifetime, OneTimeBundle, OneTimePreKey};
use crate::own_keys::OwnKeys;
use crate::suite::Link;
use crate::x3dh::hybrid::HybridTarget;
use crate::x25519::{PublicKey, SecretKey};
use crate::xwing::Randomness;

/// Channel for the next message of ours.
#[derive(Default)]
pub(crate) struct Over<'b> {
    /// For a session that does not exist yet, or restarts.
    pub(crate) opening: Option<Opening<'b>>,
    /// `true` if it restarts.
    pub(crate) anew: bool,
    /// Parameters of the hybrid suite, if the group has it.
    pub(crate) hybrid: Option<OverHybrid<'b>>,
}

/// Parameters for messages of the hybrid suite.
pub(crate) struct OverHybrid<'b> {
    pub(crate) link: Link,
    /// One in this many messages is hybrid.
    pub(crate) every: u32,
    /// This one is.
    pub(crate) is_forced: bool,
    /// Keys that the messages of the operation announce, once one of them announces something.
    pub(crate) announced: &'b mut Option<Announced>,
}

impl OverHybrid<'_> {
    /// Returns what the message announces; drawn for the first one of an operation.
    pub(super) fn announced(&mut self, rng: &mut impl CryptoRng) -> Announced {
        let drawn = self.announced.get_or_insert_with(|| Announced::random(rng));
        drawn.clone()
    }
}

/// The keys of the peer that a first message goes to.
#[derive(Clone, Copy)]
pub(crate) enum Opening<'b> {
    Classic(Bundle),
    Hybrid {
        bundle: &'b HybridBundle,
        onetime: Option<OneTimePreKey>,
    },
}

impl<'b> Opening<'b> {
    /// The same keys but for the one-time key, which somebody else may have used before.
    pub(crate) fn without_one_time(self) -> Opening<'b> {
        match self {
            Opening::Classic(Bundle::OneTime(bundle)) => {
                Opening::Classic(Bundle::OneTime(OneTimeBundle {
                    onetime_prekey: None,
                    ..bundle
                }))
            }
            Opening::Classic(long_term) => Opening::Classic(long_term),
            Opening::Hybrid { bundle, .. } => Opening::Hybrid {
                bundle,
                onetime: None,
            },
        }
    }

    pub(crate) fn prekey(&self) -> &PublicKey {
        match self {
            Opening::Classic(bundle) => bundle.prekey(),
            Opening::Hybrid { bundle, .. } => &bundle.signed_prekey.key,
        }
    }

    pub(super) fn lifetime(&self) -> &Lifetime {
        match self {
            Opening::Classic(bundle) => bundle.lifetime(),
            Opening::Hybrid { bundle, .. } => &bundle.signed_prekey.lifetime,
        }
    }

    /// Draws what the message needs.
    pub(super) fn target(
        self,
        keys: &OwnKeys,
        now: u64,
        hybrid: Option<&mut OverHybrid<'_>>,
        rng: &mut impl CryptoRng,
    ) -> Result<Target, SendError> {
        let identity = keys.identity_secret().duplicate();
        Ok(match self {
            Opening::Classic(bundle) => Target::X3dh {
                theirs: SecretKey::random(rng),
                identity,
                bundle: Box::new(bundle),
                now,
                ephemeral: SecretKey::random(rng),
            },
            Opening::Hybrid { bundle, onetime } => {
                let hybrid = hybrid.ok_or(SendError::Unconfigured)?;
                Target::First {
                    target: Box::new(HybridTarget {
                        identity,
                        bundle: bundle.clone(),
                        onetime,
                        now,
                        ephemeral: SecretKey::random(rng),
                        randomness: Randomness::random(rng),
                    }),
                    announced: hybrid.announced(rng),
                    link: hybrid.link,
                }
            }
        })
    }
}
