//! The commands as processes that talk over loopback.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "process/at_rests.rs"]
mod at_rests;
#[path = "process/benches.rs"]
mod benches;
#[path = "process/consumers.rs"]
mod consumers;
#[path = "process/copies.rs"]
mod copies;
#[path = "process/daemons.rs"]
mod daemons;
#[path = "process/deliver.rs"]
mod deliver;
#[path = "process/devices.rs"]
mod devices;
#[path = "process/doctors.rs"]
mod doctors;
#[path = "process/faces.rs"]
mod faces;
#[path = "process/homes.rs"]
mod homes;
#[path = "process/invites.rs"]
mod invites;
#[path = "process/services.rs"]
mod services;
#[path = "process/settings.rs"]
mod settings;
#[path = "process/spaces.rs"]
mod spaces;
#[path = "process/states.rs"]
mod states;
#[path = "process/tickets.rs"]
mod tickets;
#[path = "process/traces.rs"]
mod traces;
#[path = "process/views.rs"]
mod views;
#[path = "process/world.rs"]
mod world;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use world::*;

#[test]
fn lines_and_files_reach_a_subscriber() {
    let world = World::new();
    let (subscriber, addr) = world.subscriber("reader", &[]);

    let published = world.publish("writer", "one\n\ntwo\n", &["--bootstrap", &addr]);
    assert_eq!(
        stdout(&published),
        "published 3 messages; stored by 1 peer, sent to 1\n"
    );
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(subscriber.lines(3), ["one", "", "two"]);

    let (text, bytes) = (world.path("text"), world.path("bytes"));
    std::fs::write(&text, "first line\nsecond line").unwrap();
    std::fs::write(&bytes, [0xff, 0x00, 0xab]).unwrap();
    let (text, bytes) = (text.to_str().unwrap(), bytes.to_str().unwrap());
    let args = [
        "pub",
        &world.topic,
        "-f",
        text,
        "-f",
        bytes,
        "--json",
        "--bootstrap",
        &addr,
    ];
    let published = world.at("writer", &args).output().unwrap();
    assert_eq!(
        stdout(&published),
        "{\"published\":2,\"stored\":1,\"sent\":1}\n"
    );
    assert_eq!(subscriber.lines(3), ["first line", "second line", "ff00ab"]);
    assert_eq!(subscriber.interrupt().code(), Some(0));
}

#[test]
fn unsent_messages_are_stored_and_sent_later() {
    let world = World::new();
    let published = world.publish("writer", "later\n", &["--wait", "0"]);
    assert_eq!(published.status.code(), Some(3));
    assert_eq!(
        stdout(&published),
        "published 1 message; stored by 0 peers, sent to 0\n"
    );
    assert!(
        stderr(&published).contains("--bootstrap ID@ADDR"),
        "{}",
        stderr(&published)
    );

    let (writer, addr) = world.subscriber("writer", &[]);
    assert_eq!(writer.line(), "later");
    let (reader, _) = world.subscriber("reader", &["--bootstrap", &addr]);
    assert_eq!(reader.line(), "later");
    assert_eq!(reader.interrupt().code(), Some(0));
    assert_eq!(writer.interrupt().code(), Some(0));
}

