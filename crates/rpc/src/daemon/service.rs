//! State that all connections share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use p2panda::{Node, Topic};
use p2panda_core::limits::{
    EPHEMERAL_RECEIVED_MAX, RPC_CONNECTIONS_ALL_MAX, RPC_LARGE_ALL_BYTES_MAX, RPC_READS_MAX,
    RPC_UPLOADS_ALL_BYTES_MAX, TOPICS_PAGE_ROWS,
};
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::Instant;

use super::access::{Gate, Scope, Who};
use super::alias::{self, Aliases};
use super::budget::Budget;
use super::devices::Links;
use super::doors::Doors;
use super::map;
use super::metrics::Tally;
use super::recovery::{Exports, Renewal};
use crate::api::{Code, Need, RpcError};

/// The node with what clients need around it. Clones share it.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) node: Node,
    pub(crate) aliases: Aliases,
    pub(crate) gate: Gate,
    pub(crate) tally: Tally,
    /// With other devices of the person.
    pub(crate) links: Links,
    /// Of recovery files.
    pub(crate) exports: Exports,
    pub(crate) renewal: Renewal,
    pub(crate) network: p2panda::NetworkId,
    /// Addresses of HTTP and WebSockets.
    pub(crate) listens: parking_lot::Mutex<Vec<String>>,
    /// It only keeps and forwards (4.11).
    pub(crate) is_relay: bool,
    /// Bytes that may still be uploaded, of all connections.
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) opened: Instant,
    /// A client asked for the end of the node.
    pub(crate) stop: Notify,
    /// Ephemeral messages that clients of this node signed, for the others.
    pub(crate) nearby: broadcast::Sender<(Topic, Bytes)>,
    draining: AtomicBool,
    /// True once everything ends.
    ending: watch::Sender<bool>,
    /// Connections over TCP.
    pub(crate) doors: Arc<Doors>,
    /// Bytes of large messages that may be on their way to clients over TCP.
    pub(crate) large: Arc<Semaphore>,
    /// Pages that may be read for subscriptions, before it is known how large they are.
    pub(crate) reads: Semaphore,
    /// WebSockets with a credential.
    pub(crate) places: Arc<Semaphore>,
}

impl std::ops::Deref for Service {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Service {
    pub(crate) fn new(
        node: Node,
        aliases: Aliases,
        gate: Gate,
        doors: Arc<Doors>,
        network: p2panda::NetworkId,
        is_relay: bool,
    ) -> Self {
        Service(Arc::new(Inner {
            is_relay,
            listens: parking_lot::Mutex::default(),
            network,
            uploads: Arc::new(Semaphore::new(RPC_UPLOADS_ALL_BYTES_MAX)),
            node,
            aliases,
            gate,
            doors,
            tally: Tally::default(),
            links: Links::default(),
            exports: Exports::default(),
            renewal: Renewal::default(),
            opened: Instant::now(),
            stop: Notify::new(),
            nearby: broadcast::Sender::new(EPHEMERAL_RECEIVED_MAX),
            draining: AtomicBool::new(false),
            ending: watch::Sender::new(false),
            large: Arc::new(Semaphore::new(RPC_LARGE_ALL_BYTES_MAX)),
            reads: Semaphore::new(RPC_READS_MAX),
            places: Arc::new(Semaphore::new(RPC_CONNECTIONS_ALL_MAX)),
        }))
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Completes once everything ends.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ending = self.ending.subscribe();
        async move {
            // An error means that the service is gone, which is an end as well.
            let _ = ending.wait_for(|ends| *ends).await;
        }
    }

    /// The topic of a parameter: a topic, or its alias. Only `admin` names one that the node does not use.
    pub(crate) async fn topic(&self, who: &Who, text: &str) -> Result<Topic, RpcError> {
        let topic = match whole_topic(text)? {
            Some(topic) if who.rooms.is_some() => {
                self.bring(who, topic).await?;
                topic
            }
            Some(topic) => {
                let may_bring = who.scopes.has(Scope::Admin);
                if !may_bring && !self.aliases.knows(&self.node, &topic).await? {
                    return Err(alias::unknown("that topic"));
                }
                topic
            }
            None => {
                let found = self.aliases.find(&self.node, text).await?;
                found.ok_or_else(|| alias::unknown(text))?
            }
        };
        if !who.may_see(&topic) {
            let error = RpcError::new(Code::Forbidden, "the credential is not for this topic");
            return Err(error.hint("give it the topic in the node's configuration"));
        }
        Ok(topic)
    }

    /// A topic that a client names in full belongs to it from then on, and is kept.
    async fn bring(&self, who: &Who, topic: Topic) -> Result<(), RpcError> {
        let Some(rooms) = &who.rooms else {
            return Ok(());
        };
        // Once on each connection: a client that leaves the topic for the node decides.
        if rooms.named.lock().contains(&topic) {
            return Ok(());
        }
        if !self.keeps(&topic).await? {
            let kept = self.node.kept_topics(None).await;
            let kept = kept.map_err(|error| map::error(&error))?;
            // A page of them is counted, no more.
            if kept.len() >= rooms.topics_max.min(TOPICS_PAGE_ROWS) {
                let error = RpcError::new(
                    Code::Limit,
                    "this node has reached its limit of kept topics",
                );
                return Err(error.hint("ask its operator to raise the limit"));
            }
            let kept = self.node.topic(topic).keep(true).await;
            kept.map_err(|error| map::error(&error))?;
            self.aliases.learn(topic);
        }
        rooms.named.lock().insert(topic);
        Ok(())
    }

