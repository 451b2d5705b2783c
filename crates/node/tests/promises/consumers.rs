//! Named durable consumers (`docs/protocol/consumers.md`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2panda::{
    Acking, Consumer, ConsumerError, ConsumerFilter, ConsumerMode, ConsumerStart, Delivered,
    Delivery, Error, Event, Node, Publisher, Settled, StartAt, Timestamp, Topic,
};

use crate::nodes::{self, PATIENCE, network, temporary, topic, until};

const SOON: Duration = Duration::from_millis(100);
pub const LATE: Duration = Duration::from_secs(60 * 60);

async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
    let delivery = delivery.expect("a message in time");
    delivery.unwrap_or_else(|| panic!("it goes on: {:?}", consumer.ended()))
}

fn text(delivery: &Delivery) -> String {
    delivery.text().unwrap().to_owned()
}

/// All that can be delivered by now, without settling it.
pub async fn rest(consumer: &mut Consumer) -> Vec<Delivery> {
    let batch = consumer.fetch(10_000).wait(Duration::ZERO);
    batch.await.unwrap()
}

async fn rest_texts(consumer: &mut Consumer) -> Vec<String> {
    rest(consumer).await.iter().map(text).collect()
}

/// Publishes numbers, many at a time if they are many; then they are in the log in any order.
async fn publish(tx: &Publisher, numbers: std::ops::Range<usize>) {
    if numbers.len() < 50 {
        for number in numbers {
            tx.publish(number.to_string()).await.unwrap();
        }
        return;
    }
    let mut published = Vec::new();
    for number in numbers {
        let tx = tx.clone();
        let publish = async move { tx.publish(number.to_string()).await.unwrap() };
        published.push(tokio::spawn(publish));
        if published.len() == 500 {
            for task in published.drain(..) {
                task.await.unwrap();
            }
        }
    }
    for task in published {
        task.await.unwrap();
    }
}

async fn with_messages(count: usize) -> (Node, Topic, Publisher) {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for number in 0..count {
        tx.publish(number.to_string()).await.unwrap();
    }
    (node, topic, tx)
}

