//! Connections of HTTP (`docs/protocol/rpc.md#2`).

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use p2panda_core::limits::{RPC_HTTP_FIRST_WAIT, RPC_HTTP_IDLE_WAIT};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::doors::Door;
use super::service::Service;

/// Takes connections until the service ends, and lets those that are open answer what they were asked.
pub(crate) async fn accept(listener: TcpListener, router: Router, service: Service) {
    let mut ended = pin!(service.ended());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut ended => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => match service.doors.admit(peer.ip()) {
                Some(door) => {
                    let router = router.clone();
                    connections.spawn(serve(stream, router, door, service.ended(), WAITS));
                }
                None => tracing::debug!("there is no room for another connection"),
            },
            Err(error) => {
                // Too many files are open, most likely: some will be closed.
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// The longest times that a connection is open without a whole head of a request.
#[derive(Clone, Copy)]
struct Waits {
    /// Before the first one.
    first: Duration,
    /// Behind another one.
    idle: Duration,
}

const WAITS: Waits = Waits {
    first: RPC_HTTP_FIRST_WAIT,
    idle: RPC_HTTP_IDLE_WAIT,
};

/// One connection, until it is idle for too long, another one needs its place or everything ends.
async fn serve(
    stream: TcpStream,
    router: Router,
    door: Door,
    ended: impl Future<Output = ()>,
    waits: Waits,
) {
    // Answers are short, and somebody waits for them.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    let timer = builder.timer(TokioTimer::new());
    timer.header_read_timeout(waits.idle);
    let router = TowerToHyperService::new(router);
    let asked = door.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.asked();
        request.extensions_mut().insert(asked.clone());
        router.call(request)
    });
    let never_asked = async {
        tokio::time::sleep(waits.first).await;
        if door.was_asked() {
            std::future::pending::<()>().await;
        }
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = door.left() => return,
        () = never_asked => return,
        () = ended => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::daemon::doors::{Connections, Doors};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(3_600);

    /// Sends so much of a request, and reads until the other side ends the connection.
    async fn answer(sent: &[u8], waits: Waits) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let doors = Doors::new(Connections::default());
        let door = doors.admit(peer.ip()).unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let never = std::future::pending();
        let served = tokio::spawn(serve(stream, router, door, never, waits));
        client.write_all(sent).await.unwrap();
        let mut answer = String::new();
        // Waits for the end, which comes by itself.
        let _ = client.read_to_string(&mut answer).await;
        served.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_ends_anywhere() {
        let waits = Waits {
            first: LONG,
            idle: SHORT,
        };
        assert!(!answer(b"", waits).await.contains("200"));
        let half = answer(b"GET / HTTP/1.1\r\nHost: x", waits).await;
        assert!(!half.contains("200"));
        let answered = answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", waits).await;
        assert!(answered.starts_with("HTTP/1.1 200") && answered.ends_with("here"));
    }

    #[tokio::test]
    async fn the_first_request_has_less_time_than_others() {
        let waits = Waits {
            first: SHORT,
            idle: LONG,
        };
        assert_eq!(answer(b"", waits).await, "");
        assert_eq!(answer(b"GET / HTTP/1.1\r\nHost: x", waits).await, "");
    }
}
