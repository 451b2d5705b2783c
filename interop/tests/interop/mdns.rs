//! Both sides find each other on a local network by multicast alone.

use interop::{Ours, Published};

use crate::case::{Case, PATIENCE, assert_same};
use crate::namespace;

/// A loopback device with multicast, which is all that the namespace has.
const NETWORK: &str =
    "ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_and_a_published_node_find_each_other_by_multicast() {
    let case = "mdns::ours_and_a_published_node_find_each_other_by_multicast";
    if namespace::entered(case, NETWORK).await {
        meet_by_multicast().await;
    }
}

async fn meet_by_multicast() {
    let case = Case::new("multicast");
    let mut options = case.options("ours");
    options.mdns = true;
    let mut setup = case.setup();
    setup.mdns = true;
    let ours = Ours::open(options).await.unwrap();
    let published = Published::start(setup).await.unwrap();
    ours.subscribe(case.topic).await.unwrap();
    let stream = published.stream(case.topic).await.unwrap();

    ours.publish_text(case.topic, "ours").await.unwrap();
    stream.publish("theirs").await.unwrap();
    stream.wait_operations(2, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 2, PATIENCE).await.unwrap();
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), 2);
    assert_same(&held, &published.dump(case.topic).await.unwrap());
    assert_eq!(stream.refused(), []);
}
