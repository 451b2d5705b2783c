//! Published nodes around ours, none of which can reach another.

use std::net::Ipv4Addr;

use interop::{Published, PublishedStream, Setup};

use crate::case::{Case, PATIENCE, assert_all_from, assert_in_order, assert_same};
use crate::namespace;

/// More than the five that an overlay of 0.7.1 looks for.
const NODES: u8 = 8;

/// Ours is at 127.0.0.1, theirs are at 127.0.1.1 and above: between those nothing is forwarded. What
/// is local is looked up first, so that rule has to move. There is no version 6, where all would reach all.
const NETWORK: &str = "ip link set lo up && ip -6 addr flush dev lo \
    && ip rule add pref 100 lookup local \
    && ip rule del pref 0 && ip rule add pref 10 from 127.0.1.0/24 to 127.0.1.0/24 blackhole";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_nodes_that_only_reach_ours_all_receive_from_all() {
    let case = "star::published_nodes_that_only_reach_ours_all_receive_from_all";
    if namespace::entered(case, NETWORK).await {
        receive_all_from_all().await;
    }
}

async fn receive_all_from_all() {
    let case = Case::new("star");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    let mut around: Vec<(Published, PublishedStream)> = Vec::new();
    for place in 1..=NODES {
        let dir = case.dir(&format!("published {place}"));
        let mut setup = Setup::new(&dir, [place; 32], case.network);
        setup.bootstrap.push(ours.peer());
        setup.ip = Ipv4Addr::new(127, 0, 1, place);
        let published = Published::start(setup).await.unwrap();
        let stream = published.stream(case.topic).await.unwrap();
        around.push((published, stream));
    }

    ours.publish_text(case.topic, "from the centre")
        .await
        .unwrap();
    let mut sent = 1;
    wait_all(&around, sent).await;
    // One after the other, then all at once.
    for (place, (_, stream)) in around.iter().enumerate() {
        stream
            .publish(format!("first of {place}").as_str())
            .await
            .unwrap();
        sent += 1;
        wait_all(&around, sent).await;
    }
    for (place, (_, stream)) in around.iter().enumerate() {
        stream
            .publish(format!("second of {place}").as_str())
            .await
            .unwrap();
        sent += 1;
    }
    wait_all(&around, sent).await;

    let delivered = ours
        .wait_messages(case.topic, sent - 1, PATIENCE)
        .await
        .unwrap();
    assert_in_order(&delivered);
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), sent);
    for (published, stream) in &around {
        assert_same(&held, &published.dump(case.topic).await.unwrap());
        assert_in_order(&stream.operations());
        assert_all_from(stream, ours.peer().node);
        assert_eq!(stream.refused(), []);
    }
}

async fn wait_all(around: &[(Published, PublishedStream)], count: usize) {
    for (_, stream) in around {
        stream.wait_operations(count, PATIENCE).await.unwrap();
    }
}
