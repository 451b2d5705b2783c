//! Key bundles, own keys, registry and 2SM against recorded values.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/vectors.rs"]
mod vectors;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_encryption::two_party::{ReceiveError, SendError, Session, TwoPartyMessage};
use p2panda_encryption::{
    Bundle, BundleError, Lifetime, LongTermBundle, OneTimeBundle, OneTimePreKey, OwnKeys, PreKey,
    PublicKey, Reader, Registry, SecretKey, Wire, latest, xeddsa, xeddsa::XSignature,
};
use serde_json::Value;
use vectors::*;

const FILE: &str = "encryption-key-bundles.json";

fn lifetime(not_after: u64) -> Lifetime {
    Lifetime {
        not_after,
        not_before: 1_700_000_000,
    }
}

fn seed(number: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([number; 32])
}

/// The own keys of the recording, step by step, with the bundle each step gave.
fn steps() -> Vec<(OwnKeys, Option<Vec<u8>>)> {
    let file = load(FILE);
    let identity = || SecretKey::from_bytes(array(&file["encodings"][0]["random"]));
    let mut steps = Vec::new();
    for count in 0..=6 {
        let mut keys = OwnKeys::new(identity());
        let mut bundle = None;
        for step in 1..=count {
            bundle = None;
            match step {
                1 => keys.rotate_prekey(lifetime(4_102_444_800), &mut seed(21)),
                2 | 3 => {
                    let one = keys.one_time_bundle(NOW, &mut seed(20 + step)).unwrap();
                    bundle = Some(one.encode().to_vec());
                }
                4 => keys.rotate_prekey(lifetime(4_102_444_810), &mut seed(24)),
                5 => {
                    let one = keys.one_time_bundle(NOW, &mut seed(25)).unwrap();
                    bundle = Some(one.encode().to_vec());
                }
                _ => {
                    keys.use_one_time(1).unwrap();
                    assert!(keys.use_one_time(1).is_err());
                }
            }
        }
        steps.push((keys, bundle));
    }
    steps
}

#[test]
fn vector_own_keys_step_by_step() {
    let file = load(FILE);
    let steps = steps();
    let states = list(&file["key_manager_states"]);
    for (state, (keys, _)) in states.iter().zip(&steps) {
        assert_eq!(
            hex(&keys.encode()),
            text(&state["cbor"]),
            "{}",
            state["after"]
        );
        let decoded = OwnKeys::decode(&bytes(&state["cbor"])).unwrap();
        assert_eq!(decoded, *keys);
    }
    // The last entry holds the pre-keys alone: the first field's value of the state before.
    let last = bytes(&states[7]["cbor"]);
    let whole = steps[6].0.encode();
    let mut r = Reader::checked(&whole, p2panda_core::cbor::VALUE).unwrap();
    r.map().unwrap();
    assert_eq!(r.text().unwrap(), "prekeys");
    assert_eq!(r.item().unwrap(), last);
    assert_eq!(states.len(), 8);
}

#[test]
fn vector_encodings() {
    let file = load(FILE);
    let steps = steps();
    for (index, case) in list(&file["encodings"]).iter().enumerate() {
        let cbor = bytes(&case["cbor"]);
        let again = match index {
            0 => {
                let key = SecretKey::from_bytes(array(&case["random"]));
                assert_eq!(key, SecretKey::decode(&cbor).unwrap());
                key.encode()
            }
            1 => PublicKey::decode(&cbor).unwrap().encode(),
            2 => {
                let lifetime = Lifetime::decode(&cbor).unwrap();
                assert_eq!(lifetime.not_after, number(&case["not_after"]));
                assert_eq!(lifetime.not_before, number(&case["not_before"]));
                lifetime.encode()
            }
            3 => PreKey::decode(&cbor).unwrap().encode(),
            4 => {
                let key = OneTimePreKey::decode(&cbor).unwrap();
                assert_eq!(key.id, number(&case["id"]));
                key.encode()
            }
            5 => XSignature::decode(&cbor).unwrap().encode(),
            6 => steps[1].0.long_term_bundle(NOW).unwrap().encode(),
            7 | 8 | 11 => {
                let step = [2, 3, 0, 0, 5][index - 7];
                steps[step].1.clone().unwrap().into()
            }
            9 => {
                let bundle = OneTimeBundle::decode(&cbor).unwrap();
                assert_eq!(bundle.onetime_prekey, None);
                let identity = SecretKey::from_bytes(array(&file["encodings"][0]["random"]));
                let signature = xeddsa::sign(
                    bundle.signed_prekey.key.as_bytes(),
                    &identity,
                    &mut rng(&case["signature_rng_seed"]),
                );
                assert_eq!(bundle.prekey_signature, signature);
                bundle.encode()
            }
            _ => steps[4].0.long_term_bundle(NOW).unwrap().encode(),
        };
        assert_eq!(hex(&again), hex(&cbor), "{}", case["type"]);
    }
}

