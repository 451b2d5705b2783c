//! Key bundles, which let somebody send us a first secret while we are offline
//! (`docs/protocol/encryption.md#5`).

mod hybrid;

pub use hybrid::HybridBundle;

use p2panda_core::limits::{PRE_KEY_CLOCK_SKEW_S, PRE_KEY_LIFETIME_MAX_S};
use thiserror::Error;

use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, tuple};
use crate::x25519::PublicKey;
use crate::xeddsa::{self, XSignature, XeddsaError};

/// Validity of a pre-key, in whole seconds since 1970; both ends excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime {
    /// The last second, excluded.
    pub not_after: u64,
    /// The first second, excluded.
    pub not_before: u64,
}

impl Lifetime {
    /// From [`PRE_KEY_CLOCK_SKEW_S`] ago until `seconds` from now, at most
    /// [`PRE_KEY_LIFETIME_MAX_S`].
    ///
    /// ```
    /// # use p2panda_encryption::Lifetime;
    /// let lifetime = Lifetime::starting(10_000, 60);
    /// assert!(lifetime.is_valid(10_059) && !lifetime.is_valid(10_060));
    /// ```
    pub fn starting(now: u64, seconds: u64) -> Lifetime {
        Lifetime {
            not_after: now.saturating_add(seconds.min(PRE_KEY_LIFETIME_MAX_S)),
            not_before: now.saturating_sub(PRE_KEY_CLOCK_SKEW_S),
        }
    }

    /// Returns `true` if the pre-key may be used at this time. For "still valid in a month" ask
    /// with the time of then.
    pub fn is_valid(&self, now: u64) -> bool {
        self.not_before < now && now < self.not_after
    }
}

impl Wire for Lifetime {
    fn write(&self, w: &mut Writer) {
        w.map(2).text("not_after").uint(self.not_after);
        w.text("not_before").uint(self.not_before);
    }

    fn read(r: &mut Reader<'_>) -> Result<Lifetime, DecodeError> {
        let mut fields = Fields::open(r)?;
        let not_after = fields.required("not_after", |r| Ok(r.uint()?))?;
        let not_before = fields.required("not_before", |r| Ok(r.uint()?))?;
        fields.close()?;
        Ok(Lifetime {
            not_after,
            not_before,
        })
    }
}

/// A key that may be used many times until it expires. Its id is the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreKey {
    /// The public half.
    pub key: PublicKey,
    /// Validity of the pre-key.
    pub lifetime: Lifetime,
}

impl Wire for PreKey {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.key).item(&self.lifetime);
    }

    fn read(r: &mut Reader<'_>) -> Result<PreKey, DecodeError> {
        tuple(r, 2, |r| {
            Ok(PreKey {
                key: PublicKey::read(r)?,
                lifetime: Lifetime::read(r)?,
            })
        })
    }
}

/// A key that may be used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneTimePreKey {
    /// The public half.
    pub key: PublicKey,
    /// Unique per member, counting up from 0.
    pub id: u64,
}

impl Wire for OneTimePreKey {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.key).uint(self.id);
    }

    fn read(r: &mut Reader<'_>) -> Result<OneTimePreKey, DecodeError> {
        tuple(r, 2, |r| {
            Ok(OneTimePreKey {
                key: PublicKey::read(r)?,
                id: r.uint()?,
            })
        })
    }
}

/// Reason why a bundle is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The pre-key has expired or is not valid yet.
    #[error("the lifetime of the pre-key is not valid now")]
    InvalidLifetime,
    /// The signature is not by the identity key.
    #[error(transparent)]
    Signature(#[from] XeddsaError),
    /// Agreements with a key of the bundle would be zero.
    #[error("a key of the bundle is of small order")]
    SmallOrder,
    /// The bundle does not name the suite that it is for.
    #[error("the bundle does not name the hybrid suite")]
    Suites,
}

/// A bundle for the data scheme: anybody may use it until its pre-key expires.
///
/// The signature covers only the pre-key, so trust a bundle only inside an envelope that its
/// owner signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongTermBundle {
    /// The owner's identity key.
    pub identity_key: PublicKey,
    /// Pre-key that a first message is encrypted to.
    pub signed_prekey: PreKey,
    /// By the identity key over the 32 bytes of the pre-key.
    pub prekey_signature: XSignature,
}

impl LongTermBundle {
    /// Checks lifetime and signature.
    pub fn verify(&self, now: u64) -> Result<(), BundleError> {
        verify(
            &self.identity_key,
            &self.signed_prekey,
            &self.prekey_signature,
            now,
        )
    }
}

