#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::vectors::*;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;

use super::*;

#[test]
fn vector_x_wing_with_given_randomness() {
    let file = load("encryption-hybrid.json");
    for case in list(&file["x_wing"]) {
        let secret = XWingSecret::from_seed(Secret::from_bytes(array(&case["seed"])));
        let public = secret.public_key();
        assert_eq!(hex(public.as_bytes()), text(&case["public_key"]));
        let again = XWingPublic::from_bytes(&bytes(&case["public_key"])).unwrap();
        assert_eq!(again, public);
        let randomness = Randomness::from_bytes(array(&case["randomness"]));
        let (encapsulation, shared) = public.encapsulate(&randomness);
        assert_eq!(hex(&*encapsulation), text(&case["encapsulation"]));
        assert_eq!(hex(shared.as_bytes()), text(&case["shared_secret"]));
        assert_eq!(secret.open(&*encapsulation).unwrap(), shared);
    }
}

#[test]
fn keys_and_encapsulations_that_are_none_are_refused() {
    let mut rng = ChaCha20Rng::from_seed([8; 32]);
    let secret = XWingSecret::random(&mut rng);
    let public = secret.public_key();
    let (encapsulation, shared) = public.encapsulate(&Randomness::random(&mut rng));

    let refused = Err(XWingError::Key);
    let mut bytes = *public.as_bytes();
    assert_eq!(XWingPublic::from_bytes(&bytes[1..]), refused);
    assert_eq!(
        XWingPublic::from_bytes(&[bytes.as_slice(), &[0]].concat()),
        refused
    );
    // A coefficient of 4 095 is above the modulus of ML-KEM.
    bytes[..2].fill(0xff);
    assert_eq!(XWingPublic::from_bytes(&bytes), refused);
    let mut bytes = *public.as_bytes();
    bytes[PUBLIC_KEY_BYTES - 32..].fill(0);
    assert_eq!(XWingPublic::from_bytes(&bytes), refused);

    let refused = XWingError::Encapsulation;
    assert_eq!(secret.open(&encapsulation[1..]).unwrap_err(), refused);
    let mut zero = *encapsulation;
    zero[ENCAPSULATION_BYTES - 32..].fill(0);
    assert_eq!(secret.open(&zero).unwrap_err(), refused);
    // One that was altered gives another secret.
    for byte in [0, 1_087, 1_088] {
        let mut altered = *encapsulation;
        altered[byte] ^= 1;
        assert!(secret.open(&altered).unwrap() != shared);
    }
}
