//! Peers that vanish and come back, networks that change, and a book that outlives the process.

use std::net::SocketAddr;
use std::time::Duration;

use p2panda_core::Topic;
use p2panda_net::{Bootstrap, Config, NetEvent};
use tokio::time::timeout;

use crate::fake_node::{FakeNode, PATIENCE, config};
use crate::probe::{Probe, closed};

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_peer_is_caught_up_with() {
    vanish_and_come_back(60, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_back_on_the_same_port_is_caught_up_with() {
    vanish_and_come_back(64, true).await;
}

async fn vanish_and_come_back(network: u8, same_port: bool) {
    let topic = Topic::from_bytes([network; 32]);
    let a = FakeNode::start(network, 1).await;
    a.subscribe(topic);
    let bootstrap = a.bootstrap();
    // A runtime of its own, so that it can die as a killed process does.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let joined = bootstrap.clone();
    let (live, is_live) = tokio::sync::oneshot::channel();
    doomed.spawn(async move {
        let b = FakeNode::start(network, 2).await;
        b.subscribe(topic);
        b.publish(topic, "before");
        b.net.add_peer(joined);
        b.until_live(topic).await;
        live.send(b.net.addr()[0]).unwrap();
        std::future::pending::<()>().await;
    });
    let addr = is_live.await.unwrap();
    a.until_len(topic, 1).await;
    a.until_live(topic).await;
    doomed.shutdown_background();
    a.publish(topic, "while b was dead");
    let mut config = config(network, 2);
    config.bootstrap = vec![bootstrap];
    if same_port {
        config.bind_v4.set_port(addr.port());
        until_free(addr).await;
    }
    let b = FakeNode::start_with(config).await;
    b.subscribe(topic);
    b.until_len(topic, 2).await;
    a.publish(topic, "after");
    b.until_len(topic, 3).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

/// The dead runtime gives its socket back some moments later.
async fn until_free(addr: SocketAddr) {
    while std::net::UdpSocket::bind(addr).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_the_network_everything_goes_on() {
    let topic = Topic::from_bytes([61; 32]);
    let (a, b) = (FakeNode::start(61, 1).await, FakeNode::start(61, 2).await);
    a.subscribe(topic);
    b.subscribe(topic);
    a.net.add_peer(b.bootstrap());
    a.until_live(topic).await;
    b.until_live(topic).await;
    let mut events = a.net.events();
    a.net.network_change().await;
    while events.recv().await.unwrap() != NetEvent::Recovering {}
    a.publish(topic, "one");
    b.publish(topic, "two");
    a.until_len(topic, 2).await;
    b.until_len(topic, 2).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_the_stored_book_needs_no_bootstrap() {
    let topic = Topic::from_bytes([62; 32]);
    let (a, b) = (FakeNode::start(62, 1).await, FakeNode::start(62, 2).await);
    a.subscribe(topic);
    b.subscribe(topic);
    a.net.add_peer(b.bootstrap());
    a.until_live(topic).await;
    a.net.shutdown().await;
    let known = a.stored_rows();
    assert!(known.contains_key(&b.id()) && known.contains_key(&a.id()));
    drop(a);
    let mut config = config(62, 1);
    for (node, stored) in known {
        config.known.add(node, stored);
    }
    let a = FakeNode::start_with(config).await;
    b.publish(topic, "hello again");
    a.subscribe(topic);
    a.until_len(topic, 1).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

/// A node that ended cleanly: what starts it again with its book, at the same address.
pub async fn restarted(network: u8) -> (Config, SocketAddr) {
    let a = FakeNode::start(network, 1).await;
    let addr = a.net.addr()[0];
    a.net.shutdown().await;
    let mut config = config(network, 1);
    for (node, stored) in a.rows_with_own().await {
        config.known.add(node, stored);
    }
    config.bind_v4.set_port(addr.port());
    drop(a);
    until_free(addr).await;
    (config, addr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_the_same_address_is_announced_at_once() {
    let topic = Topic::from_bytes([66; 32]);
    let (config, addr) = restarted(66).await;
    let a = FakeNode::start_with(config).await;
    // The start has waited for nothing that would show the address: it is that of the last run.
    assert_eq!(a.net.addr(), [addr]);
    assert!(a.net.addr_changes().borrow().is_some());
    a.subscribe(topic);
    a.publish(topic, "for whoever comes");
    let newcomer = FakeNode::start(66, 2).await;
    newcomer.subscribe(topic);
    newcomer.net.add_peer(a.bootstrap());
    newcomer.until_len(topic, 1).await;
    newcomer.net.shutdown().await;
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restarted_at_the_same_address_is_found_through_others() {
    let topic = Topic::from_bytes([67; 32]);
    let (mut config, _) = restarted(67).await;
    // It takes no part in the topic, so that it can only report the others.
    let between = FakeNode::start(67, 2).await;
    config.bootstrap.push(between.bootstrap());
    let a = FakeNode::start_with(config).await;
    a.subscribe(topic);
    a.publish(topic, "for whoever comes");
    let newcomer = FakeNode::start(67, 3).await;
    newcomer.subscribe(topic);
    newcomer.net.add_peer(between.bootstrap());
    newcomer.until_len(topic, 1).await;
    for node in [newcomer, between, a] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_bootstrap_address_stops_nothing() {
    let topic = Topic::from_bytes([63; 32]);
    let (a, b) = (FakeNode::start(63, 1).await, FakeNode::start(63, 2).await);
    a.subscribe(topic);
    b.subscribe(topic);
    let nowhere = Bootstrap {
        addrs: vec!["127.0.0.1:9".parse().unwrap()],
        ..b.bootstrap()
    };
    a.net.add_peer(nowhere);
    a.net.add_peer(b.bootstrap());
    b.publish(topic, "found anyway");
    a.until_len(topic, 1).await;
    let ended = async {
        a.net.shutdown().await;
        b.net.shutdown().await;
    };
    timeout(PATIENCE, ended).await.expect("both end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_peer_that_is_busy_outlives_a_second_one() {
    let topic = Topic::from_bytes([68; 32]);
    let node = FakeNode::start(68, 1).await;
    node.subscribe(topic);
    let (addrs, id) = (node.net.addr(), node.id());
    let (begin, has_begun) = tokio::sync::oneshot::channel();
    let (seen, is_seen) = tokio::sync::oneshot::channel();
    // A runtime of its own, which one thread drives: while that is busy, nothing is acknowledged.
    let busy = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let probe = Probe::start(68, 9).await;
            let mut first = probe.sync_at(id, &addrs, topic).await;
            // The stream is there with its first byte.
            first.send(&[0]).await;
            begin.send(()).unwrap();
            is_seen.await.unwrap();
            std::thread::sleep(Duration::from_secs(3));
            timeout(Duration::from_secs(4), closed(&first.connection)).await
        })
    });
    has_begun.await.unwrap();
    node.until(topic, "a session", |log| log.phases.len() == 1)
        .await;
    seen.send(()).unwrap();
    // The same peer, as a second process would, while the first one computes.
    let again = Probe::start(68, 9).await;
    let mut second = again.sync(&node, topic).await;
    second.send(&[0]).await;
    node.until(topic, "two sessions", |log| log.phases.len() == 2)
        .await;
    let ended = tokio::task::spawn_blocking(|| busy.join().unwrap());
    let ended = ended.await.unwrap();
    assert!(ended.is_err(), "closed with {ended:?}");
    node.net.shutdown().await;
}
