use std::fs;
use std::path::Path;

use p2panda_store::{Durability, Options, Store};

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
    store.try_checkpoint().unwrap();
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
    assert!(store.try_checkpoint().unwrap());
    let pages = (database_bytes(temp.path()) - before) / 4096;
    assert!(pages <= 2, "{pages}");
    assert!(!store.has_remains().unwrap());
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
    assert!(!store.try_checkpoint().unwrap());
    reader.execute_batch("COMMIT").unwrap();
    assert!(store.try_checkpoint().unwrap());
}
