//! Bounds of TCP connections, with and without a credential.

use p2panda_rpc::api::{Code, Empty, NodeStatus};
use p2panda_rpc::client::{Client, Credential};
use p2panda_rpc::daemon::Connections;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::bad_input::handshake;
use crate::support::ALICE;
use crate::world::{World, failed, in_time};

const PROTOCOL: &str = "Sec-WebSocket-Protocol: panda.v1\r\n";

/// Waits until the node has ended a connection.
async fn until_ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // It may be reset.
    let _ = in_time(stream.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_credential_take_no_place_of_others() {
    let world = World::with(|config| {
        config.connections = Connections { all: 8, unknown: 4 };
    })
    .await;
    let early = world.client(ALICE).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(world.authority()).await.unwrap());
    }
    let mut unknown = Vec::new();
    for _ in 0..12 {
        let (socket, answer) = handshake(&world, PROTOCOL).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        unknown.push(socket);
    }
    let late = world.client(ALICE).await;
    for alice in [&early, &late] {
        alice.call::<NodeStatus>(&Empty {}).await.unwrap();
    }
    until_ended(&mut silent[0]).await;
    until_ended(&mut unknown[0]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_are_bounded_and_the_socket_is_not_among_them() {
    let world = World::with(|config| {
        config.connections = Connections { all: 3, unknown: 1 };
    })
    .await;
    let mut known = Vec::new();
    for _ in 0..3 {
        known.push(world.client(ALICE).await);
    }
    let url = world.url();
    let connect = async || Client::websocket(&url, Credential::Token(ALICE.to_owned())).await;
    assert_eq!(failed(connect().await), Code::Closed);
    let unix = world.unix().await;
    unix.call::<NodeStatus>(&Empty {}).await.unwrap();
    known.pop();
    let freed = async {
        while let Err(refused) = connect().await {
            assert_eq!(refused.code(), Code::Closed);
        }
    };
    in_time(freed).await;
    world.end().await;
}
