//! Credentials that are limited to topics.

use p2panda::Topic;
use p2panda_rpc::api::{self, Code, Empty, TopicListParams};
use p2panda_rpc::daemon::{Grant, Scopes};

use crate::support::ROOT;
use crate::world::{World, failed};

/// More topics than a page has come before it.
const OWN: Topic = Topic::from_bytes([0xee; 32]);

const LIM: &str = "token-of-lim";

/// A node that keeps over a page of topics before [`OWN`] and one behind it.
async fn world() -> World {
    World::with(|config| {
        let before = (0..1_001_u16).map(|number| {
            let mut topic = [1; 32];
            topic[1..3].copy_from_slice(&number.to_be_bytes());
            Topic::from_bytes(topic)
        });
        config.keep = before.chain([OWN, Topic::from_bytes([0xff; 32])]).collect();
        let scopes = Scopes::parse("read").unwrap();
        let grant = Grant::token("lim", LIM, scopes).topics([OWN]);
        config.access.grants.push(grant);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_credential_pages_through_its_own_topics() {
    let world = world().await;
    let params = api::TopicParams {
        topic: OWN.to_string(),
    };
    let root = world.client(ROOT).await;
    let own = root.call::<api::TopicAlias>(&params).await.unwrap().alias;
    let lim = world.client(LIM).await;
    for stored in [false, true] {
        let mut params = TopicListParams {
            after: None,
            stored,
        };
        let first = lim.call::<api::TopicList>(&params).await.unwrap();
        assert_eq!(first.topics, std::slice::from_ref(&own));
        assert_eq!(first.next.as_ref(), Some(&own), "no alias of another topic");
        params.after = first.next;
        let second = lim.call::<api::TopicList>(&params).await.unwrap();
        assert!(second.topics.is_empty() && second.next.is_none());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_all_topics_pages_through_all() {
    let world = world().await;
    let root = world.client(ROOT).await;
    let (mut counts, mut after) = (Vec::new(), None);
    loop {
        let params = TopicListParams {
            after,
            stored: false,
        };
        let page = root.call::<api::TopicList>(&params).await.unwrap();
        counts.push(page.topics.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(counts, [1_000, 3, 0]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_credential_gets_no_metrics() {
    let world = world().await;
    let lim = world.client(LIM).await;
    let metrics = lim.call::<api::NodeMetrics>(&Empty {}).await;
    assert_eq!(failed(metrics), Code::Forbidden);
    world.end().await;
}
