//! Operations that are published while both sides are connected cross at once, in either direction.

use interop::{Message, Ours, Published, PublishedStream, Step, sorted};

use crate::case::{Case, PATIENCE, assert_in_order, assert_same, bodies, bodies_by};

/// How many operations one side publishes.
const MANY: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_follows_ours_live() {
    let case = Case::new("published follows live");
    let (ours, published, stream) = connected(&case).await;
    let texts = texts("ours");
    publish_ours(&ours, &case, &texts).await;

    let delivered = stream.wait_operations(2 + MANY, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    let expected = [bodies(&[Message::from("our first")]), bodies(&texts)].concat();
    assert_eq!(bodies_by(&delivered, ours.peer().node), expected);
    let held = ours.dump(case.topic).await.unwrap();
    assert_same(&sorted(delivered), &held);
    assert_same(&published.dump(case.topic).await.unwrap(), &held);
    assert_eq!(stream.refused(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_follows_a_published_node_live() {
    let case = Case::new("ours follows live");
    let (ours, published, stream) = connected(&case).await;
    let texts = texts("published");
    publish_theirs(&stream, &texts).await;

    let delivered = ours
        .wait_messages(case.topic, 2 + MANY, PATIENCE)
        .await
        .unwrap();
    assert_in_order(&delivered);
    let expected = [bodies(&[Message::from("their first")]), bodies(&texts)].concat();
    assert_eq!(bodies_by(&delivered, published.peer().node), expected);
    let held = published.dump(case.topic).await.unwrap();
    assert_same(&sorted(delivered), &held);
    assert_same(&ours.dump(case.topic).await.unwrap(), &held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_follow_each_other_live_at_once() {
    let case = Case::new("both follow live");
    let (ours, published, stream) = connected(&case).await;
    let (of_ours, of_theirs) = (texts("ours"), texts("published"));
    tokio::join!(
        publish_ours(&ours, &case, &of_ours),
        publish_theirs(&stream, &of_theirs),
    );

    let all = 2 + 2 * MANY;
    let at_theirs = stream.wait_operations(all, PATIENCE).await.unwrap();
    let at_ours = ours.wait_messages(case.topic, all, PATIENCE).await.unwrap();
    assert_in_order(&at_theirs);
    assert_in_order(&at_ours);
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), all);
    assert_same(&sorted(at_theirs), &held);
    assert_same(&sorted(at_ours), &held);
    assert_same(&published.dump(case.topic).await.unwrap(), &held);
    let first = bodies(&[Message::from("our first")]);
    assert_eq!(
        bodies_by(&held, ours.peer().node),
        [first, bodies(&of_ours)].concat()
    );
    let first = bodies(&[Message::from("their first")]);
    assert_eq!(
        bodies_by(&held, published.peer().node),
        [first, bodies(&of_theirs)].concat()
    );
    assert_eq!(stream.refused(), []);
}

/// Both nodes, each with one operation of each, past catch-up.
async fn connected(case: &Case) -> (Ours, Published, PublishedStream) {
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    ours.publish_text(case.topic, "our first").await.unwrap();
    let published = case.published(&[ours.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();
    stream.publish("their first").await.unwrap();
    stream.wait_operations(2, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 2, PATIENCE).await.unwrap();
    let (ours_id, theirs_id) = (ours.peer().node, published.peer().node);
    stream.wait_caught_up(ours_id, PATIENCE).await.unwrap();
    ours.wait_step(case.topic, theirs_id, Step::CaughtUp, PATIENCE)
        .await
        .unwrap();
    (ours, published, stream)
}

fn texts(name: &str) -> Vec<Message> {
    let texts = (0..MANY).map(|place| Message::Text(format!("{name} {place}")));
    texts.collect()
}

async fn publish_ours(ours: &Ours, case: &Case, texts: &[Message]) {
    for message in texts {
        let Message::Text(text) = message else {
            unreachable!("only texts are given");
        };
        ours.publish_text(case.topic, text).await.unwrap();
    }
}

async fn publish_theirs(stream: &PublishedStream, texts: &[Message]) {
    for message in texts {
        stream.publish(message.clone()).await.unwrap();
    }
}
