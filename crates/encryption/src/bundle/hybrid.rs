//! Bundles of the hybrid suite (`docs/protocol/encryption-hybrid.md#4.1`).

use p2panda_core::limits::SUITES_MAX;
use rand_core::CryptoRng;

use super::{BundleError, PreKey};
use crate::suite::Suite;
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer};
use crate::x25519::{PublicKey, SecretKey};
use crate::xeddsa::{self, XSignature};
use crate::xwing::XWingPublic;

const CONTEXT: &[u8] = b"p2panda hybrid bundle";

/// Keys that somebody needs to write to us first, safe against quantum computers of later.
/// Published next to the classic bundles, which 0.7.1 peers read.
///
/// One signature covers all of it; that the owner is who it seems to be, the envelope says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridBundle {
    /// The X-Wing pre-key.
    pub xwing: XWingPublic,
    /// The suites that the owner speaks, ascending.
    pub suites: Vec<u8>,
    /// By the identity key over everything else.
    pub signature: XSignature,
    /// The owner's identity key.
    pub identity_key: PublicKey,
    /// The X25519 pre-key, whose lifetime the X-Wing pre-key shares.
    pub signed_prekey: PreKey,
}

impl HybridBundle {
    /// The bundle of these keys, signed.
    pub(crate) fn sign(
        xwing: XWingPublic,
        signed_prekey: PreKey,
        identity: &SecretKey,
        rng: &mut impl CryptoRng,
    ) -> HybridBundle {
        let suites = [Suite::Classic, Suite::Hybrid].map(Suite::number);
        let mut bundle = HybridBundle {
            xwing,
            suites: suites.to_vec(),
            signature: XSignature::from_bytes([0; 64]),
            identity_key: identity.public_key(),
            signed_prekey,
        };
        bundle.signature = xeddsa::sign(&bundle.signed(), identity, rng);
        bundle
    }

    /// Checks lifetime, suites, keys and signature.
    pub fn verify(&self, now: u64) -> Result<(), BundleError> {
        if !self.signed_prekey.lifetime.is_valid(now) {
            return Err(BundleError::InvalidLifetime);
        }
        if !self.suites.contains(&Suite::Hybrid.number()) {
            return Err(BundleError::Suites);
        }
        if self.signed_prekey.key.is_small_order() {
            return Err(BundleError::SmallOrder);
        }
        Ok(xeddsa::verify(
            &self.signed(),
            &self.identity_key,
            &self.signature,
        )?)
    }

    /// Returns the bytes that the signature covers. All parts but the last have one length.
    fn signed(&self) -> Vec<u8> {
        let PreKey { key, lifetime } = &self.signed_prekey;
        [
            CONTEXT,
            self.identity_key.as_bytes(),
            key.as_bytes(),
            self.xwing.as_bytes(),
            &lifetime.not_before.to_be_bytes(),
            &lifetime.not_after.to_be_bytes(),
            &self.suites,
        ]
        .concat()
    }
}

impl Wire for HybridBundle {
    fn write(&self, w: &mut Writer) {
        w.map(5).text("xwing").item(&self.xwing);
        w.text("suites").array(self.suites.len());
        for suite in &self.suites {
            w.uint((*suite).into());
        }
        w.text("signature").item(&self.signature);
        w.text("identity_key").item(&self.identity_key);
        w.text("signed_prekey").item(&self.signed_prekey);
    }

    fn read(r: &mut Reader<'_>) -> Result<HybridBundle, DecodeError> {
        let mut fields = Fields::open(r)?;
        let xwing = fields.required("xwing", XWingPublic::read)?;
        let suites = fields.required("suites", read_suites)?;
        let signature = fields.required("signature", XSignature::read)?;
        let identity_key = fields.required("identity_key", PublicKey::read)?;
        let signed_prekey = fields.required("signed_prekey", PreKey::read)?;
        fields.close()?;
        Ok(HybridBundle {
            xwing,
            suites,
            signature,
            identity_key,
            signed_prekey,
        })
    }
}

fn read_suites(r: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let len = r.array()?;
    if len > SUITES_MAX as u64 {
        return Err(DecodeError::TooLarge);
    }
    let suites = (0..len).map(|_| u8::try_from(r.uint()?).map_err(|_| DecodeError::Range));
    let suites: Vec<u8> = suites.collect::<Result<_, _>>()?;
    match suites.is_sorted_by(|before, after| before < after) {
        true => Ok(suites),
        false => Err(DecodeError::Range),
    }
}
