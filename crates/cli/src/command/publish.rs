//! `panda pub`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_lite::future::poll_once;
use p2panda::{Body, Node, Publisher, Raw, Receipt, Topic};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::args::{NodeArgs, PubArgs};
use crate::failure::{Failure, Outcome};
use crate::input::{self, Lines, MESSAGE_BYTES_MAX};
use crate::interrupt::Interrupt;
use crate::open::{until_forked, until_stopped};
use crate::output::{self, note};
use crate::progress::Progress;

/// Messages that are read ahead and published together, so that they share one commit.
const AHEAD: usize = 1_000;

/// Bytes that are read ahead: room for the largest message.
const AHEAD_BYTES: usize = 2 * MESSAGE_BYTES_MAX;

/// A message that was read, or why reading ended. It holds its share of [`AHEAD_BYTES`] until it
/// is published.
struct Input {
    body: Result<Body, Failure>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Publishes everything, waits for a peer and says how many were reached.
pub async fn run(args: &NodeArgs, publish: PubArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, publish.temp).await?;
    let work = publish_all(&node, &publish, &mut interrupt);
    let work = until_forked(&node, publish.topic, work);
    let published = until_stopped(&node, work).await;
    interrupt.finish(node.shutdown()).await?;
    published
}

/// What was published and how far it got.
#[derive(Serialize)]
struct Published {
    published: u64,
    /// Connected peers that hold or were sent all of it.
    peers: usize,
    #[serde(skip)]
    interrupted: bool,
}

async fn publish_all(
    node: &Node,
    publish: &PubArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let (publisher, _messages) = node.stream(publish.topic).await?;
    let (sender, inputs) = mpsc::channel(AHEAD);
    tokio::spawn(read(publish.file.clone(), sender));
    let (mut published, last) = store(&publisher, inputs, interrupt).await?;
    if let Some(last) = &last {
        published.peers = match published.interrupted {
            // Whoever interrupts does not want to wait.
            true => last.sent(),
            false => wait_for_peer(node, last, publish, interrupt).await?,
        };
    }
    let outcome = match &published {
        Published {
            interrupted: true, ..
        } => Outcome::Interrupted,
        Published {
            published: 1..,
            peers: 0,
            ..
        } => Outcome::StoredOnly,
        _ => Outcome::Done,
    };
    print(&published, publish.json).map_err(Failure::Stdout)?;
    if outcome == Outcome::StoredOnly {
        note(
            "stored here and sent to nobody yet: keep `panda sub` running with this topic, or \
            name a peer with --bootstrap ID@ADDR",
        );
    }
    Ok(outcome)
}

/// Reads the messages from the files, or from standard input, until the receiver is gone.
async fn read(files: Vec<PathBuf>, sender: mpsc::Sender<Input>) {
    let room = Arc::new(Semaphore::new(AHEAD_BYTES));
    for path in &files {
        let body = || {
            tokio::task::block_in_place(|| match path.as_os_str() == "-" {
                true => input::stdin(),
                false => input::file(path),
            })
        };
        if !send(&sender, &room, file_bytes(path), body).await {
            return;
        }
    }
    if files.is_empty() {
        let mut lines = Lines::new(tokio::io::stdin());
        while let Some(line) = lines.next().await {
            let bytes = line.as_ref().map_or(0, String::len);
            if !send(&sender, &room, bytes, || line.map(Body::from)).await {
                return;
            }
        }
    }
}

/// How much of a file will be read, at most.
fn file_bytes(path: &Path) -> usize {
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() => file.len().min(MESSAGE_BYTES_MAX as u64) as usize,
        _ => MESSAGE_BYTES_MAX,
    }
}

/// Sends a message once there is room for it; `false` when nobody takes it any more.
async fn send(
    sender: &mpsc::Sender<Input>,
    room: &Arc<Semaphore>,
    bytes: usize,
    body: impl FnOnce() -> Result<Body, Failure>,
) -> bool {
    let bytes = u32::try_from(bytes).expect("a message is at most 16 MiB");
    let room = Arc::clone(room).acquire_many_owned(bytes).await.ok();
    let input = Input {
        body: body(),
        _room: room,
    };
    sender.send(input).await.is_ok()
}

