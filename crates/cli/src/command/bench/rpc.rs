//! `panda bench rpc`: what the RPC of a node costs on this machine.

use std::time::{Duration, Instant};

use p2panda::Node;
use p2panda_rpc::api::{self, Content, NewMessage, PublishParams, SubscribeParams};
use p2panda_rpc::client::{Client, Credential};
use p2panda_rpc::daemon::{self, Config, Grant, Quotas, Running, Scopes};
use serde::Serialize;
use tokio::task::JoinSet;

use super::daemon as daemon_process;
use super::{node, publish_since, resident_kib, text};
use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::serve::ServeError;

/// Requests that are timed, one after the other.
const REQUESTS: usize = 2_000;

/// Subscribers that wait for messages.
const SUBSCRIBERS: usize = 1_000;

/// Subscribers of a connection.
const PER_CONNECTION: usize = 50;

const TOKEN: &str = "of nobody but this process";

/// Output of `panda bench rpc --json`.
#[derive(Serialize)]
pub struct Measured {
    test: &'static str,
    messages: u64,
    bytes: u32,
    /// The median of a request, by the Unix socket and by a WebSocket over TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    unix_p50_us: Option<u64>,
    tcp_p50_us: u64,
    /// Messages that the client took from a subscription.
    stream_messages_per_second: f64,
    /// Publishes that were answered, and how that compares with the library in this process.
    publish_messages_per_second: f64,
    publish_ratio: f64,
    /// Growth of this process, node and clients, with this many idle subscribers.
    idle_subscribers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_subscribers_kib: Option<u64>,
    /// Of `panda node run` as a process, on a home with as many messages.
    #[serde(flatten)]
    daemon: Option<DaemonLine>,
}

/// Cost of a node as a process.
#[derive(Serialize)]
struct DaemonLine {
    ready_ms: f64,
    idle_resident_kib: u64,
    idle_wakeups_per_second: f64,
    /// From SIGTERM to the exit, with 100 streams open.
    ended_ms: f64,
}

impl DaemonLine {
    fn of(measured: daemon_process::Measured) -> DaemonLine {
        DaemonLine {
            ready_ms: measured.ready.as_secs_f64() * 1e3,
            idle_resident_kib: measured.resident_kib,
            idle_wakeups_per_second: measured.wakeups_per_second,
            ended_ms: measured.ended.as_secs_f64() * 1e3,
        }
    }
}

impl Measured {
    pub fn plain(&self) -> String {
        let unix = self.unix_p50_us.map_or_else(
            || "no Unix socket".to_owned(),
            |us| format!("Unix request p50 {us} us"),
        );
        let idle = self.idle_subscribers_kib.map_or_else(String::new, |kib| {
            format!(", {} idle subscribers {kib} KiB", self.idle_subscribers)
        });
        let process = self.daemon.as_ref().map_or_else(String::new, |process| {
            format!(
                "; process: ready in {:.0} ms, idle {} KiB and {:.1} wake-ups/s, ended in {:.0} ms with 100 \
                streams",
                process.ready_ms,
                process.idle_resident_kib,
                process.idle_wakeups_per_second,
                process.ended_ms
            )
        });
        format!(
            "rpc: {unix}, TCP {} us, stream {:.0} messages/s, publish {:.0} messages/s ({:.2} of the \
            library){idle}{process}",
            self.tcp_p50_us,
            self.stream_messages_per_second,
            self.publish_messages_per_second,
            self.publish_ratio
        )
    }
}

pub async fn run(args: &BenchArgs) -> Result<Measured, Failure> {
    let network = *p2panda::random_topic()?.as_bytes();
    let node = node(p2panda::NetworkId::from_bytes(network)).await?;
    let served = serve(&node).await?;
    let tcp = connect(&served).await?;
    #[cfg(unix)]
    let unix = match served.unix_path() {
        Some(path) => Some(Client::unix(path).await?),
        None => None,
    };
    #[cfg(not(unix))]
    let unix: Option<Client> = None;
    let unix_p50_us = match &unix {
        Some(client) => Some(request_p50(client).await?),
        None => None,
    };
    let tcp_p50_us = request_p50(&tcp).await?;
    let client = unix.unwrap_or(tcp);
    let library = publish_by_library(&node, args).await?;
    let topic = p2panda::random_topic()?.to_string();
    let published = publish(&client, &topic, args).await?;
    let streamed = stream(&client, &topic, args.messages).await?;
    let idle_subscribers_kib = idle(&served, &topic).await?;
    served.shutdown().await;
    node.shutdown().await?;
    let process = daemon_process::run(args).await?;
    let rate = |took: Duration| args.messages as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Measured {
        test: "rpc",
        messages: args.messages,
        bytes: args.bytes,
        unix_p50_us,
        tcp_p50_us,
        stream_messages_per_second: rate(streamed),
        publish_messages_per_second: rate(published),
        publish_ratio: rate(published) / rate(library),
        idle_subscribers: SUBSCRIBERS,
        idle_subscribers_kib,
        daemon: process.map(DaemonLine::of),
    })
}

