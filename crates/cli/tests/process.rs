//! The commands as processes that talk over loopback.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "process/deliver.rs"]
mod deliver;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[path = "process/copies.rs"]
mod copies;
#[path = "process/states.rs"]
mod states;

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long something may take that waits for nothing.
const PROMPTLY: Duration = Duration::from_secs(10);

/// A network, a topic and a place of its own for the processes of one test.
struct World {
    dir: TempDir,
    network: String,
    topic: String,
}

impl World {
    fn new() -> World {
        let random = || stdout(&Command::new(PANDA).args(["topic", "new"]).output().unwrap());
        let (network, topic) = (random().trim().to_owned(), random().trim().to_owned());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        World {
            dir,
            network,
            topic,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `panda` with the given arguments, on loopback and without multicast.
    fn panda(&self, args: &[&str]) -> Command {
        self.panda_listening("127.0.0.1:0", args)
    }

    /// The same at an address.
    fn panda_listening(&self, addr: &str, args: &[&str]) -> Command {
        let mut command = Command::new(PANDA);
        command
            .args(args)
            .args(["--no-mdns", "--listen", addr, "--network", &self.network])
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// The same in a home directory of the given name.
    fn at(&self, home: &str, args: &[&str]) -> Command {
        let mut command = self.panda(args);
        command.arg("--home").arg(self.path(home));
        command
    }

    /// Publishes lines and returns once the command has ended.
    fn publish(&self, home: &str, lines: &str, more: &[&str]) -> Output {
        let mut command = self.at(home, &[&["pub", &self.topic, "-"], more].concat());
        run_with_input(&mut command, lines)
    }

    /// A subscriber that runs, and the address that it says it is reachable at.
    fn subscriber(&self, home: &str, more: &[&str]) -> (Running, String) {
        let running = Running::start(&mut self.at(home, &[&["sub", &self.topic], more].concat()));
        let addr = running.addr();
        (running, addr)
    }
}

const PANDA: &str = env!("CARGO_BIN_EXE_panda");

/// A process whose output can be waited for.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Running {
            child,
            stdin,
            out,
            err,
        }
    }

    fn line(&self) -> String {
        self.out
            .recv_timeout(PATIENCE)
            .expect("a line on standard output")
    }

