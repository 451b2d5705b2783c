//! Promises of the address book.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn key(number: u16) -> SigningKey {
    let mut seed = [0; 32];
    let (head, _) = seed.split_first_chunk_mut::<2>().unwrap();
    *head = number.to_le_bytes();
    SigningKey::from_bytes(&seed)
}

fn node(number: u16) -> VerifyingKey {
    key(number).verifying_key()
}

fn later(wait: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + wait.as_micros() as u64)
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

fn address(port: u16) -> Address {
    Address::from(SocketAddr::from(([8, 8, 8, 8], port)))
}

fn record(number: u16, at: Timestamp, port: u16) -> TransportInfo {
    let timestamp = HybridTimestamp::new(at.as_micros(), 0);
    TransportInfo::sign(&key(number), timestamp, BTreeSet::from([address(port)])).unwrap()
}

fn teller() -> Teller {
    Teller {
        node: node(9_000),
        from: None,
    }
}

/// A session with a node that began at the start.
fn session(number: u16) -> Handover {
    let teller = Teller {
        node: node(number),
        from: None,
    };
    let began = Time::ZERO;
    Handover { teller, began }
}

fn told() -> Source {
    Source::Peer(teller())
}

fn overlay(byte: u8) -> Overlay {
    Overlay::from_bytes([byte; 32])
}

fn book() -> Book {
    let mut book = Book::new(node(0));
    book.sign_own(&key(0), BTreeSet::from([address(1)]), NOW)
        .unwrap();
    book
}

#[test]
fn configured_addresses_never_outrank_signed_ones() {
    let mut book = book();
    book.add_bootstrap(node(1), [address(9)], NOW);
    let old = record(1, Timestamp::from_micros(5), 4);
    assert_eq!(
        book.insert(node(1), old, told(), NOW, Time::ZERO),
        Ok(Inserted::Newer)
    );
    let entry = book.get(&node(1)).unwrap();
    assert_eq!(
        entry.addresses().collect::<Vec<_>>(),
        [&address(4), &address(9)]
    );
    assert!(entry.is_bootstrap());
}

#[test]
fn an_invalid_record_is_counted_and_those_behind_it_still_count() {
    let mut book = book();
    let foreign = (node(2), record(1, NOW, 4));
    let future = (node(3), record(3, later(days(1)), 4));
    let good = (node(4), record(4, NOW, 4));
    let again = good.clone();
    let applied = book.apply(
        [foreign, future, good, again],
        session(9_000),
        NOW,
        Time::ZERO,
    );
    assert_eq!(
        applied,
        Applied {
            received: 4,
            learned: 1,
            invalid: 2
        }
    );
    assert_eq!(
        book.iter().map(|(node, _)| *node).collect::<Vec<_>>(),
        [node(4)]
    );
}

#[test]
fn an_old_record_told_again_does_not_look_fresh() {
    let mut book = book();
    let info = record(1, NOW, 4);
    book.insert(node(1), info.clone(), told(), NOW, Time::ZERO)
        .unwrap();
    let soon = later(days(2));
    assert_eq!(
        book.insert(node(1), info.clone(), told(), soon, Time::ZERO),
        Ok(Inserted::Kept)
    );
    assert_eq!(book.get(&node(1)).unwrap().confirmed(), NOW);
    // Nor does it when it is announced, which anybody on the network may do.
    for _ in 0..2 {
        let again = book.insert(node(1), info.clone(), Source::Announced, soon, Time::ZERO);
        assert_eq!(again, Ok(Inserted::Kept));
        assert_eq!(book.get(&node(1)).unwrap().confirmed(), NOW);
    }
    // From the node itself it does: its clock may be wrong, but it is there.
    let handed = session(1).source_of(&node(1));
    let again = book.insert(node(1), info, handed, soon, Time::ZERO);
    assert_eq!(again, Ok(Inserted::Kept));
    assert_eq!(book.get(&node(1)).unwrap().confirmed(), soon);
}

#[test]
fn records_are_shared_for_three_days_and_dropped_after_thirty() {
    let mut book = book();
    book.add_bootstrap(node(1), [], NOW);
    book.insert(node(2), record(2, NOW, 4), told(), NOW, Time::ZERO)
        .unwrap();
    let mut draws = Draws::from_seed([1; 32]);
    let mut shared = |book: &Book, at| {
        let records = book.share(&node(9), &BTreeSet::new(), &mut draws, at);
        records
            .into_iter()
            .map(|(node, _)| node)
            .collect::<Vec<_>>()
    };
    let edge = Timestamp::from_micros(later(days(3)).as_micros() - 1);
    assert_eq!(shared(&book, edge), [node(0), node(2)]);
    assert_eq!(shared(&book, later(days(3))), [node(0)]);
    let run = Time::ZERO + limits::RECORD_TRIAL;
    let edge = Timestamp::from_micros(later(days(30)).as_micros() - 1);
    book.expire(edge, run);
    assert!(book.get(&node(2)).is_some());
    book.take_changed();
    book.expire(later(days(30)), run);
    assert!(book.get(&node(2)).is_none());
    assert!(book.get(&node(1)).is_some());
    assert_eq!(book.take_changed(), [(node(2), None)]);
}

