//! Faulty input of clients, by mistake or on purpose: a standard code and a hint, and the
//! connection continues.

use p2panda_rpc::api::Code;
use p2panda_rpc::client::{Client, Credential};
use p2panda_rpc::daemon::{self, StartError};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{self, ALICE};
use crate::world::{TOPIC, World, bearer, code, failed, in_time, next};

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_has_a_code_and_the_connection_goes_on() {
    let world = World::new().await;
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(63), "]".repeat(63));
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#,
        "x".repeat(1024 * 1024)
    );
    let many = format!("[{}]", vec!["1"; 10_001].join(","));
    let request = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    let content = |json: &str| {
        let params = format!(r#"{{"topic":"{TOPIC}","message":{{"content":{{"json":{json}}}}}}}"#);
        request("publish", &params)
    };
    let lines = [
        ("not json".to_owned(), "parse-error"),
        ("{\"jsonrpc\":".to_owned(), "parse-error"),
        (deep, "parse-error"),
        (large, "too-large"),
        (many, "too-large"),
        ("[]".to_owned(), "invalid-request"),
        ("1".to_owned(), "invalid-request"),
        ("{\"id\":1}".to_owned(), "invalid-request"),
        (request("node.status", "[1]"), "invalid-params"),
        (request("node.status", "{\"more\":1}"), "invalid-params"),
        (request("nothing", "{}"), "unknown-method"),
        (
            request("messages.credit", r#"{"subscription":1.0,"bytes":1}"#),
            "invalid-params",
        ),
        (
            request("messages.credit", r#"{"subscription":-1,"bytes":1}"#),
            "invalid-params",
        ),
        (
            request("messages.credit", r#"{"subscription":1e3,"bytes":1}"#),
            "invalid-params",
        ),
        (
            request(
                "messages.credit",
                r#"{"subscription":18446744073709551616,"bytes":1}"#,
            ),
            "invalid-params",
        ),
        (
            request("topic.status", r#"{"topic":"0123"}"#),
            "unknown-topic",
        ),
        (
            request("topic.status", r#"{"topic":"t0123456789abcdef"}"#),
            "unknown-topic",
        ),
        (request("trace", r#"{"id":"00"}"#), "invalid-params"),
        (request("hello", r#"{"rpc":2}"#), "version"),
        // A structure is an object.
        (
            r#"[["2.0",1,"hello",{"rpc":1}]]"#.to_owned(),
            "invalid-request",
        ),
        (request("node.status", "[]"), "invalid-params"),
        (request("node.status", "null"), "invalid-params"),
        (
            request("messages.read", r#"["t0123456789abcdef",0,3]"#),
            "invalid-params",
        ),
        // No id is none.
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"node.status"}"#.to_owned(),
            "invalid-request",
        ),
        (content(r#"{"a":1,"a":2}"#), "invalid-params"),
        (content("18446744073709551616"), "invalid-params"),
        (
            request(
                "topic.alias",
                &format!(r#"{{"topic":"{}"}}"#, "0A".repeat(32)),
            ),
            "invalid-params",
        ),
    ];
    let mut connection = world.lines().await;
    for (line, expected) in &lines {
        connection
            .get_mut()
            .write_all(line.as_bytes())
            .await
            .unwrap();
        connection.get_mut().write_all(b"\n").await.unwrap();
        let answer = next(&mut connection).await;
        let shown: String = line.chars().take(80).collect();
        assert_eq!(code(&answer), *expected, "{shown}: {answer}");
        let hint = answer["error"]["data"]["hint"].as_str().unwrap_or_default();
        assert!(
            !hint.is_empty() || *expected == "internal",
            "{shown} has no hint: {answer}"
        );
        assert!(answer["error"]["code"].is_i64());
    }
    connection.get_mut().write_all(b"\xff\xfe\n").await.unwrap();
    assert_eq!(code(&next(&mut connection).await), "parse-error");
    connection.get_mut().write_all(b"\n \n").await.unwrap();
    let fine = request("node.status", "{}") + "\n";
    connection
        .get_mut()
        .write_all(fine.as_bytes())
        .await
        .unwrap();
    assert!(next(&mut connection).await["result"]["node"].is_string());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_midway_leaves_no_gap() {
    let world = World::new().await;
    let alias = world.keep().await;
    for half in ["[{\"jsonrpc\":\"2.0\",\"id\":1,\"meth", "{}"] {
        let mut connection = world.lines().await;
        connection
            .get_mut()
            .write_all(half.as_bytes())
            .await
            .unwrap();
    }
    let message = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"publish\",\"params\":{{\"topic\":\"{alias}\",\
         \"message\":{{\"content\":{{\"text\":\"m\"}}}}}}}}"
    );
    let batch = format!("[{}]\n", vec![message.as_str(); 100].join(","));
    let mut connection = world.lines().await;
    connection
        .get_mut()
        .write_all(batch.as_bytes())
        .await
        .unwrap();
    drop(connection);
    let unix = world.unix().await;
    unix.publish_text(&alias, "after").await.unwrap();
    // What was read of the batch is published, before or after that, and the log has no gap.
    let stored = world.node.topic(TOPIC).operations(0).await.unwrap();
    let seqs: Vec<u32> = stored.iter().map(|one| one.seq).collect();
    assert_eq!(seqs, (0..stored.len() as u32).collect::<Vec<_>>());
    assert!((1..=101).contains(&stored.len()), "{}", stored.len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_midway_frees_its_place() {
    let world = World::with(|config| config.quotas.connections = 1).await;
    let protocol = format!("Sec-WebSocket-Protocol: panda.v1\r\n{}", bearer(ALICE));
    let (mut half, answer) = handshake(&world, &protocol).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let url = world.url();
    let connect = async || Client::websocket(&url, Credential::Token(ALICE.to_owned())).await;
    assert_eq!(failed(connect().await), Code::Quota);
    // The beginning of a frame of 4 KiB, and no more.
    half.write_all(&[0x81, 0xfe, 0x10]).await.unwrap();
    drop(half);
    let freed = async {
        while let Err(refused) = connect().await {
            assert_eq!(refused.code(), Code::Quota);
        }
    };
    in_time(freed).await;
    world.end().await;
}

/// A WebSocket by hand: the handshake, and bytes behind it.
pub async fn handshake(world: &World, headers: &str) -> (TcpStream, String) {
    let authority = world.authority();
    let mut stream = TcpStream::connect(&authority).await.unwrap();
    let request = format!(
        "GET /rpc HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        in_time(stream.read_exact(&mut byte)).await.unwrap();
        answer.push(byte[0]);
    }
    (stream, String::from_utf8(answer).unwrap())
}

/// The code of the frame that closes a connection.
async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    let mut frame = Vec::new();
    // The other side may reset what it does not read.
    let _ = in_time(stream.read_to_end(&mut frame)).await;
    match frame[..] {
        [0x88, _, high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_close_the_websocket_with_a_reason() {
    let world = World::new().await;
    let protocol = format!("Sec-WebSocket-Protocol: panda.v1\r\n{}", bearer(ALICE));
    let (mut unmasked, answer) = handshake(&world, &protocol).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(
        answer
            .to_lowercase()
            .contains("sec-websocket-protocol: panda.v1")
    );
    unmasked.write_all(&[0x81, 0x02, b'{', b'}']).await.unwrap();
    assert_eq!(close_code(&mut unmasked).await, Some(1002));
    let (mut binary, _) = handshake(&world, &protocol).await;
    binary
        .write_all(&[0x82, 0x81, 0, 0, 0, 0, 1])
        .await
        .unwrap();
    assert_eq!(close_code(&mut binary).await, Some(1003));
    let (mut huge, _) = handshake(&world, &protocol).await;
    let mut head = vec![0x81, 0xff];
    head.extend((3 * 1024 * 1024_u64).to_be_bytes());
    head.extend([0; 4]);
    huge.write_all(&head).await.unwrap();
    assert_eq!(close_code(&mut huge).await, Some(1009));
    let (mut parts, _) = handshake(&world, &protocol).await;
    for (first, bytes) in [(0x01, 1 << 20), (0x00, 1 << 20), (0x80, 600 << 10)] {
        let mut frame = vec![first, 0xff];
        frame.extend(u64::to_be_bytes(bytes));
        frame.extend([0; 4]);
        frame.resize(frame.len() + bytes as usize, b'x');
        parts.write_all(&frame).await.unwrap();
    }
    assert_eq!(close_code(&mut parts).await, Some(1009));
    let (half, _) = handshake(&world, &protocol).await;
    let mut half = half;
    half.write_all(&[0x81, 0xfe, 0x10]).await.unwrap();
    drop(half);
    let (_, answer) = handshake(&world, &bearer(ALICE)).await;
    assert!(
        answer.starts_with("HTTP/1.1 400"),
        "without the subprotocol: {answer}"
    );
    world.client(ALICE).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prevents_a_start_is_named() {
    let world = World::new().await;
    let other = tempfile::tempdir().unwrap();
    let start = |change: fn(&mut daemon::Config, &World)| {
        let mut config = support::config(other.path());
        change(&mut config, &world);
        daemon::start(world.node.clone(), config)
    };
    let taken = start(|config, world| config.tcp = world.running.tcp_addrs().to_vec()).await;
    let error = taken.unwrap_err();
    assert!(error.to_string().contains(&world.authority()), "{error}");
    assert!(matches!(error, StartError::Tcp { .. }));
    let public = start(|config, _| config.tcp = vec!["0.0.0.0:0".parse().unwrap()]).await;
    assert!(matches!(public.unwrap_err(), StartError::NotLoopback(_)));
    let served = start(|config, world| {
        let path = world.running.unix_path().unwrap().to_path_buf();
        config.unix = Some(daemon::UnixPath { path, mode: 0o600 });
    });
    assert!(matches!(served.await.unwrap_err(), StartError::Unix { .. }));
    // What a killed process left is not an obstacle; anything else is not taken away.
    drop(std::os::unix::net::UnixListener::bind(other.path().join("rpc")).unwrap());
    start(|_, _| {}).await.unwrap().shutdown().await;
    std::fs::write(other.path().join("rpc"), "mine").unwrap();
    let file = start(|_, _| {}).await;
    assert!(matches!(file.unwrap_err(), StartError::Unix { .. }));
    assert_eq!(std::fs::read(other.path().join("rpc")).unwrap(), b"mine");
    let mut long = support::config(other.path());
    let path = other.path().join("x".repeat(120));
    long.unix = Some(daemon::UnixPath { path, mode: 0o600 });
    let long = daemon::start(world.node.clone(), long).await;
    assert!(matches!(long.unwrap_err(), StartError::Unix { .. }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_http_body_has_its_status_and_code() {
    let world = World::new().await;
    let cases = [
        ("not json", "400", "parse-error"),
        ("[]", "400", "invalid-request"),
        ("{}", "200", "invalid-request"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"events.subscribe"}"#,
            "200",
            "needs-connection",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"auth.challenge"}"#,
            "200",
            "needs-connection",
        ),
    ];
    for (body, status, expected) in cases {
        let answer = world.post(body, &bearer(ALICE)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{body}: {answer}"
        );
        let text = answer.split("\r\n\r\n").nth(1).unwrap();
        let json: Value = serde_json::from_str(text).unwrap();
        assert_eq!(code(&json), expected, "{body}");
    }
    let note = r#"{"jsonrpc":"2.0","method":"node.status"}"#;
    assert!(
        world
            .post(note, &bearer(ALICE))
            .await
            .starts_with("HTTP/1.1 204")
    );
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"node.status"}"#;
    let two = world
        .post(&format!("[{one},{one},{note}]"), &bearer(ALICE))
        .await;
    let two: Value = serde_json::from_str(two.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(two.as_array().unwrap().len(), 2);
    world.end().await;
}
