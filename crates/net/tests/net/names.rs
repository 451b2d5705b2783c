//! Nodes that the configuration names by a host name.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use p2panda_core::{HostAddr, Topic, VerifyingKey};
use p2panda_net::{BootstrapHost, Config, Contact, Resolver};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use crate::contacts::{status, until};
use crate::fake_node::{FakeNode, config};

const PATIENCE: Duration = Duration::from_secs(60);

fn host(text: &str) -> HostAddr {
    text.parse().unwrap()
}

/// Answers of the resolver, one after the other; the last answer stays.
#[derive(Clone)]
struct Answers(Arc<Mutex<Told>>);

struct Told {
    answers: VecDeque<Vec<SocketAddr>>,
    asked: Vec<Instant>,
}

impl Answers {
    fn new(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Answers {
        let told = Told {
            answers: answers.into_iter().collect(),
            asked: Vec::new(),
        };
        Answers(Arc::new(Mutex::new(told)))
    }

    fn asked(&self) -> Vec<Instant> {
        self.0.lock().unwrap().asked.clone()
    }

    fn resolver(&self) -> Resolver {
        let answers = self.clone();
        Resolver::new(move |host| {
            assert_eq!(host.to_string(), "node.example:2022");
            let Told { answers, asked } = &mut *answers.0.lock().unwrap();
            asked.push(Instant::now());
            let answer = answers.front().cloned().unwrap_or_default();
            if answers.len() > 1 {
                answers.pop_front();
            }
            match answer.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(answer),
            }
        })
    }
}

/// Told of a node by name.
fn told(network: u8, node: VerifyingKey, resolver: Resolver) -> Config {
    let mut config = config(network, 1);
    let host = host("node.example:2022");
    config.hosts = vec![BootstrapHost { node, host }];
    config.resolver = resolver;
    config.timings.name_retry_first = Duration::from_millis(50);
    config
}

async fn silent() -> (UdpSocket, SocketAddr) {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    (silent, addr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_reached_by_the_name_that_the_system_resolves() {
    let topic = Topic::from_bytes([150; 32]);
    let (a, b) = (FakeNode::start(150, 1).await, FakeNode::start(150, 2).await);
    a.subscribe(topic);
    b.subscribe(topic);
    b.publish(topic, "here");
    a.net.add_host(BootstrapHost {
        node: b.id(),
        host: host(&format!("localhost:{}", b.net.addr()[0].port())),
    });
    a.until_len(topic, 1).await;
    until(&a, b.id(), Contact::Reached).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_again_when_its_addresses_stop_answering() {
    let topic = Topic::from_bytes([151; 32]);
    let b = FakeNode::start(151, 2).await;
    b.subscribe(topic);
    let (_silent, nowhere) = silent().await;
    let answers = Answers::new([vec![nowhere], b.net.addr()]);
    let a = FakeNode::start_with(told(151, b.id(), answers.resolver())).await;
    a.subscribe(topic);
    until(&a, b.id(), Contact::Dead).await;
    until(&a, b.id(), Contact::Reached).await;
    // The address from before is not an address of the node any more.
    let addrs = a.net.peers().into_iter().find(|peer| peer.id == b.id());
    assert!(!addrs.unwrap().addrs.contains(&nowhere));
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_of_a_name_count_as_configured() {
    let b = FakeNode::start(152, 2).await;
    let (_silent, nowhere) = silent().await;
    let all = vec![nowhere, b.net.addr()[0]];
    let answers = Answers::new([all.clone()]);
    let a = FakeNode::start_with(told(152, b.id(), answers.resolver())).await;
    until(&a, b.id(), Contact::NoCommonTopic).await;
    let peers = a.net.peers();
    let found = peers.iter().find(|peer| peer.id == b.id()).unwrap();
    assert!(all.iter().all(|addr| found.addrs.contains(addr)));
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_is_tried_ever_more_rarely() {
    let b = FakeNode::start(153, 2).await;
    let nothing = std::iter::repeat_n(Vec::new(), 6);
    let answers = Answers::new(nothing.chain([b.net.addr()]));
    let start = Instant::now();
    let a = FakeNode::start_with(told(153, b.id(), answers.resolver())).await;
    until(&a, b.id(), Contact::Unresolved).await;
    until(&a, b.id(), Contact::NoCommonTopic).await;
    let asked = answers.asked();
    let (mut wait, mut due) = (Duration::from_millis(50), start);
    for at in &asked {
        assert!(*at >= due, "{asked:?}");
        due += wait;
        wait *= 2;
    }
    assert_eq!(asked.len(), 7, "while it is met nobody asks");
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_never_answers_blocks_nothing() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let resolver = Resolver::new(move |_| {
        let _ = held.lock().unwrap().recv();
        Err(io::ErrorKind::TimedOut.into())
    });
    let topic = Topic::from_bytes([154; 32]);
    let b = FakeNode::start(154, 2).await;
    let lost = FakeNode::start(154, 3).await;
    b.subscribe(topic);
    b.publish(topic, "here");
    let a = FakeNode::start_with(told(154, lost.id(), resolver)).await;
    a.subscribe(topic);
    a.net.add_peer(b.bootstrap());
    a.until_len(topic, 1).await;
    assert_eq!(
        status(&a, lost.id()).map(|status| status.contact),
        Some(Contact::Untried)
    );
    let stopped = timeout(PATIENCE, a.net.shutdown()).await;
    stopped.expect("shut down while the resolver hangs");
    drop(hold);
    b.net.shutdown().await;
    lost.net.shutdown().await;
}
