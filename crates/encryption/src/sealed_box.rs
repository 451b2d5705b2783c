//! Something sealed for the owner of a hybrid bundle, which does not say for whom
//! (`docs/protocol/spaces.md#10`).

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::bundle::HybridBundle;
use crate::hpke::{HpkeError, Keys};
use crate::own_keys::OwnKeys;
use crate::xwing::{ENCAPSULATION_BYTES, Randomness};

impl HybridBundle {
    /// Seals for the owner of this bundle, with HPKE in base mode and X-Wing. Nobody can tell for
    /// whom.
    ///
    /// It does not say who sealed it: `aad` and the signature of what carries it do.
    pub fn seal_box(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, HpkeError> {
        let (encapsulation, shared) = self.xwing.encapsulate(&Randomness::random(rng));
        let sealed = Keys::base(&shared, info).seal(aad, plaintext)?;
        Ok([encapsulation.as_slice(), &sealed].concat())
    }
}

impl OwnKeys {
    /// Opens what was sealed for one of our hybrid bundles, expired ones too; none if it was sealed
    /// for somebody else, or altered.
    pub fn open_box(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (encapsulation, sealed) = sealed.split_at_checked(ENCAPSULATION_BYTES)?;
        self.xwing_secrets().find_map(|secret| {
            let shared = secret.open(encapsulation).ok()?;
            Keys::base(&shared, info).open(aad, sealed).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;

    use super::*;
    use crate::{Lifetime, SecretKey};

    const NOW: u64 = 1_790_000_000;

    fn keys(rng: &mut ChaCha20Rng) -> OwnKeys {
        let mut keys = OwnKeys::new(SecretKey::random(rng));
        keys.rotate_hybrid_prekey(Lifetime::starting(NOW, 3_600), rng);
        keys
    }

    #[test]
    fn a_box_opens_for_its_recipient_and_its_binding_only() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (mut bob, carol) = (keys(&mut rng), keys(&mut rng));
        let bundle = bob.hybrid_bundle(NOW).expect("it was drawn").clone();
        let sealed = bundle.seal_box(b"i", b"a", b"secret", &mut rng);
        let sealed = sealed.expect("it is short");
        // A pre-key that was replaced opens until it is deleted.
        bob.rotate_hybrid_prekey(Lifetime::starting(NOW + 60, 3_600), &mut rng);

        let opened = bob.open_box(b"i", b"a", &sealed);
        assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&b"secret"[..]));
        assert_eq!(carol.open_box(b"i", b"a", &sealed), None);
        assert_eq!(bob.open_box(b"j", b"a", &sealed), None);
        assert_eq!(bob.open_box(b"i", b"b", &sealed), None);
        let mut altered = sealed.clone();
        altered.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        assert_eq!(bob.open_box(b"i", b"a", &altered), None);
        assert_eq!(bob.open_box(b"i", b"a", sealed.split_at(100).0), None);
        assert_eq!(bob.open_box(b"i", b"a", b""), None);
    }
}
