//! A node that answers programs and other commands while it runs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::services::notes;
use super::world::*;

pub(super) const TOKEN: &str = "0123456789abcdef-alice";

/// A node that runs, and what it said when it was ready.
pub(super) struct Daemon {
    pub(super) running: Running,
    pub(super) ready: Value,
}

impl Daemon {
    /// In the home `server`, with this configuration.
    pub(super) fn start(world: &World, config: &str) -> Daemon {
        let running = begin(world, config);
        let ready = serde_json::from_str(&running.line()).unwrap();
        Daemon { running, ready }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.ready["socket"].as_str().unwrap().into()
    }

    /// Address of a listener: the `rpc` or the `metrics`.
    fn addr(&self, of: &str) -> String {
        let url = self.ready[of][0].as_str().unwrap();
        let rest = url.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    /// A plain read, without a header.
    pub(super) fn get(&self, path: &str) -> String {
        get(&self.addr("rpc"), path, "")
    }

    /// A request by the Unix socket, and its result.
    pub(super) fn ask(&self, method: &str, params: &Value) -> Value {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(stream, "{request}").unwrap();
        let mut lines = std::io::BufReader::new(stream);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }
}

fn begin(world: &World, config: &str) -> Running {
    let file = world.path("panda.toml");
    std::fs::write(&file, config).unwrap();
    let config = file.to_str().unwrap();
    let args = ["node", "run", "--json", "--config", config];
    Running::start(&mut world.at("server", &args))
}

/// A request of HTTP and the whole answer, as `curl` does it.
fn get(addr: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Writes a configuration that gives Alice access, on free ports.
pub(super) fn open_to_alice(world: &World, scopes: &str) -> String {
    let tokens = world.path("tokens");
    std::fs::write(&tokens, format!("alice {scopes} {TOKEN}\n")).unwrap();
    std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
    let tokens = tokens.display();
    format!(
        "[rpc]\nlisten = [\"127.0.0.1:0\"]\nmetrics = [\"127.0.0.1:0\"]\n\
         [access]\ntokens = \"{tokens}\"\n"
    )
}

#[test]
fn a_second_node_on_a_home_names_the_one_that_runs() {
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let second = world.at("server", &["node", "run"]).output().unwrap();
    assert_eq!(second.status.code(), Some(4));
    let said = stderr(&second);
    let at = daemon.socket();
    let names = format!("a node runs already at {}", at.display());
    assert!(said.contains(&names), "{said}");
    // Of a topic that it serves and does not keep, status says so.
    run_with_input(
        &mut world.plain("server", &["pub", &world.topic, "--wait", "0"]),
        "a line\n",
    );
    let status = || stdout(&world.plain("server", &["status"]).output().unwrap());
    assert!(status().contains("1 topic is not kept"), "{}", status());
    let keep = ["topic", "keep", &world.topic];
    assert!(world.plain("server", &keep).status().unwrap().success());
    assert!(!status().contains("not kept"), "{}", status());
}

#[test]
fn a_node_with_an_empty_home_answers_until_sigterm() {
    let world = World::new();
    let daemon = Daemon::start(&world, &open_to_alice(&world, "read+publish-as-node"));
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(daemon.socket().starts_with(world.path("run")));
    let status = daemon.ask("node.status", &json!({}));
    assert_eq!(status["node"], daemon.ready["id"]);
    let keep = json!({"topic": world.topic, "keep": true});
    let alias = daemon.ask("topic.keep", &keep)["alias"].clone();
    let alias = alias.as_str().unwrap();

    let addr = daemon.addr("rpc");
    let url = format!("http://{addr}/rpc");
    let message = json!({"topic": alias, "message": {"content": {"text": "by curl"}}});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "publish", "params": message});
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let curl = std::process::Command::new("curl")
        .args([
            "-sS",
            "-H",
            &bearer,
            "-H",
            "Content-Type: application/json",
            "-d",
        ])
        .args([&request.to_string(), &url])
        .output();
    match curl {
        Ok(answer) => assert!(stdout(&answer).contains("\"seq\":0"), "{}", stdout(&answer)),
        // No curl is here: the same by the socket.
        Err(_) => drop(daemon.ask("publish", &message)),
    }
    let path = format!("/v1/topics/{alias}/messages?after=-1");
    let read = get(&addr, &path, &format!("{bearer}\r\n"));
    assert!(
        read.starts_with("HTTP/1.1 200") && read.contains("\"seq\":0"),
        "{read}"
    );
    let refused = get(&addr, &path, "");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(get(&addr, "/metrics", "").starts_with("HTTP/1.1 401"));
    let metrics = get(&daemon.addr("metrics"), "/metrics", "");
    assert!(metrics.contains("p2panda_rpc_requests_total"), "{metrics}");
    assert!(get(&daemon.addr("metrics"), "/readyz", "").ends_with("ready\n"));
    assert!(get(&daemon.addr("metrics"), "/rpc", "").starts_with("HTTP/1.1 404"));

