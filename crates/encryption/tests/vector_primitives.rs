//! Primitives against recorded values.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/vectors.rs"]
mod vectors;

use chacha20::rand_core::Rng;
use p2panda_encryption::hpke::{self, HpkeCiphertext};
use p2panda_encryption::{
    Items, PublicKey, Secret, SecretKey, Wire, Writer, aead, hkdf, xeddsa, xeddsa::XSignature,
};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use vectors::*;

const FILE: &str = "encryption-primitives.json";

fn stored(key: &SecretKey) -> Vec<u8> {
    // The encoding is a byte string: two bytes of head, then the key.
    key.encode()[2..].to_vec()
}

#[test]
fn vector_rng_is_the_stream_of_the_recordings() {
    let case = &load(FILE)["rng"];
    let mut drawn = [0; 160];
    rng(&case["seed"]).fill_bytes(&mut drawn);
    assert_eq!(hex(&drawn), text(&case["first_160_bytes"]));
}

#[test]
fn vector_hkdf() {
    for case in list(&load(FILE)["hkdf_sha256"]) {
        let mut okm = vec![0; number(&case["len"]) as usize];
        hkdf(
            &bytes(&case["salt"]),
            &bytes(&case["ikm"]),
            &bytes(&case["info"]),
            &mut okm,
        )
        .unwrap();
        assert_eq!(hex(&okm), text(&case["okm"]));
    }
    assert!(hkdf(&[], &[1], &[], &mut [0; 255 * 32]).is_ok());
    assert!(hkdf(&[], &[1], &[], &mut [0; 255 * 32 + 1]).is_err());
}

#[test]
fn vector_chacha20poly1305() {
    for case in list(&load(FILE)["chacha20poly1305"]) {
        let (key, nonce) = (array(&case["key"]), array(&case["nonce"]));
        let (aad, ciphertext) = (bytes(&case["aad"]), bytes(&case["ciphertext"]));
        let opened = aead::open(&key, &nonce, &aad, &ciphertext);
        if case.get("expect").is_some() {
            assert_eq!(opened, Err(aead::AeadError::Decrypt), "{}", case["why"]);
            continue;
        }
        let plaintext = bytes(&case["plaintext"]);
        assert_eq!(*opened.unwrap(), plaintext);
        let sealed = aead::seal(&key, &nonce, &aad, &plaintext).unwrap();
        assert_eq!(sealed, ciphertext);
    }
}

#[test]
fn vector_xchacha20poly1305() {
    for case in list(&load(FILE)["xchacha20poly1305"]) {
        let (key, nonce) = (array(&case["key"]), array(&case["nonce"]));
        let (aad, ciphertext) = (bytes(&case["aad"]), bytes(&case["ciphertext"]));
        let opened = aead::open_x(&key, &nonce, &aad, &ciphertext);
        if case.get("expect").is_some() {
            assert_eq!(opened, Err(aead::AeadError::Decrypt), "{}", case["why"]);
            continue;
        }
        let plaintext = bytes(&case["plaintext"]);
        assert_eq!(*opened.unwrap(), plaintext);
        let sealed = aead::seal_x(&key, &nonce, &aad, &plaintext).unwrap();
        assert_eq!(sealed, ciphertext);
    }
}

#[test]
fn vector_hashes() {
    for case in list(&load(FILE)["sha2"]) {
        let input: Vec<u8> = list(&case["in"]).iter().flat_map(bytes).collect();
        assert_eq!(hex(&Sha256::digest(&input)), text(&case["sha256"]));
        assert_eq!(hex(&Sha512::digest(&input)), text(&case["sha512"]));
    }
}

#[test]
fn vector_x25519_keys_are_clamped_when_made() {
    for case in list(&load(FILE)["x25519"]) {
        for side in ["a", "b"] {
            let key = SecretKey::from_bytes(array(&case[format!("{side}_random")]));
            assert_eq!(
                hex(&stored(&key)),
                text(&case[format!("{side}_secret_stored")])
            );
            assert_eq!(
                hex(key.public_key().as_bytes()),
                text(&case[format!("{side}_public")])
            );
        }
    }
}

