//! Incoming connections: who is let in, and where each protocol goes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use iroh::endpoint::{Connection, Incoming, IncomingAddr};
use p2panda_core::budget::Prefix;
use p2panda_core::{Topic, VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::dial;
use crate::discovery;
use crate::endpoint::{close, node_id};
use crate::shared::Shared;
use crate::topic;

/// What a connection was let in for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    Any,
    Handshake(Prefix),
    Gossip(VerifyingKey),
    Sync(VerifyingKey),
    SyncOn(VerifyingKey, Topic),
}

impl Purpose {
    fn max(&self) -> usize {
        match self {
            Purpose::Any => limits::CONNECTIONS_MAX,
            Purpose::Handshake(_) => limits::HANDSHAKES_PER_PREFIX_MAX,
            Purpose::Gossip(_) => limits::GOSSIP_CONNECTIONS_PER_PEER_MAX,
            Purpose::Sync(_) => limits::SESSIONS_PER_PEER_MAX,
            Purpose::SyncOn(..) => limits::SESSIONS_PER_TOPIC_MAX,
        }
    }
}

/// Counts what was let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    inside: Arc<Mutex<HashMap<Purpose, usize>>>,
}

/// A place inside; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Admitted {
    door: Door,
    purposes: Vec<Purpose>,
}

impl Door {
    /// A place for a TLS handshake. `None`: too many of them come from there.
    fn handshake(&self, prefix: Prefix) -> Option<Admitted> {
        let mut admitted = Admitted {
            door: self.clone(),
            purposes: Vec::new(),
        };
        admitted
            .also(Purpose::Handshake(prefix))
            .then_some(admitted)
    }

    /// How many are inside for a purpose.
    fn count(&self, purpose: &Purpose) -> usize {
        let inside = self.inside.lock().expect("no panic while locked");
        inside.get(purpose).copied().unwrap_or_default()
    }

    fn admit(&self, purpose: Purpose) -> Option<Admitted> {
        let mut admitted = Admitted {
            door: self.clone(),
            purposes: Vec::new(),
        };
        (admitted.also(Purpose::Any) && admitted.also(purpose)).then_some(admitted)
    }
}

impl Admitted {
    /// Counts for another purpose as well, if there is room.
    fn also(&mut self, purpose: Purpose) -> bool {
        let mut inside = self.door.inside.lock().expect("no panic while locked");
        let count = inside.entry(purpose.clone()).or_default();
        if *count >= purpose.max() {
            return false;
        }
        *count += 1;
        self.purposes.push(purpose);
        true
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock().expect("no panic while locked");
        for purpose in &self.purposes {
            let count = inside.entry(purpose.clone()).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                inside.remove(purpose);
            }
        }
    }
}

/// Lets connections in until the endpoint is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let prefix = match incoming.remote_addr() {
            IncomingAddr::Ip(address) => Prefix::of(address.ip()),
            _ => Prefix::RELAYED,
        };
        // With half of the places taken, a caller first has to prove its address.
        let busy = handshakes.available_permits() < limits::HANDSHAKES_MAX / 2
            || shared.door.count(&Purpose::Handshake(prefix))
                >= limits::HANDSHAKES_PER_PREFIX_MAX / 2;
        if busy && !incoming.remote_addr_validated() {
            // An error means that it was validated after all; the caller tries again.
            let _ = incoming.retry();
            continue;
        }
        let (Some(place), Ok(permit)) = (
            shared.door.handshake(prefix),
            handshakes.clone().try_acquire_owned(),
        ) else {
            incoming.refuse();
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let connection = shake_hands(&shared, incoming).await;
            drop((place, permit));
            if let Some(connection) = connection {
                serve(shared, connection).await;
            }
        });
    }
}

async fn shake_hands(shared: &Shared, incoming: Incoming) -> Option<Connection> {
    let accepting = incoming.accept().ok()?;
    let connected = timeout(shared.timings.handshake_timeout, accepting).await;
    connected
        .ok()?
        .inspect_err(|error| tracing::debug!(%error, "incoming handshake failed"))
        .ok()
}

