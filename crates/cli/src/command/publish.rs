//! `panda pub`

pub mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_lite::future::poll_once;
use p2panda::{Body, Node, Publisher, Raw, VerifyingKey};
use p2panda_rpc::api::NotKeptView;
use p2panda_rpc::daemon::map;
use p2panda_rpc::delivery::{Delivered, Delivery};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::args::{NodeArgs, PubArgs};
use crate::command::contact::note_unreached;
use crate::command::status::not_kept;
use crate::face::Face;
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

/// Publishes everything, waits for a peer and says who has it.
pub async fn run(args: &NodeArgs, publish: PubArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let mut named: Vec<VerifyingKey> = args.bootstrap.iter().map(|named| named.node).collect();
    let contacts = args.tickets.iter().flat_map(|ticket| ticket.contacts());
    named.extend(contacts.map(|contact| contact.node));
    let node = match Face::open(args, publish.temp).await? {
        Face::Own(node) => node,
        Face::Running(remote) => return running::run(remote, named, publish, interrupt).await,
    };
    let work = publish_all(&node, named, &publish, &mut interrupt);
    let work = until_forked(&node, publish.topic.topic, work);
    let published = until_stopped(&node, work).await;
    interrupt.finish(node.shutdown()).await?;
    published
}

/// Published messages, and the peers that have them.
#[derive(Serialize)]
struct Published {
    published: u64,
    #[serde(flatten)]
    delivered: Delivered,
    /// Peers that do not keep the newest message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_kept: Vec<NotKeptView>,
    #[serde(skip)]
    interrupted: bool,
}

/// Publishes the input. What an earlier command left goes along, also without any input.
async fn publish_all(
    node: &Node,
    named: Vec<VerifyingKey>,
    publish: &PubArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let (publisher, _messages) = node.stream(publish.topic.topic).await?;
    let (sender, inputs) = mpsc::channel(AHEAD);
    tokio::spawn(read(publish.file.clone(), sender));
    let mut published = store(&publisher, inputs, interrupt).await?;
    let delivery = Delivery::of(node, publish.topic.topic, named).await?;
    if !delivery.is_empty() {
        // Anyone who interrupts does not want to wait.
        if !published.interrupted {
            tokio::select! {
                waited = timeout(publish.wait, delivery.wait()) => if let Ok(waited) = waited {
                    waited?;
                },
                () = interrupt.wait() => {}
            }
        }
        published.delivered = delivery.delivered();
        published.not_kept = map::not_kept_of(&delivery.refused_by());
    }
    say(
        &Face::Own(node.clone()),
        publish,
        &published,
        !delivery.is_empty(),
    )
    .await
}

/// Prints the result, and why nobody has it.
async fn say(
    face: &Face,
    publish: &PubArgs,
    published: &Published,
    has_newest: bool,
) -> Result<Outcome, Failure> {
    let outcome = match published {
        _ if published.interrupted => Outcome::Interrupted,
        _ if has_newest && !published.delivered.is_enough => Outcome::StoredOnly,
        _ => Outcome::Done,
    };
    print(published, publish.json).map_err(Failure::Stdout)?;
    if !published.delivered.is_enough && has_newest {
        note(&undelivered(published, what_next(face, publish).await?));
        for log in &published.not_kept {
            note(&not_kept(log));
        }
        note_unreached(face, publish.topic.topic).await?;
    }
    Ok(outcome)
}

/// Describes how it continues with messages that nobody is known to have.
async fn what_next(face: &Face, publish: &PubArgs) -> Result<&'static str, Failure> {
    let topic = publish.topic.topic.to_string();
    Ok(match face {
        Face::Running(_) if face.kept().await?.contains(&topic) => {
            "the running node continues with it:"
        }
        Face::Running(_) => {
            "the running node continues with it until it ends, and beyond with `panda topic keep`:"
        }
        Face::Own(_) if publish.temp => {
            "it is deleted now with the throw-away identity; leave out --temp to keep it, or"
        }
        Face::Own(_) => "it goes along with the next `panda pub` or `panda sync`:",
    })
}

/// Advice about messages that nobody is known to have.
fn undelivered(published: &Published, what: &str) -> String {
    let who = match published.delivered.sent {
        _ if !published.not_kept.is_empty() => "stored here, and refused by the peers below",
        0 => "stored here and sent to nobody yet",
        _ => "stored here and sent, but no peer said in time that it has stored it",
    };
    format!(
        "{who}; {what} keep `panda sub` running with this topic, or name a peer with --bootstrap ID@ADDR"
    )
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

/// Returns the largest number of bytes of a file that will be read.
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
) -> Result<Published, Failure> {
    let progress = Progress::new("published", None);
    let mut published = Published {
        published: 0,
        delivered: Delivered::default(),
        not_kept: Vec::new(),
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
        publish_batch(publisher, bodies).await?;
        batch.clear();
        published.published += count;
        progress.add(count);
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(published)
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

/// Publishes in order and returns once all are durable.
async fn publish_batch(
    publisher: &Publisher<Raw>,
    bodies: Vec<Body>,
) -> Result<(), p2panda::Error> {
    let mut under_way = Vec::new();
    for body in bodies {
        let mut publish = Box::pin(publisher.publish(body));
        // The first poll decides the place in the log.
        match poll_once(&mut publish).await {
            Some(receipt) => drop(receipt?),
            None => under_way.push(publish),
        }
    }
    for publish in under_way {
        publish.await?;
    }
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
            published,
            delivered,
            ..
        } = self;
        let messages = if *published == 1 {
            "message"
        } else {
            "messages"
        };
        format!("published {published} {messages}; {}", delivered.plain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_one_readable_line() {
        let published = Published {
            published: 1,
            delivered: Delivered::default(),
            not_kept: Vec::new(),
            interrupted: false,
        };
        let plain = "published 1 message; stored by 0 peers, sent to 0";
        assert_eq!(published.plain(), plain);
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