#[test]
fn vector_bundle_decoding() {
    for case in list(&load(FILE)["decoding"]) {
        let name = text(&case["case"]);
        let accepts = text(&case["reference"]) == "accepts" && !overridden(FILE, "decoding", name);
        let decoded = LongTermBundle::decode(&bytes(&case["cbor"]));
        assert_eq!(decoded.is_ok(), accepts, "{name}: {decoded:?}");
    }
}

#[test]
fn vector_bundle_verify() {
    for case in list(&load(FILE)["verify"]) {
        let bundle = LongTermBundle::decode(&bytes(&case["cbor"])).unwrap();
        let verdict = bundle.verify(NOW);
        match text(&case["expect"]) {
            "accept" => assert_eq!(verdict, Ok(())),
            reject if reject.contains("lifetime") => {
                assert_eq!(verdict, Err(BundleError::InvalidLifetime));
            }
            _ => assert!(matches!(verdict, Err(BundleError::Signature(_)))),
        }
    }
}

#[test]
fn vector_latest_selection() {
    let case = &load(FILE)["latest_selection"];
    let bundles: Vec<_> = list(&case["bundles"])
        .iter()
        .map(|b| LongTermBundle::decode(&bytes(b)).unwrap())
        .collect();
    let recorded = &bundles[number(&case["selected_index"]) as usize];
    let selected = latest(&bundles, NOW).unwrap();
    if selected != recorded {
        assert!(overridden(FILE, "latest_selection", "order"));
        let order = |bundle: &LongTermBundle| {
            let PreKey { key, lifetime } = bundle.signed_prekey;
            (lifetime.not_before, lifetime.not_after, key)
        };
        assert!(order(selected) > order(recorded));
    }
    let reversed: Vec<_> = bundles.iter().rev().copied().collect();
    assert_eq!(latest(&reversed, NOW), Some(selected));
}

#[test]
fn vector_registry_step_by_step() {
    let file = load(FILE);
    let id = member(&file["key_registry"]["member"]);
    let one = |i: usize| OneTimeBundle::decode(&bytes(&file["encodings"][i]["cbor"])).unwrap();
    let long = LongTermBundle::decode(&bytes(&file["encodings"][6]["cbor"])).unwrap();
    let mut registry = Registry::new();
    for (index, step) in list(&file["key_registry"]["steps"]).iter().enumerate() {
        match index {
            0 => {}
            1 => registry.add_long_term(id, long, NOW).unwrap(),
            2 => registry.add_one_time(id, one(7), NOW).unwrap(),
            3 => registry.add_one_time(id, one(8), NOW).unwrap(),
            4 => assert_eq!(registry.take_one_time(&id), Some(one(8))),
            _ => assert_eq!(registry.take_one_time(&id), Some(one(7))),
        }
        assert_eq!(
            hex(&registry.encode()),
            text(&step["cbor"]),
            "{}",
            step["after"]
        );
        assert_eq!(Registry::decode(&bytes(&step["cbor"])).unwrap(), registry);
    }
}

/// Two sides of a recorded conversation.
struct Talk {
    alice: (OwnKeys, Session),
    bob: (OwnKeys, Session),
}

impl Talk {
    fn side(&mut self, name: &Value) -> &mut (OwnKeys, Session) {
        match text(name) {
            "alice" => &mut self.alice,
            _ => &mut self.bob,
        }
    }

    fn fork(&self) -> Talk {
        let copy = |(keys, session): &(OwnKeys, Session)| {
            (
                OwnKeys::decode(&keys.encode()).unwrap(),
                Session::decode(&session.encode()).unwrap(),
            )
        };
        Talk {
            alice: copy(&self.alice),
            bob: copy(&self.bob),
        }
    }

