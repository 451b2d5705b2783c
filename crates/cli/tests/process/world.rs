//! A place of its own for the processes of one test, and processes whose output can be waited for.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;

/// Time limit for something that must happen, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A network, a topic and a place of its own for the processes of one test.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) network: String,
    pub(super) topic: String,
}

impl World {
    pub(super) fn new() -> World {
        let random = || stdout(&Command::new(PANDA).args(["topic", "new"]).output().unwrap());
        let (network, topic) = (random().trim().to_owned(), random().trim().to_owned());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        World {
            dir,
            network,
            topic,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `panda` with the given arguments, on loopback and without multicast.
    pub(super) fn panda(&self, args: &[&str]) -> Command {
        self.panda_listening("127.0.0.1:0", args)
    }

    /// The same at an address.
    pub(super) fn panda_listening(&self, addr: &str, args: &[&str]) -> Command {
        let mut command = Command::new(PANDA);
        command
            .args(args)
            .args(["--no-mdns", "--listen", addr, "--network", &self.network])
            .env("XDG_STATE_HOME", self.path("state"))
            // Not the keychain of the person who runs the tests.
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// The same in a home directory of the given name.
    pub(super) fn at(&self, home: &str, args: &[&str]) -> Command {
        let mut command = self.panda(args);
        command.arg("--home").arg(self.path(home));
        command
    }

    /// Publishes lines and returns once the command has ended.
    pub(super) fn publish(&self, home: &str, lines: &str, more: &[&str]) -> Output {
        let mut command = self.at(home, &[&["pub", &self.topic, "-"], more].concat());
        run_with_input(&mut command, lines)
    }

    /// A subscriber that runs, and the address that it says it is reachable at.
    pub(super) fn subscriber(&self, home: &str, more: &[&str]) -> (Running, String) {
        let running = Running::start(&mut self.at(home, &[&["sub", &self.topic], more].concat()));
        let addr = running.addr();
        (running, addr)
    }
}

pub(super) const PANDA: &str = env!("CARGO_BIN_EXE_panda");

/// A process whose output can be waited for.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) out: Receiver<String>,
    pub(super) err: Receiver<String>,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> Running {
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

    pub(super) fn line(&self) -> String {
        self.out
            .recv_timeout(PATIENCE)
            .expect("a line on standard output")
    }

    pub(super) fn lines(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    pub(super) fn addr(&self) -> String {
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

    pub(super) fn type_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the exit status after the process has closed its output: a process that waits for
    /// something fails here.
    pub(super) fn ended_in_time(&mut self) -> ExitStatus {
        while let Ok(_line) = self.out.recv_timeout(PATIENCE) {}
        let closed = self.out.recv_timeout(Duration::ZERO);
        assert_eq!(closed, Err(RecvTimeoutError::Disconnected));
        self.child.wait().unwrap()
    }

    pub(super) fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().unwrap()
    }

    pub(super) fn interrupt(self) -> ExitStatus {
        self.signal("-INT");
        self.end()
    }
}

/// Ends the processes that a test does not end cleanly.
impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
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

pub(super) fn run_with_input(command: &mut Command, input: &str) -> Output {
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

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(super) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}