async fn serve(node: &Node) -> Result<Running, Failure> {
    let mut config = Config::new(node.data_dir());
    config.tcp.push(([127, 0, 0, 1], 0).into());
    #[cfg(unix)]
    {
        let path = node.data_dir().join("rpc");
        config.unix = Some(daemon::UnixPath { path, mode: 0o600 });
    }
    config.access.grants = vec![Grant::token("bench", TOKEN, Scopes::all())];
    config.quotas = Quotas {
        requests_per_second: u64::MAX >> 12,
        bytes_per_second: u64::MAX >> 12,
        ..Quotas::default()
    };
    let served = daemon::start(node.clone(), config).await;
    served.map_err(|error| ServeError::from(error).into())
}

async fn connect(served: &Running) -> Result<Client, Failure> {
    let addr = served.tcp_addrs().first().map(ToString::to_string);
    let url = format!("ws://{}/rpc", addr.unwrap_or_default());
    Ok(Client::websocket(&url, Credential::Token(TOKEN.to_owned())).await?)
}

async fn request_p50(client: &Client) -> Result<u64, Failure> {
    let mut took = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        client.call::<api::NodeStatus>(&api::Empty {}).await?;
        took.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    took.sort_unstable();
    Ok(took.get(REQUESTS / 2).copied().unwrap_or_default())
}

async fn publish_by_library(node: &Node, args: &BenchArgs) -> Result<Duration, Failure> {
    let publisher = node.publisher(p2panda::random_topic()?).await?;
    let (took, _) = publish_since(&publisher, args, Instant::now()).await?;
    Ok(took)
}

async fn publish(client: &Client, topic: &str, args: &BenchArgs) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    let each = args.messages.div_ceil(u64::from(args.in_flight));
    for worker in 0..u64::from(args.in_flight) {
        let (client, topic) = (client.clone(), topic.to_owned());
        let (bytes, messages) = (args.bytes as usize, args.messages);
        workers.spawn(async move {
            for at in worker * each..messages.min((worker + 1) * each) {
                let message = NewMessage {
                    content: Some(Content::Text(text(at, bytes))),
                    ..NewMessage::default()
                };
                let topic = topic.clone();
                let wait = None;
                let params = PublishParams {
                    topic,
                    message,
                    wait,
                };
                client.call::<api::Publish>(&params).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        // A worker that broke says so itself.
        worker.ok().transpose()?;
    }
    Ok(began.elapsed())
}

async fn stream(client: &Client, topic: &str, messages: u64) -> Result<Duration, Failure> {
    let params = SubscribeParams {
        topics: vec![topic.to_owned()],
        ..SubscribeParams::default()
    };
    let began = Instant::now();
    let mut stream = client.messages(params).await?;
    for _ in 0..messages {
        if stream.next().await?.is_none() {
            return Err(Failure::Node(p2panda::Error::Closed));
        }
    }
    Ok(began.elapsed())
}

/// Measures the growth of the process; `None` where the system does not tell.
async fn idle(served: &Running, topic: &str) -> Result<Option<u64>, Failure> {
    let before = resident_kib("/proc/self/status");
    let (mut clients, mut streams) = (Vec::new(), Vec::new());
    let params = SubscribeParams {
        topics: vec![topic.to_owned()],
        start: Some(api::Start::Now),
        ..SubscribeParams::default()
    };
    for _ in 0..SUBSCRIBERS / PER_CONNECTION {
        let client = connect(served).await?;
        for _ in 0..PER_CONNECTION {
            streams.push(client.messages(params.clone()).await?);
        }
        clients.push(client);
    }
    let after = resident_kib("/proc/self/status");
    let grown = before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before));
    drop((streams, clients));
    Ok(grown)
}
