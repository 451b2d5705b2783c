//! Headers that came without their bodies: nobody counts them as complete, and all messages come.

use interop::{Author, Message, Operation, Ours, Published, Setup, Step, sorted};

use crate::case::{
    Case, PATIENCE, THEIR_SEED, assert_in_order, assert_same, bodies, contents, messages,
};

const SIZES: [usize; 4] = [0, 100, 3000, 65536];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_headers_get_bodies_from_a_published_author() {
    let case = Case::new("headers imported alone");
    let log = twenty(&case);
    let author = published_with(&case, "published", THEIR_SEED, &log, None).await;
    let at_author = author.stream(case.topic).await.unwrap();
    let ours = case.ours(&[author.peer()]).await;
    import(&case, &ours, &without_bodies(&log)).await;

    ours.subscribe(case.topic).await.unwrap();

    let shown = ours.wait_messages(case.topic, 20, PATIENCE).await.unwrap();
    assert_same(&shown, &log);
    assert_same(&ours.dump(case.topic).await.unwrap(), &log);
    // What comes after them follows, in the same session or another.
    at_author.publish("news").await.unwrap();
    let shown = ours.wait_messages(case.topic, 21, PATIENCE).await.unwrap();
    assert_in_order(&shown);
    assert_same(&shown, &author.dump(case.topic).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_headers_get_bodies_from_a_published_author() {
    let case = Case::new("headers before a restart");
    let log = twenty(&case);
    let ours = case.ours(&[]).await;
    import(&case, &ours, &without_bodies(&log)).await;
    ours.close().await.unwrap();
    let author = published_with(&case, "published", THEIR_SEED, &log, None).await;
    let _at_author = author.stream(case.topic).await.unwrap();

    let ours = case.ours(&[author.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();

    let shown = ours.wait_messages(case.topic, 20, PATIENCE).await.unwrap();
    assert_same(&shown, &log);
    assert_same(&ours.dump(case.topic).await.unwrap(), &log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_behind_ours_gets_no_header_before_its_body() {
    let case = Case::new("headers held back");
    let log = twenty(&case);
    let ours = case.ours(&[]).await;
    // The first five are whole, so that the published node has something to catch up on.
    let mut held = log.clone();
    for operation in held.iter_mut().skip(5) {
        operation.body = None;
    }
    import(&case, &ours, &held).await;
    ours.subscribe(case.topic).await.unwrap();
    let behind = published_with(&case, "behind", [9; 32], &[], Some(&ours)).await;
    let at_behind = behind.stream(case.topic).await.unwrap();
    let caught_up = at_behind.wait_caught_up(ours.peer().node, PATIENCE);
    caught_up.await.unwrap();
    // A published node may say so before it has stored the last of them.
    at_behind.wait_operations(5, PATIENCE).await.unwrap();
    assert_same(&behind.dump(case.topic).await.unwrap(), &log[..5]);

    import(&case, &ours, &log).await;

    let shown = at_behind.wait_operations(20, PATIENCE).await.unwrap();
    assert_same(&shown, &log);
    assert_same(&behind.dump(case.topic).await.unwrap(), &log);
    assert_eq!(at_behind.refused(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_one_published_node_lacks_come_from_another() {
    let case = Case::new("bodies from another");
    let log = twenty(&case);
    let headers = without_bodies(&log);
    let lacking = published_with(&case, "lacking", [9; 32], &headers, None).await;
    let _at_lacking = lacking.stream(case.topic).await.unwrap();
    let ours = case.ours(&[lacking.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();
    ours.wait_stored(case.topic, 20, PATIENCE).await.unwrap();
    let caught_up = ours.wait_step(case.topic, lacking.peer().node, Step::CaughtUp, PATIENCE);
    caught_up.await.unwrap();
    assert_same(&ours.dump(case.topic).await.unwrap(), &headers);
    assert_eq!(ours.messages(case.topic), []);

    let author = published_with(&case, "published", THEIR_SEED, &log, Some(&ours)).await;
    let _at_author = author.stream(case.topic).await.unwrap();

    let shown = ours.wait_messages(case.topic, 20, PATIENCE).await.unwrap();
    assert_same(&shown, &log);
    assert_same(&ours.dump(case.topic).await.unwrap(), &log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_lacking_there_deletes_nothing_until_it_comes() {
    let case = Case::new("snapshot lacking");
    let mut writer = Author::new(THEIR_SEED, case.topic);
    let old = messages(&contents(5, &SIZES, 0x44));
    let old = writer.write_all(&old).unwrap();
    let snapshot = writer.write(&Message::from("snapshot"), true).unwrap();
    let mut lacked = old.clone();
    lacked.extend(without_bodies(std::slice::from_ref(&snapshot)));
    let lacking = published_with(&case, "lacking", [9; 32], &lacked, None).await;
    let _at_lacking = lacking.stream(case.topic).await.unwrap();
    let ours = case.ours(&[lacking.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();
    ours.wait_stored(case.topic, 6, PATIENCE).await.unwrap();
    let shown = ours.wait_messages(case.topic, 5, PATIENCE).await.unwrap();
    assert_same(&shown, &old);
    assert_same(&ours.dump(case.topic).await.unwrap(), &lacked);

    let held = std::slice::from_ref(&snapshot);
    let author = published_with(&case, "published", THEIR_SEED, held, Some(&ours)).await;
    let _at_author = author.stream(case.topic).await.unwrap();

    let shown = ours.wait_messages(case.topic, 6, PATIENCE).await.unwrap();
    assert_eq!(shown.last(), Some(&snapshot));
    assert_same(&ours.dump(case.topic).await.unwrap(), held);
}

/// The log of the published author, twenty messages long.
fn twenty(case: &Case) -> Vec<Operation> {
    let messages = messages(&contents(20, &SIZES, 0x22));
    let log = Author::new(THEIR_SEED, case.topic).write_all(&messages);
    let log = sorted(log.unwrap());
    let written: Vec<_> = log.iter().map(|operation| operation.body.clone()).collect();
    assert_eq!(written, bodies(&messages));
    log
}

/// The same operations as somebody has them who has no bodies.
fn without_bodies(log: &[Operation]) -> Vec<Operation> {
    let headers = log.iter().cloned().map(|operation| Operation {
        body: None,
        ..operation
    });
    headers.collect()
}

/// Our node takes all of these, new or not.
async fn import(case: &Case, ours: &Ours, operations: &[Operation]) {
    let imported = ours.import(case.topic, operations).await.unwrap();
    assert_eq!((imported.rejected, imported.early), (0, 0));
}

/// A published node that holds `stored` and knows `contact`.
async fn published_with(
    case: &Case,
    name: &str,
    seed: [u8; 32],
    stored: &[Operation],
    contact: Option<&Ours>,
) -> Published {
    let mut setup = Setup::new(&case.dir(name), seed, case.network);
    setup.bootstrap.extend(contact.map(Ours::peer));
    if !stored.is_empty() {
        setup.stored.push((case.topic, stored.to_vec()));
    }
    Published::start(setup).await.unwrap()
}
