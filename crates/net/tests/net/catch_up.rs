//! Exchange of operations: before, during and after both nodes are there.

use p2panda_core::Phase;
use p2panda_core::Topic;
use p2panda_net::{NetEvent, SessionEnd};
use tokio::time::timeout;

use crate::fake_node::{FakeNode, PATIENCE, TopicLog, config};

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_catch_up_in_both_directions_and_go_on_live() {
    let (a, b) = (FakeNode::start(1, 1).await, FakeNode::start(1, 2).await);
    let topic = topic(1);
    for number in 0..300 {
        a.publish(topic, &format!("a{number}"));
        b.publish(topic, &format!("b{number}"));
    }
    a.subscribe(topic);
    b.subscribe(topic);
    b.net.add_peer(a.bootstrap());
    a.until_len(topic, 600).await;
    b.until_len(topic, 600).await;
    a.until_live(topic).await;
    b.until_live(topic).await;
    a.publish(topic, "live from a");
    b.publish(topic, "live from b");
    a.until_len(topic, 602).await;
    b.until_len(topic, 602).await;
    for node in [&a, &b] {
        node.with(topic, |log| {
            assert_eq!(log.duplicates, 0, "every operation crosses once");
            assert_eq!(log.refused, 0);
        });
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_bytes_per_operation_cross_in_order() {
    let (a, b) = (FakeNode::start(2, 1).await, FakeNode::start(2, 2).await);
    let topic = topic(2);
    for number in 0..40u8 {
        a.publish_bytes(topic, &vec![number; 100_000]);
    }
    a.subscribe(topic);
    b.subscribe(topic);
    a.net.add_peer(b.bootstrap());
    b.until_len(topic, 40).await;
    b.with(topic, |log| {
        for (number, entry) in log.entries.iter().enumerate() {
            let body = entry.body.as_ref().unwrap();
            assert_eq!((body.len(), usize::from(body[0])), (100_000, number));
        }
    });
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_node_gets_everything_through_the_second() {
    let topic = topic(3);
    // Nobody learns where these two are, so that they cannot connect to each other.
    let hidden = async |seed| {
        let mut config = config(3, seed);
        config.announce_addresses = false;
        FakeNode::start_with(config).await
    };
    let (a, b) = (hidden(1).await, FakeNode::start(3, 2).await);
    let c = hidden(3).await;
    a.publish(topic, "from a");
    for node in [&a, &b, &c] {
        node.subscribe(topic);
    }
    a.net.add_peer(b.bootstrap());
    c.net.add_peer(b.bootstrap());
    c.until_len(topic, 1).await;
    c.publish(topic, "from c");
    a.until_len(topic, 2).await;
    b.until_len(topic, 2).await;
    for (node, other) in [(&a, &c), (&c, &a)] {
        let mut peers = node.net.peers().into_iter();
        let direct = peers.find(|peer| peer.id == other.id());
        assert!(direct.is_none_or(|peer| !peer.connected && peer.sessions.is_empty()));
    }
    for node in [a, b, c] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_left_topic_ends_its_session_cleanly_and_is_joined_again() {
    let (a, b) = (FakeNode::start(4, 1).await, FakeNode::start(4, 2).await);
    let topic = topic(4);
    a.subscribe(topic);
    b.subscribe(topic);
    a.net.add_peer(b.bootstrap());
    a.until_live(topic).await;
    b.until_live(topic).await;
    let live = a.with(topic, |log| {
        let mut sessions = log.phases.iter();
        let live = sessions.find(|(_, phases)| phases.last() == Some(&Phase::Live));
        live.map(|(session, _)| *session)
    });
    let mut events = a.net.events();
    b.leave(topic).await;
    let ended = |phases: &Vec<Phase>| phases.last() == Some(&Phase::Ended);
    b.until(topic, "all sessions over", |log| {
        log.phases.values().all(ended)
    })
    .await;
    a.until(topic, "all sessions over", |log| {
        log.phases.values().all(ended)
    })
    .await;
    let ended = async {
        loop {
            match events.recv().await.unwrap() {
                NetEvent::SessionEnded {
                    session,
                    ok,
                    reason,
                    ..
                } if Some(session) == live => return (ok, reason),
                _ => {}
            }
        }
    };
    let ended = timeout(PATIENCE, ended).await.expect("the end is reported");
    assert_eq!(ended, (true, SessionEnd::Done));
    a.publish(topic, "while b was away");
    b.subscribe(topic);
    b.until_len(topic, 1).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_topics_between_two_nodes_all_join_with_one_session_each() {
    let (a, b) = (FakeNode::start(5, 1).await, FakeNode::start(5, 2).await);
    let topics: Vec<Topic> = (0..120).map(topic).collect();
    for topic in &topics {
        a.publish(*topic, "hello");
        a.subscribe(*topic);
        b.subscribe(*topic);
    }
    b.net.add_peer(a.bootstrap());
    // Where both have dialled, the second session ends as soon as it has nothing left to do.
    let one_live = |log: &TopicLog| {
        let open = log.phases.values().filter_map(|phases| phases.last());
        let open: Vec<_> = open.filter(|phase| **phase != Phase::Ended).collect();
        open == [&Phase::Live]
    };
    for topic in &topics {
        b.until_len(*topic, 1).await;
        b.until(*topic, "one live session", one_live).await;
        b.with(*topic, |log| assert_eq!(log.duplicates, 0));
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}
