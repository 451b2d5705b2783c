//! Drives confidential discovery: the walk that dials, and the sessions of both sides.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use iroh::endpoint::{ConnectError, Connection, ConnectionError, RecvStream, SendStream};
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::book::{Handover, Inserted, Plan, Teller};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::discovery::{Discovery, Input, Local, Outcome, Output};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::record::Address;
use p2panda_protocol::time::{Time, dial_patience, patience};
use p2panda_protocol::walk::{self, Step, Walk};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep_until, timeout};

use crate::budget::{self, Window};
use crate::close::close;
use crate::connections::round_trip;
use crate::credit::Credit;
use crate::endpoint::discovery_options;
use crate::peer_id::{endpoint_addr, remote};
use crate::random;
use crate::shared::Shared;
use crate::wire::write;

/// Starts the walk. `None` when there is no randomness to start it with.
pub(crate) fn start(shared: &Arc<Shared>) -> Option<()> {
    let mut draws = Vec::new();
    for _ in 0..limits::DISCOVERY_WALKERS {
        draws.push(Draws::from_seed(random::seed()?));
    }
    let walk = Walk::new(draws, shared.clock.now());
    tokio::spawn(run(shared.clone(), walk));
    Some(())
}

async fn run(shared: Arc<Shared>, mut walk: Walk) {
    let mut reasons = shared.signals.walks();
    let mut reset = shared.signals.resets();
    let mut visits: JoinSet<Option<Step>> = JoinSet::new();
    let mut visited: HashMap<Id, VerifyingKey> = HashMap::new();
    let mut wake = Time::ZERO;
    let mut input = walk::Input::Tick;
    loop {
        {
            let lacking = shared.overlays.lacks(shared.sessions.live_topics());
            let book = shared.book.lock();
            let (wall, now) = (shared.clock.wall(), shared.clock.now());
            walk.handle(walk::Input::Lacking(lacking), &book, wall, now);
            walk.handle(input, &book, wall, now);
        }
        while let Some(output) = walk.poll() {
            match output {
                walk::Output::Wake(time) => wake = time,
                walk::Output::Dial(node) => {
                    let shared = shared.clone();
                    let task = visits.spawn(async move { visit(&shared, node).await });
                    visited.insert(task.id(), node);
                }
            }
        }
        while let Some(node) = shared.revisits.poll(shared.clock.now()) {
            let shared = shared.clone();
            visits.spawn(async move { revisit(&shared, node).await });
        }
        let revisit = shared.revisits.next().unwrap_or(Time::ZERO);
        input = tokio::select! {
            () = sleep_until(shared.clock.instant(wake)), if wake > Time::ZERO => {
                wake = Time::ZERO;
                walk::Input::Tick
            }
            () = sleep_until(shared.clock.instant(revisit)), if revisit > Time::ZERO => {
                walk::Input::Tick
            }
            () = shared.revisits.changed() => walk::Input::Tick,
            Ok(()) = reasons.changed() => walk::Input::Reset,
            Ok(()) = reset.changed() => walk::Input::Reset,
            Some(done) = visits.join_next_with_id() => {
                let (id, step) = match done {
                    Ok((id, step)) => (id, step),
                    Err(error) => {
                        tracing::error!(%error, "a discovery session broke");
                        (error.id(), None)
                    }
                };
                match visited.remove(&id) {
                    Some(node) => walk::Input::Ended { node, step },
                    None => walk::Input::Tick,
                }
            }
            () = shared.signals.stopped() => return,
        };
    }
}

/// One session with a node that came and shared no topic.
async fn revisit(shared: &Shared, node: VerifyingKey) -> Option<Step> {
    let step = visit(shared, node).await;
    if step.is_none() {
        shared.revisits.lost(&node);
    }
    step
}

/// One session with a node that the walk chose. `None` if it failed.
async fn visit(shared: &Shared, node: VerifyingKey) -> Option<Step> {
    let expected = shared.paths.expected(&node);
    let wait = patience(shared.timings.discovery_timeout, expected);
    let turn = shared.links.turn(&node).await;
    if let Some(link) = shared.links.get(&node) {
        drop(turn);
        return timeout(wait, link.meet()).await.ok().flatten();
    }
    let plan = {
        let mut book = shared.book.lock();
        book.plan(&node, shared.clock.wall(), shared.clock.now())
    };
    let (known, ask) = match plan {
        Plan::Rest => return None,
        Plan::Dial(known) => (known, Vec::new()),
        Plan::Knock { known, ask } => (known, ask),
    };
    let visited = timeout(wait, async {
        let asked = knock(shared, &ask).await;
        let connection = connect(shared, node, known, asked).await?;
        let met = if shared.alpns.is_link(connection.alpn()) {
            let link = shared.links.begin(connection).await;
            drop(turn);
            match link {
                Some(link) => link.meet().await,
                None => None,
            }
        } else {
            shared.without_links(node);
            drop(turn);
            meet(shared, node, &connection).await
        };
        if met.is_none() {
            shared.contacts.note_no_session(node);
        }
        met
    });
    let visited = visited.await;
    if visited.is_err() {
        shared.contacts.note_no_session(node);
    }
    let step = visited.ok().flatten();
    if step.is_none() {
        shared.book.failure(&node);
    }
    step
}

