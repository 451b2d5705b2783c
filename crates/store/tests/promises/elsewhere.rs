//! A directory whose key is kept elsewhere (`docs/protocol/streams.md#16`).

use std::fs;
use std::path::Path;

use p2panda_core::SigningKey;
use p2panda_store::{OpenError, OpenErrorKind, Options, RestoredAction, Store};

use crate::open;

fn elsewhere(dir: &Path, key: u8, guard: Option<&Path>) -> Result<Store, OpenError> {
    let options = Options {
        key: Some(SigningKey::from_bytes(&[key; 32])),
        key_elsewhere: true,
        guard_dir: guard.map(Path::to_path_buf),
        ..Options::default()
    };
    Store::open(dir, options)
}

fn kind(result: Result<Store, OpenError>) -> OpenErrorKind {
    result.err().unwrap().kind().clone()
}

#[test]
fn the_directory_holds_the_epoch_and_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let epoch = || fs::read_to_string(dir.path().join("node.epoch")).unwrap();
    elsewhere(dir.path(), 3, None).unwrap().close().unwrap();
    let first = epoch();
    elsewhere(dir.path(), 3, None).unwrap().close().unwrap();
    assert_ne!(epoch(), first);
    assert!(!dir.path().join("node.key").exists());
    assert!(matches!(
        kind(elsewhere(dir.path(), 4, None)),
        OpenErrorKind::OtherKey { .. }
    ));
    let without = Store::open(dir.path(), Options::default());
    assert!(matches!(kind(without), OpenErrorKind::KeyMissing { .. }));
    // A crash between the database and the file: completed. An older copy of the file: refused.
    fs::write(dir.path().join("node.epoch"), &first).unwrap();
    elsewhere(dir.path(), 3, None).unwrap().close().unwrap();
    fs::write(dir.path().join("node.epoch"), &first).unwrap();
    assert!(matches!(
        kind(elsewhere(dir.path(), 3, None)),
        OpenErrorKind::Mixed { .. }
    ));
    // The database says whose it is where the file is lost.
    fs::remove_file(dir.path().join("node.epoch")).unwrap();
    assert!(matches!(
        kind(elsewhere(dir.path(), 4, None)),
        OpenErrorKind::OtherKey { .. }
    ));
    elsewhere(dir.path(), 3, None).unwrap();
}

#[test]
fn a_key_is_moved_out_of_its_directory_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        key: Some(SigningKey::from_bytes(&[3; 32])),
        ..Options::default()
    };
    Store::open(dir.path(), options).unwrap().close().unwrap();
    assert!(matches!(
        kind(elsewhere(dir.path(), 3, None)),
        OpenErrorKind::KeyTwice { .. }
    ));
    let file = dir.path().join("node.key");
    let moved = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        kind(elsewhere(dir.path(), 4, None)),
        OpenErrorKind::OtherKey { .. }
    ));
    for _ in 0..3 {
        elsewhere(dir.path(), 3, None).unwrap().close().unwrap();
    }
    // Its epoch is old by now; that of `node.epoch` counts.
    fs::write(&file, moved).unwrap();
    open(dir.path()).close().unwrap();
    assert!(!dir.path().join("node.epoch").exists());
    open(dir.path());
}

#[test]
fn no_new_identity_replaces_a_key_that_is_kept_elsewhere() {
    let (dir, guard) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(elsewhere(dir.path(), 3, Some(guard.path())).unwrap());
    let old = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), old.path().join(entry.file_name())).unwrap();
    }
    for _ in 0..2 {
        drop(elsewhere(dir.path(), 3, Some(guard.path())).unwrap());
    }
    let store = elsewhere(old.path(), 3, Some(guard.path())).unwrap();
    assert!(store.restored().is_some());
    drop(store);
    let options = Options {
        key: Some(SigningKey::from_bytes(&[3; 32])),
        key_elsewhere: true,
        guard_dir: Some(guard.path().to_path_buf()),
        restored: Some(RestoredAction::NewIdentity),
    };
    assert!(matches!(
        kind(Store::open(old.path(), options)),
        OpenErrorKind::KeyElsewhere { .. }
    ));
}