    fn step(&mut self, step: &Value) {
        if let Some(steps) = step.get("steps") {
            let mut fork = self.fork();
            list(steps).iter().for_each(|step| fork.step(step));
            return;
        }
        let recorded = TwoPartyMessage::decode(&bytes(&step["message_cbor"])).unwrap();
        assert_eq!(hex(&recorded.encode()), text(&step["message_cbor"]));
        if step["do"] == "send" {
            let (keys, session) = self.side(&step["from"]);
            let mut rng = rng(&step["rng_seed"]);
            let sent = session
                .send(keys, &bytes(&step["plaintext"]), NOW, &mut rng)
                .unwrap();
            assert_eq!(sent.key_used, recorded.key_used);
            if hex(&sent.encode()).contains(&hex(b"ephemeral_key")) {
                assert_eq!(sent, recorded, "first messages are deterministic");
            }
            let after = text(&step["sender_state_after"]);
            assert_eq!(hex(&session.encode_layout()), after, "{}", step["step"]);
            return;
        }
        let (keys, session) = self.side(&step["by"]);
        let before = (keys.encode(), session.encode());
        let received = session.receive(keys, None, &recorded);
        if step.get("expect").is_some() {
            assert!(received.is_err(), "{}", step["why"]);
            assert_eq!((keys.encode(), session.encode()), before, "{}", step["why"]);
            return;
        }
        assert_eq!(hex(&received.unwrap().plaintext), text(&step["plaintext"]));
        let after = text(&step["receiver_state_after"]);
        assert_eq!(hex(&session.encode_layout()), after);
        assert_eq!(
            hex(&keys.encode()),
            text(&step["receiver_key_manager_after"])
        );
    }
}

#[test]
fn vector_2sm_conversations() {
    let file = load("encryption-2sm.json");
    assert!(check_conversations(&file) >= 2);
}

#[test]
fn a_file_with_any_number_of_conversations_is_read() {
    let file = load("encryption-2sm.json");
    let all = list(&file["conversations"]);
    for count in 0..=all.len() {
        for first in 0..=all.len() - count {
            let some = serde_json::json!({ "conversations": all[first..first + count] });
            assert_eq!(check_conversations(&some), count);
        }
    }
}

/// Plays every conversation of a file; how many those are.
fn check_conversations(file: &Value) -> usize {
    let talks = list(&file["conversations"]);
    for talk in talks {
        match talk.get("initial") {
            Some(_) => follow(talk),
            None => start_at_once(talk),
        }
    }
    talks.len()
}

fn follow(talk: &Value) {
    let initial = &talk["initial"];
    let keys = |name: &str| OwnKeys::decode(&bytes(&initial[name])).unwrap();
    let session = |name: &str| Session::decode_layout(&bytes(&initial[name])).unwrap();
    let mut both = Talk {
        alice: (keys("alice_key_manager"), session("alice_state")),
        bob: (keys("bob_key_manager"), session("bob_state")),
    };
    list(&talk["steps"]).iter().for_each(|step| both.step(step));
}

