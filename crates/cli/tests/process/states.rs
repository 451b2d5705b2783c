//! The state of a home, and what blocks it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::world::*;

impl Running {
    /// The next line on standard error with this in it.
    fn err_line(&self, part: &str) -> String {
        loop {
            let line = self.err.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("a line with `{part}` on standard error"));
            if line.contains(part) {
                return line;
            }
        }
    }
}

/// A command that cannot write a directory, which is what mounts do; `None` where no mounts can be made.
fn read_only(dir: &Path, command: &Command) -> Option<Command> {
    const SCRIPT: &str =
        "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    let own_mounts = |more: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(more).arg("-m").args(["sh", "-c", SCRIPT]);
        unshare.arg(dir);
        unshare
    };
    let works = |more: &[&str]| {
        let tried = own_mounts(more).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    let more = [&[][..], &["-Ur"]].into_iter().find(|more| works(more))?;
    let mut wrapped = own_mounts(more);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped.stdin(Stdio::null());
    Some(wrapped)
}

#[test]
fn status_shows_a_blocked_log_and_the_limit_that_frees_it() {
    let world = World::new();
    std::fs::write(world.path("large"), "x".repeat(2 * 1024 * 1024)).unwrap();
    let large = world.path("large").display().to_string();
    let published = world.publish("author", "before\n", &["--wait", "0"]);
    assert_eq!(published.status.code(), Some(3));
    let mut command = world.at(
        "author",
        &["pub", &world.topic, "-f", &large, "--wait", "0"],
    );
    assert_eq!(command.output().unwrap().status.code(), Some(3));
    world.publish("author", "behind\n", &["--wait", "0"]);
    let (author, addr) = world.subscriber("author", &["--from", "now"]);

    let limited = ["--bootstrap", &addr, "--operation-mib", "1"];
    let (reader, _) = world.subscriber("reader", &limited);
    assert_eq!(reader.line(), "before");
    reader.err_line("cannot continue at 1");
    // Next to the subscriber, which has the home open.
    let status = world.at("reader", &["status"]).output().unwrap();
    let said = stdout(&status);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    assert!(said.contains("1 log, 1 operation"), "{said}");
    assert!(said.contains("cannot continue at 1"), "{said}");
    assert!(
        said.contains("--operation-mib 3 raises the limit"),
        "{said}"
    );
    let json = world.at("reader", &["status", &world.topic, "--json"]);
    let json = stdout(&{ json }.output().unwrap());
    assert!(
        json.contains(r#""seq":1,"reason":"too-large","bytes":209"#),
        "{json}"
    );
    assert!(reader.interrupt().success());

    let raised = ["--bootstrap", &addr, "--operation-mib", "3"];
    let (reader, _) = world.subscriber("reader", &raised);
    assert_eq!(reader.line().len(), 2 * 1024 * 1024);
    assert_eq!(reader.line(), "behind");
    let said = stdout(&world.at("reader", &["status"]).output().unwrap());
    assert!(!said.contains("blocked"), "{said}");
    drop((reader, author));
}

#[test]
fn lists_of_an_empty_home_say_that_nothing_is_there_yet() {
    let world = World::new();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["topic", "ls"],
        &["consumer", "ls"],
        &["view", "ls"],
    ] {
        let output = world.at("nothing", args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(
            stderr(&output).contains("holds no database yet"),
            "{args:?}"
        );
    }
    let output = world
        .at("nothing", &["status", &world.topic])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(23));
    assert!(!world.path("nothing").exists());
}

#[test]
fn a_home_on_read_only_media_can_be_read_and_nothing_is_written() {
    let world = World::new();
    world.publish("home", "one\ntwo\nthree\n", &["--wait", "0"]);
    let home = world.path("home");
    let mut seen = world.at("home", &["sub", &world.topic, "--count", "1"]);
    assert_eq!(stdout(&seen.output().unwrap()), "one\n");
    let run = |args: &[&str]| Some(read_only(&home, &world.at("home", args))?.output().unwrap());
    let Some(unseen) = run(&["sub", &world.topic]) else {
        return println!("skipped: no mounts can be made here");
    };
    // Twice the same: nothing was acknowledged.
    for _ in 0..2 {
        assert_eq!(stdout(&unseen), "two\nthree\n", "{}", stderr(&unseen));
    }
    assert_eq!(unseen.status.code(), Some(0));
    assert!(
        stderr(&unseen).contains("writes nothing"),
        "{}",
        stderr(&unseen)
    );
    let all = run(&["sub", &world.topic, "--from", "start", "--count", "2"]).unwrap();
    assert_eq!(stdout(&all), "one\ntwo\n");
    let status = run(&["status"]).unwrap();
    assert!(stdout(&status).contains("1 log, 3 operations"));
    // What has to write says what is in the way.
    let publish = run(&["pub", &world.topic, "-"]).unwrap();
    assert_eq!(publish.status.code(), Some(15), "{}", stderr(&publish));
    assert!(stderr(&publish).contains("read-only") || stderr(&publish).contains("Read-only"));
}

