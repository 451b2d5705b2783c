//! The address book with wrong clocks: ours, and those of others.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use p2panda_core::{HybridTimestamp, SigningKey, Timestamp, VerifyingKey, limits};

use super::{Book, ClockDifference, Handover, Inserted, Plan, Source, Teller};
use crate::draws::Draws;
use crate::record::{Address, RecordError, TransportInfo};
use crate::time::Time;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// Ends of what a clock can say, and what is wrong by years and by minutes.
fn clocks() -> Vec<Timestamp> {
    let mut clocks = vec![
        Timestamp::from_micros(0),
        Timestamp::from_micros(1),
        Timestamp::from_micros(u64::MAX),
    ];
    for by in [MINUTE * 11, MINUTE * 60 * 30, YEAR, YEAR * 50] {
        clocks.extend([before(by), after(by)]);
    }
    clocks
}

fn after(by: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + by.as_micros() as u64)
}

fn before(by: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() - by.as_micros() as u64)
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn node(byte: u8) -> VerifyingKey {
    key(byte).verifying_key()
}

fn address(port: u16) -> Address {
    Address::from(SocketAddr::from(([8, 8, 8, 8], port)))
}

fn record(byte: u8, at: Timestamp, port: u16) -> TransportInfo {
    let timestamp = HybridTimestamp::new(at.as_micros(), 0);
    TransportInfo::sign(&key(byte), timestamp, BTreeSet::from([address(port)])).unwrap()
}

fn book(wall: Timestamp) -> Book {
    let mut book = Book::new(node(0));
    book.sign_own(&key(0), BTreeSet::from([address(1)]), wall)
        .unwrap();
    book
}

fn told_by(byte: u8) -> Source {
    Source::Peer(Teller {
        node: node(byte),
        from: None,
    })
}

/// In a session with the node itself that began then.
fn handed(byte: u8, began: Time) -> Source {
    let teller = Teller {
        node: node(byte),
        from: None,
    };
    Source::Signer(Handover { teller, began })
}

fn port(book: &Book, byte: u8) -> Option<u16> {
    let entry = book.get(&node(byte))?;
    let mut addresses = entry.record()?.addresses();
    addresses.next()?.socket().map(|socket| socket.port())
}

/// The nodes whose records a book tells a stranger.
fn shared(book: &Book, wall: Timestamp) -> BTreeSet<VerifyingKey> {
    let mut draws = Draws::from_seed([1; 32]);
    let records = book.share(&node(200), &BTreeSet::new(), &mut draws, wall);
    records.into_iter().map(|(node, _)| node).collect()
}

