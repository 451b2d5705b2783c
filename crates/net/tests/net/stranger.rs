//! Peers that hold places at a node and do little with them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::link::{
    Control, Input, Instance, LABEL, Opening, Output, Secret, Side, Start,
};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::time::Time;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::fake_node::FakeNode;
use crate::probe::Probe;

/// Time after which a node that was sent away is back: a test is about places, not about
/// handshakes.
const BACK_AFTER: Duration = Duration::from_secs(3);

/// Behaviour of a stranger on a connection. Ends when the connection is of no use any more.
#[derive(Clone, Copy)]
pub enum Does {
    /// Nothing at all, on this protocol.
    Nothing(&'static [u8]),
    /// Says what a link has to say, and that it is in these overlays, which it really knows.
    Names(&'static [u8], Overlay),
    /// The same, and opens a session on the topic on which nothing follows.
    Opens(&'static [u8], Topic),
    /// Joins an overlay over a gossip connection, takes what comes and passes nothing on.
    Joins(&'static [u8], Overlay),
}

/// Strangers that come back whenever they are sent away, until this is dropped.
pub struct Crowd {
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// This many identities with this many connections each, sixteen identities in each address prefix.
    /// Returns when each of them has been there.
    pub async fn start(
        node: &FakeNode,
        network: u8,
        seeds: std::ops::Range<u8>,
        each: usize,
        does: Does,
    ) -> Crowd {
        let (came, mut coming) = tokio::sync::mpsc::channel(1_024);
        let (id, addrs) = (node.id(), node.net.addr());
        let count = seeds.len();
        let mut tasks = JoinSet::new();
        for seed in seeds {
            let addr = format!("127.{}.7.{}:0", 40 + seed / 16, 1 + seed % 16);
            let (addrs, came) = (addrs.clone(), came.clone());
            tasks.spawn(async move {
                let probe = Probe::start_at(network, seed, &addr).await;
                let target = crate::probe::endpoint_addr(id, &addrs);
                let mut connections = JoinSet::new();
                for _ in 0..each {
                    let (probe, target, came) = (probe.clone(), target.clone(), came.clone());
                    connections.spawn(async move {
                        let mut pause = interval(BACK_AFTER);
                        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
                        loop {
                            pause.tick().await;
                            does.once(&probe, &target, seed, &came).await;
                        }
                    });
                }
                while connections.join_next().await.is_some() {}
            });
        }
        let mut been = BTreeSet::new();
        while been.len() < count {
            been.insert(coming.recv().await.unwrap());
        }
        Crowd { _tasks: tasks }
    }
}

impl Does {
    async fn once(
        self,
        probe: &Probe,
        target: &iroh::EndpointAddr,
        seed: u8,
        came: &tokio::sync::mpsc::Sender<u8>,
    ) {
        let protocol = match self {
            Does::Nothing(protocol)
            | Does::Names(protocol, _)
            | Does::Joins(protocol, _)
            | Does::Opens(protocol, _) => protocol,
        };
        let alpn = probe.alpn(protocol);
        let Ok(connection) = probe.endpoint.connect(target.clone(), &alpn).await else {
            return;
        };
        // Full only while the first ones come.
        let _ = came.try_send(seed);
        match self {
            Does::Nothing(_) => drop(connection.closed().await),
            Does::Opens(_, topic) => {
                let overlay = Overlay::of_sync(&topic);
                let link = StrangerLink::open(connection, probe.id(), overlay).await;
                if let Some(mut link) = link {
                    let _stream = link.open_topic(topic).await;
                    link.until_closed().await;
                }
            }
            Does::Joins(_, overlay) => drop(join(&connection, overlay).await),
            Does::Names(_, overlay) => {
                let link = StrangerLink::open(connection, probe.id(), overlay).await;
                if let Some(mut link) = link {
                    link.until_closed().await;
                }
            }
        }
    }
}

/// Until the connection ends.
async fn join(connection: &Connection, overlay: Overlay) -> Option<()> {
    let mut stream = connection.open_uni().await.ok()?;
    let join = [
        &[0, 0, 0, 32][..],
        overlay.as_bytes(),
        &[0, 0, 0, 3, 0, 0, 0],
    ]
    .concat();
    stream.write_all(&join).await.ok()?;
    let mut incoming = connection.accept_uni().await.ok()?;
    while let Ok(Some(_)) = incoming.read_chunk(64 * 1024).await {}
    // It was sent away, and the connection may stay.
    connection.close(0_u32.into(), b"");
    Some(())
}

/// A link as its dialler has to keep it, and nothing more.
pub struct StrangerLink {
    pub connection: Connection,
    secret: Secret,
    control: Control,
    send: SendStream,
    recv: RecvStream,
}

impl StrangerLink {
    /// Opens the control stream of a connection.
    pub async fn open(
        connection: Connection,
        node: VerifyingKey,
        overlay: Overlay,
    ) -> Option<StrangerLink> {
        let peer = connection.remote_id();
        let mut secret = [0; 32];
        connection
            .export_keying_material(&mut secret, LABEL, &[])
            .ok()?;
        let secret = Secret::new(secret);
        let (send, recv) = connection.open_bi().await.ok()?;
        let start = Start {
            node,
            peer: VerifyingKey::from_bytes(*peer.as_bytes()).ok()?,
            side: Side::Dialler,
            secret: secret.clone(),
            instance: Instance::from_bytes([7; 16]),
            record: None,
            overlays: BTreeSet::from([overlay]),
            round_trip: Duration::from_millis(1),
            draws: Draws::from_seed([1; 32]),
        };
        let control = Control::new(start, Time::ZERO);
        let mut link = StrangerLink {
            connection,
            secret,
            control,
            send,
            recv,
        };
        link.write().await?;
        Some(link)
    }

    /// Answers on the control stream until the node ends the link.
    pub async fn until_closed(&mut self) {
        while let Ok(Some(chunk)) = self.recv.read_chunk(64 * 1024).await {
            self.control.handle(Input::Bytes(chunk), Time::ZERO);
            if self.write().await.is_none() {
                break;
            }
        }
        self.connection.closed().await;
    }

    /// Opens a stream for a topic and says nothing on it after that.
    pub async fn open_topic(&self, topic: Topic) -> Option<(SendStream, RecvStream)> {
        let (mut send, recv) = self.connection.open_bi().await.ok()?;
        let open = Opening::Open {
            tag: self.secret.tag(&Overlay::of_sync(&topic), Side::Dialler),
            proof: self.secret.proof(&topic, Side::Dialler),
        };
        send.write_chunk(open.encode()).await.ok()?;
        Some((send, recv))
    }

    /// Writes a chunk to a stream that the node may have ended.
    pub async fn write_raw(&self, bytes: &[u8]) -> Option<RecvStream> {
        let (mut send, recv) = self.connection.open_bi().await.ok()?;
        send.write_chunk(Bytes::copy_from_slice(bytes)).await.ok()?;
        Some(recv)
    }

    async fn write(&mut self) -> Option<()> {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Send(bytes) => self.send.write_chunk(bytes).await.ok()?,
                Output::WantNodes(_) => self
                    .control
                    .handle(Input::Nodes(Default::default()), Time::ZERO),
                _ => {}
            }
        }
        Some(())
    }
}
