//! Nodes that share a topic.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_core::Topic;
use p2panda_rpc::wire::{Content, Deliver};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::network::Space;
use crate::node::{Node, Setup, topic};
use crate::report::Report;

/// Time until everybody has everything, at most.
const ALL_WITHIN: Duration = Duration::from_secs(30);
/// Processes that start at the same time.
const STARTS_AT_ONCE: usize = 4;

/// Parameters that every scenario needs.
#[derive(Clone, Debug)]
pub struct Rig {
    /// The binary of a node.
    pub driver: PathBuf,
}

/// Nodes with one topic, and how many messages each should have by now.
pub struct Crowd {
    nodes: Vec<Arc<Node>>,
    topic: Topic,
    published: u64,
    last_publish: Instant,
}

/// Times at which a message, or several, reached everybody.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Until the last node had it; none if one did not.
    pub seconds: Option<f64>,
    /// Nodes that did not have it in the end.
    pub lacking: usize,
}

impl Rig {
    /// Starts a node.
    pub async fn start(&self, space: &Space, setup: Setup) -> Result<Arc<Node>, Error> {
        Ok(Arc::new(Node::start(&self.driver, space, setup).await?))
    }

    /// Starts nodes, subscribed to one topic.
    pub async fn crowd(&self, setups: Vec<(Space, Setup)>) -> Result<Crowd, Error> {
        let topic = topic(0);
        let mut nodes = Vec::with_capacity(setups.len());
        for some in setups.chunks(STARTS_AT_ONCE) {
            let starts = some.iter().cloned().map(|(space, setup)| {
                let rig = self.clone();
                async move {
                    let node = rig.start(&space, setup).await?;
                    node.subscribe(topic, Deliver::Text).await?;
                    Ok(node)
                }
            });
            nodes.extend(all(starts).await?);
        }
        Ok(Crowd {
            nodes,
            topic,
            published: 0,
            last_publish: Instant::now(),
        })
    }
}

impl Crowd {
    /// The nodes, in the order of their setups.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Their topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Some nodes publish a message each.
    pub async fn publish(&mut self, who: &[usize]) -> Result<(), Error> {
        self.last_publish = Instant::now();
        let who = who.iter().filter_map(|number| self.nodes.get(*number));
        let topic = self.topic;
        let publishes = who.cloned().map(|node| async move {
            let content = Content::text("a message of about as many bytes as people write");
            node.publish(topic, content, None).await
        });
        self.published += all(publishes).await?.len() as u64;
        Ok(())
    }

    /// Waits until everybody has everything. Counts from the last publish.
    pub async fn spread(&self, within: Duration) -> Result<Spread, Error> {
        let begun = self.last_publish;
        self.spread_since(begun, within).await
    }

    /// Waits until everybody has everything.
    pub async fn spread_since(&self, begun: Instant, within: Duration) -> Result<Spread, Error> {
        let (topic, published) = (self.topic, self.published);
        let waits = self.nodes.iter().cloned().map(|node| async move {
            let holds = node.holds(topic, published, within).await?;
            Ok(holds.then(|| begun.elapsed().as_secs_f64()))
        });
        let times = all(waits).await?;
        let lacking = times.iter().filter(|time| time.is_none()).count();
        let last = times.into_iter().flatten().reduce(f64::max);
        Ok(Spread {
            seconds: last.filter(|_| lacking == 0),
            lacking,
        })
    }

    /// Some nodes publish, everybody must have it within 30 s.
    pub async fn reach(
        &mut self,
        report: &mut Report,
        name: &str,
        who: &[usize],
    ) -> Result<(), Error> {
        self.publish(who).await?;
        let spread = self.spread(ALL_WITHIN).await?;
        let bar = ALL_WITHIN.as_secs_f64();
        report.hold(&format!("{name}: all have it"), "s", spread.seconds, bar);
        if spread.lacking > 0 {
            let lacking = Some(spread.lacking as f64);
            report.note(&format!("{name}: nodes without it"), "", lacking);
        }
        Ok(())
    }

    /// Every node publishes, everybody must have everything within 30 s.
    pub async fn all_receive_all(&mut self, report: &mut Report) -> Result<(), Error> {
        let who: Vec<usize> = (0..self.nodes.len()).collect();
        self.reach(report, "everyone publishes", &who).await
    }
}

/// Does everything at the same time. Results are in the order of the work.
pub async fn all<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = Result<T, Error>> + Send + 'static>,
) -> Result<Vec<T>, Error> {
    let mut running = JoinSet::new();
    for (number, work) in work.enumerate() {
        running.spawn(async move { (number, work.await) });
    }
    let mut results = Vec::with_capacity(running.len());
    while let Some(result) = running.join_next().await {
        let (number, result) = result?;
        results.push((number, result?));
    }
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