    let socket = daemon.socket();
    daemon.running.signal("-TERM");
    assert_eq!(daemon.running.end().code(), Some(0));
    assert!(!socket.exists() && !world.path("server").join("rpc.path").exists());
    assert!(TcpStream::connect(&addr).is_err());
}

#[test]
fn after_kill_9_the_next_start_has_what_was_acknowledged() {
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let content = json!({"topic": world.topic, "message": {"content": {"text": "kept"}}});
    let published = daemon.ask("publish", &content);
    let socket = daemon.socket();
    daemon.running.signal("-KILL");
    daemon.running.end();
    assert!(socket.exists(), "nobody took it away");

    let again = Daemon::start(&world, "");
    assert_eq!(again.socket(), socket);
    let read = again.ask("messages.read", &json!({"topic": world.topic}));
    assert_eq!(read["messages"][0]["id"], published["id"]);
    again.ask("node.shutdown", &json!({}));
    assert_eq!(again.running.end().code(), Some(0));
}

#[test]
fn a_failed_start_is_one_line_with_a_code() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let tokens = world.path("tokens");
    std::fs::write(&tokens, "alice reed 0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
    let readable = world.path("readable");
    std::fs::write(&readable, "alice read 0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&readable, PermissionsExt::from_mode(0o644)).unwrap();
    let long = format!("/{}", "x".repeat(200));
    for (config, code, says) in [
        (
            format!("[rpc]\nlisten = [\"{port}\"]\n"),
            11,
            "choose another address",
        ),
        (
            format!("[access]\ntokens = \"{}\"\n", tokens.display()),
            2,
            "no scope reed",
        ),
        (
            format!("[access]\ntokens = \"{}\"\n", readable.display()),
            2,
            "chmod 600",
        ),
        (
            "[access]\ntokens = \"/nowhere\"\n".to_owned(),
            10,
            "cannot be read",
        ),
        (
            format!("[rpc]\nsocket = \"{long}\"\n"),
            10,
            "choose another address or path",
        ),
        (
            "[rpc]\nlisten = [\"192.0.2.1:1\"]\n".to_owned(),
            2,
            "rpc.public",
        ),
    ] {
        let refused = begin(&world, &config);
        notes(&refused, says);
        assert_eq!(refused.end().code(), Some(code), "{config}");
    }
    let file = world.path("panda.toml");
    std::fs::remove_file(&file).unwrap();
    let file = file.to_str().unwrap();
    let refused = world
        .at("server", &["node", "run", "--config", file])
        .output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(10));
    assert!(stderr(&refused).contains("name another file with --config"));
}

#[test]
fn sighup_reloads_access_and_a_wrong_file_changes_nothing() {
    let world = World::new();
    let daemon = Daemon::start(&world, &open_to_alice(&world, "read+publish-as-node"));
    let addr = daemon.addr("rpc");
    let status = |token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        let answer = get(&addr, "/metrics", &header);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(TOKEN), "200");
    let tokens = world.path("tokens");
    std::fs::write(&tokens, "alice\n").unwrap();
    daemon.running.signal("-HUP");
    notes(&daemon.running, "tokens:1: expected NAME SCOPES TOKEN");
    assert_eq!(status(TOKEN), "200");
    std::fs::write(&tokens, "bob read 0123456789abcdef-bob\n").unwrap();
    daemon.running.signal("-HUP");
    notes(&daemon.running, "configuration read");
    assert_eq!(status(TOKEN), "401");
    assert_eq!(status("0123456789abcdef-bob"), "200");
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}
