//! Access control, tested from outside.

use std::collections::BTreeSet;

use p2panda::SigningKey;
use p2panda_rpc::api::{self, Code, Empty};
use p2panda_rpc::client::{Client, Credential};
use p2panda_rpc::daemon::{Access, Grant, Scopes, Unknown};
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, ROOT};
use crate::world::{TOPIC, World, bearer, code, failed, in_time, next};
use tokio::io::AsyncWriteExt;

const STATUS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"node.status"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_nothing_is_answered_but_health() {
    let world = World::new().await;
    for path in ["/metrics", "/v1/topics/t0123456789abcdef/messages"] {
        assert!(
            world.get(path, "").await.starts_with("HTTP/1.1 401"),
            "{path}"
        );
        let wrong = world.get(path, &bearer("wrong")).await;
        assert!(wrong.starts_with("HTTP/1.1 401"), "{path}");
    }
    assert!(world.post(STATUS, "").await.starts_with("HTTP/1.1 401"));
    assert!(
        world
            .post(STATUS, &bearer(""))
            .await
            .starts_with("HTTP/1.1 401")
    );
    assert!(
        world
            .post(STATUS, &bearer(ALICE))
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(world.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
    let wrong = Client::websocket(&world.url(), Credential::Token("wrong".into())).await;
    assert_eq!(failed(wrong), Code::Unauthenticated);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_needs_its_scope() {
    let world = World::new().await;
    let alias = world.keep().await;
    let bob = world.client(BOB).await;
    bob.call::<api::NodeStatus>(&Empty {}).await.unwrap();
    assert_eq!(
        failed(bob.publish_text(&alias, "no").await),
        Code::Forbidden
    );
    assert_eq!(
        failed(bob.call::<api::NodeShutdown>(&Empty {}).await),
        Code::Forbidden
    );
    let next = json!({"topic": alias, "author": world.node.id()});
    assert_eq!(
        failed(bob.call_raw("log.next", &next).await),
        Code::Forbidden
    );
    // A topic that the node does not use is brought by `admin` only.
    let other = json!({"topic": "09".repeat(32)});
    let alice = world.client(ALICE).await;
    assert_eq!(
        failed(alice.call_raw("topic.status", &other).await),
        Code::UnknownTopic
    );
    let root = world.client(ROOT).await;
    root.call_raw("topic.alias", &other).await.unwrap();
    alice.call_raw("topic.status", &other).await.unwrap();
    root.call::<api::NodeShutdown>(&Empty {}).await.unwrap();
    world.running.asked_to_stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_some_topics_is_for_no_other() {
    let world = World::with(|config| {
        let scopes = Scopes::parse("read,publish-as-node").unwrap();
        let grant = Grant::token("carol", "token-of-carol", scopes).topics([TOPIC]);
        config.access.grants.push(grant);
    })
    .await;
    let alias = world.keep().await;
    let other = json!({"topic": "09".repeat(32), "keep": true});
    let other = world
        .client(ROOT)
        .await
        .call_raw("topic.keep", &other)
        .await
        .unwrap();
    let carol = world.client("token-of-carol").await;
    carol.publish_text(&alias, "mine").await.unwrap();
    let other = other["alias"].as_str().unwrap();
    assert_eq!(
        failed(carol.publish_text(other, "not mine").await),
        Code::Forbidden
    );
    let list = api::TopicListParams::default();
    assert_eq!(
        carol.call::<api::TopicList>(&list).await.unwrap().topics,
        [alias]
    );
    assert_eq!(failed(carol.events().await), Code::Forbidden);
    let metrics = world.get("/metrics", &bearer("token-of-carol")).await;
    assert!(metrics.starts_with("HTTP/1.1 403"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_proved_on_a_websocket_and_once() {
    let key = SigningKey::from_bytes(&[3; 32]);
    let verifying = key.verifying_key();
    let world = World::with(|config| {
        let scopes = Scopes::parse("read").unwrap();
        config
            .access
            .grants
            .push(Grant::key("dora", verifying, scopes));
    })
    .await;
    let id = world.node.id();
    let credential = |key: &SigningKey, node| Credential::Key(Box::new(key.clone()), Some(node));
    let dora = Client::websocket(&world.url(), credential(&key, id))
        .await
        .unwrap();
    assert_eq!(dora.hello().name.as_deref(), Some("dora"));
    let stranger = SigningKey::from_bytes(&[4; 32]);
    let refused = Client::websocket(&world.url(), credential(&stranger, id)).await;
    assert_eq!(failed(refused), Code::Unauthenticated);
    // The client names the node that it means.
    let another = Client::websocket(&world.url(), credential(&key, verifying)).await;
    assert_eq!(failed(another), Code::Internal);
    // A proof without a challenge of this connection, which is what a replayed one is.
    let proof = json!({"rpc": 1, "auth": {"key": {"key": verifying, "nonce": "", "expires": 1,
        "signature": ""}}});
    assert_eq!(
        failed(dora.call_raw("hello", &proof).await),
        Code::Unauthenticated
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_read_and_relay_named_topics_if_the_node_is_open() {
    let world = World::with(|config| {
        let topics = BTreeSet::from([TOPIC]);
        config.access.unknown_keys = Unknown::Open { topics };
    })
    .await;
    let alias = world.keep().await;
    let key = Box::new(SigningKey::from_bytes(&[4; 32]));
    let stranger = Client::websocket(&world.url(), Credential::Key(key, None))
        .await
        .unwrap();
    assert_eq!(stranger.hello().scopes, ["read", "relay"]);
    let topic = json!({"topic": alias});
    stranger.call_raw("topic.status", &topic).await.unwrap();
    assert_eq!(
        failed(stranger.publish_text(&alias, "no").await),
        Code::Forbidden
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_origins_are_refused_also_with_a_token() {
    let world = World::with(|config| {
        config.access.origins.push("https://app.example".into());
    })
    .await;
    let foreign = format!(
        "POST /rpc HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{STATUS}",
        STATUS.len(),
        bearer(ALICE)
    );
    assert!(world.http(&foreign).await.starts_with("HTTP/1.1 403"));
    let origin = |origin: &str| format!("{}Origin: {origin}\r\n", bearer(ALICE));
    let refused = world.post(STATUS, &origin("https://evil.example")).await;
    assert!(refused.starts_with("HTTP/1.1 403"));
    assert!(!refused.contains("access-control-allow-origin"));
    let taken = world.post(STATUS, &origin("https://app.example")).await;
    assert!(taken.starts_with("HTTP/1.1 200"));
    assert!(taken.contains("access-control-allow-origin: https://app.example"));
    let authority = world.authority();
    let preflight = format!(
        "OPTIONS /rpc HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    );
    let preflight = world.http(&preflight).await;
    assert!(preflight.contains("access-control-allow-headers: authorization, content-type"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_connection() {
    let world = World::new().await;
    let alice = world.client(ALICE).await;
    let ticket = alice.call::<api::Ticket>(&Empty {}).await.unwrap().ticket;
    let alias = world.keep().await;
    let path = format!("/v1/topics/{alias}/messages?ticket={ticket}");
    assert!(world.get(&path, "").await.starts_with("HTTP/1.1 204"));
    assert!(world.get(&path, "").await.starts_with("HTTP/1.1 401"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_credentials_leave_open_connections() {
    let world = World::new().await;
    let alice = world.client(ALICE).await;
    let mut access = Access::default();
    let scopes = Scopes::parse("read").unwrap();
    access.grants.push(Grant::token("alice", "new", scopes));
    world.running.reload(access);
    alice.call::<api::NodeStatus>(&Empty {}).await.unwrap();
    let old = Client::websocket(&world.url(), Credential::Token(ALICE.into())).await;
    assert_eq!(failed(old), Code::Unauthenticated);
    world.client("new").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_each_client_and_not_the_others() {
    let world = World::with(|config| {
        config.quotas.connections = 2;
        config.quotas.requests_per_second = 5;
    })
    .await;
    let (one, _two) = (world.client(ALICE).await, world.client(ALICE).await);
    let third = Client::websocket(&world.url(), Credential::Token(ALICE.into())).await;
    assert_eq!(failed(third), Code::Quota);
    let many = vec![STATUS; 20].join(",");
    let answer = world.post(&format!("[{many}]"), &bearer(BOB)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let text = answer.split("\r\n\r\n").nth(1).unwrap();
    let answers: Vec<Value> = serde_json::from_str(text).unwrap();
    let done = answers.iter().filter(|one| one["result"].is_object());
    assert!((5..20).contains(&done.count()), "{answers:?}");
    assert_eq!(code(&answers[19]), "quota");
    one.call::<api::NodeStatus>(&Empty {}).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_quota_refuses_has_its_status_and_id() {
    let world = World::with(|config| config.quotas.bytes_per_second = 100).await;
    // It is paid for afterwards, for longer than a test lasts.
    let large = format!("{STATUS}{}", " ".repeat(100_000));
    let answer = world.post(&large, &bearer(BOB)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = world.post(STATUS, &bearer(BOB)).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    let text = answer.split("\r\n\r\n").nth(1).unwrap();
    let answer: Value = serde_json::from_str(text).unwrap();
    assert_eq!((code(&answer), &answer["id"]), ("quota", &json!(1)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_that_a_quota_refuses_is_answered_with_its_id() {
    let world = World::with(|config| config.quotas.requests_per_second = 10).await;
    let request = |id: u64, method: &str, params: Value| {
        let id = json!(id);
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    };
    let mut frame: Vec<Value> = (1..=39)
        .map(|id| request(id, "node.status", json!({})))
        .collect();
    // What gives room is never refused.
    let credit = json!({"subscription": 99, "bytes": 1});
    frame.push(request(40, "messages.credit", credit));
    let answers = at_once(&world, &[hello_as(BOB), Value::from(frame)], 41).await;
    let ids: Vec<u64> = answers
        .iter()
        .filter_map(|one| one["id"].as_u64())
        .collect();
    assert_eq!(ids, (0..=40).collect::<Vec<_>>());
    assert!(answers[1]["result"].is_object(), "{}", answers[1]);
    assert_eq!(code(&answers[39]), "quota");
    assert_eq!(code(&answers[40]), "unknown-subscription");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_calls_that_were_not_carried_out_are_refused_by_quota() {
    let world = World::with(|config| config.quotas.requests_per_second = 20).await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    let calls = (0..100).map(|_| alice.publish_text(&alias, "m"));
    let outcomes = in_time(futures_util::future::join_all(calls)).await;
    let stored = world.node.topic(TOPIC).operations(0).await.unwrap().len();
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), stored);
    assert!((20..100).contains(&stored), "{stored}");
    assert!(refused.into_iter().all(|one| failed(one) == Code::Quota));
    world.end().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_opens_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let mode = std::fs::metadata(world.running.unix_path().unwrap())
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(world.unix().await.hello().name.as_deref(), Some("local"));
    world.end().await;
}

/// Sends lines to the socket at once, and reads an answer to each request in them.
async fn at_once(world: &World, lines: &[Value], count: usize) -> Vec<Value> {
    let mut socket = world.lines().await;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    socket.get_mut().write_all(text.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(next(&mut socket).await);
    }
    answers.sort_by_key(|answer| answer["id"].as_u64());
    answers
}

fn hello_as(token: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "hello", "params": {"rpc": 1, "auth": {"token": token}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_after_a_hello_have_its_credential() {
    let world = World::new().await;
    let alias = world.keep().await;
    let publish = |id: u64| {
        let message = json!({"content": {"text": id.to_string()}});
        let params = json!({"topic": alias, "message": message});
        json!({"jsonrpc": "2.0", "id": id, "method": "publish", "params": params})
    };
    // The socket by itself may do everything.
    let lines = [hello_as(BOB), publish(1)];
    for sent in [lines.to_vec(), vec![Value::from(lines.to_vec())]] {
        let answers = at_once(&world, &sent, 2).await;
        assert_eq!(answers[0]["result"]["name"], "bob");
        assert_eq!(answers[1]["error"]["data"]["code"], "forbidden");
    }
    let mut sent = vec![hello_as(ALICE)];
    sent.extend((1..=100).map(publish));
    let answers = at_once(&world, &sent, 101).await;
    for (at, answer) in answers.iter().enumerate().skip(1) {
        assert_eq!(answer["result"]["seq"], at - 1, "{answer}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_after_a_hello_count_against_quotas() {
    let world = World::with(|config| config.quotas.requests_per_second = 10).await;
    let status = json!({"jsonrpc": "2.0", "id": 1, "method": "node.status"});
    let sent: Vec<Value> = std::iter::once(hello_as(BOB))
        .chain((1..=40).map(|id| {
            let mut status = status.clone();
            status["id"] = id.into();
            status
        }))
        .collect();
    let answers = at_once(&world, &sent, 41).await;
    let refused = |answer: &&Value| answer["error"]["data"]["code"] == "quota";
    assert!(answers.iter().filter(refused).count() >= 20, "{answers:?}");
    world.end().await;
}
