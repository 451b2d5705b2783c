//! Promises of bundles, own keys and registry.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use p2panda_core::SigningKey;
use p2panda_core::limits::{PRE_KEY_CLOCK_SKEW_S, PRE_KEY_LIFETIME_MAX_S};
use p2panda_encryption::two_party::Session;
use p2panda_encryption::{
    Bundle, BundleError, Lifetime, LongTermBundle, OneTimeBundle, OwnKeys, OwnKeysError, PublicKey,
    Registry, RegistryError, SecretKey, xeddsa,
};
use world::*;

/// Points that make every agreement zero, also in encodings that are not reduced.
fn small_order() -> Vec<PublicKey> {
    let mut one = [0; 32];
    one[0] = 1;
    let mut unreduced = [0xff; 32];
    (unreduced[0], unreduced[31]) = (0xee, 0x7f);
    let mut high_bit = [0; 32];
    high_bit[31] = 0x80;
    let points = [[0; 32], one, unreduced, high_bit];
    points.map(PublicKey::from_bytes).to_vec()
}

#[test]
fn a_bundle_with_a_key_of_small_order_is_refused() {
    let mut rng = life_rng("keys", 0);
    let identity = SecretKey::random(&mut rng);
    let mut keys = OwnKeys::new(SecretKey::from_bytes([3; 32]));
    keys.rotate_prekey(Lifetime::starting(START, 1_000), &mut rng);
    let good = keys.one_time_bundle(START, &mut rng).unwrap();
    assert_eq!(good.verify(START), Ok(()));
    for point in small_order() {
        let mut onetime = good;
        onetime.onetime_prekey.as_mut().unwrap().key = point;
        assert_eq!(onetime.verify(START), Err(BundleError::SmallOrder));

        let mut prekey = LongTermBundle {
            identity_key: identity.public_key(),
            signed_prekey: good.signed_prekey,
            prekey_signature: xeddsa::sign(point.as_bytes(), &identity, &mut rng),
        };
        prekey.signed_prekey.key = point;
        assert_eq!(prekey.verify(START), Err(BundleError::SmallOrder));

        let foreign = OneTimeBundle {
            identity_key: point,
            ..good
        };
        assert!(matches!(
            foreign.verify(START),
            Err(BundleError::Signature(_))
        ));
    }
}

#[test]
fn a_lifetime_holds_between_its_ends_and_never_overflows() {
    let lifetime = Lifetime::starting(10_000, 60);
    let (begin, end) = (10_000 - PRE_KEY_CLOCK_SKEW_S, 10_060);
    assert!(!lifetime.is_valid(begin) && lifetime.is_valid(begin + 1));
    assert!(lifetime.is_valid(end - 1) && !lifetime.is_valid(end));
    let ends = Lifetime::starting(u64::MAX, u64::MAX);
    assert_eq!(ends.not_after, u64::MAX);
    assert_eq!(Lifetime::starting(0, 1).not_before, 0);
}

#[test]
fn an_expired_pre_key_opens_late_messages_until_it_is_removed() {
    let mut rng = life_rng("keys", 1);
    let mut people = people(2, 0, &mut rng);
    let [alice, bob] = &mut people[..] else {
        panic!("two people");
    };
    bob.keys
        .rotate_prekey(Lifetime::starting(START, 2_000_000), &mut rng);
    let one_time = bob.keys.one_time_bundle(START, &mut rng).unwrap();
    let mut first = || {
        let mut session = Session::to_send(Bundle::OneTime(one_time));
        let message = session.send(&alice.keys, b"late", START, &mut rng);
        message.unwrap()
    };
    let (one, two) = (first(), first());
    let late = START + 3_000_000;
    let error = OwnKeysError::NoPreKeysAvailable;
    assert_eq!(bob.keys.long_term_bundle(late), Err(error));
    let mut session = Session::to_receive();
    session.receive(&mut bob.keys, None, &one).unwrap();
    // Its one-time secret is gone after this one use, and the pre-key after the cleaning.
    let used = one_time.onetime_prekey.unwrap().id;
    assert_eq!(
        bob.keys.use_one_time(used).unwrap_err(),
        OwnKeysError::UnknownOneTimeSecret
    );
    bob.keys.remove_expired(late);
    let mut session = Session::to_receive();
    assert!(session.receive(&mut bob.keys, None, &two).is_err());
    // Ids continue where they were.
    bob.keys
        .rotate_prekey(Lifetime::starting(late, 1_000), &mut rng);
    let next = bob.keys.one_time_bundle(late, &mut rng).unwrap();
    assert_eq!(next.onetime_prekey.unwrap().id, used + 1);
}

#[test]
fn bundles_are_verified_when_added_and_unused_once_expired() {
    let mut rng = life_rng("keys", 2);
    let person = people(1, 0, &mut rng).remove(0);
    let mut keys = person.keys;
    let mut registry = Registry::new();
    let mut forged = keys.long_term_bundle(START).unwrap();
    forged.identity_key = SecretKey::random(&mut rng).public_key();
    let refused = registry.add_long_term(person.id, forged, START);
    assert!(matches!(refused, Err(RegistryError::Bundle(_))));
    assert_eq!(registry, Registry::new());
    assert_eq!(registry.long_term(&person.id, START), Ok(None));

    let good = keys.long_term_bundle(START).unwrap();
    registry.add_long_term(person.id, good, START).unwrap();
    let late = START + 2_000_000;
    let expired = Err(RegistryError::KeyBundlesExpired);
    assert_eq!(registry.long_term(&person.id, late), expired);
    keys.rotate_prekey(Lifetime::starting(late, 1_000), &mut rng);
    let newer = keys.long_term_bundle(late).unwrap();
    registry.add_long_term(person.id, newer, late).unwrap();
    assert_eq!(registry.long_term(&person.id, late), Ok(Some(&newer)));
    registry.remove_expired(late);
    assert_eq!(registry.identity_key(&person.id), Some(&good.identity_key));
}

#[test]
fn a_pre_key_that_never_expires_gives_way_to_every_later_one() {
    let mut rng = life_rng("keys", 3);
    let mut person = people(1, 0, &mut rng).remove(0);
    let mut registry = Registry::new();
    let eternal = Lifetime {
        not_after: u64::MAX,
        not_before: START - 10_000_000,
    };
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    keys.rotate_prekey(eternal, &mut rng);
    let first = keys.long_term_bundle(START).unwrap();
    keys.rotate_prekey(Lifetime::starting(START, 1_000), &mut rng);
    let second = keys.long_term_bundle(START).unwrap();
    assert_ne!(first, second, "its owner publishes the later one");
    person.id = SigningKey::generate(&mut rng).verifying_key();
    for bundle in [second, first] {
        registry.add_long_term(person.id, bundle, START).unwrap();
    }
    assert_eq!(registry.long_term(&person.id, START), Ok(Some(&second)));
    let late = START + 1_000;
    assert_eq!(registry.long_term(&person.id, late), Ok(Some(&first)));
    // Nobody makes one here.
    let longest = Lifetime::starting(START, u64::MAX);
    assert_eq!(longest.not_after, START + PRE_KEY_LIFETIME_MAX_S);
}
