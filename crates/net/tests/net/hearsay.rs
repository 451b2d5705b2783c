//! Traffic to addresses known by hearsay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iroh::endpoint::{Connection, ConnectionError};
use p2panda_core::{HybridTimestamp, SigningKey, VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::discovery::{Discovery, Input, Local, Output};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::record::{Address, TransportInfo};
use p2panda_protocol::time::Time;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::fake_node::FakeNode;
use crate::probe::Probe;

const PATIENCE: Duration = Duration::from_secs(30);

fn record(seed: u8, addresses: impl IntoIterator<Item = SocketAddr>) -> TransportInfo {
    record_of(seed, addresses, None).1
}

/// A node and what it signs of itself.
pub fn record_of(
    seed: u8,
    addresses: impl IntoIterator<Item = SocketAddr>,
    relay: Option<&str>,
) -> (VerifyingKey, TransportInfo) {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let timestamp = HybridTimestamp::new(micros.as_micros() as u64, 0);
    let relay = relay.map(|url| Address::Relay(url.to_owned()));
    let addresses = addresses
        .into_iter()
        .map(Address::ip)
        .chain(relay)
        .collect();
    let key = SigningKey::from_bytes(&[seed; 32]);
    let info = TransportInfo::sign(&key, timestamp, addresses).unwrap();
    (key.verifying_key(), info)
}

/// One discovery session in which a teller gives records to a node, tried again while the one before
/// is not over for the node.
pub async fn tell(teller: &Probe, seed: u8, node: &FakeNode, records: &Records) {
    let told = async { while !try_to_tell(teller, seed, node, records).await {} };
    timeout(PATIENCE, told).await.expect("admitted in time");
}

/// Returns false if the node did not admit the teller.
async fn try_to_tell(teller: &Probe, seed: u8, node: &FakeNode, records: &Records) -> bool {
    let connection = teller
        .dial(node, b"p2panda/confidential_discovery/v1")
        .await;
    let Ok((mut send, mut recv)) = connection.open_bi().await else {
        assert!(is_refused(&connection));
        return false;
    };
    let local = Local {
        node: teller.id(),
        record: record(seed, []),
        overlays: BTreeSet::new(),
    };
    let mut alice = Discovery::alice(local, Draws::from_seed([seed; 32]), Time::ZERO);
    let mut input = Input::Tick;
    loop {
        alice.handle(input, Time::ZERO);
        while let Some(output) = alice.poll() {
            match output {
                Output::Send(bytes) => {
                    if let Err(error) = send.write_all(&bytes).await {
                        assert!(is_refused(&connection), "{error}");
                        return false;
                    }
                }
                Output::Nodes(_) => alice.handle(Input::Nodes(records.clone()), Time::ZERO),
                Output::Finished(_) => return true,
                Output::Failed(failure) => {
                    assert!(is_refused(&connection), "{failure}");
                    return false;
                }
                Output::Wake(_) | Output::Close(_) => {}
            }
        }
        input = match recv.read_chunk(65_536).await {
            Ok(Some(bytes)) => Input::Bytes(bytes),
            Ok(None) | Err(_) => Input::Closed(0),
        };
    }

    fn is_refused(connection: &Connection) -> bool {
        let code = u64::from(CloseCode::Refused.code());
        match connection.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => {
                close.error_code.into_inner() == code
            }
            _ => false,
        }
    }
}

async fn sockets(count: usize) -> Vec<UdpSocket> {
    let mut sockets = Vec::new();
    for position in 0..count {
        let ip = Ipv4Addr::new(127, 0, 1, position as u8);
        sockets.push(UdpSocket::bind((ip, 0)).await.unwrap());
    }
    sockets
}

fn addresses(sockets: &[UdpSocket]) -> Vec<SocketAddr> {
    let addresses = sockets.iter().map(UdpSocket::local_addr);
    addresses.collect::<Result<_, _>>().unwrap()
}

/// Counts datagrams and bytes by address until then.
async fn count(sockets: Vec<UdpSocket>, until: Instant) -> BTreeMap<SocketAddr, (usize, usize)> {
    let mut counting = JoinSet::new();
    for socket in sockets {
        counting.spawn(async move {
            let mut buffer = [0; 2048];
            let (mut datagrams, mut bytes) = (0, 0);
            while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
                datagrams += 1;
                bytes += received.unwrap().0;
            }
            (socket.local_addr().unwrap(), (datagrams, bytes))
        });
    }
    counting.join_all().await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_records_cost_two_datagrams_to_eight_addresses() {
    let node = FakeNode::start(90, 1).await;
    // It looks for others as long as it lacks them.
    node.subscribe(p2panda_core::Topic::from_bytes([90; 32]));
    let teller = Probe::start(90, 2).await;
    let targets = sockets(63).await;
    let named = addresses(&targets);
    let subject = SigningKey::from_bytes(&[3; 32]).verifying_key();
    let counting = tokio::spawn(count(targets, Instant::now() + Duration::from_secs(15)));
    for _ in 0..20 {
        // Each time it is signed again, so that it is news.
        let records = vec![(subject, record(3, named.clone()))];
        tell(&teller, 2, &node, &records).await;
    }
    let counted = counting.await.unwrap();
    let hit: Vec<_> = counted.values().filter(|(count, _)| *count > 0).collect();
    assert_eq!(hit.len(), limits::RECORD_SOCKETS_USED_MAX);
    for (datagrams, bytes) in &hit {
        assert_eq!(*datagrams, limits::KNOCKS_MAX);
        assert_eq!(*bytes, limits::KNOCKS_MAX * limits::KNOCK_BYTES);
    }
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tellers_cannot_exceed_their_share_in_a_minute() {
    let node = FakeNode::start(91, 1).await;
    // It looks for others as long as it lacks them.
    node.subscribe(p2panda_core::Topic::from_bytes([91; 32]));
    let mut counting = Vec::new();
    let until = Instant::now() + Duration::from_secs(20);
    for seed in 10..18 {
        let teller = Probe::start(91, seed).await;
        let mut records = Records::new();
        let mut targets = Vec::new();
        for subject in [seed, seed + 50, seed + 100, seed + 150] {
            let some = sockets(8).await;
            let key = SigningKey::from_bytes(&[subject.wrapping_add(1); 32]);
            let info = record(subject.wrapping_add(1), addresses(&some));
            records.push((key.verifying_key(), info));
            targets.extend(some);
        }
        counting.push(tokio::spawn(count(targets, until)));
        tell(&teller, seed, &node, &records).await;
    }
    let mut sum = 0;
    for counted in counting {
        let counted = counted.await.unwrap();
        assert!(counted.values().all(|(n, _)| *n <= limits::KNOCKS_MAX));
        let bytes: usize = counted.values().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= limits::KNOCK_BYTES_PER_TELLER_MAX, "{bytes}");
        sum += bytes;
    }
    assert!(sum <= limits::KNOCK_BYTES_OF_STRANGERS_MAX, "{sum}");
    assert!(sum > 0);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_known_by_hearsay_only_is_found_when_it_is_there() {
    let topic = p2panda_core::Topic::from_bytes([92; 32]);
    let (a, b) = (FakeNode::start(92, 1).await, FakeNode::start(92, 2).await);
    a.subscribe(topic);
    b.subscribe(topic);
    b.publish(topic, "here");
    let teller = Probe::start(92, 3).await;
    let silent = sockets(3).await;
    let mut named = addresses(&silent);
    named.extend(b.net.addr());
    tell(&teller, 3, &a, &vec![(b.id(), record(2, named))]).await;
    a.until_len(topic, 1).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}
