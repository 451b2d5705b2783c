//! The process, spoken to as `interop` does it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Time limit for something that must happen, on a busy machine.
const PATIENCE_MS: u64 = 60_000;

struct Driver {
    process: Child,
    requests: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    events: Vec<Value>,
}

impl Driver {
    fn start() -> Driver {
        let mut process = Command::new(env!("CARGO_BIN_EXE_p2panda-driver"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Driver {
            requests: process.stdin.take(),
            lines: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            next_id: 0,
            events: Vec::new(),
        }
    }

    fn open(request: Value) -> (Driver, Value) {
        let mut driver = Driver::start();
        let opened = driver.ok("open", request);
        (driver, opened)
    }

    /// Sends a request and reads up to its reply; events on the way are kept.
    fn call(&mut self, op: &str, mut request: Value) -> Value {
        self.next_id += 1;
        request["id"] = self.next_id.into();
        request["op"] = op.into();
        writeln!(self.requests.as_ref().unwrap(), "{request}").unwrap();
        loop {
            let line = self.read();
            if line["id"] == self.next_id {
                return line;
            }
            self.events.push(line);
        }
    }

    fn ok(&mut self, op: &str, request: Value) -> Value {
        let reply = self.call(op, request);
        assert!(reply["error"].is_null(), "{op}: {reply}");
        reply["ok"].clone()
    }

    fn error(&mut self, op: &str, request: Value) -> String {
        let reply = self.call(op, request);
        reply["error"]["kind"]
            .as_str()
            .unwrap_or_else(|| panic!("{op}: {reply}"))
            .to_owned()
    }

    fn event(&mut self, kind: &str) -> Value {
        if let Some(found) = self.events.iter().position(|event| event["event"] == kind) {
            return self.events.remove(found);
        }
        loop {
            let line = self.read();
            if line["event"] == kind {
                return line;
            }
            self.events.push(line);
        }
    }

    fn read(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("a line").unwrap()).unwrap()
    }

    fn shutdown(mut self) {
        self.ok("shutdown", json!({}));
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn random() -> String {
    p2panda::random_topic().unwrap().to_string()
}

#[test]
fn two_processes_exchange_operations_byte_for_byte() {
    let (network, topic) = (random(), random());
    let (mut a, opened) = Driver::open(json!({ "network": network }));
    let near = json!([{ "node": opened["node"], "addr": opened["addrs"][0] }]);
    let (mut b, _) = Driver::open(json!({ "network": network, "bootstrap": near }));
    a.ok("subscribe", json!({ "topic": topic, "deliver": "count" }));
    b.ok("subscribe", json!({ "topic": topic }));

    let first = a.ok("publish", json!({ "topic": topic, "text": "hi" }));
    let more = a.ok(
        "publish",
        json!({ "topic": topic, "size": 100, "count": 2_500 }),
    );
    assert_eq!(
        (first["seq"].as_u64(), more["last_seq"].as_u64()),
        (Some(0), Some(2_500))
    );
    for driver in [&mut a, &mut b] {
        let wait = json!({ "topic": topic, "received": 2_501, "operations": 2_501,
            "timeout_ms": PATIENCE_MS });
        driver.ok("wait", wait);
    }
    let message = b.event("message");
    assert_eq!(
        (message["seq"].as_u64(), message["body"].as_str()),
        (Some(0), Some("626869"))
    );
    assert_eq!(message["id"], first["id"]);

    let (at_a, at_b) = (json!({ "topic": topic }), json!({ "topic": topic }));
    assert_eq!(a.ok("digest", at_a.clone()), b.ok("digest", at_b.clone()));
    let dump = a.ok("dump", at_a.clone());
    assert_eq!(dump["operations"].as_array().unwrap().len(), 2_501);
    assert_eq!(dump, b.ok("dump", at_b));
    assert_eq!(dump["operations"][0]["header"], message["header"]);
    assert!(
        b.ok("counters", json!({}))["received_bytes"]
            .as_u64()
            .unwrap()
            > 250_000
    );
    assert_eq!(b.ok("peers", json!({}))["peers"][0]["node"], opened["node"]);

    let status = b.ok("status", at_a);
    assert_eq!(
        (status["operations"].as_u64(), status["logs"].as_u64()),
        (Some(2_501), Some(1))
    );
    a.shutdown();
    b.shutdown();
}

#[test]
fn a_dump_can_be_imported_and_tells_duplicates() {
    let topic = random();
    let (mut a, _) = Driver::open(json!({}));
    a.ok("subscribe", json!({ "topic": topic }));
    for text in ["one", "two"] {
        a.ok("publish", json!({ "topic": topic, "text": text }));
    }
    let operations = a.ok("dump", json!({ "topic": topic }))["operations"].clone();
    let (mut b, _) = Driver::open(json!({}));
    b.ok("subscribe", json!({ "topic": topic, "deliver": "text" }));
    let import = json!({ "topic": topic, "operations": operations });
    assert_eq!(b.ok("import", import.clone())["stored"], 2);
    assert_eq!(b.ok("import", import.clone())["duplicates"], 2);
    assert_eq!(b.event("message")["text"], "one");
    let other = json!({ "topic": random(), "operations": operations });
    assert_eq!(b.ok("import", other)["rejected"], 2);
}

#[test]
fn a_member_of_a_space_reads_what_its_owner_publishes() {
    let (network, topic) = (random(), random());
    let (mut owner, opened) = Driver::open(json!({ "network": network }));
    let near = json!([{ "node": opened["node"], "addr": opened["addrs"][0] }]);
    let (mut member, of_member) = Driver::open(json!({ "network": network, "bootstrap": near }));
    let add = json!({ "topic": topic, "member": of_member["node"] });
    assert_eq!(owner.error("space_add", add.clone()), "Request");
    owner.ok("space_create", json!({ "topic": topic }));
    member.ok("space_follow", json!({ "topic": topic }));
    owner.ok("space_add", add);
    let wait = json!({ "topic": topic, "members": 2, "timeout_ms": PATIENCE_MS });
    owner.ok("space_wait", wait.clone());
    member.ok("space_wait", wait);
    let wait = json!({ "topic": topic, "members": 3, "timeout_ms": 1 });
    assert_eq!(owner.error("space_wait", wait), "Timeout");
    for driver in [&mut owner, &mut member] {
        driver.ok("subscribe", json!({ "topic": topic, "from": "start" }));
    }
    let published = owner.ok("publish", json!({ "topic": topic, "text": "hi" }));
    let mut message = member.event("message");
    while message["id"] != published["id"] {
        message = member.event("message");
    }
    assert_eq!(message["body"].as_str(), Some("626869"));
    let operations = owner.ok("dump", json!({ "topic": topic }))["operations"].clone();
    let bodies = operations.as_array().unwrap().iter();
    let mut bodies = bodies.map(|operation| operation["body"].as_str().unwrap_or_default());
    assert!(bodies.all(|body| body != "626869"), "it is sealed");
    owner.shutdown();
    member.shutdown();
}

#[test]
fn a_killed_process_gets_again_what_it_had_not_acked() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), random());
    let open = json!({ "dir": dir.path().join("home"), "state_dir": dir.path().join("state") });
    let subscribe = json!({ "topic": topic, "ack": "explicit", "deliver": "text" });
    let (mut driver, first) = Driver::open(open.clone());
    driver.ok("subscribe", subscribe.clone());
    for text in ["one", "two", "three"] {
        driver.ok("publish", json!({ "topic": topic, "text": text }));
    }
    driver.ok(
        "wait",
        json!({ "topic": topic, "received": 3, "timeout_ms": PATIENCE_MS }),
    );
    let offset = driver.event("message")["offset"].clone();
    driver.ok("ack", json!({ "topic": topic, "offset": offset }));
    assert_eq!(
        driver.error("ack", json!({ "topic": topic, "offset": offset })),
        "Request"
    );
    drop(driver);

