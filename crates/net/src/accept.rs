//! Incoming connections: where each protocol goes.

use std::sync::Arc;

use iroh::endpoint::{Connection, Incoming, IncomingAddr, ServerConfig};
use p2panda_core::budget::Prefix;
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::time::dial_patience;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::admission::Purpose;
use crate::alpns::Alpns;
use crate::close::close;
use crate::endpoint::slow_server;
use crate::peer_id::node_id;
use crate::served::Served;
use crate::shared::Shared;
use crate::topic::{self, TopicHandle};
use crate::{dial, discovery};

/// Lets connections in until the endpoint is closed.
pub(crate) async fn run(shared: Arc<Shared>, topics: Arc<Served<TopicHandle>>) {
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    let slow_server = slow_server(&shared.endpoint, &shared.alpns, &shared.timings);
    let slow_server = Arc::new(slow_server);
    while let Some(incoming) = shared.endpoint.accept().await {
        let prefix = match incoming.remote_addr() {
            IncomingAddr::Ip(address) => Prefix::of(address.ip()),
            _ => Prefix::RELAYED,
        };
        // With half of the places taken, a caller first has to prove its address.
        let busy = handshakes.available_permits() < limits::HANDSHAKES_MAX / 2
            || shared.admissions.count(&Purpose::Handshake(prefix))
                >= limits::HANDSHAKES_PER_PREFIX_MAX / 2;
        if busy && !incoming.remote_addr_validated() {
            // An error means that it was validated after all; the caller tries again.
            let _ = incoming.retry();
            continue;
        }
        let (Some(place), Ok(permit)) = (
            shared.admissions.handshake(prefix),
            handshakes.clone().try_acquire_owned(),
        ) else {
            incoming.refuse();
            continue;
        };
        // A slow caller holds its place for longer, if there are many.
        let slow = !busy && is_slow(&incoming, &shared.alpns);
        let slow = slow.then(|| slow_server.clone());
        let (shared, topics) = (shared.clone(), topics.clone());
        tokio::spawn(async move {
            let connection = shake_hands(&shared, incoming, slow).await;
            drop((place, permit));
            if let Some(connection) = connection {
                serve(shared, &topics, connection).await;
            }
        });
    }
}

/// Returns `true` if the caller expects a slow path.
fn is_slow(incoming: &Incoming, alpns: &Alpns) -> bool {
    let initial = incoming.decrypt();
    let offered = initial.and_then(|initial| initial.alpns());
    offered
        .is_some_and(|mut offered| offered.any(|alpn| alpn.is_ok_and(|alpn| *alpn == alpns.slow)))
}

async fn shake_hands(
    shared: &Shared,
    incoming: Incoming,
    slow: Option<Arc<ServerConfig>>,
) -> Option<Connection> {
    let (accepting, round_trip) = match slow {
        Some(server) => (incoming.accept_with(server), limits::FIRST_ROUND_TRIP_SLOW),
        None => (incoming.accept(), shared.paths.usual()),
    };
    let wait = dial_patience(shared.timings.handshake_timeout, round_trip);
    let connected = timeout(wait, accepting.ok()?).await;
    connected
        .ok()?
        .inspect_err(|error| tracing::debug!(%error, "incoming handshake failed"))
        .ok()
}

async fn serve(shared: Arc<Shared>, topics: &Served<TopicHandle>, connection: Connection) {
    let Some(peer) = node_id(connection.remote_id()) else {
        return close(&connection, CloseCode::Violation);
    };
    shared.book.success(&peer);
    let alpn = connection.alpn();
    let is_link = shared.alpns.is_link(alpn);
    // Who speaks links offers them with every dial.
    if !is_link && shared.alpns.link.is_some() && shared.links.get(&peer).is_none() {
        shared.without_links(peer);
    }
    if alpn != shared.alpns.gossip {
        shared.reached(&peer);
    }
    if is_link {
        return serve_link(&shared, peer, connection).await;
    }
    let served = if shared.alpns.sync_protocol(alpn).is_some() {
        serve_sync(&shared, topics, peer, connection.clone()).await
    } else if alpn == shared.alpns.discovery {
        serve_discovery(&shared, peer, &connection).await
    } else {
        return serve_gossip(&shared, peer, connection).await;
    };
    if let Err(code) = served {
        close(&connection, code);
    }
}

async fn serve_sync(
    shared: &Shared,
    topics: &Served<TopicHandle>,
    peer: VerifyingKey,
    connection: Connection,
) -> Result<(), CloseCode> {
    let admitted = shared.admissions.admit(Purpose::Sync(peer));
    let mut admitted = admitted.ok_or(CloseCode::Refused)?;
    let topic = dial::answer(shared, &connection)
        .await
        .ok_or(CloseCode::Timeout)?;
    let served = topics.get(&topic).filter(|served| served.is_running());
    let inbox = served.map(|served| served.inbox());
    let inbox = inbox.ok_or(CloseCode::NotServed)?;
    if !admitted.also(Purpose::SyncOn(peer, topic)) {
        return Err(CloseCode::Refused);
    }
    let sessions = shared.admissions.count(&Purpose::SyncOn(peer, topic));
    let extra = sessions > limits::SESSIONS_PER_PAIR;
    if !shared.connections.agreed(&connection, extra) {
        return Err(CloseCode::Refused);
    }
    let wire = dial::accept_session(shared, connection)
        .await
        .ok_or(CloseCode::Timeout)?;
    let incoming = topic::Incoming {
        temporary: false,
        peer,
        wire: Box::new(wire),
        admitted,
    };
    let incoming = Box::new(incoming);
    inbox.put(incoming).map_err(|_| CloseCode::Refused)
}

async fn serve_discovery(
    shared: &Shared,
    peer: VerifyingKey,
    connection: &Connection,
) -> Result<(), CloseCode> {
    let standing = shared.connections.standing(&peer, connection);
    let visitor = shared
        .visitors
        .admit(peer, standing, shared.clock.now())
        .ok_or(CloseCode::Refused)?;
    tokio::select! {
        () = discovery::accept(shared, peer, connection) => Ok(()),
        () = visitor.displaced() => Err(CloseCode::Refused),
    }
}

/// Hands the connection over to the task that drives it.
async fn serve_link(shared: &Shared, peer: VerifyingKey, connection: Connection) {
    let Some(_admitted) = shared.admissions.admit(Purpose::Link(peer)) else {
        return close(&connection, CloseCode::Refused);
    };
    let closed = connection.weak_handle().closed();
    if shared.links.begin(connection.clone()).await.is_none() {
        return close(&connection, CloseCode::Refused);
    }
    drop(connection);
    closed.await;
}

/// Serves a gossip connection. Where the oldest one of a peer can make room, their number is
/// bounded.
async fn serve_gossip(shared: &Shared, peer: VerifyingKey, connection: Connection) {
    match shared.admissions.enter() {
        Some(_admitted) => shared.gossip.serve(peer, connection).await,
        None => close(&connection, CloseCode::Refused),
    }
}
