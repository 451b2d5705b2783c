//! Information in the feed next to bodies.

use std::path::Path;

use bytes::Bytes;
use p2panda_core::limits::FEED_MOVES_KEPT_MAX;
use p2panda_core::{LogRange, SigningKey, Unreadable, VerifyingKey};
use p2panda_store::{
    Change, Content, Durability, FeedEntry, LateBody, Options, PageLimits, Ready, SkipAcked, Slice,
    Store,
};

use crate::{Author, TOPIC, open};

const ALL: PageLimits = PageLimits {
    rows: usize::MAX,
    bytes: usize::MAX,
};
const CONSUMER: &str = "app";
const PLAINTEXT: Bytes = Bytes::from_static(b"the plaintext of one");

fn feed(store: &Store) -> Vec<FeedEntry> {
    let reader = store.readers().open().unwrap();
    let page = reader.feed_page(&TOPIC, 0, ALL, None).unwrap();
    assert!(page.unreadable.is_empty());
    page.entries
}

fn unacked(store: &Store) -> Vec<Content> {
    let skip = SkipAcked {
        consumer: CONSUMER,
        until: u64::MAX,
    };
    let reader = store.readers().open().unwrap();
    let page = reader.feed_page(&TOPIC, 0, ALL, Some(skip)).unwrap();
    contents(&page.entries)
}

fn contents(entries: &[FeedEntry]) -> Vec<Content> {
    entries.iter().map(|entry| entry.content.clone()).collect()
}

fn body(text: &'static str) -> Content {
    Content::Body(Bytes::from_static(text.as_bytes()))
}

/// Gives an operation the next place in the feed.
fn place(store: &mut Store, arrival: u64, ready: &Ready) -> u64 {
    let mut tx = store.begin(Durability::Full).unwrap();
    let offset = tx.next_offset();
    tx.place(arrival, offset, ready).unwrap();
    tx.commit().unwrap();
    offset
}

fn ack(store: &mut Store, offsets: &[u64]) {
    let mut tx = store.begin(Durability::Full).unwrap();
    let (consumer, topic) = (tx.consumer(CONSUMER).unwrap(), tx.topic(&TOPIC).unwrap());
    tx.ack(consumer, topic, offsets).unwrap();
    tx.commit().unwrap();
}

fn drop_body(store: &mut Store, author: &VerifyingKey, seq: u32) {
    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, author).unwrap().unwrap();
    assert!(tx.drop_body(topic, log.key, seq).unwrap());
    tx.commit().unwrap();
}

/// Three operations of an author, the first opened and the second withdrawn: the third, the first
/// and the second in the feed.
fn changed(dir: &Path) -> (Store, Author) {
    let mut store = open(dir);
    let mut author = Author::new(1);
    author.write(&mut store, &[b"zero", b"one", b"two"]);
    place(&mut store, 1, &Ready::Opened(PLAINTEXT));
    place(&mut store, 2, &Ready::Changed(Change::Withdrawn));
    (store, author)
}

fn expected() -> [Content; 3] {
    let withdrawn = Content::Change(Change::Withdrawn);
    [body("two"), Content::Opened(PLAINTEXT), withdrawn]
}

#[test]
fn a_late_change_has_one_place_after_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (store, author) = changed(dir.path());
    let entries = feed(&store);
    let places: Vec<_> = entries
        .iter()
        .map(|entry| (entry.offset, entry.arrival, entry.header.seq()))
        .collect();
    assert_eq!(places, [(3, 3, 2), (4, 1, 0), (5, 2, 1)]);
    assert_eq!(contents(&entries), expected());
    assert_eq!(
        store.readers().open().unwrap().last_offset(&TOPIC).unwrap(),
        5
    );
    store.close().unwrap();

    let mut store = open(dir.path());
    assert_eq!(feed(&store), entries, "after a restart");
    place(&mut store, 2, &Ready::Body);
    place(&mut store, 3, &Ready::Changed(Change::Members));
    drop(store);
    let store = open(dir.path());
    let members = Content::Change(Change::Members);
    let latest = [Content::Opened(PLAINTEXT), body("one"), members];
    assert_eq!(contents(&feed(&store)), latest, "after a crash");
    assert_eq!(feed(&store)[1].header.author(), author.key());
}

#[test]
fn what_goes_to_peers_stays_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, author) = changed(dir.path());
    let reader = store.readers().open().unwrap();
    let arrivals = reader.arrivals_page(&TOPIC, 0, ALL).unwrap().entries;
    let log = reader.log_page(&TOPIC, &author.key(), None, 9, ALL);
    for entries in [arrivals, log.unwrap().entries] {
        let bodies: Vec<_> = entries.iter().map(|entry| entry.body.as_deref()).collect();
        let sent: [Option<&[u8]>; 3] = [Some(b"zero"), Some(b"one"), Some(b"two")];
        assert_eq!(bodies, sent);
    }
    let all = LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after: None,
        until: 9,
    };
    let totals = reader.totals_oldest_first(&TOPIC, &mut [all]).unwrap();
    assert_eq!(reader.status(&TOPIC).unwrap().totals, totals);
}

