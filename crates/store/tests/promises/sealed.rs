use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use p2panda_core::Hash;
use p2panda_store::{Durability, SealedRow};

use crate::{Author, open};

/// 32 bytes that nothing else has.
fn unique(number: u64) -> [u8; 32] {
    *Hash::digest(&number.to_be_bytes()).as_bytes()
}

fn row(name: u64, salt: u64, len: usize) -> SealedRow {
    let value = unique(salt ^ u64::MAX).into_iter().cycle().take(len);
    SealedRow::new(unique(name), unique(salt), value.collect())
}

/// Counts how many of these are in the files of a directory, at any place.
fn found(dir: &Path, salts: &HashSet<[u8; 32]>) -> usize {
    let begin = |salt: &[u8; 32]| <[u8; 4]>::try_from(&salt[..4]).unwrap();
    let begins: HashSet<[u8; 4]> = salts.iter().map(begin).collect();
    let mut found = HashSet::new();
    for file in fs::read_dir(dir).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let likely = bytes.windows(32).filter(|w| begins.contains(&w[..4]));
        found.extend(likely.filter(|w| salts.contains(*w)).map(<[u8]>::to_vec));
    }
    found.len()
}

#[test]
fn the_salt_of_a_forgotten_row_is_in_no_file() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = open(temp.path());
    let node = Author::new(1).key();
    let mut tx = store.begin(Durability::Normal).unwrap();
    let key = tx.put_wrapped_key(&node, b"wrapped").unwrap();
    tx.commit().unwrap();
    let (mut live, mut forgotten) = (BTreeMap::new(), HashSet::new());
    let mut random = 1_u64;
    for step in 0..2_000_u64 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let name = random >> 57;
        let mut tx = store.begin(Durability::Normal).unwrap();
        // Of all lengths, so that rows move between pages.
        let change = row(name, 1_000 + step, (random >> 40) as usize % 900);
        if (random >> 33).is_multiple_of(3) {
            let known = live.remove(&name);
            assert_eq!(
                tx.forget_sealed(key, &change.name).unwrap(),
                known.is_some()
            );
            forgotten.extend(known.map(|row: SealedRow| row.salt));
        } else {
            let known = live.insert(name, change.clone());
            assert_eq!(tx.put_sealed(key, &change).unwrap(), known.is_some());
            forgotten.extend(known.map(|row| row.salt));
        }
        tx.commit().unwrap();
    }
    assert!(forgotten.len() > 700 && live.len() > 50);
    assert!(found(temp.path(), &forgotten) > 0, "the journal has some");
    assert!(store.database().try_checkpoint().unwrap());
    let salts: HashSet<_> = live.values().map(|row| row.salt).collect();
    assert_eq!(found(temp.path(), &salts), live.len());
    assert_eq!(found(temp.path(), &forgotten), 0);
    let tx = store.begin(Durability::Normal).unwrap();
    let mut stored = tx.sealed_rows(key).unwrap();
    stored.sort_by_key(|row| row.name);
    let mut expected: Vec<SealedRow> = live.into_values().collect();
    expected.sort_by_key(|row| row.name);
    assert_eq!(stored, expected);
}

#[test]
fn rows_of_two_nodes_do_not_meet() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = open(temp.path());
    let nodes = [1, 2].map(|seed| Author::new(seed).key());
    let mut tx = store.begin(Durability::Full).unwrap();
    assert_eq!(tx.wrapped_key(&nodes[0]).unwrap(), None);
    let keys = nodes.map(|node| tx.put_wrapped_key(&node, b"wrapped").unwrap());
    tx.put_sealed(keys[0], &row(1, 2, 3)).unwrap();
    assert_eq!(tx.sealed_rows(keys[0]).unwrap(), [row(1, 2, 3)]);
    assert_eq!(tx.sealed_rows(keys[1]).unwrap(), []);
    assert!(!tx.forget_sealed(keys[1], &unique(1)).unwrap());
    assert_eq!(tx.put_wrapped_key(&nodes[0], b"anew").unwrap(), keys[0]);
    let found = tx.wrapped_key(&nodes[0]).unwrap();
    assert_eq!(found, Some((keys[0], b"anew".to_vec())));
    tx.commit().unwrap();
}