/// Publishes what is read until its end, an error or a signal.
async fn store(
    publisher: &Publisher<Raw>,
    mut inputs: mpsc::Receiver<Input>,
    interrupt: &mut Interrupt,
) -> Result<(Published, Option<Receipt>), Failure> {
    let progress = Progress::new("published", None);
    let mut last = None;
    let mut published = Published {
        published: 0,
        peers: 0,
        interrupted: false,
    };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            read = inputs.recv_many(&mut batch, AHEAD) => if read == 0 { break },
            () = interrupt.wait() => {
                published.interrupted = true;
                break;
            }
        }
        let (bodies, failure) = until_failure(&mut batch);
        let count = bodies.len() as u64;
        last = publish_batch(publisher, bodies).await?.or(last);
        batch.clear();
        published.published += count;
        progress.add(count);
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok((published, last))
}

/// Takes the messages before the first failure, and that failure.
fn until_failure(batch: &mut [Input]) -> (Vec<Body>, Option<Failure>) {
    let mut bodies = Vec::new();
    for input in batch {
        match std::mem::replace(&mut input.body, Ok(Body::from(""))) {
            Ok(body) => bodies.push(body),
            Err(failure) => return (bodies, Some(failure)),
        }
    }
    (bodies, None)
}

/// Publishes in order and returns the last receipt once all are durable.
async fn publish_batch(
    publisher: &Publisher<Raw>,
    bodies: Vec<Body>,
) -> Result<Option<Receipt>, p2panda::Error> {
    let mut last = None;
    let mut under_way = Vec::new();
    for body in bodies {
        let mut publish = Box::pin(publisher.publish(body));
        // The first poll decides the place in the log.
        match poll_once(&mut publish).await {
            Some(receipt) => last = Some(receipt?),
            None => under_way.push(publish),
        }
    }
    for publish in under_way {
        last = Some(publish.await?);
    }
    Ok(last)
}

/// How many connected peers were sent everything once there is one, or the wait is over.
async fn wait_for_peer(
    node: &Node,
    last: &Receipt,
    publish: &PubArgs,
    interrupt: &mut Interrupt,
) -> Result<usize, Failure> {
    tokio::select! {
        reached = timeout(publish.wait, reached(node, publish.topic, last)) => {
            if let Ok(reached) = reached {
                reached?;
            }
        }
        () = interrupt.wait() => {}
    }
    Ok(last.sent())
}

/// Waits until a peer was sent everything and its session is live. One that still catches up is
/// cut when the node shuts down, and what was sent last with it.
pub async fn reached(node: &Node, topic: Topic, last: &Receipt) -> Result<(), p2panda::Error> {
    let mut events = node.events();
    last.sent_to(1).await?;
    let live = || {
        let peers = node.net().peers();
        let mut sessions = peers.iter().flat_map(|peer| &peer.sessions);
        sessions.any(|session| session.topic == topic && session.live)
    };
    while !live() && events.next().await.is_some() {}
    Ok(())
}

fn print(published: &Published, json: bool) -> std::io::Result<()> {
    // Whether somebody reads it makes no difference to what is stored.
    let _ = if json {
        output::json(published)?
    } else {
        output::line(&published.plain())?
    };
    Ok(())
}

impl Published {
    fn plain(&self) -> String {
        let Published {
            published, peers, ..
        } = self;
        let messages = if *published == 1 {
            "message"
        } else {
            "messages"
        };
        let nodes = if *peers == 1 { "peer" } else { "peers" };
        format!("published {published} {messages}, reached {peers} {nodes}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_one_readable_line() {
        let published = Published {
            published: 1,
            peers: 0,
            interrupted: false,
        };
        assert_eq!(published.plain(), "published 1 message, reached 0 peers");
    }

    #[test]
    fn messages_before_a_bad_line_are_published() {
        let bad = Err(Failure::LineNotText { number: 2 });
        let mut batch = [Ok(Body::from("one")), bad, Ok(Body::from("three"))]
            .map(|body| Input { body, _room: None });
        let (bodies, failure) = until_failure(&mut batch);
        assert_eq!(bodies, [Body::from("one")]);
        assert!(matches!(failure, Some(Failure::LineNotText { number: 2 })));
    }
}
