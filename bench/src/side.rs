//! One node as a process of its own, told line by line what to do. The other half of `pair`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2panda::{Event, Node, Publisher, StartAt, Subscription, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::Failure;
use crate::figures::{
    cpu_seconds, disk_bytes, monotonic_ns, peak_resident_bytes, percentiles, resident_bytes,
};
use crate::prepare::{builder, content, key, topic};

/// Settings of a node to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Its directory.
    pub dir: PathBuf,
    /// The number of its key.
    pub key: u32,
    /// Number of topics that it joins.
    pub topics: u32,
    /// The node it starts from.
    pub bootstrap: Option<Peer>,
    /// `true` if it reads what is stored already.
    pub resume: bool,
    /// `true` if it speaks more than the sync protocol of 0.7.1.
    pub state_digest: bool,
}

/// A node and where it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: [u8; 32],
    /// Its address.
    pub addr: SocketAddr,
}

/// Request to a node; each is answered with one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Report a peer.
    Dial(Peer),
    /// Wait until that many messages were handed to the application in all.
    Received(usize),
    /// Wait until that many sessions know what is to be exchanged.
    Compared(usize),
    /// Wait until that many sessions have caught up.
    CaughtUp(usize),
    /// Publish messages whose content begins with the time.
    Publish {
        /// Number of messages.
        n: usize,
        /// Bytes of content.
        payload_bytes: usize,
        /// Number of messages at the same time.
        in_flight: usize,
        /// One every this many microseconds; 0 for as fast as it goes.
        interval_us: u64,
    },
    /// From now on messages tell when they were published.
    Live,
    /// Counters of the process.
    Figures,
    /// Header and body bytes of topic 0.
    Content,
    /// Stop.
    End,
}

/// Messages and events so far.
#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    received: usize,
    /// Number of messages that are waited for.
    target: usize,
    first_ns: u64,
    last_ns: u64,
    live: bool,
    latencies_ms: Vec<f64>,
    started_ns: Vec<u64>,
    compared_ns: Vec<u64>,
    caught_up_ns: Vec<u64>,
    connected_ns: u64,
}

struct Side {
    node: Node,
    publisher: Publisher,
    seen: Arc<Seen>,
    dir: PathBuf,
}

/// Runs the node until it is told to end.
pub async fn run(spec: Spec) -> Result<(), Failure> {
    let exec_ns = monotonic_ns();
    let mut builder = builder(&spec.dir)
        .state_digest(spec.state_digest)
        .signing_key(key(spec.key));
    if let Some(peer) = spec.bootstrap {
        builder = builder.bootstrap(verifying_key(peer)?, peer.addr);
    }
    let node = builder.spawn().await?;
    let opened_ns = monotonic_ns();
    let seen = Arc::new(Seen::default());
    tokio::spawn(listen(node.clone(), Arc::clone(&seen)));
    tokio::spawn(watch_connection(node.clone(), Arc::clone(&seen)));
    let start = if spec.resume {
        StartAt::Resume
    } else {
        StartAt::Now
    };
    let mut publisher = None;
    for number in 0..spec.topics {
        let (tx, rx) = node.stream(topic(number)).start(start).await?;
        publisher.get_or_insert(tx);
        tokio::spawn(read(rx, Arc::clone(&seen)));
    }
    let addr = node
        .net()
        .addr()
        .first()
        .copied()
        .ok_or(Failure::NoAddress)?;
    let id = *node.id().as_bytes();
    let side = Side {
        node,
        publisher: publisher.ok_or(Failure::NoAddress)?,
        seen,
        dir: spec.dir,
    };
    answer(&json!({
        "peer": Peer { id, addr },
        "main_ns": exec_ns,
        "opened_ns": opened_ns,
        "ready_ns": monotonic_ns(),
        "rss_bytes": resident_bytes(),
    }));
    side.serve().await
}

