//! The workloads of both sides: one rate for each.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::server::{SUBJECT, Server};

/// Bytes of content of each message, on both sides.
const PAYLOAD_BYTES: usize = 100;

/// Acknowledgements and publishes that are awaited at the same time.
const IN_FLIGHT: usize = 64;

/// Time for which an acknowledgement is waited for before the message comes again: longer than any
/// run.
const ACK_WAIT: Duration = Duration::from_secs(600);

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Publish, each awaited before the next.
    Publish,
    /// Publish, 64 awaited at the same time.
    PublishInFlight,
    /// Hand everything that is stored to a durable consumer, in messages per second.
    Replay,
    /// Acknowledge each message by itself, each answer awaited before the next.
    Acks,
    /// The same, 64 awaited at the same time.
    AcksInFlight,
}

impl Work {
    pub const ALL: [Work; 5] = [
        Work::Publish,
        Work::PublishInFlight,
        Work::Replay,
        Work::Acks,
        Work::AcksInFlight,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Work::Publish => "publish awaited",
            Work::PublishInFlight => "publish, 64 in flight",
            Work::Replay => "replay to a durable consumer",
            Work::Acks => "acknowledgements, one by one",
            Work::AcksInFlight => "acknowledgements, 64 in flight",
        }
    }

    fn messages(self) -> usize {
        match self {
            Work::Publish | Work::Acks => 5_000,
            Work::PublishInFlight | Work::AcksInFlight => 20_000,
            Work::Replay => 100_000,
        }
    }

    /// The workload of `p2panda-bench` that does the same.
    fn arguments(self) -> Vec<String> {
        let (name, in_flight): (&str, &[&str]) = match self {
            Work::Publish => ("publish", &["--in-flight", "1"]),
            Work::PublishInFlight => ("publish", &["--in-flight", "64"]),
            Work::Replay => ("consumer-replay", &[]),
            Work::Acks => ("consumer-acks", &["--in-flight", "1"]),
            Work::AcksInFlight => ("consumer-acks", &["--in-flight", "64"]),
        };
        let (n, payload) = (self.messages().to_string(), PAYLOAD_BYTES.to_string());
        let mut arguments = vec![name, "--n", &n, "--payload", &payload];
        arguments.extend(in_flight);
        arguments.into_iter().map(String::from).collect()
    }

    /// Of a p2panda node, per second.
    pub async fn ours(self, bench: &Path, root: &Path) -> Result<f64> {
        let mut command = Command::new(bench);
        command.arg("--dir").arg(root).args(self.arguments());
        let output = command
            .output()
            .await
            .context("p2panda-bench does not start")?;
        ensure!(
            output.status.success(),
            "p2panda-bench: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Before it may come a row of what the machine does at most.
        let rows = String::from_utf8(output.stdout)?;
        let row = rows.lines().last().context("p2panda-bench prints no row")?;
        let row: Value = serde_json::from_str(row)?;
        let seconds = row.get("seconds").and_then(Value::as_f64);
        let seconds = seconds.context("a row of p2panda-bench has no seconds")?;
        Ok(self.messages() as f64 / seconds)
    }

    /// Of a nats-server, per second.
    pub async fn theirs(self, server: &Server) -> Result<f64> {
        let n = self.messages();
        match self {
            Work::Publish => publish(server, n, 1).await,
            Work::PublishInFlight => publish(server, n, IN_FLIGHT).await,
            Work::Replay => {
                publish(server, n, IN_FLIGHT).await?;
                replay(server, n).await
            }
            Work::Acks => {
                publish(server, n, IN_FLIGHT).await?;
                acknowledge(server, n, 1).await
            }
            Work::AcksInFlight => {
                publish(server, n, IN_FLIGHT).await?;
                acknowledge(server, n, IN_FLIGHT).await
            }
        }
    }
}

async fn publish(server: &Server, n: usize, in_flight: usize) -> Result<f64> {
    let payload = vec![2; PAYLOAD_BYTES];
    let mut waiting = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..n {
        if waiting.len() >= in_flight {
            stored(waiting.join_next().await)?;
        }
        let payload = payload.clone().into();
        let answer = server.context.publish(SUBJECT, payload).await?;
        match in_flight {
            1 => drop(answer.await?),
            _ => drop(waiting.spawn(async move { answer.await.map(drop) })),
        }
    }
    while let Some(answer) = waiting.join_next().await {
        stored(Some(answer))?;
    }
    Ok(n as f64 / begun.elapsed().as_secs_f64())
}

fn stored<E>(answer: Option<Result<Result<(), E>, tokio::task::JoinError>>) -> Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match answer {
        Some(answer) => Ok(answer??),
        None => Ok(()),
    }
}

async fn consumer(server: &Server, policy: AckPolicy) -> Result<PullConsumer> {
    let consumer = server.stream.create_consumer(pull::Config {
        durable_name: Some("bench".into()),
        ack_policy: policy,
        ack_wait: ACK_WAIT,
        // As many as our consumers have in flight by default.
        max_ack_pending: 1_000,
        ..Default::default()
    });
    Ok(consumer.await?)
}

/// A durable consumer that acknowledges all before with one answer now and then, as ours does that
/// acknowledges a message with the next one.
async fn replay(server: &Server, n: usize) -> Result<f64> {
    let consumer = consumer(server, AckPolicy::All).await?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(500)
        .messages()
        .await?;
    let begun = Instant::now();
    for number in 0..n {
        let message = messages.next().await.context("the stream ended")??;
        if number % 250 == 249 {
            message.ack().await.map_err(anyhow::Error::from_boxed)?;
        }
    }
    Ok(n as f64 / begun.elapsed().as_secs_f64())
}

async fn acknowledge(server: &Server, n: usize, in_flight: usize) -> Result<f64> {
    let consumer = consumer(server, AckPolicy::Explicit).await?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(500)
        .messages()
        .await?;
    let mut waiting = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..n {
        if waiting.len() >= in_flight {
            waiting.join_next().await.transpose()?.transpose()?;
        }
        let message = messages.next().await.context("the stream ended")??;
        let acknowledge = async move {
            let answer = message.double_ack_with(AckKind::Ack).await;
            answer.map_err(anyhow::Error::from_boxed)
        };
        match in_flight {
            1 => acknowledge.await?,
            _ => drop(waiting.spawn(acknowledge)),
        }
    }
    while let Some(answer) = waiting.join_next().await {
        answer??;
    }
    Ok(n as f64 / begun.elapsed().as_secs_f64())
}
