//! Our node is stopped and started again with its directory, at its old address.

use interop::{Ours, Published, PublishedStream, Setup};

use crate::case::{Case, PATIENCE, assert_same};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_restarted_is_found_by_a_published_node_that_knew_it() {
    let case = Case::new("restart, known before");
    let ours = case.ours(&[]).await;
    let published = case.published(&[ours.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();
    let stream = published.stream(case.topic).await.unwrap();
    ours.publish_text(case.topic, "before").await.unwrap();
    stream.wait_operations(1, PATIENCE).await.unwrap();

    let ours = restart(&case, ours).await;
    meet(&case, &ours, &published, &stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_restarted_is_found_by_a_new_published_node() {
    let case = Case::new("restart, new");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    ours.publish_text(case.topic, "before").await.unwrap();

    let ours = restart(&case, ours).await;
    let published = case.published(&[ours.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();
    meet(&case, &ours, &published, &stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_restarted_is_found_through_a_published_node() {
    let case = Case::new("restart, through another");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    ours.publish_text(case.topic, "before").await.unwrap();

    let ours = restart(&case, ours).await;
    // It does not know the topic: it can only tell them of each other.
    let mut between = Setup::new(&case.dir("between"), [9; 32], case.network);
    between.bootstrap.push(ours.peer());
    let between = Published::start(between).await.unwrap();
    let published = case.published(&[between.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();
    meet(&case, &ours, &published, &stream).await;
}

/// Ends our node in order and starts it again, knowing nobody but by its directory.
async fn restart(case: &Case, ours: Ours) -> Ours {
    let before = ours.peer();
    ours.close().await.unwrap();
    let mut options = case.options("ours");
    options.listen = Some(before.addr);
    let ours = Ours::open(options).await.unwrap();
    assert_eq!(ours.peer(), before);
    ours.subscribe(case.topic).await.unwrap();
    ours
}

/// What each publishes arrives at the other, with what was there before.
async fn meet(case: &Case, ours: &Ours, published: &Published, stream: &PublishedStream) {
    ours.publish_text(case.topic, "ours").await.unwrap();
    stream.publish("theirs").await.unwrap();
    stream.wait_operations(3, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 3, PATIENCE).await.unwrap();
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), 3);
    assert_same(&held, &published.dump(case.topic).await.unwrap());
    assert_eq!(stream.refused(), []);
}