impl Wire for LongTermBundle {
    fn write(&self, w: &mut Writer) {
        w.map(3).text("identity_key").item(&self.identity_key);
        w.text("signed_prekey").item(&self.signed_prekey);
        w.text("prekey_signature").item(&self.prekey_signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<LongTermBundle, DecodeError> {
        let mut fields = Fields::open(r)?;
        let identity_key = fields.required("identity_key", PublicKey::read)?;
        let signed_prekey = fields.required("signed_prekey", PreKey::read)?;
        let prekey_signature = fields.required("prekey_signature", XSignature::read)?;
        fields.close()?;
        Ok(LongTermBundle {
            identity_key,
            signed_prekey,
            prekey_signature,
        })
    }
}

/// A bundle for the message scheme: used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneTimeBundle {
    /// The owner's identity key.
    pub identity_key: PublicKey,
    /// Pre-key that a first message is encrypted to.
    pub signed_prekey: PreKey,
    /// The key that makes the bundle good for one message only.
    pub onetime_prekey: Option<OneTimePreKey>,
    /// By the identity key over the 32 bytes of the pre-key.
    pub prekey_signature: XSignature,
}

impl OneTimeBundle {
    /// Checks lifetime and signature.
    pub fn verify(&self, now: u64) -> Result<(), BundleError> {
        if self.onetime_prekey.is_some_and(|p| p.key.is_small_order()) {
            return Err(BundleError::SmallOrder);
        }
        verify(
            &self.identity_key,
            &self.signed_prekey,
            &self.prekey_signature,
            now,
        )
    }
}

impl Wire for OneTimeBundle {
    fn write(&self, w: &mut Writer) {
        w.map(4).text("identity_key").item(&self.identity_key);
        w.text("signed_prekey").item(&self.signed_prekey);
        w.text("onetime_prekey")
            .optional(self.onetime_prekey.as_ref());
        w.text("prekey_signature").item(&self.prekey_signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<OneTimeBundle, DecodeError> {
        let mut fields = Fields::open(r)?;
        let identity_key = fields.required("identity_key", PublicKey::read)?;
        let signed_prekey = fields.required("signed_prekey", PreKey::read)?;
        let onetime_prekey = fields.optional("onetime_prekey", OneTimePreKey::read)?;
        let prekey_signature = fields.required("prekey_signature", XSignature::read)?;
        fields.close()?;
        Ok(OneTimeBundle {
            identity_key,
            signed_prekey,
            onetime_prekey,
            prekey_signature,
        })
    }
}

/// A bundle of either kind, for a first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bundle {
    /// For the data scheme.
    LongTerm(LongTermBundle),
    /// For the message scheme.
    OneTime(OneTimeBundle),
}

impl Bundle {
    /// Checks lifetime and signature.
    pub fn verify(&self, now: u64) -> Result<(), BundleError> {
        match self {
            Bundle::LongTerm(bundle) => bundle.verify(now),
            Bundle::OneTime(bundle) => bundle.verify(now),
        }
    }

    /// The owner's identity key.
    pub fn identity_key(&self) -> &PublicKey {
        match self {
            Bundle::LongTerm(bundle) => &bundle.identity_key,
            Bundle::OneTime(bundle) => &bundle.identity_key,
        }
    }

    pub(crate) fn lifetime(&self) -> &Lifetime {
        match self {
            Bundle::LongTerm(bundle) => &bundle.signed_prekey.lifetime,
            Bundle::OneTime(bundle) => &bundle.signed_prekey.lifetime,
        }
    }

    pub(crate) fn prekey(&self) -> &PublicKey {
        match self {
            Bundle::LongTerm(bundle) => &bundle.signed_prekey.key,
            Bundle::OneTime(bundle) => &bundle.signed_prekey.key,
        }
    }

    pub(crate) fn onetime(&self) -> Option<&OneTimePreKey> {
        match self {
            Bundle::LongTerm(_) => None,
            Bundle::OneTime(bundle) => bundle.onetime_prekey.as_ref(),
        }
    }
}

impl Wire for Bundle {
    fn write(&self, w: &mut Writer) {
        match self {
            Bundle::LongTerm(bundle) => bundle.write(w),
            Bundle::OneTime(bundle) => bundle.write(w),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Bundle, DecodeError> {
        // The kinds differ in their number of fields; both are only read back from own states.
        if r.clone().map()? == 3 {
            LongTermBundle::read(r).map(Bundle::LongTerm)
        } else {
            OneTimeBundle::read(r).map(Bundle::OneTime)
        }
    }
}

/// The bundle to use: valid now, the newest, among equals the latest to expire and then the one
/// with the greater pre-key.
pub fn latest(bundles: &[LongTermBundle], now: u64) -> Option<&LongTermBundle> {
    let valid = |bundle: &&LongTermBundle| bundle.signed_prekey.lifetime.is_valid(now);
    bundles
        .iter()
        .filter(valid)
        .max_by_key(|bundle| rank(&bundle.signed_prekey))
}

/// Sort key of [`latest`]. The beginning comes first, so that a pre-key that never expires gives
/// way to those that come after it.
pub(crate) fn rank(prekey: &PreKey) -> (u64, u64, PublicKey) {
    let Lifetime {
        not_after,
        not_before,
    } = prekey.lifetime;
    (not_before, not_after, prekey.key)
}

fn verify(
    identity_key: &PublicKey,
    prekey: &PreKey,
    signature: &XSignature,
    now: u64,
) -> Result<(), BundleError> {
    if !prekey.lifetime.is_valid(now) {
        return Err(BundleError::InvalidLifetime);
    }
    if prekey.key.is_small_order() {
        return Err(BundleError::SmallOrder);
    }
    Ok(xeddsa::verify(
        prekey.key.as_bytes(),
        identity_key,
        signature,
    )?)
}
