//! `panda demo`: three durable nodes, one of them off, one of them killed.

mod capture;
mod child;
mod encrypted;
mod line;
mod table;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_lite::future::try_zip;
use p2panda::Topic;
use p2panda_rpc::wire::{AckMode, Digest};
use thiserror::Error;

use crate::args::DemoArgs;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use crate::progress::Progress;
use child::{Child, Start};
use line::{Lines, Received};
use table::Row;

/// Time for which a node may bring nothing new before the demo gives up.
const STALLED: Duration = Duration::from_secs(60);

/// Publish requests that wait for their replies at the same time.
const IN_FLIGHT: usize = 256;

/// Reason why the demo failed. Nothing of it stays behind.
#[derive(Debug, Error)]
pub enum DemoError {
    #[error("{} holds no line; give a file with text", .0.display())]
    Empty(PathBuf),
    #[error("{} is not UTF-8 text; give a file with lines of text", .0.display())]
    NotText(PathBuf),
    #[error("no temporary directory: {0}; point TMPDIR to one that can be written")]
    Directory(#[source] std::io::Error),
    #[error("node {node} cannot be started: {source}; check the limits for processes")]
    Start { node: char, source: std::io::Error },
    #[error("node {node} ended too early; look into it with RUST_LOG=p2panda=debug panda demo")]
    Ended { node: char },
    #[error("node {node} refused: {message}; look into it with RUST_LOG=p2panda=debug panda demo")]
    Refused { node: char, message: String },
    #[error("node {node} got {got} of {all} lines and then nothing for {} s; check whether \
        a firewall blocks UDP on 127.0.0.1", STALLED.as_secs())]
    Stalled { node: char, got: usize, all: usize },
    #[error("node {node} got a line that was not published; please report this")]
    WrongLine { node: char },
    #[error("node {node} kept back an unacked line after the restart; please report this")]
    Unacked { node: char },
    #[error("the three nodes do not hold identical bytes; please report this")]
    Differ,
    #[error("{name} waited {} s until {what}; check whether a firewall blocks UDP on 127.0.0.1",
        STALLED.as_secs())]
    Waited {
        name: &'static str,
        what: &'static str,
    },
    #[error("the node of {name} is not running; please report this")]
    Stopped { name: &'static str },
    #[error("{name} has read what it may not, or not all that it may; please report this")]
    Reads { name: &'static str },
    #[error("the files of {name} hold what it may not read; please report this")]
    Leaks { name: &'static str },
    #[error("what crossed the network holds something in clear; please report this")]
    Crosses,
    #[error("{name} holds something of the space that names a node id; please report this")]
    NodeId { name: &'static str },
    #[error("the search misses in the files of {name} what they hold; please report this")]
    Blind { name: &'static str },
}

impl DemoError {
    /// The documented exit code (`docs/guide/cli.md`).
    pub fn exit_code(&self) -> u8 {
        match self {
            DemoError::Empty(_) | DemoError::NotText(_) => 2,
            DemoError::Directory(_) | DemoError::Start { .. } => 10,
            DemoError::Stalled { .. } | DemoError::Waited { .. } => 11,
            _ => 1,
        }
    }
}

/// Runs the demo until it is done, fails or a signal comes.
pub async fn run(args: DemoArgs) -> Result<Outcome, Failure> {
    if args.encrypted {
        return encrypted::run(args.own_keys).await;
    }
    let mut interrupt = Interrupt::new()?;
    let lines = Lines::read(args.file.as_deref())?;
    let dir = tempfile::tempdir().map_err(DemoError::Directory)?;
    let demo = Demo {
        dir: dir.path(),
        lines: &lines,
        topic: p2panda::random_topic()?,
    };
    let report = tokio::select! {
        report = demo.play() => report?,
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    };
    let _ = output::line(&report).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// One node of the demo: the hidden command that its processes run.
pub async fn node() -> Result<Outcome, Failure> {
    p2panda_rpc::lines::serve(tokio::io::stdin(), tokio::io::stdout())
        .await
        .map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// State that the acts of the demo share.
struct Demo<'a> {
    dir: &'a Path,
    lines: &'a Lines,
    topic: Topic,
}

impl Demo<'_> {
    /// All acts in their order; ends with the table.
    async fn play(&self) -> Result<String, DemoError> {
        let mut a = self.start('A', Start::default()).await?;
        let mut b = self.start('B', Start::near(&a)).await?;
        let mut rows = self.publish(&mut a, &mut b).await?;
        a.shutdown().await?;
        note("A stops");

        let (b, c, row) = self.catch_up(b).await?;
        rows.push(row);
        let a = self.start('A', Start::default()).await?;
        note("A starts again; the three nodes compare what they hold");
        let digest = self.compare(&mut [a, b, c]).await?;
        Ok(table::print(&rows, &digest))
    }

    async fn start(&self, name: char, start: Start<'_>) -> Result<Child, DemoError> {
        let mut child = Child::spawn(name, &self.dir.join(name.to_string()))?;
        child.open(start).await?;
        Ok(child)
    }

    /// A publishes while B listens and C is off. B acks the first third only.
    async fn publish(&self, a: &mut Child, b: &mut Child) -> Result<Vec<Row>, DemoError> {
        let all = self.lines.len();
        note(&format!("A publishes {all} lines to B; C is off"));
        a.subscribe(self.topic, AckMode::Auto).await?;
        b.subscribe(self.topic, AckMode::Explicit).await?;
        let started = Instant::now();
        let mut at_b = Received::new(self.lines);
        let (publishing, receiving) = try_zip(
            self.publish_lines(a, started),
            self.receive(b, &mut at_b, all, self.third()),
        )
        .await?;
        // A's application gets its own lines, too.
        self.receive(a, &mut Received::new(self.lines), all, 0)
            .await?;
        let (wire_a, wire_b) = (a.wire_bytes().await?, b.wire_bytes().await?);
        let stored = a.digest(self.topic).await?;
        let idle = Row::new("A publishes", &stored, publishing, None);
        let from_a = Row::new("B from A", &stored, receiving, Some(wire_a.max(wire_b)));
        Ok(vec![idle, from_a])
    }

    async fn publish_lines(&self, a: &mut Child, started: Instant) -> Result<Duration, DemoError> {
        let mut replies = std::collections::VecDeque::new();
        for line in self.lines.iter() {
            if replies.len() == IN_FLIGHT
                && let Some(reply) = replies.pop_front()
            {
                a.reply(reply).await?;
            }
            replies.push_back(a.publish(self.topic, line).await?);
        }
        for reply in replies {
            a.reply(reply).await?;
        }
        Ok(started.elapsed())
    }

    /// Receives until `goal` lines are there and acks the first `ack` of them.
    async fn receive(
        &self,
        child: &mut Child,
        received: &mut Received<'_>,
        goal: usize,
        ack: usize,
    ) -> Result<Duration, DemoError> {
        let started = Instant::now();
        let progress = Progress::new("lines", Some(goal as u64));
        let mut acks = Vec::new();
        while received.count() < goal {
            let next = tokio::time::timeout(STALLED, child.message()).await;
            let message = next.map_err(|_| DemoError::Stalled {
                node: child.name(),
                got: received.count(),
                all: goal,
            })??;
            if !received.take(message.seq, &message.text) {
                return Err(DemoError::WrongLine { node: child.name() });
            }
            if acks.len() < ack {
                acks.push(child.ack(self.topic, message.offset).await?);
            }
            progress.set(received.count() as u64);
        }
        let elapsed = started.elapsed();
        for reply in acks {
            child.reply(reply).await?;
        }
        Ok(elapsed)
    }

    /// C catches up from B, which is killed after a third and comes back.
    async fn catch_up(&self, b: Child) -> Result<(Child, Child, Row), DemoError> {
        let (all, third) = (self.lines.len(), self.third());
        note("C starts and catches up from B alone");
        let started = Instant::now();
        let mut c = self.start('C', Start::near(&b)).await?;
        c.subscribe(self.topic, AckMode::Auto).await?;
        let mut at_c = Received::new(self.lines);
        self.receive(&mut c, &mut at_c, third, 0).await?;

        let addr = b.kill().await?;
        let stored = c.operations(self.topic).await?;
        note(&format!(
            "B is killed: its application had acked {third} lines, C had stored {stored}"
        ));
        let mut b = self.start('B', Start::again(addr)).await?;
        b.subscribe(self.topic, AckMode::Explicit).await?;
        let mut again = Received::new(self.lines);
        let (_, _) = try_zip(
            self.receive(&mut b, &mut again, all - third, all),
            self.receive(&mut c, &mut at_c, all, 0),
        )
        .await?;
        let elapsed = started.elapsed();
        if !again.has_from(third) {
            return Err(DemoError::Unacked { node: b.name() });
        }
        note(&format!(
            "B is back: its application got the {} unacked lines again; C has all {all}",
            again.count()
        ));
        let wire = c.wire_bytes().await?;
        let row = Row::new(
            "C from B",
            &c.digest(self.topic).await?,
            elapsed,
            Some(wire),
        );
        Ok((b, c, row))
    }

    /// Returns what all three hold, if it is the same and complete.
    async fn compare(&self, children: &mut [Child]) -> Result<Digest, DemoError> {
        let mut digests = Vec::new();
        for child in children.iter_mut() {
            digests.push(child.digest(self.topic).await?);
        }
        for child in children.iter_mut() {
            child.shutdown().await?;
        }
        match digests.first() {
            Some(first)
                if first.operations == self.lines.len() as u64
                    && digests.iter().all(|digest| digest == first) =>
            {
                Ok(*first)
            }
            _ => Err(DemoError::Differ),
        }
    }

    /// A third of the lines, at least one.
    fn third(&self) -> usize {
        (self.lines.len() / 3).max(1)
    }
}
