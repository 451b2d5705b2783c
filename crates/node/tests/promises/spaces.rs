//! Encrypted spaces: members read, and nobody else does.

use p2panda::{Hash, Message, Node, Raw, Role, Space, Subscription, TraceProgress, TraceState};

use crate::nodes::{at, introduce, network, next, temporary, until};

/// The next message with content.
pub async fn said(rx: &mut Subscription<Raw>) -> Message<Raw> {
    loop {
        let message = next(rx).await;
        if message.change().is_none() {
            return message;
        }
    }
}

pub async fn has_members(space: &Space, count: usize) {
    until("all have what they need", || async {
        let look = space.look().await.unwrap();
        look.is_some_and(|look| look.is_healed && look.members.len() == count)
    })
    .await;
}

/// A message has come to a node that cannot open it: it waits for what was said under a secret that the node
/// lacks, or lacks only its own. Which of both depends on what members said at the same time.
pub async fn cannot_open(node: &Node, id: Hash) {
    until("what is sealed has come", || async {
        let trace = node.trace(id).await.unwrap();
        let state = trace.map(|trace| trace.state);
        matches!(
            state,
            Some(TraceState::Stored(
                TraceProgress::Waiting { .. }
                    | TraceProgress::Ordered
                    | TraceProgress::Sealed { .. }
            ))
        )
    })
    .await;
}

/// A node knows that it is no member any more.
pub async fn is_out(space: &Space, node: &Node) {
    until("it knows that it is out", || async {
        let members = space.members().await.unwrap();
        members.iter().all(|(key, _)| *key != node.id())
    })
    .await;
}

/// A space of the first node with the others as editors.
pub async fn space_of(owner: &Node, others: &[&Node]) -> Vec<Space> {
    let space = owner.spaces().create("Berlin crew").await.unwrap();
    let mut all = vec![space.clone()];
    for other in others {
        introduce(other, owner);
        let joining = other.spaces().follow(space.topic()).await.unwrap();
        space.add(other.id(), Role::Editor).await.unwrap();
        all.push(joining);
    }
    for space in &all {
        has_members(space, 1 + others.len()).await;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn members_find_their_space_again_after_a_restart() {
    let network = network();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = [
        at(network, dirs[0].path()).await,
        at(network, dirs[1].path()).await,
    ];
    let spaces = space_of(&a, &[&b]).await;
    let topic = spaces[0].topic();
    let (tx_a, mut rx_a) = spaces[0].stream().await.unwrap();
    let (tx_b, mut rx_b) = spaces[1].stream().await.unwrap();
    tx_a.publish("from a").await.unwrap();
    assert_eq!(said(&mut rx_b).await.text().unwrap(), "from a");
    tx_b.publish("from b").await.unwrap();
    assert_eq!(said(&mut rx_a).await.text().unwrap(), "from a");
    assert_eq!(said(&mut rx_a).await.text().unwrap(), "from b");
    let members = spaces[0].members().await.unwrap();
    let mut expected = [(a.id(), Role::Owner), (b.id(), Role::Editor)];
    expected.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(members, expected);
    assert_eq!(spaces[1].members().await.unwrap(), expected);
    for node in [a, b] {
        node.shutdown().await.unwrap();
    }

    let [a, b] = [
        at(network, dirs[0].path()).await,
        at(network, dirs[1].path()).await,
    ];
    introduce(&b, &a);
    let spaces = b.spaces().list().await.unwrap();
    assert_eq!(spaces.iter().map(Space::topic).collect::<Vec<_>>(), [topic]);
    let (_tx, mut rx) = spaces[0].stream().await.unwrap();
    let space = a.spaces().get(topic).await.unwrap().unwrap();
    let tx = space.publisher().await.unwrap();
    tx.publish("again").await.unwrap();
    while said(&mut rx).await.text().unwrap() != "again" {}
    assert_eq!(space.members().await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_reads_nothing_written_later() {
    let network = network();
    let [a, b, c] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    introduce(&c, &b);
    let spaces = space_of(&a, &[&b, &c]).await;
    let (_tx, mut rx_b) = spaces[1].stream().await.unwrap();
    let (_tx, mut rx_c) = spaces[2].stream().await.unwrap();
    let tx = spaces[0].publisher().await.unwrap();
    tx.publish("for all").await.unwrap();
    assert_eq!(said(&mut rx_b).await.text().unwrap(), "for all");
    assert_eq!(said(&mut rx_c).await.text().unwrap(), "for all");
    spaces[0].remove(c.id()).await.unwrap();
    let receipt = tx.publish("for two").await.unwrap();
    assert_eq!(said(&mut rx_b).await.text().unwrap(), "for two");
    cannot_open(&c, receipt.id()).await;
    is_out(&spaces[2], &c).await;
    let error = spaces[2].publisher().await.unwrap().publish("me too").await;
    assert!(error.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_keys_forwards_byte_for_byte_and_shows_nothing() {
    let network = network();
    let [a, courier, b] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    // Only the courier knows both.
    introduce(&a, &courier);
    introduce(&b, &courier);
    let space = a.spaces().create("Berlin crew").await.unwrap();
    let topic = space.topic();
    courier.topic(topic).keep(true).await.unwrap();
    let joining = b.spaces().follow(topic).await.unwrap();
    space.add(b.id(), Role::Reader).await.unwrap();
    has_members(&joining, 2).await;
    let (_tx, mut rx) = joining.stream().await.unwrap();
    let tx = space.publisher().await.unwrap();
    let receipt = tx.publish("a secret that nobody else reads").await.unwrap();
    let message = said(&mut rx).await;
    assert_eq!(message.text().unwrap(), "a secret that nobody else reads");
    assert_eq!(message.id(), receipt.id());
    // A reader reads, and does not write.
    let error = joining.publisher().await.unwrap().publish("no").await;
    assert!(error.is_err());
    // Nor does the courier: what it publishes in the topic is kept by all, and shown to no member.
    let publisher = courier.publisher(topic).await.unwrap();
    let in_clear = publisher.publish("in clear").await.unwrap();
    for node in [&a, &b] {
        until("what is in clear has come", || async {
            node.trace(in_clear.id()).await.unwrap().is_some()
        })
        .await;
    }
    tx.publish("for members again").await.unwrap();
    let message = said(&mut rx).await;
    assert_eq!(message.text().unwrap(), "for members again");
    let mut bytes = Vec::new();
    for node in [&a, &courier, &b] {
        let operations = node.topic(topic).operations(0).await.unwrap();
        let mut bodies: Vec<_> = operations
            .into_iter()
            .map(|operation| (operation.author, operation.header, operation.body))
            .collect();
        bodies.sort_unstable();
        bytes.push(bodies);
    }
    assert_eq!(bytes[0], bytes[1]);
    assert_eq!(bytes[1], bytes[2]);
    let all = bytes[1].iter().filter_map(|(_, _, body)| body.as_ref());
    let needle = b"a secret that nobody else reads";
    for body in all {
        assert!(!body.windows(needle.len()).any(|window| window == needle));
    }
}