fn second(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

#[test]
fn a_handed_over_record_is_used_with_any_clock() {
    for clock in clocks() {
        for wall in clocks() {
            let mut book = book(wall);
            let taken = book.insert(
                node(1),
                record(1, clock, 4),
                handed(1, second(0)),
                wall,
                second(1),
            );
            assert_eq!(taken, Ok(Inserted::New), "{clock:?} at {wall:?}");
            assert_eq!(port(&book, 1), Some(4));
            assert_ne!(book.plan(&node(1), wall, second(1)), Plan::Rest);
            // It is passed on, since we have just met it.
            assert!(shared(&book, wall).contains(&node(1)));
            book.expire(wall, second(1));
            assert!(book.get(&node(1)).is_some());
        }
    }
}

#[test]
fn a_handed_over_record_replaces_one_dated_ahead() {
    for stored in clocks() {
        for clock in clocks() {
            let mut book = book(NOW);
            let first = record(1, stored, 4);
            book.insert(node(1), first, handed(1, second(0)), NOW, second(1))
                .unwrap();
            let then = record(1, clock, 5);
            let taken = book.insert(node(1), then, handed(1, second(2)), NOW, second(3));
            assert_eq!(taken, Ok(Inserted::Newer), "{clock:?} after {stored:?}");
            assert_eq!(port(&book, 1), Some(5));
        }
    }
}

#[test]
fn of_two_sessions_at_once_the_later_signature_stays() {
    let mut book = book(NOW);
    let (old, new) = (record(1, before(MINUTE), 4), record(1, NOW, 5));
    book.insert(node(1), new, handed(1, second(1)), NOW, second(3))
        .unwrap();
    let late = book.insert(node(1), old.clone(), handed(1, second(2)), NOW, second(4));
    assert_eq!((late, port(&book, 1)), (Ok(Inserted::Kept), Some(5)));
    // A session that began later knows better: the clock of the node was set back.
    let later = book.insert(node(1), old, handed(1, second(4)), NOW, second(5));
    assert_eq!((later, port(&book, 1)), (Ok(Inserted::Newer), Some(4)));
}

#[test]
fn a_handed_over_record_is_signed_by_its_node() {
    let mut book = book(NOW);
    let foreign = book.insert(
        node(2),
        record(1, NOW, 4),
        handed(2, second(0)),
        NOW,
        second(1),
    );
    assert_eq!(foreign, Err(RecordError::ForeignEndpoint));
    assert!(book.get(&node(2)).is_none());
}

#[test]
fn hearsay_replaces_nothing_older_and_nothing_from_ahead() {
    let mut book = book(NOW);
    book.insert(
        node(1),
        record(1, NOW, 4),
        handed(1, second(0)),
        NOW,
        second(1),
    )
    .unwrap();
    for clock in clocks() {
        let replayed = record(1, clock, 5);
        let _ = book.insert(node(1), replayed.clone(), told_by(9), NOW, second(2));
        let _ = book.insert(node(1), replayed, Source::Announced, NOW, second(2));
        assert_eq!(port(&book, 1), Some(4), "{clock:?}");
    }
    // Nor does one that was ahead when the node itself had it, after its clock was set right.
    let ahead = record(1, after(YEAR), 5);
    let refused = book.insert(node(1), ahead, told_by(9), NOW, second(3));
    assert_eq!(refused, Err(RecordError::Future));
}

#[test]
fn a_record_from_a_wrong_clock_makes_one_onward_hop() {
    let clock = before(YEAR * 50);
    let info = record(1, clock, 4);
    let (mut met, mut told) = (book(NOW), book(NOW));
    met.insert(node(1), info.clone(), handed(1, second(0)), NOW, second(1))
        .unwrap();
    assert!(shared(&met, NOW).contains(&node(1)));
    let hop = told.insert(node(1), info, told_by(9), NOW, second(2));
    assert_eq!(hop, Ok(Inserted::New));
    assert_ne!(told.plan(&node(1), NOW, second(2)), Plan::Rest);
    assert!(!shared(&told, NOW).contains(&node(1)));
    // Until it has met the node as well.
    told.succeeded(node(1), NOW, second(3));
    assert!(shared(&told, NOW).contains(&node(1)));
}

#[test]
fn records_of_dead_nodes_are_tried_for_a_day_and_told_to_nobody() {
    let mut book = book(NOW);
    let dead = record(1, before(YEAR), 4);
    book.insert(node(1), dead.clone(), told_by(9), NOW, second(0))
        .unwrap();
    book.insert(
        node(2),
        record(2, before(YEAR), 4),
        Source::Announced,
        NOW,
        second(0),
    )
    .unwrap();
    let trial = limits::RECORD_TRIAL.as_secs();
    for (at, there) in [(0, true), (trial - 1, true), (trial, false)] {
        book.expire(NOW, second(at));
        for byte in [1, 2] {
            assert_eq!(book.get(&node(byte)).is_some(), there, "{byte} at {at} s");
            assert!(!shared(&book, NOW).contains(&node(byte)));
        }
    }
    // Who was met and died is told for three days, no matter what it signed, and kept for thirty.
    book.insert(
        node(3),
        record(3, after(YEAR), 4),
        handed(3, second(0)),
        NOW,
        second(0),
    )
    .unwrap();
    assert!(!shared(&book, after(limits::RECORD_SHARED_MAX)).contains(&node(3)));
    let month = limits::RECORD_KEPT_MAX;
    book.expire(after(month), Time::ZERO + month);
    assert!(book.get(&node(3)).is_none());
}

#[test]
fn an_announcement_from_a_wrong_clock_is_dialled() {
    for clock in clocks() {
        let mut book = book(NOW);
        let info = record(1, clock, 4);
        let heard = book.insert(node(1), info.clone(), Source::Announced, NOW, second(0));
        assert_eq!(heard, Ok(Inserted::New), "{clock:?}");
        let known = book.known(&node(1), NOW, second(0));
        assert_eq!(known, BTreeSet::from([address(4)]));
        book.expire(NOW, second(1));
        assert!(book.get(&node(1)).is_some());
        // Said once more it is no news, and no proof of life.
        let again = book.insert(node(1), info.clone(), Source::Announced, NOW, second(2));
        assert_eq!(again, Ok(Inserted::Kept));
        book.insert(node(1), info, handed(1, second(3)), NOW, second(4))
            .unwrap();
        assert_eq!(port(&book, 1), Some(4));
    }
}

#[test]
fn an_old_announcement_said_again_adds_nothing() {
    let mut book = book(NOW);
    book.insert(
        node(1),
        record(1, NOW, 4),
        Source::Announced,
        NOW,
        second(0),
    )
    .unwrap();
    let replayed = record(1, before(MINUTE), 5);
    book.insert(node(1), replayed, Source::Announced, NOW, second(1))
        .unwrap();
    let known = |book: &Book| book.known(&node(1), NOW, second(1));
    assert_eq!(known(&book), BTreeSet::from([address(4)]));
    // Where nothing answers there, it is worth a try: the clock of the node may have been set back.
    book.unanswered(node(1), None, second(1));
    assert_eq!(known(&book), BTreeSet::from([address(4), address(5)]));
}

#[test]
fn a_clock_that_was_ahead_does_not_bind_the_own_record() {
    for ahead in [MINUTE * 11, YEAR * 50] {
        let wrong = after(ahead);
        let mut own = book(wrong);
        let first = own.own().unwrap().clone();
        let second = own
            .sign_own(&key(0), BTreeSet::from([address(1)]), NOW)
            .unwrap();
        assert_eq!(second.timestamp().wall, NOW);
        // Others come across the one from ahead: it does not bind us again.
        let seen = own.insert(node(0), first, told_by(9), NOW, Time::ZERO);
        assert_eq!(seen, Err(RecordError::Future));
        let third = own.sign_own(&key(0), BTreeSet::new(), after(MINUTE));
        assert_eq!(third.unwrap().timestamp().wall, after(MINUTE));
    }
}

#[test]
fn the_own_record_is_signed_with_any_clock() {
    for clock in clocks() {
        let mut own = book(clock);
        let first = own.own().unwrap().clone();
        let again = own.sign_own(&key(0), BTreeSet::from([address(1)]), clock);
        assert_eq!(again, Ok(first.clone()));
        let moved = own.sign_own(&key(0), BTreeSet::from([address(2)]), clock);
        assert!(moved.unwrap().replaces(Some(&first)), "{clock:?}");
    }
}

#[test]
fn a_clock_set_forward_forgets_nobody_whom_we_met() {
    let wrong = before(YEAR * 50);
    let mut book = book(wrong);
    book.insert(
        node(1),
        record(1, NOW, 4),
        handed(1, second(0)),
        wrong,
        second(1),
    )
    .unwrap();
    book.expire(NOW, second(2));
    assert!(book.get(&node(1)).is_some());
    assert!(!shared(&book, NOW).contains(&node(1)));
    book.succeeded(node(1), NOW, second(3));
    assert!(shared(&book, NOW).contains(&node(1)));
}

#[test]
fn a_stored_book_with_wrong_dates_is_tried_for_a_day() {
    for (stored_at, wall) in [(after(YEAR * 50), NOW), (before(YEAR * 50), NOW)] {
        let mut before = book(stored_at);
        let info = record(1, stored_at, 4);
        before
            .insert(node(1), info, handed(1, second(0)), stored_at, second(1))
            .unwrap();
        before.failed(node(1), stored_at);
        before.succeeded(node(1), stored_at, second(1));
        before.failed(node(1), stored_at);
        let mut book = Book::new(node(0));
        for (node, stored) in before.take_changed() {
            book.restore(node, stored.unwrap()).unwrap();
        }
        book.expire(wall, second(1));
        assert!(!book.get(&node(1)).unwrap().is_stale(wall));
        assert_ne!(book.plan(&node(1), wall, second(1)), Plan::Rest);
        assert!(!shared(&book, wall).contains(&node(1)));
        let mut forgotten = book.get(&node(1)).is_some();
        book.expire(wall, Time::ZERO + limits::RECORD_TRIAL);
        forgotten &= book.get(&node(1)).is_none();
        assert!(forgotten, "dead, and {stored_at:?} proves nothing");
    }
}

#[test]
fn a_success_counts_after_failures_noted_ahead() {
    let mut book = book(NOW);
    book.succeeded(node(1), NOW, second(0));
    book.failed(node(1), after(YEAR));
    assert!(!book.get(&node(1)).unwrap().is_stale(NOW));
    book.failed(node(1), NOW);
    book.succeeded(node(1), after(MINUTE), second(1));
    assert!(!book.get(&node(1)).unwrap().is_stale(after(MINUTE)));
    book.failed(node(1), after(MINUTE * 2));
    assert!(book.get(&node(1)).unwrap().is_stale(after(MINUTE * 2)));
}

#[test]
fn a_handed_over_record_shows_a_clock_that_differs() {
    use ClockDifference::{Ahead, Behind};
    let day = limits::RECORD_RENEWED_AFTER;
    for (clock, differs) in [
        (NOW, None),
        (after(MINUTE * 10), None),
        (after(MINUTE * 11), Some(Ahead(MINUTE * 11))),
        (after(YEAR * 50), Some(Ahead(YEAR * 50))),
        // So old a record may be.
        (before(day), None),
        (before(YEAR * 50), Some(Behind(YEAR * 50 - day))),
    ] {
        let mut book = book(NOW);
        book.insert(
            node(1),
            record(1, clock, 4),
            handed(1, second(0)),
            NOW,
            second(1),
        )
        .unwrap();
        assert_eq!(book.get(&node(1)).unwrap().clock(), differs, "{clock:?}");
        // Set right, it is forgotten; what others tell says nothing of the clock.
        book.insert(
            node(1),
            record(1, NOW, 4),
            handed(1, second(2)),
            NOW,
            second(3),
        )
        .unwrap();
        assert_eq!(book.get(&node(1)).unwrap().clock(), None);
        book.insert(
            node(2),
            record(2, before(YEAR), 4),
            told_by(1),
            NOW,
            second(3),
        )
        .unwrap();
        assert_eq!(book.get(&node(2)).unwrap().clock(), None);
    }
    assert!(Ahead(YEAR).is_news(None) && Ahead(YEAR).is_news(Some(Behind(YEAR))));
    assert!(!Ahead(YEAR).is_news(Some(Ahead(YEAR + day))));
}