async fn serve(shared: Arc<Shared>, connection: Connection) {
    let Some(peer) = node_id(connection.remote_id()) else {
        return close(&connection, CloseCode::Violation);
    };
    shared.success(&peer);
    let alpn = connection.alpn();
    let served = if shared.alpns.sync_protocol(alpn).is_some() {
        serve_sync(&shared, peer, connection.clone()).await
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
    shared: &Arc<Shared>,
    peer: VerifyingKey,
    connection: Connection,
) -> Result<(), CloseCode> {
    let admitted = shared.door.admit(Purpose::Sync(peer));
    let mut admitted = admitted.ok_or(CloseCode::Refused)?;
    let topic = dial::answer(shared, &connection)
        .await
        .ok_or(CloseCode::Timeout)?;
    let inbox = shared.inbox(&topic).ok_or(CloseCode::NotServed)?;
    if !admitted.also(Purpose::SyncOn(peer, topic)) {
        return Err(CloseCode::Refused);
    }
    let sessions = shared.door.count(&Purpose::SyncOn(peer, topic));
    let extra = sessions > limits::SESSIONS_PER_PAIR;
    if !shared.connections.agreed(&connection, extra) {
        return Err(CloseCode::Refused);
    }
    let wire = dial::accept_session(shared, connection)
        .await
        .ok_or(CloseCode::Timeout)?;
    let incoming = topic::Incoming {
        peer,
        wire,
        admitted,
    };
    inbox.try_send(incoming).map_err(|_| CloseCode::Refused)
}

async fn serve_discovery(
    shared: &Arc<Shared>,
    peer: VerifyingKey,
    connection: &Connection,
) -> Result<(), CloseCode> {
    let visitor = Visitor::admit(shared, peer).ok_or(CloseCode::Refused)?;
    discovery::accept(shared, peer, connection).await;
    drop(visitor);
    Ok(())
}

/// A discovery session that was let in; dropping it makes room for the next one.
struct Visitor<'a> {
    shared: &'a Shared,
    peer: VerifyingKey,
}

impl<'a> Visitor<'a> {
    fn admit(shared: &'a Shared, peer: VerifyingKey) -> Option<Self> {
        let mut visitors = shared.visitors.lock().expect("no panic while locked");
        let admitted = visitors.admit(peer, shared.clock.now());
        drop(visitors);
        // Made only when admitted: dropping one that was not would let the peer in twice.
        admitted.then(|| Self { shared, peer })
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        self.shared
            .visitors
            .lock()
            .expect("no panic while locked")
            .ended(&self.peer);
    }
}

/// Hands the connection over and keeps nothing of it: it is closed when the gossip layer drops it.
async fn serve_gossip(shared: &Arc<Shared>, peer: VerifyingKey, connection: Connection) {
    let Some(_admitted) = shared.door.admit(Purpose::Gossip(peer)) else {
        return close(&connection, CloseCode::Refused);
    };
    let closed = connection.weak_handle().closed();
    let gossip = shared.gossip.current().gossip;
    // An error means that the layer is gone, and the connection with it.
    if gossip.handle_connection(connection).await.is_ok() {
        drop(gossip);
        closed.await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use p2panda_core::SigningKey;

    #[test]
    fn a_place_that_was_given_back_can_be_taken_again() {
        let door = Door::default();
        let peer = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let topic = Topic::from_bytes([2; 32]);
        let mut inside = Vec::new();
        for _ in 0..limits::SESSIONS_PER_TOPIC_MAX {
            let mut admitted = door.admit(Purpose::Sync(peer)).unwrap();
            assert!(admitted.also(Purpose::SyncOn(peer, topic)));
            inside.push(admitted);
        }
        let mut refused = door.admit(Purpose::Sync(peer)).unwrap();
        assert!(!refused.also(Purpose::SyncOn(peer, topic)));
        inside.clear();
        assert!(refused.also(Purpose::SyncOn(peer, topic)));
        drop(refused);
        assert!(door.inside.lock().unwrap().is_empty());
    }
}
