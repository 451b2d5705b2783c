//! One connection between two nodes carries everything (`docs/protocol/link.md`).

use std::time::Duration;

use p2panda_core::budget::{Budget, Standing};
use p2panda_core::{SigningKey, Topic, VerifyingKey, limits};
use p2panda_net::{Contact, NetEvent, Refusal};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::timeout;

use crate::contacts;
use crate::fake_node::{FakeNode, config};

fn topics(first: u16, count: u16) -> Vec<Topic> {
    let topic = |number: u16| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Topic::from_bytes(bytes)
    };
    (first..first + count).map(topic).collect()
}

/// Two links while one of them ends: both sides may have dialled.
const CONNECTIONS_MAX: u64 = 2;

async fn until_equal(nodes: &[&FakeNode], topics: &[Topic], len: usize) {
    for topic in topics {
        for node in nodes {
            node.until_len(*topic, len).await;
            node.until_live(*topic).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_topics_of_a_pair_share_one_connection() {
    let (a, b) = (FakeNode::start(90, 1).await, FakeNode::start(90, 2).await);
    let all = topics(0, 60);
    let (before, after) = all.split_at(40);
    for topic in before {
        for node in [&a, &b] {
            node.publish(*topic, "here");
            node.subscribe(*topic);
        }
    }
    a.net.add_peer(b.bootstrap());
    b.net.add_peer(a.bootstrap());
    until_equal(&[&a, &b], before, 2).await;
    for topic in after {
        for node in [&a, &b] {
            node.publish(*topic, "here");
            node.subscribe(*topic);
        }
    }
    until_equal(&[&a, &b], after, 2).await;
    for node in [&a, &b] {
        let connections = node.net.counters().connections;
        assert!(connections <= CONNECTIONS_MAX, "{connections}");
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_node_without_the_topic_is_no_error() {
    let (a, b) = (FakeNode::start(94, 1).await, FakeNode::start(94, 2).await);
    let [other, common] = [topics(0, 1)[0], topics(1, 1)[0]];
    a.subscribe(other);
    b.subscribe(topics(2, 1)[0]);
    let mut events = a.net.events();
    a.net.add_peer(b.bootstrap());
    contacts::until(&a, b.id(), Contact::NoCommonTopic).await;
    // What both have comes as before.
    b.publish(common, "here");
    a.subscribe(common);
    b.subscribe(common);
    a.until_len(common, 1).await;
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(event, NetEvent::SessionRefused { .. }),
            "{event:?}"
        );
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_low_bandwidth_syncs_with_one_without() {
    let mut slow = config(95, 1);
    slow.low_bandwidth();
    let (a, b) = (
        FakeNode::start_with(slow).await,
        FakeNode::start(95, 2).await,
    );
    let both = topics(0, 1);
    for node in [&a, &b] {
        node.publish(both[0], "here");
        node.subscribe(both[0]);
    }
    a.net.add_peer(b.bootstrap());
    until_equal(&[&a, &b], &both, 2).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_leaves_the_others_of_its_link_alone() {
    let (a, b) = (FakeNode::start(91, 1).await, FakeNode::start(91, 2).await);
    let all = topics(0, 3);
    for topic in &all {
        for node in [&a, &b] {
            node.publish(*topic, "before");
            node.subscribe(*topic);
        }
    }
    a.net.add_peer(b.bootstrap());
    until_equal(&[&a, &b], &all, 2).await;
    let connections = a.net.counters().connections;
    b.leave(all[0]).await;
    for topic in &all[1..] {
        a.publish(*topic, "after");
        b.until_len(*topic, 3).await;
    }
    assert_eq!(a.net.counters().connections, connections);
    a.net.shutdown().await;
    b.net.shutdown().await;
}

/// A peer may not have read all that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_sessions_of_dropped_topics() {
    let (a, b) = (FakeNode::start(97, 1).await, FakeNode::start(97, 2).await);
    let all = topics(0, 30);
    for topic in &all {
        for node in [&a, &b] {
            node.publish(*topic, "before");
            node.subscribe(*topic);
        }
    }
    a.net.add_peer(b.bootstrap());
    until_equal(&[&a, &b], &all, 2).await;
    let mut events = b.net.events();
    a.drop_topics();
    a.net.shutdown().await;
    let mut ended = 0;
    while ended < all.len() {
        let event = timeout(PATIENCE, events.recv()).await;
        if let NetEvent::SessionEnded { ok, reason, .. } = event.unwrap().unwrap() {
            assert!(ok, "{reason:?}");
            ended += 1;
        }
    }
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_synced_before_its_old_link_ends() {
    let a = FakeNode::start(92, 1).await;
    let topic = topics(0, 1)[0];
    a.publish(topic, "one");
    a.subscribe(topic);
    // Whichever node id is smaller: both orders are tried.
    for seed in [2, 3] {
        let first = FakeNode::start(92, seed).await;
        first.net.add_peer(a.bootstrap());
        first.subscribe(topic);
        first.until_len(topic, 1).await;
        first.until_live(topic).await;
        // Its link is kept open, as a process that was stopped would.
        let again = FakeNode::start_with(config(92, seed)).await;
        again.net.add_peer(a.bootstrap());
        again.subscribe(topic);
        again.until_len(topic, 1).await;
        again.until_live(topic).await;
        first.net.shutdown().await;
        again.net.shutdown().await;
    }
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_links_is_synced_with_as_before() {
    let a = FakeNode::start(93, 1).await;
    let mut plain = config(93, 2);
    plain.links = false;
    let b = FakeNode::start_with(plain).await;
    let topic = topics(0, 1)[0];
    for (node, peer) in [(&a, &b), (&b, &a)] {
        node.publish(topic, "here");
        node.subscribe(topic);
        node.net.add_peer(peer.bootstrap());
    }
    until_equal(&[&a, &b], &[topic], 2).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_travel_on_the_link_too() {
    let (a, b) = (FakeNode::start(94, 1).await, FakeNode::start(94, 2).await);
    let topic = topics(0, 1)[0];
    let (to_b, mut from_b) = a.net.ephemeral(topic);
    let (to_a, mut from_a) = b.net.ephemeral(topic);
    a.net.add_peer(b.bootstrap());
    b.net.add_peer(a.bootstrap());
    let mut text = p2panda_core::cbor::Writer::new();
    text.text("hello");
    let text: bytes::Bytes = text.into_bytes().into();
    to_a.publish(text.clone()).await.unwrap();
    to_b.publish(text.clone()).await.unwrap();
    assert_eq!(from_a.recv().await.unwrap().body, text);
    assert_eq!(from_b.recv().await.unwrap().body, text);
    for node in [&a, &b] {
        let connections = node.net.counters().connections;
        assert!(connections <= CONNECTIONS_MAX, "{connections}");
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}

/// Long enough for the slowest machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the peer of a node refuses this many sessions.
async fn until_refused(node: &FakeNode, count: usize) {
    let mut events = node.net.events();
    let refused = async {
        let mut refused = 0;
        while refused < count {
            match events.recv().await {
                Ok(NetEvent::SessionRefused { reason, .. }) => {
                    assert_eq!(reason, Refusal::TooMany);
                    refused += 1;
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the network ended"),
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("refusals");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_room_is_refused_and_asked_for_again() {
    let wait = Duration::from_millis(300);
    let bytes = 2 * limits::OPERATION_BYTES_MAX_DEFAULT;
    let budgets: Vec<Budget> = (0..2)
        .map(|_| Budget::new(bytes, limits::OPERATION_BYTES_MAX_DEFAULT))
        .collect();
    let mut nodes = Vec::new();
    for (seed, budget) in (1..).zip(&budgets) {
        let mut config = config(96, seed);
        config.budget = budget.clone();
        config.timings.full_wait = wait;
        nodes.push(FakeNode::start_with(config).await);
    }
    let (a, b) = (&nodes[0], &nodes[1]);
    let (first, second) = (topics(0, 1)[0], topics(1, 1)[0]);
    for node in [a, b] {
        node.publish(first, "before");
        node.subscribe(first);
    }
    a.net.add_peer(b.bootstrap());
    until_equal(&[a, b], &[first], 2).await;

    // Somebody else uses all that there is.
    let other = SigningKey::from_bytes(&[3; 32]).verifying_key();
    let held: Vec<_> = budgets
        .iter()
        .map(|budget| {
            let account = budget.account(other, Standing::Proven);
            let bytes = budget.status().bytes;
            account.charge(bytes)
        })
        .collect();
    let refused = tokio::join!(
        async {
            tokio::select! {
                () = until_refused(a, 2) => a,
                () = until_refused(b, 2) => b,
            }
        },
        async {
            for node in [a, b] {
                node.publish(second, "here");
                node.subscribe(second);
            }
        }
    );
    let refused = refused.0;
    let peers = refused.net.peers();
    let said: Vec<_> = peers.iter().flat_map(|peer| &peer.refused).collect();
    let said = said.first().expect("what was refused");
    assert_eq!((said.topic, said.reason), (second, Refusal::TooMany));
    assert!(said.times >= 2);

    drop(held);
    until_equal(&[a, b], &[second], 2).await;
    let peers = refused.net.peers();
    assert!(peers.iter().all(|peer| peer.refused.is_empty()));
    a.net.shutdown().await;
    b.net.shutdown().await;
}

/// Until a session with a peer has begun. Returns who became a neighbour in an overlay before.
async fn until_session(
    events: &mut broadcast::Receiver<NetEvent>,
    with: VerifyingKey,
) -> Vec<VerifyingKey> {
    let mut neighbours = Vec::new();
    let begun = async {
        loop {
            match events.recv().await.unwrap() {
                NetEvent::SessionStarted { peer, .. } if peer == with => return,
                NetEvent::NeighbourUp { peer, .. } => neighbours.push(peer),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, begun).await.expect("a session");
    neighbours
}

#[tokio::test(flavor = "multi_thread")]
async fn links_report_a_newcomer_to_a_topic_before_any_walk() {
    let topic = Topic::from_bytes([95; 32]);
    let centre = FakeNode::start(95, 1).await;
    centre.subscribe(topic);
    // Nobody learns where it is: it has to be told of others, and to dial them.
    let mut hidden = config(95, 2);
    hidden.announce_addresses = false;
    hidden.bootstrap = vec![centre.bootstrap()];
    let hidden = FakeNode::start_with(hidden).await;
    hidden.subscribe(topic);
    hidden.until_live(topic).await;
    let mut events = hidden.net.events();

    let mut newcomer = config(95, 3);
    newcomer.bootstrap = vec![centre.bootstrap()];
    let newcomer = FakeNode::start_with(newcomer).await;
    newcomer.subscribe(topic);
    // Which waits less long than a walk that rests.
    assert!(PATIENCE < limits::WALK_REST_MIN);
    let neighbours = until_session(&mut events, newcomer.id()).await;
    assert_eq!(neighbours, [], "links make neighbours unnecessary");
    for node in [hidden, newcomer, centre] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_peer_without_links_overlays_are_used() {
    let topic = Topic::from_bytes([96; 32]);
    let mut published = config(96, 1);
    published.links = false;
    let published = FakeNode::start_with(published).await;
    published.subscribe(topic);
    let mut others = Vec::new();
    for seed in [2, 3] {
        let mut config = config(96, seed);
        config.bootstrap = vec![published.bootstrap()];
        let node = FakeNode::start_with(config).await;
        let mut events = node.net.events();
        node.subscribe(topic);
        let up = async {
            loop {
                match events.recv().await.unwrap() {
                    NetEvent::NeighbourUp { peer, .. } if peer == published.id() => return,
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(60), up)
            .await
            .expect("a neighbour");
        node.publish(topic, "hello");
        others.push(node);
    }
    for node in others.iter().chain([&published]) {
        node.until_len(topic, 2).await;
    }
    for node in others.into_iter().chain([published]) {
        node.net.shutdown().await;
    }
}

/// Reports every event that comes, until one is the wanted one.
async fn until_event(
    events: &mut broadcast::Receiver<NetEvent>,
    is_wanted: impl Fn(&NetEvent) -> bool,
) {
    let wanted = async {
        loop {
            match events.recv().await {
                Ok(event) if is_wanted(&event) => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the network is gone"),
            }
        }
    };
    timeout(Duration::from_secs(30), wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_key_one_stays() {
    let server = FakeNode::start(97, 1).await;
    let topic = topics(0, 1)[0];
    server.subscribe(topic);
    let copies = [FakeNode::start(97, 2).await, FakeNode::start(97, 2).await];
    let [mut first, mut second] = copies.each_ref().map(|copy| copy.net.events());
    for copy in &copies {
        copy.subscribe(topic);
        copy.net.add_peer(server.bootstrap());
        copy.until_live(topic).await;
    }
    // The second one is taken for a restart of the first one, which comes back and gives way.
    let is_copy = |event: &NetEvent| matches!(event, NetEvent::CopyRuns { .. });
    until_event(&mut first, is_copy).await;
    let before = server.net.counters().connections;
    server.publish(topic, "to both");
    for copy in &copies {
        copy.until_len(topic, 1).await;
    }
    // Each further moment comes after a longer wait, and changes nothing for the other one.
    until_event(&mut first, is_copy).await;
    let after = server.net.counters().connections;
    assert!(after <= before + 6, "{before} {after}");
    while let Ok(event) = second.try_recv() {
        assert!(!is_copy(&event), "it stays");
    }
    for node in copies.iter().chain([&server]) {
        node.net.shutdown().await;
    }
}