/// Asks addresses that are hearsay for a sign of life. Returns the first that gives one.
async fn knock(shared: &Shared, ask: &[SocketAddr]) -> Option<SocketAddr> {
    if ask.is_empty() {
        return None;
    }
    let knocked = shared.knocker.knock(ask).await;
    let mut book = shared.book.lock();
    for socket in &knocked.unsent {
        book.unsent(socket);
    }
    knocked.first
}

/// Asks where others say that a node is, as far as that may be asked now. Returns where something is.
pub(crate) async fn ask(shared: &Shared, node: &VerifyingKey) -> Option<SocketAddr> {
    let plan = {
        let mut book = shared.book.lock();
        book.plan(node, shared.clock.wall(), shared.clock.now())
    };
    match plan {
        Plan::Knock { ask, .. } => knock(shared, &ask).await,
        Plan::Rest | Plan::Dial(_) => None,
    }
}

/// Dials a node where it is known to be, and where something answered.
async fn connect(
    shared: &Shared,
    node: VerifyingKey,
    known: Vec<Address>,
    asked: Option<SocketAddr>,
) -> Option<Connection> {
    let addresses: Vec<_> = known.into_iter().chain(asked.map(Address::Ip)).collect();
    if addresses.is_empty() {
        return None;
    }
    let addr = endpoint_addr(&node, &addresses)?;
    let _attempt = shared
        .contacts
        .attempt(node, addr.ip_addrs().copied().collect());
    let expected = shared.paths.expected(&node);
    let options = discovery_options(&shared.alpns, &shared.timings, expected);
    let wait = dial_patience(shared.timings.discovery_idle_timeout, expected);
    let dialled = async {
        let alpn = &shared.alpns.discovery;
        let dialled = shared.endpoint.connect_with_opts(addr, alpn, options);
        let connecting = dialled.await.map_err(|error| Some(error.into()))?;
        // A peer that says nothing holds the walk no longer.
        match timeout(wait, connecting).await {
            Ok(connected) => connected.map_err(|error| Some(error.into())),
            Err(_) => Err(None),
        }
    };
    let connected: Result<Connection, Option<ConnectError>> = dialled.await;
    match connected {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(%node, ?error, "discovery dial failed");
            shared.dial_failed(&node, error.as_ref());
            let mut book = shared.book.lock();
            book.unanswered(node, asked, shared.clock.now());
            None
        }
    }
}

async fn meet(shared: &Shared, node: VerifyingKey, connection: &Connection) -> Option<Step> {
    let (from, began) = (remote(connection), shared.clock.now());
    let (send, recv) = connection.open_bi().await.ok()?;
    let machine =
        Discovery::alice(local(shared)?, draws()?, shared.clock.now()).over(round_trip(connection));
    let outcome = session(shared, node, connection, (send, recv), machine).await?;
    if !outcome.common.is_empty() {
        shared.revisits.came(node, true, shared.clock.now());
    }
    Some(apply(shared, node, from, began, outcome).await)
}

/// Serves a session that a peer dialled.
pub(crate) async fn accept(shared: &Shared, peer: VerifyingKey, connection: &Connection) {
    let (from, began) = (remote(connection), shared.clock.now());
    let path = round_trip(connection);
    let wait = patience(shared.timings.discovery_timeout, path);
    let served = timeout(wait, async {
        let (send, recv) = connection.accept_bi().await.ok()?;
        let machine = Discovery::bob(local(shared)?, draws()?, shared.clock.now()).over(path);
        session(shared, peer, connection, (send, recv), machine).await
    });
    match served.await {
        Ok(Some(outcome)) => {
            let shares = !outcome.common.is_empty() || shared.overlays.all().is_empty();
            shared.revisits.came(peer, shares, shared.clock.now());
            apply(shared, peer, from, began, outcome).await;
        }
        Ok(None) => close(connection, CloseCode::Failed),
        Err(_) => close(connection, CloseCode::Timeout),
    }
}

