//! `panda sync`

pub mod running;

use std::time::Duration;

use p2panda::{Node, Publisher, Raw, Topic};
use p2panda_rpc::delivery::Delivery;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::args::{NodeArgs, SyncArgs};
use crate::command::contact::note_unreached;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Written, note};

const NO_TOPICS: &str =
    "this home directory has no topics; name one, or publish or subscribe first";

/// Polling interval of the progress of the topics.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Sends and fetches until nothing is missing, and says what is.
pub async fn run(args: &NodeArgs, sync: SyncArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = match Face::open(args, false).await? {
        Face::Own(node) => node,
        Face::Running(remote) => {
            let work = running::sync_all(&remote, &sync, &mut interrupt);
            return remote.until_gone(work).await;
        }
    };
    let synced = until_stopped(&node, sync_all(&node, &sync, &mut interrupt)).await;
    interrupt.finish(node.shutdown()).await?;
    synced
}

/// A topic that is open for as long as this lives.
struct Open<'a> {
    publisher: Publisher<Raw>,
    /// The newest operations of this node.
    delivery: Delivery<'a>,
}

/// Progress of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct State {
    topic: String,
    /// Peers with which everything was compared and exchanged.
    peers: usize,
    /// Peers with which that continues.
    catching_up: usize,
    /// `true` if another node has everything that this one published.
    delivered: bool,
    /// Messages whose content nobody has sent.
    wanted: u64,
}

/// Sends and fetches what is missing in the topics named.
pub async fn sync_all(
    node: &Node,
    sync: &SyncArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let topics = match sync.topics.is_empty() {
        true => node.stored_topics().await?,
        false => sync.topics.iter().map(|named| named.topic).collect(),
    };
    if topics.is_empty() {
        note(NO_TOPICS);
        return Ok(Outcome::Done);
    }
    let mut open = Vec::new();
    for topic in topics {
        let (publisher, _messages) = node.stream(topic).await?;
        let delivery = Delivery::of(node, topic, Vec::new()).await?;
        delivery.ask().await?;
        open.push(Open {
            publisher,
            delivery,
        });
    }
    let interrupted = tokio::select! {
        waited = timeout(sync.deadline, until_synced(node, &mut open)) => match waited {
            Ok(waited) => waited.map(|()| false)?,
            Err(_) => false,
        },
        () = interrupt.wait() => true,
    };
    let states = states(node, &mut open).await?;
    let first = open.first().map(Open::topic);
    let face = Face::Own(node.clone());
    say(&face, &states, sync.json, first, interrupted).await
}

/// Prints how far the topics are, and why no further.
async fn say(
    face: &Face,
    states: &[State],
    json: bool,
    first: Option<Topic>,
    interrupted: bool,
) -> Result<Outcome, Failure> {
    print(states, json).map_err(Failure::Stdout)?;
    let is_done = states.iter().all(State::is_done);
    if let (false, Some(topic)) = (is_done, first) {
        note_unreached(face, topic).await?;
    }
    Ok(match (is_done, interrupted) {
        (true, _) => Outcome::Done,
        (false, true) => Outcome::Interrupted,
        (false, false) => Outcome::StoredOnly,
    })
}

async fn until_synced<'a>(node: &'a Node, open: &mut [Open<'a>]) -> Result<(), Failure> {
    while !states(node, open).await?.iter().all(State::is_done) {
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

async fn states<'a>(node: &'a Node, open: &mut [Open<'a>]) -> Result<Vec<State>, Failure> {
    let mut states = Vec::new();
    for open in open {
        let topic = open.topic();
        // What comes may make the node say more in a space.
        if node.spaces().carries(topic).await? {
            open.delivery = Delivery::of(node, topic, Vec::new()).await?;
            open.delivery.ask().await?;
        }
        let peers = node.net().peers();
        let sessions = || {
            let sessions = peers.iter().flat_map(|peer| &peer.sessions);
            sessions.filter(|session| session.topic == topic)
        };
        states.push(State {
            topic: topic.to_string(),
            peers: sessions().filter(|session| session.live).count(),
            catching_up: sessions().filter(|session| !session.live).count(),
            delivered: open.delivery.delivered().is_enough,
            wanted: node.topic(topic).wanted_bodies().await?,
        });
    }
    Ok(states)
}

fn print(states: &[State], json: bool) -> std::io::Result<()> {
    for state in states {
        let written = match json {
            true => output::json(state)?,
            false => output::line(&state.plain())?,
        };
        if written == Written::Closed {
            break;
        }
    }
    Ok(())
}

impl Open<'_> {
    fn topic(&self) -> Topic {
        self.publisher.topic()
    }
}

impl State {
    fn is_done(&self) -> bool {
        self.peers > 0 && self.catching_up == 0 && self.delivered && self.wanted == 0
    }

    fn plain(&self) -> String {
        let peers = |count: usize| match count {
            1 => "1 peer".to_owned(),
            count => format!("{count} peers"),
        };
        let mut left = Vec::new();
        if self.peers + self.catching_up == 0 {
            left.push("no peer is online".to_owned());
        }
        if self.catching_up > 0 {
            left.push(format!("still exchanging with {}", peers(self.catching_up)));
        }
        if !self.delivered {
            left.push("nobody else is known to have the newest message of this node".to_owned());
        }
        if self.wanted > 0 {
            left.push(format!(
                "nobody sent the content of {} messages",
                self.wanted
            ));
        }
        let said = match left.is_empty() {
            true => format!("up to date with {}", peers(self.peers)),
            false => left.join("; "),
        };
        format!("{} {said}", self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_left() {
        let state = State {
            topic: "abc".to_owned(),
            peers: 1,
            catching_up: 0,
            delivered: true,
            wanted: 0,
        };
        assert_eq!(state.plain(), "abc up to date with 1 peer");
        let state = State {
            peers: 0,
            delivered: false,
            ..state
        };
        let plain =
            "abc no peer is online; nobody else is known to have the newest message of this node";
        assert_eq!(state.plain(), plain);
    }
}
