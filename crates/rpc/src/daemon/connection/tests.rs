#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::future::pending;
use p2panda_core::limits::{
    RPC_LARGE_ALL_BYTES_MAX, RPC_LARGE_BYTES_MAX, RPC_NOTES_MAX, RPC_PING_INTERVAL,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::daemon::access::{Access, Gate, Grant, Scopes, Who};
use crate::daemon::alias::Aliases;
use crate::daemon::doors::{Connections, Doors};
use crate::daemon::invites::Invites;
use crate::daemon::quota::Quotas;
use crate::daemon::service::Service;
use crate::daemon::session::Via;

/// A client that sends these frames, and reads nothing.
struct Stalled {
    frames: Vec<Frame>,
    closed: Option<oneshot::Sender<Close>>,
}

impl Stalled {
    fn new(frames: Vec<Frame>) -> (Self, oneshot::Receiver<Close>) {
        let (closed, why) = oneshot::channel();
        let closed = Some(closed);
        (Stalled { frames, closed }, why)
    }
}

impl Transport for Stalled {
    async fn recv(&mut self) -> Option<Frame> {
        match self.frames.pop() {
            Some(frame) => Some(frame),
            None => pending().await,
        }
    }

    async fn send(&mut self, _: Vec<String>) -> Result<(), Gone> {
        pending().await
    }

    async fn ping(&mut self) -> Result<bool, Gone> {
        pending().await
    }

    async fn close(&mut self, why: Close) {
        self.closed.take().unwrap().send(why).unwrap();
    }
}

async fn service() -> (Service, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let node = p2panda::builder().data_dir(dir.path()).state_dir(None);
    let local = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    let node = node.bind(local, None).mdns(p2panda::Mdns::Off);
    let node = node.spawn().await.unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    let access = Access {
        grants: vec![Grant::token("root", "SECRET", Scopes::all())],
        ..Access::default()
    };
    let gate = Gate::new(node.id(), access, Quotas::default(), invites);
    let aliases = Aliases::open(dir.path()).unwrap();
    let network = p2panda::NetworkId::default();
    let doors = Doors::new(Connections::default());
    let service = Service::new(node, aliases, gate, doors, network, false);
    (service, dir)
}

/// A connection, and where its notifications come from.
fn session(service: &Service, who: Option<Who>) -> (Arc<Session>, mpsc::Receiver<Outgoing>) {
    let (notes, waiting) = mpsc::channel(1);
    let who = who.map(Arc::new);
    let session = Session::new(service.clone(), Via::Unix, who, Some(notes));
    (session, waiting)
}

/// Waits for longer than anything takes; the time is not real.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(3_600), future).await;
    waited.expect("it comes in time")
}

#[tokio::test]
async fn a_client_that_does_not_read_has_no_more_time_for_hello() {
    let (service, _dir) = service().await;
    tokio::time::pause();
    let (session, notes) = session(&service, None);
    let (client, why) = Stalled::new(vec![Frame::Text("junk".into())]);
    in_time(serve(session, notes, client)).await;
    assert_eq!(why.await.unwrap(), Close::NoHello);
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_delay_the_end() {
    let (service, _dir) = service().await;
    tokio::time::pause();
    let (session, notes) = session(&service, Some(Who::local()));
    let (client, why) = Stalled::new(vec![Frame::Text("junk".into())]);
    let end = async {
        // Once the answer is on its way.
        tokio::task::yield_now().await;
        service.end();
    };
    in_time(async { tokio::join!(serve(session, notes, client), end) }).await;
    assert_eq!(why.await.unwrap(), Close::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_connection_holds_one_large_message() {
    const SUBSCRIPTIONS: usize = 8;
    let (service, _dir) = service().await;
    let topic = p2panda::Topic::from_bytes([5; 32]);
    let publisher = service.node.publisher(topic).await.unwrap();
    publisher.publish("x".repeat(1 << 20)).await.unwrap();
    let who = service.gate.token("SECRET").unwrap();
    let (notes, mut waiting) = mpsc::channel(RPC_NOTES_MAX);
    let session = Session::new(service.clone(), Via::Unix, Some(who), Some(notes));
    let subscribe = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"messages.subscribe","params":{{"topics":["{topic}"]}}}}"#
    );
    for _ in 0..SUBSCRIPTIONS {
        for answer in session.handle(&subscribe).unwrap().answers {
            assert!(answer.await.unwrap().contains("result"));
        }
    }
    for _ in 0..SUBSCRIPTIONS {
        let note = in_time(waiting.recv()).await.unwrap();
        assert!(note.text.len() > 1 << 20);
        // The others wait until this one is written, and hold nothing.
        assert!(waiting.try_recv().is_err());
        let held = RPC_LARGE_ALL_BYTES_MAX - service.large.available_permits();
        assert!(held <= RPC_LARGE_BYTES_MAX, "{held}");
        let room = note.room.unwrap();
        assert!(held >= 1 << 20, "{held}");
        drop(room);
    }
    session.close();
    drop((session, waiting));
    let all = service.large.acquire_many(RPC_LARGE_ALL_BYTES_MAX as u32);
    assert!(in_time(all).await.is_ok());
}

/// A client that answers so many pings, and sends nothing else.
struct Quiet {
    pongs: usize,
    asked: usize,
    closed: Option<oneshot::Sender<(usize, Close)>>,
}

impl Transport for Quiet {
    async fn recv(&mut self) -> Option<Frame> {
        if self.asked == 0 || self.asked > self.pongs {
            return pending().await;
        }
        // The answer to this ping comes once.
        self.pongs -= 1;
        self.asked -= 1;
        Some(Frame::Alive)
    }

    async fn send(&mut self, _: Vec<String>) -> Result<(), Gone> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, Gone> {
        self.asked += 1;
        Ok(true)
    }

    async fn close(&mut self, why: Close) {
        let closed = self.closed.take().unwrap();
        closed.send((self.pongs, why)).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_vanished_is_found_by_a_ping() {
    let (service, _dir) = service().await;
    tokio::time::pause();
    let begin = Instant::now();
    let (session, notes) = session(&service, Some(Who::local()));
    let (closed, why) = oneshot::channel();
    let client = Quiet {
        pongs: 3,
        asked: 0,
        closed: Some(closed),
    };
    in_time(serve(session, notes, client)).await;
    assert_eq!(why.await.unwrap(), (0, Close::Silent));
    // Three pings were answered, the fourth was not.
    assert!(begin.elapsed() >= 5 * RPC_PING_INTERVAL);
    assert!(begin.elapsed() < 6 * RPC_PING_INTERVAL);
}
