//! Spaces with a key for each message, between real nodes (`docs/protocol/spaces-message.md`).

use p2panda::{
    Node, Passphrase, RecoveryFile, Role, Scheme, Settings, Space, StartAt, Subscription,
};

use crate::nodes::{at, introduce, network, temporary, topic, until};
use crate::spaces::{has_members, said};

async fn create(owner: &Node) -> Space {
    let settings = Settings::with_a_key_per_message();
    let spaces = owner.spaces();
    let space = spaces.create_in(topic(), "Berlin crew", settings).await;
    space.unwrap()
}

/// The next messages, in the order of their texts: those of several authors are concurrent.
async fn texts_of(rx: &mut Subscription, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(said(rx).await.text().unwrap().to_owned());
    }
    texts.sort();
    texts
}

/// Returns the content that the feed of a node shows, sorted.
async fn shown(node: &Node, space: &Space) -> Vec<String> {
    let feed = node.topic(space.topic());
    let feed = feed.messages(0, 512, usize::MAX).await.unwrap();
    let content = feed.iter().filter(|message| message.change().is_none());
    let mut texts: Vec<_> = content
        .map(|message| message.text().unwrap().to_owned())
        .collect();
    texts.sort();
    texts
}

/// All nodes have the same operations, in any order.
async fn have_the_same(nodes: &[&Node], space: &Space) {
    until("all have the same", || async {
        let mut all = Vec::new();
        for node in nodes {
            let operations = node.topic(space.topic()).operations(0).await.unwrap();
            let mut headers: Vec<_> = operations.into_iter().map(|one| one.header).collect();
            headers.sort_unstable();
            all.push(headers);
        }
        all.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_with_a_key_per_message() {
    let network = network();
    let [a, b, c] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    introduce(&b, &a);
    introduce(&c, &b);
    let space = create(&a).await;
    space.publish("before anybody came").await.unwrap();
    // One is added, and another one comes by an invite.
    let of_b = b.spaces().follow(space.topic()).await.unwrap();
    space.add(b.id(), Role::Editor).await.unwrap();
    has_members(&of_b, 2).await;
    let (tx_b, mut rx_b) = of_b.stream().await.unwrap();
    tx_b.publish("before the invite").await.unwrap();
    let (tx_a, mut rx_a) = space.stream().await.unwrap();
    let before = ["before anybody came", "before the invite"];
    assert_eq!(texts_of(&mut rx_a, 2).await, before);
    assert_eq!(texts_of(&mut rx_b, 1).await, before[1..]);
    let invite = space.invite(Role::Editor).await.unwrap();
    let of_c = c.spaces().join(&invite.ticket).await.unwrap();
    for space in [&space, &of_b, &of_c] {
        has_members(space, 3).await;
        assert_eq!(space.state().await.unwrap().scheme, Some(Scheme::Message));
    }
    // Newcomers read what is written from then on, and all read each other.
    let (tx_c, mut rx_c) = of_c.stream().await.unwrap();
    for (tx, text) in [(&tx_a, "from a"), (&tx_b, "from b"), (&tx_c, "from c")] {
        tx.publish(text).await.unwrap();
    }
    for rx in [&mut rx_a, &mut rx_b, &mut rx_c] {
        assert_eq!(texts_of(rx, 3).await, ["from a", "from b", "from c"]);
    }

    space.remove(c.id()).await.unwrap();
    tx_a.publish("for two").await.unwrap();
    assert_eq!(texts_of(&mut rx_b, 1).await, ["for two"]);
    has_members(&of_b, 2).await;
    tx_b.publish("also for two").await.unwrap();
    assert_eq!(texts_of(&mut rx_a, 2).await, ["also for two", "for two"]);
    // The one that is out has it all, reads nothing of it, and writes nothing.
    have_the_same(&[&a, &b, &c], &space).await;
    assert!(tx_c.publish("me too").await.is_err());
    assert_eq!(shown(&c, &space).await, ["from a", "from b", "from c"]);
}

/// Checks that what was opened once is read again from what is kept; the operations stay sealed.
#[tokio::test(flavor = "multi_thread")]
async fn kept_plaintext_is_read_again_after_a_restart() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (temporary(network).await, at(network, dir.path()).await);
    introduce(&b, &a);
    let space = create(&a).await;
    let of_b = b.spaces().follow(space.topic()).await.unwrap();
    space.add(b.id(), Role::Editor).await.unwrap();
    has_members(&of_b, 2).await;
    let (tx, mut rx) = of_b.stream().await.unwrap();
    space.publish("a text of today by a").await.unwrap();
    assert_eq!(texts_of(&mut rx, 1).await, ["a text of today by a"]);
    tx.publish("a text of today by b").await.unwrap();
    let both = ["a text of today by a", "a text of today by b"];
    assert_eq!(texts_of(&mut rx, 1).await, both[1..]);
    drop((tx, rx));
    b.shutdown().await.unwrap();

    let b = at(network, dir.path()).await;
    introduce(&b, &a);
    let of_b = b.spaces().get(space.topic()).await.unwrap().unwrap();
    assert_eq!(shown(&b, &space).await, both);
    let (tx, mut rx) = of_b.stream().start(StartAt::Now).await.unwrap();
    tx.publish("after a restart").await.unwrap();
    space.publish("for the restarted").await.unwrap();
    let later = ["after a restart", "for the restarted"];
    assert_eq!(texts_of(&mut rx, 2).await, later);
    have_the_same(&[&a, &b], &space).await;
    let mut all = [both, later].concat();
    all.sort_unstable();
    assert_eq!(shown(&b, &space).await, all);
    for operation in b.topic(space.topic()).operations(0).await.unwrap() {
        let body = operation.body.unwrap_or_default();
        for text in &all {
            let mut parts = body.windows(text.len());
            assert!(!parts.any(|part| part == text.as_bytes()));
        }
    }
}

/// A recovery file brings a person back into the space, and opens nothing that was written before.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_device_reads_from_its_return_on() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("person.recovery");
    let passphrase = Passphrase::new("correct horse").unwrap();
    let [lost, friend, new] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    introduce(&friend, &lost);
    let space = create(&lost).await;
    let of_friend = friend.spaces().follow(space.topic()).await.unwrap();
    space.add(friend.id(), Role::Editor).await.unwrap();
    has_members(&of_friend, 2).await;
    let (tx, mut rx) = of_friend.stream().await.unwrap();
    space.publish("before the file").await.unwrap();
    lost.recovery().export(&file, &passphrase).await.unwrap();
    space.publish("after the file").await.unwrap();
    assert_eq!(
        texts_of(&mut rx, 2).await,
        ["after the file", "before the file"]
    );
    have_the_same(&[&lost, &friend], &space).await;
    lost.shutdown().await.unwrap();

    introduce(&new, &friend);
    let opened = RecoveryFile::open(&file, &passphrase).unwrap();
    new.recovery().restore(opened).await.unwrap();
    let of_new = new.spaces().get(space.topic()).await.unwrap().unwrap();
    until("it is what it was", || async {
        of_new.state().await.unwrap().role == Some(Role::Owner)
    })
    .await;
    until("members have healed for it", || async {
        let look = of_friend.look().await.unwrap().unwrap();
        look.is_healed && look.members.iter().any(|(key, _)| *key == new.id())
    })
    .await;
    let (tx_new, mut rx_new) = of_new.stream().await.unwrap();
    tx_new.publish("I am back").await.unwrap();
    assert_eq!(texts_of(&mut rx, 1).await, ["I am back"]);
    tx.publish("welcome back").await.unwrap();
    assert_eq!(
        texts_of(&mut rx_new, 2).await,
        ["I am back", "welcome back"]
    );
    assert_eq!(shown(&new, &space).await, ["I am back", "welcome back"]);
    let sealed = new.topic(space.topic()).status().await.unwrap().sealed;
    assert_eq!(sealed, 0, "nothing waits that cannot come");
}