/// The name of the next consumer that is deleted because nobody has opened it.
async fn inactive(events: &mut p2panda::Events) -> String {
    let told = async {
        loop {
            if let Event::ConsumerInactive { name } = events.next().await.unwrap() {
                return name;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap()
}

fn refused(error: Error) -> ConsumerError {
    match error {
        Error::Consumer(error) => error,
        other => panic!("another error: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_see_everything_and_seeking_one_does_not_move_the_other() {
    let (node, topic, _tx) = with_messages(4).await;
    let mut one = node.consumer("one").topics([topic]).open().await.unwrap();
    let mut two = node.consumer("two").topics([topic]).open().await.unwrap();
    for number in 0..4 {
        let delivery = next(&mut one).await;
        assert_eq!(text(&delivery), number.to_string());
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
        assert_eq!(delivery.ack().await.unwrap(), Settled::Already);
    }
    assert_eq!(rest_texts(&mut two).await, ["0", "1", "2", "3"]);
    let before = two.handle().info();
    one.handle().seek(ConsumerStart::Beginning).await.unwrap();
    assert_eq!(two.handle().info(), before);
    assert_eq!(rest_texts(&mut one).await, ["0", "1", "2", "3"]);
    assert!(rest(&mut two).await.is_empty());
    // The topic's own stream has nothing to do with either.
    let (_tx, mut rx) = node.stream(topic).start(StartAt::Resume).await.unwrap();
    assert_eq!(nodes::texts(&mut rx, 4).await, ["0", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nak_comes_back_after_its_delay_and_the_fifth_failure_is_dead_until_it_is_redriven() {
    let (node, topic, _tx) = with_messages(2).await;
    let opened = node.consumer("jobs").topics([topic]).deliveries_max(5);
    let mut jobs = opened.backoff([SOON]).open().await.unwrap();
    let first = next(&mut jobs).await;
    let second = next(&mut jobs).await;
    second.ack().await.unwrap();
    let mut failing = first;
    for count in 1..=5 {
        assert_eq!((text(&failing), failing.count()), ("0".to_owned(), count));
        let given_back = std::time::Instant::now();
        failing.nak(None).await.unwrap();
        if count < 5 {
            failing = next(&mut jobs).await;
            assert!(given_back.elapsed() >= SOON);
        }
    }
    assert!(rest(&mut jobs).await.is_empty());
    let letters = jobs.handle().dead_letters();
    let dead = letters.list(0).await.unwrap();
    assert_eq!((dead.len(), dead[0].row.count), (1, 5));
    assert_eq!(Some(dead[0].id.unwrap()), failing.message().map(|m| m.id()));
    letters.redrive(dead[0].number).await.unwrap();
    let again = next(&mut jobs).await;
    assert_eq!((text(&again), again.count()), ("0".to_owned(), 1));
    again.ack().await.unwrap();
    assert!(rest(&mut jobs).await.is_empty());
    assert!(letters.list(0).await.unwrap().is_empty());
    let error = letters.redrive(dead[0].number).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::UnknownDeadLetter);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_nobody_opens_for_its_threshold_is_gone_and_an_event_names_it() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let node = nodes::at(network, dir.path()).await;
    let second = Duration::from_secs(1);
    let mut opened = Vec::new();
    for (name, after) in [
        ("held", Some(second)),
        ("left", Some(second)),
        ("kept", None),
    ] {
        let consumer = node.consumer(name).topics([topic]).inactive(after);
        opened.push(consumer.open().await.unwrap());
    }
    assert_eq!(opened[1].handle().info().inactive, Some(second));
    let mut events = node.events();
    let _held = opened.swap_remove(0);
    let given_up = std::time::Instant::now();
    drop(opened);
    assert_eq!(inactive(&mut events).await, "left");
    assert!(given_up.elapsed() >= second);
    let names = async |node: &Node| -> Vec<String> {
        let infos = node.consumers(None).await.unwrap().into_iter();
        infos.map(|info| info.name).collect()
    };
    assert_eq!(names(&node).await, ["held", "kept"]);
    let error = node.consumer("left").handle().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::Unknown);
    // What was held until the end is there at the next start, and goes as well.
    node.shutdown().await.unwrap();
    let node = nodes::at(network, dir.path()).await;
    let mut events = node.events();
    if names(&node).await.contains(&"held".to_owned()) {
        assert_eq!(inactive(&mut events).await, "held");
    }
    assert_eq!(names(&node).await, ["kept"]);
    let invalid = node.consumer("kept").inactive(second / 2).open().await;
    let invalid = refused(invalid.unwrap_err());
    assert_eq!(invalid, ConsumerError::Invalid("inactive threshold"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_dead_letters_stop_a_consumer_which_says_so_until_some_are_dropped() {
    const DEAD: usize = 10_000;
    let (node, topic, tx) = with_messages(0).await;
    publish(&tx, 0..DEAD + 1).await;
    let opened = node.consumer("jobs").topics([topic]).in_flight_max(DEAD);
    let mut jobs = opened.open().await.unwrap();
    let mut events = node.events();
    let mut terms = tokio::task::JoinSet::new();
    for delivery in jobs.fetch(DEAD).wait(PATIENCE).await.unwrap() {
        terms.spawn(async move { delivery.term("").await.unwrap() });
    }
    terms.join_all().await;
    let told = async {
        loop {
            if let Event::ConsumerFullOfDead { name } = events.next().await.unwrap() {
                return name;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!(told, "jobs");
    assert!(jobs.fetch(1).wait(SOON).await.unwrap().is_empty());
    drop(jobs);
    // It is seen without opening it as well, and is not the same as a pause.
    let info = &node.consumers(None).await.unwrap()[0];
    let seen = (info.full_of_dead, info.paused, info.dead);
    assert_eq!(seen, (true, false, DEAD as u64));
    let mut jobs = node.consumer("jobs").open().await.unwrap();
    let letters = jobs.handle().dead_letters();
    let first = letters.list(0).await.unwrap()[0].number;
    letters.drop_one(first).await.unwrap();
    assert!(!jobs.handle().info().full_of_dead);
    next(&mut jobs).await.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_topic_says_since_when_the_oldest_message_waits_for_each_consumer() {
    let (node, topic, _tx) = with_messages(3).await;
    let status = async || node.topic(topic).status().await.unwrap().consumers;
    assert_eq!(status().await, []);
    let mut some = node.consumer("some").topics([topic]).open().await.unwrap();
    let mut all = node.consumer("all").topics([topic]).open().await.unwrap();
    let offset = |delivery: &Delivery| delivery.message().unwrap().offset();
    let first = offset(&next(&mut some).await);
    let second = next(&mut some).await;
    second.ack().await.unwrap();
    for delivery in rest(&mut all).await {
        delivery.ack().await.unwrap();
    }
    let found = status().await;
    let names: Vec<_> = found.iter().map(|consumer| &consumer.name[..]).collect();
    assert_eq!(names, ["all", "some"]);
    assert_eq!((found[0].oldest, found[0].since), (None, None));
    assert_eq!(found[1].oldest, Some(first));
    let since = found[1].since.expect("a time").as_micros();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(u128::from(since) <= now.as_micros());
    // A trace knows them as well.
    let id = second.message().unwrap().id();
    let consumers = node.trace(id).await.unwrap().unwrap().consumers;
    let acknowledged: Vec<_> = consumers.iter().map(|one| one.acknowledged).collect();
    assert_eq!(acknowledged, [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handled_is_a_dead_letter_with_its_reason() {
    let (node, topic, _tx) = with_messages(2).await;
    let mut jobs = node.consumer("jobs").topics([topic]).open().await.unwrap();
    next(&mut jobs).await.term("no such user").await.unwrap();
    let letters = jobs.handle().dead_letters();
    let dead = letters.list(0).await.unwrap();
    let reason = format!("{:?}", dead[0].row.reason);
    assert!(reason.contains("no such user"), "{reason}");
    letters.drop_all().await.unwrap();
    assert!(letters.list(0).await.unwrap().is_empty());
    assert_eq!(jobs.handle().info().dead, 0);
    assert_eq!(rest_texts(&mut jobs).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_workers_split_messages_without_a_double_and_others_get_those_of_one_that_hangs() {
    const MESSAGES: usize = 10_000;
    let (node, topic, tx) = with_messages(0).await;
    publish(&tx, 0..MESSAGES).await;
    let open = || {
        let opened = node.consumer("pool").topics([topic]);
        let opened = opened.mode(ConsumerMode::Shared).ack_wait(SOON * 50);
        opened.in_flight_max(2_000).open()
    };
    let mut hangs = open().await.unwrap();
    let held: Vec<String> = hangs.fetch(100).await.unwrap().iter().map(text).collect();
    assert_eq!(held.len(), 100);
    let handled: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let mut workers = Vec::new();
    for _ in 0..4 {
        let (mut worker, handled) = (open().await.unwrap(), Arc::clone(&handled));
        workers.push(tokio::spawn(async move {
            while handled.lock().unwrap().len() < MESSAGES {
                let batch = worker.fetch(200).wait(SOON);
                let batch = batch.await.unwrap();
                for delivery in &batch {
                    *handled.lock().unwrap().entry(text(delivery)).or_default() += 1;
                }
                let mut acks = tokio::task::JoinSet::new();
                for delivery in batch {
                    acks.spawn(async move { delivery.ack().await.unwrap() });
                }
                acks.join_all().await;
            }
        }));
    }
    for worker in workers {
        let done = tokio::time::timeout(PATIENCE, worker).await;
        done.expect("all are handled in time").unwrap();
    }
    let handled = handled.lock().unwrap();
    assert!(held.iter().all(|text| handled.contains_key(text)));
    let doubles = handled
        .iter()
        .filter(|(text, times)| **times > 1 && !held.contains(text));
    assert_eq!(doubles.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_key_come_one_after_the_other_under_eight_workers() {
    const MESSAGES: usize = 2_000;
    let key = |text: &str| text.parse::<u64>().unwrap() % 13;
    let (node, topic, tx) = with_messages(0).await;
    publish(&tx, 0..MESSAGES).await;
    let open = || {
        let by = move |message: &p2panda::Message| key(message.text().unwrap());
        node.consumer("keys").topics([topic]).ordered_by(by).open()
    };
    let busy: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let done: Arc<Mutex<BTreeMap<u64, Vec<u64>>>> = Arc::default();
    let mut workers = Vec::new();
    for _ in 0..8 {
        let mut worker = open().await.unwrap();
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        workers.push(tokio::spawn(async move {
            let count = |done: &BTreeMap<_, Vec<u64>>| done.values().map(Vec::len).sum::<usize>();
            while count(&done.lock().unwrap()) < MESSAGES {
                for delivery in worker.fetch(1).wait(SOON).await.unwrap() {
                    let key = key(&text(&delivery));
                    assert!(busy.lock().unwrap().insert(key), "two of a key at a time");
                    tokio::task::yield_now().await;
                    let offset = delivery.message().unwrap().offset();
                    if offset.is_multiple_of(17) && delivery.count() == 1 {
                        busy.lock().unwrap().remove(&key);
                        delivery.nak(Some(Duration::ZERO)).await.unwrap();
                        continue;
                    }
                    done.lock().unwrap().entry(key).or_default().push(offset);
                    busy.lock().unwrap().remove(&key);
                    delivery.ack().await.unwrap();
                }
            }
        }));
    }
    for worker in workers {
        let ended = tokio::time::timeout(PATIENCE, worker).await;
        ended.expect("all are handled in time").unwrap();
    }
    let done = done.lock().unwrap();
    assert!(done.values().all(|offsets| offsets.is_sorted()));
    assert_eq!(done.values().map(Vec::len).sum::<usize>(), MESSAGES);
}

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

/// How often the node of the next test is killed.
fn kills() -> usize {
    let kills = std::env::var("P2PANDA_KILLS").ok();
    kills.and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_delivery_and_ack_it_loses_nothing_and_repeats_only_what_was_not_acked() {
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
async fn what_kills_its_process_each_time_is_delivered_as_often_as_is_allowed_and_then_dead() {
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
async fn a_nak_that_was_answered_keeps_its_delay_and_its_count_over_a_restart() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_over_a_thousand_topics_sees_all_in_the_order_in_which_they_were_stored() {
    const TOPICS: usize = 1_000;
    let node = temporary(network()).await;
    let topics: Vec<Topic> = (0..TOPICS).map(|_| topic()).collect();
    let mut sent = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        let (tx, _rx) = node.stream(*topic).await.unwrap();
        tx.publish(number.to_string()).await.unwrap();
        sent.push(tx);
    }
    publish(&sent[7], 1_000..1_010).await;
    let opened = node.consumer("all").topics(topics.clone());
    let mut all = opened.acking(Acking::OnNext).open().await.unwrap();
    for number in 0..TOPICS + 10 {
        assert_eq!(text(&next(&mut all).await), number.to_string());
    }
    publish(&sent[999], 5_000..5_001).await;
    let last = next(&mut all).await;
    assert_eq!(
        (text(&last), last.topic()),
        ("5000".to_owned(), topics[999])
    );
    drop(all);
    let opened = node.consumer("all").topics(topics[..2].to_vec());
    let all = opened.open().await.unwrap();
    assert_eq!(all.handle().position().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_agree_with_a_plain_scan_of_the_feed() {
    let (node, topic, _tx) = with_messages(20).await;
    let feed = node.consumer("feed").topics([topic]).open().await.unwrap();
    let feed = feed.handle().peek(topic, 0, 100).await.unwrap();
    let scan = |is_wanted: &dyn Fn(&p2panda::Message) -> bool| -> Vec<String> {
        let wanted = feed.iter().filter(|message| is_wanted(message));
        wanted
            .map(|message| message.text().unwrap().to_owned())
            .collect()
    };
    let read = async |start: ConsumerStart| {
        let mut all = node
            .consumer("start")
            .topics([topic])
            .start(start)
            .open()
            .await
            .unwrap();
        rest_texts(&mut all).await
    };
    let author = node.id();
    let vector = ConsumerStart::StateVector(vec![(author, 11)]);
    assert_eq!(read(vector).await, scan(&|message| message.seq() > 11));
    let offset = feed[5].offset();
    let at = |message: &p2panda::Message| message.offset() >= offset;
    assert_eq!(read(ConsumerStart::Offset(offset)).await, scan(&at));
    assert_eq!(
        read(ConsumerStart::Operation(feed[5].id())).await,
        scan(&at)
    );
    assert_eq!(read(ConsumerStart::Beginning).await, scan(&|_| true));
    assert!(read(ConsumerStart::Now).await.is_empty());
    // The index is sparse: what is older may come, and nothing newer is left out.
    let since = |message: &p2panda::Message| message.timestamp() >= feed[9].timestamp();
    let came = read(ConsumerStart::Time(feed[9].timestamp())).await;
    assert!(scan(&since).iter().all(|text| came.contains(text)));
    let later = Timestamp::from_micros(u64::MAX / 4);
    assert!(read(ConsumerStart::Time(later)).await.len() <= feed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_the_filter_is_settled_in_passing() {
    let (node, topic, _tx) = with_messages(3).await;
    let stranger = p2panda::random_key().unwrap().verifying_key();
    let nobody = ConsumerFilter::default().authors([stranger]);
    let opened = node.consumer("none").topics([topic]).filter(nobody);
    let mut none = opened.open().await.unwrap();
    assert!(rest(&mut none).await.is_empty());
    assert_eq!(none.handle().lag().await.unwrap().messages, 0);
    drop(none);
    let mine = ConsumerFilter::default().authors([node.id()]).bodies();
    let request = || node.consumer("none").filter(mine.clone());
    let error = request().open().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::Conflict("filter"));
    let start = ConsumerStart::Beginning;
    let mut all = request().start(start).open().await.unwrap();
    assert_eq!(rest_texts(&mut all).await, ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reader_at_a_time_has_an_exclusive_consumer_unless_it_takes_over() {
    let (node, topic, _tx) = with_messages(2).await;
    let mut first = node.consumer("app").topics([topic]).open().await.unwrap();
    let held = next(&mut first).await;
    let error = node.consumer("app").open().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::InUse);
    let mut second = node.consumer("app").take_over().open().await.unwrap();
    assert!(first.next().await.is_none());
    let ended = first.ended().unwrap();
    assert!(matches!(*ended, Error::Consumer(ConsumerError::TakenOver)));
    let error = held.ack().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::StaleToken);
    assert_eq!(rest_texts(&mut second).await, ["0", "1"]);
    drop(second);
    // What it held can be delivered at once.
    let mut third = node.consumer("app").open().await.unwrap();
    assert_eq!(rest_texts(&mut third).await, ["0", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_delivers_nothing_and_a_deleted_one_is_gone() {
    let (node, topic, tx) = with_messages(2).await;
    let mut app = node.consumer("app").topics([topic]).open().await.unwrap();
    let held = next(&mut app).await;
    app.handle().pause().await.unwrap();
    tx.publish("later").await.unwrap();
    assert!(rest(&mut app).await.is_empty());
    held.ack().await.unwrap();
    app.handle().resume().await.unwrap();
    assert_eq!(rest_texts(&mut app).await, ["1", "later"]);
    let infos = node.consumers(None).await.unwrap();
    assert_eq!(infos, [app.handle().info()]);
    app.handle().delete().await.unwrap();
    assert!(app.next().await.is_none());
    assert!(node.consumers(None).await.unwrap().is_empty());
    let error = node.consumer("app").handle().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::Unknown);
    let mut anew = node.consumer("app").topics([topic]).open().await.unwrap();
    assert_eq!(rest_texts(&mut anew).await, ["0", "1", "later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_the_next_one_or_acking_a_later_one_settles_what_was_before() {
    let (node, topic, _tx) = with_messages(5).await;
    let opened = node.consumer("next").topics([topic]).acking(Acking::OnNext);
    let mut on_next = opened.open().await.unwrap();
    for _ in 0..3 {
        next(&mut on_next).await;
    }
    drop(on_next);
    let mut on_next = node.consumer("next").open().await.unwrap();
    assert_eq!(text(&next(&mut on_next).await), "2");
    let opened = node
        .consumer("upto")
        .topics([topic])
        .acking(Acking::Cumulative);
    let mut cumulative = opened.open().await.unwrap();
    let batch = cumulative.fetch(4).await.unwrap();
    batch[2].ack().await.unwrap();
    drop(cumulative);
    let mut cumulative = node.consumer("upto").open().await.unwrap();
    assert_eq!(rest_texts(&mut cumulative).await, ["3", "4"]);
    let opened = node.consumer("none").topics([topic]).acking(Acking::None);
    let mut none = opened.open().await.unwrap();
    assert_eq!(rest(&mut none).await.len(), 5);
    drop(none);
    let mut none = node.consumer("none").open().await.unwrap();
    assert!(rest(&mut none).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pruned_before_it_is_settled_is_told_once_and_cannot_be_redriven() {
    let (node, topic, tx) = with_messages(4).await;
    let opened = node.consumer("app").topics([topic]).backoff([SOON]);
    let mut app = opened.open().await.unwrap();
    next(&mut app).await.ack().await.unwrap();
    next(&mut app).await.nak(None).await.unwrap();
    tx.prune(Some("snapshot".into())).await.unwrap();
    let mut seen = Vec::new();
    let told = loop {
        let delivery = next(&mut app).await;
        match delivery.pruned() {
            Some(_) => break delivery,
            None => seen.push(delivery),
        }
    };
    assert!(matches!(told.what(), Delivered::Pruned(_)));
    let pruned = told.pruned().unwrap();
    assert_eq!(
        (pruned.author, pruned.below, pruned.unsettled),
        (node.id(), 4, 3)
    );
    told.ack().await.unwrap();
    let letters = app.handle().dead_letters();
    assert_eq!(letters.redrive_all().await.unwrap(), 0);
    assert_eq!(letters.pruned().await.unwrap()[0].unsettled, 3);
    let mut rest = rest_texts(&mut app).await;
    rest.extend(seen.iter().map(text));
    rest.retain(|text| text == "snapshot");
    assert_eq!(rest.len(), 1);
    drop(app);
    let mut app = node.consumer("app").open().await.unwrap();
    let again = app.fetch(10).wait(SOON * 3).await.unwrap();
    assert!(again.iter().all(|delivery| delivery.pruned().is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_a_typed_error_and_changes_nothing() {
    let (node, topic, tx) = with_messages(3).await;
    let other = crate::nodes::topic();
    let (other_tx, _rx) = node.stream(other).await.unwrap();
    other_tx.publish("elsewhere").await.unwrap();
    let open = |name: &str| node.consumer(name).topics([topic]);
    for name in ["", "topic x", "tab\t", &"n".repeat(10_000)] {
        let error = open(name).open().await.unwrap_err();
        assert_eq!(refused(error), ConsumerError::InvalidName);
    }
    let error = node.consumer("new").open().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::NoTopics);
    let error = node.consumer("new").handle().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::Unknown);
    let time = Timestamp::from_micros;
    let never = ConsumerFilter::default().from(time(7)).until(time(7));
    for filter in [ConsumerFilter::default().authors([]), never] {
        let error = open("new").filter(filter).open().await.unwrap_err();
        assert_eq!(refused(error), ConsumerError::InvalidFilter);
    }
    let many = (0..=1_000u32).map(|number| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        p2panda::SigningKey::from_bytes(&seed).verifying_key()
    });
    let many = ConsumerFilter::default().authors(many);
    let error = open("new").filter(many).open().await.unwrap_err();
    assert!(matches!(refused(error), ConsumerError::Limit(_)));
    for request in [
        open("new").deliveries_max(0),
        open("new").in_flight_max(0),
        open("new").ack_wait(Duration::ZERO),
        open("new").backoff([LATE * 24 * 30]),
    ] {
        let error = refused(request.open().await.unwrap_err());
        assert!(matches!(error, ConsumerError::Invalid(_)), "{error:?}");
    }
    let start = ConsumerStart::Offset(u64::MAX);
    let error = open("new").start(start.clone()).open().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::UnknownOffset);
    assert!(node.consumers(None).await.unwrap().is_empty());

    let mut one = open("one").open().await.unwrap();
    let mut two = open("two").open().await.unwrap();
    let (first, foreign) = (next(&mut one).await, next(&mut two).await);
    let before = one.handle().info();
    let handle = one.handle().clone();
    let error = handle.ack(foreign.token().unwrap()).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::ForeignToken);
    let unknown = ConsumerStart::Operation(p2panda::Hash::digest(b"nothing"));
    for (start, expected) in [
        (start, ConsumerError::UnknownOffset),
        (unknown, ConsumerError::UnknownOperation),
    ] {
        assert_eq!(refused(handle.seek(start).await.unwrap_err()), expected);
    }
    let offset = handle.peek(other, 0, 1).await.unwrap()[0].offset();
    let error = handle.ack_at(topic, offset).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::UnknownOffset);
    let error = handle.ack_at(other, offset).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::UnknownTopic);
    let last = handle.peek(topic, 0, 10).await.unwrap()[2].offset();
    let error = handle.ack_at(topic, last).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::NotDelivered);
    let error = first.term(&"r".repeat(513)).await.unwrap_err();
    assert!(matches!(refused(error), ConsumerError::Limit(_)));
    let error = one.fetch(0).await.unwrap_err();
    assert!(matches!(refused(error), ConsumerError::Limit(_)));
    assert_eq!(one.handle().info(), before);

    // An offset that was there and is not any more.
    let stale = handle.peek(topic, 0, 1).await.unwrap()[0].offset();
    one.handle().seek(ConsumerStart::Now).await.unwrap();
    tx.prune(Some("kept".into())).await.unwrap();
    let error = handle.ack_at(topic, stale).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::UnknownOffset);
    let error = first.ack().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::StaleToken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_worked_on_does_not_come_again_and_one_that_is_not_does() {
    let (node, topic, _tx) = with_messages(1).await;
    let opened = node.consumer("app").topics([topic]).ack_wait(SOON * 5);
    let mut app = opened.open().await.unwrap();
    let held = next(&mut app).await;
    let start = std::time::Instant::now();
    while start.elapsed() < SOON * 10 {
        held.progress().unwrap();
        assert!(app.fetch(1).wait(SOON).await.unwrap().is_empty());
    }
    let again = next(&mut app).await;
    assert_eq!(again.count(), 2);
    // A late ack of the earlier delivery settles it.
    assert_eq!(held.ack().await.unwrap(), Settled::Done);
    assert_eq!(again.ack().await.unwrap(), Settled::Already);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_hears_of_what_is_published_and_of_nothing_else() {
    let (node, topic, tx) = with_messages(0).await;
    let mut app = node.consumer("app").topics([topic]).open().await.unwrap();
    let publish = async { tx.publish("new").await.unwrap() };
    let (came, _) = tokio::join!(next(&mut app), publish);
    assert_eq!(text(&came), "new");
    came.ack().await.unwrap();
    until("it stands at the end", || async {
        app.handle().lag().await.unwrap().messages == 0
    })
    .await;
    node.shutdown().await.unwrap();
    assert!(app.next().await.is_none());
    assert!(matches!(*app.ended().unwrap(), Error::Closed));
}
