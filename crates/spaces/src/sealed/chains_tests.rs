//! Tests each bound at the limit and one past it, and erasure.

use p2panda_core::SigningKey;

use super::*;

const SPACE: SpaceId = SpaceId::from_bytes([1; 32]);

fn author(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

fn id(number: u64) -> Hash {
    Hash::digest(&number.to_be_bytes())
}

fn begin(chains: &mut Chains, number: u64, now: u64) {
    let root = Secret::from_bytes([7; 32]);
    let secret = SecretId::from_bytes([number as u8; 32]);
    let authors = [author(1), author(2)].into_iter();
    chains.begin((&SPACE, id(number)), (&root, secret), authors, now);
}

fn key(found: Found) -> Option<[u8; 32]> {
    match found {
        Found::Key(key) => Some(*key.as_bytes()),
        _ => None,
    }
}

fn stored(chains: &mut Chains) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let rows = chains.rows().into_iter();
    rows.filter_map(|(name, value)| Some((name, value?.to_vec())))
        .collect()
}

#[test]
fn keys_differ_by_author_epoch_space_and_number() {
    let mut chains = Chains::default();
    begin(&mut chains, 1, 0);
    begin(&mut chains, 2, 0);
    let mut seen = BTreeSet::new();
    for epoch in [1, 2] {
        for by in [1, 2] {
            for number in 0..3 {
                seen.insert(key(chains.find(id(epoch), &author(by), number)).unwrap());
            }
        }
    }
    let mut other = Chains::default();
    let root = Secret::from_bytes([7; 32]);
    let space = SpaceId::from_bytes([2; 32]);
    let secret = SecretId::from_bytes([1; 32]);
    other.begin((&space, id(1)), (&root, secret), [author(1)].into_iter(), 0);
    seen.insert(key(other.find(id(1), &author(1), 0)).unwrap());
    assert_eq!(seen.len(), 13);
}

#[test]
fn a_key_is_given_until_it_is_used_in_any_order() {
    let mut chains = Chains::default();
    begin(&mut chains, 1, 0);
    let (epoch, by) = (id(1), author(1));
    let keys: Vec<_> = (0..4).map(|n| key(chains.find(epoch, &by, n))).collect();
    for number in [2, 0, 3, 1] {
        assert_eq!(key(chains.find(epoch, &by, number)), keys[number as usize]);
        chains.used(epoch, &by, number);
        assert!(matches!(chains.find(epoch, &by, number), Found::Gone));
    }
    assert!(chains.skipped[&by].is_empty());
}

#[test]
fn rows_hold_no_key_that_was_used_nor_what_it_follows_from() {
    let mut chains = Chains::default();
    begin(&mut chains, 1, 0);
    let (epoch, by) = (id(1), author(1));
    let before = stored(&mut chains);
    let chain = chains.chains[&(epoch, by)].secret.as_bytes().to_vec();
    let used: Vec<Vec<u8>> = [0, 2]
        .map(|n| key(chains.find(epoch, &by, n)).unwrap().to_vec())
        .into();
    for number in [0, 2] {
        chains.used(epoch, &by, number);
    }
    let mut after = before.clone();
    for (name, value) in chains.rows() {
        match value {
            Some(value) => after.insert(name, value.to_vec()),
            None => after.remove(&name),
        };
    }
    let holds = |rows: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>, secret: &Vec<u8>| {
        rows.values()
            .any(|row| row.windows(32).any(|part| part == secret))
    };
    assert!(holds(&before, &chain), "the search finds something");
    for secret in used.iter().chain([&chain, &vec![7; 32]]) {
        assert!(!holds(&after, secret));
    }
    let mut loaded = Chains::default();
    for (name, value) in &after {
        loaded.load(name, value).unwrap();
    }
    assert!(loaded.rows().is_empty());
    for number in 0..5 {
        let (own, other) = (
            key(chains.find(epoch, &by, number)),
            key(loaded.find(epoch, &by, number)),
        );
        assert_eq!(own, other);
        assert_eq!(own.is_none(), [0, 2].contains(&number));
    }
}

