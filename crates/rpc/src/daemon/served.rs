//! Connections of HTTP (`docs/protocol/rpc.md#2`).

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use p2panda_core::limits::RPC_HTTP_IDLE_WAIT;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

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
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(serve(stream, router, service.ended(), RPC_HTTP_IDLE_WAIT));
            }
            Err(error) => {
                // Too many files are open, most likely: some will be closed.
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// One connection, until it is idle for too long or everything ends.
async fn serve(stream: TcpStream, router: Router, ended: impl Future<Output = ()>, idle: Duration) {
    // Answers are short, and somebody waits for them.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => served,
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

    /// Sends so much of a request, and reads until the other side ends the connection.
    async fn answer(sent: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let never = std::future::pending();
        let served = tokio::spawn(serve(stream, router, never, Duration::from_millis(50)));
        client.write_all(sent).await.unwrap();
        let mut answer = String::new();
        // Waits for the end, which comes by itself.
        let _ = client.read_to_string(&mut answer).await;
        served.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_ends_anywhere() {
        assert!(!answer(b"").await.contains("200"));
        assert!(!answer(b"GET / HTTP/1.1\r\nHost: x").await.contains("200"));
        let answered = answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answered.starts_with("HTTP/1.1 200") && answered.ends_with("here"));
    }
}
