//! A bare iroh endpoint that speaks as much of the protocols as a test needs.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::{
    ConnectOptions, Connection, ConnectionError, RecvStream, SendStream, presets,
};
use iroh::{Endpoint, EndpointAddr, PublicKey, SecretKey};
use iroh_gossip::api::{GossipReceiver, GossipSender};
use iroh_gossip::net::Gossip;
use p2panda_core::{NetworkId, Topic, VerifyingKey};
use tokio::time::timeout;

use crate::fake_node::FakeNode;

const PATIENCE: Duration = Duration::from_secs(30);

/// An endpoint without a node.
#[derive(Clone)]
pub struct Probe {
    pub endpoint: Endpoint,
    network: NetworkId,
}

impl Probe {
    pub async fn start(network: u8, seed: u8) -> Probe {
        Probe::start_at(network, seed, "127.0.0.1:0").await
    }

    /// At an address of its own.
    pub async fn start_at(network: u8, seed: u8, addr: &str) -> Probe {
        let network = NetworkId::from_bytes([network; 32]);
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&[seed; 32]))
            .alpns(vec![network.alpn(b"/iroh-gossip/1").to_vec()])
            .clear_ip_transports()
            .bind_addr(addr)
            .unwrap()
            .bind()
            .await
            .unwrap();
        Probe { endpoint, network }
    }

    pub fn alpn(&self, protocol: &[u8]) -> [u8; 32] {
        self.network.alpn(protocol)
    }

    /// Lets nodes dial this endpoint for these protocols.
    pub fn accept(&self, protocols: &[&[u8]]) {
        let alpns = protocols.iter().map(|one| self.alpn(one).to_vec());
        self.endpoint.set_alpns(alpns.collect());
    }

    /// Joins the overlay of a topic's ephemeral messages through a node. The layer ends with the
    /// first of what is answered.
    pub async fn join_gossip(
        &self,
        node: &FakeNode,
        topic: Topic,
    ) -> (Gossip, GossipSender, GossipReceiver) {
        let gossip = Gossip::builder()
            .alpn(self.alpn(b"/iroh-gossip/1"))
            .max_message_size(4096)
            .spawn(self.endpoint.clone());
        let known = MemoryLookup::new();
        let bootstrap = node.bootstrap();
        known.add_endpoint_info(endpoint_addr(bootstrap.node, &bootstrap.addrs));
        self.endpoint.address_lookup().unwrap().add(known);
        let node = PublicKey::from_bytes(bootstrap.node.as_bytes()).unwrap();
        let joining = gossip.subscribe_and_join((*topic.as_bytes()).into(), vec![node]);
        let overlay = timeout(PATIENCE, joining).await.unwrap().unwrap();
        let (sender, receiver) = overlay.split();
        (gossip, sender, receiver)
    }

    pub fn id(&self) -> VerifyingKey {
        VerifyingKey::from_bytes(*self.endpoint.id().as_bytes()).unwrap()
    }

    pub async fn dial(&self, node: &FakeNode, protocol: &[u8]) -> Connection {
        self.dial_offering(node, &[protocol]).await
    }

    /// Dials; the node may refuse.
    pub async fn try_dial(&self, node: &FakeNode, protocol: &[u8]) -> Option<Connection> {
        let addr = endpoint_addr(node.id(), &node.net.addr());
        let dialled = self.endpoint.connect(addr, &self.alpn(protocol)).await;
        dialled.ok()
    }

    /// Dials with several protocols on offer, in this order.
    pub async fn dial_offering(&self, node: &FakeNode, protocols: &[&[u8]]) -> Connection {
        let addr = endpoint_addr(node.id(), &node.net.addr());
        let alpns = protocols
            .iter()
            .map(|protocol| self.alpn(protocol).to_vec());
        let mut alpns: Vec<Vec<u8>> = alpns.collect();
        let first = alpns.remove(0);
        let options = ConnectOptions::new().with_additional_alpns(alpns);
        let dialled = self.endpoint.connect_with_opts(addr, &first, options);
        let connecting = timeout(PATIENCE, dialled).await.unwrap().unwrap();
        timeout(PATIENCE, connecting).await.unwrap().unwrap()
    }

    /// Dials for a topic and goes through the handshake as far as the node plays along.
    pub async fn sync(&self, node: &FakeNode, topic: Topic) -> SyncProbe {
        self.sync_by(b"p2panda/log_sync/v1", node, topic).await
    }

    /// The same with any sync protocol.
    pub async fn sync_by(&self, protocol: &[u8], node: &FakeNode, topic: Topic) -> SyncProbe {
        let connection = self.dial(node, protocol).await;
        SyncProbe::open(connection, topic).await
    }

    /// The same with a node that is known by its id and addresses.
    pub async fn sync_at(
        &self,
        id: VerifyingKey,
        addrs: &[std::net::SocketAddr],
        topic: Topic,
    ) -> SyncProbe {
        let alpn = self.alpn(b"p2panda/log_sync/v1");
        let dialled = self.endpoint.connect(endpoint_addr(id, addrs), &alpn);
        let connection = timeout(PATIENCE, dialled).await.unwrap().unwrap();
        SyncProbe::open(connection, topic).await
    }
}

/// A sync connection after the handshake.
pub struct SyncProbe {
    pub connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl SyncProbe {
    async fn open(connection: Connection, topic: Topic) -> SyncProbe {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let mut hello = BytesMut::new();
        hello.put_slice(&[0, 0, 0, 0x22, 0, 0x20]);
        hello.put_slice(topic.as_bytes());
        send.write_all(&hello).await.unwrap();
        let mut done = [0; 5];
        timeout(PATIENCE, recv.read_exact(&mut done))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(done, [0, 0, 0, 1, 1]);
        // Before the node may answer with a close. It travels with what is sent first.
        let stream = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0, 0, 1, 1]).await.unwrap();
        let (send, recv) = stream;
        SyncProbe {
            connection,
            send,
            recv,
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The node may have closed already; how, the test looks at next.
        let _ = self.send.write_all(bytes).await;
    }

    /// The next frame that the node sends.
    pub async fn frame(&mut self) -> Vec<u8> {
        let mut frame = vec![0; 4];
        let read = self.recv.read_exact(&mut frame);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        let payload_bytes = u32::from_be_bytes(frame[..4].try_into().unwrap());
        frame.resize(4 + payload_bytes as usize, 0);
        let read = self.recv.read_exact(&mut frame[4..]);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        frame
    }
}

/// Waits until the other side closes. Returns code and reason.
pub async fn closed(connection: &Connection) -> (u64, Bytes) {
    match timeout(PATIENCE, connection.closed()).await.unwrap() {
        ConnectionError::ApplicationClosed(close) => (close.error_code.into_inner(), close.reason),
        other => panic!("closed by {other:?}"),
    }
}

/// Returns the address that iroh dials.
pub fn endpoint_addr(node: VerifyingKey, addrs: &[std::net::SocketAddr]) -> EndpointAddr {
    let id = PublicKey::from_bytes(node.as_bytes()).unwrap();
    addrs
        .iter()
        .fold(EndpointAddr::new(id), |addr, ip| addr.with_ip_addr(*ip))
}
