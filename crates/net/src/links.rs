//! The registry of links: which peers one connection carries everything with
//! (`docs/protocol/link.md`).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use iroh::endpoint::{Connection, RecvStream, SendStream, Side as QuicSide};
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::link::{self, Instance, LABEL, Runs, Secret, Settled, Side};
use p2panda_protocol::time::Time;
use p2panda_protocol::walk::Step;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::time::Instant;

use crate::acked::Acks;
use crate::blocked::Proofs;
use crate::conduct::BrokenSessions;
use crate::credit::Credit;
use crate::peer_id::node_id;

/// All links of this node. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    local: VerifyingKey,
    instance: Instance,
    by_peer: Arc<Mutex<HashMap<VerifyingKey, Vec<Arc<Link>>>>>,
    /// Of peers.
    runs: Arc<Mutex<Runs>>,
    number: Arc<AtomicU64>,
    begun: mpsc::Sender<Begun>,
    dials: Dials,
}

/// Peers that are dialled at this moment, and those that do not speak the protocol.
#[derive(Clone, Debug, Default)]
struct Dials(Arc<Mutex<DialsInner>>);

/// Time at which the last dial of those who share a turn came to nothing.
type LastFailure = Option<Instant>;

#[derive(Debug, Default)]
struct DialsInner {
    turns: HashMap<VerifyingKey, Weak<AsyncMutex<LastFailure>>>,
    without: HashSet<VerifyingKey>,
}

impl Dials {
    fn turn(&self, peer: &VerifyingKey) -> Option<Arc<AsyncMutex<LastFailure>>> {
        let mut inner = self.0.lock();
        if inner.without.contains(peer) {
            return None;
        }
        if let Some(turn) = inner.turns.get(peer).and_then(Weak::upgrade) {
            return Some(turn);
        }
        inner.turns.retain(|_, turn| turn.strong_count() > 0);
        let turn: Arc<AsyncMutex<LastFailure>> = Arc::default();
        inner.turns.insert(*peer, Arc::downgrade(&turn));
        Some(turn)
    }

    fn without(&self, peer: VerifyingKey) -> bool {
        let mut inner = self.0.lock();
        if inner.without.len() >= limits::LINKLESS_REMEMBERED_MAX {
            inner.without.clear();
        }
        inner.without.insert(peer)
    }
}

/// A connection with a peer that all protocols share.
#[derive(Debug)]
pub(crate) struct Link {
    /// No other link of this run of the node has it, and later ones have greater ones.
    pub(crate) number: u64,
    pub(crate) peer: VerifyingKey,
    pub(crate) side: Side,
    pub(crate) secret: Secret,
    pub(crate) connection: Connection,
    pub(crate) credit: Credit,
    pub(crate) acks: Acks,
    pub(crate) broken: BrokenSessions,
    pub(crate) proofs: Proofs,
    /// Run of the peer that it is with, once that is known.
    instance: Mutex<Option<Instance>>,
    /// With a copy of a peer that has another link.
    temporary: AtomicBool,
    commands: mpsc::Sender<Command>,
}

/// A link that nobody drives yet.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) link: Arc<Link>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// The control stream of a link that this node dialled.
    pub(crate) control: Option<(SendStream, RecvStream)>,
}

/// Command to the task of a link.
#[derive(Debug)]
pub(crate) enum Command {
    /// Ask the peer for records; answer what that brought.
    Meet(oneshot::Sender<Step>),
    /// Carry gossip as well; answered when that begins.
    Carry(oneshot::Sender<()>),
    /// Another link of the pair took its place.
    Replaced,
}

impl Links {
    /// Those that begin come to the receiver. The instance is that of this run.
    pub(crate) fn new(local: VerifyingKey, instance: Instance) -> (Self, mpsc::Receiver<Begun>) {
        let (begun, begins) = mpsc::channel(limits::LINKS_BEGINNING_MAX);
        let links = Self {
            local,
            instance,
            by_peer: Arc::default(),
            runs: Arc::default(),
            number: Arc::default(),
            begun,
            dials: Dials::default(),
        };
        (links, begins)
    }

    /// A turn to dial a peer, so that all who want a link with it wait for one dial.
    pub(crate) async fn turn(&self, peer: &VerifyingKey) -> Option<OwnedMutexGuard<LastFailure>> {
        let turn = self.dials.turn(peer)?;
        Some(turn.lock_owned().await)
    }

    /// A peer does not speak this protocol: nobody waits for a link with it any more. Returns whether
    /// that is news.
    pub(crate) fn without(&self, peer: VerifyingKey) -> bool {
        self.dials.without(peer)
    }

    /// Returns `true` if a peer is known not to speak this protocol.
    pub(crate) fn is_without(&self, peer: &VerifyingKey) -> bool {
        self.dials.0.lock().without.contains(peer)
    }

    /// Returns the run of this node.
    pub(crate) fn instance(&self) -> Instance {
        self.instance
    }

