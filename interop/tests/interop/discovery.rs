//! Nodes of both sides find each other from one address.

use interop::{Heard, Ours, Published, PublishedStream, Setup};

use crate::case::{Case, PATIENCE, assert_same};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_that_knows_our_address_finds_us_and_we_it() {
    let case = Case::new("published knows ours");
    let ours = case.ours(&[]).await;
    let published = case.published(&[ours.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();
    let stream = published.stream(case.topic).await.unwrap();
    meet(&case, &ours, &published, &stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_that_knows_a_published_address_finds_it_and_it_us() {
    let case = Case::new("ours knows published");
    let published = case.published(&[]).await;
    let ours = case.ours(&[published.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();
    ours.subscribe(case.topic).await.unwrap();
    meet(&case, &ours, &published, &stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_and_a_published_node_meet_through_a_published_node() {
    let case = Case::new("a published node between");
    // It does not know the topic: it can only tell them of each other.
    let between = Setup::new(&case.dir("between"), [9; 32], case.network);
    let between = Published::start(between).await.unwrap();
    let ours = case.ours(&[between.peer()]).await;
    let published = case.published(&[between.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();
    let stream = published.stream(case.topic).await.unwrap();
    meet(&case, &ours, &published, &stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_published_nodes_meet_through_ours() {
    let case = Case::new("ours between");
    let ours = case.ours(&[]).await;
    let mut setup = Setup::new(&case.dir("second"), [9; 32], case.network);
    setup.bootstrap.push(ours.peer());
    let second = Published::start(setup).await.unwrap();
    let first = case.published(&[ours.peer()]).await;
    let at_first = first.stream(case.topic).await.unwrap();
    let at_second = second.stream(case.topic).await.unwrap();

    at_first.publish("from the first").await.unwrap();
    at_second.publish("from the second").await.unwrap();
    at_first.wait_operations(2, PATIENCE).await.unwrap();
    at_second.wait_operations(2, PATIENCE).await.unwrap();
    assert_eq!(senders(&at_first), [second.peer().node]);
    assert_eq!(senders(&at_second), [first.peer().node]);
    let held = first.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), 2);
    assert_same(&held, &second.dump(case.topic).await.unwrap());
}

/// One operation of each arrives at the other, straight from it.
async fn meet(case: &Case, ours: &Ours, published: &Published, stream: &PublishedStream) {
    published
        .wait_met(ours.peer().node, PATIENCE)
        .await
        .unwrap();
    ours.publish_text(case.topic, "ours").await.unwrap();
    stream.publish("theirs").await.unwrap();
    stream.wait_operations(2, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 2, PATIENCE).await.unwrap();
    assert_eq!(senders(stream), [ours.peer().node]);
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), 2);
    assert_same(&held, &published.dump(case.topic).await.unwrap());
    assert_eq!(stream.refused(), []);
}

/// Which nodes sent what a published node has of others.
fn senders(stream: &PublishedStream) -> Vec<[u8; 32]> {
    stream.heard().read(|heard| {
        let senders = heard.iter().filter_map(|heard| match heard {
            Heard::Operation { from, .. } => *from,
            _ => None,
        });
        senders.collect()
    })
}
