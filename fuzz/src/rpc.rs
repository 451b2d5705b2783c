//! The dispatcher of the RPC of a node that runs in this process.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use p2panda::{Mdns, Topic};
use p2panda_rpc::daemon::{self, Config, UnixPath};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Request after which everything before it was read.
const LAST: &[u8] = b"\n{\"jsonrpc\":\"2.0\",\"id\":\"the last one\",\"method\":\"node.status\"}\n";

/// Time limit for an answer: it waits for nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that lives as long as the process.
struct World {
    runtime: Runtime,
    socket: PathBuf,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = Runtime::new().expect("threads");
        let dir = tempfile::tempdir().expect("a directory").keep();
        let socket = dir.join("rpc");
        runtime.block_on(async {
            let node = p2panda::builder()
                .data_dir(&dir)
                .state_dir(None)
                .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
                .mdns(Mdns::Off)
                .spawn()
                .await
                .expect("a node");
            // The topic of the seeds.
            let topic = node.topic(Topic::from_bytes([5; 32]));
            topic.keep(true).await.expect("a topic");
            let mut config = Config::new(&dir);
            config.unix = Some(UnixPath {
                path: socket.clone(),
                mode: 0o600,
            });
            // It ends with the process.
            std::mem::forget(daemon::start(node, config).await.expect("a server"));
        });
        World { runtime, socket }
    })
}

/// Lines to the socket: each answer is JSON of version 2.0, none is an internal error, and the node
/// goes on.
pub fn dispatcher(input: &[u8]) {
    let world = world();
    let talk = async {
        let stream = UnixStream::connect(&world.socket).await.expect("a socket");
        let (reads, mut writes) = stream.into_split();
        writes.write_all(input).await.expect("it reads");
        writes.write_all(LAST).await.expect("it reads");
        let mut lines = BufReader::new(reads).lines();
        while let Some(line) = lines.next_line().await.expect("UTF-8") {
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            let code = &answer["error"]["data"]["code"];
            assert!(answer["jsonrpc"] == "2.0" && code != "internal", "{line}");
            if answer["id"] == "the last one" {
                return;
            }
        }
        panic!("the connection ended");
    };
    let talked = async { tokio::time::timeout(PATIENCE, talk).await };
    world.runtime.block_on(talked).expect("answers in time");
}
