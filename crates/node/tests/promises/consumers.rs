//! Named durable consumers (`docs/protocol/consumers.md`).

use std::time::Duration;

use p2panda::{
    Acking, Consumer, ConsumerError, ConsumerFilter, ConsumerStart, Delivery, Error, Event, Node,
    Publisher, Settled, StartAt, Timestamp, Topic,
};

use crate::nodes::{self, PATIENCE, network, temporary, topic, until};

pub const SOON: Duration = Duration::from_millis(100);
pub const LATE: Duration = Duration::from_secs(60 * 60);

pub async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
    let delivery = delivery.expect("a message in time");
    delivery.unwrap_or_else(|| panic!("it goes on: {:?}", consumer.ended()))
}

pub fn text(delivery: &Delivery) -> String {
    delivery.text().unwrap().to_owned()
}

/// All that can be delivered by now, without settling it.
pub async fn rest(consumer: &mut Consumer) -> Vec<Delivery> {
    let batch = consumer.fetch(10_000).wait(Duration::ZERO);
    batch.await.unwrap()
}

pub async fn rest_texts(consumer: &mut Consumer) -> Vec<String> {
    rest(consumer).await.iter().map(text).collect()
}

/// Publishes numbers, many at a time if they are many; then they are in the log in any order.
pub async fn publish(tx: &Publisher, numbers: std::ops::Range<usize>) {
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

pub async fn with_messages(count: usize) -> (Node, Topic, Publisher) {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for number in 0..count {
        tx.publish(number.to_string()).await.unwrap();
    }
    (node, topic, tx)
}

/// The name of the next consumer that is deleted because nobody has opened it.
pub async fn inactive(events: &mut p2panda::Events) -> String {
    let told = async {
        loop {
            if let Event::ConsumerInactive { name } = events.next().await.unwrap() {
                return name;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap()
}

pub fn refused(error: Error) -> ConsumerError {
    match error {
        Error::Consumer(error) => error,
        other => panic!("another error: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seeking_one_consumer_does_not_move_another() {
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
async fn a_consumer_unopened_for_its_threshold_is_gone() {
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
async fn the_status_says_how_long_the_oldest_message_waits() {
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
    assert_eq!((found[0].unsettled, found[1].unsettled), (0, 2));
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
async fn a_consumer_of_a_thousand_topics_sees_stored_order() {
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
