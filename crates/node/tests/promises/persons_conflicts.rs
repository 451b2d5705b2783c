//! Devices that are linked and revoked where others do not see it (`docs/protocol/spaces.md#18`).

use std::path::Path;

use p2panda::{Hash, NetworkId, Node, Space, TraceProgress, TraceState, VerifyingKey};
use tempfile::TempDir;

use crate::nodes::{at, introduce, network, temporary, until};
use crate::persons::{has_followed, link};
use crate::persons_later::occurrences;
use crate::spaces::{has_members, said, space_of};

/// An owner, its space, and directories of the devices of another person, which are linked and shut down.
struct World {
    network: NetworkId,
    owner: Node,
    space: Space,
    dirs: Vec<TempDir>,
    ids: Vec<VerifyingKey>,
}

impl World {
    async fn of_devices(count: usize) -> World {
        let network = network();
        let owner = temporary(network).await;
        let dirs: Vec<TempDir> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut devices = Vec::new();
        for dir in &dirs {
            devices.push(at(network, dir.path()).await);
        }
        let spaces = space_of(&owner, &[&devices[0]]).await;
        for device in &devices[1..] {
            introduce(device, &owner);
            link(&devices[0], device).await;
        }
        let space = spaces[0].clone();
        has_members(&space, 1 + count).await;
        for device in &devices {
            let of_device = device.spaces().get(space.topic()).await.unwrap().unwrap();
            has_members(&of_device, 1 + count).await;
        }
        has_followed(&devices[0]).await;
        until("each device has said whose it is", || async {
            let look = space.look().await.unwrap();
            look.is_some_and(|look| look.persons.iter().any(|one| one.devices.len() == count))
        })
        .await;
        let ids = devices.iter().map(Node::id).collect();
        for device in devices {
            device.shutdown().await.unwrap();
        }
        World {
            network,
            owner,
            space,
            dirs,
            ids,
        }
    }

    /// A device alone: in another network, so that it meets nobody whose address it knows.
    async fn alone(&self, device: usize) -> Node {
        at(network(), self.dirs[device].path()).await
    }

    /// A device alone revokes another one.
    async fn revokes(&self, device: usize, other: usize) {
        let node = self.alone(device).await;
        node.person().revoke_device(self.ids[other]).await.unwrap();
        node.shutdown().await.unwrap();
    }

    async fn all(&self) -> Vec<Node> {
        let mut all = Vec::new();
        for device in 0..self.dirs.len() {
            let node = at(self.network, self.dirs[device].path()).await;
            introduce(&node, &self.owner);
            all.push(node);
        }
        all
    }

    async fn members_are(&self, devices: &[usize]) {
        let mut expected: Vec<VerifyingKey> = devices.iter().map(|at| self.ids[*at]).collect();
        expected.push(self.owner.id());
        expected.sort_unstable();
        until(
            "those are the members, and they have what they need",
            || async {
                let look = self.space.look().await.unwrap();
                look.is_some_and(|look| {
                    let members = look.members.iter().map(|(key, _)| *key);
                    look.is_healed && members.eq(expected.iter().copied())
                })
            },
        )
        .await;
    }
}

/// A message has come, and is not shown.
async fn cannot_read(node: &Node, id: Hash) {
    until("it has come", || async {
        node.trace(id).await.unwrap().is_some()
    })
    .await;
    let trace = node.trace(id).await.unwrap().unwrap();
    let is_shown = matches!(
        trace.state,
        TraceState::Stored(TraceProgress::InFeed { .. })
    );
    assert!(!is_shown, "{:?}", trace.state);
}

fn holds(dir: &Path, text: &str) -> bool {
    occurrences(dir, text.as_bytes()) > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_revoke_each_other_are_both_out() {
    let world = World::of_devices(2).await;
    world.revokes(0, 1).await;
    world.revokes(1, 0).await;
    let devices = world.all().await;
    world.members_are(&[]).await;
    let message = world.space.publish("for the owner alone").await.unwrap();
    for device in &devices {
        cannot_read(device, message.id()).await;
        device.shutdown().await.unwrap();
    }
    for dir in &world.dirs {
        assert!(!holds(dir.path(), "for the owner alone"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_revoke_the_same_third_stay() {
    let world = World::of_devices(3).await;
    world.revokes(0, 2).await;
    world.revokes(1, 2).await;
    let devices = world.all().await;
    world.members_are(&[0, 1]).await;
    let message = world.space.publish("without the third").await.unwrap();
    for device in &devices[..2] {
        let space = device.spaces().get(world.space.topic()).await.unwrap();
        let (_tx, mut rx) = space.unwrap().stream().await.unwrap();
        assert_eq!(said(&mut rx).await.text().unwrap(), "without the third");
    }
    cannot_read(&devices[2], message.id()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_linked_while_its_person_is_removed_is_out() {
    let world = World::of_devices(2).await;
    let new = temporary(world.network).await;
    // Nobody else sees it.
    let device = world.alone(0).await;
    link(&device, &new).await;
    device.shutdown().await.unwrap();
    world.space.remove(world.ids[1]).await.unwrap();
    world.members_are(&[]).await;
    let devices = world.all().await;
    introduce(&new, &world.owner);
    let message = world.space.publish("for the owner alone").await.unwrap();
    for device in devices.iter().chain([&new]) {
        cannot_read(device, message.id()).await;
    }
    world.members_are(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_reads_nothing_later_in_any_space() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let (a, lost) = (temporary(network).await, at(network, dir.path()).await);
    let mut spaces = Vec::new();
    for name in ["one", "two", "three"] {
        spaces.push(a.spaces().create(name).await.unwrap());
    }
    link(&a, &lost).await;
    for space in &spaces {
        has_members(space, 2).await;
    }
    has_followed(&a).await;
    a.person().revoke_device(lost.id()).await.unwrap();
    let later = |number: usize| format!("written later in {number}");
    for (number, space) in spaces.iter().enumerate() {
        let message = space.publish(later(number)).await.unwrap();
        cannot_read(&lost, message.id()).await;
        let of_lost = lost.spaces().get(space.topic()).await.unwrap().unwrap();
        until("it may not write", || async {
            of_lost.publish("still me").await.is_err()
        })
        .await;
    }
    has_followed(&a).await;
    lost.shutdown().await.unwrap();
    for number in 0..spaces.len() {
        assert!(!holds(dir.path(), &later(number)));
    }
}