#[test]
fn a_peer_gets_our_record_shared_ones_and_a_sample() {
    let mut book = book();
    for number in 1..=100 {
        book.insert(
            node(number),
            record(number, NOW, 4),
            told(),
            NOW,
            Time::ZERO,
        )
        .unwrap();
    }
    for number in 1..=20 {
        book.set_overlays(node(number), BTreeSet::from([overlay(1)]), NOW);
    }
    let common = BTreeSet::from([overlay(1), overlay(2)]);
    let share = |seed| {
        let records = book.share(&node(1), &common, &mut Draws::from_seed([seed; 32]), NOW);
        records
            .into_iter()
            .map(|(node, _)| node)
            .collect::<BTreeSet<_>>()
    };
    let shared = share(1);
    assert_eq!(shared.len(), 1 + 19 + limits::RECORDS_SAMPLE);
    assert!(shared.contains(&node(0)) && !shared.contains(&node(1)));
    assert!((2..=20).all(|number| shared.contains(&node(number))));
    assert_ne!(share(2), shared);
}

#[test]
fn an_overlay_names_who_gained_and_who_lost_it() {
    let mut book = book();
    let both = BTreeSet::from([overlay(1), overlay(2)]);
    assert_eq!(book.set_overlays(node(1), both.clone(), NOW), both);
    let changed = book.set_overlays(node(1), BTreeSet::from([overlay(2)]), NOW);
    assert_eq!(changed, BTreeSet::from([overlay(1)]));
    assert_eq!(book.interested(&overlay(1), NOW).count(), 0);
    assert_eq!(
        book.interested(&overlay(2), NOW).collect::<Vec<_>>(),
        [node(1)]
    );
    book.leave(&overlay(2));
    assert_eq!(book.interested(&overlay(2), NOW).count(), 0);
    assert!(book.get(&node(1)).unwrap().overlays().is_empty());
}

#[test]
fn failures_count_only_while_we_could_be_reached() {
    let mut book = Book::new(node(0));
    let private = Address::from(SocketAddr::from(([10, 0, 0, 1], 4)));
    book.sign_own(&key(0), BTreeSet::from([private]), NOW)
        .unwrap();
    book.succeeded(node(1), NOW, Time::ZERO);
    book.failed(node(1), later(days(1)));
    assert!(!book.get(&node(1)).unwrap().is_stale(later(days(1))));

    book.sign_own(&key(0), BTreeSet::from([address(1)]), NOW)
        .unwrap();
    let at = later(days(1));
    book.failed(node(1), at);
    book.add_bootstrap(node(2), [], NOW);
    book.failed(node(2), at);
    assert!(book.get(&node(1)).unwrap().is_stale(at));
    assert!(!book.get(&node(2)).unwrap().is_stale(at));
    assert!(
        !book
            .get(&node(1))
            .unwrap()
            .is_stale(later(days(1) + limits::STALE_RETRY))
    );
    book.succeeded(node(1), later(days(1) + Duration::from_secs(1)), Time::ZERO);
    assert!(
        !book
            .get(&node(1))
            .unwrap()
            .is_stale(later(days(1) + Duration::from_secs(1)))
    );
}

#[test]
fn the_own_record_is_signed_again_with_a_later_time() {
    let mut book = book();
    let first = book.own().unwrap().clone();
    let same = BTreeSet::from([address(1)]);
    assert_eq!(book.sign_own(&key(0), same.clone(), NOW), Ok(first.clone()));
    // A clock that is set back by minutes; one that was years ahead binds nobody (clock_tests).
    let past = Timestamp::from_micros(NOW.as_micros() - 599_000_000);
    let none = BTreeSet::new();
    let second = book.sign_own(&key(0), none.clone(), past).unwrap();
    assert!(second.replaces(Some(&first)));
    let third = book.sign_own(&key(0), none.clone(), later(days(1)));
    assert!(third.unwrap().replaces(Some(&second)));

    // Someone holds a later one from before our data was restored.
    let lost = record(0, later(days(2)), 7);
    let now = later(days(2));
    assert_eq!(
        book.insert(node(0), lost.clone(), told(), now, Time::ZERO),
        Ok(Inserted::Kept)
    );
    let newest = book.sign_own(&key(0), none, now).unwrap();
    assert!(newest.replaces(Some(&lost)));
}

