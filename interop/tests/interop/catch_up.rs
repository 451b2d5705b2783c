//! What one side has when the other comes arrives there, byte for byte and in the order of each log.

use interop::{Author, Operation, digest, sorted};

use crate::case::{
    Case, OUR_SEED, PATIENCE, THEIR_SEED, assert_in_order, assert_same, bodies, contents, messages,
};

/// Every power of two up to 64 KiB; nothing at all makes a body of one byte.
const SIZES: [usize; 18] = [
    0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536,
];

/// Mostly small, so that ten thousand of them stay below 20 MB.
const MANY: [usize; 40] = {
    let mut sizes = [100; 40];
    sizes[0] = 0;
    sizes[13] = 1;
    sizes[26] = 4096;
    sizes[39] = 65536;
    sizes
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_catches_up_on_800_operations_of_ours() {
    let case = Case::new("800 of ours");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    let contents = contents(800, &SIZES, 0x55);
    for (place, bytes) in contents.iter().enumerate() {
        let seq = ours.publish_bytes(case.topic, bytes).await.unwrap();
        assert_eq!(seq, place as u64);
    }

    let published = case.published(&[ours.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();

    let delivered = stream.wait_operations(800, PATIENCE).await.unwrap();
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(bodies(&messages(&contents)), of(&held));
    assert_same(&delivered, &held);
    assert_same(&published.dump(case.topic).await.unwrap(), &held);
    assert_eq!(stream.refused(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_catches_up_on_10_000_operations_of_a_published_node() {
    let case = Case::new("10 000 of a published node");
    let messages = messages(&contents(10_000, &MANY, 0x66));
    let log = Author::new(THEIR_SEED, case.topic).write_all(&messages);
    let log = log.unwrap();
    let mut setup = case.setup();
    setup.stored.push((case.topic, log.clone()));
    let published = interop::Published::start(setup).await.unwrap();
    let _stream = published.stream(case.topic).await.unwrap();

    let ours = case.ours(&[published.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();

    let delivered = ours.wait_messages(case.topic, 10_000, PATIENCE).await;
    assert_same(&delivered.unwrap(), &log);
    assert_eq!(ours.digest(case.topic).await.unwrap(), digest(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_catches_up_on_twenty_authors_from_ours() {
    let case = Case::new("twenty authors from ours");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    let logs = twenty_authors(case.topic, 40);
    let imported = ours.import(case.topic, &logs).await.unwrap();
    assert_eq!((imported.stored, imported.rejected), (800, 0));

    let published = case.published(&[ours.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();

    let delivered = stream.wait_operations(800, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_same(&sorted(delivered), &logs);
    assert_same(&ours.dump(case.topic).await.unwrap(), &logs);
    assert_same(&published.dump(case.topic).await.unwrap(), &logs);
    assert_eq!(stream.refused(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_catches_up_on_twenty_authors_from_a_published_node() {
    let case = Case::new("twenty authors from a published node");
    let logs = twenty_authors(case.topic, 40);
    let mut setup = case.setup();
    setup.stored.push((case.topic, logs.clone()));
    let published = interop::Published::start(setup).await.unwrap();
    let _stream = published.stream(case.topic).await.unwrap();

    let ours = case.ours(&[published.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();

    let delivered = ours.wait_messages(case.topic, 800, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_same(&sorted(delivered), &logs);
    assert_same(&ours.dump(case.topic).await.unwrap(), &logs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_catch_up_on_each_other_at_once() {
    let case = Case::new("both catch up");
    let messages = messages(&contents(400, &SIZES, 0x77));
    let theirs = Author::new(THEIR_SEED, case.topic).write_all(&messages);
    let mut all = theirs.unwrap();
    let mut setup = case.setup();
    setup.stored.push((case.topic, all.clone()));
    let published = interop::Published::start(setup).await.unwrap();
    let mut options = case.options("ours");
    options.bootstrap.push(published.peer());
    let ours = interop::Ours::open(options).await.unwrap();
    let own = Author::new(OUR_SEED, case.topic).write_all(&messages);
    let own = own.unwrap();
    let imported = ours.import(case.topic, &own).await.unwrap();
    assert_eq!((imported.stored, imported.rejected), (400, 0));
    all.extend(own);
    let all = sorted(all);

    let stream = published.stream(case.topic).await.unwrap();
    ours.subscribe(case.topic).await.unwrap();

    ours.wait_stored(case.topic, 800, PATIENCE).await.unwrap();
    let delivered = stream.wait_operations(400, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_same(&ours.dump(case.topic).await.unwrap(), &all);
    assert_same(&published.dump(case.topic).await.unwrap(), &all);
    assert_eq!(stream.refused(), []);
}

/// The logs of twenty authors, sorted, each with `length` operations of its own.
fn twenty_authors(topic: [u8; 32], length: usize) -> Vec<Operation> {
    let logs = (100..120_u8).flat_map(|author| {
        let messages = messages(&contents(length, &SIZES, author));
        let log = Author::new([author; 32], topic).write_all(&messages);
        log.unwrap()
    });
    sorted(logs.collect())
}

fn of(operations: &[Operation]) -> Vec<Option<Vec<u8>>> {
    let bodies = operations.iter().map(|operation| operation.body.clone());
    bodies.collect()
}
