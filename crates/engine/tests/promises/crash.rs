use std::io::{BufRead, BufReader};
use std::process::{Command as Process, Stdio};
use std::sync::mpsc::channel;

use p2panda_engine::{Command, Engine, Incoming, OpenErrorKind, Options, thread};
use tempfile::TempDir;

use crate::node::{Author, Node, TOPIC, publish, session};

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let published = node.publish("ours");
    node.ingest(&[author.says("theirs")]);
    let after = node.after_crash();
    assert_eq!(after.operations(), node.operations());
    assert_eq!(after.texts(), ["ours", "theirs"]);
    assert_eq!(after.key(), node.key());
    assert_eq!(after.operations()[0].header.id(), published.id);
}

#[test]
fn numbers_go_on_after_a_close_and_with_a_gap_after_a_crash() {
    let mut node = Node::new();
    let first = node.publish("0");
    let mut node = node.reopen();
    let second = node.publish("1");
    assert_eq!(second.arrival, first.arrival + 1);
    assert_eq!(second.offset, first.offset.map(|offset| offset + 1));
    let mut node = node.after_crash();
    let third = node.publish("2");
    assert!(third.arrival > second.arrival + (1 << 32));
    assert!(third.offset > second.offset.map(|offset| offset + (1 << 32)));
    assert_eq!(third.seq, 2);
    assert_eq!(node.texts(), ["0", "1", "2"]);
    let mut node = node.reopen();
    let fourth = node.publish("3");
    assert_eq!(fourth.arrival, third.arrival + 1);
    assert_eq!(fourth.offset, third.offset.map(|offset| offset + 1));
}

#[test]
fn a_pruned_offset_is_never_handed_out_again() {
    let mut node = Node::new();
    let last = node.publish("0").offset.unwrap();
    let (prune, _answer) = publish(TOPIC, None, true);
    node.process(vec![prune]);
    let mut node = node.reopen();
    assert_eq!(node.publish("2").offset, Some(last + 1));
}

const CHILD_DIR: &str = "P2PANDA_ENGINE_TEST_DIR";

/// The process that the next test kills. Run as a test of its own, it does nothing.
#[test]
fn child_that_publishes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let clock = thread::system_clock();
    let engine = Engine::open(dir.as_ref(), Options::default(), clock()).unwrap();
    let queue = thread::spawn(engine, clock, Box::new(|_| ()));
    let mut author = Author::new(1);
    for _ in 0..1_000_000 {
        let (command, answer) = publish(TOPIC, Some("ours"), false);
        queue.send(command).unwrap();
        let operations = vec![Incoming::Valid(author.says("theirs"))];
        let (sender, outcomes) = channel();
        let reply = Some(Box::new(move |_| sender.send(()).unwrap()) as Box<_>);
        let source = session(1);
        queue
            .send(Command::Ingest {
                topic: TOPIC,
                source,
                operations,
                reply,
            })
            .unwrap();
        outcomes.recv().unwrap();
        println!("\nanswered {}", answer.recv().unwrap().unwrap().seq);
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_answered() {
    let temp = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let answered = kill_child_after(&temp, 20 + 10 * round);
        let now = thread::system_clock()();
        let engine = Engine::open(temp.path(), Options::default(), now).unwrap();
        let reader = engine.readers().open().unwrap();
        let heights = reader.holdings(&TOPIC).unwrap().heights;
        let own = heights.get(&engine.signing_key().verifying_key(), &TOPIC.log_id());
        assert!(own.unwrap() >= answered, "{own:?} of {answered}");
        let status = reader.status(&TOPIC).unwrap();
        let page = reader.feed_page(&TOPIC, 0, crate::node::ALL, None).unwrap();
        assert_eq!(page.entries.len() as u64, status.totals.operations);
        let mut entries = page.entries.iter();
        assert!(entries.all(|entry| entry.header.verify().is_ok()));
    }
}

/// Returns the last sequence number that the child answered.
fn kill_child_after(temp: &TempDir, answers: usize) -> u32 {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_that_publishes_until_it_is_killed",
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
    let last = seqs.take(answers).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    last
}

#[test]
fn a_second_opener_learns_who_holds_the_directory() {
    let node = Node::new();
    let result = Engine::open(&node.dir, Options::default(), node.now);
    let error = result.err().unwrap();
    assert!(matches!(error.kind(), OpenErrorKind::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(text.contains("promises"), "{text}");
}
