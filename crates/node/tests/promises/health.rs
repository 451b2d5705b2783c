//! A storage that fails: the node says so, continues by itself, or ends and says why.

use std::path::{Path, PathBuf};
use std::process::Command;

use p2panda::{
    Corrupt, Ended, Error, ErrorKind, Event, Health, Node, PublishError, StorageWait,
    StoreErrorKind,
};

use crate::ended::ended;
use crate::nodes::{PATIENCE, at, introduce, network, next, temporary, texts, topic, until};

/// Somebody else writes to the database, until it is dropped.
fn lock(dir: &Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(dir.join("p2panda.sqlite")).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

async fn told(node: &Node, wanted: Event) {
    let mut events = node.events();
    let told = async { while events.next().await.expect("the node runs") != wanted {} };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
}

fn is_ok(node: &Node) -> bool {
    matches!(node.health(), Health::Ok)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let (a, b) = (at(network, dir.path()).await, temporary(network).await);
    let (a_tx, mut a_rx) = a.stream(topic).await.unwrap();
    let (b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&a, &b);
    b_tx.publish("before").await.unwrap();
    assert_eq!(texts(&mut a_rx, 1).await, ["before"]);
    assert!(is_ok(&a));

    let locked = lock(dir.path());
    let reason = StorageWait::Busy;
    let ((), published, ()) = tokio::join!(
        told(&a, Event::StorageWaits { reason }),
        a_tx.publish("mine"),
        async {
            b_tx.publish("theirs").await.unwrap();
            until("waits", || async {
                matches!(a.health(), Health::Waiting { .. })
            })
            .await;
            drop(locked);
        }
    );
    published.unwrap();
    let mut got = texts(&mut a_rx, 2).await;
    got.sort();
    assert_eq!(got, ["mine", "theirs"]);
    let mut got = texts(&mut b_rx, 3).await;
    got.sort();
    assert_eq!(got, ["before", "mine", "theirs"]);
    until("goes on", || async { is_ok(&a) }).await;
    assert!(!a.is_closed());
    a.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_into_a_locked_database_fails_and_is_never_stored() {
    let dir = tempfile::tempdir().unwrap();
    let topic = topic();
    let node = at(network(), dir.path()).await;
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let locked = lock(dir.path());
    let error = tx.publish("refused").await.unwrap_err();
    let refused = PublishError::Storage(StorageWait::Busy);
    assert!(matches!(error, Error::Publish(error) if error == refused));
    assert!(error.is_retryable());
    assert_eq!(error.kind(), ErrorKind::Busy);
    drop(locked);
    assert_eq!(tx.publish("stored").await.unwrap().seq(), 0);
    assert_eq!(texts(&mut rx, 1).await, ["stored"]);
    until("goes on", || async { is_ok(&node) }).await;
}

fn is_gone(error: &Error) -> bool {
    let Error::Corrupt(corrupt) = error else {
        return false;
    };
    matches!(&**corrupt, Corrupt::Store(error) if *error.kind() == StoreErrorKind::Gone)
}

/// Checks that a change to the files of a running node ends it as a whole.
async fn ends_when(removed: impl FnOnce(&Path)) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    let (network, topic) = (network(), topic());
    let (node, peer) = (at(network, &dir).await, temporary(network).await);
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let (peer_tx, _peer_rx) = peer.stream(topic).await.unwrap();
    introduce(&node, &peer);
    peer_tx.publish("theirs").await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["theirs"]);
    let kept = tx.publish("kept").await.unwrap();
    assert_eq!(next(&mut rx).await.text().unwrap(), "kept");
    let sessions = || {
        peer.net()
            .peers()
            .iter()
            .map(|one| one.sessions.len())
            .sum::<usize>()
    };
    until("a session", || async { sessions() > 0 }).await;

    removed(&dir);
    let (error, ended) = tokio::join!(tx.publish("lost"), ended(&mut rx));
    let error = error.unwrap_err();
    assert!(is_gone(&error), "{error}");
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert!(!error.is_retryable());
    assert!(matches!(ended, Ended::Failed(error) if is_gone(&error)));
    assert!(matches!(node.health(), Health::Stopped { error } if is_gone(&error)));
    assert!(node.is_closed());
    assert!(is_gone(&*node.stopped().await));
    assert!(is_gone(&node.stream(topic).await.unwrap_err()));
    assert!(is_gone(&kept.stored(9).await.unwrap_err()));
    until("no session", || async { sessions() == 0 }).await;
    assert!(is_gone(&node.shutdown().await.unwrap_err()));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_directory_ends_the_node_and_no_publish_lies() {
    ends_when(|dir| std::fs::remove_dir_all(dir).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_replaced_under_a_node_ends_it() {
    ends_when(|dir| {
        let aside = dir.with_extension("aside");
        std::fs::rename(dir, &aside).unwrap();
        std::fs::create_dir(dir).unwrap();
        for file in std::fs::read_dir(aside).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.join(file.file_name())).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_lock_file_ends_the_node_before_it_writes() {
    ends_when(|dir| std::fs::remove_file(dir.join("lock")).unwrap()).await;
}

const SMALL_DISK: &str = "P2PANDA_TEST_SMALL_DISK";

/// In mount and user namespaces of its own, runs a test of this binary on a file system of 4 MiB.
/// Says why, if that is not possible here.
fn on_a_small_disk(test: &str) -> Option<String> {
    let temp = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" || exit 99; shift; exec \"$@\"";
    let ran = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(temp.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SMALL_DISK, temp.path())
        .output();
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return Some(format!("no unshare: {error}")),
    };
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    match ran.status.code() {
        Some(0) => None,
        Some(1 | 99) if !said.contains("panicked") => Some(said),
        _ => panic!("{said}{}", String::from_utf8_lossy(&ran.stdout)),
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let test = "health::child_on_a_small_disk";
    if let Some(reason) = on_a_small_disk(test) {
        println!("skipped: no file system can be mounted here: {reason}");
    }
}

/// Child process of the test before. Run as a test of its own, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_on_a_small_disk() {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(PathBuf::from) else {
        return;
    };
    let (network, topic) = (network(), topic());
    let node = at(network, &disk.join("node")).await;
    let peer = temporary(network).await;
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let (peer_tx, _peer_rx) = peer.stream(topic).await.unwrap();
    introduce(&node, &peer);
    peer_tx.publish("first").await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["first"]);

    let filler = disk.join("filler");
    let room = vec![0; 64 * 1024];
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &room).is_ok() {}
    let large = vec![7_u8; 256 * 1024];
    let (refused, ()) = tokio::join!(tx.publish(&large[..]), async {
        peer_tx.publish("meanwhile").await.unwrap();
    });
    let full = PublishError::Storage(StorageWait::Full);
    assert!(
        matches!(refused, Err(Error::Publish(error)) if error == full),
        "{refused:?}"
    );
    assert_eq!(Error::Publish(full).kind(), ErrorKind::Full);
    assert!(!node.is_closed());

    std::fs::remove_file(&filler).unwrap();
    drop(file);
    assert_eq!(tx.publish("mine").await.unwrap().seq(), 0);
    let mut got = texts(&mut rx, 2).await;
    got.sort();
    assert_eq!(got, ["meanwhile", "mine"]);
    until("goes on", || async { is_ok(&node) }).await;
    node.shutdown().await.unwrap();
    let node = at(network, &disk.join("node")).await;
    assert_eq!(node.topic(topic).operations(0).await.unwrap().len(), 3);
}
