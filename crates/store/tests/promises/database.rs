//! A database without a data directory around it.

use p2panda_store::{Database, PageLimits, StoreErrorKind};

use crate::{Author, TOPIC};

#[test]
fn a_database_needs_no_directory_around_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("some.db");
    let mut author = Author::new(1);
    let mut database = Database::open(&path).unwrap();
    author.write_into(&mut database, &[b"0", b"1"]);
    let reader = database.readers().open().unwrap();
    let page = reader.log_page(&TOPIC, &author.key(), None, 9, PageLimits::default());
    let entries = page.unwrap().entries.into_iter();
    let bodies: Vec<_> = entries.map(|entry| entry.body).collect();
    assert_eq!(bodies, [Some("0".into()), Some("1".into())]);
    drop(reader);
    database.close().unwrap();
    // Neither a lock nor a key, and nothing of SQLite's once it is closed.
    let files = std::fs::read_dir(temp.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["some.db"]);
}

#[test]
fn numbers_go_on_after_a_close_and_with_a_gap_after_a_crash() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("some.db");
    let mut author = Author::new(1);
    let mut arrivals = Vec::new();
    for close in [true, false, true] {
        let mut database = Database::open(&path).unwrap();
        author.write_into(&mut database, &[b"0"]);
        let reader = database.readers().open().unwrap();
        arrivals.push(reader.last_arrival(&TOPIC).unwrap());
        if close {
            database.close().unwrap();
        }
    }
    assert_eq!(arrivals[..2], [1, 2]);
    assert!(arrivals[2] > 1 << 32, "{arrivals:?}");
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("some.db");
    Database::open(&path).unwrap().close().unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Database::open(&path).err().unwrap();
    assert!(matches!(
        error.kind(),
        StoreErrorKind::Newer { found: 99, .. }
    ));
}
