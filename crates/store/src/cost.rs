//! No cost grows with history: the steps of SQLite's machine are counted, with few operations
//! stored and with many.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda_core::log::Head;
use p2panda_core::{Hash, LogRange, SigningKey, Topic, VerifyingKey};
use rusqlite::Connection;

use crate::database::meta::load_counters;
use crate::directory::epoch;
use crate::directory::identity::recognise;
use crate::{Durability, NewOperation, Options, PageLimits, Ready, SkipAcked, Start, Store, Tx};

const TOPIC: Topic = Topic::from_bytes([1; 32]);

fn author() -> VerifyingKey {
    SigningKey::from_bytes(&[9; 32]).verifying_key()
}

fn append(tx: &mut Tx<'_>) {
    let topic = tx.topic(&TOPIC).unwrap();
    let known = tx.log(topic, &author()).unwrap();
    let seq = known.as_ref().map_or(0, |log| log.head.seq + 1);
    let head = Head {
        seq,
        id: Hash::digest(&seq.to_be_bytes()),
    };
    let mut log = known.unwrap_or_else(|| tx.create_log(topic, &author(), head).unwrap());
    let operation = NewOperation {
        arrival: tx.next_arrival(),
        topic,
        log: log.key,
        seq,
        offset: Some(tx.next_offset()),
        ready: &Ready::Body,
        bytes_before: log.bytes,
        header: &[7; 250],
        body: Some(&[8; 100]),
    };
    tx.add_operation(&operation).unwrap();
    log.head = head;
    log.bytes += 350;
    log.ordered_seq = Some(seq);
    log.ordered_at = tx.next_order();
    tx.save_log(&log).unwrap();
}

fn filled(dir: &Path, operations: u32) -> Store {
    let mut store = Store::open(dir, Options::default()).unwrap();
    let mut tx = store.begin(Durability::Normal).unwrap();
    (0..operations).for_each(|_| append(&mut tx));
    tx.commit().unwrap();
    store
}

/// Counts the steps of SQLite's machine on one connection.
struct Meter(Arc<AtomicU64>);

impl Meter {
    fn attach(connection: &mut Connection) -> Meter {
        let count = Arc::new(AtomicU64::new(0));
        let counter = count.clone();
        let tick = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(1, Some(tick)).unwrap();
        Meter(count)
    }

    fn of<T>(&self, work: impl FnOnce() -> T) -> u64 {
        let before = self.0.load(Ordering::Relaxed);
        work();
        self.0.load(Ordering::Relaxed) - before
    }
}

fn opening(store: &mut Store) -> u64 {
    let meter = Meter::attach(&mut store.database().connection);
    let database = &*store.database();
    meter.of(|| {
        load_counters(&database.connection).unwrap();
        let epochs = epoch::load(database).unwrap();
        let own = database.heights_of(&author()).unwrap();
        assert!(recognise(database, None, &own, epochs).unwrap().is_none());
    })
}

fn reading(store: &Store) -> Vec<(&'static str, u64)> {
    let mut reader = store.readers().open().unwrap();
    let meter = Meter::attach(&mut reader.connection);
    let last = reader.last_arrival(&TOPIC).unwrap();
    let offset = reader.last_offset(&TOPIC).unwrap();
    let heights = reader.holdings(&TOPIC).unwrap().heights;
    let until = heights.get(&author(), &TOPIC.log_id()).unwrap();
    let limits = PageLimits::default();
    let (log, after) = (TOPIC.log_id(), Some(until - 5));
    let range = LogRange {
        author: author(),
        log,
        after,
        until,
    };
    vec![
        ("holdings", meter.of(|| reader.holdings(&TOPIC).unwrap())),
        ("offset", meter.of(|| reader.last_offset(&TOPIC).unwrap())),
        ("status", meter.of(|| reader.status(&TOPIC).unwrap())),
        (
            "totals",
            meter.of(|| reader.totals_oldest_first(&TOPIC, &mut [range]).unwrap()),
        ),
        (
            "log",
            meter.of(|| {
                reader
                    .log_page(&TOPIC, &author(), after, until, limits)
                    .unwrap()
            }),
        ),
        (
            "arrivals",
            meter.of(|| reader.arrivals_page(&TOPIC, last - 1, limits).unwrap()),
        ),
        (
            "feed",
            meter.of(|| {
                let skip = SkipAcked {
                    consumer: "a",
                    until: offset,
                };
                reader
                    .feed_page(&TOPIC, offset - 1, limits, Some(skip))
                    .unwrap()
            }),
        ),
    ]
}

/// Steps of a publish and an ack, with what the engine asks for in addition.
fn writing(store: &mut Store) -> u64 {
    let meter = Meter::attach(&mut store.database().connection);
    meter.of(|| {
        let mut tx = store.begin(Durability::Full).unwrap();
        append(&mut tx);
        let topic = tx.topic(&TOPIC).unwrap();
        assert!(tx.waiting_topics().unwrap().is_empty());
        tx.recent_heads(topic, &author(), &author(), 16).unwrap();
        let consumer = tx.consumer("app").unwrap();
        let now = tx.place_consumer(consumer, topic, Start::Now).unwrap();
        append(&mut tx);
        tx.ack(consumer, topic, &[now + 1]).unwrap();
        tx.commit().unwrap();
    })
}

#[test]
fn no_cost_grows_with_history() {
    let (few, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut few, mut many) = (filled(few.path(), 20), filled(many.path(), 20_000));
    assert_eq!(opening(&mut few), opening(&mut many), "opening");
    for (few, many) in reading(&few).into_iter().zip(reading(&many)) {
        assert_eq!(few, many);
    }
    assert_eq!(writing(&mut few), writing(&mut many), "writing");
}
