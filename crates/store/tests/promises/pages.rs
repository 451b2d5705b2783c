use p2panda_core::limits::LARGE_BODY_BYTES;
use p2panda_core::{LogRange, Unreadable};
use p2panda_store::{Holdings, PageLimits};

use crate::{Author, TOPIC, open};

const ALL: PageLimits = PageLimits {
    rows: usize::MAX,
    bytes: usize::MAX,
};

#[test]
fn a_reader_never_waits_for_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    author.write(&mut store, &[b"0"]);
    let reader = store.readers().open().unwrap();
    let mut tx = store.begin(p2panda_store::Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let header = author.header(b"1");
    crate::append(&mut tx, topic, &header, b"1");
    assert_eq!(reader.last_arrival(&TOPIC).unwrap(), 1);
    tx.commit().unwrap();
    assert_eq!(reader.last_arrival(&TOPIC).unwrap(), 2);
}

#[test]
fn short_logs_share_a_page_and_it_says_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut authors: Vec<Author> = (1..=4).map(Author::new).collect();
    for author in &mut authors {
        author.write(&mut store, &[b"0", b"1", b"2"]);
    }
    let reader = store.readers().open().unwrap();
    let range = |author: &Author, after| LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after,
        until: 2,
    };
    // One is half known, and one is not here.
    let mut ranges: Vec<_> = authors.iter().map(|author| range(author, None)).collect();
    ranges[1].after = Some(0);
    ranges.insert(2, range(&Author::new(9), None));
    let read = |ranges: &[LogRange], rows| {
        let bytes = usize::MAX;
        let page = reader.logs_page(&TOPIC, ranges, PageLimits { rows, bytes });
        let page = page.unwrap();
        let entries = page.entries.iter();
        let entries: Vec<_> = entries.map(|one| (one.label(), one.seq())).collect();
        (entries, page.ranges, page.more)
    };
    let keys: Vec<_> = authors.iter().map(Author::key).collect();
    let all: Vec<_> = [0, 1, 2]
        .map(|seq| (keys[0], seq))
        .into_iter()
        .chain([1, 2].map(|seq| (keys[1], seq)))
        .chain([0, 1, 2].map(|seq| (keys[2], seq)))
        .chain([0, 1, 2].map(|seq| (keys[3], seq)))
        .collect();
    assert_eq!(read(&ranges, 100), (all.clone(), 5, false));
    assert_eq!(read(&ranges, 11), (all.clone(), 5, false));
    assert_eq!(read(&ranges, 4), (all[..4].to_vec(), 1, true));
    assert_eq!(read(&ranges, 5), (all[..5].to_vec(), 3, true));
    assert_eq!(read(&[], 5), (Vec::new(), 0, false));
}

#[test]
fn heights_and_the_last_arrival_are_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (mut one, mut two) = (Author::new(1), Author::new(2));
    one.write(&mut store, &[b"0", b"1"]);
    two.write(&mut store, &[b"0"]);
    let reader = store.readers().open().unwrap();
    let Holdings {
        heights, arrival, ..
    } = reader.holdings(&TOPIC).unwrap();
    assert_eq!(heights.get(&one.key(), &TOPIC.log_id()), Some(1));
    assert_eq!(heights.get(&two.key(), &TOPIC.log_id()), Some(0));
    assert_eq!(heights.len(), 2);
    one.write(&mut store, &[b"2"]);
    let page = reader.arrivals_page(&TOPIC, arrival, ALL).unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].header.seq(), 2);
    assert_eq!(reader.last_arrival(&TOPIC).unwrap(), page.last_arrival);
}

#[test]
fn pages_respect_rows_and_bytes_and_lose_nothing_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    let body = [7; 100];
    author.write(&mut store, &[&body[..]; 20]);
    let reader = store.readers().open().unwrap();
    for limits in [
        PageLimits {
            rows: 7,
            bytes: usize::MAX,
        },
        PageLimits {
            rows: usize::MAX,
            bytes: 1_000,
        },
        PageLimits { rows: 0, bytes: 0 },
    ] {
        let (mut after, mut seqs) = (None, Vec::new());
        loop {
            let page = reader
                .log_page(&TOPIC, &author.key(), after, 18, limits)
                .unwrap();
            assert!(page.entries.len() <= limits.rows.max(1));
            seqs.extend(page.entries.iter().map(|entry| entry.header.seq()));
            after = seqs.last().copied();
            if !page.more {
                break;
            }
        }
        assert_eq!(seqs, (0..=18).collect::<Vec<u32>>());
    }
}