/// A publisher that reaches nobody at an address says why.
fn unreached(world: &World, addr: &str, more: &[&str]) -> String {
    let args = [&["--bootstrap", addr, "--wait", "5"], more].concat();
    let published = world.publish("publisher", "line\n", &args);
    assert_eq!(published.status.code(), Some(3));
    stderr(&published)
}

/// An id that is nobody's here.
fn nobodys_id(world: &World) -> String {
    let id = stdout(&world.at("nobody", &["id"]).output().unwrap());
    id.trim().to_owned()
}

#[test]
fn a_publisher_says_that_nobody_listens_at_a_closed_port() {
    let world = World::new();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    drop(socket);
    let said = unreached(&world, &format!("{}@{addr}", nobodys_id(&world)), &[]);
    assert!(
        said.contains(&format!("nobody listens at {addr}")),
        "{said}"
    );
}

#[test]
fn a_publisher_says_that_nothing_answers_where_nothing_does() {
    let world = World::new();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let id = nobodys_id(&world);
    let said = unreached(&world, &format!("{id}@{addr}"), &[]);
    assert!(
        said.contains(&format!("nothing answers at {addr} (dead)")),
        "{said}"
    );
}

#[test]
fn a_publisher_says_that_a_node_is_of_another_network() {
    let (world, other) = (World::new(), World::new());
    let (_running, addr) = other.subscriber("other", &[]);
    let said = unreached(&world, &addr, &[]);
    assert!(said.contains("a node of another network is at"), "{said}");
}

#[test]
fn a_publisher_says_that_another_node_answers() {
    let world = World::new();
    let (_running, addr) = world.subscriber("other", &[]);
    let (_, socket) = addr.split_once('@').unwrap();
    let said = unreached(&world, &format!("{}@{socket}", nobodys_id(&world)), &[]);
    assert!(
        said.contains(&format!("another node answers at {socket}")),
        "{said}"
    );
}

#[test]
fn a_publisher_says_that_a_node_is_not_interested_in_the_topic() {
    let world = World::new();
    let (_running, addr) = world.subscriber("other", &[]);
    let other_topic = "7".repeat(64);
    let mut command = world.at(
        "publisher",
        &[
            "pub",
            &other_topic,
            "-",
            "--bootstrap",
            &addr,
            "--wait",
            "3",
        ],
    );
    let published = run_with_input(&mut command, "line\n");
    assert_eq!(published.status.code(), Some(3));
    let said = stderr(&published);
    assert!(said.contains("not interested in this topic"), "{said}");
}

#[test]
fn a_subscriber_says_how_it_catches_up_and_that_a_peer_stopped() {
    let world = World::new();
    world.publish("author", "one\ntwo\n", &["--wait", "0"]);
    let (author, addr) = world.subscriber("author", &[]);
    let (reader, _) = world.subscriber("reader", &["--bootstrap", &addr]);
    assert_eq!(reader.lines(2), ["one", "two"]);
    reader.err_line("caught up with");
    assert!(author.interrupt().success());
    reader.err_line("nobody listens at");
    assert!(reader.interrupt().success());
}

#[test]
fn peers_tells_dead_and_live_nodes_apart() {
    let world = World::new();
    let (_running, live) = world.subscriber("other", &[]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = format!("{}@{}", nobodys_id(&world), socket.local_addr().unwrap());
    drop(socket);
    let args = [
        "peers",
        "--wait",
        "2",
        "--bootstrap",
        &live,
        "--bootstrap",
        &closed,
    ];
    let listed = stdout(&world.at("home", &args).output().unwrap());
    let line_of = |addr: &str| {
        let (id, _) = addr.split_once('@').unwrap();
        listed
            .lines()
            .find(|line| line.starts_with(id))
            .unwrap()
            .to_owned()
    };
    assert!(
        line_of(&live).contains("connected, no common topic"),
        "{listed}"
    );
    assert!(line_of(&closed).contains("closed port"), "{listed}");
}
