use p2panda_core::limits::{IDEMPOTENCY_KEYS_MAX, REJECTED_BYTES_MAX, REJECTED_HEADER_BYTES_MAX};
use p2panda_core::{Hash, Timestamp};
use p2panda_store::{Durability, KeyedPublish, Reject, RejectReason};

use crate::{Author, TOPIC, open};

const AT: Timestamp = Timestamp::from_micros(5);

#[test]
fn refused_operations_take_sixteen_mebibytes_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Normal).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    for n in 0..5_000_u32 {
        // Twice as large as what a row keeps of it.
        let mut header = n.to_be_bytes().to_vec();
        header.resize(2 * REJECTED_HEADER_BYTES_MAX, 0);
        let reject = Reject {
            id: Hash::digest(&header),
            header: &header,
            reason: RejectReason::Undecodable,
            peer: None,
            at: AT,
        };
        assert!(tx.reject(topic, &reject).unwrap());
    }
    tx.commit().unwrap();
    let reader = store.readers().open().unwrap();
    let rows = reader.rejected_page(&TOPIC, 0, usize::MAX).unwrap();
    assert_eq!(rows.len(), REJECTED_BYTES_MAX / REJECTED_HEADER_BYTES_MAX);
    assert_eq!(rows[0].header.len(), REJECTED_HEADER_BYTES_MAX);
    assert_eq!(rows[0].header[..4], 904_u32.to_be_bytes());
    assert_eq!(
        reader.status(&TOPIC).unwrap().rejected,
        [(RejectReason::Undecodable, 5_000)]
    );
}

#[test]
fn evidence_is_kept_once_per_place_and_bounded_per_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    author.write(&mut store, &[b"0"]);
    let mut tx = store.begin(Durability::Normal).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, &author.key()).unwrap().unwrap().key;
    assert!(tx.add_fork(topic, log, 0, (b"a", b"b"), AT).unwrap());
    assert!(!tx.add_fork(topic, log, 0, (b"a", b"c"), AT).unwrap());
    for seq in 1..100 {
        tx.add_fork(topic, log, seq, (b"a", b"b"), AT).unwrap();
    }
    tx.commit().unwrap();
    let reader = store.readers().open().unwrap();
    let forks = reader.forks(&TOPIC, 1_000).unwrap();
    assert_eq!(forks.len(), 16);
    assert_eq!(
        (&forks[0].first[..], &forks[0].second[..]),
        (&b"a"[..], &b"b"[..])
    );
    assert_eq!(reader.status(&TOPIC).unwrap().forks, 16);
}

/// One is remembered, and this many more rows are counted before the next one comes.
fn is_remembered_behind(rows: u64) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    author.write(&mut store, &[b"0"]);
    let (first, last) = (Hash::digest(b"first"), Hash::digest(b"last"));
    let publish = KeyedPublish {
        content: first,
        id: last,
        seq: 0,
        at: AT,
        arrival: 1,
        offset: Some(1),
    };
    let mut tx = store.begin(Durability::Normal).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, &author.key()).unwrap().unwrap().key;
    tx.add_keyed_publish(log, &first, &publish, AT).unwrap();
    assert_eq!(tx.keyed_publish(log, &first, AT).unwrap(), Some(publish));
    tx.commit().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let between = "INSERT INTO keyed_publish VALUES(?1, 0, x'00', x'00', x'00', 0, 0, NULL, 5)";
    connection.execute(between, [1 + rows as i64]).unwrap();
    let mut tx = store.begin(Durability::Normal).unwrap();
    tx.add_keyed_publish(log, &last, &publish, AT).unwrap();
    assert_eq!(tx.keyed_publish(log, &last, AT).unwrap(), Some(publish));
    tx.keyed_publish(log, &first, AT).unwrap().is_some()
}

#[test]
fn a_million_idempotency_keys_are_remembered() {
    assert!(is_remembered_behind(IDEMPOTENCY_KEYS_MAX - 2));
    assert!(!is_remembered_behind(IDEMPOTENCY_KEYS_MAX - 1));
}
