//! The driver of the gossip machines: joins overlays, dials their nodes, keeps the time.
//!
//! A way to a peer is a queue in front of a task that empties it, `Outgoing`. Its carrier is a
//! connection of the gossip protocol, or the link with the peer (`Way`).

mod connection;
mod driver;
mod outgoing;
mod subscription;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::Endpoint;
use iroh::endpoint::Connection;
use p2panda_core::VerifyingKey;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::draws::Draws;
use p2panda_protocol::gossip::{Message, encode_addresses};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{Address, TransportInfo};
use p2panda_protocol::time::dial_patience;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use self::connection::{Told, carry};
use self::driver::{Dial, Driver};
use self::outgoing::Outgoing;
pub(crate) use self::subscription::Neighbours;
use self::subscription::News;
use crate::alpns::Alpns;
use crate::clock::Clock;
use crate::close::close;
use crate::config::Timings;
use crate::connections::{Connections, round_trip};
use crate::endpoint::gossip_options;
use crate::links::Links;
use crate::lookup::BookLookup;
use crate::signals::Signals;

/// Parts of the network that the driver needs.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) local: VerifyingKey,
    pub(crate) endpoint: Endpoint,
    pub(crate) alpns: Alpns,
    pub(crate) links: Links,
    pub(crate) message_bytes_max: usize,
    pub(crate) neighbours_max: usize,
    pub(crate) timings: Timings,
    pub(crate) clock: Clock,
    pub(crate) connections: Connections,
    pub(crate) lookup: BookLookup,
    pub(crate) signals: Signals,
    pub(crate) seed: [u8; 32],
}

impl Ground {
    /// Returns the time that a dial may take.
    fn dial_wait(&self) -> Duration {
        dial_patience(self.timings.handshake_timeout, self.timings.path.round_trip)
    }
}

/// The overlays that this node is in. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Gossip {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ground: Ground,
    driver: Mutex<Driver>,
    /// Something is due sooner than it was.
    sooner: Notify,
}

/// A place in an overlay; dropping the last one leaves it.
#[derive(Debug)]
pub(crate) struct Subscription {
    gossip: Gossip,
    overlay: Overlay,
    news: Arc<News>,
}

impl Gossip {
    pub(crate) fn new(ground: Ground) -> Gossip {
        let draws = Draws::from_seed(ground.seed);
        let connections = ground.connections.clone();
        let driver = Driver::new(
            ground.local,
            ground.neighbours_max,
            ground.timings.gossip_duty_wait,
            draws,
            connections,
        );
        Gossip {
            inner: Arc::new(Inner {
                ground,
                driver: Mutex::new(driver),
                sooner: Notify::new(),
            }),
        }
    }

    /// Keeps the time, and the own addresses, until the network is shut down.
    pub(crate) async fn run(self, mut own: watch::Receiver<Option<TransportInfo>>) {
        own.mark_changed();
        loop {
            let sooner = self.inner.sooner.notified();
            let wake = self.inner.driver.lock().wake();
            let ground = &self.inner.ground;
            let at = ground.clock.instant(wake.unwrap_or_default());
            tokio::select! {
                () = sleep_until(at), if wake.is_some() => {
                    self.drive(|driver| driver.tick(ground.clock.now()));
                }
                () = sooner => {}
                Ok(()) = own.changed() => {
                    let addresses = own.borrow_and_update().as_ref().map(addresses);
                    self.drive(|driver| driver.set_addresses(addresses.unwrap_or_default()));
                }
                () = ground.signals.stopped() => return,
            }
        }
    }

    /// Joins an overlay, without anybody in it yet.
    pub(crate) fn subscribe(&self, overlay: Overlay) -> Subscription {
        Subscription {
            gossip: self.clone(),
            overlay,
            news: self.drive(|driver| driver.subscribe(overlay)),
        }
    }

    /// A session with the peer was completed: it makes no room for others any more.
    pub(crate) fn proved(&self, peer: &VerifyingKey) {
        let now = self.now();
        self.drive(|driver| driver.proved(*peer, now));
    }

    /// Returns `true` if a peer is a neighbour in any overlay.
    pub(crate) fn is_neighbour(&self, peer: &VerifyingKey) -> bool {
        self.inner.driver.lock().is_neighbour(peer)
    }

