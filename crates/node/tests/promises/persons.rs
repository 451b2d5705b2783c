//! Several devices that are one member of spaces.

use p2panda::{Event, Node, Pending, Role, Space, SpaceNews};

use crate::nodes::{introduce, network, temporary, until};
use crate::spaces::{cannot_open, has_members, is_out, said, space_of};

/// The second node becomes a device of the person of the first.
pub async fn link(old: &Node, new: &Node) {
    introduce(new, old);
    let bundle = new.person().bundle().await.unwrap();
    old.person().add_device(new.id(), &bundle).await.unwrap();
    let card = old.person().card().await.unwrap();
    new.person().take_card(&card).await.unwrap();
}

async fn the_same(node: &Node, space: &Space) -> Space {
    let space = node.spaces().get(space.topic()).await.unwrap();
    space.expect("it is told of the space")
}

pub async fn has_followed(node: &Node) {
    until("all spaces have followed", || async {
        node.person().pending().await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_read_the_same_and_a_revoked_one_nothing_later() {
    let network = network();
    let [a, b, b2] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let spaces = space_of(&a, &[&b]).await;
    let tx = spaces[0].publisher().await.unwrap();
    tx.publish("before").await.unwrap();
    introduce(&b2, &a);
    link(&b, &b2).await;
    let person = b.person().id().await.unwrap();
    assert_eq!(b2.person().id().await.unwrap(), person);
    let second = the_same(&b2, &spaces[0]).await;
    // An owner admits the person.
    has_members(&second, 3).await;
    has_followed(&b).await;
    let mut devices = [(b.id(), Role::Editor), (b2.id(), Role::Editor)];
    devices.sort_unstable_by_key(|(key, _)| *key);
    until("the second has said whose it is", || async {
        let look = spaces[0].look().await.unwrap().unwrap();
        let both = look.persons.iter().find(|one| one.person == person);
        both.is_some_and(|both| both.devices == devices)
    })
    .await;
    let (_tx, mut rx) = spaces[1].stream().await.unwrap();
    let (tx2, mut rx2) = second.stream().await.unwrap();
    tx2.publish("from the second").await.unwrap();
    for text in ["before", "from the second"] {
        let (one, two) = (said(&mut rx).await, said(&mut rx2).await);
        assert_eq!((one.text().unwrap(), two.text().unwrap()), (text, text));
    }
    b.person().revoke_device(b2.id()).await.unwrap();
    has_followed(&b).await;
    has_members(&spaces[0], 2).await;
    let receipt = tx.publish("after it was lost").await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "after it was lost");
    cannot_open(&b2, receipt.id()).await;
    is_out(&second, &b2).await;
    let refused = second.publisher().await.unwrap().publish("still me").await;
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_device_of_an_owner_owns_also_spaces_made_later() {
    let network = network();
    let [a, a2, b] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let mut events = a.events();
    let first = a.spaces().create("before").await.unwrap();
    link(&a, &a2).await;
    has_followed(&a).await;
    let linked = async {
        while let Some(event) = events.next().await {
            if let Event::Space { news, .. } = event
                && let SpaceNews::Linked { device } = news
            {
                return device;
            }
        }
        panic!("the events end");
    };
    assert_eq!(linked.await, a2.id());
    let later = a.spaces().create("later").await.unwrap();
    until("it is told of this one too", || async {
        a2.spaces().get(later.topic()).await.unwrap().is_some()
    })
    .await;
    for space in [&first, &later] {
        let space = the_same(&a2, space).await;
        has_members(&space, 2).await;
        until("it owns the space", || async {
            space.state().await.unwrap().role == Some(Role::Owner)
        })
        .await;
        introduce(&b, &a2);
        b.spaces().follow(space.topic()).await.unwrap();
        space.add(b.id(), Role::Reader).await.unwrap();
        has_members(&the_same(&b, &space).await, 3).await;
    }
    // The first is the lost one.
    a2.person().revoke_device(a.id()).await.unwrap();
    has_followed(&a2).await;
    for space in [&first, &later] {
        has_members(&the_same(&b, space).await, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_space_has_not_heard_is_shown_until_it_has() {
    let network = network();
    let [a, b, b2] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let spaces = space_of(&a, &[&b]).await;
    a.shutdown().await.unwrap();
    link(&b, &b2).await;
    // The owner that could admit the person is gone.
    let pending = b.person().pending().await.unwrap();
    assert!(pending.contains(&(spaces[1].topic(), Pending::Introduce)));
    let look = spaces[1].look().await.unwrap().unwrap();
    assert_eq!(look.pending, [Pending::Introduce]);
    assert!(look.persons.iter().all(|person| person.person.is_none()));
}
