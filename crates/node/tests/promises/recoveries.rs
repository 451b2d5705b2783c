//! A person that lost all devices comes back by its recovery file.

use std::time::SystemTime;

use p2panda::{
    Error, Event, Node, Passphrase, RecoveryError, RecoveryFile, Role, SpaceError, SpaceNews,
    VerifyingKey,
};

use crate::nodes::{at, introduce, network, temporary, until};
use crate::persons::{has_followed, link};
use crate::spaces::{cannot_open, has_members, said, space_of};

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_reads_and_writes_with_a_courier_alone() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("person.recovery");
    let [lost, friend, courier, new] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let spaces = space_of(&lost, &[&friend]).await;
    introduce(&courier, &lost);
    introduce(&friend, &courier);
    introduce(&new, &courier);
    let topic = spaces[0].topic();
    courier.topic(topic).keep(true).await.unwrap();
    spaces[0].publish("before").await.unwrap();
    lost.recovery().export(&file, &passphrase()).await.unwrap();
    assert!(lost.recovery().written().await.unwrap() <= Some(SystemTime::now()));
    assert!(!lost.recovery().is_due().await.unwrap());
    let person = lost.person().id().await.unwrap();
    // Where the devices tell each other of spaces.
    let of_devices = lost.person().look().await.unwrap().of_devices;
    let of_devices = courier.topic(of_devices.unwrap());
    of_devices.keep(true).await.unwrap();
    has_members(&spaces[1], 3).await;
    until("the courier has it", || async {
        let all = [&lost, &friend];
        let mut unsent = 0;
        for node in all {
            unsent += node.unsent().await.unwrap().len();
        }
        unsent == 0
    })
    .await;
    lost.shutdown().await.unwrap();
    let friend_id = friend.id();
    friend.shutdown().await.unwrap();

    let opened = RecoveryFile::open(&file, &passphrase()).unwrap();
    assert_eq!(opened.topics().collect::<Vec<_>>(), [topic]);
    new.recovery().restore(opened).await.unwrap();
    assert_eq!(new.person().id().await.unwrap(), person);
    let space = new.spaces().get(topic).await.unwrap().unwrap();
    let (tx, mut rx) = space.stream().await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "before");
    until("the space has admitted it", || async {
        new.person().pending().await.unwrap().is_empty()
    })
    .await;
    assert_eq!(space.state().await.unwrap().role, Some(Role::Owner));
    tx.publish("I am back").await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "I am back");
    let members = space.members().await.unwrap();
    assert!(members.contains(&(friend_id, Role::Editor)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("person.recovery");
    let home = dir.path().join("home");
    let node = at(network(), &home).await;
    node.spaces().create("alone").await.unwrap();
    let recovery = node.recovery();
    recovery.export(&file, &passphrase()).await.unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    let others = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(others, 2, "nothing else is left");

    let again = recovery.export(&file, &passphrase()).await.unwrap_err();
    assert!(matches!(
        again,
        Error::Recovery(RecoveryError::Exists { .. })
    ));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let nowhere = dir.path().join("nowhere/file");
    let failed = recovery.export(&nowhere, &passphrase()).await.unwrap_err();
    assert!(matches!(failed, Error::Recovery(RecoveryError::Io { .. })));
    assert_eq!(
        node.person().devices().await.unwrap().len(),
        2,
        "no key is left"
    );

    let wrong = Passphrase::new("correct horsf").unwrap();
    let refused = RecoveryFile::open(&file, &wrong).unwrap_err().to_string();
    assert_eq!(refused, "the passphrase is not that of the recovery file");
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let bad = dir.path().join("bad");
    std::fs::write(&bad, &damaged).unwrap();
    let refused = RecoveryFile::open(&bad, &passphrase()).unwrap_err();
    assert!(refused.to_string().contains("damaged"), "{refused}");
    std::fs::write(&bad, b"something else").unwrap();
    let refused = RecoveryFile::open(&bad, &passphrase()).unwrap_err();
    assert_eq!(refused.to_string(), "this is not a recovery file");

    let elsewhere = temporary(network()).await;
    let open = || RecoveryFile::open(&file, &passphrase()).unwrap();
    let refused = elsewhere.recovery().restore(open()).await.unwrap_err();
    assert!(matches!(
        refused,
        Error::Recovery(RecoveryError::OtherNetwork { .. })
    ));
    let refused = recovery.restore(open()).await.unwrap_err();
    assert!(matches!(refused, Error::Space(SpaceError::NotEmpty)));
    assert!(!refused.to_string().contains('\n'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_takes_the_place_of_the_old_one() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let [a, thief, new] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let space = a.spaces().create("alone").await.unwrap();
    a.recovery().export(&first, &passphrase()).await.unwrap();
    a.recovery().export(&second, &passphrase()).await.unwrap();
    assert_eq!(a.person().devices().await.unwrap().len(), 2);
    let receipt = space.publish("after the second").await.unwrap();
    for (node, file) in [(&thief, &first), (&new, &second)] {
        introduce(node, &a);
        let file = RecoveryFile::open(file, &passphrase()).unwrap();
        node.recovery().restore(file).await.unwrap();
    }
    let restored = new.spaces().get(space.topic()).await.unwrap().unwrap();
    let (_tx, mut rx) = restored.stream().await.unwrap();
    assert_eq!(said(&mut rx).await.text().unwrap(), "after the second");
    until("the right one is in", || async {
        new.person().pending().await.unwrap().is_empty()
    })
    .await;
    cannot_open(&thief, receipt.id()).await;
    assert!(!thief.person().pending().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_device_is_told_of_spaces_made_later() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("person.recovery");
    let [a, new] = [temporary(network).await, temporary(network).await];
    let first = a.spaces().create("first").await.unwrap();
    a.recovery().export(&file, &passphrase()).await.unwrap();
    let later = a.spaces().create("later").await.unwrap();
    introduce(&new, &a);
    let file = RecoveryFile::open(&file, &passphrase()).unwrap();
    assert_eq!(file.topics().collect::<Vec<_>>(), [first.topic()]);
    new.recovery().restore(file).await.unwrap();
    until("it is told of the later one", || async {
        new.spaces().get(later.topic()).await.unwrap().is_some()
    })
    .await;
    for space in [first, later] {
        let space = new.spaces().get(space.topic()).await.unwrap().unwrap();
        until("it owns the space", || async {
            space.state().await.unwrap().role == Some(Role::Owner)
        })
        .await;
    }
}

async fn knows(node: &Node, keys: &[VerifyingKey]) {
    until("it knows the recovery keys", || async {
        let look = node.person().look().await.unwrap();
        look.recovery == keys && keys.iter().all(|key| look.devices.contains(key))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_replaces_the_file_of_another_device() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| dir.path().join(name));
    let [a, a2] = [temporary(network).await, temporary(network).await];
    let space = a.spaces().create("alone").await.unwrap();
    link(&a, &a2).await;
    has_followed(&a).await;
    until("it follows the space", || async {
        a2.spaces().get(space.topic()).await.unwrap().is_some()
    })
    .await;
    let mut events = a2.events();
    a.recovery().export(&first, &passphrase()).await.unwrap();
    let keys = a.person().look().await.unwrap().recovery;
    assert_eq!(keys.len(), 1);
    knows(&a2, &keys).await;
    let written = a.recovery().written().await.unwrap();
    assert!(written.is_some());
    until("it knows when the file was written", || async {
        a2.recovery().written().await.unwrap() == written
    })
    .await;
    until("the key is a member, and told from devices", || async {
        let there = a2.spaces().get(space.topic()).await.unwrap().unwrap();
        let look = there.look().await.unwrap();
        look.is_some_and(|look| look.recovery == keys)
    })
    .await;
    a2.recovery().export(&second, &passphrase()).await.unwrap();
    has_followed(&a2).await;
    let look = a2.person().look().await.unwrap();
    assert_eq!(
        look.recovery.len(),
        1,
        "the file of the other device is replaced"
    );
    assert_ne!(look.recovery, keys);
    knows(&a, &look.recovery).await;
    assert!(!a.person().devices().await.unwrap().contains(&keys[0]));
    // It is told what its own key is, and of no member that joined.
    while let Some(event) = events.next().await {
        if let Event::Space { news, .. } = event {
            if let SpaceNews::Members(changes) = &news {
                assert!(changes.iter().all(|(who, ..)| *who != look.recovery[0]));
            }
            let key = look.recovery[0];
            if news == (SpaceNews::RecoveryKey { key, is_in: true }) {
                break;
            }
        }
    }
    // Unless it is asked to keep it.
    let keeping = a.recovery().keeping_earlier();
    keeping.export(&third, &passphrase()).await.unwrap();
    let both = a.person().look().await.unwrap().recovery;
    assert_eq!(both.len(), 2);
    knows(&a2, &both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_made_after_the_file_needs_a_member_of_an_older_one() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("person.recovery");
    let friend_dir = dir.path().join("friend");
    let [lost, courier, new] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let friend = at(network, &friend_dir).await;
    let spaces = space_of(&lost, &[&friend]).await;
    introduce(&courier, &lost);
    introduce(&friend, &courier);
    lost.recovery().export(&file, &passphrase()).await.unwrap();
    let later = lost.spaces().create("later").await.unwrap();
    let at_friend = friend.spaces().follow(later.topic()).await.unwrap();
    later.add(friend.id(), Role::Editor).await.unwrap();
    // The key of the file is a device too.
    has_members(&at_friend, 3).await;
    later.publish("later").await.unwrap();
    let of_devices = lost.person().look().await.unwrap().of_devices.unwrap();
    for topic in [spaces[0].topic(), later.topic(), of_devices] {
        courier.topic(topic).keep(true).await.unwrap();
        until("the courier has it", || async {
            let all = [&lost, &friend];
            let mut unsent = 0;
            for node in all {
                unsent += node.unsent_in(topic).await.unwrap();
            }
            unsent == 0
        })
        .await;
    }
    lost.shutdown().await.unwrap();
    friend.shutdown().await.unwrap();

    introduce(&new, &courier);
    let opened = RecoveryFile::open(&file, &passphrase()).unwrap();
    new.recovery().restore(opened).await.unwrap();
    until("it is told of the later space", || async {
        new.spaces().get(later.topic()).await.unwrap().is_some()
    })
    .await;
    let there = new.spaces().get(later.topic()).await.unwrap().unwrap();
    let (_tx, mut rx) = there.stream().await.unwrap();
    assert_eq!(
        there.state().await.unwrap().role,
        None,
        "nobody had the secrets"
    );
    // A member of both spaces learns of the new device in the older one.
    let friend = at(network, &friend_dir).await;
    introduce(&friend, &courier);
    assert_eq!(said(&mut rx).await.text().unwrap(), "later");
    assert_eq!(there.state().await.unwrap().role, Some(Role::Editor));
    friend.shutdown().await.unwrap();
}
