//! `panda bench`

mod daemon;
mod rpc;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use p2panda::{Mdns, NetworkId, Node, Publisher, StartAt, Subscription};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::args::{BenchArgs, BenchCommand};
use crate::failure::{Failure, Outcome, of_subscription};
use crate::interrupt::Interrupt;
use crate::output;

/// Digits at the beginning of a message: when it was published, in microseconds of this run.
const STAMP_BYTES: usize = 16;

/// Measures, in temporary directories that are gone afterwards.
pub async fn run(command: &BenchCommand) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let work = async {
        Ok::<_, Failure>(match command {
            BenchCommand::Pub(args) => said(&publish(args).await?.0, args, Measured::plain),
            BenchCommand::Sub(args) => said(&subscribe(args).await?.0, args, Measured::plain),
            BenchCommand::Pubsub(args) => {
                said(&publish_and_subscribe(args).await?.0, args, Measured::plain)
            }
            BenchCommand::Rpc(args) => said(&rpc::run(args).await?, args, rpc::Measured::plain),
        })
    };
    let written = tokio::select! {
        written = work => written?,
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    };
    // Whether somebody reads it makes no difference.
    let _ = written.map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

fn said<M: Serialize>(
    measured: &M,
    args: &BenchArgs,
    plain: fn(&M) -> String,
) -> std::io::Result<output::Written> {
    match args.json {
        true => output::json(measured),
        false => output::line(&plain(measured)),
    }
}

/// Output of `panda bench --json`.
#[derive(Serialize)]
struct Measured {
    test: &'static str,
    messages: u64,
    bytes: u32,
    seconds: f64,
    messages_per_second: f64,
    /// Of a publish until it is stored, or until the other node has delivered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p50_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p99_us: Option<u64>,
}

impl Measured {
    fn new(test: &'static str, args: &BenchArgs, took: Duration, mut latencies: Vec<u64>) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            let place = latencies.len().saturating_sub(1) * percent / 100;
            latencies.get(place).copied()
        };
        let seconds = took.as_secs_f64();
        Measured {
            test,
            messages: args.messages,
            bytes: args.bytes,
            seconds,
            messages_per_second: args.messages as f64 / seconds.max(f64::MIN_POSITIVE),
            latency_p50_us: at(50),
            latency_p99_us: at(99),
        }
    }

    fn plain(&self) -> String {
        let rate = self.messages_per_second;
        let mut plain = format!(
            "{}: {} messages of {} bytes in {:.3} s: {rate:.0} messages/s, {:.2} MB/s",
            self.test,
            self.messages,
            self.bytes,
            self.seconds,
            rate * f64::from(self.bytes) / 1e6,
        );
        if let (Some(p50), Some(p99)) = (self.latency_p50_us, self.latency_p99_us) {
            let ms = |us: u64| us as f64 / 1e3;
            plain.push_str(&format!(
                ", latency p50 {:.2} ms, p99 {:.2} ms",
                ms(p50),
                ms(p99)
            ));
        }
        plain
    }
}

async fn publish(args: &BenchArgs) -> Result<(Measured, &BenchArgs), Failure> {
    let node = node(NetworkId::from_bytes(*p2panda::random_topic()?.as_bytes())).await?;
    let (publisher, _messages) = node.stream(p2panda::random_topic()?).await?;
    let (took, latencies) = publish_all(&publisher, args).await?;
    node.shutdown().await?;
    Ok((Measured::new("pub", args, took, latencies), args))
}

async fn subscribe(args: &BenchArgs) -> Result<(Measured, &BenchArgs), Failure> {
    let node = node(NetworkId::from_bytes(*p2panda::random_topic()?.as_bytes())).await?;
    let topic = p2panda::random_topic()?;
    let (publisher, unread) = node.stream(topic).await?;
    drop(unread);
    publish_all(&publisher, args).await?;
    let from_start = node.stream(topic).start(StartAt::Beginning);
    let (_publisher, mut messages) = from_start.await?;
    let began = Instant::now();
    receive_all(&mut messages, args, |_| ()).await?;
    let took = began.elapsed();
    node.shutdown().await?;
    Ok((Measured::new("sub", args, took, Vec::new()), args))
}

async fn publish_and_subscribe(args: &BenchArgs) -> Result<(Measured, &BenchArgs), Failure> {
    let network = NetworkId::from_bytes(*p2panda::random_topic()?.as_bytes());
    let topic = p2panda::random_topic()?;
    let [from, to] = [node(network).await?, node(network).await?];
    let (publisher, _messages) = from.stream(topic).await?;
    let (_publisher, mut messages) = to.stream(topic).await?;
    if let Some(addr) = from.net().addr().first() {
        to.net().add_peer(from.id(), *addr);
    }
    messages.caught_up().await?;
    let began = Instant::now();
    let mut latencies = Vec::new();
    let received = receive_all(&mut messages, args, |message| {
        let now = began.elapsed().as_micros() as u64;
        let sent = message
            .get(..STAMP_BYTES)
            .and_then(|sent| sent.parse().ok());
        latencies.extend(sent.map(|sent: u64| now.saturating_sub(sent)));
    });
    let (published, received) = tokio::join!(publish_since(&publisher, args, began), received);
    published?;
    received?;
    let took = began.elapsed();
    from.shutdown().await?;
    to.shutdown().await?;
    Ok((Measured::new("pubsub", args, took, latencies), args))
}

/// A node of its own in a temporary directory, on loopback.
async fn node(network: NetworkId) -> Result<Node, Failure> {
    let builder = p2panda::builder().network_id(network).mdns(Mdns::Off);
    let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    Ok(builder.bind(loopback, None).temporary().spawn().await?)
}

async fn publish_all(
    publisher: &Publisher,
    args: &BenchArgs,
) -> Result<(Duration, Vec<u64>), Failure> {
    publish_since(publisher, args, Instant::now()).await
}

/// Publishes everything, this many at a time, and gives back how long each publish took.
async fn publish_since(
    publisher: &Publisher,
    args: &BenchArgs,
    began: Instant,
) -> Result<(Duration, Vec<u64>), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..args.in_flight {
        let (publisher, next) = (publisher.clone(), Arc::clone(&next));
        let (messages, bytes) = (args.messages, args.bytes);
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < messages {
                let at = began.elapsed().as_micros() as u64;
                publisher.publish(text(at, bytes as usize)).await?;
                latencies.push(began.elapsed().as_micros() as u64 - at);
            }
            Ok::<_, p2panda::Error>(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(args.messages as usize);
    while let Some(worker) = workers.join_next().await {
        // A worker that broke says so itself.
        latencies.extend(worker.ok().transpose()?.unwrap_or_default());
    }
    Ok((began.elapsed(), latencies))
}

fn text(at: u64, bytes: usize) -> String {
    let mut text = format!("{at:0width$}", width = STAMP_BYTES);
    text.extend(std::iter::repeat_n('.', bytes.saturating_sub(STAMP_BYTES)));
    text
}

/// Receives every message once.
async fn receive_all(
    messages: &mut Subscription,
    args: &BenchArgs,
    mut each: impl FnMut(&str),
) -> Result<(), Failure> {
    for _ in 0..args.messages {
        let Some(message) = messages.next().await else {
            of_subscription(messages)?;
            return Err(Failure::Node(p2panda::Error::Closed));
        };
        each(message.text().unwrap_or_default());
    }
    Ok(())
}

/// Memory of a process, by its file of the system.
fn resident_kib(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