    /// The link with a peer that is used for what begins now.
    pub(crate) fn get(&self, peer: &VerifyingKey) -> Option<Arc<Link>> {
        let by_peer = self.by_peer.lock();
        let links = by_peer.get(peer)?.iter().rev();
        let mut open = links.filter(|link| link.is_open() && !link.is_temporary());
        open.next().cloned()
    }

    /// A connection that chose the protocol of links. `None`: it is over, or there are too many.
    pub(crate) async fn begin(&self, connection: Connection) -> Option<Arc<Link>> {
        let peer = node_id(connection.remote_id())?;
        let mut secret = [0; 32];
        connection
            .export_keying_material(&mut secret, LABEL, &[])
            .ok()?;
        let side = match connection.side() {
            QuicSide::Client => Side::Dialler,
            QuicSide::Server => Side::Acceptor,
        };
        // The first stream: nobody else may open one before.
        let control = match side {
            Side::Dialler => Some(connection.open_bi().await.ok()?),
            Side::Acceptor => None,
        };
        let (commands, asked) = mpsc::channel(limits::LINK_COMMANDS_MAX);
        let link = Arc::new(Link {
            number: self.number.fetch_add(1, Ordering::Relaxed),
            peer,
            side,
            secret: Secret::new(secret),
            acks: Acks::new(connection.clone()),
            connection,
            credit: Credit::new(limits::LINK_WINDOW_BYTES),
            broken: BrokenSessions::default(),
            proofs: Proofs::default(),
            instance: Mutex::new(None),
            temporary: AtomicBool::new(false),
            commands,
        });
        {
            let mut by_peer = self.by_peer.lock();
            let links = by_peer.entry(peer).or_default();
            if links.len() >= limits::LINKS_PER_PEER_MAX {
                return None;
            }
            links.push(link.clone());
        }
        // It may have learned it since.
        self.dials.0.lock().without.remove(&peer);
        let begun = Begun {
            link: link.clone(),
            commands: asked,
            control,
        };
        if self.begun.try_send(begun).is_err() {
            self.end(&link);
            return None;
        }
        Some(link)
    }

    /// Returns `true` if a copy of a peer was there not long ago.
    pub(crate) fn has_copies(&self, peer: &VerifyingKey, now: Time) -> bool {
        self.runs.lock().has_copies(peer, now)
    }

    /// The peer said which of its runs this is: one link of a pair stays. That with a copy is temporary,
    /// and changes nothing for the other.
    pub(crate) fn introduced(&self, link: &Link, instance: Instance, now: Time) {
        *link.instance.lock() = Some(instance);
        let mut by_peer = self.by_peer.lock();
        let Some(links) = by_peer.get_mut(&link.peer) else {
            return;
        };
        let mut runs = self.runs.lock();
        let others = links.iter().filter(|other| {
            other.number != link.number && other.is_open() && !other.is_temporary()
        });
        let others = others.filter_map(|other| *other.instance.lock());
        if runs.is_copy(&link.peer, instance, others, now) {
            link.temporary.store(true, Ordering::Relaxed);
            return;
        }
        let mut known: Vec<_> = links
            .iter()
            .filter(|link| !link.is_temporary())
            .filter_map(|link| {
                let instance = (*link.instance.lock())?;
                let side = link.side;
                Some((link.clone(), link::Link { side, instance }))
            })
            .collect();
        known.sort_by_key(|(link, _)| link.number);
        let mut stays: Option<(Arc<Link>, link::Link)> = None;
        for newer in known {
            let Some(older) = stays.take() else {
                stays = Some(newer);
                continue;
            };
            let settled = link::settle(&self.local, &link.peer, older.1, newer.1);
            let (ends, stay) = match settled {
                Settled::OlderEnds => (older, newer),
                Settled::NewerEnds => (newer, older),
            };
            if ends.1.instance != stay.1.instance {
                runs.replaced(link.peer, ends.1.instance);
            }
            // An error means that it is ending already.
            let _ = ends.0.commands.try_send(Command::Replaced);
            // What begins from now on goes to the last one.
            links.retain(|link| link.number != ends.0.number);
            links.insert(0, ends.0);
            stays = Some(stay);
        }
    }

    /// A link is over.
    pub(crate) fn end(&self, link: &Link) {
        let mut by_peer = self.by_peer.lock();
        if let Some(links) = by_peer.get_mut(&link.peer) {
            links.retain(|other| other.number != link.number);
            if links.is_empty() {
                by_peer.remove(&link.peer);
            }
        }
    }
}

impl Link {
    fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Returns `true` if it is with a copy of a peer that has another link. Only the copy begins
    /// anything on it, and what it says of itself is not said by the peer.
    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary.load(Ordering::Relaxed)
    }

    /// Carries gossip from now on. `None`: the link is over, or too much is asked.
    pub(crate) async fn carry(&self) -> Option<()> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command::Carry(reply)).ok()?;
        answer.await.ok()
    }

    /// Asks for records; answers what they brought. `None`: the link is over, or too much is asked.
    pub(crate) async fn meet(&self) -> Option<Step> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command::Meet(reply)).ok()?;
        answer.await.ok()
    }
}
