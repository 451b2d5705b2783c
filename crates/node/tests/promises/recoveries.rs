//! A person that lost all devices comes back by its recovery file.

use std::time::SystemTime;

use p2panda::{Error, Passphrase, RecoveryError, RecoveryFile, Role, SpaceError};

use crate::nodes::{at, introduce, network, temporary, until};
use crate::spaces::{has_members, said, space_of};

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
    until("the space has let it in", || async {
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
    space.publish("after the second").await.unwrap();
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
    let topic = thief.topic(space.topic());
    until("what is sealed has come", || async {
        topic.status().await.unwrap().sealed == 1
    })
    .await;
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
