use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use p2panda_engine::{Command, Engine, Incoming, NewMessage, Options, thread};

use crate::node::{ALL, Author, TOPIC, publish, session};

fn open(dir: &std::path::Path) -> Engine {
    Engine::open(dir, Options::default(), thread::system_clock()()).unwrap()
}

#[test]
fn the_order_of_publishing_is_the_order_in_the_log() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path());
    let readers = engine.readers();
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let answers: Vec<_> = (0..1_000)
        .map(|n: u32| {
            let (command, answer) = publish(TOPIC, Some(&n.to_string()), false);
            queue.send(command).unwrap();
            answer
        })
        .collect();
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.recv().unwrap().unwrap().seq as usize, n);
    }
    queue.close().unwrap();
    let page = readers
        .open()
        .unwrap()
        .feed_page(&TOPIC, 0, ALL, None)
        .unwrap();
    let texts: Vec<String> = page.entries.iter().map(crate::node::text_of).collect();
    assert_eq!(texts, (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_answer_and_the_signal_come_after_the_commit() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path());
    let (readers, again) = (engine.readers(), engine.readers());
    let (sender, seen) = channel();
    let on_commit = Box::new(move |committed: &p2panda_engine::Committed| {
        for change in &committed.topics {
            let last = again.open().unwrap().last_offset(&change.topic).unwrap();
            sender
                .send((change.last_offset, last, committed.own))
                .unwrap();
        }
    });
    let queue = thread::spawn(engine, thread::system_clock(), on_commit);
    let (at_reply, offsets) = channel();
    let reply = Box::new(move |published: Result<p2panda_engine::Published, _>| {
        let last = readers.open().unwrap().last_offset(&TOPIC).unwrap();
        at_reply.send((published.unwrap().offset, last)).unwrap();
    });
    let message = NewMessage::new("text");
    queue
        .send(Command::Publish {
            topic: TOPIC,
            message,
            reply,
        })
        .unwrap();
    assert_eq!(offsets.recv().unwrap(), (Some(1), 1));
    assert_eq!(seen.recv().unwrap(), (Some(1), 1, true));
    queue.close().unwrap();
}

#[test]
fn a_publish_passes_the_foreign_lane_and_both_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path());
    // Each commit waits to be allowed, so what is queued by then is known.
    let (allow, allowed) = channel::<()>();
    let (sender, commits) = channel();
    let on_commit = Box::new(move |committed: &p2panda_engine::Committed| {
        let arrivals = committed.topics.iter().filter_map(|one| one.last_arrival);
        sender.send((arrivals.max(), committed.own)).unwrap();
        // Ends when the test does.
        let _ = allowed.recv();
    });
    let queue = thread::spawn(engine, thread::system_clock(), on_commit);
    let mut author = Author::new(1);
    let mut ingest = |count: usize| {
        let operations = (0..count).map(|n| Incoming::Valid(author.says(&n.to_string())));
        let command = Command::Ingest {
            topic: TOPIC,
            source: session(1),
            operations: operations.collect(),
            reply: None,
        };
        queue.send(command).unwrap();
    };
    ingest(1);
    assert_eq!(commits.recv().unwrap(), (Some(1), false));
    for _ in 0..20 {
        ingest(200);
    }
    let (command, answer) = publish(TOPIC, Some("own"), false);
    queue.send(command).unwrap();
    allow.send(()).unwrap();
    // The publish is the first of the next batch, and one part of the others is in it.
    assert_eq!(commits.recv().unwrap(), (Some(2 + 200), true));
    allow.send(()).unwrap();
    assert_eq!(answer.recv().unwrap().unwrap().arrival, 2);
    // Without own commands a batch is as large as ever.
    assert_eq!(commits.recv().unwrap(), (Some(2 + 200 + 1_000), false));
    drop(allow);
    queue.close().unwrap();
    assert_eq!(commits.iter().last(), Some((Some(2 + 20 * 200), false)));
}

#[test]
fn closing_processes_what_is_queued() {
    let temp = tempfile::tempdir().unwrap();
    let queue = thread::spawn(open(temp.path()), thread::system_clock(), Box::new(|_| ()));
    let mut author = Author::new(1);
    for _ in 0..100 {
        let operations = vec![Incoming::Valid(author.says("x"))];
        let command = Command::Ingest {
            topic: TOPIC,
            source: session(1),
            operations,
            reply: None,
        };
        queue.send(command).unwrap();
    }
    queue.close().unwrap();
    queue.close().unwrap();
    let (command, _answer) = publish(TOPIC, Some("late"), false);
    assert_eq!(queue.send(command), Err(thread::Stopped));
    let engine = open(temp.path());
    let reader = engine.readers().open().unwrap();
    let heights = reader.holdings(&TOPIC).unwrap().heights;
    assert_eq!(heights.get(&author.key(), &TOPIC.log_id()), Some(99));
}

#[test]
fn what_is_due_happens_without_a_command() {
    let temp = tempfile::tempdir().unwrap();
    let options = Options {
        causal_wait: std::time::Duration::from_millis(20),
        ..Options::default()
    };
    let engine = Engine::open(temp.path(), options, thread::system_clock()()).unwrap();
    let (sender, seen) = channel();
    let on_commit = Box::new(move |committed: &p2panda_engine::Committed| {
        for change in &committed.topics {
            let _ = sender.send(change.last_offset);
        }
    });
    let queue = thread::spawn(engine, thread::system_clock(), on_commit);
    let lost = Author::new(1).says("lost");
    let operations = vec![Incoming::Valid(Author::new(2).answers("answer", &[&lost]))];
    queue
        .send(Command::Ingest {
            topic: TOPIC,
            source: session(1),
            operations,
            reply: None,
        })
        .unwrap();
    assert_eq!(seen.recv().unwrap(), None);
    assert_eq!(seen.recv().unwrap(), Some(1));
    queue.close().unwrap();
}

#[test]
fn a_failing_database_stops_the_engine_without_lies() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path());
    let saboteur = rusqlite::Connection::open(temp.path().join("p2panda.sqlite")).unwrap();
    saboteur.execute_batch("DROP TABLE operation").unwrap();
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let (command, answer) = publish(TOPIC, Some("lost"), false);
    queue.send(command).unwrap();
    assert!(answer.recv().is_err());
    assert!(queue.close().is_err());
    assert!(queue.failure().is_some());
    let (command, _answer) = publish(TOPIC, Some("late"), false);
    assert_eq!(queue.send(command), Err(thread::Stopped));
}

#[test]
fn the_write_ahead_log_stays_small_with_a_pausing_reader() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path());
    let reader = engine.readers().open().unwrap();
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let body = "x".repeat(64 * 1024);
    let largest = Arc::new(Mutex::new(0));
    for _ in 0..40 {
        let answers: Vec<_> = (0..50)
            .map(|_| {
                let (command, answer) = publish(TOPIC, Some(&body), false);
                queue.send(command).unwrap();
                answer
            })
            .collect();
        assert!(answers.iter().all(|answer| answer.recv().unwrap().is_ok()));
        // It read a page and pauses, as for a stalled peer: no snapshot stays open.
        let page = reader.arrivals_page(&TOPIC, 0, Default::default()).unwrap();
        assert!(!page.entries.is_empty());
        let journal = temp.path().join("p2panda.sqlite-wal");
        let bytes = std::fs::metadata(journal).unwrap().len();
        let mut largest = largest.lock().unwrap();
        *largest = bytes.max(*largest);
    }
    let largest = *largest.lock().unwrap();
    assert!(largest < 64 << 20, "{largest} bytes");
    queue.close().unwrap();
}
