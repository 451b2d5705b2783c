//! Metrics for Prometheus (`docs/protocol/rpc.md#13`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda::Topic;
use p2panda_core::limits::RPC_METRICS_ROWS_MAX;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::access::since_1970;
use super::map;
use super::service::Service;
use crate::api::{Code, RpcError};

/// Counters of the RPC.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Rows that have a number each, up to a bound; the rest is one row.
#[derive(Default)]
struct Rows(BTreeMap<String, u64>);

/// The label of what has no separate row. No alias and no consumer has this name.
const REST: &str = "(rest)";

impl Rows {
    fn set(&mut self, label: &str, join: impl Fn(u64, u64) -> u64, value: u64) {
        let is_own = self.0.contains_key(label) || self.0.len() < RPC_METRICS_ROWS_MAX;
        let label = if is_own { label } else { REST };
        let row = self.0.entry(label.to_owned()).or_insert(0);
        *row = join(*row, value);
    }

    fn register(&self, registry: &mut Registry, label: &str, name: &str, help: &str) {
        let family = Family::<Vec<(String, String)>, Gauge>::default();
        for (row, value) in &self.0 {
            let value = i64::try_from(*value).unwrap_or(i64::MAX);
            family
                .get_or_create(&vec![(label.to_owned(), row.clone())])
                .set(value);
        }
        registry.register(name, help, family);
    }
}

/// The text of all numbers: those of the node, of the RPC, of topics by alias and of consumers.
pub(crate) async fn text(service: &Service) -> Result<String, RpcError> {
    let mut registry = Registry::with_prefix("p2panda");
    let counter = |count: &AtomicU64| {
        let counter: Counter = Counter::default();
        counter.inc_by(count.load(Ordering::Relaxed));
        counter
    };
    let tally = &service.tally;
    registry.register(
        "rpc_requests",
        "Requests of clients",
        counter(&tally.requests),
    );
    registry.register("rpc_errors", "Requests that failed", counter(&tally.failed));
    let all_kept = service.node.kept_bytes().await;
    if let Some(bytes) = all_kept.map_err(|error| map::error(&error))? {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let help = "Header and payload bytes that are kept in all, where there are quotas";
        registry.register("kept_bytes", help, gauge);
    }
    OfTopics::read(service).await?.register(&mut registry);
    let mut own = String::new();
    let encoded = encode(&mut own, &registry);
    encoded.map_err(|_| RpcError::new(Code::Internal, "the metrics cannot be written"))?;
    Ok(format!("{}{}", service.node.metrics(), classic(&own)))
}

/// The rows of topics, and of the consumers that read them.
#[derive(Default)]
struct OfTopics {
    waiting: Rows,
    blocked: Rows,
    kept_bytes: Rows,
    behind: Rows,
    ages: Rows,
}

impl OfTopics {
    async fn read(service: &Service) -> Result<Self, RpcError> {
        let mut rows = OfTopics::default();
        for topic in service.all_topics().await? {
            rows.add(service, topic).await?;
        }
        Ok(rows)
    }

    async fn add(&mut self, service: &Service, topic: Topic) -> Result<(), RpcError> {
        let sum = std::ops::Add::add;
        let alias = service.aliases.learn(topic);
        let handle = service.node.topic(topic);
        let status = handle.status().await.map_err(|error| map::error(&error))?;
        self.waiting.set(&alias, sum, status.waiting);
        let blocked = status.blocked.len() as u64;
        self.blocked.set(&alias, sum, blocked);
        let bytes = handle.kept_bytes().await;
        if let Some(bytes) = bytes.map_err(|error| map::error(&error))? {
            self.kept_bytes.set(&alias, sum, bytes);
        }
        let now = map::micros(since_1970());
        for consumer in &status.consumers {
            let name = shown(&alias, &consumer.name);
            self.behind.set(&name, sum, consumer.unsettled);
            let age = |since: p2panda::Timestamp| now.saturating_sub(since.as_micros());
            let age = consumer.since.map_or(0, age);
            self.ages.set(&name, u64::max, age / 1_000_000);
        }
        Ok(())
    }

    fn register(&self, registry: &mut Registry) {
        self.waiting.register(
            registry,
            "topic",
            "topic_operations_waiting",
            "Operations that wait for those they depend on",
        );
        self.blocked.register(
            registry,
            "topic",
            "topic_logs_blocked",
            "Logs that cannot go on",
        );
        self.kept_bytes.register(
            registry,
            "topic",
            "topic_kept_bytes",
            "Header and payload bytes that are kept, where there are quotas",
        );
        self.behind.register(
            registry,
            "consumer",
            "consumer_offsets_behind",
            "Entries of the feed that the consumer has not settled",
        );
        self.ages.register(
            registry,
            "consumer",
            "consumer_oldest_age_seconds",
            "Age of the oldest message that is not settled",
        );
    }
}

/// In the text format 0.0.4, in which counters also have their whole name in front.
fn classic(text: &str) -> String {
    let counters = text.lines().filter_map(|line| {
        let named = line.strip_prefix("# TYPE ")?;
        named.strip_suffix(" counter")
    });
    let counters: BTreeSet<&str> = counters.collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                classic.push_str(&format!("# {what} {name}_total {rest}\n"));
            }
            _ => {
                classic.push_str(line);
                classic.push('\n');
            }
        }
    }
    classic
}

/// The consumer of a topic's stream has the log id in its name, which is none of the public.
fn shown(alias: &str, name: &str) -> String {
    match name.strip_prefix("topic ") {
        Some(_) => format!("stream {alias}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_whole_name_everywhere() {
        let open = "# HELP a_b What.\n# TYPE a_b counter\na_b_total 3\n# HELP c d e.\n# TYPE c gauge\nc 1\n# EOF\n";
        let text = "# HELP a_b_total What.\n# TYPE a_b_total counter\na_b_total 3\n# HELP c d e.\n# TYPE c gauge\nc 1\n";
        assert_eq!(classic(open), text);
    }

    #[test]
    fn rows_of_metrics_above_the_bound_share_one_row() {
        let mut rows = Rows::default();
        for row in 0..RPC_METRICS_ROWS_MAX + 3 {
            rows.set(&format!("t{row}"), std::ops::Add::add, 2);
        }
        assert_eq!(rows.0.len(), RPC_METRICS_ROWS_MAX + 1);
        assert_eq!(rows.0.get(REST), Some(&6));
        assert_eq!(shown("t1", "topic 0a0b"), "stream t1");
        assert_eq!(shown("t1", "search"), "search");
    }
}
