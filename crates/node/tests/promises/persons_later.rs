//! Spaces that a person joins later: all its devices follow (`docs/protocol/spaces.md#18`).

use std::path::Path;

use p2panda::{Error, Event, Node, Role, Space, SpaceError, Topic};

use crate::nodes::{at, introduce, network, temporary, until};
use crate::persons::{has_followed, link};
use crate::spaces::{has_members, said};

async fn follows(node: &Node, topic: Topic) -> Space {
    until("it is told of the space", || async {
        node.spaces().get(topic).await.unwrap().is_some()
    })
    .await;
    node.spaces().get(topic).await.unwrap().unwrap()
}

/// Returns the topic in which the devices tell each other of spaces.
async fn of_devices(node: &Node) -> Topic {
    node.person().look().await.unwrap().of_devices.unwrap()
}

async fn has_sent(node: &Node, topic: Topic) {
    until("others have it", || async {
        node.unsent_in(topic).await.unwrap() == 0
    })
    .await;
}

/// Counts how often bytes occur in the files of a directory.
pub fn occurrences(dir: &Path, bytes: &[u8]) -> usize {
    let files = std::fs::read_dir(dir).unwrap();
    let count = |path: &Path| {
        let content = std::fs::read(path).unwrap();
        content
            .windows(bytes.len())
            .filter(|window| *window == bytes)
            .count()
    };
    files
        .map(|file| {
            let path = file.unwrap().path();
            match path.is_dir() {
                true => occurrences(&path, bytes),
                false => count(&path),
            }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_never_meet_are_told_by_a_third_node() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let [a, third] = [temporary(network).await, temporary(network).await];
    let a2 = at(network, dir.path()).await;
    link(&a, &a2).await;
    has_followed(&a).await;
    let devices = of_devices(&a).await;
    assert_eq!(of_devices(&a2).await, devices);
    has_sent(&a, devices).await;
    a2.shutdown().await.unwrap();
    // A node without keys keeps and hands on.
    introduce(&third, &a);
    third.topic(devices).keep(true).await.unwrap();
    let later = a.spaces().create("later").await.unwrap();
    third.topic(later.topic()).keep(true).await.unwrap();
    later.publish("from the first").await.unwrap();
    for topic in [devices, later.topic()] {
        has_sent(&a, topic).await;
    }
    a.shutdown().await.unwrap();
    let a2 = at(network, dir.path()).await;
    introduce(&a2, &third);
    let there = follows(&a2, later.topic()).await;
    until("it owns the space", || async {
        there.state().await.unwrap().role == Some(Role::Owner)
    })
    .await;
    let (_tx, mut rx) = there.stream().await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "from the first");
    // What the devices tell each other is no space of the application.
    let all = a2.spaces().list().await.unwrap();
    let all: Vec<Topic> = all.iter().map(Space::topic).collect();
    assert_eq!(all, [later.topic()]);
    assert!(a2.spaces().carries(devices).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_one_device_joins_is_followed_by_the_others() {
    let network = network();
    let [owner, a, a2] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    link(&a, &a2).await;
    has_followed(&a).await;
    introduce(&a, &owner);
    introduce(&a2, &owner);
    let space = owner.spaces().create("Berlin crew").await.unwrap();
    a.spaces().follow(space.topic()).await.unwrap();
    space.add(a.id(), Role::Editor).await.unwrap();
    let second = follows(&a2, space.topic()).await;
    // The owner admits the person.
    has_members(&second, 3).await;
    second.publish("from the second").await.unwrap();
    let (_tx, mut rx) = space.stream().await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "from the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_hears_of_no_later_space() {
    let network = network();
    let (dir, dir2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [a, a2] = [
        at(network, dir.path()).await,
        at(network, dir2.path()).await,
    ];
    let before = a.spaces().create("before").await.unwrap();
    link(&a, &a2).await;
    has_followed(&a).await;
    follows(&a2, before.topic()).await;
    let devices = of_devices(&a).await;
    a.person().revoke_device(a2.id()).await.unwrap();
    has_followed(&a).await;
    let later = a.spaces().create("later").await.unwrap();
    // The lost device is the only one that takes what is said.
    has_sent(&a, devices).await;
    assert!(a2.spaces().get(later.topic()).await.unwrap().is_none());
    for node in [&a, &a2] {
        node.shutdown().await.unwrap();
    }
    let named = |dir: &Path, topic: Topic| occurrences(dir, topic.as_bytes());
    assert!(
        named(dir.path(), later.topic()) > 0,
        "topics are in the files of a node"
    );
    assert!(named(dir2.path(), before.topic()) > 0);
    assert_eq!(named(dir2.path(), later.topic()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_space_of_the_devices_is_left_alone() {
    let network = network();
    let [a, a2] = [temporary(network).await, temporary(network).await];
    let mut events = a.events();
    link(&a, &a2).await;
    has_followed(&a).await;
    let devices = of_devices(&a).await;
    let space = a.spaces().get(devices).await.unwrap().unwrap();
    let other = p2panda::SigningKey::from_bytes(&[3; 32]).verifying_key();
    let refused = [
        space.add(other, Role::Owner).await.unwrap_err(),
        space.remove(a2.id()).await.unwrap_err(),
        space.rename("mine").await.unwrap_err(),
        space.leave().await.unwrap_err(),
        space.invite(Role::Owner).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::Space(SpaceError::DeviceSpace)));
    }
    space.rotate().await.unwrap();
    a.spaces().create("other").await.unwrap();
    // Events are in order: those of a space that is made later are the first.
    while let Some(event) = events.next().await {
        if let Event::Space { topic, .. } = event {
            assert_ne!(topic, devices);
            break;
        }
    }
}