/// Both sides send a first message before either arrives.
fn start_at_once(talk: &Value) {
    let keys = |name: &str| OwnKeys::decode(&bytes(&talk[name])).unwrap();
    let (mut alice_keys, mut bob_keys) = (keys("alice_key_manager"), keys("bob_key_manager"));
    let start = |bundle: &Value| {
        let bundle = bytes(bundle);
        let bundle = match OneTimeBundle::decode(&bundle) {
            Ok(one) if hex(&bundle).contains(&hex(b"onetime_prekey")) => Bundle::OneTime(one),
            _ => Bundle::LongTerm(LongTermBundle::decode(&bundle).unwrap()),
        };
        Session::to_send(bundle)
    };
    let mut alice = start(&talk["bob_bundle"]);
    let mut bob = start(&talk["alice_bundle"]);
    let message = |value: &Value| TwoPartyMessage::decode(&bytes(&value["cbor"])).unwrap();

    // The plaintexts of this recording are not given: learn them by opening.
    let mut peek = Session::decode(&bob.encode()).unwrap();
    let mut peek_keys = OwnKeys::decode(&bob_keys.encode()).unwrap();
    let first = message(&talk["alice_message"]);
    let plaintext = peek
        .receive(&mut peek_keys, None, &first)
        .unwrap()
        .plaintext;
    let mut rng_a = rng(&talk["alice_message"]["rng_seed"]);
    let sent = alice
        .send(&alice_keys, &plaintext, NOW, &mut rng_a)
        .unwrap();
    assert_eq!(sent, first);
    assert_eq!(
        hex(&alice.encode_layout()),
        text(&talk["alice_message"]["state_after"])
    );

    let mut peek = Session::decode(&alice.encode()).unwrap();
    let mut peek_keys = OwnKeys::decode(&alice_keys.encode()).unwrap();
    let second = message(&talk["bob_message"]);
    let plaintext = peek
        .receive(&mut peek_keys, None, &second)
        .unwrap()
        .plaintext;
    let mut rng_b = rng(&talk["bob_message"]["rng_seed"]);
    let sent = bob.send(&bob_keys, &plaintext, NOW, &mut rng_b).unwrap();
    assert_eq!(sent, second);
    assert_eq!(
        hex(&bob.encode_layout()),
        text(&talk["bob_message"]["state_after"])
    );

    alice.receive(&mut alice_keys, None, &second).unwrap();
    bob.receive(&mut bob_keys, None, &first).unwrap();
    assert_eq!(
        hex(&alice.encode_layout()),
        text(&talk["alice_after_receive"])
    );
    assert_eq!(hex(&bob.encode_layout()), text(&talk["bob_after_receive"]));

    let third = &talk["third"];
    assert_eq!(text(&third["from"]), "alice");
    let mut peek = Session::decode(&bob.encode()).unwrap();
    let plaintext = peek
        .receive(&mut bob_keys, None, &message(third))
        .unwrap()
        .plaintext;
    let mut rng_c = rng(&third["rng_seed"]);
    let sent = alice
        .send(&alice_keys, &plaintext, NOW, &mut rng_c)
        .unwrap();
    assert_eq!(sent.key_used, message(third).key_used);
    assert_eq!(hex(&alice.encode_layout()), text(&third["alice_state"]));
    assert_eq!(hex(&peek.encode_layout()), text(&third["bob_state"]));
}

#[test]
fn vector_2sm_errors() {
    let file = load("encryption-2sm.json");
    let conversations = list(&file["conversations"]);
    let initial = conversations.iter().find_map(|talk| talk.get("initial"));
    let initial = initial.expect("a conversation with its states");
    let keys = OwnKeys::decode(&bytes(&initial["alice_key_manager"])).unwrap();
    let mut rng = seed(9);
    for case in list(&file["errors"]) {
        let (mut session, now) = match text(&case["case"]) {
            "send with an expired bundle" => {
                let session = Session::decode_layout(&bytes(&initial["alice_state"]));
                (session.unwrap(), 4_102_444_800)
            }
            _ => (Session::to_receive(), NOW),
        };
        let before = session.encode();
        let error = session.send(&keys, b"panda", now, &mut rng).unwrap_err();
        match error {
            SendError::X3dh(_) => assert!(text(&case["error"]).contains("lifetime")),
            other => {
                assert_eq!(other, SendError::PreKeyReuse);
                assert!(text(&case["error"]).contains("already been used"));
            }
        }
        assert_eq!(session.encode(), before);
    }
}

#[test]
fn a_long_term_first_message_opens_once() {
    let mut rng = seed(3);
    let mut bob_keys = OwnKeys::new(SecretKey::random(&mut rng));
    bob_keys.rotate_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
    let alice_keys = OwnKeys::new(SecretKey::random(&mut rng));
    let bundle = bob_keys.long_term_bundle(NOW).unwrap();
    let mut alice = Session::to_send(Bundle::LongTerm(bundle));
    let first = alice.send(&alice_keys, b"one", NOW, &mut rng).unwrap();
    let second = alice.send(&alice_keys, b"two", NOW, &mut rng).unwrap();

    let mut bob = Session::to_receive();
    bob.receive(&mut bob_keys, None, &first).unwrap();
    let before = bob.encode();
    assert_eq!(
        bob.receive(&mut bob_keys, None, &first).unwrap_err(),
        ReceiveError::Replayed
    );
    assert_eq!(bob.encode(), before);
    // The memory survives storage, and the honest next message still opens.
    let mut bob = Session::decode(&before).unwrap();
    assert!(bob.receive(&mut bob_keys, None, &first).is_err());
    let received = bob.receive(&mut bob_keys, None, &second).unwrap();
    assert_eq!(*received.plaintext, b"two");
    // Once the pre-key is gone, nothing needs to be remembered.
    bob_keys.remove_expired(NOW + 1_000);
    assert!(matches!(
        bob.receive(&mut bob_keys, None, &first).unwrap_err(),
        ReceiveError::Replayed | ReceiveError::UnknownPreKeyUsed(_)
    ));
}