    /// A peer was reached by another protocol. Without a way to it for gossip, the overlays that it
    /// is interested in ask it, if they lack neighbours.
    pub(crate) fn reached(
        &self,
        peer: &VerifyingKey,
        overlays: impl FnOnce() -> BTreeSet<Overlay>,
    ) {
        let now = self.now();
        self.drive(|driver| {
            if !driver.has_way(peer) {
                for overlay in overlays() {
                    driver.ask_if_lacking(overlay, *peer, now);
                }
            }
        });
    }

    /// Carries gossip over a connection until it ends.
    pub(crate) async fn serve(&self, peer: VerifyingKey, connection: Connection) {
        let (now, rtt) = (self.now(), round_trip(&connection));
        let outgoing = self.drive(|driver| driver.attach(peer, rtt, now));
        let told = |told| {
            let (now, rtt) = (self.now(), round_trip(&connection));
            self.drive(|driver| match told {
                Told::Messages(overlay, messages) => {
                    driver.received(peer, overlay, messages, rtt, now);
                }
                Told::NoStream(overlay) => driver.no_stream(peer, overlay, now),
            });
        };
        let max = self.inner.ground.message_bytes_max;
        let code = carry(&connection, &outgoing, max, told).await;
        close(&connection, code);
        let now = self.now();
        self.drive(|driver| driver.detach(peer, &outgoing, now));
    }

    /// Carries gossip over something that carries other things too, until the way is dropped.
    pub(crate) fn carry(&self, peer: VerifyingKey, round_trip: Duration) -> Way {
        let now = self.now();
        Way {
            outgoing: self.drive(|driver| driver.attach(peer, round_trip, now)),
            gossip: self.clone(),
            peer,
        }
    }

    /// Leaves every overlay, telling the neighbours, as far as the time allows.
    pub(crate) async fn leave(&self, wait: Duration) {
        let now = self.now();
        let ways = self.drive(|driver| driver.leave_all(now));
        let flushed = async {
            for way in ways {
                way.flushed().await;
            }
        };
        // Either all is on its way, or the endpoint is closed under it next.
        let _ = timeout(wait, flushed).await;
    }

    fn now(&self) -> p2panda_protocol::time::Time {
        self.inner.ground.clock.now()
    }

    /// Lets the driver do something, and does what it asks for.
    fn drive<T>(&self, act: impl FnOnce(&mut Driver) -> T) -> T {
        let mut driver = self.inner.driver.lock();
        let before = driver.wake();
        let done = act(&mut driver);
        let wake = driver.wake();
        let dials = driver.dials();
        drop(driver);
        if wake.is_some() && (before.is_none() || wake < before) {
            self.inner.sooner.notify_one();
        }
        for dial in dials {
            let gossip = self.clone();
            tokio::spawn(async move { gossip.dial(dial).await });
        }
        done
    }

    async fn dial(&self, dial: Dial) {
        let Dial { peer, at } = dial;
        let ground = &self.inner.ground;
        let reached = async {
            sleep_until(ground.clock.instant(at)).await;
            self.reach(&peer).await
        };
        let reached = tokio::select! {
            reached = reached => reached,
            () = ground.signals.stopped() => return,
        };
        match reached {
            Some(Reached::Linked) => {}
            Some(Reached::Connected(connection)) => tokio::select! {
                () = self.serve(peer, connection) => {}
                () = ground.signals.stopped() => {}
            },
            None => {
                let now = self.now();
                self.drive(|driver| driver.dial_failed(peer, now));
            }
        }
    }

