//! A home directory that is in use on two machines, and a node that both meet.

use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::daemons::Daemon;
use super::world::{PATIENCE, Running, World, run_with_input, stderr, stdout};

/// `panda` on the machine that has this home: the state directory is another one on each.
fn on(world: &World, home: &str, args: &[&str]) -> Command {
    let mut command = world.at(home, args);
    command.env("XDG_STATE_HOME", world.path(&format!("state-{home}")));
    command
}

fn publish(world: &World, home: &str, lines: &str, more: &[&str]) -> Output {
    let args = [&["pub", &world.topic, "-"], more].concat();
    run_with_input(&mut on(world, home, &args), lines)
}

fn subscribe(world: &World, home: &str, more: &[&str]) -> Running {
    Running::start(&mut on(
        world,
        home,
        &[&["sub", &world.topic], more].concat(),
    ))
}

/// Waits until standard error says it.
fn said(running: &Running, part: &str) -> String {
    loop {
        let line = running.err.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("`{part}` was not said"));
        if line.contains(part) {
            return line;
        }
    }
}

/// A subscriber that both met, its address, and two homes that know that they are copies: `one` with
/// `a1` and `a2`, which the subscriber has, and `two` with `b1` to `b3`.
fn two_copies(world: &World) -> (Running, String) {
    let (reader, addr) = world.subscriber("reader", &[]);
    publish(world, "one", "0\n", &["--wait", "0"]);
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .args([world.path("one"), world.path("two")])
        .stdin(Stdio::null());
    assert!(copy.status().unwrap().success());
    publish(world, "two", "b1\nb2\nb3\n", &["--wait", "0"]);
    let first = publish(world, "one", "a1\na2\n", &["--bootstrap", &addr]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert_eq!(reader.lines(3), ["0", "a1", "a2"]);
    for home in ["two", "one"] {
        let copy = subscribe(world, home, &["--bootstrap", &addr]);
        said(&copy, "a copy of the home directory has published");
        assert_eq!(copy.interrupt().code(), Some(0));
        let refused = publish(world, home, "refused\n", &["--wait", "0"]);
        assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
        let line = stderr(&refused);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains("--restored new-identity"), "{line}");
        let status = on(world, home, &["status"]).output().unwrap();
        let closed = "closed: a copy of this home directory has published here as well";
        assert!(stdout(&status).contains(closed), "{}", stdout(&status));
    }
    (reader, addr)
}

#[test]
fn a_copy_of_a_home_does_not_use_the_node_of_the_original() {
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .args([world.path("server"), world.path("copy")])
        .stdin(Stdio::null());
    assert!(copy.status().unwrap().success());
    let args = ["pub", &world.topic, "-", "--wait", "0"];
    let said = stderr(&run_with_input(&mut world.plain("copy", &args), "a line\n"));
    assert!(said.contains("is a copy"), "{said}");
    let topic = json!({ "topic": world.topic });
    let read = daemon.ask("messages.read", &topic);
    assert_eq!(read["messages"], json!([]), "{read}");
    let checked = world.plain("copy", &["doctor"]).output().unwrap();
    let checked = stdout(&checked);
    assert!(checked.contains("the home is a copy"), "{checked}");
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_copy_of_a_home_goes_on_behind_the_other() {
    let world = World::new();
    let (reader, addr) = two_copies(&world);
    let offered = stderr(&publish(&world, "two", "refused\n", &["--wait", "0"]));
    assert!(offered.contains("--restored pull-own-log"), "{offered}");
    let ways = ["--restored", "pull-own-log", "--republish"];
    let more = [&ways[..], &["--bootstrap", &addr]].concat();
    let copy = subscribe(&world, "two", &more);
    said(&copy, "published 3 messages again");
    assert_eq!(reader.lines(3), ["b1", "b2", "b3"]);
    assert_eq!(copy.interrupt().code(), Some(0));
    let goes_on = publish(&world, "two", "b4\n", &["--bootstrap", &addr]);
    assert_eq!(goes_on.status.code(), Some(0), "{}", stderr(&goes_on));
    assert_eq!(reader.line(), "b4");
    assert_eq!(reader.interrupt().code(), Some(0));
}

#[test]
fn a_copy_of_a_home_goes_on_under_a_new_key_and_loses_nothing() {
    let world = World::new();
    let (reader, addr) = two_copies(&world);
    let ways = ["--restored", "new-identity", "--republish"];
    let more = [&ways[..], &["--bootstrap", &addr]].concat();
    let goes_on = publish(&world, "two", "b4\n", &more);
    assert_eq!(goes_on.status.code(), Some(0), "{}", stderr(&goes_on));
    let mut printed = Vec::new();
    while printed.last().is_none_or(|last| last != "b4") {
        printed.push(reader.line());
    }
    let own = ["b1", "b2", "b3", "b4"];
    assert!(printed.ends_with(&own.map(str::to_owned)), "{printed:?}");
    let kept = std::fs::read_dir(world.path("two")).unwrap();
    let kept = kept.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("node.key.")
    });
    assert_eq!(kept.count(), 1);
    assert_eq!(reader.interrupt().code(), Some(0));
}
