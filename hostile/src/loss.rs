//! Attacks that cost messages: genuine headers whose bodies are kept back.

use std::path::Path;
use std::time::Duration;

use p2panda::{NetworkId, Topic};
use p2panda_core::Operation;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::attacker::{Attacker, Contact, Effort, Place, Sending, key};
use crate::error::{Error, Stopped};
use crate::flood::{new_network, topic};
use crate::honest::{Honest, honest_text};
use crate::victim::Victim;
use crate::wire::{self, DONE, EMPTY_HAVE, Log, PRE_SYNC};

/// Messages of the author.
const MESSAGES: usize = 20;
/// Messages below a snapshot.
const BELOW: usize = 10;
/// Time limit of the first look: what should not be shown is not waited for longer.
const LOOK: Duration = Duration::from_secs(15);
/// Time limit for headers to be stored, if they are.
const STORED: Duration = Duration::from_secs(3);

/// Source of the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bringer {
    /// A file that the application imports.
    Import,
    /// As many peers as said, each in a session of its own.
    Peers(usize),
}

/// Result for the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Messages that the author wrote.
    pub written: usize,
    /// Messages shown by the node after it met the author.
    pub shown: usize,
    /// Messages shown by a node that only met the first one.
    pub shown_behind: usize,
    /// From meeting the author to the last message shown.
    pub took: Duration,
}

/// Headers come without bodies, then the node meets the author, then another node meets the node.
///
/// # Errors
/// When the run could not be carried out.
pub async fn withheld_bodies(program: &Path, bringer: Bringer) -> Result<Kept, Error> {
    let mut scene = Scene::open(program).await?;
    let Scene { network, topic, .. } = scene;
    let author = Honest::start(network, &[topic], None).await?;
    let texts: Vec<String> = (0..MESSAGES).map(honest_text).collect();
    author.publish(topic, &texts).await?;
    let headers = headers_of(&author, topic).await?;
    scene.bring(bringer, &headers).await?;
    let begun = Instant::now();
    author
        .node
        .net()
        .add_peer(scene.contact().node, scene.contact().addr);
    let shown = scene.victim.shown.wait(topic, &texts, LOOK).await;
    let took = begun.elapsed();
    author.node.shutdown().await?;
    let behind = Honest::start(network, &[topic], Some(scene.contact())).await?;
    let shown_behind = behind.shown.wait(topic, &texts, LOOK).await;
    behind.node.shutdown().await?;
    Ok(Kept {
        written: MESSAGES,
        shown,
        shown_behind,
        took,
    })
}

/// Result for messages below a snapshot that was kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Messages below it.
    pub below: usize,
    /// Those that a node which was killed and opened again still shows, while the snapshot's body
    /// is kept back.
    pub shown_without: usize,
    /// `true` if the snapshot was shown after the node met the author.
    pub shown: bool,
}

/// A header that prunes comes without its body, the snapshot; then the node is killed and opened
/// again, then it meets the author.
///
/// # Errors
/// When the run could not be carried out.
pub async fn withheld_snapshot(program: &Path) -> Result<Snapshot, Error> {
    let mut scene = Scene::open(program).await?;
    let topic = scene.topic;
    let mut log = Log::new(key("snapshot author", 0), topic);
    let texts: Vec<String> = (0..BELOW).map(honest_text).collect();
    let below: Vec<Operation> = texts
        .iter()
        .filter_map(|text| log.append(Some(&wire::text(text)), false, &[]))
        .collect();
    let snapshot = [honest_text(1_000)];
    let prune = snapshot
        .iter()
        .find_map(|text| log.append(Some(&wire::text(text)), true, &[]))
        .ok_or(Error::Refused)?;
    let bare = Operation {
        header: prune.header.clone(),
        body: None,
    };
    let all: Vec<Operation> = below.into_iter().chain([bare]).collect();
    scene.bring(Bringer::Peers(1), &all).await?;
    scene.victim.shown.wait(topic, &texts, LOOK).await;
    scene.reopen(program).await?;
    let shown_without = scene.victim.shown.wait(topic, &texts, LOOK).await;
    scene
        .bring(Bringer::Peers(2), std::slice::from_ref(&prune))
        .await?;
    let shown = scene.victim.shown.wait(topic, &snapshot, LOOK).await;
    Ok(Snapshot {
        below: BELOW,
        shown_without,
        shown: shown == 1,
    })
}

/// The node alone.
struct Scene {
    dir: TempDir,
    victim: Victim,
    network: NetworkId,
    topic: Topic,
    open: Vec<(Attacker, Sending)>,
}

impl Scene {
    async fn open(program: &Path) -> Result<Scene, Error> {
        let dir = tempfile::tempdir()?;
        let network = new_network();
        let topic = topic(network, 1);
        let victim = Victim::start(program, dir.path(), network, &[topic], &[]).await?;
        Ok(Scene {
            dir,
            victim,
            network,
            topic,
            open: Vec::new(),
        })
    }

    fn contact(&self) -> Contact {
        self.victim.contact
    }

    /// Brings operations and waits until the node has them.
    async fn bring(&mut self, bringer: Bringer, operations: &[Operation]) -> Result<(), Error> {
        let frames: Vec<_> = operations.iter().map(wire::operation).collect();
        match bringer {
            Bringer::Import => {
                let file = self.dir.path().join("headers");
                std::fs::write(&file, frames.concat())?;
                self.victim.import(self.topic, &file).await?;
            }
            Bringer::Peers(peers) => {
                for number in 0..peers {
                    let place = Place::Both;
                    let effort = Effort::default();
                    let peer = Attacker::start(self.network, number, place, effort).await?;
                    let sending = give(&peer, self.contact(), self.topic, &frames).await;
                    let sending = sending.map_err(|Stopped| Error::Refused)?;
                    self.open.push((peer, sending));
                }
            }
        }
        self.stored(operations).await
    }

    /// Waits until the node has them, as far as it wants to.
    async fn stored(&mut self, operations: &[Operation]) -> Result<(), Error> {
        let begun = Instant::now();
        let all = operations.len() as u64;
        while begun.elapsed() < STORED && self.victim.counts(self.topic).await?.operations < all {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn reopen(&mut self, program: &Path) -> Result<(), Error> {
        self.open.clear();
        let dir = self.dir.path();
        // Two processes never have the directory: the first is dead before the second starts.
        self.victim.kill_now().await?;
        self.victim = Victim::start(program, dir, self.network, &[self.topic], &[]).await?;
        Ok(())
    }
}

async fn give(
    peer: &Attacker,
    to: Contact,
    topic: Topic,
    frames: &[bytes::Bytes],
) -> Result<Sending, Stopped> {
    let mut sending = peer.sync(to, topic).await?.drain();
    sending.send(EMPTY_HAVE).await?;
    sending.send(PRE_SYNC).await?;
    for frame in frames {
        sending.send(frame).await?;
    }
    sending.send(DONE).await?;
    Ok(sending)
}

/// The author's operations without their bodies.
async fn headers_of(author: &Honest, topic: Topic) -> Result<Vec<Operation>, Error> {
    let stored = author.node.topic(topic).operations(0).await?;
    let headers = stored.into_iter().filter_map(|operation| {
        let header = p2panda_core::Header::decode(operation.header).ok()?;
        Some(Operation { header, body: None })
    });
    Ok(headers.collect())
}
