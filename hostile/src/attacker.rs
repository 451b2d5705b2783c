//! One attacking identity: a bare iroh endpoint, where it sits, and the little of the protocols
//! that every attack needs.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use iroh::endpoint::{Connection, QuicTransportConfig, RecvStream, SendStream, VarInt, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, SecretKey};
use p2panda_core::{Hash, NetworkId, SigningKey, Topic, VerifyingKey};
use tokio::time::timeout;

use crate::error::{Error, Stopped};

/// The protocol ids that a node accepts.
pub(crate) const GOSSIP: &[u8] = b"/iroh-gossip/1";
pub(crate) const DISCOVERY: &[u8] = b"p2panda/confidential_discovery/v1";
pub(crate) const SYNC: &[u8] = b"p2panda/log_sync/v1";
pub(crate) const DIGEST_SYNC: &[u8] = b"p2panda/digest_sync/v1";
pub(crate) const LINK: &[u8] = b"p2panda/link/v1";

/// All of them.
pub(crate) const PROTOCOLS: [&[u8]; 5] = [GOSSIP, DISCOVERY, SYNC, DIGEST_SYNC, LINK];

/// No step of an attack takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Identities of one other prefix.
const PER_PREFIX: usize = 4;

/// Where attackers have their sockets, on loopback only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the /24 of the node and of the honest peers, 127.0.0.0.
    Same,
    /// In other /24 of 127.0.0.0/8, four identities in each.
    Other,
    /// Every second one here and there.
    Both,
    /// All at one address, that of the node itself.
    One,
}

impl Place {
    /// The address of an identity.
    pub fn address(self, number: usize) -> Ipv4Addr {
        let byte = |value: usize| (value % 200) as u8;
        match self {
            Place::Both if number.is_multiple_of(2) => Place::Same.address(number),
            Place::Both => Place::Other.address(number),
            Place::One => Ipv4Addr::LOCALHOST,
            Place::Same => Ipv4Addr::new(127, 0, 0, 2 + byte(number)),
            Place::Other => {
                let prefix = number / PER_PREFIX;
                let last = 1 + byte(number % PER_PREFIX);
                Ipv4Addr::new(127, 7 + byte(prefix), 3 + byte(prefix / 200), last)
            }
        }
    }

    /// Returns its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Place::Same => "same",
            Place::Other => "other",
            Place::Both => "both",
            Place::One => "one",
        }
    }
}

/// Somebody who can be dialled.
#[derive(Clone, Copy, Debug)]
pub struct Contact {
    /// Node id.
    pub node: VerifyingKey,
    /// Socket address, on loopback.
    pub addr: SocketAddr,
}

/// Knowledge of attackers about the node that they attack.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node.
    pub node: Contact,
    /// Its network.
    pub network: NetworkId,
    /// The topics that attackers know.
    pub topics: Vec<Topic>,
    /// A topic that they know too, in which only the node itself publishes.
    pub own_topic: Topic,
    /// An honest peer of the node.
    pub neighbour: Contact,
    /// Sockets of the run which count what the node sends to addresses of somebody's choice.
    pub sinks: Vec<SocketAddr>,
}

/// Work of the attackers, counted together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effort(Arc<AtomicU64>);