#[test]
fn every_entry_is_acked_and_comes_again_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = changed(dir.path());
    let [two, opened, withdrawn] = expected();
    // The second place of an operation is not acked by an ack of its first.
    ack(&mut store, &[1, 2]);
    assert_eq!(unacked(&store), expected());
    ack(&mut store, &[5]);
    assert_eq!(unacked(&store), [two, opened.clone()]);
    ack(&mut store, &[3]);
    let mut store = {
        store.close().unwrap();
        open(dir.path())
    };
    assert_eq!(unacked(&store), [opened]);
    ack(&mut store, &[4]);
    assert!(unacked(&store).is_empty());
    let reader = store.readers().open().unwrap();
    assert_eq!(reader.consumer_prefix(CONSUMER, &TOPIC).unwrap(), 5);
    assert_eq!(
        contents(&feed(&store)),
        expected(),
        "replayed from the start"
    );
    // What was acked before it changed is unread again.
    place(&mut store, 3, &Ready::Changed(Change::Withdrawn));
    assert_eq!(unacked(&store), [withdrawn]);
}

#[test]
fn pages_count_what_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = changed(dir.path());
    let reader = store.readers().open().unwrap();
    let header_bytes = |entry: &FeedEntry| entry.header.as_bytes().len();
    let entries = feed(&store);
    let shown = [3, PLAINTEXT.len(), 0];
    for (entry, content_bytes) in entries.iter().zip(shown) {
        assert_eq!(entry.bytes(), header_bytes(entry) + content_bytes);
    }
    let limits = PageLimits {
        rows: usize::MAX,
        bytes: entries[0].bytes() + entries[1].bytes(),
    };
    let page = reader.feed_page(&TOPIC, 0, limits, None).unwrap();
    assert_eq!(
        (page.entries.len(), page.last_offset, page.more),
        (2, 4, true)
    );
    let page = reader.feed_page(&TOPIC, 4, limits, None).unwrap();
    assert_eq!((page.entries, page.more), (entries[2..].to_vec(), false));
}

#[test]
fn a_dropped_body_takes_its_plaintext_along() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, author) = changed(dir.path());
    // Opened, and then withdrawn.
    place(&mut store, 3, &Ready::Opened(PLAINTEXT));
    place(&mut store, 3, &Ready::Changed(Change::Withdrawn));
    for seq in [0, 2] {
        drop_body(&mut store, &author.key(), seq);
    }
    let withdrawn = Content::Change(Change::Withdrawn);
    assert_eq!(contents(&feed(&store)), [withdrawn.clone(), withdrawn]);
    assert!(store.database().try_checkpoint().unwrap());
    assert!(!is_in_files(dir.path(), &PLAINTEXT));
}

#[test]
fn a_prune_deletes_plaintext_and_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, author) = changed(dir.path());
    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, &author.key()).unwrap().unwrap();
    let mut slice = Slice {
        rows: 1,
        bytes: u64::MAX,
    };
    tx.prune(log.key, 2, &mut slice).unwrap();
    tx.commit().unwrap();
    assert_eq!(contents(&feed(&store)), [body("two")], "at once");
    slice.rows = 9;
    let mut tx = store.begin(Durability::Full).unwrap();
    assert!(!tx.delete_garbage(slice).unwrap());
    tx.commit().unwrap();
    assert!(store.database().try_checkpoint().unwrap());
    assert!(!is_in_files(dir.path(), &PLAINTEXT));
    assert_eq!(contents(&feed(&store)), [body("two")]);
}

fn is_in_files(dir: &Path, marker: &[u8]) -> bool {
    let files = std::fs::read_dir(dir).unwrap();
    let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.any(|bytes| bytes.windows(marker.len()).any(|at| at == marker))
}

#[test]
fn an_entry_that_cannot_be_read_is_passed_over_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, author) = changed(dir.path());
    let connection = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let damages = [
        "UPDATE operation SET content = 99 WHERE arrival = 2",
        "UPDATE operation SET content = 'text' WHERE arrival = 2",
        "UPDATE operation SET content = 1, opened = NULL WHERE arrival = 2",
        "UPDATE operation SET content = 1, opened = 3 WHERE arrival = 2",
        "UPDATE operation SET content = NULL, body = NULL WHERE arrival = 2",
    ];
    for damage in damages {
        connection.execute(damage, []).unwrap();
        let reader = store.readers().open().unwrap();
        let page = reader.feed_page(&TOPIC, 0, ALL, None).unwrap();
        assert_eq!(contents(&page.entries), expected()[..2]);
        let (author, seq) = (author.key(), 1);
        assert_eq!(page.unreadable, [Unreadable { author, seq }]);
        assert_eq!(page.last_offset, 5);
    }
    ack(&mut store, &[3, 4, 5]);
    assert!(unacked(&store).is_empty());
}