#[test]
fn a_subscriber_continues_after_the_last_printed_line() {
    let world = World::new();
    world.publish("home", "one\ntwo\nthree\n", &["--wait", "0"]);
    let sub = |more: &[&str]| {
        let output = world
            .at("home", &[&["sub", &world.topic], more].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(sub(&["--count", "2"]), "one\ntwo\n");
    assert_eq!(sub(&["--count", "1"]), "three\n");
    assert_eq!(
        sub(&["--from", "start", "--count", "3"]),
        "one\ntwo\nthree\n"
    );
    let line = sub(&["--from", "start", "--count", "1", "--json"]);
    let message: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (message["seq"].as_u64(), message["text"].as_str()),
        (Some(0), Some("one"))
    );
    let id = stdout(&world.at("home", &["id"]).output().unwrap());
    assert_eq!(message["author"].as_str(), Some(id.trim()));
}

#[test]
fn a_restart_with_the_same_arguments_keeps_its_address() {
    let world = World::new();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let server = || {
        let mut command = world.panda_listening(&listen, &["sub", &world.topic]);
        Running::start(command.arg("--home").arg(world.path("server")))
    };
    let first = server();
    let addr = first.addr();
    assert_eq!(first.interrupt().code(), Some(0));
    for (round, end) in ["-KILL", "-INT"].into_iter().enumerate() {
        let server = server();
        assert_eq!(server.addr(), addr);
        // Each newcomer knows this one address and nothing else.
        let (writer, reader) = (format!("writer {round}"), format!("reader {round}"));
        let line = format!("hello {round}\n");
        let published = world.publish(&writer, &line, &["--bootstrap", &addr]);
        assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
        // What a killed one had not acked comes again before it.
        while server.line() != line.trim() {}
        let (reader, _) = world.subscriber(&reader, &["--bootstrap", &addr]);
        assert!(reader.lines(round + 1).iter().any(|got| got == line.trim()));
        assert_eq!(reader.interrupt().code(), Some(0));
        server.signal(end);
        server.end();
    }
}

#[test]
fn a_closed_pipe_ends_a_subscriber_and_acks_nothing_unseen() {
    let world = World::new();
    let many: String = (0..5_000)
        .map(|line| format!("line {line}{:90}\n", ""))
        .collect();
    world.publish("home", &many, &["--wait", "0"]);
    let mut command = world.at("home", &["sub", &world.topic]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first.trim(), "line 0");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!stderr(&output).contains("panda:"), "{}", stderr(&output));

    let rest = world
        .at("home", &["sub", &world.topic, "--count", "1"])
        .output()
        .unwrap();
    assert_ne!(
        stdout(&rest),
        "line 0\n",
        "the line that was read comes again"
    );
    assert!(stdout(&rest).starts_with("line "));
}

#[test]
fn two_people_chat() {
    let world = World::new();
    let chat = |home: &str, more: &[&str]| {
        let mut command = world.at(home, &[&["chat", &world.topic], more].concat());
        Running::start(command.stdin(Stdio::piped()))
    };
    let mut ann = chat("ann", &[]);
    let addr = ann.addr();
    let mut bob = chat("bob", &["--bootstrap", &addr]);
    bob.type_line("hello \u{1b}[31mAnn");
    let said = ann.line();
    assert!(said.ends_with(": hello \\u{1b}[31mAnn"), "{said}");
    ann.type_line("hello Bob");
    let said = bob.line();
    assert!(said.ends_with(": hello Bob"), "{said}");
    bob.type_line("bye");
    assert_eq!(bob.end().code(), Some(0));
    let said = ann.line();
    assert!(said.ends_with(": bye"), "{said}");
    assert_eq!(ann.interrupt().code(), Some(0));
}

#[test]
fn peers_lists_a_configured_node() {
    let world = World::new();
    let (subscriber, addr) = world.subscriber("other", &[]);
    let args = ["peers", "--wait", "1", "--bootstrap", &addr];
    let listed = world.at("home", &args).output().unwrap();
    let (id, socket) = addr.split_once('@').unwrap();
    let out = stdout(&listed);
    assert!(out.starts_with(id) && out.trim().ends_with(socket), "{out}");
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(said.contains("did not look on local networks"), "{said}");
    assert_eq!(subscriber.interrupt().code(), Some(0));
}

#[test]
fn an_interrupted_publisher_keeps_what_it_stored() {
    let world = World::new();
    let (reader, addr) = world.subscriber("reader", &[]);
    let args = ["pub", &world.topic, "--bootstrap", &addr];
    let mut command = world.at("writer", &args);
    let mut writer = Running::start(command.stdin(Stdio::piped()));
    writer.type_line("before the signal");
    assert_eq!(reader.line(), "before the signal");
    writer.signal("-INT");
    assert_eq!(writer.child.wait().unwrap().code(), Some(130));
    assert_eq!(reader.interrupt().code(), Some(0));
}

