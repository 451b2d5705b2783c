//! Reports to a client about the quotas of other nodes (`docs/protocol/streams.md#21`).

use std::path::Path;

use p2panda::{Node, Quotas};
use p2panda_rpc::api::{self, NewMessage, NotKeptView};

use crate::support::{self, ROOT};
use crate::world::{TOPIC, World, in_time};

async fn keeper(dir: &Path, world: &World) -> Node {
    let quotas = Quotas {
        author: Some(1_500),
        ..Quotas::default()
    };
    let keeper = support::builder(dir).quotas(quotas).spawn().await.unwrap();
    let addr = *world.node.net().addr().first().expect("a bound address");
    keeper.net().add_peer(world.node.id(), addr);
    keeper.topic(TOPIC).keep(true).await.unwrap();
    keeper
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_which_peers_keep_nothing() {
    let (world, dir) = (World::new().await, tempfile::tempdir().unwrap());
    let alias = world.keep().await;
    let keeper = keeper(dir.path(), &world).await;
    let client = world.client(ROOT).await;
    let publish = async |letter: &str| {
        let params = api::PublishParams {
            topic: alias.clone(),
            message: NewMessage {
                content: Some(letter.repeat(1_000).as_str().into()),
                ..NewMessage::default()
            },
            wait: Some(api::Wait {
                stored: 1,
                timeout_ms: 60_000,
            }),
        };
        in_time(client.call::<api::Publish>(&params)).await.unwrap()
    };
    let first = publish("a").await;
    assert_eq!((first.waited, first.held_by), (true, vec![keeper.id()]));
    assert_eq!(first.not_kept, []);
    let second = publish("b").await;
    assert!(!second.waited);
    let expected = [NotKeptView {
        node: keeper.id(),
        author: world.node.id(),
        named: false,
        from: 1,
        quota: "author".to_owned(),
    }];
    assert_eq!(second.not_kept, expected);

    let params = api::TopicParams {
        topic: alias.clone(),
    };
    let status = client.call::<api::TopicStatus>(&params).await.unwrap();
    assert_eq!(status.not_kept, expected);
    let params = api::TraceParams { id: second.id };
    let trace = client.call::<api::Trace>(&params).await.unwrap();
    assert_eq!(trace.not_kept, expected);
    let params = api::TraceParams { id: first.id };
    let trace = client.call::<api::Trace>(&params).await.unwrap();
    assert_eq!(trace.not_kept, []);
    // It waits no longer than it is known that nobody else can keep it.
    let params = api::TopicDeliveredParams {
        topic: alias,
        wait_ms: 60_000,
        ..api::TopicDeliveredParams::default()
    };
    let delivered = in_time(client.call::<api::TopicDelivered>(&params)).await;
    let delivered = delivered.unwrap();
    assert_eq!((delivered.is_enough, delivered.stored), (false, 0));
    assert_eq!(delivered.not_kept, expected);
    keeper.shutdown().await.unwrap();
    world.end().await;
}