#[test]
fn a_restored_own_record_is_kept_for_the_same_addresses() {
    let mut book = book();
    let same = BTreeSet::from([address(1)]);
    let mut restarted = Book::new(node(0));
    for (node, stored) in book.take_changed() {
        restarted.restore(node, stored.unwrap()).unwrap();
    }
    let own = restarted.sign_own(&key(0), same, later(Duration::from_secs(1)));
    assert_eq!(own.as_ref(), Ok(book.own().unwrap()));
    assert!(restarted.take_changed().is_empty());
}

#[test]
fn what_was_stored_comes_back() {
    let mut book = book();
    book.add_bootstrap(
        node(1),
        [address(9), Address::Relay("https://r/".into())],
        NOW,
    );
    book.insert(
        node(1),
        record(1, NOW, 4),
        Source::Announced,
        NOW,
        Time::ZERO,
    )
    .unwrap();
    book.set_overlays(node(1), BTreeSet::from([overlay(1)]), NOW);
    book.succeeded(node(1), NOW, Time::ZERO);
    book.proved(&node(1));
    book.failed(node(1), later(days(1)));
    let mut restored = Book::new(node(0));
    for (node, stored) in book.take_changed() {
        restored.restore(node, stored.unwrap()).unwrap();
    }
    assert_eq!(restored.own(), book.own());
    let (before, after) = (book.get(&node(1)).unwrap(), restored.get(&node(1)).unwrap());
    assert_eq!(
        after.addresses().collect::<Vec<_>>(),
        before.addresses().collect::<Vec<_>>()
    );
    assert_eq!(after.metrics(), before.metrics());
    assert_eq!(after.confirmed(), before.confirmed());
    assert!(!after.is_bootstrap() && after.is_trusted());
    restored.succeeded(node(1), later(days(2)), Time::ZERO);
    assert_eq!(restored.interested(&overlay(1), later(days(2))).count(), 1);
    assert_eq!(
        restored.restore(node(2), Bytes::from_static(&[9])),
        Err(WireError::Tag)
    );
}

#[test]
fn a_flood_of_made_up_nodes_pushes_out_no_acquaintance() {
    let mut book = book();
    book.add_bootstrap(node(1), [], NOW);
    book.succeeded(node(2), NOW, Time::ZERO);
    for number in 0..limits::BOOK_NODES_MAX as u32 + 100 {
        // Unsigned stand-ins: the way in that costs no signature.
        let mut bytes = [7; 32];
        let (head, _) = bytes.split_first_chunk_mut::<4>().unwrap();
        *head = number.to_le_bytes();
        let made_up = VerifyingKey::from_bytes_unchecked(bytes);
        book.set_overlays(made_up, BTreeSet::new(), later(days(1)));
    }
    assert!(book.iter().count() <= limits::BOOK_NODES_MAX);
    assert!(book.get(&node(1)).is_some() && book.get(&node(2)).is_some());
}

/// An entry as version 2 stored it: with a record of any size.
fn stored_before(record: impl FnOnce(&mut BytesMut), successes: u32) -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = crate::wire::Writer::new(&mut out);
    writer.uint(2u32).uint(NOW.as_micros()).uint(0u32);
    writer.uint(successes).array(&[0, 0, 0]).count(0).count(0);
    writer.array(&[1]);
    record(&mut out);
    out.freeze()
}

fn oversize(out: &mut BytesMut) {
    let mut writer = crate::wire::Writer::new(out);
    writer.uint(1u32).uint(0u32).bytes(&[0; 64]).count(1);
    writer.uint(0u32).array(&[1; 32]).count(64);
    for _ in 0..64 {
        writer.uint(0u32).bytes(&[b'r'; 500]);
    }
}