impl Side {
    async fn serve(self) -> Result<(), Failure> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let request: Request = serde_json::from_str(&line)?;
            let end = matches!(request, Request::End);
            answer(&self.take(request).await?);
            if end {
                break;
            }
        }
        Ok(())
    }

    async fn take(&self, request: Request) -> Result<Value, Failure> {
        Ok(match request {
            Request::Dial(peer) => {
                self.node.net().add_peer(verifying_key(peer)?, peer.addr);
                Value::Null
            }
            Request::Received(n) => self.received(n).await,
            Request::Compared(n) => self.phases(n, |state| &state.compared_ns).await,
            Request::CaughtUp(n) => self.phases(n, |state| &state.caught_up_ns).await,
            Request::Publish {
                n,
                payload_bytes,
                in_flight,
                interval_us,
            } => {
                self.publish(n, payload_bytes, in_flight, interval_us)
                    .await?
            }
            Request::Live => {
                self.seen.state().live = true;
                Value::Null
            }
            Request::Figures => self.figures(),
            Request::Content => {
                let status = self.node.topic(topic(0)).status().await?;
                json!({ "bytes": status.totals.bytes, "operations": status.totals.operations })
            }
            Request::End => {
                self.node.shutdown().await?;
                json!({ "disk_bytes": disk_bytes(&self.dir)? })
            }
        })
    }

    async fn received(&self, n: usize) -> Value {
        self.seen.state().target = n;
        self.seen.until(|state| state.received >= n).await;
        let mut state = self.seen.state();
        json!({
            "received": state.received,
            "first_ns": state.first_ns,
            "last_ns": state.last_ns,
            "latency_ms": percentiles(std::mem::take(&mut state.latencies_ms)),
        })
    }

    async fn phases(&self, n: usize, times: fn(&State) -> &Vec<u64>) -> Value {
        self.seen.until(|state| times(state).len() >= n).await;
        let state = self.seen.state();
        json!({
            "connected_ns": state.connected_ns,
            "started_ns": state.started_ns.iter().min(),
            "ns": times(&state).get(n.saturating_sub(1)),
        })
    }

    async fn publish(
        &self,
        n: usize,
        payload_bytes: usize,
        in_flight: usize,
        interval_us: u64,
    ) -> Result<Value, Failure> {
        let started_ns = monotonic_ns();
        let mut tasks = JoinSet::new();
        for task in 0..in_flight {
            let tx = self.publisher.clone();
            let mut tick = tokio::time::interval(Duration::from_micros(interval_us.max(1)));
            tasks.spawn(async move {
                let mut waits_ms = Vec::new();
                for _ in (task..n).step_by(in_flight) {
                    if interval_us > 0 {
                        tick.tick().await;
                    }
                    let now_ns = monotonic_ns();
                    tx.publish(content(payload_bytes.max(8), now_ns)).await?;
                    waits_ms.push((monotonic_ns() - now_ns) as f64 / 1e6);
                }
                Ok::<_, Failure>(waits_ms)
            });
        }
        let mut waits_ms = Vec::with_capacity(n);
        while let Some(done) = tasks.join_next().await {
            waits_ms.extend(done??);
        }
        Ok(json!({
            "started_ns": started_ns,
            "ended_ns": monotonic_ns(),
            "wait_ms": percentiles(waits_ms),
        }))
    }

    fn figures(&self) -> Value {
        let counters = self.node.net().counters();
        json!({
            "udp_sent_bytes": counters.udp_sent_bytes,
            "sync_sent_bytes": counters.sync_sent_bytes,
            "cpu_seconds": cpu_seconds(),
            "rss_bytes": resident_bytes(),
            "peak_rss_bytes": peak_resident_bytes(),
        })
    }
}

impl Seen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&self, done: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if done(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn message(&self, content: Option<&[u8]>) {
        let now_ns = monotonic_ns();
        let mut state = self.state();
        if state.received == 0 {
            state.first_ns = now_ns;
        }
        state.received += 1;
        state.last_ns = now_ns;
        let sent = content.and_then(|content| content.first_chunk());
        if let (true, Some(sent)) = (state.live, sent) {
            let sent_ns = u64::from_le_bytes(*sent);
            let latency_ms = now_ns.saturating_sub(sent_ns) as f64 / 1e6;
            state.latencies_ms.push(latency_ms);
        }
        if state.received == state.target {
            drop(state);
            self.changed.notify_one();
        }
    }

    fn event(&self, event: &Event) {
        let now_ns = monotonic_ns();
        let mut state = self.state();
        match event {
            Event::SessionStarted { .. } => state.started_ns.push(now_ns),
            Event::CatchUpStarted { .. } => state.compared_ns.push(now_ns),
            Event::CatchUpEnded { .. } => state.caught_up_ns.push(now_ns),
            _ => return,
        }
        drop(state);
        self.changed.notify_one();
    }
}

async fn read(mut rx: Subscription, seen: Arc<Seen>) {
    while let Some(message) = rx.next().await {
        seen.message(message.bytes().ok());
    }
}

async fn listen(node: Node, seen: Arc<Seen>) {
    let mut events = node.events();
    // The node must be able to stop.
    drop(node);
    while let Some(event) = events.next().await {
        seen.event(&event);
    }
}

/// Notes when the first connection stood. No event reports it.
async fn watch_connection(node: Node, seen: Arc<Seen>) {
    while node.net().counters().connections == 0 && !node.is_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    seen.state().connected_ns = monotonic_ns();
}

fn verifying_key(peer: Peer) -> Result<VerifyingKey, Failure> {
    Ok(VerifyingKey::from_bytes(peer.id)?)
}

fn answer(value: &Value) {
    println!("{value}");
}
