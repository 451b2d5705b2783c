//! Named consumers: their rows (`docs/protocol/consumers.md`).

use p2panda_core::{Timestamp, Topic};
use p2panda_store::{
    Covered, DeadReason, DeadRow, Durability, NamedChanges, NamedKey, OpenRow, PlaceRow, Store,
};

use crate::{Author, TOPIC, open};

fn create(store: &mut Store) -> NamedKey {
    let mut tx = store.begin(Durability::Full).unwrap();
    let key = tx.create_named("app", b"settings", None).unwrap();
    tx.commit().unwrap();
    key
}

fn change(store: &mut Store, key: NamedKey, changes: &NamedChanges) -> bool {
    let mut tx = store.begin(Durability::Full).unwrap();
    let is_there = tx.change_named(key, changes).unwrap();
    tx.commit().unwrap();
    is_there
}

#[test]
fn only_unopened_consumers_with_a_threshold_age() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Full).unwrap();
    let _never = tx.create_named("never", b"settings", None).unwrap();
    let unused = tx.create_named("unused", b"settings", Some(100)).unwrap();
    let used = tx.create_named("used", b"settings", Some(100)).unwrap();
    tx.age_named(&[(used, 0)], 60).unwrap();
    assert_eq!(tx.until_inactive().unwrap(), [(unused, 40), (used, 100)]);
    assert_eq!(tx.inactive_named().unwrap(), []);
    tx.commit().unwrap();
    drop(store);

    // Time in which the store was closed does not count.
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Full).unwrap();
    tx.age_named(&[(used, 7)], 39).unwrap();
    assert_eq!(tx.until_inactive().unwrap(), [(unused, 1), (used, 93)]);
    tx.age_named(&[], 1).unwrap();
    assert_eq!(
        tx.inactive_named().unwrap(),
        [(unused, "unused".to_owned())]
    );
    tx.age_named(&[], u64::MAX).unwrap();
    assert_eq!(tx.until_inactive().unwrap(), [(unused, 0), (used, 0)]);
    tx.commit().unwrap();
}

#[test]
fn a_consumers_state_is_found_again_until_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let key = create(&mut store);
    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    tx.commit().unwrap();
    let place = PlaceRow {
        position: 7,
        handed: 9,
    };
    let row = OpenRow {
        deliveries: 2,
        due_us: Some(5),
        key: u64::MAX,
    };
    let covered = Covered {
        heights: vec![(Author::new(3).key(), 8)],
        until: 6,
    };
    let dead = DeadRow {
        reason: DeadReason::Terminated("no user".into()),
        count: 3,
        at_us: 4,
    };
    let changes = NamedChanges {
        places: vec![(topic, place)],
        open: vec![(topic, 3, Some(row)), (topic, 4, Some(row))],
        seen: vec![(topic, 11)],
        covered: vec![(topic, Some(covered.clone()))],
        dead: vec![(topic, 1, dead.clone())],
        generation: Some(2),
        paused: Some(true),
        ..NamedChanges::default()
    };
    assert!(change(&mut store, key, &changes));
    let settled = NamedChanges {
        seen: vec![(topic, 10)],
        open: vec![(topic, 4, None)],
        ..NamedChanges::default()
    };
    assert!(change(&mut store, key, &settled));
    drop(store);

    let mut store = open(dir.path());
    let tx = store.begin(Durability::Normal).unwrap();
    let found = tx.named("app").unwrap().unwrap();
    tx.commit().unwrap();
    assert_eq!((found.generation, found.paused, found.dead), (2, true, 1));
    let stored = &found.places[0];
    assert_eq!((stored.topic, stored.place), (TOPIC, place));
    assert_eq!(stored.seen, 11, "it never falls");
    assert_eq!(stored.open, [(3, row)]);
    assert_eq!(stored.covered.as_ref(), Some(&covered));
    let reader = store.readers().open().unwrap();
    let letters = reader.dead_letters(key, 0, 10).unwrap();
    assert_eq!((letters[0].offset, &letters[0].row), (1, &dead));
    assert_eq!(reader.named_consumers(None, 10).unwrap().len(), 1);

    let mut tx = store.begin(Durability::Full).unwrap();
    tx.delete_named(key).unwrap();
    tx.commit().unwrap();
    assert!(
        !change(&mut store, key, &changes),
        "nothing is stored of it"
    );
    assert!(reader.named_consumers(None, 10).unwrap().is_empty());
    assert!(reader.dead_letters(key, 0, 10).unwrap().is_empty());
}

#[test]
fn a_database_from_before_there_were_named_consumers_opens() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let connection = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let sql = "DROP TABLE named_consumer; DROP TABLE place; DROP TABLE open; DROP TABLE dead;
        DROP TABLE pruned; DROP TABLE feed_time; PRAGMA user_version = 6;";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let mut store = open(dir.path());
    create(&mut store);
}

#[test]
fn a_database_of_the_previous_version_opens() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    author.write(&mut store, &[b"zero", b"one"]);
    let key = create(&mut store);
    store.close().unwrap();
    let path = dir.path().join("p2panda.sqlite");
    for (version, dropped) in [
        (
            11,
            "DROP TABLE moved; DROP TABLE place_seen; DROP TABLE view_filter;",
        ),
        (
            10,
            "DROP TABLE moved; DROP TABLE place_seen; DROP TABLE view_filter; DROP TABLE named_log;",
        ),
        // One that was made by a node of then and opened by a newer one that failed half way.
        (10, ""),
    ] {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(dropped).unwrap();
        connection
            .pragma_update(None, "user_version", version)
            .unwrap();
        drop(connection);
        let mut store = open(dir.path());
        let changes = NamedChanges {
            paused: Some(true),
            ..NamedChanges::default()
        };
        assert!(change(&mut store, key, &changes), "{version}");
        let reader = store.readers().open().unwrap();
        let page = reader.feed_page(&TOPIC, 0, p2panda_store::PageLimits::default(), None);
        assert_eq!(page.unwrap().entries.len(), 2, "{version}");
        store.close().unwrap();
    }
}

#[test]
fn a_time_leads_to_the_nearest_offset_before_it_that_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    for (offset, at) in [(1, 10), (100, 20), (200, 20), (300, 30)] {
        let at = Timestamp::from_micros(at);
        tx.note_feed_time(topic, offset, at).unwrap();
    }
    tx.commit().unwrap();
    let reader = store.readers().open().unwrap();
    for (at, offset) in [(5, 0), (10, 0), (11, 1), (20, 1), (21, 200), (99, 300)] {
        let time = Timestamp::from_micros(at);
        assert_eq!(reader.offset_at(&TOPIC, time).unwrap(), offset, "{at}");
    }
    let other = Topic::from_bytes([9; 32]);
    let time = Timestamp::from_micros(99);
    assert_eq!(reader.offset_at(&other, time).unwrap(), 0);
}
