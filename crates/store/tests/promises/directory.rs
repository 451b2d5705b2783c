use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use p2panda_core::{SigningKey, limits};
use p2panda_store::{
    Durability, Holdings, OpenError, OpenErrorKind, Options, Store, StoreErrorKind,
};

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

fn kind(result: Result<Store, OpenError>) -> OpenErrorKind {
    result.err().unwrap().kind().clone()
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
        kind(open_with(dir.path(), 4)),
        OpenErrorKind::OtherKey { .. }
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
    let database = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let noted = "DELETE FROM meta WHERE name = 'keyed'";
    assert_eq!(database.execute(noted, []).unwrap(), 1);
    drop(database);
    let mut store = open(dir.path());
    Author::new(1).write(&mut store, &[b"0"]);
    drop(store);
    fs::remove_file(dir.path().join("node.key")).unwrap();
    let result = Store::open(dir.path(), Options::default());
    assert!(matches!(kind(result), OpenErrorKind::KeyMissing { .. }));
}

#[test]
fn a_key_without_its_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let fresh = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("node.key"), fresh.path().join("node.key")).unwrap();
    let result = Store::open(fresh.path(), Options::default());
    assert!(matches!(kind(result), OpenErrorKind::Mixed { .. }));
}

#[test]
fn an_open_that_crashed_half_way_is_completed() {
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
        // The database of this open next to the key file and the guard file of the last one: what a
        // crash between the first and the second write leaves.
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
        ..Options::default()
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
        matches!(error.kind(), OpenErrorKind::Newer { found: 99, .. }),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_a_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p2panda.sqlite"), "panda".repeat(1_000)).unwrap();
    let found = kind(Store::open(dir.path(), Options::default()));
    assert_eq!(found, OpenErrorKind::Database(StoreErrorKind::Damaged));
}

#[test]
fn a_dropped_transaction_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    crate::append(&mut tx, topic, &Author::new(1).header(b"0"), b"0");
    let arrival = tx.next_arrival();
    drop(tx);
    let mut tx = store.begin(Durability::Normal).unwrap();
    assert_eq!(tx.next_arrival(), arrival - 1);
    tx.commit().unwrap();
    let reader = store.readers().open().unwrap();
    assert_eq!(reader.holdings(&TOPIC).unwrap(), Holdings::default());
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
mod modes {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use p2panda_store::others_may_enter;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The mode of each file in a directory.
    fn modes(dir: &Path) -> BTreeMap<String, u32> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, mode(&entry.path()))
        });
        entries.collect()
    }

    fn assert_private(dir: &Path, names: &[&str]) {
        let found = modes(dir);
        for name in names {
            assert!(found.contains_key(*name), "no {name} in {found:?}");
        }
        for (name, mode) in found {
            assert_eq!(mode, 0o600, "{name} has mode {mode:o}");
        }
    }

    fn with_guard(dir: &Path, state: &Path) -> Store {
        let guard_dir = Some(state.to_path_buf());
        let options = Options {
            guard_dir,
            ..Options::default()
        };
        Store::open(dir, options).unwrap()
    }

    const OPEN: [&str; 5] = [
        "lock",
        "node.key",
        "p2panda.sqlite",
        "p2panda.sqlite-shm",
        "p2panda.sqlite-wal",
    ];

    #[test]
    fn a_directory_made_by_an_open_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, state) = (parent.path().join("a/home"), parent.path().join("state"));
        drop(with_guard(&dir, &state));
        assert_eq!((mode(&dir), mode(&state)), (0o700, 0o700));
        assert!(!others_may_enter(&dir));
    }

    #[test]
    fn files_are_private_in_a_directory_that_is_not() {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dir, state) = (dir.path(), state.path());
        set_mode(dir, 0o755);
        set_mode(state, 0o755);
        assert!(others_may_enter(dir));
        let mut store = with_guard(dir, state);
        Author::new(1).write(&mut store, &[b"0"]);
        let reader = store.readers().open().unwrap();
        assert_eq!(reader.last_arrival(&TOPIC).unwrap(), 1);
        assert_private(dir, &OPEN);
        assert_private(state, &[]);
        drop(reader);
        store.close().unwrap();
        assert_private(dir, &["lock", "node.key", "p2panda.sqlite"]);
        assert_private(state, &[]);
        assert_eq!(mode(dir), 0o755);
    }

    #[test]
    fn files_that_were_not_private_are_from_the_next_open_on() {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut store = with_guard(dir.path(), state.path());
        Author::new(1).write(&mut store, &[b"0"]);
        // What a killed process leaves, with the modes that files had before.
        let (dir, state) = (copy(dir.path()), copy(state.path()));
        let (dir, state) = (dir.path(), state.path());
        fs::write(dir.join("node.new"), "half a key").unwrap();
        let guard = fs::read_dir(state).unwrap().next().unwrap().unwrap().path();
        fs::write(guard.with_extension("new"), "half a guard file").unwrap();
        for (dir, files) in [(dir, modes(dir)), (state, modes(state))] {
            set_mode(dir, 0o755);
            for file in files.keys() {
                set_mode(&dir.join(file), 0o664);
            }
        }
        assert!(OPEN.iter().all(|name| modes(dir).contains_key(*name)));
        let mut store = with_guard(dir, state);
        assert_private(dir, &OPEN);
        assert_private(state, &[]);
        Author::new(2).write(&mut store, &[b"0"]);
        assert_private(dir, &OPEN);
        store.close().unwrap();
        assert_private(dir, &["lock", "node.key", "p2panda.sqlite"]);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_private_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).close().unwrap();
        for file in modes(dir.path()).keys() {
            set_mode(&dir.path().join(file), 0o644);
        }
        assert!(open_with(dir.path(), 4).is_err());
        assert_private(dir.path(), &["lock", "node.key", "p2panda.sqlite"]);
    }
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
    let reader = open(dir.path()).readers().open().unwrap();
    assert_eq!(reader.addresses(None).unwrap(), [(one, "new".into())]);
    assert_eq!(reader.addresses(Some(&one)).unwrap(), []);
}

#[test]
fn the_address_book_is_read_in_bounded_pages() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut tx = store.begin(Durability::Normal).unwrap();
    let keys: BTreeSet<_> = (0..=255).map(|seed| Author::new(seed).key()).collect();
    let many: BTreeMap<_, _> = keys.iter().map(|key| (*key, vec![1; 32_000])).collect();
    for (key, row) in &many {
        tx.put_address(key, row).unwrap();
    }
    tx.commit().unwrap();
    let reader = store.readers().open().unwrap();
    let (mut last, mut read) = (None, Vec::new());
    loop {
        let page = reader.addresses(last.as_ref()).unwrap();
        let Some((node, _)) = page.last() else { break };
        last = Some(*node);
        let bytes: usize = page.iter().map(|(_, row)| row.len()).sum();
        assert!(bytes < limits::BOOK_PAGE_BYTES_MAX + 32_000);
        assert!(page.len() <= limits::BOOK_PAGE_ROWS_MAX);
        read.extend(page.into_iter().map(|(node, _)| node));
    }
    assert!(read.into_iter().eq(many.into_keys()));
}
