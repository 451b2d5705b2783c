#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::vectors::{self, *};

use super::*;

const FILE: &str = "encryption-message-scheme.json";

fn update_secret() -> Secret {
    let file = load(FILE);
    Secret::from_bytes(array(&file["message_ratchet"]["update_secret"]))
}

#[test]
fn vector_message_ratchet() {
    let file = load(FILE);
    let mut ratchet = Ratchet::new(update_secret());
    for case in vectors::list(&file["message_ratchet"]["generations"]) {
        let generation = number(&case["generation"]) as u32;
        assert_eq!(ratchet.generation, generation);
        assert_eq!(hex(ratchet.secret.as_bytes()), text(&case["chain_secret"]));
        let (key, next) = ratchet.step().unwrap();
        assert_eq!(hex(key.key.as_bytes()), text(&case["key"]));
        assert_eq!(hex(&key.nonce), text(&case["nonce"]));
        assert_eq!(
            hex(next.secret.as_bytes()),
            text(&case["next_chain_secret"])
        );
        let plaintext = bytes(&case["plaintext"]);
        let (sealed, ciphertext) = ratchet.seal(&plaintext).unwrap();
        assert_eq!(sealed, generation);
        assert_eq!(hex(&ciphertext), text(&case["ciphertext"]));
        assert_eq!(hex(&ratchet.encode()), text(&case["state_after_cbor"]));
    }
}

#[test]
fn vector_decryption_windows() {
    for case in vectors::list(&load(FILE)["decryption_windows"]) {
        let forward_max = number(&case["maximum_forward_distance"]) as u32;
        let late_max = number(&case["out_of_order_tolerance"]) as u32;
        let mut ratchet = DecryptionRatchet::new(update_secret());
        for request in vectors::list(&case["requests"]) {
            let generation = number(&request["generation"]) as u32;
            let before = ratchet.encode();
            let refused = ratchet.with_key(generation, forward_max, late_max, |_| {
                Err::<(), _>(RatchetError::Aead(AeadError::Decrypt))
            });
            assert!(refused.is_err());
            assert_eq!(
                ratchet.encode(),
                before,
                "a failed decryption changes nothing"
            );
            let found = ratchet.with_key(generation, forward_max, late_max, |key| {
                Ok((hex(key.key.as_bytes()), hex(&key.nonce)))
            });
            match request["error"].as_str() {
                Some(error) => {
                    let part = match found.unwrap_err() {
                        RatchetError::TooDistantInTheFuture => "future",
                        RatchetError::TooDistantInThePast => "past",
                        RatchetError::SecretReuse => "re-use",
                        other => panic!("{other:?}"),
                    };
                    assert!(error.contains(part), "{error}");
                    assert_eq!(ratchet.encode(), before);
                }
                None => {
                    let (key, nonce) = found.unwrap();
                    assert_eq!(key, text(&request["ok"]["key"]));
                    assert_eq!(nonce, text(&request["ok"]["nonce"]));
                    if let Some(state) = request["state_after_cbor"].as_str() {
                        assert_eq!(hex(&ratchet.encode()), state);
                    }
                    let again = DecryptionRatchet::decode(&ratchet.encode()).unwrap();
                    assert_eq!(again, ratchet);
                }
            }
        }
    }
}

#[test]
fn the_last_generation_is_never_used() {
    let mut ratchet = Ratchet::new(update_secret());
    ratchet.generation = u32::MAX - 1;
    let mut receiver = DecryptionRatchet::new(Secret::zeros());
    receiver.head = ratchet.duplicate();
    let (generation, sealed) = ratchet.seal(b"last").unwrap();
    assert_eq!(ratchet.seal(b"none"), Err(RatchetError::Exhausted));
    assert_eq!(
        receiver.open(u32::MAX, &sealed, 1_000, 100),
        Err(RatchetError::Exhausted)
    );
    assert_eq!(
        *receiver.open(generation, &sealed, 1_000, 100).unwrap(),
        b"last"
    );
}

#[test]
fn a_generation_opens_once_and_only_inside_the_window() {
    use chacha20::rand_core::Rng;
    let (forward_max, late_max) = (20, 10);
    for seed in 0..50 {
        let mut rng = vectors::rng(&serde_json::Value::from(format!("{seed:02x}").repeat(32)));
        let mut sender = Ratchet::new(update_secret());
        let sealed: Vec<_> = (0..120).map(|_| sender.seal(b"panda").unwrap()).collect();
        let mut receiver = DecryptionRatchet::new(update_secret());
        let mut opened = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let head = receiver.head.generation;
            let near = (head.saturating_sub(15) + rng.next_u32() % 40).min(119);
            let (generation, ciphertext) = &sealed[near as usize];
            let before = receiver.encode();
            let result = receiver.open(*generation, ciphertext, forward_max, late_max);
            let inside = near <= head + forward_max && near + late_max >= head;
            assert_eq!(result.is_ok(), inside && opened.insert(near), "seed {seed}");
            if result.is_err() {
                assert_eq!(receiver.encode(), before, "seed {seed}");
            }
            assert!(receiver.past.len() <= late_max as usize);
        }
    }
}
