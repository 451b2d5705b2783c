//! Consumers whose process is killed (`docs/protocol/consumers.md#3`).

use std::collections::BTreeSet;
use std::path::Path;

use crate::consumers::{LATE, SOON, next, publish, rest, text};
use crate::nodes::{self, network, topic};

/// The directory as it would be after its process was killed now.
pub fn copy(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "lock" {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    copy
}

/// A small generator: its seed is printed, and the same seed does the same.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Printed by each test that needs one.
pub fn seed() -> u64 {
    let seed = std::env::var("P2PANDA_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    seed.unwrap_or(u64::from(std::process::id()))
}

/// Returns the number of kills of the next test.
fn kills() -> usize {
    let kills = std::env::var("P2PANDA_KILLS").ok();
    kills.and_then(|kills| kills.parse().ok()).unwrap_or(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_ack_repeats_only_what_was_not_acked() {
    let seed = seed();
    println!("seed {seed}");
    let (mut dice, network, topic) = (Dice(seed), network(), topic());
    let mut dir = tempfile::tempdir().unwrap();
    let (mut published, mut acked) = (0, BTreeSet::new());
    for _ in 0..kills() {
        let node = nodes::at(network, dir.path()).await;
        let (tx, _rx) = node.stream(topic).await.unwrap();
        let more = 1 + dice.roll(12) as usize;
        publish(&tx, published..published + more).await;
        published += more;
        let opened = node.consumer("jobs").topics([topic]).ack_wait(LATE);
        let mut jobs = opened.in_flight_max(500).open().await.unwrap();
        let mut given = BTreeSet::new();
        let mut held = Vec::new();
        for delivery in rest(&mut jobs).await {
            assert!(
                !acked.contains(&text(&delivery)),
                "acked, and delivered again"
            );
            assert!(given.insert(text(&delivery)));
            held.push(delivery);
        }
        let all: BTreeSet<String> = (0..published).map(|number| number.to_string()).collect();
        let expected: BTreeSet<_> = all.difference(&acked).cloned().collect();
        assert_eq!(given, expected, "lost");
        // In any order, each on disk before the next; the process dies in between.
        for _ in 0..dice.roll(held.len() as u64 + 1) {
            let place = dice.roll(held.len() as u64) as usize;
            let delivery = held.swap_remove(place);
            delivery.ack().await.unwrap();
            acked.insert(text(&delivery));
        }
        let killed = copy(dir.path());
        node.shutdown().await.unwrap();
        dir = killed;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_process_is_dead_in_the_end() {
    let (network, topic) = (network(), topic());
    let mut dir = tempfile::tempdir().unwrap();
    let mut counts = Vec::new();
    for _ in 0..20 {
        let node = nodes::at(network, dir.path()).await;
        let (tx, _rx) = node.stream(topic).await.unwrap();
        if counts.is_empty() {
            tx.publish("poison").await.unwrap();
        }
        let opened = node.consumer("jobs").topics([topic]).deliveries_max(3);
        let mut jobs = opened.open().await.unwrap();
        for delivery in rest(&mut jobs).await {
            counts.push(delivery.count());
        }
        let dead = jobs.handle().dead_letters().list(0).await.unwrap().len();
        let killed = copy(dir.path());
        if counts.len() == 3 && dead == 1 {
            return;
        }
        node.shutdown().await.unwrap();
        dir = killed;
    }
    panic!("it is not dead after these deliveries: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nak_keeps_its_delay_and_count_over_a_restart() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    for (round, count) in [(0, 1), (1, 2)] {
        let node = nodes::at(network, dir.path()).await;
        let (tx, _rx) = node.stream(topic).await.unwrap();
        if round == 0 {
            tx.publish("one").await.unwrap();
            tx.publish("two").await.unwrap();
        }
        let mut jobs = node.consumer("jobs").topics([topic]).open().await.unwrap();
        let one = next(&mut jobs).await;
        assert_eq!((text(&one), one.count()), ("one".to_owned(), count));
        if round == 0 {
            let two = next(&mut jobs).await;
            assert_eq!(text(&two), "two");
            two.ack().await.unwrap();
        }
        let delay = if round == 0 { SOON } else { LATE };
        one.nak(Some(delay)).await.unwrap();
        node.shutdown().await.unwrap();
    }
    let node = nodes::at(network, dir.path()).await;
    let mut jobs = node.consumer("jobs").open().await.unwrap();
    assert!(rest(&mut jobs).await.is_empty());
    assert_eq!(jobs.handle().lag().await.unwrap().messages, 1);
}
