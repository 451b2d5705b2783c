//! The scenario of every client, with this one, over both transports, against a process of its own.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use p2panda_rpc::api::{self, ConsumerSettings, Empty, NewMessage, PublishParams, SubscribeParams};
use p2panda_rpc::client::{Client, ClientError, Credential};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{self, ALICE, ROOT};
use crate::world::in_time;

/// Names the directory to serve, in the process that serves.
const SERVE: &str = "P2PANDA_RPC_TEST_SERVES";

/// No test by itself: the tests below run this executable again, with a directory to serve.
#[test]
fn serves_where_it_is_asked_to() {
    let Some(dir) = std::env::var_os(SERVE) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(support::serve(Path::new(&dir), support::Wishes::default()))
        .unwrap();
}

struct Server {
    child: Child,
    /// Kept open: the process may say more.
    _lines: Lines<BufReader<ChildStdout>>,
    url: String,
    unix: String,
}

impl Server {
    async fn start(dir: &Path) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "scenario::serves_where_it_is_asked_to",
                "--exact",
                "--nocapture",
            ])
            .env(SERVE, dir)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = in_time(lines.next_line())
                .await
                .unwrap()
                .expect("it listens");
            if let Some(rest) = line.strip_prefix("listening ") {
                let (addr, unix) = rest.split_once(' ').unwrap();
                let (url, unix) = (format!("ws://{addr}/rpc"), unix.to_owned());
                return Server {
                    child,
                    _lines: lines,
                    url,
                    unix,
                };
            }
        }
    }

    async fn connect(&self, token: &str) -> Client {
        let credential = Credential::Token(token.into());
        Client::websocket(&self.url, credential).await.unwrap()
    }
}

/// Runner of the scenario, and what it has so far.
struct Runner {
    dir: tempfile::TempDir,
    topic: String,
    server: Option<Server>,
    client: Option<Client>,
    saved: HashMap<String, String>,
}

fn text(step: &Value, name: &str) -> Option<String> {
    step[name].as_str().map(str::to_owned)
}

impl Runner {
    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    async fn step(&mut self, step: &Value) -> Result<(), ClientError> {
        match step["do"].as_str().unwrap() {
            "start" => self.server = Some(Server::start(self.dir.path()).await),
            "keep" => {
                let params = api::TopicKeepParams {
                    topic: self.topic.clone(),
                    keep: true,
                };
                let root = self.server().connect(ROOT).await;
                self.topic = root.call::<api::TopicKeep>(&params).await?.alias;
            }
            "connect" => self.client = Some(self.server().connect(ALICE).await),
            "publish" => self.publish(step).await?,
            "batch" => {
                let texts = step["texts"].as_array().unwrap().iter();
                let messages = texts.map(|text| NewMessage {
                    content: Some(text.as_str().unwrap().into()),
                    ..NewMessage::default()
                });
                let params = api::PublishBatchParams {
                    topic: self.topic.clone(),
                    messages: messages.collect(),
                };
                self.client().call::<api::PublishBatch>(&params).await?;
            }
            "stream" => self.stream(step).await?,
            "call" => {
                let method = step["method"].as_str().unwrap();
                self.client().call_raw(method, &step["params"]).await?;
            }
            "kill" => {
                let mut server = self.server.take().unwrap();
                server.child.kill().await.unwrap();
                in_time(self.client().closed()).await;
            }
            "stop" => {
                let mut server = self.server.take().unwrap();
                let root = server.connect(ROOT).await;
                root.call::<api::NodeShutdown>(&Empty {}).await?;
                assert!(in_time(server.child.wait()).await.unwrap().success());
                assert!(!Path::new(&server.unix).exists());
            }
            other => panic!("there is no step {other}"),
        }
        Ok(())
    }

    async fn publish(&mut self, step: &Value) -> Result<(), ClientError> {
        let params = PublishParams {
            topic: self.topic.clone(),
            message: NewMessage {
                content: Some(step["text"].as_str().unwrap().into()),
                request: text(step, "request"),
                ..NewMessage::default()
            },
            wait: None,
        };
        let published = self.client().call::<api::Publish>(&params).await?;
        let id = published.id.to_string();
        if let Some(same) = text(step, "same") {
            assert_eq!(self.saved[&same], id);
        }
        if let Some(name) = text(step, "save") {
            self.saved.insert(name, id);
        }
        Ok(())
    }

    async fn stream(&mut self, step: &Value) -> Result<(), ClientError> {
        let params = SubscribeParams {
            topics: vec![self.topic.clone()],
            consumer: Some(ConsumerSettings {
                take_over: true,
                ..ConsumerSettings::named(step["consumer"].as_str().unwrap())
            }),
            ..SubscribeParams::default()
        };
        let mut stream = self.client().messages(params).await?;
        let ack = step["ack"].as_u64().unwrap() as usize;
        for (place, expected) in step["expect"].as_array().unwrap().iter().enumerate() {
            let message = in_time(stream.next()).await?.unwrap();
            assert_eq!(message.text.as_deref(), expected.as_str());
            if place < ack {
                assert_eq!(stream.ack(&message).await?.done, 1);
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scenario_of_every_client_holds() {
    let text = include_str!("../../../../vectors/rpc-scenario.json");
    let scenario: Value = serde_json::from_str(text).unwrap();
    let mut runner = Runner {
        dir: tempfile::tempdir().unwrap(),
        topic: scenario["topic"].as_str().unwrap().to_owned(),
        server: None,
        client: None,
        saved: HashMap::new(),
    };
    for step in scenario["steps"].as_array().unwrap() {
        let outcome = runner.step(step).await;
        match (outcome, step["error"].as_str()) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                assert_eq!(error.code().as_str(), expected, "{step}: {error}");
            }
            (Ok(()), Some(expected)) => panic!("{step}: not refused with {expected}"),
            (Err(error), None) => panic!("{step}: {error}"),
        }
    }
}
