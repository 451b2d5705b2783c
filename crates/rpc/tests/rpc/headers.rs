//! Headers of HTTP requests.

use p2panda_rpc::daemon::{Grant, Scopes};

use crate::http::header;
use crate::support::ALICE;
use crate::world::{TOPIC, World, bearer};

const STATUS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"node.status"}"#;

/// The status of an answer.
fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// Posts with this `Content-Type`, and says the status.
async fn posted_as(world: &World, kind: &str) -> String {
    let (authority, length) = (world.authority(), STATUS.len());
    let bearer = bearer(ALICE);
    let request = format!(
        "POST /rpc HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n{bearer}\r\n{STATUS}"
    );
    status(&world.http(&request).await).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_decides_is_there_once() {
    let world = World::new().await;
    let authority = world.authority();
    let (once, host) = (bearer(ALICE), format!("Host: {authority}\r\n"));
    let origin = format!("Origin: http://{authority}\r\n");
    assert_eq!(status(&world.post(STATUS, &once).await), "200");
    for twice in [
        format!("{once}{once}"),
        format!("{once}{host}"),
        format!("{once}{origin}{origin}"),
    ] {
        assert_eq!(status(&world.post(STATUS, &twice).await), "400", "{twice}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_headers_are_read_in_any_case() {
    let world = World::new().await;
    for scheme in ["bearer", "BEARER"] {
        let header = format!("Authorization: {scheme} {ALICE}\r\n");
        assert_eq!(status(&world.post(STATUS, &header).await), "200");
    }
    let basic = format!("Authorization: Basic {ALICE}\r\n");
    assert_eq!(status(&world.post(STATUS, &basic).await), "401");
    for (kind, expected) in [
        ("APPLICATION/JSON", "200"),
        ("application/json ; charset=utf-8", "200"),
        ("application/jsonx", "400"),
        ("text/plain", "400"),
    ] {
        assert_eq!(posted_as(&world, kind).await, expected, "{kind}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_will_be_too_large_is_refused_at_once() {
    let world = World::new().await;
    let (authority, bearer) = (world.authority(), bearer(ALICE));
    let request = format!(
        "POST /rpc HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: 999999999999\r\n{bearer}\r\n"
    );
    assert_eq!(status(&world.http(&request).await), "413");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_websocket_is_told_which_there_is() {
    let world = World::new().await;
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: panda.v1\r\n";
    let headers = format!("{handshake}{}", bearer(ALICE));
    let answer = world.get("/rpc", &headers).await;
    assert_eq!(status(&answer), "426", "{answer}");
    assert_eq!(header(&answer, "sec-websocket-version"), Some("13"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_forbidden_to_a_credential_for_some_topics() {
    let world = World::with(|config| {
        let read = Scopes::parse("read").unwrap();
        let some = Grant::token("some", "token-of-some", read).topics([TOPIC]);
        let relay = Scopes::parse("relay").unwrap();
        let relay = Grant::token("relay", "token-of-relay", relay);
        config.access.grants.extend([some, relay]);
    })
    .await;
    for (token, expected) in [
        ("token-of-some", "403"),
        ("token-of-relay", "403"),
        ("wrong", "401"),
        (ALICE, "200"),
    ] {
        let answer = world.get("/metrics", &bearer(token)).await;
        assert_eq!(status(&answer), expected, "{token}");
    }
    world.end().await;
}