#[test]
fn a_damaged_row_costs_its_log_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (mut one, mut two) = (Author::new(1), Author::new(2));
    one.write(&mut store, &[b"0", b"1", b"2"]);
    two.write(&mut store, &[b"0"]);
    let connection = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let reader = store.readers().open().unwrap();
    let damages = [
        "UPDATE operation SET header = x'ff00' WHERE arrival = 2",
        "UPDATE operation SET header = 'text' WHERE arrival = 2",
        "UPDATE operation SET header = x'' WHERE arrival = 2",
        "UPDATE operation SET body = 3 WHERE arrival = 2",
        // Another operation's header.
        "UPDATE operation SET header = (SELECT header FROM operation WHERE arrival = 1)
            WHERE arrival = 2",
    ];
    let damaged = [Unreadable {
        author: one.key(),
        seq: 1,
    }];
    for damage in damages {
        connection.execute(damage, []).unwrap();
        let page = reader.log_page(&TOPIC, &one.key(), None, 9, ALL).unwrap();
        assert_eq!(
            (page.entries.len(), &page.unreadable[..]),
            (1, &damaged[..])
        );
        let page = reader.log_page(&TOPIC, &two.key(), None, 9, ALL).unwrap();
        assert_eq!((page.entries.len(), page.unreadable.len()), (1, 0));
        let page = reader.arrivals_page(&TOPIC, 0, ALL).unwrap();
        assert_eq!(
            (page.entries.len(), &page.unreadable[..]),
            (3, &damaged[..])
        );
        let page = reader.feed_page(&TOPIC, 0, ALL, None).unwrap();
        assert_eq!(
            (page.entries.len(), &page.unreadable[..]),
            (3, &damaged[..])
        );
        assert_eq!(reader.holdings(&TOPIC).unwrap().heights.len(), 2);
    }
}

#[test]
fn a_large_body_is_in_memory_once_for_all_readers() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    let sizes = [LARGE_BODY_BYTES - 1, LARGE_BODY_BYTES, 3_000_000];
    let bodies = sizes.map(|len| (0..len).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
    let bodies: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
    author.write(&mut store, &bodies);
    let readers = store.readers();
    let (one, two) = (readers.open().unwrap(), readers.open().unwrap());
    let by_log = one.log_page(&TOPIC, &author.key(), None, 9, ALL).unwrap();
    let feed = two.feed_page(&TOPIC, 0, ALL, None).unwrap();
    let by_arrival = two.arrivals_page(&TOPIC, 0, ALL).unwrap();
    for (place, body) in bodies.iter().enumerate() {
        let read = by_log.entries[place].body.as_ref().unwrap();
        let shown = feed.entries[place].content.bytes().unwrap();
        assert!(read == body && shown == body, "{place}");
        assert_eq!(by_arrival.entries[place].body.as_ref(), Some(read));
        let is_shared = read.as_ptr() == shown.as_ptr();
        assert_eq!(is_shared, body.len() >= LARGE_BODY_BYTES, "{place}");
    }
    // A page that has no room for it does not load it.
    let limits = PageLimits {
        rows: 9,
        bytes: LARGE_BODY_BYTES + 1_000,
    };
    let page = one.log_page(&TOPIC, &author.key(), None, 9, limits);
    let page = page.unwrap();
    assert_eq!((page.entries.len(), page.more), (1, true));
}

#[test]
fn a_damaged_large_body_costs_its_operation_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut author = Author::new(1);
    author.write(&mut store, &[b"0", &vec![1; LARGE_BODY_BYTES], b"2"]);
    let connection = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let reader = store.readers().open().unwrap();
    for damage in ["3", "300000", "1.5", "'text'"] {
        let sql = format!("UPDATE operation SET body = {damage} WHERE arrival = 2");
        connection.execute(&sql, []).unwrap();
        let page = reader.arrivals_page(&TOPIC, 0, ALL).unwrap();
        assert_eq!(page.entries.len(), 2, "{damage}");
        assert_eq!(page.unreadable[0].seq, 1, "{damage}");
    }
}