    fn lines(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    fn addr(&self) -> String {
        loop {
            let line = self
                .err
                .recv_timeout(PATIENCE)
                .expect("an address on standard error");
            if let Some(addr) = line.strip_prefix("reachable at ") {
                return addr.to_owned();
            }
        }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().unwrap()
    }

    fn interrupt(self) -> ExitStatus {
        self.signal("-INT");
        self.end()
    }
}

/// What a test does not end in order ends with it.
impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            if sender.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn run_with_input(command: &mut Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

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
fn what_nobody_was_sent_is_stored_and_goes_out_later() {
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
fn a_subscriber_goes_on_after_what_it_printed() {
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
fn a_restart_with_the_same_arguments_says_its_address_again_and_newcomers_get_there() {
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
        let started = Instant::now();
        let server = server();
        assert_eq!(server.addr(), addr);
        assert!(started.elapsed() < PROMPTLY);
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
fn a_closed_pipe_ends_a_subscriber_quietly_and_acks_nothing_unseen() {
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
fn a_home_in_use_is_one_line_that_names_the_two_ways_on() {
    let world = World::new();
    let (holder, _) = world.subscriber("home", &[]);
    let refused = world.at("home", &["id"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let line = stderr(&refused);
    assert_eq!(line.lines().count(), 1, "{line}");
    let pid = holder.child.id().to_string();
    for part in [pid.as_str(), "--home DIR", "--temp"] {
        assert!(line.contains(part), "{part} is missing in: {line}");
    }

    let args = ["pub", &world.topic, "--temp", "--wait", "0"];
    let beside = run_with_input(&mut world.panda(&args), "a line\n");
    assert_eq!(beside.status.code(), Some(3), "{}", stderr(&beside));
    assert_eq!(holder.interrupt().code(), Some(0));
}

#[test]
fn a_throw_away_identity_leaves_nothing_behind() {
    let world = World::new();
    let args = ["pub", &world.topic, "--temp", "--wait", "0"];
    let published = run_with_input(&mut world.panda(&args), "a line\n");
    assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    assert!(is_empty(&world.path("tmp")));
    assert!(!world.path("data").exists() && !world.path("state").exists());
}

#[test]
fn the_default_home_is_in_the_xdg_data_directory() {
    let world = World::new();
    let first = stdout(&world.panda(&["id"]).output().unwrap());
    assert_eq!(first.trim().len(), 64);
    assert!(world.path("data/panda").is_dir());
    assert_eq!(stdout(&world.panda(&["id"]).output().unwrap()), first);
    let addr = stdout(&world.panda(&["id", "--addr"]).output().unwrap());
    assert!(
        addr.starts_with(&format!("{}@127.0.0.1:", first.trim())),
        "{addr}"
    );
}

#[test]
fn a_home_that_others_may_enter_is_pointed_out_and_its_files_are_private_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let home = world.path("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();

    let told = stderr(&without_umask(&world.at("home", &["id"])));
    assert_eq!(told.lines().count(), 1, "{told}");
    let way_out = format!("chmod 700 {}", home.display());
    assert!(
        told.contains("other users") && told.contains(&way_out),
        "{told}"
    );
    let state = world.path("state/p2panda");
    let files = [&home, &state].map(|dir| std::fs::read_dir(dir).unwrap());
    for file in files.into_iter().flatten() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }

    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(stderr(&without_umask(&world.at("home", &["id"]))), "");
    assert_eq!(stderr(&without_umask(&world.at("new", &["id"]))), "");
    assert_eq!((mode(&world.path("new")), mode(&state)), (0o700, 0o700));
}

/// Runs a command with a umask that takes no mode bit away.
fn without_umask(command: &Command) -> Output {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
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
fn peers_lists_a_node_that_was_named() {
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
fn an_old_copy_of_a_home_refuses_to_publish_until_a_way_on_is_chosen() {
    let world = World::new();
    world.publish("home", "one\n", &["--wait", "0"]);
    let copy = |from: &str, to: &str| {
        let status = Command::new("cp")
            .arg("-r")
            .args([world.path(from), world.path(to)])
            .status();
        assert!(status.unwrap().success());
    };
    copy("home", "backup");
    world.publish("home", "two\n", &["--wait", "0"]);
    std::fs::remove_dir_all(world.path("home")).unwrap();
    copy("backup", "home");

    let refused = world.publish("home", "other two\n", &["--wait", "0"]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    let line = stderr(&refused);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("--restored pull-own-log") && line.contains("new-identity"),
        "{line}"
    );
    let more = ["--wait", "0", "--restored", "new-identity"];
    assert_eq!(
        world.publish("home", "other two\n", &more).status.code(),
        Some(3)
    );
}

#[test]
fn the_demo_ends_with_a_table_and_leaves_nothing_behind() {
    let world = World::new();
    let file = world.path("lines.txt");
    let lines: String = (0..90).map(|line| format!("{line}: grüße\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let started = Instant::now();
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
    assert!(started.elapsed() < PATIENCE);
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
fn compact_says_that_a_directory_without_a_database_is_no_home_and_leaves_it_as_it_is() {
    let world = World::new();
    for home in ["empty", "missing"] {
        if home == "empty" {
            std::fs::create_dir(world.path(home)).unwrap();
        }
        let output = world.at(home, &["compact"]).output().unwrap();
        assert_eq!(output.status.code(), Some(10), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("holds no database"), "{said}");
    }
    assert_eq!(std::fs::read_dir(world.path("empty")).unwrap().count(), 0);
    assert!(!world.path("missing").exists());
}

#[test]
fn compact_prints_both_sizes_and_is_refused_while_a_node_runs() {
    let world = World::new();
    world.publish("home", "one\ntwo\n", &["--wait", "0"]);
    let output = world.at("home", &["compact"]).output().unwrap();
    let line = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(
        line.contains("MiB before, ") && line.ends_with("MiB after\n"),
        "{line}"
    );
    let (running, _) = world.subscriber("home", &["--from", "start"]);
    let refused = world.at("home", &["compact"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("in use by") && text.contains("stop it first"),
        "{text}"
    );
    drop(running);
}

#[test]
fn a_subscriber_whose_home_is_removed_ends_with_the_reason_and_its_code() {
    let world = World::new();
    let (subscriber, addr) = world.subscriber("reader", &[]);
    let first = world.publish("writer", "one\n", &["--bootstrap", &addr]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert_eq!(subscriber.line(), "one");
    std::fs::remove_dir_all(world.path("reader")).unwrap();
    // What it is sent now it cannot keep, and nobody is told that it was reached.
    world.publish("writer", "two\n", &["--bootstrap", &addr, "--wait", "1"]);
    let said = subscriber
        .err
        .iter()
        .find(|line| line.starts_with("panda: "));
    let said = said.expect("the reason on standard error");
    assert!(said.contains("was removed"), "{said}");
    assert_eq!(subscriber.end().code(), Some(14));
}

#[test]
fn a_database_that_another_program_holds_is_waited_for_and_said() {
    let world = World::new();
    let (subscriber, addr) = world.subscriber("reader", &[]);
    let path = world.path("reader").join("p2panda.sqlite");
    let other = rusqlite::Connection::open(path).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writer = world.at("writer", &["chat", &world.topic, "--bootstrap", &addr]);
    let mut writer = Running::start(writer.stdin(Stdio::piped()));
    writer.type_line("through");
    let mut said = subscriber.err.iter();
    assert!(said.any(|line| line.starts_with("waiting: another process")));
    drop(other);
    assert_eq!(subscriber.line(), "through");
    assert!(said.any(|line| line == "stored; going on"));
    assert_eq!(subscriber.interrupt().code(), Some(0));
}

#[test]
fn a_lost_key_is_no_new_identity_unless_that_is_asked_for() {
    let world = World::new();
    let id = |more: &[&str]| {
        world
            .at("home", &[&["id"], more].concat())
            .output()
            .unwrap()
    };
    let first = stdout(&id(&[]));
    std::fs::remove_file(world.path("home").join("node.key")).unwrap();
    let refused = id(&[]);
    assert_eq!(refused.status.code(), Some(19));
    let said = stderr(&refused);
    assert!(
        said.contains("node.key") && said.contains("--restored new-identity"),
        "{said}"
    );
    let anew = id(&["--restored", "new-identity"]);
    assert_eq!(anew.status.code(), Some(0), "{}", stderr(&anew));
    assert_ne!(stdout(&anew), first);
    assert_eq!(stdout(&id(&[])), stdout(&anew));
}

#[test]
fn what_a_killed_throw_away_identity_left_is_swept_and_what_is_in_use_is_not() {
    let world = World::new();
    let tmp = world.path("tmp");
    let count = || std::fs::read_dir(&tmp).unwrap().count();
    let start = || {
        let running = Running::start(&mut world.panda(&["sub", &world.topic, "--temp"]));
        running.addr();
        running
    };
    let (mut killed, runs) = (start(), start());
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(count(), 2);
    let third = start();
    assert_eq!(count(), 2);
    assert_eq!(runs.interrupt().code(), Some(0));
    assert_eq!(third.interrupt().code(), Some(0));
    assert!(is_empty(&tmp));
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
    let signalled = Instant::now();
    writer.signal("-INT");
    assert_eq!(writer.child.wait().unwrap().code(), Some(130));
    assert!(signalled.elapsed() < PROMPTLY);
}

#[test]
fn standard_input_is_one_message_with_f_and_lines_keep_all_but_the_line_feed() {
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

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let world = World::new();
    let file = world.path("file");
    std::fs::write(&file, "").unwrap();
    let mut command = world.at("home", &["id"]);
    let refused = command.env("XDG_STATE_HOME", &file).output().unwrap();
    assert_eq!(refused.status.code(), Some(20), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("state directory") && said.contains("XDG_STATE_HOME"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}
