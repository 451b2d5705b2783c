//! XEdDSA: signatures by X25519 keys, verified strictly (`docs/protocol/encryption.md#3.6`).

use std::fmt;

use curve25519_dalek::{EdwardsPoint, MontgomeryPoint, Scalar};
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::wire::{DecodeError, Reader, Wire, Writer, bytes_array};
use crate::x25519::{PublicKey, SecretKey};

/// Reason why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum XeddsaError {
    /// Key or signature are not in the one form that honest signers make.
    #[error("malformed XEdDSA key or signature")]
    InvalidArgument,
    /// The signature belongs to another key or message.
    #[error("the signature does not match key and message")]
    VerificationFailed,
}

/// A signature: `R` then `s`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct XSignature([u8; 64]);

impl XSignature {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 64]) -> XSignature {
        XSignature(bytes)
    }

    /// The bytes as they cross the wire.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    fn halves(&self) -> ([u8; 32], [u8; 32]) {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        let (head, tail) = self.0.split_at(32);
        r.copy_from_slice(head);
        s.copy_from_slice(tail);
        (r, s)
    }
}

impl fmt::Debug for XSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XSignature(..)")
    }
}

impl Wire for XSignature {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<XSignature, DecodeError> {
        bytes_array(r).map(XSignature)
    }
}

/// Signs; the 64 random bytes make the signature differ each time.
pub fn sign(message: &[u8], secret: &SecretKey, rng: &mut impl CryptoRng) -> XSignature {
    let mut z = Zeroizing::new([0; 64]);
    rng.fill_bytes(z.as_mut_slice());

    let mut k = Scalar::from_bytes_mod_order(*secret.as_bytes());
    let mut public = EdwardsPoint::mul_base(&k).compress().to_bytes();
    let [.., last] = &mut public;
    let negative = Choice::from(*last >> 7);
    *last &= 0x7f;
    let mut a = Scalar::conditional_select(&k, &-k, negative);

    let mut prefix = [0xff; 32];
    let [first, ..] = &mut prefix;
    *first = 0xfe;
    let a_bytes = Zeroizing::new(a.to_bytes());
    let mut r = hash_to_scalar(&[&prefix, a_bytes.as_slice(), message, z.as_slice()]);
    let r_point = EdwardsPoint::mul_base(&r).compress().to_bytes();
    let h = hash_to_scalar(&[&r_point, &public, message]);
    let s = r + h * a;

    k.zeroize();
    a.zeroize();
    r.zeroize();
    let mut signature = [0; 64];
    let (head, tail) = signature.split_at_mut(32);
    head.copy_from_slice(&r_point);
    tail.copy_from_slice(s.as_bytes());
    XSignature(signature)
}

/// Accepts only what [`sign`] makes: one signature per draw, for a key that has a secret.
pub fn verify(
    message: &[u8],
    public_key: &PublicKey,
    signature: &XSignature,
) -> Result<(), XeddsaError> {
    if !public_key.is_canonical() || public_key.is_small_order() {
        return Err(XeddsaError::InvalidArgument);
    }
    let (r, s) = signature.halves();
    let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s))
        .ok_or(XeddsaError::InvalidArgument)?;
    let a = MontgomeryPoint(*public_key.as_bytes())
        .to_edwards(0)
        .ok_or(XeddsaError::InvalidArgument)?;
    let h = hash_to_scalar(&[&r, a.compress().as_bytes(), message]);
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&-h, &a, &s);
    // The computed encoding is canonical, so an `R` in another encoding never equals it.
    if expected.compress().as_bytes().ct_eq(&r).into() {
        Ok(())
    } else {
        Err(XeddsaError::VerificationFailed)
    }
}

fn hash_to_scalar(parts: &[&[u8]]) -> Scalar {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    let wide = Zeroizing::new(<[u8; 64]>::from(hasher.finalize()));
    Scalar::from_bytes_mod_order_wide(&wide)
}
