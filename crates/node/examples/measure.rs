//! First figures of a node: publish, catch-up between two nodes on loopback, bytes on the wire and on
//! disk, time to open.
//!
//! ```text
//! cargo run --release -p p2panda --example measure -- [OPERATIONS] [BODY_BYTES]
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};

use p2panda::{Builder, Mdns, NetworkId, Publisher, StartAt, Topic};

/// Publishes awaited one after the other.
const AWAITED: usize = 1_000;
/// Publishes under way at the same time.
const IN_FLIGHT: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let operations: usize = args.next().map_or(Ok(100_000), |arg| arg.parse())?;
    let body_bytes: usize = args.next().map_or(Ok(100), |arg| arg.parse())?;
    // A byte string of up to 65 535 bytes carries at most three bytes in front of its content.
    let overhead = if body_bytes < 258 { 2 } else { 3 };
    let content = vec![0x61; body_bytes.saturating_sub(overhead)];
    let (dirs, topic) = (
        [tempfile::tempdir()?, tempfile::tempdir()?],
        p2panda::random_topic()?,
    );
    let network = NetworkId::from_bytes(*p2panda::random_topic()?.as_bytes());

    let a = builder(network, dirs[0].path()).spawn().await?;
    let (tx, _rx) = a.stream(topic).start(StartAt::Now).await?;
    let awaited = awaited(&tx, &content).await?;
    println!("publish, awaited          {awaited:>10.0} operations/s");
    let in_flight = in_flight(&tx, &content, operations.saturating_sub(AWAITED)).await?;
    println!("publish, {IN_FLIGHT} in flight     {in_flight:>10.0} operations/s");

    let started = Instant::now();
    let b = builder(network, dirs[1].path()).spawn().await?;
    let (_tx, mut rx) = b.stream(topic).await?;
    let addr = *a.net().addr().first().ok_or("no address")?;
    b.net().add_peer(a.id(), addr);
    for _ in 0..operations {
        rx.next().await.ok_or("the stream ended")?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let payload = a.topic(topic).status().await?.totals.bytes;
    let wire = a.net().counters().udp_sent_bytes + b.net().counters().udp_sent_bytes;
    println!("catch-up, start to last   {seconds:>10.2} s");
    println!(
        "catch-up                  {:>10.0} operations/s",
        operations as f64 / seconds
    );
    println!(
        "header and body           {:>10.1} bytes/operation",
        per(payload, operations)
    );
    println!(
        "wire, both ways           {:>10.1} bytes/operation",
        per(wire, operations)
    );

    b.shutdown().await?;
    a.shutdown().await?;
    let disk = disk_bytes(dirs[0].path())?;
    println!(
        "disk after a clean close  {:>10.1} bytes/operation",
        per(disk, operations)
    );
    let started = Instant::now();
    let a = builder(network, dirs[0].path()).spawn().await?;
    println!(
        "open                      {:>10.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    println!(
        "first message             {:>10.1} ms",
        first_message(&a, topic).await?
    );
    a.shutdown().await?;
    Ok(())
}

fn builder(network: NetworkId, dir: &Path) -> Builder {
    p2panda::builder()
        .data_dir(dir)
        .network_id(network)
        .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
        .mdns(Mdns::Off)
        .state_dir(None)
}

async fn awaited(tx: &Publisher, content: &[u8]) -> Result<f64, p2panda::Error> {
    let started = Instant::now();
    for _ in 0..AWAITED {
        tx.publish(content).await?;
    }
    Ok(AWAITED as f64 / started.elapsed().as_secs_f64())
}

async fn in_flight(tx: &Publisher, content: &[u8], count: usize) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for task in 0..IN_FLIGHT {
        let (tx, content) = (tx.clone(), content.to_vec());
        tasks.push(tokio::spawn(async move {
            for _ in (task..count).step_by(IN_FLIGHT) {
                tx.publish(content.as_slice()).await?;
            }
            Ok::<(), p2panda::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

async fn first_message(node: &p2panda::Node, topic: Topic) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let (_tx, mut rx) = node.stream(topic).start(StartAt::Beginning).await?;
    let message = tokio::time::timeout(Duration::from_secs(60), rx.next()).await?;
    message.ok_or("the stream ended")?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn per(bytes: u64, operations: usize) -> f64 {
    bytes as f64 / operations as f64
}