#[test]
fn a_line_that_is_not_text_stops_after_those_before_it() {
    let world = World::new();
    let path = world.path("input");
    std::fs::write(&path, b"good\n\xff\xfe\nmore\n").unwrap();
    let mut command = world.at("home", &["pub", &world.topic, "-", "--wait", "0"]);
    let refused = command
        .stdin(std::fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("line 2 is not UTF-8"),
        "{}",
        stderr(&refused)
    );
    let args = ["sub", &world.topic, "--from", "start", "--count", "1"];
    assert_eq!(stdout(&world.at("home", &args).output().unwrap()), "good\n");
}

#[test]
fn the_demo_ends_with_a_table_and_leaves_nothing_behind() {
    let world = World::new();
    let file = world.path("lines.txt");
    let lines: String = (0..90).map(|line| format!("{line}: grüße\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let demo = world
        .panda(&["demo", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(demo.status.code(), Some(0), "{}", stderr(&demo));
    let out = stdout(&demo);
    for part in [
        "operations/s",
        "bytes on the wire",
        "C from B",
        "identical bytes: 90 operations",
    ] {
        assert!(out.contains(part), "{part} is missing in:\n{out}");
    }
    assert!(
        stderr(&demo).contains("the 60 unacked lines again"),
        "{}",
        stderr(&demo)
    );
    assert!(is_empty(&world.path("tmp")));
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let world = World::new();
    let demo = Running::start(&mut world.panda(&["demo"]));
    assert!(
        demo.err
            .recv_timeout(PATIENCE)
            .unwrap()
            .starts_with("A publishes")
    );
    assert_eq!(demo.interrupt().code(), Some(130));
    assert!(is_empty(&world.path("tmp")));
}

#[test]
fn the_first_interrupt_of_a_publisher_does_not_wait_for_a_peer() {
    let world = World::new();
    let args = ["pub", &world.topic, "--wait", "3600"];
    let mut command = world.at("home", &args);
    let mut writer = Running::start(command.stdin(Stdio::piped()));
    writer.type_line("stored");
    let stored = || {
        let database = rusqlite::Connection::open(world.path("home").join("p2panda.sqlite"));
        let count = "SELECT count(*) FROM operation";
        let rows = database.and_then(|it| it.query_row(count, [], |row| row.get::<_, u32>(0)));
        rows.unwrap_or(0)
    };
    let begun = Instant::now();
    while stored() == 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    writer.signal("-INT");
    // Far below the hour that it would wait.
    assert_eq!(writer.ended_in_time().code(), Some(130));
}

#[test]
fn input_is_one_message_with_f_and_lines_lose_the_line_feed() {
    let world = World::new();
    let mut whole = world.at("home", &["pub", &world.topic, "-f", "-", "--wait", "0"]);
    let published = run_with_input(&mut whole, "one\r\ntwo\n");
    assert_eq!(
        stdout(&published),
        "published 1 message; stored by 0 peers, sent to 0\n"
    );
    world.publish("home", "three\r\nfour\n", &["--wait", "0"]);
    let args = [
        "sub",
        &world.topic,
        "--from",
        "start",
        "--count",
        "3",
        "--json",
    ];
    let lines = stdout(&world.at("home", &args).output().unwrap());
    let texts: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|message| message["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["one\r\ntwo\n", "three\r", "four"]);
}

#[test]
fn a_message_above_the_limit_exits_with_the_code_of_a_limit() {
    let world = World::new();
    let large = world.path("large");
    let file = std::fs::File::create(&large).unwrap();
    let args = [
        "pub",
        &world.topic,
        "--wait",
        "0",
        "-f",
        large.to_str().unwrap(),
    ];
    // Above what is read, and above what the node takes.
    for bytes in [17 * 1024 * 1024, 16 * 1024 * 1024] {
        file.set_len(bytes).unwrap();
        let refused = world.at("home", &args).output().unwrap();
        assert_eq!(refused.status.code(), Some(7), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("split"), "{}", stderr(&refused));
    }
}
