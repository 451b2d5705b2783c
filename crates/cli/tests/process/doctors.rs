//! Commands that examine a node: `panda doctor`, `panda top`, `panda node ui`; and a relay.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use super::daemons::{Daemon, open_to_alice};
use super::world::*;

/// The state of each check, and its line.
fn checks(output: &Output) -> Vec<(String, String, Value)> {
    let lines = stdout(output);
    let lines = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        (text("check"), text("state"), line.clone())
    });
    lines.collect()
}

fn state(output: &Output, check: &str) -> String {
    let all = checks(output);
    let found = all.iter().find(|(name, _, _)| name == check);
    found
        .unwrap_or_else(|| panic!("no {check}: {all:?}"))
        .1
        .clone()
}

#[test]
fn a_doctor_says_what_is_wrong_and_what_to_do() {
    let world = World::new();
    let doctor = || {
        world
            .plain("server", &["doctor", "--json"])
            .output()
            .unwrap()
    };
    let empty = doctor();
    assert_eq!(empty.status.code(), Some(0), "{}", stdout(&empty));
    assert_eq!(state(&empty, "database"), "ok");
    assert!(!world.path("server").exists(), "it changes nothing");

    let daemon = Daemon::start(&world, "");
    let well = doctor();
    assert_eq!(well.status.code(), Some(0), "{}", stdout(&well));
    for check in ["home", "key", "disk", "schema", "database", "node"] {
        assert_eq!(state(&well, check), "ok", "{check}");
    }
    assert_eq!(daemon.running.interrupt().code(), Some(0));

    let key = world.path("server").join("node.key");
    let mode = |mode| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    let open = doctor();
    assert_eq!(open.status.code(), Some(24));
    assert_eq!(state(&open, "key"), "bad");
    let plain = world.plain("server", &["doctor"]).output().unwrap();
    let line = format!("chmod 600 {}", key.display());
    assert!(stdout(&plain).contains(&line), "{}", stdout(&plain));
    mode(0o600);

    let database = world.path("server").join("p2panda.sqlite");
    let mut bytes = std::fs::read(&database).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0x5a);
    std::fs::write(&database, bytes).unwrap();
    let damaged = doctor();
    assert_eq!(damaged.status.code(), Some(24), "{}", stdout(&damaged));
    let bad = checks(&damaged);
    let bad = bad.iter().filter(|(_, state, _)| state == "bad");
    assert!(bad.count() > 0);

    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut ports = world.plain("other", &["doctor", "--json"]);
    let ports = ports.env("PANDA_NETWORK_LISTEN", &addr).output().unwrap();
    assert_eq!(
        (ports.status.code(), state(&ports, "ports").as_str()),
        (Some(24), "bad")
    );
}

