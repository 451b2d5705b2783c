//! Own keys of spaces, between real nodes (`docs/protocol/spaces.md#20`).

use p2panda::{Error, Role, SpaceError};

use crate::nodes::{PATIENCE, at, introduce, network, temporary, topic, until};
use crate::spaces::{has_members, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_finds_no_node_id_of_an_own_key() {
    let network = network();
    let [a, courier, b] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    // Only the courier knows both.
    introduce(&a, &courier);
    introduce(&b, &courier);
    let spaces = a.spaces().with_own_key();
    let space = spaces.create("Berlin crew").await.unwrap();
    let topic = space.topic();
    courier.topic(topic).keep(true).await.unwrap();
    space.publish("before").await.unwrap();
    let invite = space.invite(Role::Editor).await.unwrap();
    let spaces = b.spaces().with_own_key();
    let joining = spaces.join(&invite.ticket).await.unwrap();
    has_members(&joining, 2).await;
    let (tx, mut rx) = joining.stream().await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "before");
    let receipt = tx.publish("after").await.unwrap();
    let (_tx, mut rx) = space.stream().await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "before");
    let message = said(&mut rx).await;
    assert_eq!(message.text().unwrap(), "after");
    assert_eq!(message.author(), joining.author());

    let authors = [space.author(), joining.author()];
    let members = space.members().await.unwrap();
    assert!(
        authors
            .iter()
            .all(|key| members.iter().any(|(of, _)| of == key))
    );
    until("the courier has the message", || async {
        courier.trace(receipt.id()).await.unwrap().is_some()
    })
    .await;
    let operations = courier.topic(topic).operations(0).await.unwrap();
    for operation in operations {
        assert!(authors.contains(&operation.author));
        for node in [&a, &b] {
            let id = node.id();
            let has_id = |bytes: &[u8]| bytes.windows(32).any(|part| part == id.as_bytes());
            assert!(!has_id(&operation.header));
            assert!(!operation.body.as_ref().is_some_and(|body| has_id(body)));
        }
    }
    // Nobody is asked, so nobody learns whose key it is.
    receipt.sent().await.unwrap();
    assert!(matches!(receipt.stored(1).await, Err(Error::OwnKey)));
    joining.leave().await.unwrap();
    has_members(&space, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_are_signed_with_the_own_key() {
    let network = network();
    let [a, stranger] = [temporary(network).await, temporary(network).await];
    introduce(&stranger, &a);
    let space = a.spaces().with_own_key().create("").await.unwrap();
    let (_tx, mut overheard) = stranger.ephemeral(space.topic()).await.unwrap();
    let (tx, _rx) = space.ephemeral().await.unwrap();
    // Without a neighbour it is held for the first one.
    tx.publish("is typing").await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, overheard.next()).await;
    let heard = heard.expect("it comes in time").unwrap();
    assert_eq!(heard.author(), space.author());
    assert_ne!(heard.author(), a.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_key_is_there_after_a_restart() {
    let (network, dir) = (network(), tempfile::tempdir().unwrap());
    let node = at(network, dir.path()).await;
    let space = node.spaces().with_own_key().create("").await.unwrap();
    let (carrier, author) = (space.topic(), space.author());
    let first = space.publish("one").await.unwrap();
    // A topic in which the node acts with its node id.
    let plain = topic();
    node.publisher(plain)
        .await
        .unwrap()
        .publish("hi")
        .await
        .unwrap();
    let refused = node.spaces().with_own_key().follow(plain).await;
    assert!(matches!(refused, Err(Error::Space(SpaceError::NodeKey))));
    assert!(!node.spaces().carries(plain).await.unwrap());
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    let space = node.spaces().get(carrier).await.unwrap().unwrap();
    assert_eq!(
        (space.author(), space.author() != node.id()),
        (author, true)
    );
    assert_eq!(space.state().await.unwrap().own_key, Some(author));
    let receipt = space.publish("two").await.unwrap();
    assert_eq!(receipt.seq(), first.seq() + 1);
    let members = space.members().await.unwrap();
    assert_eq!(members, [(author, Role::Owner)]);
}