/// The directory as a node with schema version 3 left it.
fn old(dir: &Path) -> Store {
    let connection = rusqlite::Connection::open(dir.join("p2panda.sqlite")).unwrap();
    connection
        .execute_batch(include_str!("schema_3.sql"))
        .unwrap();
    let key = Some(SigningKey::from_bytes(&[7; 32]));
    let options = Options {
        key,
        ..Options::default()
    };
    Store::open(dir, options).unwrap()
}

#[test]
fn an_old_database_without_kinds_shows_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = old(dir.path());
    let entries = feed(&store);
    let all = [body("one"), body("three"), body("mine"), body("answer")];
    assert_eq!(contents(&entries), all);
    assert_eq!(unacked(&store), all[1..]);
    let missing: Vec<usize> = entries.iter().map(|entry| entry.missing.len()).collect();
    assert_eq!(missing, [0, 0, 0, 1]);

    // The body that its node waited for comes, and the first entry is withdrawn.
    let author = entries[0].header.author();
    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, &author).unwrap().unwrap().key;
    let (arrival, new_arrival, offset) = (2, tx.next_arrival(), tx.next_offset());
    tx.fill_body(&LateBody {
        topic,
        log,
        seq: 1,
        arrival,
        new_arrival,
        body: b"two",
    })
    .unwrap();
    tx.place(new_arrival, offset, &Ready::Body).unwrap();
    tx.commit().unwrap();
    let last = place(&mut store, 1, &Ready::Changed(Change::Withdrawn));
    let withdrawn = Content::Change(Change::Withdrawn);
    let [_, three, mine, answer] = all;
    let latest = [three, mine, answer, body("two"), withdrawn];
    assert_eq!(contents(&feed(&store)), latest);
    assert_eq!(unacked(&store), latest);
    assert_eq!((offset, last), (5, 6), "offsets go on");
    drop(store);
    assert_eq!(contents(&feed(&open(dir.path()))), latest);
}

#[test]
fn a_moved_operation_leaves_its_places_known() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, author) = changed(dir.path());
    let firsts = |store: &Store| -> Vec<_> {
        let entries = feed(store).into_iter();
        entries.map(|entry| (entry.offset, entry.first)).collect()
    };
    assert_eq!(firsts(&store), [(3, None), (4, Some(1)), (5, Some(2))]);
    let left = |store: &Store, limits| {
        let reader = store.readers().open().unwrap();
        let page = reader.feed_page(&TOPIC, 0, limits, None).unwrap();
        (page.left, page.feed_end)
    };
    assert_eq!(left(&store, ALL), (vec![1, 2], 5));
    let two = PageLimits { rows: 2, ..ALL };
    assert_eq!(left(&store, two), (vec![1], 5), "the page ends before");
    for _ in 0..FEED_MOVES_KEPT_MAX + 1 {
        place(&mut store, 2, &Ready::Body);
    }
    // The first place and the newest.
    let (places, _) = left(&store, ALL);
    assert_eq!(places.len(), 1 + FEED_MOVES_KEPT_MAX);
    assert_eq!(places[..3], [1, 2, 7]);
    assert_eq!(firsts(&store)[2].1, Some(2));

    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, &author.key()).unwrap().unwrap();
    let mut slice = Slice {
        rows: 9,
        bytes: u64::MAX,
    };
    tx.prune(log.key, 2, &mut slice).unwrap();
    tx.commit().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let rows = connection.query_row("SELECT count(*) FROM moved", [], |row| row.get::<_, i64>(0));
    assert_eq!(rows.unwrap(), 0, "they go with their operations");
}

#[test]
fn after_a_crash_the_last_possible_offset_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = changed(dir.path());
    let torn = |store: &mut Store| {
        let tx = store.begin(Durability::Normal).unwrap();
        let torn = tx.torn_until();
        tx.commit().unwrap();
        torn
    };
    assert_eq!(torn(&mut store), 0);
    drop(store);
    let mut store = open(dir.path());
    assert!(torn(&mut store) > 5);
    assert!(place(&mut store, 3, &Ready::Body) > torn(&mut store));
    store.close().unwrap();
    assert_eq!(torn(&mut open(dir.path())), 0);
}
