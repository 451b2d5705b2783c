//! Commands by the node that runs and without one: the same output either way.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::daemons::{Daemon, TOKEN, open_to_alice};
use super::services::notes;
use super::world::*;

impl World {
    /// `panda` at a home, with the network in the environment, as no flag says it to a node that runs.
    pub(super) fn plain(&self, home: &str, args: &[&str]) -> Command {
        let mut command = Command::new(PANDA);
        command
            .args(args)
            .arg("--home")
            .arg(self.path(home))
            .env("PANDA_NETWORK_ID", &self.network)
            .env("PANDA_NETWORK_MDNS", "off")
            .env("PANDA_NETWORK_LISTEN", "127.0.0.1:0")
            .env("XDG_STATE_HOME", self.path("state"))
            // Not the keychain of the person who runs the tests.
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            // As from cron: another environment than that of the node.
            .env_remove("XDG_RUNTIME_DIR")
            .env("TMPDIR", self.path("tmp"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    fn server(&self, args: &[&str]) -> Output {
        self.plain("server", args).output().unwrap()
    }
}

/// Runs a command and returns its output, its exit code, and why it failed.
pub(super) fn did(world: &World, args: &[&str]) -> (String, Option<i32>, String) {
    let mut command = world.plain("server", args);
    let output = match args {
        ["pub", ..] | ["space", "publish", ..] => run_with_input(&mut command, "a line\n"),
        _ => command.output().unwrap(),
    };
    let failed = stderr(&output);
    let failed = failed.lines().filter(|line| line.starts_with("panda: "));
    (
        stdout(&output),
        output.status.code(),
        failed.collect::<Vec<_>>().join("\n"),
    )
}

#[test]
fn each_command_says_the_same_with_and_without_a_node() {
    let world = World::new();
    let topic = world.topic.as_str();
    let unknown = "7".repeat(64);
    let contact = format!("{unknown}@192.0.2.1:9");
    let changes: Vec<Vec<&str>> = vec![
        vec!["pub", topic, "--wait", "0"],
        vec!["pub", topic, "--wait", "0", "--json"],
        vec!["pub", topic, "--wait", "0"],
        vec!["sub", topic, "--from", "start", "--count", "2"],
        vec!["sync", topic, "--deadline", "0"],
        vec!["topic", "keep", &unknown],
        vec!["topic", "keep", topic, "--json"],
        vec!["consumer", "next", "one", "--topic", topic, "--count", "1"],
        vec!["consumer", "seek", "one", "start", "--json"],
        vec!["consumer", "next", "one", "--json", "--no-ack"],
        vec!["consumer", "ack", "one", topic, "1", "--json"],
        vec!["consumer", "pause", "one", "--json"],
        vec!["consumer", "resume", "one", "--json"],
        vec!["consumer", "dead", "redrive", "one", "--json"],
        vec!["consumer", "dead", "drop", "one", "--json"],
        vec!["consumer", "rm", "one", "--json"],
        vec!["consumer", "rm", "one"],
        vec!["consumer", "next", "two", "--topic", topic, "--count", "1"],
        vec!["consumer", "seek", "two", "now"],
        vec!["consumer", "next", "nobody"],
        vec!["consumer", "ack", "two", &unknown, "1"],
        vec!["view", "rm", "none"],
        vec!["view", "accept-loss", "none"],
        vec!["device", "revoke", &unknown],
    ];
    let reads: Vec<Vec<&str>> = vec![
        vec!["id"],
        vec!["id", "--json"],
        vec!["topic", "status"],
        vec!["topic", "status", "--json"],
        vec!["status", topic],
        vec!["topic", "ls"],
        vec!["topic", "ls", "--json"],
        vec!["topic", "keep"],
        vec!["topic", "invite", topic, "--contact", &contact],
        vec!["consumer", "ls"],
        vec!["consumer", "ls", "--json"],
        vec!["consumer", "info", "two"],
        vec!["consumer", "info", "two", "--json"],
        vec!["consumer", "info", "nobody"],
        vec!["consumer", "dead", "ls", "two"],
        vec!["view", "ls"],
        vec!["view", "info", "none"],
        vec!["peers", "--wait", "0"],
        vec!["trace", &unknown],
        vec!["device", "ls"],
        vec!["device", "ls", "--json"],
    ];
    // The same is stored both times: the changes again lead to where they led.
    let settle = |world: &World| {
        let all = world.server(&["sub", topic, "--from", "start", "--count", "3"]);
        assert_eq!(all.status.code(), Some(0), "{}", stderr(&all));
        let all = world.server(&["consumer", "seek", "two", "now"]);
        assert_eq!(all.status.code(), Some(0), "{}", stderr(&all));
    };
    let daemon = Daemon::start(&world, "");
    let changed: Vec<_> = changes.iter().map(|args| did(&world, args)).collect();
    settle(&world);
    let messages = world.server(&["sub", topic, "--from", "start", "--count", "3", "--json"]);
    let messages = stdout(&messages);
    let first: Value = serde_json::from_str(messages.lines().next().unwrap()).unwrap();
    let trace = ["trace", first["id"].as_str().unwrap(), "--json"];
    let read: Vec<_> = reads.iter().map(|args| did(&world, args)).collect();
    let traced = did(&world, &trace);
    daemon.running.signal("-TERM");
    assert_eq!(daemon.running.end().code(), Some(0));

    assert_eq!(did(&world, &trace), traced);
    assert_eq!(traced.1, Some(0), "{}", traced.2);
    for (args, by_node) in reads.iter().zip(read) {
        assert_eq!(did(&world, args), by_node, "{args:?}");
    }
    let again = world.server(&["sub", topic, "--from", "start", "--count", "3", "--json"]);
    assert_eq!(stdout(&again), messages);
    for (args, by_node) in changes.iter().zip(changed) {
        assert_eq!(did(&world, args), by_node, "{args:?}");
    }
}

#[test]
fn two_people_chat_one_through_a_running_node() {
    let world = World::new();
    let topic = world.topic.as_str();
    let daemon = Daemon::start(&world, "");
    let mut ann = world.plain("server", &["chat", topic]);
    let mut ann = Running::start(ann.stdin(Stdio::piped()));
    let addr = ann.addr();
    let mut bob = world.plain("bob", &["chat", topic, "--bootstrap", &addr]);
    let mut bob = Running::start(bob.stdin(Stdio::piped()));
    bob.type_line("hello Ann");
    assert!(ann.line().ends_with(": hello Ann"));
    ann.type_line("hello Bob");
    assert!(bob.line().ends_with(": hello Bob"));
    ann.type_line("bye");
    assert_eq!(ann.end().code(), Some(0));
    assert!(bob.line().ends_with(": bye"));
    assert_eq!(bob.interrupt().code(), Some(0));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_running_nodes_publications_reach_a_peer() {
    let world = World::new();
    let topic = world.topic.as_str();
    let daemon = Daemon::start(&world, "");
    let (reader, addr) = world.subscriber("reader", &[]);
    let mut publish = world.plain("server", &["pub", topic, "--bootstrap", &addr]);
    let published = run_with_input(&mut publish, "one\ntwo\n");
    assert_eq!(
        stdout(&published),
        "published 2 messages; stored by 1 peer, sent to 1\n",
        "{}",
        stderr(&published)
    );
    assert_eq!(published.status.code(), Some(0));
    assert_eq!(reader.lines(2), ["one", "two"]);
    for args in [&["sync"][..], &["sync", topic], &["join", topic]] {
        let synced = world.server(args);
        assert_eq!(
            stdout(&synced),
            format!("{topic} up to date with 1 peer\n"),
            "{}",
            stderr(&synced)
        );
        assert_eq!(synced.status.code(), Some(0));
    }
    let peers = stdout(&world.server(&["peers", "--wait", "0"]));
    let (id, _) = addr.split_once('@').unwrap();
    assert!(peers.starts_with(id) && peers.contains(" live "), "{peers}");
    let screen = stdout(&world.server(&["status"]));
    for part in [
        "node ",
        "reachable at ",
        "1 connected of 1 known",
        "nothing is behind",
        "2 operations",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    let lines = stdout(&world.server(&["status", "--json"]));
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["node"], daemon.ready["id"]);
    assert_eq!(lines[0]["health"], "ok");
    assert!(lines[0]["addresses"][0].is_string(), "{lines:?}");
    assert_eq!(lines[0]["peers"][0]["id"], id);
    assert_eq!(lines[0]["peers"][0]["connected"], true);
    assert_eq!(lines[1]["topic"], topic);
    assert!(lines[1]["kept"].is_boolean(), "{lines:?}");
    let mut events = world.plain("server", &["events", "--count", "1", "--json"]);
    let events = Running::start(&mut events);
    notes(&events, "what happens from now on");
    assert_eq!(reader.interrupt().code(), Some(0));
    let event: Value = serde_json::from_str(&events.line()).unwrap();
    assert!(event["event"].is_string(), "{event}");
    assert_eq!(events.end().code(), Some(0));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn sub_resumes_with_and_without_a_node_and_after_kill_9() {
    let world = World::new();
    let topic = world.topic.as_str();
    let publish = |lines: &str| {
        let mut command = world.plain("server", &["pub", topic, "--wait", "0"]);
        let published = run_with_input(&mut command, lines);
        assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    };
    let sub = |count: &str| {
        let read = world.server(&["sub", topic, "--count", count]);
        assert_eq!(read.status.code(), Some(0), "{}", stderr(&read));
        stdout(&read)
    };
    publish("1\n2\n3\n4\n5\n6\n");
    assert_eq!(sub("2"), "1\n2\n");
    let daemon = Daemon::start(&world, "");
    assert_eq!(sub("1"), "3\n");
    let reader = Running::start(&mut world.plain("server", &["sub", topic]));
    assert_eq!(reader.lines(3), ["4", "5", "6"]);
    publish("7\n");
    assert_eq!(reader.line(), "7");
    daemon.running.signal("-KILL");
    daemon.running.end();
    assert_eq!(reader.end().code(), Some(9), "the node is gone");

    let daemon = Daemon::start(&world, "");
    publish("8\n");
    // At least once: what was shown last may come again.
    let reader = Running::start(&mut world.plain("server", &["sub", topic]));
    let mut line = reader.line();
    while line != "8" {
        assert!(["4", "5", "6", "7"].contains(&line.as_str()), "{line}");
        line = reader.line();
    }
    assert_eq!(reader.interrupt().code(), Some(0));
    daemon.running.signal("-TERM");
    assert_eq!(daemon.running.end().code(), Some(0));
    publish("9\n");
    assert_eq!(sub("1"), "9\n");
}

#[test]
fn options_that_a_running_node_cannot_honour_are_errors() {
    let world = World::new();
    let topic = world.topic.as_str();
    let daemon = Daemon::start(&world, "");
    for flags in [
        &["--network", topic][..],
        &["--restored", "new-identity"],
        &["--listen", "127.0.0.1:0"],
        &["--no-mdns"],
        &["--operation-mib", "3"],
    ] {
        let refused = world.server(&[&["topic", "keep"], flags].concat());
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let flag = flags.first().unwrap();
        assert!(
            said.starts_with(&format!("panda: {flag} is for a node")),
            "{said}"
        );
        assert!(said.contains("stop that node"), "{said}");
    }
    // Without --home, which excludes it: the usual home is the one of the node.
    let mut temp = world.plain("server", &[]);
    temp = {
        let mut command = Command::new(PANDA);
        command.args(["chat", topic, "--temp"]);
        for (name, value) in temp.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    };
    temp.env("PANDA_NODE_HOME", world.path("server"))
        .stdin(Stdio::null());
    let refused = temp.output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--temp is for a node"));
    let refused = world.server(&["compact"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let refused = world.server(&["node", "run"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_locked_home_names_the_node_that_answers() {
    let world = World::new();
    let topic = world.topic.as_str();
    let (reader, _) = world.subscriber("server", &[]);
    let refused = world.server(&["pub", topic]);
    assert_eq!(refused.status.code(), Some(4));
    let said = stderr(&refused);
    assert!(said.contains("`panda node run`"), "{said}");
    assert_eq!(reader.interrupt().code(), Some(0));
}

#[test]
fn a_count_of_zero_ends_at_once() {
    let world = World::new();
    let topic = world.topic.as_str();
    let daemon = Daemon::start(&world, "");
    for home in ["server", "own"] {
        for args in [&["events"][..], &["sub", topic]] {
            let args = [args, &["--count", "0"]].concat();
            let mut none = Running::start(&mut world.plain(home, &args));
            assert!(none.ended_in_time().success(), "{args:?} at {home}");
        }
    }
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_node_of_another_version_is_one_line() {
    let world = World::new();
    let home = world.path("server");
    std::fs::create_dir(&home).unwrap();
    let path = world.path("other.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::write(home.join("rpc.path"), path.to_str().unwrap()).unwrap();
    let dir = std::fs::metadata(&home).unwrap();
    let of = format!("{} {}\n{}", dir.dev(), dir.ino(), home.display());
    std::fs::write(home.join("rpc.home"), of).unwrap();
    let answers = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let request: Value = serde_json::from_str(&line).unwrap();
        let data = json!({"code": "version", "hint": "update the older of the two"});
        let message = "the client speaks version 1 of the RPC, this node version 2";
        let error = json!({"code": -32020, "message": message, "data": data});
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
        writeln!(lines.get_mut(), "{answer}").unwrap();
    });
    let refused = world.server(&["id"]);
    answers.join().unwrap();
    assert_eq!(refused.status.code(), Some(21));
    let said = stderr(&refused);
    assert!(
        said.contains("version 2; update the older") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_message_larger_than_a_request_goes_through_the_node() {
    let world = World::new();
    let topic = world.topic.as_str();
    let large = world.path("large");
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&large, &content).unwrap();
    let daemon = Daemon::start(&world, "");
    let large = large.to_str().unwrap();
    let published = world.server(&["pub", topic, "-f", large, "-f", large, "--wait", "0"]);
    assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    assert!(stdout(&published).starts_with("published 2 messages"));
    let read = world.server(&["sub", topic, "--count", "2"]);
    let hex: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
    let read = stdout(&read);
    assert!(read.lines().count() == 2 && read.lines().all(|line| line == hex));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_node_is_reached_by_socket_and_url_with_any_home() {
    let world = World::new();
    let daemon = Daemon::start(&world, &open_to_alice(&world, "read+publish-as-node+admin"));
    let socket = daemon.socket();
    let url = daemon.ready["rpc"][0].as_str().unwrap().to_owned();
    let own = daemon.ready["id"].as_str().unwrap();
    for at in [socket.to_str().unwrap(), &url] {
        let mut id = world.plain("elsewhere", &["id", "--node", at]);
        let id = id.env("PANDA_TOKEN", TOKEN).output().unwrap();
        assert_eq!(stdout(&id).trim(), own, "{}", stderr(&id));
    }
    assert!(!world.path("elsewhere").exists());
    let mut publish = world.plain(
        "elsewhere",
        &["pub", &world.topic, "--wait", "0", "--node", &url],
    );
    publish.env("PANDA_TOKEN", TOKEN);
    let published = run_with_input(&mut publish, "from far\n");
    assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    let read = |args: &[&str]| {
        let mut sub = world.plain("elsewhere", &[&["sub", &world.topic], args].concat());
        stdout(&sub.env("PANDA_TOKEN", TOKEN).output().unwrap())
    };
    assert_eq!(read(&["--count", "1", "--node", &url]), "from far\n");
    for (args, token, code, says) in [
        (
            &["id", "--node", "/nowhere"][..],
            TOKEN,
            9,
            "start one with `panda node run`",
        ),
        (
            &["id", "--node", &url],
            "wrong",
            16,
            "a valid credential is missing",
        ),
        (
            &["node", "run", "--node", &url],
            TOKEN,
            2,
            "leave out --node",
        ),
    ] {
        let mut refused = world.plain("elsewhere", args);
        let refused = refused.env("PANDA_TOKEN", token).output().unwrap();
        assert_eq!(refused.status.code(), Some(code), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(says), "{}", stderr(&refused));
    }
    let mut add = world.plain("elsewhere", &["context", "add", "attic", &url]);
    let added = add.env("PANDA_TOKEN", TOKEN).status().unwrap();
    assert!(added.success());
    let ask = |args: &[&str]| world.plain("elsewhere", args).output().unwrap();
    let named = ask(&["id", "--node", "attic"]);
    assert_eq!(stdout(&named).trim(), own, "{}", stderr(&named));
    assert!(stdout(&ask(&["context", "ls"])).starts_with("  attic  http://"));
    assert_eq!(ask(&["id", "--node", "cellar"]).status.code(), Some(23));
    let refused = ask(&["id", "--node", &url]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("PANDA_TOKEN"));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}
