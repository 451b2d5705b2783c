//! Keys that come by an invite (`docs/protocol/rpc.md#4`).

use p2panda::SigningKey;
use p2panda_rpc::api::{self, AccessCode, Code, Empty};
use p2panda_rpc::client::{Client, ClientError, Credential};
use p2panda_rpc::daemon::Unknown;
use serde_json::json;

use crate::support::ROOT;
use crate::world::{TOPIC, World, failed};

async fn inviting() -> World {
    World::with(|config| config.access.unknown_keys = Unknown::Invite).await
}

async fn come(world: &World, seed: u8, code: Option<&AccessCode>) -> Result<Client, ClientError> {
    let key = Box::new(SigningKey::from_bytes(&[seed; 32]));
    let credential = match code {
        Some(code) => Credential::Invite(key, code.clone()),
        None => Credential::Key(key, None),
    };
    Client::websocket(&world.url(), credential).await
}

async fn invite(world: &World, params: serde_json::Value) -> AccessCode {
    let made = world
        .client(ROOT)
        .await
        .call_raw("access.invite", &params)
        .await;
    made.unwrap()["invite"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_an_invite_reads_and_relays_its_topics_alone() {
    let world = inviting().await;
    let params = json!({"topics": [TOPIC], "name": "friends", "uses": 2});
    let code = invite(&world, params).await;
    assert_eq!(failed(come(&world, 4, None).await), Code::Unauthenticated);
    let friend = come(&world, 4, Some(&code)).await.unwrap();
    assert_eq!(friend.hello().scopes, ["read", "relay"]);
    // The node keeps the topic from the invite on.
    let params = api::TopicListParams::default();
    let listed = friend.call::<api::TopicList>(&params).await.unwrap().topics;
    let [alias] = &listed[..] else {
        panic!("{listed:?}")
    };
    let next = json!({"topic": alias, "author": world.node.id()});
    friend.call_raw("log.next", &next).await.unwrap();
    assert_eq!(
        failed(friend.publish_text(alias, "no").await),
        Code::Forbidden
    );
    let other = json!({"topic": "09".repeat(32)});
    let root = world.client(ROOT).await;
    root.call_raw("topic.alias", &other).await.unwrap();
    assert_eq!(
        failed(friend.call_raw("topic.status", &other).await),
        Code::Forbidden
    );
    for method in ["access.invites", "node.shutdown"] {
        assert_eq!(
            failed(friend.call_raw(method, &json!({})).await),
            Code::Forbidden
        );
    }
    // Without the invite, from now on; and it is listed without its secret.
    come(&world, 4, None).await.unwrap();
    let rows = root
        .call::<api::AccessInvites>(&Empty {})
        .await
        .unwrap()
        .invites;
    assert_eq!((rows[0].uses, rows[0].keys.len()), (2, 1));
    assert_eq!(rows[0].topics, listed);
    // Taken back: for those who came as well, once they connect again.
    let params = api::AccessRevokeParams {
        name: "friends".to_owned(),
    };
    root.call::<api::AccessRevoke>(&params).await.unwrap();
    friend
        .call_raw("topic.status", &json!({"topic": alias}))
        .await
        .unwrap();
    assert_eq!(failed(come(&world, 4, None).await), Code::Unauthenticated);
    assert_eq!(
        failed(come(&world, 4, Some(&code)).await),
        Code::Unauthenticated
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_is_for_one_node_and_only_where_invites_count() {
    let (here, there) = (inviting().await, inviting().await);
    let code = invite(&here, json!({"topics": [TOPIC]})).await;
    // The client does not show it to another node.
    assert_eq!(failed(come(&there, 4, Some(&code)).await), Code::Internal);
    // A node to which it is shown nevertheless does not know it.
    let replayed = AccessCode {
        node: there.node.id(),
        ..code.clone()
    };
    assert_eq!(
        failed(come(&there, 4, Some(&replayed)).await),
        Code::Unauthenticated
    );
    come(&here, 4, Some(&code)).await.unwrap();
    assert_eq!(
        failed(come(&here, 5, Some(&code)).await),
        Code::Unauthenticated
    );
    here.end().await;
    there.end().await;

    let closed = World::new().await;
    let root = closed.client(ROOT).await;
    let made = root
        .call_raw("access.invite", &json!({"topics": [TOPIC]}))
        .await;
    assert_eq!(failed(made), Code::Invalid);
    closed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_invite_share_its_quota() {
    let world = World::with(|config| {
        config.access.unknown_keys = Unknown::Invite;
        config.quotas.connections = 2;
    })
    .await;
    let code = invite(&world, json!({"topics": [TOPIC], "uses": 3})).await;
    let _one = come(&world, 1, Some(&code)).await.unwrap();
    let _two = come(&world, 2, Some(&code)).await.unwrap();
    assert_eq!(failed(come(&world, 3, Some(&code)).await), Code::Quota);
    world.end().await;
}