#[test]
fn the_status_page_opens_with_a_ticket_that_is_good_once() {
    let world = World::new();
    let none = world.plain("server", &["node", "ui"]).output().unwrap();
    assert_eq!(none.status.code(), Some(9), "{}", stderr(&none));
    let daemon = Daemon::start(&world, "");
    let deaf = world.plain("server", &["node", "ui"]).output().unwrap();
    assert_eq!(deaf.status.code(), Some(2), "{}", stderr(&deaf));
    assert!(stderr(&deaf).contains("rpc.listen"), "{}", stderr(&deaf));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
    let daemon = Daemon::start(&world, &open_to_alice(&world, "read"));
    let ui = world.plain("server", &["node", "ui"]).output().unwrap();
    let (page, ticket) = {
        let url = stdout(&ui).trim().to_owned();
        let (page, ticket) = url.split_once("#ticket=").unwrap();
        (page.to_owned(), ticket.to_owned())
    };
    assert!(
        page.starts_with("http://127.0.0.1:") && page.ends_with("/ui"),
        "{page}"
    );
    let alias = daemon.ask(
        "topic.keep",
        &serde_json::json!({"topic": world.topic, "keep": true}),
    );
    let alias = alias["alias"].as_str().unwrap();
    let read = format!("/v1/topics/{alias}/messages?ticket={ticket}");
    assert!(daemon.get(&read).starts_with("HTTP/1.1 204"));
    assert!(daemon.get(&read).starts_with("HTTP/1.1 401"));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn top_prints_rates_of_the_running_node() {
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let mut publish = world.plain("server", &["pub", &world.topic, "--wait", "0"]);
    run_with_input(&mut publish, "one\ntwo\n");
    let top = ["top", "--json", "--count", "1", "--interval", "0"];
    let top = world.plain("server", &top).output().unwrap();
    assert_eq!(top.status.code(), Some(0), "{}", stderr(&top));
    let line: Value = serde_json::from_str(&stdout(&top)).unwrap();
    let rates = line["rates"].as_array().unwrap();
    let published = rates
        .iter()
        .find(|rate| rate["what"] == "published")
        .unwrap();
    assert_eq!(published["total"], 2.0);
    assert_eq!(line["health"], "ok");
    let blind = world.plain("server", &["top"]).output().unwrap();
    assert_eq!(blind.status.code(), Some(2), "{}", stderr(&blind));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_relay_keeps_and_takes_no_part() {
    let world = World::new();
    let topic = world.topic.as_str();
    let config = format!("[node]\nrole = \"relay\"\n[topics]\nkeep = [\"{topic}\"]\n");
    let daemon = Daemon::start(&world, &config);
    assert_eq!(daemon.ready["role"], "relay");
    let mut publish = world.plain("server", &["pub", topic, "--wait", "0"]);
    let refused = run_with_input(&mut publish, "mine\n");
    assert_eq!(refused.status.code(), Some(16), "{}", stderr(&refused));
    let refused = world
        .plain("server", &["space", "create"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(16), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("is a relay"),
        "{}",
        stderr(&refused)
    );
    let (id, addr) = (&daemon.ready["id"], &daemon.ready["addresses"][0]);
    assert!(id.is_string());
    let addr = addr.as_str().unwrap();
    let mut publish = world.plain("author", &["pub", topic, "--bootstrap", addr]);
    let published = run_with_input(&mut publish, "kept\n");
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    let mut sub = world.plain(
        "reader",
        &["sub", topic, "--count", "1", "--bootstrap", addr],
    );
    let read = sub.output().unwrap();
    assert_eq!(stdout(&read), "kept\n", "{}", stderr(&read));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_home_with_keys_of_spaces_is_no_relay() {
    let world = World::new();
    let create = ["space", "create", "crew"];
    let created = world.plain("server", &create).output().unwrap();
    assert_eq!(created.status.code(), Some(0), "{}", stderr(&created));
    let topic = world.topic.as_str();
    let config = |role: &str| {
        let text = format!("[node]\nrole = \"{role}\"\n[topics]\nkeep = [\"{topic}\"]\n");
        std::fs::write(world.path("panda.toml"), text).unwrap();
        let private = PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(world.path("panda.toml"), private).unwrap();
    };
    let file = world.path("panda.toml");
    let run = ["node", "run", "--config", file.to_str().unwrap()];
    config("relay");
    let refused = world.at("server", &run).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(said.contains("keys of spaces (1)"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // The same home works in another role.
    config("always-on");
    let node = Running::start(&mut world.at("server", &run));
    while !node.line().starts_with("ready;") {}
    assert_eq!(node.interrupt().code(), Some(0));
}

#[test]
fn a_command_that_answers_no_others_is_named() {
    let world = World::new();
    let (reader, _) = world.subscriber("server", &[]);
    let run = |args: &[&str]| world.at("server", args).output().unwrap();
    let doctor = run(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", stdout(&doctor));
    assert_eq!(state(&doctor, "node"), "warn");
    let says = stdout(&doctor);
    let pid = reader.child.id();
    assert!(
        says.contains(&format!("panda (process {pid}) uses the home")),
        "{says}"
    );
    for args in [
        &["top", "--json"][..],
        &["node", "ui"],
        &["node", "invites"],
    ] {
        let refused = run(args);
        assert_eq!(refused.status.code(), Some(4), "{args:?}");
        let said = stderr(&refused);
        assert!(
            said.contains(&format!("in use by panda (process {pid})")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let status = run(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    let said = format!("panda (process {pid}) uses this home and answers no commands");
    assert!(stderr(&status).contains(&said), "{}", stderr(&status));
    assert_eq!(reader.interrupt().code(), Some(0));
    let status = run(&["status"]);
    let said = stderr(&status);
    assert!(
        said.contains("no node runs, `panda node run` starts one"),
        "{said}"
    );
    let free = run(&["node", "ui"]);
    assert_eq!(free.status.code(), Some(9), "{}", stderr(&free));
}
