//! Visits to nodes that came before they shared a topic.

use std::collections::BTreeSet;
use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream};
use p2panda_core::Topic;
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::discovery::{Discovery, Input, Local, Output};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::time::Time;
use tokio::time::{Instant, timeout};

use crate::fake_node::FakeNode;
use crate::hearsay::record_of;
use crate::probe::Probe;

const DISCOVERY: &[u8] = b"p2panda/confidential_discovery/v1";
const SYNC: &[u8] = b"p2panda/log_sync/v1";
/// Visits after 5 s and after 15 s; only the second one finds the topic.
const FIRST_WITHOUT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// One session, under the identity of the machine.
async fn meet(
    (mut send, mut recv): (SendStream, RecvStream),
    local: &Local,
    mut machine: Discovery,
) -> Option<()> {
    let records = Records::from([(local.node, local.record.clone())]);
    let mut input = Input::Tick;
    loop {
        machine.handle(input, Time::ZERO);
        while let Some(output) = machine.poll() {
            match output {
                Output::Send(bytes) => send.write_all(&bytes).await.ok()?,
                Output::Nodes(_) => machine.handle(Input::Nodes(records.clone()), Time::ZERO),
                Output::Finished(_) => return Some(()),
                Output::Failed(_) => return None,
                Output::Wake(_) | Output::Close(_) => {}
            }
        }
        input = match recv.read_chunk(65_536).await {
            Ok(Some(bytes)) => Input::Bytes(bytes),
            Ok(None) | Err(_) => Input::Closed(0),
        };
    }
}

/// The walk rests, since the topic of the node has a live session: at most it visits a newcomer once or
/// twice, and not again within half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_without_a_topic_is_visited_until_it_has_one() {
    let topic = Topic::from_bytes([98; 32]);
    let [node, other] = [FakeNode::start(98, 1).await, FakeNode::start(98, 2).await];
    node.subscribe(topic);
    other.subscribe(topic);
    node.net.add_peer(other.bootstrap());
    node.until_live(topic).await;

    let visitor = Probe::start(98, 3).await;
    visitor.accept(&[DISCOVERY, SYNC]);
    let (id, record) = record_of(3, visitor.endpoint.bound_sockets(), None);
    let in_overlays = |overlays| Local {
        node: id,
        record: record.clone(),
        overlays,
    };
    let draws = || Draws::from_seed([3; 32]);
    let local = in_overlays(BTreeSet::new());
    let connection = visitor.dial(&node, DISCOVERY).await;
    let streams = connection.open_bi().await.unwrap();
    let alice = Discovery::alice(local.clone(), draws(), Time::ZERO);
    meet(streams, &local, alice).await.unwrap();
    let came = Instant::now();

    let dialled = async {
        let mut shared_after = None;
        loop {
            // Who dials for gossip finds that it is not spoken here.
            let Ok(connection) = visitor.endpoint.accept().await.unwrap().await else {
                continue;
            };
            if connection.alpn() == visitor.alpn(SYNC) {
                return shared_after.unwrap();
            }
            // At first it has no topic yet.
            let after = came.elapsed();
            let overlays = match after < FIRST_WITHOUT {
                true => BTreeSet::new(),
                false => BTreeSet::from([Overlay::of_sync(&topic)]),
            };
            shared_after = (after >= FIRST_WITHOUT).then_some(after);
            let local = in_overlays(overlays);
            let streams = connection.accept_bi().await.unwrap();
            let bob = Discovery::bob(local.clone(), draws(), Time::ZERO);
            meet(streams, &local, bob).await.unwrap();
        }
    };
    let after = timeout(PATIENCE, dialled).await.expect("dialled in time");
    // Sockets do not run under a paused clock: only its time tells a revisit from a visit of the walk.
    assert!(after < Duration::from_secs(28), "{after:?}");
    for node in [node, other] {
        node.net.shutdown().await;
    }
}
