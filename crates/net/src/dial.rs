//! The way to a sync session: dial or accept, then the topic handshake on the first stream.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use iroh::EndpointAddr;
use iroh::endpoint::{
    ConnectError, ConnectingError, Connection, ConnectionError, RecvStream, SendStream,
};
use p2panda_core::{Topic, VerifyingKey, limits};
use p2panda_protocol::handshake::{Handshake, Input, Output};
use p2panda_protocol::link::Opening;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::Address;
use p2panda_protocol::sync::{Fault, Protocol};
use p2panda_protocol::time::{Time, dial_patience, patience};
use tokio::time::{Instant, sleep_until, timeout};

use crate::close::{close, fault, fault_of};
use crate::connections::round_trip;
use crate::discovery;
use crate::endpoint::sync_options;
use crate::links::Link;
use crate::peer_id::endpoint_addr;
use crate::shared::Shared;
use crate::wire::{Answer, Scope, Wire};

/// Dials a peer for a topic, or opens a stream for it on the link that there is.
pub(crate) async fn dial(shared: &Shared, peer: VerifyingKey, topic: Topic) -> Result<Wire, Fault> {
    let usual = shared.timings.handshake_timeout;
    let asked_at = Instant::now();
    let mut turn = shared.links.turn(&peer).await;
    let link = match shared.links.get(&peer) {
        Some(link) => link,
        None => {
            // Others that share the turn found out meanwhile.
            if turn
                .as_ref()
                .is_some_and(|turn| turn.is_some_and(|failed| failed >= asked_at))
            {
                return Err(Fault::Silent);
            }
            let connection = reach(shared, peer).await.inspect_err(|_| {
                if let Some(turn) = &mut turn {
                    **turn = Some(Instant::now());
                }
            })?;
            if !shared.alpns.is_link(connection.alpn()) {
                shared.without_links(peer);
                drop(turn);
                let wait = patience(usual, round_trip(&connection));
                let agreed = timeout(wait, agree(shared, connection.clone(), topic)).await;
                return agreed.ok().flatten().ok_or_else(|| fault(&connection));
            }
            shared.links.begin(connection).await.ok_or(Fault::Failed)?
        }
    };
    drop(turn);
    let wait = patience(usual, round_trip(&link.connection));
    let opened = timeout(wait, open(&link, topic)).await;
    let opened = opened.ok().flatten();
    opened.ok_or_else(|| fault(&link.connection))
}

