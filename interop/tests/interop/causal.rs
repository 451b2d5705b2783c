//! An operation that names the operations it depends on passes through a published node unchanged.

use interop::{Ours, Published, Setup};

use crate::case::{Case, PATIENCE, assert_same};

/// Of these two keys the second is the smaller one, so its log comes first in catch-up.
const ASKING: [u8; 32] = [1; 32];
const ANSWERING: [u8; 32] = [2; 32];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependencies_survive_a_published_node() {
    let case = Case::new("causal");
    let asking = ours(&case, "asking", ASKING, None).await;
    asking.subscribe(case.topic).await.unwrap();
    asking.publish_text(case.topic, "question").await.unwrap();
    let answering = ours(&case, "answering", ANSWERING, Some(&asking)).await;
    answering.subscribe(case.topic).await.unwrap();
    answering
        .wait_messages(case.topic, 1, PATIENCE)
        .await
        .unwrap();
    answering.publish_text(case.topic, "answer").await.unwrap();
    let written = answering.dump(case.topic).await.unwrap();
    assert_eq!(written.len(), 2);
    let (answer, question) = (&written[0], &written[1]);
    assert_eq!(answer.author, answering.peer().node);
    // {"deps": [[author, seq, id]]} at the end of the header.
    let element = [
        b"\xa1\x64deps\x81\x83\x58\x20".as_slice(),
        &question.author,
        b"\x00\x58\x20",
        &question.id,
    ];
    assert!(answer.header.ends_with(&element.concat()));
    asking.close().await.unwrap();

    let mut setup = Setup::new(&case.dir("published"), [9; 32], case.network);
    setup.bootstrap.push(answering.peer());
    let published = Published::start(setup).await.unwrap();
    let stream = published.stream(case.topic).await.unwrap();
    stream.wait_operations(2, PATIENCE).await.unwrap();
    assert_same(&published.dump(case.topic).await.unwrap(), &written);
    assert_eq!(stream.refused(), []);
    answering.close().await.unwrap();

    let mut options = case.options("reading");
    options.bootstrap.push(published.peer());
    let reading = Ours::open(options).await.unwrap();
    reading.subscribe(case.topic).await.unwrap();
    let delivered = reading
        .wait_messages(case.topic, 2, PATIENCE)
        .await
        .unwrap();
    assert_eq!(delivered, [question.clone(), answer.clone()]);
    assert_same(&reading.dump(case.topic).await.unwrap(), &written);
}

async fn ours(case: &Case, name: &str, seed: [u8; 32], bootstrap: Option<&Ours>) -> Ours {
    let mut options = case.options(name);
    options.seed = Some(seed);
    options.bootstrap = bootstrap.map(Ours::peer).into_iter().collect();
    Ours::open(options).await.unwrap()
}