    /// Over the link with a peer, if it speaks that; else over a connection for gossip.
    async fn reach(&self, peer: &VerifyingKey) -> Option<Reached> {
        let ground = &self.inner.ground;
        let turn = ground.links.turn(peer).await;
        let link = match ground.links.get(peer) {
            Some(link) => link,
            None => {
                // Nodes that are known by hearsay only are not dialled here.
                let addr = ground.lookup.dialable(peer)?;
                let connected = async {
                    let (alpn, options) = (
                        &ground.alpns.gossip,
                        gossip_options(&ground.alpns, &ground.timings),
                    );
                    let connecting = ground.endpoint.connect_with_opts(addr, alpn, options);
                    let connecting = connecting.await.map_err(|error| error.to_string())?;
                    connecting.await.map_err(|error| error.to_string())
                };
                let connected = timeout(ground.dial_wait(), connected).await.ok()?;
                let failed = |error: &_| tracing::debug!(%peer, %error, "gossip reaches nobody");
                let connection = connected.inspect_err(failed).ok()?;
                if !ground.alpns.is_link(connection.alpn()) {
                    ground.links.without(*peer);
                    return Some(Reached::Connected(connection));
                }
                ground.links.begin(connection).await?
            }
        };
        drop(turn);
        link.carry().await.map(|()| Reached::Linked)
    }
}

/// Way in which a peer was reached.
enum Reached {
    /// Its link carries gossip from now on.
    Linked,
    /// A connection for gossip alone.
    Connected(Connection),
}

/// Gossip with a peer over its link. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Way {
    gossip: Gossip,
    peer: VerifyingKey,
    outgoing: Arc<Outgoing>,
}

impl Way {
    /// The next messages to send, each as one frame; an error when the way is to end. May be cancelled.
    pub(crate) async fn next(&self) -> Result<(Overlay, Vec<Bytes>), CloseCode> {
        let batch = self.outgoing.next().await?;
        Ok((batch.overlay, batch.frames))
    }

    /// The peer sent a message. False if it is none.
    pub(crate) fn received(&self, overlay: Overlay, payload: Bytes, round_trip: Duration) -> bool {
        let Ok(message) = Message::decode(payload) else {
            return false;
        };
        let (peer, now) = (self.peer, self.gossip.now());
        self.gossip
            .drive(|driver| driver.received(peer, overlay, vec![message], round_trip, now));
        true
    }

    /// The peer is not in an overlay.
    pub(crate) fn not_shared(&self, overlay: Overlay) {
        let (peer, now) = (self.peer, self.gossip.now());
        self.gossip
            .drive(|driver| driver.no_stream(peer, overlay, now));
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let (peer, now) = (self.peer, self.gossip.now());
        self.gossip
            .drive(|driver| driver.detach(peer, &self.outgoing, now));
    }
}

impl Subscription {
    /// Returns the number of nodes that the overlay still has to ask.
    pub(crate) fn lacking(&self) -> usize {
        self.gossip.inner.driver.lock().lacking(&self.overlay)
    }

    /// Asks nodes to be neighbours.
    pub(crate) fn join(&self, peers: Vec<VerifyingKey>) {
        let (overlay, now) = (self.overlay, self.gossip.now());
        self.gossip.drive(|driver| driver.join(overlay, peers, now));
    }

    /// Sends to everyone in the overlay. Waits while too much waits for every neighbour.
    pub(crate) async fn broadcast(&self, content: Bytes) {
        loop {
            let (overlay, now) = (self.overlay, self.gossip.now());
            let broadcast = |driver: &mut Driver| driver.broadcast(overlay, &content, now);
            match self.gossip.drive(broadcast) {
                Some(full) => full.emptied().await,
                None => return,
            }
        }
    }

    /// Resolves when there is something new. May be cancelled.
    pub(crate) async fn changed(&self) {
        self.news.changed().await;
    }

    /// The neighbours now.
    pub(crate) fn neighbours(&self) -> Neighbours {
        self.news.neighbours()
    }

    /// The next broadcast, and who passed it on.
    pub(crate) fn next_message(&self) -> Option<(Bytes, VerifyingKey)> {
        self.news.next_message()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (overlay, now) = (self.overlay, self.gossip.now());
        self.gossip
            .drive(|driver| driver.unsubscribe(overlay, &self.news, now));
    }
}

/// Encodes the announced addresses of this node.
fn addresses(own: &TransportInfo) -> Bytes {
    let (mut relay, mut sockets) = (None, Vec::new());
    for address in own.addresses() {
        match address {
            Address::Relay(url) => relay = relay.or(Some(url.as_str())),
            Address::Ip(socket) => sockets.push(*socket),
            Address::Custom(_) => {}
        }
    }
    encode_addresses(relay, &sockets)
}