    /// The same, and it is remembered: the node uses it from now on.
    pub(crate) async fn used_topic(
        &self,
        who: &Who,
        text: &str,
    ) -> Result<(Topic, String), RpcError> {
        let topic = self.topic(who, text).await?;
        Ok((topic, self.aliases.learn(topic)))
    }

    /// The same for a caller that is to be shown what the node opens there (4.10).
    pub(crate) async fn opened_topic(
        &self,
        who: &Who,
        text: &str,
    ) -> Result<(Topic, String), RpcError> {
        let (topic, alias) = self.used_topic(who, text).await?;
        self.may_open(who.opens_spaces(), topic).await?;
        Ok((topic, alias))
    }

    /// Checks whether a caller may be shown what the node opens in a topic; `opens_spaces` states
    /// whether it may in spaces.
    pub(crate) async fn may_open(&self, opens_spaces: bool, topic: Topic) -> Result<(), RpcError> {
        if opens_spaces {
            return Ok(());
        }
        let carries = self.node.spaces().carries(topic).await;
        match carries.map_err(|error| map::error(&error))? {
            false => Ok(()),
            true => Err(of_members()),
        }
    }

    /// Completes with the refusal once one of the topics is one of a space, for a caller that may not be
    /// shown what the node opens there.
    pub(crate) fn closes(
        &self,
        opens_spaces: bool,
        topics: Vec<Topic>,
    ) -> impl Future<Output = RpcError> + Send + use<> {
        let spaces = self.node.spaces();
        async move {
            if opens_spaces {
                return std::future::pending().await;
            }
            let carries = spaces.until_one_carries(&topics).await;
            carries.map_or_else(|error| map::error(&error), |()| of_members())
        }
    }

    /// The budget of what is delivered to a caller on a connection, which has so much in all.
    pub(crate) fn budget(&self, who: &Who, connection: Arc<Semaphore>) -> Budget {
        let large = who.client.large();
        Budget::new(
            connection,
            large.map(|client| [client, Arc::clone(&self.large)]),
        )
    }

    /// Checks whether the node may publish for a caller in a topic what its members take for the
    /// node's own, if the topic carries a space: it seals it (4.10).
    pub(crate) async fn may_seal(&self, who: &Who, topic: Topic) -> Result<(), RpcError> {
        let carries = self.node.spaces().carries(topic).await;
        match carries.map_err(|error| map::error(&error))? {
            false => Ok(()),
            true => who.check(Need::SpacePublish),
        }
    }

    /// Returns `true` if the topic is kept.
    pub(crate) async fn keeps(&self, topic: &Topic) -> Result<bool, RpcError> {
        if self.aliases.is_configured(topic) {
            return Ok(true);
        }
        let before = before(topic);
        let kept = self.node.kept_topics(before).await;
        let kept = kept.map_err(|error| map::error(&error))?;
        Ok(kept.first() == Some(topic))
    }

    /// The topics that are kept, by command or by the configuration: a page behind `after`, in their
    /// order.
    pub(crate) async fn kept_topics(&self, after: Option<Topic>) -> Result<Vec<Topic>, RpcError> {
        let kept = self.node.kept_topics(after).await;
        let kept = kept.map_err(|error| map::error(&error))?;
        let configured = self.aliases.configured().into_iter();
        let behind = configured.filter(|topic| after.is_none_or(|after| *topic > after));
        let all: BTreeSet<Topic> = kept.into_iter().chain(behind).collect();
        Ok(all.into_iter().take(TOPICS_PAGE_ROWS).collect())
    }

    /// All topics of the node: those that are kept, and those of which something is stored.
    pub(crate) async fn all_topics(&self) -> Result<BTreeSet<Topic>, RpcError> {
        let stored = self.node.stored_topics().await;
        let stored = stored.map_err(|error| map::error(&error))?.into_iter();
        Ok(stored.chain(self.aliases.configured()).collect())
    }

    /// The aliases of topics, for a subscription that shows many messages of them.
    pub(crate) fn aliases_of(&self, topics: &[Topic]) -> HashMap<Topic, String> {
        let pairs = topics.iter().map(|topic| (*topic, self.aliases.of(topic)));
        pairs.collect()
    }
}

/// The topic of a text that names one in full; `None` for an alias.
///
/// # Errors
/// It has capital letters (1.3).
pub(crate) fn whole_topic(text: &str) -> Result<Option<Topic>, RpcError> {
    let topic = text.parse::<Topic>().ok();
    if topic.is_some() && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let error = RpcError::new(Code::InvalidParams, "the topic has capital letters");
        return Err(error.hint("write it in lower case"));
    }
    Ok(topic)
}

/// The refusal for a caller that may not be shown what the node opens in spaces.
pub(crate) fn of_members() -> RpcError {
    let message =
        "the topic carries a space, and the credential does not have the scope space:read";
    RpcError::new(Code::Forbidden, message).hint("give it the scope in the node's configuration")
}

/// The topic that comes just before another one in their order.
fn before(topic: &Topic) -> Option<Topic> {
    let mut bytes = *topic.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            return Some(Topic::from_bytes(bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_before_another_is_the_next_smaller_one() {
        let topic = |end: [u8; 2]| {
            let mut bytes = [0; 32];
            bytes[30..].copy_from_slice(&end);
            Topic::from_bytes(bytes)
        };
        assert_eq!(before(&topic([1, 0])), Some(topic([0, 255])));
        assert_eq!(before(&topic([0, 9])), Some(topic([0, 8])));
        assert_eq!(before(&topic([0, 0])), None);
    }
}
