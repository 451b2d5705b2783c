//! Workloads of one node without a peer: ingest, import, publish, replay.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{StreamExt, stream};
use p2panda::network::MdnsDiscoveryMode;
use p2panda::operation::LogId;
use p2panda::streams::{StreamEvent, StreamFrom, StreamSubscription};
use p2panda::{Node, SigningKey};
use p2panda_stream::ingest::ingest_operation;

use crate::figures::{Row, Stopwatch, disk_bytes};
use crate::prepare::{Message, content, filled, key, operations, topic, url};

/// Number of the node's key; authors of prepared operations are below.
pub const NODE: u32 = 1_000_000;
/// Longest wait for one event; then a run counts as hanging.
const EVENT_WAIT: Duration = Duration::from_secs(15);

/// What is there before, and what is done then.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Operations done.
    pub n: usize,
    /// Bytes of content.
    pub payload_bytes: usize,
    /// Authors.
    pub authors: usize,
    /// Operations stored before.
    pub stored: usize,
    /// Seconds after which the run is cut off.
    pub limit_seconds: f64,
}

/// A node on loopback that finds nobody by itself.
pub async fn node(database: &Path, key: SigningKey, port: u16) -> Result<Node> {
    let builder = Node::builder()
        .database_url(&url(database))
        .signing_key(key)
        .mdns_mode(MdnsDiscoveryMode::Disabled)
        .bind_ip_v4([127, 0, 0, 1].into())
        .bind_port_v4(port)
        .bind_ip_v6(std::net::Ipv6Addr::LOCALHOST)
        .bind_port_v6(port);
    Ok(builder.spawn().await?)
}

/// The store alone.
pub async fn ingest(database: &Path, plan: Plan) -> Result<()> {
    let all = operations(plan.stored + plan.n, plan.authors, plan.payload_bytes)?;
    let store = filled(database, &all[..plan.stored]).await?;
    let (topic, mut done) = (topic()?, 0);
    let log_id = LogId::from_topic(topic);
    let watch = Stopwatch::start();
    for operation in &all[plan.stored..] {
        ingest_operation(&store, operation, &log_id, &topic, false).await?;
        done += 1;
        if watch.seconds() > plan.limit_seconds {
            break;
        }
    }
    plan.row("ingest", done, &watch, database).print();
    Ok(())
}

/// A node that is handed operations, until the last one is at the application.
pub async fn import(database: &Path, plan: Plan) -> Result<()> {
    let all = operations(plan.stored + plan.n, plan.authors, plan.payload_bytes)?;
    filled(database, &all[..plan.stored])
        .await?
        .pool()
        .close()
        .await;
    let node = node(database, key(NODE), 0).await?;
    let (tx, mut rx) = node.stream::<Message>(topic()?).await?;
    let rest = all[plan.stored..].to_vec();
    let watch = Stopwatch::start();
    let _import = tx.import(stream::iter(rest).boxed()).await?;
    let (done, _) = drain(&mut rx, plan.n, &watch, plan.limit_seconds).await?;
    plan.row("import", done, &watch, database).print();
    Ok(())
}

/// Own messages, one after the other.
pub async fn publish(database: &Path, plan: Plan) -> Result<()> {
    let stored = operations(plan.stored, 10, plan.payload_bytes)?;
    filled(database, &stored).await?.pool().close().await;
    let node = node(database, key(NODE), 0).await?;
    let (tx, mut rx) = node.stream::<Message>(topic()?).await?;
    tokio::spawn(async move { while rx.next().await.is_some() {} });
    let (watch, mut done, mut last) = (Stopwatch::start(), 0, None);
    while done < plan.n && watch.seconds() < plan.limit_seconds {
        let message = Message::from(content(plan.payload_bytes, done as u64));
        match tokio::time::timeout(EVENT_WAIT, tx.publish(message)).await {
            Ok(published) => last = Some(published?),
            Err(_) => break,
        }
        done += 1;
    }
    if let Some(published) = last {
        // One that never comes shows as fewer operations in the time.
        let _ = tokio::time::timeout(EVENT_WAIT, published).await;
    }
    plan.row("publish", done, &watch, database).print();
    Ok(())
}

/// Everything that is stored, to the application.
pub async fn replay(database: &Path, plan: Plan) -> Result<()> {
    let stored = operations(plan.n, plan.authors, plan.payload_bytes)?;
    filled(database, &stored).await?.pool().close().await;
    drop(stored);
    let watch = Stopwatch::start();
    let node = node(database, key(NODE), 0).await?;
    let open_seconds = watch.seconds();
    let watch = Stopwatch::start();
    let request = node.stream_from::<Message>(topic()?, StreamFrom::Start);
    let (_tx, mut rx) = request.await?;
    let (done, first_seconds) = drain(&mut rx, plan.n, &watch, plan.limit_seconds).await?;
    plan.row("replay", done, &watch, database)
        .with("open_seconds", open_seconds)
        .with("first_seconds", first_seconds)
        .print();
    Ok(())
}

impl Plan {
    fn row(&self, workload: &str, done: usize, watch: &Stopwatch, database: &Path) -> Row {
        Row::new(workload, done, self.payload_bytes, watch.seconds())
            .of_process(watch)
            .with("finished", done == self.n)
            .with("asked", self.n)
            .with("stored", self.stored)
            .with("authors", self.authors)
            .with("disk_bytes", disk_bytes(database))
    }
}

/// Reads until `n` operations were processed, the limit has passed or nothing comes any more.
/// Gives their number and when the first one came.
async fn drain(
    rx: &mut StreamSubscription<Message>,
    n: usize,
    watch: &Stopwatch,
    limit_seconds: f64,
) -> Result<(usize, f64)> {
    let (mut done, mut first_seconds) = (0, 0.0);
    while done < n && watch.seconds() < limit_seconds {
        match tokio::time::timeout(EVENT_WAIT, rx.next()).await {
            Err(_) => break,
            Ok(None) => bail!("the stream ended"),
            Ok(Some(StreamEvent::Processed { .. })) => {
                if done == 0 {
                    first_seconds = watch.seconds();
                }
                done += 1;
            }
            Ok(Some(StreamEvent::ProcessingFailed { error, .. })) => bail!("failed: {error}"),
            Ok(Some(_)) => {}
        }
    }
    Ok((done, first_seconds))
}
