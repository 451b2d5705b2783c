//! Several publishes at once: all of them or none.

use std::io::{BufRead, BufReader};
use std::process::{Command as Process, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use p2panda_core::SigningKey;
use p2panda_core::limits::{PUBLISH_BATCH_BYTES_MAX, PUBLISH_BATCH_OPERATIONS_MAX};
use p2panda_core::log::check_successor;
use p2panda_engine::{
    Command, Engine, Fault, Incoming, Lanes, NewMessage, Options, PublishError, StorageWait, thread,
};
use p2panda_store::Reader;
use tempfile::TempDir;

use crate::node::{
    ALL, Author, Node, SECOND_US, TOPIC, publish, publish_all, publish_messages, session,
};

#[test]
fn a_batch_is_contiguous_in_log_and_feed() {
    let mut node = Node::new();
    let theirs = Author::new(1).says("theirs");
    let (first, _) = publish(TOPIC, Some("before"), false);
    let (all, answers) = publish_all(&["0", "1", "2"]);
    let (last, _) = publish(TOPIC, Some("behind"), false);
    node.ingest(&[theirs]);
    node.process(vec![first, all, last]);
    let published = answers.try_recv().unwrap().unwrap();
    let seqs: Vec<u32> = published.iter().map(|one| one.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(node.texts(), ["theirs", "before", "0", "1", "2", "behind"]);
    let own: Vec<_> = node.operations().split_off(1);
    for pair in own.windows(2) {
        check_successor(&pair[0].header, &pair[1].header).unwrap();
        assert!(pair[1].header.verify().is_ok());
    }
    for (published, operation) in published.iter().zip(&own[1..]) {
        assert_eq!(published.id, operation.header.id());
    }
}

#[test]
fn the_first_of_a_batch_alone_names_what_came_before() {
    let mut node = Node::new();
    node.ingest(&[Author::new(1).says("theirs")]);
    node.try_publish_all(&["0", "1"]).unwrap();
    let own: Vec<_> = node.operations().split_off(1);
    let deps = own
        .iter()
        .map(|one| one.header.node_extensions().unwrap().deps.len());
    assert_eq!(deps.collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn one_message_that_cannot_be_published_keeps_all_others_out() {
    let mut node = Node::open(Options {
        operation_bytes_max: 1_000,
        ..Options::default()
    });
    let refused = node.try_publish_all(&["0", "1", ""]);
    assert_eq!(refused, Err(PublishError::EmptyBody));
    let refused = node.try_publish_all(&["0", &"x".repeat(1_000), "2"]);
    assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    assert_eq!(node.operations(), []);
    assert_eq!(node.publish("0").seq, 0);
}

#[test]
fn more_than_a_transaction_takes_is_refused_as_a_whole() {
    let mut node = Node::new();
    let many = vec![NewMessage::new("x"); PUBLISH_BATCH_OPERATIONS_MAX + 1];
    let large = vec![NewMessage::new(vec![0; PUBLISH_BATCH_BYTES_MAX / 4]); 4];
    let mut larger = large.clone();
    larger.push(NewMessage::new("x"));
    for too_many in [&many, &larger] {
        let (command, answers) = publish_messages(too_many.clone());
        node.process(vec![command]);
        let refused = answers.try_recv().unwrap();
        let is_too_many = matches!(refused, Err(PublishError::TooMany { operations, .. })
            if operations == too_many.len());
        assert!(is_too_many, "{refused:?}");
        assert_eq!(node.operations(), []);
    }
    for fits in [&many[1..], &large[..]] {
        let (command, answers) = publish_messages(fits.to_vec());
        node.process(vec![command]);
        assert_eq!(answers.try_recv().unwrap().unwrap().len(), fits.len());
    }
}

#[test]
fn a_prune_inside_a_batch_takes_only_what_precedes_it() {
    let mut node = Node::new();
    node.publish("old");
    let all = NewMessage {
        prune: true,
        ..NewMessage::new("all")
    };
    let messages = vec![NewMessage::new("older"), all, NewMessage::new("next")];
    let (command, answers) = publish_messages(messages);
    node.process(vec![command]);
    let published = answers.try_recv().unwrap().unwrap();
    let seqs: Vec<u32> = published.iter().map(|one| one.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(node.texts(), ["all", "next"]);
    assert_eq!(node.after_crash().texts(), ["all", "next"]);
}

#[test]
fn an_empty_batch_is_published_at_once() {
    let mut node = Node::new();
    assert_eq!(node.try_publish_all(&[]), Ok(Vec::new()));
    assert_eq!(node.operations(), []);
}

/// Any statement of the transaction fails.
#[test]
fn a_fault_at_any_point_keeps_all_or_nothing_of_a_batch() {
    let mut node = Node::new();
    node.publish("before");
    let mut after = 0;
    loop {
        let (command, answers) = publish_all(&["0", "1", "2"]);
        node.engine.set_fault(Some(Fault::Full { after }));
        let processed = node.engine.process(vec![command], node.now);
        node.engine.set_fault(None);
        match processed {
            Ok(_) => {
                assert!(answers.try_recv().unwrap().is_ok());
                break;
            }
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        assert!(answers.try_recv().is_err());
        assert_eq!(node.texts(), ["before"]);
        assert_eq!(node.after_crash().texts(), ["before"]);
        after += 1;
    }
    assert!(after > 5, "only {after} statements");
    assert_eq!(node.texts(), ["before", "0", "1", "2"]);
    assert_eq!(node.after_crash().texts(), ["before", "0", "1", "2"]);
}

#[test]
fn a_batch_that_waited_too_long_is_refused_whole() {
    let mut node = Node::new();
    let mut lanes = Lanes::new(node.key());
    node.engine.set_fault(Some(Fault::Full { after: 0 }));
    let (command, answers) = publish_all(&["0", "1"]);
    lanes.push(command);
    for _ in 0..7 {
        lanes.process(&mut node.engine, node.now).unwrap();
        node.now.elapsed_us += SECOND_US;
    }
    let refused = Err(PublishError::Storage(StorageWait::Full));
    assert_eq!(answers.try_recv().unwrap(), refused);
    node.engine.set_fault(None);
    lanes.process(&mut node.engine, node.now).unwrap();
    assert_eq!(node.operations(), []);
}

#[test]
fn a_held_batch_comes_whole_and_in_order() {
    let mut node = Node::new();
    let peer = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let (first, _) = publish(TOPIC, Some("first"), false);
    let (all, answers) = publish_all(&["0", "1"]);
    let (last, _) = publish(TOPIC, Some("last"), false);
    let claim = Command::PeerHas {
        topic: TOPIC,
        session: 1,
        peer,
        own_seq: 5,
    };
    node.process(vec![claim, first, all, last]);
    assert!(answers.try_recv().is_err());
    assert_eq!(node.operations(), []);
    node.wait(10 * SECOND_US);
    assert_eq!(answers.try_recv().unwrap().unwrap().len(), 2);
    assert_eq!(node.texts(), ["first", "0", "1", "last"]);
}

/// Reads this node's log from the store, in three ways.
fn seen(reader: &Reader) -> [usize; 3] {
    let feed = reader.feed_page(&TOPIC, 0, ALL, None).unwrap();
    let arrivals = reader.arrivals_page(&TOPIC, 0, ALL).unwrap();
    let status = reader.status(&TOPIC).unwrap();
    let stored = status.totals.operations as usize;
    [feed.entries.len(), arrivals.entries.len(), stored]
}

#[test]
fn readers_and_sessions_see_all_of_a_batch_or_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let clock = thread::system_clock();
    let engine = Engine::open(temp.path(), Options::default(), clock()).unwrap();
    let readers = engine.readers();
    let queue = thread::spawn(engine, clock, Box::new(|_| ()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let reader = readers.open().unwrap();
            while !done.load(Ordering::Relaxed) {
                let seen = seen(&reader);
                assert!(seen.iter().all(|seen| seen % 7 == 0), "{seen:?}");
            }
        });
        for _ in 0..100 {
            let (command, answers) = publish_all(&["0", "1", "2", "3", "4", "5", "6"]);
            queue.send(command).unwrap();
            answers.recv().unwrap().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    queue.close().unwrap();
}

const CHILD_DIR: &str = "P2PANDA_ENGINE_TEST_BATCHES_DIR";
const TEXTS: [&str; 5] = ["0", "1", "2", "3", "4"];

/// The process that the next test kills. Run as a test of its own, it does nothing.
#[test]
fn child_that_publishes_several_at_once_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let clock = thread::system_clock();
    let engine = Engine::open(dir.as_ref(), Options::default(), clock()).unwrap();
    let queue = thread::spawn(engine, clock, Box::new(|_| ()));
    let mut author = Author::new(1);
    for _ in 0..1_000_000 {
        let (command, answers) = publish_all(&TEXTS);
        queue.send(command).unwrap();
        queue
            .send(Command::Ingest {
                topic: TOPIC,
                source: session(1),
                operations: vec![Incoming::Valid(author.says("theirs"))],
                reply: None,
            })
            .unwrap();
        let published = answers.recv().unwrap().unwrap();
        println!("\nanswered {}", published.last().unwrap().seq);
    }
}

#[test]
fn a_kill_leaves_all_or_nothing_of_a_batch() {
    let temp = tempfile::tempdir().unwrap();
    for round in 0..20 {
        // Somewhere within the next ones.
        let answered = kill_child_after(&temp, 1 + round % 3, 1_000 * round);
        let now = thread::system_clock()();
        let engine = Engine::open(temp.path(), Options::default(), now).unwrap();
        let reader = engine.readers().open().unwrap();
        let own = engine.signing_key().verifying_key();
        let page = reader.log_page(&TOPIC, &own, None, u32::MAX, ALL).unwrap();
        let stored = page.entries.len();
        assert_eq!(stored % TEXTS.len(), 0, "{stored} in round {round}");
        assert!(stored as u32 > answered, "{stored} of {answered}");
    }
}

/// Returns the last sequence number that the child answered.
fn kill_child_after(temp: &TempDir, answers: u64, spins: u64) -> u32 {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "batches::child_that_publishes_several_at_once_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD_DIR, temp.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seqs = lines.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("answered ")
            .and_then(|seq| seq.parse::<u32>().ok())
    });
    let last = seqs.take(answers as usize).last().unwrap();
    // At a different point of the child's work each time: tens of microseconds apart.
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    last
}
