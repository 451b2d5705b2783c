//! Handles for ephemeral messages that were opened before their topic carried a space.

use std::sync::{Arc, Mutex};

use p2panda::{EphemeralSubscription, Error, Node, Role, Settings, Space, Topic};

use crate::nodes::{introduce, network, temporary, topic, until};
use crate::spaces::has_members;

/// Bodies that a subscription has shown.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Vec<u8>>>>);

fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}

impl Heard {
    fn of(mut rx: EphemeralSubscription) -> Self {
        let heard = Heard::default();
        let into = heard.clone();
        tokio::spawn(async move {
            while let Some(message) = rx.next().await {
                into.0.lock().unwrap().push(message.raw().to_vec());
            }
        });
        heard
    }

    fn any(&self, is_one: impl Fn(&[u8]) -> bool) -> bool {
        let heard = self.0.lock().unwrap();
        heard.iter().any(|body| is_one(body))
    }

    fn all(&self, is_one: impl Fn(&[u8]) -> bool) -> bool {
        !self.any(|body| !is_one(body))
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// The topic becomes a space of two.
async fn become_space(topic: Topic, owner: &Node, member: &Node) -> [Space; 2] {
    let settings = Settings::with_history();
    let space = owner.spaces().create_in(topic, "", settings).await.unwrap();
    let joining = member.spaces().follow(topic).await.unwrap();
    space.add(member.id(), Role::Editor).await.unwrap();
    for space in [&space, &joining] {
        has_members(space, 2).await;
    }
    [space, joining]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_opened_before_the_space_sends_nothing_in_clear() {
    let (network, topic) = (network(), topic());
    let [a, b, stranger] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    introduce(&b, &a);
    introduce(&stranger, &a);
    let (tx, _rx) = a.ephemeral(topic).await.unwrap();
    let (_tx_b, rx) = b.ephemeral(topic).await.unwrap();
    let member = Heard::of(rx);
    let (_tx_stranger, rx) = stranger.ephemeral(topic).await.unwrap();
    let overheard = Heard::of(rx);
    until("all read what is plain", || async {
        tx.publish("in clear").await.unwrap();
        let is_plain = |body: &[u8]| has(body, "in clear");
        member.any(is_plain) && overheard.any(is_plain)
    })
    .await;
    become_space(topic, &a, &b).await;
    member.forget();
    overheard.forget();
    until(
        "a member reads, the other node sees sealed bytes",
        || async {
            tx.publish("is typing").await.unwrap();
            member.any(|body| has(body, "is typing"))
                && overheard.any(|body| !has(body, "in clear"))
        },
    )
    .await;
    assert!(member.all(|body| has(body, "is typing")));
    assert!(!overheard.any(|body| has(body, "typing")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_opened_before_shows_only_what_members_seal() {
    let (network, topic) = (network(), topic());
    let [a, b, stranger] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    introduce(&b, &a);
    introduce(&stranger, &b);
    let (tx, _rx) = a.ephemeral(topic).await.unwrap();
    let (_tx_b, mut unread) = b.ephemeral(topic).await.unwrap();
    let (_tx_b, rx) = b.ephemeral(topic).await.unwrap();
    let read = Heard::of(rx);
    let (tx_stranger, _rx) = stranger.ephemeral(topic).await.unwrap();
    // It waits in front of the other handle as well.
    until("the plain message comes", || async {
        tx_stranger.publish("from outside").await.unwrap();
        read.any(|body| has(body, "from outside"))
    })
    .await;
    become_space(topic, &a, &b).await;
    read.forget();
    until("a member is heard", || async {
        tx_stranger.publish("from outside").await.unwrap();
        tx.publish("from a member").await.unwrap();
        read.any(|body| has(body, "from a member"))
    })
    .await;
    assert!(read.all(|body| has(body, "from a member")));
    let first = tokio::time::timeout(crate::nodes::PATIENCE, unread.next()).await;
    let first = first.expect("it comes in time").unwrap();
    assert_eq!(first.author(), a.id());
    assert_eq!(first.text().unwrap(), "from a member");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_does_not_go_into_a_space_in_clear() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.ephemeral(topic).await.unwrap();
    let (_tx, rx) = b.ephemeral(topic).await.unwrap();
    let overheard = Heard::of(rx);
    // There is no neighbour yet.
    tx.publish("in clear").await.unwrap();
    let settings = Settings::with_history();
    a.spaces().create_in(topic, "", settings).await.unwrap();
    tx.publish("is typing").await.unwrap();
    introduce(&b, &a);
    until("something sealed comes", || async {
        tx.publish("is typing").await.unwrap();
        overheard.any(|body| !has(body, "in clear"))
    })
    .await;
    assert!(!overheard.any(|body| has(body, "in clear") || has(body, "typing")));
}

#[tokio::test]
async fn a_message_that_cannot_be_sealed_is_an_error() {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.ephemeral(topic).await.unwrap();
    tx.publish("in clear").await.unwrap();
    // It is no member.
    node.spaces().follow(topic).await.unwrap();
    let refused = tx.publish("is typing").await.unwrap_err();
    assert!(matches!(refused, Error::Space(_)), "{refused}");
}

#[tokio::test]
async fn a_refused_space_leaves_its_topic_plain() {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.ephemeral(topic).await.unwrap();
    let settings = Settings::with_history().with_suite(200);
    let refused = node.spaces().create_in(topic, "", settings).await;
    assert!(refused.is_err());
    assert!(!node.spaces().carries(topic).await.unwrap());
    tx.publish("in clear").await.unwrap();
    let settings = Settings::with_history();
    let spaces = node.spaces();
    let topics = [crate::nodes::topic(), topic];
    let carries = spaces.until_one_carries(&topics);
    let made = spaces.create_in(topic, "", settings);
    let (carries, made) = tokio::join!(carries, made);
    carries.unwrap();
    made.unwrap();
    assert!(node.spaces().carries(topic).await.unwrap());
}
