//! An attacker's side of a link, which says what an attack wants said and nothing else
//! (`docs/protocol/link.md`).

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{Connection, RecvStream, SendStream};
use p2panda_core::Topic;
use p2panda_protocol::link::message::{Message, VERSION};
use p2panda_protocol::link::{Instance, LABEL, Opening, Proof, Secret, Side, Tag};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::ranges::{Ask, Asked, Fingerprint, Has, Message as Ranges, Open};
use tokio::time::{Duration, timeout};

use crate::attacker::LINK;
use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::wire::garbage;

/// No answer of the node takes longer.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// The streams of a link that an attacker dialled. Nobody keeps its rules but who uses it.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    secret: Secret,
    attack: Attack,
    control: SendStream,
}

/// A topic stream.
pub(crate) struct TopicStream {
    send: SendStream,
    recv: RecvStream,
}

impl Attack {
    /// A connection for a link on which nothing was said.
    pub(crate) async fn link_connection(&self) -> Result<Connection, Stopped> {
        self.attacker.connect(self.target.node, LINK).await
    }

    /// A link whose control stream says nothing yet. What the node says there is discarded.
    pub(crate) async fn silent_link(&self) -> Result<Link, Stopped> {
        let connection = self.link_connection().await?;
        let mut secret = [0; 32];
        let exported = connection.export_keying_material(&mut secret, LABEL, &[]);
        exported.map_err(|_| Stopped)?;
        let (control, mut recv) = connection.open_bi().await?;
        tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(64 * 1024).await {} });
        Ok(Link {
            connection,
            secret: Secret::new(secret),
            attack: self.clone(),
            control,
        })
    }

    /// A link that has said Hello, and that it is in both overlays of its topic.
    pub(crate) async fn link(&self) -> Result<Link, Stopped> {
        let topic = self.topic();
        let mut link = self.silent_link().await?;
        link.send(&hello(self.attacker.number)).await?;
        let overlays = [Overlay::of_sync(&topic), Overlay::of_ephemeral(&topic)];
        let tags = overlays.map(|overlay| link.tag(&overlay)).to_vec();
        link.send(&interest(false, tags, Vec::new())).await?;
        Ok(link)
    }
}

impl Link {
    /// Writes on the control stream as fast as the node reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.control.write_all(bytes).await?;
        self.attack.attacker.effort.add(bytes.len());
        Ok(())
    }

    /// Returns the tag by which the attacker names an overlay on this link.
    pub(crate) fn tag(&self, overlay: &Overlay) -> Tag {
        self.secret.tag(overlay, Side::Dialler)
    }

    /// The frame in front of a session on a topic that the attacker knows.
    pub(crate) fn opening(&self, topic: Topic) -> Bytes {
        let opening = Opening::Open {
            tag: self.tag(&Overlay::of_sync(&topic)),
            proof: self.secret.proof(&topic, Side::Dialler),
        };
        opening.encode()
    }

    /// The same with a proof that proves nothing.
    pub(crate) fn wrong_opening(&self, topic: Topic, number: usize) -> Bytes {
        let garbage = garbage("proof", number, 48);
        let (tag, proof) = garbage.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let opening = Opening::Open {
            tag: match number % 2 {
                0 => self.tag(&Overlay::of_sync(&topic)),
                _ => Tag::from_bytes(*tag),
            },
            proof: Proof::from_bytes(proof.first_chunk().copied().unwrap_or_default()),
        };
        opening.encode()
    }

    /// A stream that begins with these bytes.
    pub(crate) async fn stream(&self, first: &[u8]) -> Result<TopicStream, Stopped> {
        let (send, recv) = timeout(ANSWER_WAIT, self.connection.open_bi()).await??;
        let mut stream = TopicStream { send, recv };
        stream.send(&self.attack, first).await?;
        Ok(stream)
    }

    /// A session that is in live mode, in which this side has nothing and takes everything.
    pub(crate) async fn live(&self, topic: Topic) -> Result<TopicStream, Stopped> {
        let mut stream = self.stream(&self.opening(topic)).await?;
        let open = ranges(&self.attack, &ranges_open(Vec::new()));
        stream.send(&self.attack, &open).await?;
        // Accept, and the node's Open.
        stream.frame().await?;
        stream.frame().await?;
        let all = Asked {
            range: p2panda_core::Prefix::WHOLE,
            has: Some(Has::Few(Vec::new())),
        };
        let ask = Ranges::Ask(Ask {
            behind: Vec::new(),
            asked: vec![all],
        });
        stream
            .send(&self.attack, &ranges(&self.attack, &ask))
            .await?;
        stream.frame().await?;
        let done = ranges(&self.attack, &Ranges::Done);
        stream.send(&self.attack, &done).await?;
        stream.send(&self.attack, crate::wire::DONE).await?;
        while stream.frame().await?.as_ref() != crate::wire::DONE_PAYLOAD {}
        Ok(stream)
    }
}

impl TopicStream {
    /// Writes as fast as the node reads.
    pub(crate) async fn send(&mut self, attack: &Attack, bytes: &[u8]) -> Result<(), Stopped> {
        self.send.write_all(bytes).await?;
        attack.attacker.effort.add(bytes.len());
        Ok(())
    }

    /// The payload of the next frame.
    pub(crate) async fn frame(&mut self) -> Result<Bytes, Stopped> {
        let read = async {
            let mut length = [0; 4];
            self.recv.read_exact(&mut length).await?;
            let mut payload = vec![0; u32::from_be_bytes(length) as usize];
            self.recv.read_exact(&mut payload).await?;
            Ok::<_, Stopped>(payload.into())
        };
        timeout(ANSWER_WAIT, read).await?
    }

    /// Takes what comes until the node ends the stream.
    pub(crate) async fn until_ended(&mut self) {
        while let Ok(Some(_)) = self.recv.read_chunk(64 * 1024).await {}
    }

    /// Throws away what comes, in a task of its own.
    pub(crate) fn drain(self) -> SendStream {
        let TopicStream { send, mut recv } = self;
        tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(64 * 1024).await {} });
        send
    }
}

/// Hello without a record.
pub(crate) fn hello(number: usize) -> Bytes {
    control(&Message::Hello {
        version: VERSION,
        instance: Instance::from_bytes((number as u128).to_le_bytes()),
        record: None,
    })
}

/// Interest.
pub(crate) fn interest(more: bool, begun: Vec<Tag>, ended: Vec<Tag>) -> Bytes {
    control(&Message::Interest { more, begun, ended })
}

/// A frame of the control stream.
pub(crate) fn control(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    // Fails only above sizes that nothing here reaches.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// An Open of ranges that differs from what the node has.
pub(crate) fn ranges_open(asked: Vec<Asked>) -> Ranges {
    Ranges::Open(Open {
        version: 1,
        whole: Fingerprint([7; 16]),
        yours: None,
        asked,
    })
}

/// A frame of an exchange of ranges about the attacked topic.
pub(crate) fn ranges(attack: &Attack, message: &Ranges) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&attack.topic().log_id(), &mut out);
    out.freeze()
}