    let (mut driver, again) = Driver::open(open);
    assert_eq!(again["node"], first["node"]);
    driver.ok("subscribe", subscribe);
    assert_eq!(driver.event("message")["text"], "two");
    assert_eq!(driver.event("message")["text"], "three");
    driver.shutdown();
}

#[test]
fn ephemeral_messages_come_as_events() {
    let (network, topic) = (random(), random());
    let (mut a, opened) = Driver::open(json!({ "network": network }));
    let near = json!([{ "node": opened["node"], "addr": opened["addrs"][0] }]);
    let (mut b, _) = Driver::open(json!({ "network": network, "bootstrap": near }));
    for driver in [&mut a, &mut b] {
        driver.ok("ephemeral", json!({ "topic": topic }));
    }
    // Nothing says when the overlay is joined, and what is sent before is lost by design.
    let (stop, stopped) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        while stopped
            .recv_timeout(std::time::Duration::from_millis(200))
            .is_err()
        {
            a.ok("ephemeral_publish", json!({ "topic": topic, "text": "hi" }));
        }
    });
    let event = b.event("ephemeral");
    stop.send(()).unwrap();
    sender.join().unwrap();
    assert_eq!(
        (&event["author"], event["body"].as_str()),
        (&opened["node"], Some("626869"))
    );
}

#[test]
fn mistakes_are_replies_and_the_process_goes_on() {
    let topic = random();
    let mut driver = Driver::start();
    assert_eq!(
        driver.error("subscribe", json!({ "topic": topic })),
        "Closed"
    );
    writeln!(driver.requests.as_ref().unwrap(), "this is no JSON").unwrap();
    assert_eq!(driver.read()["error"]["kind"], "Request");
    driver.ok("open", json!({}));
    assert_eq!(driver.error("open", json!({})), "Request");
    assert_eq!(
        driver.error("publish", json!({ "topic": topic, "text": "x" })),
        "Closed"
    );
    driver.ok("subscribe", json!({ "topic": topic }));
    assert_eq!(
        driver.error("publish", json!({ "topic": topic })),
        "Request"
    );
    assert_eq!(
        driver.error("publish", json!({ "topic": topic, "body": "ff" })),
        "Request"
    );
    assert_eq!(
        driver.error("publish", json!({ "topic": topic, "size": 17_000_000 })),
        "Limit"
    );
    let wait = json!({ "topic": topic, "received": 1, "timeout_ms": 1 });
    assert_eq!(driver.error("wait", wait), "Timeout");
    driver.shutdown();
}

#[test]
fn the_end_of_the_input_shuts_the_process_down_cleanly() {
    let (mut driver, _) = Driver::open(json!({}));
    drop(driver.requests.take());
    assert!(driver.process.wait().unwrap().success());
}
