//! What becomes of a second log that an author has in a topic: why nodes of this project never send one
//! to a published node.

use interop::{Author, Message, Operation, Published, Setup};

use crate::case::{Case, PATIENCE, assert_same};

const AUTHOR: [u8; 32] = [0x31; 32];
/// Its log id is below that of the topic, so that its log goes first.
const OTHER: [u8; 32] = [0x77; 32];

/// A published node that holds the author's log of the topic, and another one of the same topic.
async fn with_two_logs(case: &Case) -> (Published, Vec<Operation>, Vec<Operation>) {
    let texts: Vec<_> = (0..5)
        .map(|place| Message::Text(place.to_string()))
        .collect();
    let first = Author::new(AUTHOR, case.topic).write_all(&texts).unwrap();
    let second = Author::new(AUTHOR, OTHER).write_all(&texts).unwrap();
    let mut setup = case.setup();
    setup.stored = vec![(case.topic, first.clone())];
    setup.stored_beside = vec![(case.topic, OTHER, second.clone())];
    let published = Published::start(setup).await.unwrap();
    (published, first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_takes_a_second_log_for_the_first() {
    let case = Case::new("second log");
    let (sending, first, second) = with_two_logs(&case).await;
    let _at_sending = sending.stream(case.topic).await.unwrap();
    let mut setup = Setup::new(&case.dir("receiving"), [7; 32], case.network);
    setup.bootstrap.push(sending.peer());
    let receiving = Published::start(setup).await.unwrap();
    let at_receiving = receiving.stream(case.topic).await.unwrap();
    at_receiving
        .wait_caught_up(sending.peer().node, PATIENCE)
        .await
        .unwrap();
    // Nothing of either is delivered: one is stored in the place of the other.
    assert_eq!(at_receiving.operations(), []);
    let refused = at_receiving.refused();
    let why = |operation: &Operation| {
        let found = refused.iter().find(|(refused, _)| refused == operation);
        found.map(|(_, why)| why.as_str()).unwrap_or_default()
    };
    for operation in &second {
        let why = why(operation);
        assert!(why.contains("part of a different topic"), "{why}");
    }
    for operation in &first {
        let why = why(operation);
        assert!(why.contains("expected sequence number 5"), "{why}");
    }
    assert_same(&receiving.dump(case.topic).await.unwrap(), &second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_node_refuses_a_log_that_is_not_of_the_topic() {
    let case = Case::new("second log at ours");
    let (published, first, _) = with_two_logs(&case).await;
    let at_published = published.stream(case.topic).await.unwrap();
    let ours = case.ours(&[published.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();
    let delivered = ours.wait_messages(case.topic, 5, PATIENCE).await.unwrap();
    assert_eq!(delivered, first);
    // And the session goes on.
    at_published.publish("after").await.unwrap();
    ours.wait_messages(case.topic, 6, PATIENCE).await.unwrap();
    let dump = ours.dump(case.topic).await.unwrap();
    assert_eq!(dump.len(), 6);
    ours.close().await.unwrap();
}
