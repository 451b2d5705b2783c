use std::fs;
use std::path::Path;

use p2panda_core::SigningKey;
use p2panda_store::{Durability, OpenError, Options, Store};

use crate::{Author, TOPIC, open};

fn open_with(dir: &Path, key: u8) -> Result<Store, OpenError> {
    let key = Some(SigningKey::from_bytes(&[key; 32]));
    Store::open(
        dir,
        Options {
            key,
            ..Options::default()
        },
    )
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

#[test]
fn a_directory_keeps_its_identity() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = store.signing_key().verifying_key();
    store.close().unwrap();
    assert_eq!(open(dir.path()).signing_key().verifying_key(), key);
    assert_eq!(open(dir.path()).signing_key().verifying_key(), key);
}

#[test]
fn a_given_key_is_kept_and_another_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), 3).unwrap();
    let key = store.signing_key().verifying_key();
    store.close().unwrap();
    assert!(matches!(
        open_with(dir.path(), 4),
        Err(OpenError::OtherKey { .. })
    ));
    assert_eq!(
        open_with(dir.path(), 3)
            .unwrap()
            .signing_key()
            .verifying_key(),
        key
    );
    assert_eq!(open(dir.path()).signing_key().verifying_key(), key);
}

#[test]
fn a_directory_without_its_key_is_refused_once_it_holds_data() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    // As if the first open had crashed before it wrote the key.
    fs::remove_file(dir.path().join("node.key")).unwrap();
    let mut store = open(dir.path());
    Author::new(1).write(&mut store, &[b"0"]);
    drop(store);
    fs::remove_file(dir.path().join("node.key")).unwrap();
    let result = Store::open(dir.path(), Options::default());
    assert!(matches!(result, Err(OpenError::KeyMissing { .. })));
}

#[test]
fn a_key_without_its_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let fresh = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("node.key"), fresh.path().join("node.key")).unwrap();
    let result = Store::open(fresh.path(), Options::default());
    assert!(matches!(result, Err(OpenError::Mixed { .. })));
}

#[test]
fn an_open_that_crashed_between_its_files_is_completed_however_often() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().unwrap();
    let state = tempfile::tempdir().unwrap();
    let options = || {
        let guard_dir = Some(state.path().to_path_buf());
        Options {
            guard_dir,
            ..Options::default()
        }
    };
    drop(Store::open(dir.path(), options()).unwrap());
    let mut last = (copy(dir.path()), copy(state.path()));
    for _ in 0..4 {
        let store = Store::open(dir.path(), options()).unwrap();
        assert!(store.restored().is_none());
        drop(store);
        // The database of this open beside the key file and the guard file of the last one:
        // what a crash between the first and the second write leaves.
        let now = (copy(dir.path()), copy(state.path()));
        let key = "node.key";
        fs::copy(last.0.path().join(key), dir.path().join(key)).unwrap();
        for entry in fs::read_dir(last.1.path()).unwrap() {
            let name = entry.unwrap().file_name();
            fs::copy(last.1.path().join(&name), state.path().join(&name)).unwrap();
        }
        last = now;
    }
    assert!(
        Store::open(dir.path(), options())
            .unwrap()
            .restored()
            .is_none()
    );
}

#[test]
fn a_known_identity_in_a_fresh_directory_counts_as_restored() {
    let state = tempfile::tempdir().unwrap();
    let options = || Options {
        key: Some(SigningKey::from_bytes(&[5; 32])),
        guard_dir: Some(state.path().to_path_buf()),
        restored: None,
    };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(
        Store::open(first.path(), options())
            .unwrap()
            .restored()
            .is_none()
    );
    assert!(
        Store::open(second.path(), options())
            .unwrap()
            .restored()
            .is_some()
    );
}

#[test]
fn a_directory_of_a_newer_version_is_refused_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().unwrap();
    let database = dir.path().join("p2panda.sqlite");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(dir.path(), Options::default()).err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 99,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_is_no_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p2panda.sqlite"), "panda".repeat(1_000)).unwrap();
    assert!(matches!(
        Store::open(dir.path(), Options::default()),
        Err(OpenError::Database(_))
    ));
}

#[test]
fn a_dropped_transaction_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Full).unwrap();
    tx.topic(&TOPIC).unwrap();
    let arrival = tx.next_arrival();
    drop(tx);
    let mut tx = store.begin(Durability::Normal).unwrap();
    assert_eq!(tx.next_arrival(), arrival);
    tx.commit().unwrap();
    assert_eq!(store.reader().unwrap().topics().unwrap(), []);
}

#[test]
fn a_clean_close_leaves_one_database_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    Author::new(1).write(&mut store, &[b"0"]);
    store.close().unwrap();
    assert!(!dir.path().join("p2panda.sqlite-wal").exists());
}

#[cfg(unix)]
#[test]
fn key_and_directory_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("home");
    drop(open(&dir));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("node.key")), 0o600);
}

#[test]
fn the_address_book_survives() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (one, two) = (Author::new(1).key(), Author::new(2).key());
    let mut tx = store.begin(Durability::Normal).unwrap();
    tx.put_address(&one, b"old").unwrap();
    tx.put_address(&one, b"new").unwrap();
    tx.put_address(&two, b"gone").unwrap();
    tx.remove_address(&two).unwrap();
    tx.commit().unwrap();
    store.close().unwrap();
    let reader = open(dir.path()).reader().unwrap();
    assert_eq!(reader.addresses().unwrap(), [(one, "new".into())]);
    assert_eq!(reader.address(&one).unwrap(), Some("new".into()));
    assert_eq!(reader.address(&two).unwrap(), None);
}
