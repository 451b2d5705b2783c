//! X-Wing against one that is put together from another implementation of ML-KEM and SHA-3.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use libcrux_ml_kem::mlkem768;
use p2panda_encryption::xwing::{Randomness, XWingPublic, XWingSecret};
use p2panda_encryption::{Secret, Wire};
use x25519_dalek::{PublicKey, StaticSecret};

/// The secret keys of a seed.
fn expand(seed: &[u8; 32]) -> (mlkem768::MlKem768KeyPair, StaticSecret) {
    let expanded: [u8; 96] = libcrux_sha3::shake256(seed);
    let (ml_kem, x25519) = expanded.split_at(64);
    let pair = mlkem768::generate_key_pair(ml_kem.try_into().unwrap());
    let x25519: [u8; 32] = x25519.try_into().unwrap();
    (pair, StaticSecret::from(x25519))
}

/// The shared secret, from those of both parts.
fn combine(ml_kem: &[u8], x25519: &[u8], ciphertext: &[u8], public: &[u8]) -> [u8; 32] {
    let label = br"\.//^\";
    libcrux_sha3::sha256(&[ml_kem, x25519, ciphertext, public, label].concat())
}

#[test]
fn both_make_the_same_keys_and_open_what_the_other_encapsulates() {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    for _ in 0..50 {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let ours = XWingSecret::from_seed(Secret::from_bytes(seed));
        let (pair, x25519) = expand(&seed);
        let their_x25519 = PublicKey::from(&x25519);
        let theirs = [pair.pk().as_slice(), their_x25519.as_bytes()].concat();
        assert_eq!(ours.public_key().as_bytes().as_slice(), theirs);
        let public = XWingPublic::from_bytes(&theirs).unwrap();

        let mut drawn = [0; 64];
        rng.fill_bytes(&mut drawn);
        let (encapsulation, shared) = public.encapsulate(&Randomness::from_bytes(drawn));
        let (ml_kem, x) = encapsulation.split_at(1_088);
        let ml_kem: [u8; 1_088] = ml_kem.try_into().unwrap();
        let opened = mlkem768::decapsulate(pair.private_key(), &ml_kem.into());
        let point: [u8; 32] = x.try_into().unwrap();
        let agreed = x25519.diffie_hellman(&PublicKey::from(point));
        let again = combine(&opened, agreed.as_bytes(), x, their_x25519.as_bytes());
        assert_eq!(&shared.encode()[2..], again);

        rng.fill_bytes(&mut drawn);
        let (ml_kem, x) = drawn.split_at(32);
        let (ciphertext, encapsulated) =
            mlkem768::encapsulate(pair.public_key(), ml_kem.try_into().unwrap());
        let ephemeral: [u8; 32] = x.try_into().unwrap();
        let ephemeral = StaticSecret::from(ephemeral);
        let point = PublicKey::from(&ephemeral);
        let agreed = ephemeral.diffie_hellman(&their_x25519);
        let theirs = combine(
            &encapsulated,
            agreed.as_bytes(),
            point.as_bytes(),
            their_x25519.as_bytes(),
        );
        let sent = [ciphertext.as_slice().as_slice(), point.as_bytes()].concat();
        assert_eq!(&ours.open(&sent).unwrap().encode()[2..], theirs);
    }
}
