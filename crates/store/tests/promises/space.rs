use std::fs;
use std::path::Path;

use p2panda_store::{Durability, OpenErrorKind, Options, Store, compact};

fn database_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join("p2panda.sqlite")).unwrap().len()
}

fn connection(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("p2panda.sqlite")).unwrap()
}

#[test]
fn free_pages_are_given_back_in_steps() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = Store::open(temp.path(), Options::default()).unwrap();
    store.database().try_checkpoint().unwrap();
    let before = database_bytes(temp.path());
    let sql = "INSERT INTO secret VALUES('a', zeroblob(4000000)); DELETE FROM secret;";
    connection(temp.path()).execute_batch(sql).unwrap();
    let mut steps = 0;
    loop {
        let mut tx = store.begin(Durability::Normal).unwrap();
        let more = tx.give_back(100).unwrap();
        tx.commit().unwrap();
        steps += 1;
        if !more {
            break;
        }
    }
    assert!((9..=11).contains(&steps), "{steps}");
    assert!(store.database().try_checkpoint().unwrap());
    let pages = (database_bytes(temp.path()) - before) / 4096;
    assert!(pages <= 2, "{pages}");
    assert!(!store.database().has_remains().unwrap());
}

#[test]
fn a_checkpoint_does_not_wait_for_a_reader() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = Store::open(temp.path(), Options::default()).unwrap();
    let reader = connection(temp.path());
    reader.execute_batch("BEGIN; SELECT * FROM meta;").unwrap();
    store.begin(Durability::Normal).unwrap().commit().unwrap();
    let sql = "INSERT INTO secret VALUES('a', 'b')";
    connection(temp.path()).execute_batch(sql).unwrap();
    assert!(!store.database().try_checkpoint().unwrap());
    reader.execute_batch("COMMIT").unwrap();
    assert!(store.database().try_checkpoint().unwrap());
}

/// Makes the file one of a version that did not give pages back.
fn make_old(dir: &Path) {
    let sql = "PRAGMA auto_vacuum = NONE; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);";
    connection(dir).execute_batch(sql).unwrap();
}

#[test]
fn compacting_keeps_the_content_and_gives_back_the_rest() {
    let temp = tempfile::tempdir().unwrap();
    Store::open(temp.path(), Options::default())
        .unwrap()
        .close()
        .unwrap();
    make_old(temp.path());
    let sql = "INSERT INTO secret VALUES('kept', 'kept'), ('a', zeroblob(4000000));
        DELETE FROM secret WHERE name = 'a';";
    connection(temp.path()).execute_batch(sql).unwrap();
    let mut store = Store::open(temp.path(), Options::default()).unwrap();
    let mut tx = store.begin(Durability::Normal).unwrap();
    assert!(
        !tx.give_back(100).unwrap(),
        "an old file gives nothing back"
    );
    tx.commit().unwrap();
    store.close().unwrap();
    std::fs::write(temp.path().join("p2panda.sqlite.compact"), "unfinished").unwrap();

    let compacted = compact(temp.path()).unwrap();
    assert!(compacted.before_bytes > 4_000_000);
    assert!(
        compacted.after_bytes < compacted.before_bytes / 10,
        "{compacted:?}"
    );
    assert_eq!(database_bytes(temp.path()), compacted.after_bytes);
    let files = fs::read_dir(temp.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().contains("compact"))
    );

    free_pages_are_given_back_from_now_on(temp.path());
    let sql = "SELECT value FROM secret WHERE name = 'kept'";
    let kept: String = connection(temp.path())
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "kept");
}

fn free_pages_are_given_back_from_now_on(dir: &Path) {
    let mut store = Store::open(dir, Options::default()).unwrap();
    let sql = "INSERT INTO secret VALUES('a', zeroblob(1000000));
        DELETE FROM secret WHERE name = 'a';";
    connection(dir).execute_batch(sql).unwrap();
    let mut tx = store.begin(Durability::Normal).unwrap();
    assert!(tx.give_back(100).unwrap());
    assert!(!tx.give_back(1_000).unwrap());
    tx.commit().unwrap();
    store.close().unwrap();
}

#[test]
fn a_directory_that_is_in_use_or_empty_is_not_compacted() {
    let temp = tempfile::tempdir().unwrap();
    let error = compact(temp.path()).unwrap_err();
    assert!(matches!(error.kind(), OpenErrorKind::Io { .. }));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    let store = Store::open(temp.path(), Options::default()).unwrap();
    let error = compact(temp.path()).unwrap_err();
    assert!(matches!(error.kind(), OpenErrorKind::Locked { .. }));
    assert!(error.is_retryable());
    store.close().unwrap();
    compact(temp.path()).unwrap();
}