/// A new connection, to where the peer is known to be, or to where it answers if others told of it.
async fn reach(shared: &Shared, peer: VerifyingKey) -> Result<Connection, Fault> {
    let known = shared.lookup.dialable(&peer);
    let asked = match known {
        Some(_) => None,
        None => discovery::ask(shared, &peer).await,
    };
    let at = || endpoint_addr(&peer, &[Address::Ip(asked?)]);
    let addr = known.or_else(at).ok_or(Fault::Silent)?;
    let expected = shared.paths.expected(&peer);
    let wait = dial_patience(shared.timings.handshake_timeout, expected);
    let _attempt = shared
        .contacts
        .attempt(peer, addr.ip_addrs().copied().collect());
    let connected = timeout(wait, connect(shared, addr, expected)).await;
    let error = match connected {
        Ok(Ok(connection)) => {
            shared.book.success(&peer);
            shared.reached(&peer);
            return Ok(connection);
        }
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    tracing::debug!(%peer, ?error, "sync dial failed");
    shared.book.unanswered(&peer, asked);
    shared.dial_failed(&peer, error.as_ref());
    Err(error.as_ref().map_or(Fault::Silent, unreached))
}

/// Returns the fault of a failed dial: nobody answered, or with what.
fn unreached(error: &ConnectError) -> Fault {
    let ended = match error {
        ConnectError::Connection { source, .. } => source,
        ConnectError::Connecting { source, .. } => match source {
            ConnectingError::ConnectionError { source, .. } => source,
            _ => return Fault::Failed,
        },
        _ => return Fault::Silent,
    };
    match ended {
        ConnectionError::TimedOut => Fault::Silent,
        ended => fault_of(ended),
    }
}

/// A stream of a link. The peer answers while the session begins.
async fn open(link: &Link, topic: Topic) -> Option<Wire> {
    let (send, recv) = link.connection.open_bi().await.ok()?;
    let (secret, side) = (&link.secret, link.side);
    let first = Opening::Open {
        tag: secret.tag(&Overlay::of_sync(&topic), side),
        proof: secret.proof(&topic, side),
    };
    let answer = Answer::expecting(secret.proof(&topic, side.other()));
    Some(Wire {
        protocol: Protocol::Link {
            binding: secret.binding(&topic),
        },
        connection: link.connection.clone(),
        credit: link.credit.clone(),
        acks: link.acks.clone(),
        broken: link.broken.clone(),
        proofs: link.proofs.clone(),
        send,
        recv,
        scope: Scope::Stream(Some(answer)),
        first: Some(first.encode()),
    })
}

async fn connect(
    shared: &Shared,
    addr: EndpointAddr,
    expected: Duration,
) -> Result<Connection, ConnectError> {
    let (alpn, options) = (
        &shared.alpns.sync,
        sync_options(&shared.alpns, &shared.timings, expected),
    );
    let connecting = shared
        .endpoint
        .connect_with_opts(addr, alpn, options)
        .await?;
    Ok(connecting.await?)
}

async fn agree(shared: &Shared, connection: Connection, topic: Topic) -> Option<Wire> {
    let protocol = shared.alpns.sync_protocol(connection.alpn())?;
    let (send, recv) = connection.open_bi().await.ok()?;
    let handshake = Handshake::initiate(topic, shared.clock.now()).over(round_trip(&connection));
    negotiate(shared, &connection, send, recv, handshake).await?;
    let (send, recv) = connection.open_bi().await.ok()?;
    Some(Wire::of_connection(protocol, connection, send, recv))
}

/// Answers a dialled peer: which topic it wants, before anyone looked whether we serve it.
pub(crate) async fn answer(shared: &Shared, connection: &Connection) -> Option<Topic> {
    let answered = async {
        let (send, recv) = connection.accept_bi().await.ok()?;
        let handshake = Handshake::accept(shared.clock.now()).over(round_trip(connection));
        negotiate(shared, connection, send, recv, handshake).await
    };
    let wait = patience(shared.timings.handshake_timeout, round_trip(connection));
    timeout(wait, answered).await.ok().flatten()
}

/// The second stream of an accepted connection.
pub(crate) async fn accept_session(shared: &Shared, connection: Connection) -> Option<Wire> {
    let protocol = shared.alpns.sync_protocol(connection.alpn())?;
    let wait = patience(shared.timings.handshake_timeout, round_trip(&connection));
    let accepted = timeout(wait, connection.accept_bi()).await;
    let (send, recv) = accepted.ok()?.ok()?;
    Some(Wire::of_connection(protocol, connection, send, recv))
}

async fn negotiate(
    shared: &Shared,
    connection: &Connection,
    mut send: SendStream,
    mut recv: RecvStream,
    mut handshake: Handshake,
) -> Option<Topic> {
    let mut outbox: VecDeque<Bytes> = VecDeque::new();
    let mut wake = Time::ZERO;
    let mut agreed = None;
    let mut input = Input::Tick;
    loop {
        handshake.handle(input, shared.clock.now());
        while let Some(output) = handshake.poll() {
            match output {
                Output::Send(bytes) => outbox.push_back(bytes),
                Output::Wake(time) => wake = time,
                Output::Agreed(topic) => agreed = Some(topic),
                Output::Close(code, failure) => {
                    tracing::debug!(%failure, "topic handshake failed");
                    close(connection, code);
                    return None;
                }
            }
        }
        // Two messages of a few bytes: the stream takes them without waiting for the peer.
        while let Some(bytes) = outbox.pop_front() {
            let len = bytes.len();
            send.write_chunk(bytes).await.ok()?;
            shared.connections.sync_wrote(len);
        }
        if agreed.is_some() {
            let _ = send.finish();
            return agreed;
        }
        input = tokio::select! {
            read = recv.read_chunk(limits::HANDSHAKE_READ_BYTES_MAX) => match read {
                Ok(Some(bytes)) => Input::Bytes(bytes),
                Ok(None) => Input::EndOfStream,
                Err(_) => Input::Lost,
            },
            () = sleep_until(shared.clock.instant(wake)) => Input::Tick,
        };
    }
}