#[test]
fn vector_x25519_low_order_is_refused() {
    let mut draws = rng(&load(FILE)["rng"]["seed"]);
    for case in list(&load(FILE)["x25519_low_order"]) {
        assert_eq!(required(case, "reject"), "reject");
        let mut u: [u8; 32] = array(&case["u"]);
        for _ in 0..2 {
            let key = PublicKey::from_bytes(u);
            assert!(key.is_small_order());
            assert!(hpke::seal(&key, &[], &[], b"panda", &mut draws).is_err());
            // The top bit is ignored by X25519 and must not hide the point.
            u[31] ^= 0x80;
        }
    }
}

#[test]
fn vector_xeddsa() {
    let file = load(FILE);
    let mut signs = [0, 0];
    for case in list(&file["xeddsa"]) {
        let secret = SecretKey::from_bytes(array(&case["secret"]));
        let message = bytes(&case["message"]);
        assert_eq!(hex(secret.public_key().as_bytes()), text(&case["public"]));
        let signature = xeddsa::sign(&message, &secret, &mut rng(&case["z_rng_seed"]));
        assert_eq!(hex(signature.as_bytes()), text(&case["signature"]));
        assert!(verifies(case), "{}", case["case"]);
        signs[number(&case["edwards_sign_bit"]) as usize] += 1;
    }
    assert!(signs[0] > 0 && signs[1] > 0);
}

#[test]
fn vector_xeddsa_negative() {
    check_negative(&load(FILE)["xeddsa_negative"]);
}

#[test]
fn a_file_with_a_key_that_is_not_on_the_curve_is_read() {
    let file = load(FILE);
    let mut case = file["xeddsa"][0].clone();
    case["case"] = "a key that is not on the curve".into();
    case["public"] = format!("02{}", "00".repeat(31)).into();
    case["required_of_us"] = "reject".into();
    // No matter what was recorded, what is required counts.
    case["reference"] = "accept".into();
    check_negative(&Value::from(vec![case]));
    check_negative(&Value::Array(Vec::new()));
}

/// Each of these verifies iff that is required of us.
fn check_negative(cases: &Value) {
    for case in list(cases) {
        let accepts = required(case, "reject") == "accept";
        assert_eq!(verifies(case), accepts, "{}", case["case"]);
    }
}

fn verifies(case: &Value) -> bool {
    let signature = XSignature::from_bytes(array(&case["signature"]));
    let key = PublicKey::from_bytes(array(&case["public"]));
    xeddsa::verify(&bytes(&case["message"]), &key, &signature).is_ok()
}

#[test]
fn vector_hpke_opens_what_was_recorded() {
    for case in list(&load(FILE)["hpke_base_x25519_sha256_chacha20poly1305"]) {
        let secret = SecretKey::from_bytes(array(&case["receiver_secret"]));
        let (info, aad) = (bytes(&case["info"]), bytes(&case["aad"]));
        let sealed = HpkeCiphertext::decode(&bytes(&case["cbor"]));
        if text(&case["kind"]) == "reject" {
            let opened = sealed.map(|sealed| hpke::open(&secret, &info, &aad, &sealed));
            assert!(!matches!(opened, Ok(Ok(_))), "{}", case["why"]);
            continue;
        }
        let sealed = sealed.unwrap();
        assert_eq!(hex(&sealed.encode()), text(&case["cbor"]));
        assert_eq!(hex(&sealed.ciphertext), text(&case["ciphertext"]));
        assert_eq!(hex(sealed.kem_output.as_bytes()), text(&case["kem_output"]));
        let opened = hpke::open(&secret, &info, &aad, &sealed).unwrap();
        assert_eq!(hex(&opened), text(&case["plaintext"]));
    }
}

#[test]
fn secrets_print_nothing() {
    let secret = Secret::from_bytes([0xab; 32]);
    let key = SecretKey::from_bytes([0xab; 32]);
    let printed = format!("{secret:?} {key:?}");
    assert_eq!(printed, "Secret(..) SecretKey(..)");
    let mut writer = Writer::default();
    writer.item(&secret);
    assert_eq!(writer.into_bytes().len(), 34);
}