fn local(shared: &Shared) -> Option<Local> {
    let record = shared.own.borrow().clone()?;
    Some(Local {
        node: shared.local,
        record,
        overlays: shared.overlays.all(),
    })
}

fn draws() -> Option<Draws> {
    random::seed().map(Draws::from_seed)
}

async fn session(
    shared: &Shared,
    peer: VerifyingKey,
    connection: &Connection,
    (mut send, mut recv): (SendStream, RecvStream),
    mut machine: Discovery,
) -> Option<Outcome> {
    let intake = shared.connections.account(connection)?.intake();
    // Until the session is over: its one message from the peer may be long.
    let mut held = intake.charge(0);
    let credit = Credit::new(limits::CONNECTION_WINDOW_BYTES);
    let mut window = Window::new(connection.clone(), credit);
    let mut chunk = [Bytes::new()];
    let mut outbox: VecDeque<Bytes> = VecDeque::new();
    let mut wake = Time::ZERO;
    let mut at_end = false;
    let mut outcome = None;
    let mut input = Input::Tick;
    loop {
        machine.handle(input, shared.clock.now());
        while let Some(output) = machine.poll() {
            match output {
                Output::Send(bytes) => outbox.push_back(bytes),
                Output::Wake(time) => wake = time,
                Output::Nodes(common) => {
                    let mut draws = draws()?;
                    let book = shared.book.lock();
                    let records = book.share(&peer, &common, &mut draws, shared.clock.wall());
                    drop(book);
                    machine.handle(Input::Nodes(records), shared.clock.now());
                }
                Output::Finished(finished) => outcome = Some(finished),
                Output::Failed(failure) => {
                    tracing::debug!(%peer, %failure, "discovery session failed");
                }
                Output::Close(code) => {
                    close(connection, code);
                    return outcome;
                }
            }
        }
        if outcome.is_some() {
            return outcome;
        }
        let reading = budget::read(connection, &mut recv, &mut chunk, &intake, true);
        input = tokio::select! {
            read = reading, if !at_end => match read {
                Ok(Some(_)) => {
                    let [bytes] = std::mem::take(&mut chunk);
                    held.grow(bytes.len());
                    window.read(&intake, bytes.len(), true);
                    Input::Bytes(bytes)
                }
                Ok(None) => {
                    at_end = true;
                    Input::EndOfStream
                }
                Err(_) => lost(connection),
            },
            wrote = write(&mut send, &mut outbox), if !outbox.is_empty() => match wrote {
                Ok(_) => Input::Tick,
                Err(_) => lost(connection),
            },
            _ = connection.closed() => lost(connection),
            () = sleep_until(shared.clock.instant(wake)) => Input::Tick,
        };
    }
}

fn lost(connection: &Connection) -> Input {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            Input::Closed(close.error_code.into_inner())
        }
        _ => Input::Lost,
    }
}

/// Books a session under the identity that the peer proved, with its connection's address and the
/// moment at which the two began to say what they know.
async fn apply(
    shared: &Shared,
    peer: VerifyingKey,
    from: Option<SocketAddr>,
    began: Time,
    outcome: Outcome,
) -> Step {
    let Outcome { common, records } = outcome;
    let teller = Teller {
        node: peer,
        from: from.map(|socket| socket.ip()),
    };
    let handover = Handover { teller, began };
    let mut step = take_records(shared, handover, records).await;
    if let Some(socket) = from {
        shared.book.answered(&peer, socket);
    }
    step.overlays_changed = shared.met(peer, common);
    shared.book.shown(&peer);
    step
}

/// Takes in what a peer told, some records at a time.
pub(crate) async fn take_records(shared: &Shared, handover: Handover, records: Records) -> Step {
    let peer = handover.teller.node;
    let mut step = Step {
        received: records.len(),
        ..Step::default()
    };
    step.nodes = records.iter().map(|(node, _)| *node).collect();
    if step.nodes.iter().any(|node| *node != peer) {
        shared.survey.ensure().await;
    }
    let mut records = records.into_iter().peekable();
    while records.peek().is_some() {
        for (node, record) in records.by_ref().take(limits::DISCOVERY_RECORDS_AT_ONCE) {
            match shared.take_record(node, record, handover.source_of(&node)) {
                Ok(Inserted::New | Inserted::Newer) => step.learned += 1,
                Ok(Inserted::Kept) => {}
                Err(error) => tracing::debug!(%peer, %node, %error, "a record was refused"),
            }
        }
        tokio::task::yield_now().await;
    }
    step
}