impl Effort {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes handed to QUIC so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One identity.
#[derive(Clone, Debug)]
pub(crate) struct Attacker {
    pub(crate) number: usize,
    pub(crate) endpoint: Endpoint,
    pub(crate) effort: Effort,
    network: NetworkId,
}

/// A seeded key; the same seed and number are the same identity.
pub(crate) fn key(kind: &str, number: usize) -> SigningKey {
    let number = (number as u64).to_le_bytes();
    let seed = Hash::digest_parts(&[b"p2panda hostile", kind.as_bytes(), &number]);
    SigningKey::from_bytes(seed.as_bytes())
}

impl Attacker {
    pub(crate) async fn start(
        network: NetworkId,
        number: usize,
        place: Place,
        effort: Effort,
    ) -> Result<Attacker, Error> {
        let key = key("attacker", number);
        let transport = QuicTransportConfig::builder()
            .keep_alive_interval(Duration::from_secs(2))
            .max_concurrent_uni_streams(VarInt::from_u32(4096))
            .build();
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&key.to_bytes()))
            .alpns(vec![network.alpn(GOSSIP).to_vec()])
            .transport_config(transport)
            .clear_ip_transports()
            .bind_addr(SocketAddrV4::new(place.address(number), 0))
            .map_err(|_| Error::Endpoint)?;
        Ok(Attacker {
            number,
            endpoint: endpoint.bind().await.map_err(|_| Error::Endpoint)?,
            effort,
            network,
        })
    }

    pub(crate) fn alpn(&self, protocol: &[u8]) -> [u8; 32] {
        self.network.alpn(protocol)
    }

    /// Returns the address that iroh dials.
    pub(crate) fn addr(to: Contact) -> Result<EndpointAddr, Stopped> {
        let id = PublicKey::from_bytes(to.node.as_bytes())?;
        Ok(EndpointAddr::new(id).with_ip_addr(to.addr))
    }

    pub(crate) async fn connect(
        &self,
        to: Contact,
        protocol: &[u8],
    ) -> Result<Connection, Stopped> {
        let alpn = self.alpn(protocol);
        let connecting = self.endpoint.connect(Attacker::addr(to)?, &alpn);
        Ok(timeout(PATIENCE, connecting).await??)
    }

    /// A sync session after the topic handshake.
    pub(crate) async fn sync(&self, to: Contact, topic: Topic) -> Result<Session, Stopped> {
        let connection = self.connect(to, SYNC).await?;
        let opened = timeout(PATIENCE, open_session(&connection, topic)).await??;
        let (send, recv) = opened;
        Ok(Session {
            connection,
            send,
            recv,
            effort: self.effort.clone(),
        })
    }
}

async fn open_session(
    connection: &Connection,
    topic: Topic,
) -> Result<(SendStream, RecvStream), Stopped> {
    let (mut send, mut recv) = connection.open_bi().await?;
    let mut hello = BytesMut::new();
    hello.put_slice(&[0, 0, 0, 0x22, 0, 0x20]);
    hello.put_slice(topic.as_bytes());
    send.write_all(&hello).await?;
    let mut done = [0; 5];
    recv.read_exact(&mut done).await?;
    send.write_all(&[0, 0, 0, 1, 1]).await?;
    Ok(connection.open_bi().await?)
}

/// A sync session of an attacker.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    send: SendStream,
    recv: RecvStream,
    effort: Effort,
}

impl Session {
    /// Writes as fast as the node reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        for chunk in bytes.chunks(64 * 1024) {
            self.send.write_all(chunk).await?;
            self.effort.add(chunk.len());
        }
        Ok(())
    }

    /// The next frame's payload, as far as it is needed to tell its kind.
    pub(crate) async fn frame(&mut self) -> Result<Bytes, Stopped> {
        let mut length = [0; 4];
        self.recv.read_exact(&mut length).await?;
        let mut payload = vec![0; u32::from_be_bytes(length) as usize];
        self.recv.read_exact(&mut payload).await?;
        Ok(payload.into())
    }

    /// Reads until the node said that it has sent what was missing.
    pub(crate) async fn read_to_done(&mut self) -> Result<(), Stopped> {
        while self.frame().await?.as_ref() != crate::wire::DONE_PAYLOAD {}
        Ok(())
    }

    /// Reads and forgets what the node sends, in a task of its own, so that the node is never kept
    /// waiting by this side.
    pub(crate) fn drain(self) -> Sending {
        let Session {
            connection,
            send,
            mut recv,
            effort,
        } = self;
        tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(64 * 1024).await {} });
        Sending {
            connection,
            send,
            effort,
        }
    }
}

/// The writing half of a session whose other half is discarded.
pub(crate) struct Sending {
    pub(crate) connection: Connection,
    send: SendStream,
    effort: Effort,
}

impl Sending {
    /// Writes as fast as the node reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        for chunk in bytes.chunks(64 * 1024) {
            self.send.write_all(chunk).await?;
            self.effort.add(chunk.len());
        }
        Ok(())
    }

    /// Stays until the node has had enough.
    pub(crate) async fn hold(self) {
        self.connection.closed().await;
        drop(self.send);
    }
}
