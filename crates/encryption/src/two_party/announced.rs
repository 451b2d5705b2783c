//! The X-Wing key that the messages of one operation announce
//! (`docs/protocol/encryption-hybrid.md 5.3`).

use std::fmt;
use std::sync::{Arc, OnceLock};

use rand_core::CryptoRng;

use crate::xwing::{XWingPublic, XWingSecret};

/// One key pair for all recipients: making the public half is a large part of a hybrid message.
#[derive(Clone)]
pub(crate) struct Announced(Arc<Pair>);

struct Pair {
    seed: XWingSecret,
    /// Made by the first message that is sealed, on what thread.
    public: OnceLock<XWingPublic>,
}

impl Announced {
    /// Draws a seed.
    pub(crate) fn random(rng: &mut impl CryptoRng) -> Announced {
        Announced(Arc::new(Pair {
            seed: XWingSecret::random(rng),
            public: OnceLock::new(),
        }))
    }

    /// The seed, for the channel with one recipient.
    pub(super) fn seed(&self) -> XWingSecret {
        self.0.seed.duplicate()
    }

    /// The public half.
    pub(super) fn public(&self) -> &XWingPublic {
        self.0.public.get_or_init(|| self.0.seed.public_key())
    }
}

impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Announced(..)")
    }
}