#[test]
fn a_chain_has_so_many_messages_and_no_more() {
    let mut chains = Chains::default();
    begin(&mut chains, 1, 0);
    let (epoch, by) = (id(1), author(1));
    let last = SPACE_CHAIN_MESSAGES_MAX - 1;
    assert!(key(chains.find(epoch, &by, last)).is_some());
    let past = chains.find(epoch, &by, SPACE_CHAIN_MESSAGES_MAX);
    assert!(matches!(past, Found::Never));
    chains.epochs.get_mut(&epoch).unwrap().sealed = last;
    let secret = SecretId::from_bytes([1; 32]);
    assert_eq!(chains.sending(&secret, &by), Some(epoch));
    assert_eq!(chains.seal(epoch, &by).map(|(at, _)| at), Some(last));
    assert_eq!(chains.sending(&secret, &by), None);
    assert!(chains.seal(epoch, &by).is_none());
}

#[test]
fn so_many_skipped_keys_are_kept_and_no_more() {
    let (epoch, by) = (id(1), author(1));
    let max = SPACE_SKIPPED_MAX as u32;
    for (jump, first) in [(max, 0), (max + 1, 1)] {
        let mut chains = Chains::default();
        begin(&mut chains, 1, 0);
        chains.used(epoch, &by, jump);
        assert_eq!(chains.skipped[&by].len(), SPACE_SKIPPED_MAX);
        assert!(key(chains.find(epoch, &by, first)).is_some());
        if first > 0 {
            let found = chains.find(epoch, &by, first - 1);
            assert!(matches!(found, Found::Gone));
        }
    }
    // Keys of an older epoch are erased first.
    let mut chains = Chains::default();
    begin(&mut chains, 1, 0);
    begin(&mut chains, 2, 1);
    chains.used(id(2), &by, max - 1);
    chains.used(id(1), &by, 2);
    assert!(matches!(chains.find(id(1), &by, 0), Found::Gone));
    assert!(key(chains.find(id(1), &by, 1)).is_some());
    assert!(key(chains.find(id(2), &by, 0)).is_some());
}

#[test]
fn chains_are_erased_so_long_after_the_next_epoch_came() {
    let mut chains = Chains::default();
    begin(&mut chains, 1, 0);
    begin(&mut chains, 2, 1_000);
    chains.used(id(1), &author(1), 1);
    chains.expire(1_000 + SPACE_EPOCH_KEPT_S);
    assert!(key(chains.find(id(1), &author(1), 0)).is_some());
    chains.expire(1_001 + SPACE_EPOCH_KEPT_S);
    assert!(matches!(chains.find(id(1), &author(1), 0), Found::Gone));
    assert!(key(chains.find(id(2), &author(1), 0)).is_some());
    chains.expire(u64::MAX);
    assert!(key(chains.find(id(2), &author(1), 0)).is_some(), "the last");
    assert_eq!(chains.chains.len(), 2);
    // A repeated root restores nothing.
    begin(&mut chains, 1, 0);
    assert!(matches!(chains.find(id(1), &author(1), 0), Found::Gone));
}

#[test]
fn so_many_epochs_are_kept_and_no_more() {
    let mut chains = Chains::default();
    for number in 0..=SPACE_EPOCHS_MAX as u64 {
        let first = chains.find(id(0), &author(1), 0);
        assert!(number == 0 || key(first).is_some());
        begin(&mut chains, number, number);
        chains.expire(number);
    }
    let first = chains.find(id(0), &author(1), 0);
    assert!(matches!(first, Found::Gone));
    assert!(key(chains.find(id(1), &author(1), 0)).is_some());
    assert_eq!(chains.chains.len(), 2 * SPACE_EPOCHS_MAX);
}
