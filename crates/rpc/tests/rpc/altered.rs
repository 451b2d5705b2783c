//! Requests that were altered a little: each is answered or refused, and the node goes on.

use p2panda::Hash;
use p2panda_rpc::api::METHODS;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::world::{World, in_time};

/// Requests that are sent for each method.
const ALTERED: u32 = 24;

/// Random bytes, the same each time.
struct Draws {
    seed: Hash,
    left: Vec<u8>,
}

impl Draws {
    fn next(&mut self) -> usize {
        if self.left.len() < 4 {
            self.seed = Hash::digest(self.seed.as_bytes());
            self.left = self.seed.as_bytes().to_vec();
        }
        let drawn = self.left.split_off(self.left.len() - 4);
        drawn
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end.max(1)
    }
}

/// Returns the parameters of all methods in one object, from which some are removed at random.
fn params(topic: &str, draws: &mut Draws) -> Value {
    let mut params = json!({
        "topic": topic, "topics": [topic], "after": 0, "limit": 3, "header": true, "name": "x",
        "consumer": "x", "deliveries": [1], "delivery": 1, "subscription": 1, "bytes": 9,
        "message": {"content": {"text": "hi"}}, "messages": [{"content": {"json": [1]}}],
        "author": "7".repeat(64), "id": "7".repeat(64), "member": "7".repeat(64),
        "members": ["7".repeat(64)], "role": "reader", "invite": "7".repeat(64), "uses": 1,
        "ticket": "panda:aa", "operation": {"header": "AAAA", "body": null}, "start": "now",
        "content": {"bytes": "AAAA"}, "data": "AAAA", "view": "v", "keep": true, "wait_ms": 0,
        "node": "7".repeat(64), "addr": "192.0.2.1:9", "number": null, "offset": 1, "count": 1,
    });
    let fields = params.as_object_mut().unwrap();
    let keep = draws.below(4);
    let names: Vec<String> = fields.keys().cloned().collect();
    for name in names {
        if keep == 0 || draws.below(5) < keep {
            fields.remove(&name);
        }
    }
    fields.insert("topic".to_owned(), json!(topic));
    params
}

fn alter(request: &mut Vec<u8>, draws: &mut Draws) {
    let at = draws.below(request.len());
    match draws.below(6) {
        0 => request[at] ^= 1 << draws.below(7),
        1 => request[at] = b"\"{}[],:\\0-.e"[draws.below(11)],
        2 => drop(request.remove(at)),
        3 => request.insert(at, b"\"{}[],9"[draws.below(7)]),
        4 => request.truncate(at + 1),
        _ => {}
    }
}

/// Request after which everything before it was read.
const LAST: &[u8] =
    b"\n{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"node.status\",\"params\":{}}\n";

/// All that comes until the answer to the last request; what waits may still come.
async fn answered(lines: &mut BufReader<UnixStream>, of: &str) {
    loop {
        let mut line = String::new();
        in_time(lines.read_line(&mut line)).await.unwrap();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{of} {error}: {line}"));
        let all = match answer {
            Value::Array(all) => all,
            one => vec![one],
        };
        for one in &all {
            assert_eq!(one["jsonrpc"], "2.0", "{of}: {one}");
            let code = &one["error"]["data"]["code"];
            assert_ne!(code, "internal", "{of}: {one}");
        }
        if all.iter().any(|one| one["id"] == "last") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_request_is_answered_and_the_node_goes_on() {
    let world = World::new().await;
    let topic = world.keep().await;
    let mut draws = Draws {
        seed: Hash::digest(b"altered requests"),
        left: Vec::new(),
    };
    for method in METHODS {
        let mut lines = world.lines().await;
        for _ in 0..ALTERED {
            let params = params(&topic, &mut draws);
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            let mut request = request.to_string().into_bytes();
            for _ in 0..draws.below(3) {
                alter(&mut request, &mut draws);
            }
            request.retain(|byte| *byte != b'\n');
            request.push(b'\n');
            lines.get_mut().write_all(&request).await.unwrap();
        }
        lines.get_mut().write_all(LAST).await.unwrap();
        answered(&mut lines, method).await;
    }
    world.end().await;
}

/// The corpus of the fuzz target `rpc_dispatcher` (`fuzz/README.md`).
#[tokio::test(flavor = "multi_thread")]
async fn every_seed_of_the_dispatcher_is_answered() {
    let world = World::new().await;
    world.keep().await;
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpus/rpc_dispatcher"
    );
    let mut seeds = 0;
    for seed in std::fs::read_dir(corpus).unwrap() {
        let path = seed.unwrap().path();
        let mut lines = world.lines().await;
        let sent = [std::fs::read(&path).unwrap(), LAST.to_vec()].concat();
        lines.get_mut().write_all(&sent).await.unwrap();
        answered(&mut lines, &path.display().to_string()).await;
        seeds += 1;
    }
    assert!(seeds >= 10, "{seeds} seeds");
    world.end().await;
}
