//! Metrics of a running node (`docs/guide/observe.md`).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda_engine::{Committed, EngineEvent};
use p2panda_net::Counters;

use crate::health::Health;

/// Counters since a node was opened, and what it holds now. Made by
/// [`Node::metrics`](crate::Node::metrics).
///
/// Shown with [`Display`](fmt::Display) it is the Prometheus text format 0.0.4, complete and with a
/// line feed at the end: an HTTP server answers with it as `text/plain; version=0.0.4`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// `true` if the node can store: 0 if it waits for the storage or has stopped.
    pub healthy: bool,
    /// Topics that it is interested in.
    pub topics: u64,
    /// Logs that cannot continue here, in these topics.
    pub logs_blocked: u64,
    /// Transactions that changed something.
    pub commits: u64,
    /// Operations that were stored, its own included.
    pub operations_stored: u64,
    /// Own operations among them.
    pub operations_published: u64,
    /// Operations that were refused, each once.
    pub operations_rejected: u64,
    /// Entries that were added to feeds.
    pub entries: u64,
    /// Forks of logs whose evidence was stored.
    pub forks: u64,
    /// Bytes of the heads of logs that sessions compare, in memory.
    pub heads_bytes: u64,
    /// Bytes on the network, and bytes that peers make the node hold.
    pub network: Counters,
}

/// Counters that follow the engine's commits.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    commits: AtomicU64,
    operations: AtomicU64,
    published: AtomicU64,
    rejected: AtomicU64,
    entries: AtomicU64,
    forks: AtomicU64,
}

impl Tally {
    /// Counts a commit.
    pub(crate) fn committed(&self, committed: &Committed) {
        let add = |count: &AtomicU64, more| count.fetch_add(more, Ordering::Relaxed);
        add(&self.commits, 1);
        add(&self.operations, committed.operations);
        add(&self.published, committed.published);
        add(&self.entries, committed.entries);
        for event in &committed.events {
            match event {
                EngineEvent::Rejected { .. } => add(&self.rejected, 1),
                EngineEvent::Forked { .. } | EngineEvent::OwnFork { .. } => add(&self.forks, 1),
                _ => 0,
            };
        }
    }

    /// Adds what is counted elsewhere: topics, and blocked logs in them.
    pub(crate) fn metrics(
        &self,
        health: &Health,
        (topics, logs_blocked): (usize, usize),
        network: Counters,
    ) -> Metrics {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Metrics {
            healthy: matches!(health, Health::Ok),
            topics: topics as u64,
            logs_blocked: logs_blocked as u64,
            commits: read(&self.commits),
            operations_stored: read(&self.operations),
            operations_published: read(&self.published),
            operations_rejected: read(&self.rejected),
            entries: read(&self.entries),
            forks: read(&self.forks),
            heads_bytes: 0,
            network,
        }
    }
}

/// The kind of a metric in Prometheus.
#[derive(Clone, Copy)]
enum Kind {
    /// It only grows, until the node is opened again.
    Counter,
    Gauge,
}

impl Metrics {
    /// Name, kind, description and value.
    fn rows(&self) -> [(&'static str, Kind, &'static str, u64); 23] {
        use Kind::{Counter, Gauge};
        let net = &self.network;
        [
            (
                "healthy",
                Gauge,
                "1 if the node can store",
                u64::from(self.healthy),
            ),
            ("topics", Gauge, "Topics of interest", self.topics),
            (
                "logs_blocked",
                Gauge,
                "Logs that cannot go on",
                self.logs_blocked,
            ),
            ("commits_total", Counter, "Transactions", self.commits),
            (
                "operations_stored_total",
                Counter,
                "Operations stored, own ones included",
                self.operations_stored,
            ),
            (
                "operations_published_total",
                Counter,
                "Own operations stored",
                self.operations_published,
            ),
            (
                "operations_rejected_total",
                Counter,
                "Operations refused, each once",
                self.operations_rejected,
            ),
            (
                "entries_total",
                Counter,
                "Entries added to feeds",
                self.entries,
            ),
            (
                "forks_total",
                Counter,
                "Forks with stored evidence",
                self.forks,
            ),
            ("sessions", Gauge, "Sync sessions", net.sessions),
            (
                "sessions_live",
                Gauge,
                "Sync sessions that are live",
                net.sessions_live,
            ),
            (
                "connections_total",
                Counter,
                "Connections that passed the TLS handshake",
                net.connections,
            ),
            (
                "udp_sent_bytes_total",
                Counter,
                "Bytes sent in UDP datagrams",
                net.udp_sent_bytes,
            ),
            (
                "udp_received_bytes_total",
                Counter,
                "Bytes received in UDP datagrams",
                net.udp_received_bytes,
            ),
            (
                "sync_sent_bytes_total",
                Counter,
                "Bytes written to streams of sync",
                net.sync_sent_bytes,
            ),
            (
                "budget_bytes",
                Gauge,
                "Bytes that peers may make the node hold",
                net.budget_bytes,
            ),
            (
                "budget_used_bytes",
                Gauge,
                "Bytes that peers make the node hold",
                net.budget_used_bytes,
            ),
            (
                "budget_peak_bytes",
                Gauge,
                "Most bytes that peers made the node hold",
                net.budget_peak_bytes,
            ),
            (
                "heads_bytes",
                Gauge,
                "Bytes of the heads of logs that sessions compare",
                self.heads_bytes,
            ),
            (
                "peers_slowed_total",
                Counter,
                "Times that a peer had to wait for its share of the budget",
                net.peers_slowed,
            ),
            (
                "peers_closed_total",
                Counter,
                "Times that a peer was cut off for what it made the node hold",
                net.peers_closed,
            ),
            (
                "ephemeral_invalid_total",
                Counter,
                "Ephemeral messages dropped as invalid",
                net.ephemeral_invalid,
            ),
            (
                "ephemeral_lost_total",
                Counter,
                "Ephemeral messages lost for lack of room, or by slow readers",
                net.ephemeral_lost,
            ),
        ]
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind, help, value) in self.rows() {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            writeln!(f, "# HELP p2panda_{name} {help}")?;
            writeln!(f, "# TYPE p2panda_{name} {kind}")?;
            writeln!(f, "p2panda_{name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../docs/guide/observe.md");

    #[test]
    fn every_metric_is_documented_with_its_kind() {
        let mut names = BTreeSet::new();
        for (name, kind, _, _) in Metrics::default().rows() {
            assert!(names.insert(name), "{name} is there twice");
            let is_counter = matches!(kind, Kind::Counter);
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            let kind = if is_counter { "counter" } else { "gauge" };
            let row = format!("| `p2panda_{name}` | {kind} |");
            assert!(PAGE.contains(&row), "no row of the page begins with {row}");
        }
        assert_eq!(PAGE.matches("| `p2panda_").count(), names.len());
    }

    #[test]
    fn the_text_has_for_each_metric_its_help_its_type_and_its_value() {
        let metrics = Metrics {
            healthy: true,
            operations_stored: 7,
            ..Metrics::default()
        };
        let text = metrics.to_string();
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
        let lines: Vec<_> = text.lines().collect();
        for (rows, metric) in lines.chunks(3).zip(metrics.rows()) {
            let [help, kind, value] = rows else {
                unreachable!("three lines each")
            };
            let name = format!("p2panda_{}", metric.0);
            assert!(help.starts_with(&format!("# HELP {name} ")));
            assert!(kind.starts_with(&format!("# TYPE {name} ")));
            assert_eq!(*value, format!("{name} {}", metric.3));
        }
        assert!(lines.contains(&"p2panda_operations_stored_total 7"));
    }
}
