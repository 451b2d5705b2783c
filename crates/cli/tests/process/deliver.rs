//! Knowledge of a publisher about others when it ends.

use crate::world::{World, run_with_input, stderr, stdout};

#[test]
fn what_a_peer_has_stored_survives_that_it_is_killed() {
    let world = World::new();
    let (reader, addr) = world.subscriber("reader", &[]);
    let lines: String = (0..2_000).map(|line| format!("line {line}\n")).collect();
    let published = world.publish("writer", &lines, &["--bootstrap", &addr]);
    reader.signal("-KILL");
    drop(reader);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(
        stdout(&published),
        "published 2000 messages; stored by 1 peer, sent to 1\n"
    );
    // Alone: all of it is on its disk.
    let args = ["sub", &world.topic, "--from", "start", "--count", "2000"];
    let read = world.at("reader", &args).output().unwrap();
    assert_eq!(stdout(&read), lines);
}

#[test]
fn pub_without_input_takes_along_what_an_earlier_one_left() {
    let world = World::new();
    let published = world.publish("writer", "one\ntwo\n", &["--wait", "0"]);
    assert_eq!(published.status.code(), Some(3));
    assert!(stderr(&published).contains("panda sync"));
    let (reader, addr) = world.subscriber("reader", &[]);
    let published = world.publish("writer", "", &["--bootstrap", &addr, "--json"]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(
        stdout(&published),
        "{\"published\":0,\"stored\":1,\"sent\":1}\n"
    );
    assert_eq!(reader.lines(2), ["one", "two"]);
    assert_eq!(reader.interrupt().code(), Some(0));
    // Nothing was ever published here: nothing to wait for.
    let published = world.publish("other", "", &[]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
}

#[test]
fn a_throw_away_identity_warns_of_what_nobody_has() {
    let world = World::new();
    let args = ["pub", &world.topic, "--temp", "--wait", "0"];
    let published = run_with_input(&mut world.panda(&args), "a line\n");
    assert_eq!(published.status.code(), Some(3));
    let said = stderr(&published);
    assert!(said.contains("it is deleted now"), "{said}");
}

#[test]
fn sync_exchanges_all_topics_of_a_home_and_says_what_is_left() {
    let world = World::new();
    world.publish("writer", "from the writer\n", &["--wait", "0"]);
    world.publish("reader", "from the reader\n", &["--wait", "0"]);
    let (reader, addr) = world.subscriber("reader", &[]);
    assert_eq!(reader.line(), "from the reader");
    let sync = |more: &[&str]| {
        let args = [&["sync"], more].concat();
        world.at("writer", &args).output().unwrap()
    };
    let synced = sync(&["--bootstrap", &addr]);
    assert_eq!(synced.status.code(), Some(0), "{}", stdout(&synced));
    let line = format!("{} up to date with 1 peer\n", world.topic);
    assert_eq!(stdout(&synced), line);
    assert_eq!(reader.line(), "from the writer");
    assert_eq!(reader.interrupt().code(), Some(0));
    let args = ["sub", &world.topic, "--from", "start", "--count", "2"];
    let read = world.at("writer", &args).output().unwrap();
    let read = stdout(&read);
    assert!(read.contains("from the reader"), "{read}");

    let alone = sync(&["--deadline", "0"]);
    assert_eq!(alone.status.code(), Some(3), "{}", stdout(&alone));
    assert!(stdout(&alone).contains("no peer is online"));
    let none = world.at("new", &["sync"]).output().unwrap();
    assert_eq!(none.status.code(), Some(0));
    assert!(stderr(&none).contains("has no topics"));
}
