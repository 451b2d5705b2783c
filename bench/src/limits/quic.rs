//! One QUIC connection between two endpoints of one process, on loopback.

use std::error::Error;
use std::time::Duration;

use iroh::endpoint::{Connection, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode};

use crate::Failure;
use crate::figures::{Row, Stopwatch, percentiles};

const ALPN: &[u8] = b"limit";
/// Questions asked one after the other.
const QUESTIONS: usize = 1_000;
/// Bytes of a question and of an answer.
const ANSWER_BYTES: usize = 100;
/// Bytes of one write: as much as it takes, and operations of 1 KiB and of 100 B.
const WRITES: [usize; 3] = [1 << 16, 1_280, 320];

/// Anything that iroh fails with.
type Any = Box<dyn Error + Send + Sync>;

/// Connects, asks, and fetches in bulk; with an interval between the questions, only asks.
pub async fn run(mib: usize, interval: Duration) -> Result<(), Failure> {
    measure(mib, interval).await.map_err(Failure::Quic)
}

async fn measure(mib: usize, interval: Duration) -> Result<(), Any> {
    let (server, client) = (endpoint().await?, endpoint().await?);
    let sockets = server.bound_sockets();
    let socket = *sockets.first().ok_or(Failure::NoAddress)?;
    let addr = EndpointAddr::new(server.id()).with_ip_addr(socket);
    tokio::spawn(serve(server));
    let watch = Stopwatch::start();
    let connection = client.connect(addr, ALPN).await?;
    Row::new("limit-quic-connect", 1, 0, watch.seconds()).print();

    let paced = !interval.is_zero();
    let mut tick = tokio::time::interval(interval.max(Duration::from_micros(1)));
    let mut waits_ms = Vec::with_capacity(QUESTIONS);
    let watch = Stopwatch::start();
    for _ in 0..QUESTIONS {
        if paced {
            tick.tick().await;
        }
        let asked = Stopwatch::start();
        fetch(&connection, ANSWER_BYTES, ANSWER_BYTES).await?;
        waits_ms.push(asked.seconds() * 1e3);
    }
    let name = if paced {
        "limit-quic-request-paced"
    } else {
        "limit-quic-request"
    };
    Row::new(name, QUESTIONS, ANSWER_BYTES, watch.seconds())
        .with("wait_ms", percentiles(waits_ms))
        .print();

    let bytes = mib << 20;
    for each in WRITES.into_iter().filter(|_| !paced) {
        let watch = Stopwatch::start();
        fetch(&connection, bytes, each).await?;
        Row::new("limit-quic-bulk", bytes / each, each, watch.seconds()).print();
    }
    client.close().await;
    Ok(())
}

async fn endpoint() -> Result<Endpoint, Any> {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?;
    Ok(builder.bind().await?)
}

/// Sends as many bytes as asked for, in writes of the size asked for.
async fn serve(endpoint: Endpoint) -> Result<(), Any> {
    let incoming = endpoint.accept().await.ok_or(Failure::Ended)?;
    let connection = incoming.await?;
    loop {
        let (mut tx, mut rx) = connection.accept_bi().await?;
        let (mut total, mut each) = ([0; 8], [0; 8]);
        rx.read_exact(&mut total).await?;
        rx.read_exact(&mut each).await?;
        let mut left = u64::from_le_bytes(total) as usize;
        let chunk = vec![9; u64::from_le_bytes(each) as usize];
        while left > 0 {
            let part = chunk.get(..left).unwrap_or(&chunk);
            tx.write_all(part).await?;
            left -= part.len();
        }
        tx.finish()?;
    }
}

/// Asks for bytes and reads them all.
async fn fetch(connection: &Connection, total: usize, each: usize) -> Result<(), Any> {
    let (mut tx, mut rx) = connection.open_bi().await?;
    let ask = [(total as u64).to_le_bytes(), (each as u64).to_le_bytes()];
    tx.write_all(&ask.concat()).await?;
    tx.finish()?;
    let mut got = 0;
    while let Some(chunk) = rx.read_chunk(1 << 16).await? {
        got += chunk.len();
    }
    match got == total {
        true => Ok(()),
        false => Err(Failure::Ended.into()),
    }
}
