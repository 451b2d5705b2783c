//! A node with its RPC in this process, and ways to speak to it.

use std::time::Duration;

use p2panda::{Node, Quotas, Topic};
use p2panda_rpc::api::{self, Code};
use p2panda_rpc::client::{Client, ClientError, Credential};
use p2panda_rpc::daemon::{self, Config, Running};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{self, ROOT};

pub struct World {
    pub node: Node,
    pub running: Running,
    pub dir: TempDir,
}

pub const TOPIC: Topic = Topic::from_bytes([5; 32]);

impl World {
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> World {
        World::with_quotas(Quotas::default(), change).await
    }

    /// The node keeps no more of others.
    pub async fn with_quotas(quotas: Quotas, change: impl FnOnce(&mut Config)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let node = support::builder(dir.path()).quotas(quotas).spawn().await;
        let node = node.unwrap();
        let mut config = support::config(dir.path());
        change(&mut config);
        let running = daemon::start(node.clone(), config).await.unwrap();
        World { node, running, dir }
    }

    pub async fn unix(&self) -> Client {
        Client::unix(self.running.unix_path().unwrap())
            .await
            .unwrap()
    }

    pub fn url(&self) -> String {
        format!("ws://{}/rpc", self.authority())
    }

    pub fn authority(&self) -> String {
        self.running.tcp_addrs()[0].to_string()
    }

    pub async fn client(&self, token: &str) -> Client {
        let credential = Credential::Token(token.to_owned());
        Client::websocket(&self.url(), credential).await.unwrap()
    }

    /// Keeps the topic, and gives its alias.
    pub async fn keep(&self) -> String {
        let params = api::TopicKeepParams {
            topic: TOPIC.to_string(),
            keep: true,
        };
        self.client(ROOT)
            .await
            .call::<api::TopicKeep>(&params)
            .await
            .unwrap()
            .alias
    }

    /// A line to the socket, and the answer.
    pub async fn line(&self, line: &str) -> Value {
        let mut lines = self.lines().await;
        lines.get_mut().write_all(line.as_bytes()).await.unwrap();
        lines.get_mut().write_all(b"\n").await.unwrap();
        next(&mut lines).await
    }

    pub async fn lines(&self) -> BufReader<UnixStream> {
        BufReader::new(
            UnixStream::connect(self.running.unix_path().unwrap())
                .await
                .unwrap(),
        )
    }

    /// A request of HTTP as text, and the answer as text.
    pub async fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.running.tcp_addrs()[0])
            .await
            .unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        in_time(stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub async fn get(&self, path: &str, headers: &str) -> String {
        let authority = self.authority();
        self.http(&format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    pub async fn post(&self, body: &str, headers: &str) -> String {
        let (authority, length) = (self.authority(), body.len());
        self.http(&format!(
            "POST /rpc HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
        .await
    }

    pub async fn end(self) {
        in_time(self.running.shutdown()).await;
        self.node.shutdown().await.unwrap();
    }
}

pub async fn next(lines: &mut BufReader<UnixStream>) -> Value {
    let mut answer = String::new();
    in_time(lines.read_line(&mut answer)).await.unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Waits longer than anything takes; reaching the end of that is a failure, not a delay.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), future).await;
    waited.expect("it comes in time")
}

/// The code of the error of an answer.
pub fn code(answer: &Value) -> &str {
    answer["error"]["data"]["code"]
        .as_str()
        .unwrap_or("no error")
}

/// The code of a call that failed.
pub fn failed<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> Code {
    outcome.unwrap_err().code()
}