#[test]
fn the_book_keeps_its_budget_and_the_proven() {
    let mut book = book();
    let long = |port: u16| {
        let relays = (0..3).map(|n| Address::Relay(format!("https://{n}{}/", "r".repeat(480))));
        relays.chain([address(port)]).collect::<BTreeSet<_>>()
    };
    let at = |number: u16| {
        let timestamp = HybridTimestamp::new(NOW.as_micros() - u64::from(number), 0);
        TransportInfo::sign(&key(number), timestamp, long(number)).unwrap()
    };
    for number in 1..=3 {
        book.insert(node(number), at(number), told(), NOW, Time::ZERO)
            .unwrap();
    }
    book.succeeded(node(1), NOW, Time::ZERO);
    book.proved(&node(1));
    book.succeeded(node(2), NOW, Time::ZERO);
    book.add_bootstrap(node(4), [address(4)], NOW);
    for number in 10..5_000 {
        book.insert(node(number), at(number), told(), NOW, Time::ZERO)
            .unwrap();
        assert!(book.bytes() <= limits::BOOK_BYTES_MAX);
    }
    let counted: usize = book.iter().map(|(_, entry)| entry.bytes()).sum();
    assert_eq!(counted, book.bytes());
    assert!(book.iter().count() > 2_000);
    assert!([1, 2, 4].iter().all(|n| book.get(&node(*n)).is_some()));
    assert!(book.get(&node(10)).is_some(), "the newest hearsay stays");

    // What is stored is less than what is counted, row by row as it is handed out.
    let mut stored = 0;
    loop {
        let page = book.take_changed();
        assert!(page.len() <= limits::BOOK_PAGE_ROWS_MAX);
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|(_, row)| row.is_some()), "never stored");
        let bytes = page.iter().flat_map(|(_, row)| row).map(Bytes::len);
        stored += bytes.sum::<usize>();
    }
    assert!(stored <= limits::BOOK_BYTES_MAX);
}

#[test]
fn a_stored_book_that_is_too_large_shrinks_when_it_is_read() {
    let mut book = Book::new(node(0));
    let row = stored_before(oversize, 0);
    assert!(row.len() > 32_000);
    for number in 1..=200 {
        book.restore(node(number), row.clone()).unwrap();
    }
    assert_eq!(book.iter().count(), 0);
    // An acquaintance stays, without that record.
    book.restore(node(201), stored_before(oversize, 3)).unwrap();
    assert!(book.get(&node(201)).unwrap().record().is_none());
    let fine = |out: &mut BytesMut| record(202, NOW, 4).encode(out);
    book.restore(node(202), stored_before(fine, 0)).unwrap();
    assert!(book.get(&node(202)).unwrap().record().is_some());
    let bad = book.restore(node(203), Bytes::from_static(&[9]));
    assert_eq!(bad, Err(WireError::Tag));
    let changed = book.take_changed();
    let gone = changed.iter().filter(|(_, row)| row.is_none()).count();
    assert_eq!(gone, 201);
    let kept = changed.iter().find(|(key, _)| *key == node(201)).unwrap();
    assert!(kept.1.as_ref().unwrap().len() < 100);
    let more = book.bytes();
    assert!(more < 4_096);
}

#[test]
fn what_was_pushed_out_is_deleted_from_the_store() {
    let mut book = book();
    book.insert(node(1), record(1, NOW, 4), told(), NOW, Time::ZERO)
        .unwrap();
    while !book.take_changed().is_empty() {}
    for number in 0..limits::BOOK_NODES_MAX as u32 + 1 {
        let mut bytes = [7; 32];
        let (head, _) = bytes.split_first_chunk_mut::<4>().unwrap();
        *head = number.to_le_bytes();
        let made_up = VerifyingKey::from_bytes_unchecked(bytes);
        book.set_overlays(made_up, BTreeSet::new(), later(days(1)));
    }
    assert!(book.get(&node(1)).is_none());
    let mut deleted = Vec::new();
    loop {
        let page = book.take_changed();
        if page.is_empty() {
            break;
        }
        let gone = page.into_iter().filter(|(_, row)| row.is_none());
        deleted.extend(gone.map(|(node, _)| node));
    }
    assert_eq!(deleted, [node(1)]);
}

#[test]
fn of_too_many_shared_records_a_random_part_is_sent() {
    let mut book = book();
    let count = limits::DISCOVERY_RECORDS_SENT_MAX as u16 + 100;
    for number in 1..=count {
        book.insert(
            node(number),
            record(number, NOW, 4),
            told(),
            NOW,
            Time::ZERO,
        )
        .unwrap();
        book.set_overlays(node(number), BTreeSet::from([overlay(1)]), NOW);
    }
    let common = BTreeSet::from([overlay(1)]);
    let share = |seed| {
        let records = book.share(
            &node(9_999),
            &common,
            &mut Draws::from_seed([seed; 32]),
            NOW,
        );
        let nodes = records.into_iter().map(|(node, _)| node);
        nodes.collect::<BTreeSet<_>>()
    };
    let members = limits::DISCOVERY_RECORDS_SENT_MAX - limits::RECORDS_SAMPLE;
    assert_eq!(share(1).len(), members);
    assert_ne!(share(1), share(2));
}