#[test]
fn a_known_sender_cannot_use_a_foreign_identity() {
    let mut rng = seed(4);
    let mut bob_keys = OwnKeys::new(SecretKey::random(&mut rng));
    bob_keys.rotate_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
    let alice_keys = OwnKeys::new(SecretKey::random(&mut rng));
    let bundle = bob_keys.long_term_bundle(NOW).unwrap();
    let mut alice = Session::to_send(Bundle::LongTerm(bundle));
    let first = alice.send(&alice_keys, b"one", NOW, &mut rng).unwrap();
    let other = SecretKey::random(&mut rng).public_key();
    let mut bob = Session::to_receive();
    assert_eq!(
        bob.receive(&mut bob_keys, Some(&other), &first)
            .unwrap_err(),
        ReceiveError::IdentityMismatch
    );
    let known = Some(alice_keys.identity_key());
    let received = bob.receive(&mut bob_keys, known, &first).unwrap();
    assert_eq!(received.identity.as_ref(), known);
}

#[test]
fn own_keys_of_a_silent_peer_are_bounded() {
    let mut rng = seed(5);
    let mut bob_keys = OwnKeys::new(SecretKey::random(&mut rng));
    bob_keys.rotate_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
    let mut alice_keys = OwnKeys::new(SecretKey::random(&mut rng));
    let bundle = bob_keys.long_term_bundle(NOW).unwrap();
    let mut alice = Session::to_send(Bundle::LongTerm(bundle));
    let mut bob = Session::to_receive();
    let first = alice.send(&alice_keys, b"0", NOW, &mut rng).unwrap();
    bob.receive(&mut bob_keys, None, &first).unwrap();
    let [early, late] =
        [b"early", b"late!"].map(|text| bob.send(&bob_keys, text, NOW, &mut rng).unwrap());
    for _ in 1..p2panda_core::limits::OWN_KEYS_MAX {
        alice.send(&alice_keys, b"", NOW, &mut rng).unwrap();
    }
    let received = alice.receive(&mut alice_keys, None, &early).unwrap();
    assert_eq!(*received.plaintext, b"early");
    // What it answers to is gone by then, but it still hears us, and answers to that.
    for _ in 0..2 * p2panda_core::limits::OWN_KEYS_MAX {
        let message = alice.send(&alice_keys, b"on", NOW, &mut rng).unwrap();
        bob.receive(&mut bob_keys, None, &message).unwrap();
    }
    assert!(alice.encode().len() < 16 * 1_024);
    let reply = bob.send(&bob_keys, b"reply", NOW, &mut rng).unwrap();
    alice.receive(&mut alice_keys, None, &reply).unwrap();
    drop(late);
}

#[test]
fn a_second_identity_is_refused_and_the_first_stays() {
    let mut rng = seed(6);
    let id = member(&load(FILE)["key_registry"]["member"]);
    let mut registry = Registry::new();
    let mut bundle = || {
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        keys.rotate_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
        keys.long_term_bundle(NOW).unwrap()
    };
    let (first, second) = (bundle(), bundle());
    registry.add_long_term(id, first, NOW).unwrap();
    assert_eq!(
        registry.add_long_term(id, second, NOW),
        Err(p2panda_encryption::RegistryError::IdentityMismatch)
    );
    assert_eq!(registry.identity_key(&id), Some(&first.identity_key));
    assert_eq!(registry.long_term(&id, NOW), Ok(Some(&first)));
    assert!(registry.long_term(&id, NOW + 1_000).is_err());
}
