//! What a published node says reaches another published node through ours, and back.

use interop::{Published, PublishedStream, Setup, Step};

use crate::case::{Case, PATIENCE, assert_all_from, assert_in_order, assert_same, contents};

const SIZES: [usize; 4] = [1, 100, 3000, 65536];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_published_node_syncs_through_ours_and_back() {
    let case = Case::new("third");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    let first = case.published(&[ours.peer()]).await;
    let mut setup = Setup::new(&case.dir("third"), [9; 32], case.network);
    setup.bootstrap.push(ours.peer());
    let third = Published::start(setup).await.unwrap();

    // The first leaves the topic before the third opens it, so that only ours can have brought it.
    let at_first = first.stream(case.topic).await.unwrap();
    publish(&at_first, 0x11).await;
    ours.wait_messages(case.topic, 100, PATIENCE).await.unwrap();
    drop(at_first);
    let (first_id, third_id) = (first.peer().node, third.peer().node);
    ours.wait_step(case.topic, first_id, Step::Ended, PATIENCE)
        .await
        .unwrap();

    let at_third = third.stream(case.topic).await.unwrap();
    at_third.wait_operations(100, PATIENCE).await.unwrap();
    publish(&at_third, 0x33).await;
    let delivered = ours.wait_messages(case.topic, 200, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_in_order(&at_third.operations());
    assert_all_from(&at_third, ours.peer().node);
    assert_eq!(at_third.refused(), []);
    drop(at_third);
    ours.wait_step(case.topic, third_id, Step::Ended, PATIENCE)
        .await
        .unwrap();

    let at_first = first.stream(case.topic).await.unwrap();
    let delivered = at_first.wait_operations(100, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_all_from(&at_first, ours.peer().node);
    assert_eq!(at_first.refused(), []);

    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), 200);
    assert_same(&first.dump(case.topic).await.unwrap(), &held);
    assert_same(&third.dump(case.topic).await.unwrap(), &held);
}

async fn publish(stream: &PublishedStream, salt: u8) {
    for bytes in contents(100, &SIZES, salt) {
        stream.publish(bytes).await.unwrap();
    }
}
