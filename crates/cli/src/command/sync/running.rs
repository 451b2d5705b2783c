//! `panda sync` by the node that runs.

use p2panda::Topic;
use p2panda_rpc::api;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{LOOK_INTERVAL, NO_TOPICS, State, say};
use crate::args::SyncArgs;
use crate::command::publish::running::delivered_of;
use crate::face::{Face, Facts};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::remote::Remote;

/// Waits until nothing is missing in the topics named, and says what is.
pub async fn sync_all(
    remote: &Remote,
    sync: &SyncArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let topics = match sync.topics.is_empty() {
        true => Facts::Running(remote.clone()).topics().await?,
        false => sync
            .topics
            .iter()
            .map(|named| named.topic.to_string())
            .collect(),
    };
    if topics.is_empty() {
        note(NO_TOPICS);
        return Ok(Outcome::Done);
    }
    let interrupted = tokio::select! {
        waited = timeout(sync.deadline, until_synced(remote, &topics, sync)) => match waited {
            Ok(waited) => waited.map(|()| false)?,
            Err(_) => false,
        },
        () = interrupt.wait() => true,
    };
    let states = states(remote, &topics).await?;
    let first = topics.first().and_then(|topic| topic.parse::<Topic>().ok());
    let face = Face::Running(remote.clone());
    say(&face, &states, sync.json, first, interrupted).await
}

async fn until_synced(remote: &Remote, topics: &[String], sync: &SyncArgs) -> Result<(), Failure> {
    let mut asked = JoinSet::new();
    for topic in topics {
        let params = api::TopicDeliveredParams {
            topic: topic.clone(),
            named: Vec::new(),
            wait_ms: u64::try_from(sync.deadline.as_millis()).unwrap_or(u64::MAX),
        };
        let remote = remote.clone();
        // Asks the peers; what they say shows below.
        asked.spawn(async move { remote.call::<api::TopicDelivered>(&params).await });
    }
    while !states(remote, topics).await?.iter().all(State::is_done) {
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

async fn states(remote: &Remote, topics: &[String]) -> Result<Vec<State>, Failure> {
    let mut states = Vec::new();
    for topic in topics {
        let params = api::TopicDeliveredParams {
            topic: topic.clone(),
            ..api::TopicDeliveredParams::default()
        };
        // That is an interest in the topic as well.
        let delivered = remote.call::<api::TopicDelivered>(&params).await?;
        let params = api::TopicParams {
            topic: topic.clone(),
        };
        let peers = remote.call::<api::TopicPeers>(&params).await?.peers;
        let live = peers.iter().filter(|peer| peer.live).count();
        states.push(State {
            topic: topic.clone(),
            peers: live,
            catching_up: peers.len() - live,
            delivered: delivered_of(&delivered).is_enough,
            wanted: remote.call::<api::TopicStatus>(&params).await?.wanted,
        });
    }
    Ok(states)
}
