//! Workloads of named durable consumers, each next to what bounds it, in one run.

use std::path::Path;
use std::sync::Arc;

use p2panda::{Acking, Consumer, ConsumerMode, Node, Topic};
use p2panda_core::limits::{FEED_PAGE_BYTES_MAX, FEED_PAGE_ROWS_MAX};
use p2panda_engine::{Engine, thread};
use p2panda_store::{PageLimits, Readers};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Failure;
use crate::figures::{Row, Stopwatch, resident_bytes};
use crate::limits;
use crate::prepare::{self, Logs, builder, topic};

/// Messages acknowledged each by itself, that many at the same time, next to commits of this
/// machine.
pub async fn acks(root: &Path, stored: Logs, in_flight: usize) -> Result<(), Failure> {
    let commit_seconds = limits::disk::commit_seconds(root, stored.n)?;
    let dir = stored.copy(root, "consumer-acks")?;
    let node = builder(&dir).spawn().await?;
    let mut consumer = node.consumer("bench").topics([topic(0)]).open().await?;
    let room = Arc::new(Semaphore::new(in_flight));
    let mut tasks = JoinSet::new();
    let watch = Stopwatch::start();
    for _ in 0..stored.n {
        let delivery = consumer.next().await.ok_or(Failure::Ended)?;
        if in_flight == 1 {
            delivery.ack().await?;
            continue;
        }
        let room = Arc::clone(&room).acquire_owned().await;
        tasks.spawn(async move {
            let _room = room;
            delivery.ack().await.map(drop)
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let seconds = watch.seconds();
    Row::new("consumer-acks", stored.n, stored.payload_bytes, seconds)
        .of_process(&watch)
        .with("in_flight", in_flight)
        .with("of_commits", commit_seconds / seconds)
        .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

/// All that is stored, through that many consumers at once, each acknowledging with the next
/// message, next to as many plain reads of the feed.
pub async fn replay(root: &Path, stored: Logs, consumers: usize) -> Result<(), Failure> {
    let dir = stored.copy(root, "consumer-replay")?;
    let engine = Engine::open(&dir, prepare::options(Some(&dir)), thread::system_clock()())?;
    let readers = engine.readers();
    let watch = Stopwatch::start();
    for _ in 0..consumers {
        read_feed(&readers, stored.n)?;
    }
    let feed_seconds = watch.seconds();
    engine.close()?;
    let node = builder(&dir).spawn().await?;
    let mut tasks = JoinSet::new();
    let before_bytes = resident_bytes();
    let watch = Stopwatch::start();
    for number in 0..consumers {
        let request = node.consumer(format!("bench {number}")).topics([topic(0)]);
        let consumer = request.acking(Acking::OnNext).open().await?;
        tasks.spawn(read_all(consumer, stored.n));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let (seconds, after_bytes) = (watch.seconds(), resident_bytes());
    Row::new("consumer-replay", stored.n, stored.payload_bytes, seconds)
        .of_process(&watch)
        .with("consumers", consumers)
        .with("of_feed_reads", feed_seconds / seconds)
        .with("rss_growth_bytes", after_bytes.saturating_sub(before_bytes))
        .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

async fn read_all(mut consumer: Consumer, messages: usize) -> Result<(), Failure> {
    for _ in 0..messages {
        consumer.next().await.ok_or(Failure::Ended)?;
    }
    Ok(())
}

fn read_feed(readers: &Readers, messages: usize) -> Result<(), Failure> {
    let reader = readers.open()?;
    let limits = PageLimits {
        rows: FEED_PAGE_ROWS_MAX,
        bytes: FEED_PAGE_BYTES_MAX,
    };
    let (mut after, mut read) = (0, 0);
    while read < messages {
        let page = reader.feed_page(&topic(0), after, limits, None);
        let page = page?;
        read += page.entries.len();
        after = page.last_offset;
        if !page.more {
            break;
        }
    }
    prepare::expect_stored(messages, read)
}

/// Opening a consumer that exists, over that many topics, one of which has a history.
pub async fn open(root: &Path, stored: Logs, topics: u32) -> Result<(), Failure> {
    let dir = stored.copy(root, "consumer-open")?;
    let node: Node = builder(&dir).spawn().await?;
    let topics: Vec<Topic> = (0..topics).map(topic).collect();
    let request = || node.consumer("bench").without_joining();
    let made = request().topics(topics.clone()).mode(ConsumerMode::Shared);
    let mut consumer = made.open().await?;
    for delivery in consumer.fetch(100).await? {
        delivery.ack().await?;
    }
    drop(consumer);
    // What it had to store is stored once another command is answered.
    node.consumers(None).await?;
    let watch = Stopwatch::start();
    let consumer = request().open().await?;
    let seconds = watch.seconds();
    drop(consumer);
    Row::new("consumer-open", stored.n, stored.payload_bytes, seconds)
        .with("topics", topics.len())
        .with("open_ms", seconds * 1e3)
        .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}
