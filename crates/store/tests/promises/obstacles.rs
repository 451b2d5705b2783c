//! Obstacles to opening a directory: each is named for what it is, and nothing but damage is
//! called damage.

use std::path::{Path, PathBuf};
use std::process::Command;

use p2panda_store::{OpenError, OpenErrorKind, Options, RestoredAction, Store, StoreErrorKind};

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, Options::default())
}

/// Returns what prevents an open, whether the database met it or a file next to it.
fn obstacle(error: &OpenError) -> Option<StoreErrorKind> {
    match error.kind() {
        OpenErrorKind::Database(kind) | OpenErrorKind::Io { kind, .. } => Some(*kind),
        _ => None,
    }
}

#[test]
fn a_path_that_is_too_long_is_said_to_be_too_long() {
    let temp = tempfile::tempdir().unwrap();
    // Longer than SQLite takes, than a name may be, and than any path may be.
    for (names, chars) in [(3, 200), (1, 300), (50, 200)] {
        let names = (0..names).map(|_| "x".repeat(chars));
        let dir = names.fold(temp.path().to_path_buf(), |dir, name| dir.join(name));
        let error = open(&dir).err().unwrap();
        assert_eq!(
            obstacle(&error),
            Some(StoreErrorKind::PathTooLong),
            "{error}"
        );
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn a_database_that_somebody_else_holds_is_busy() {
    let temp = tempfile::tempdir().unwrap();
    open(temp.path()).unwrap().close().unwrap();
    let other = rusqlite::Connection::open(temp.path().join("p2panda.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = open(temp.path()).err().unwrap();
    assert_eq!(obstacle(&error), Some(StoreErrorKind::Busy), "{error}");
    assert!(error.is_retryable());
    drop(other);
    open(temp.path()).unwrap();
}

#[test]
fn an_unusable_state_directory_is_the_one_named() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), "").unwrap();
    let state = temp.path().join("file/state");
    let options = Options {
        guard_dir: Some(state.clone()),
        ..Options::default()
    };
    let error = Store::open(&temp.path().join("data"), options)
        .err()
        .unwrap();
    assert!(
        matches!(error.kind(), OpenErrorKind::StateDir { dir, .. } if *dir == state),
        "{error}"
    );
    assert!(error.to_string().contains(state.to_str().unwrap()));
}

#[test]
fn a_database_without_its_key_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    // Also after a crash.
    let store = open(temp.path()).unwrap();
    let first = store.signing_key().verifying_key();
    drop(store);
    std::fs::remove_file(temp.path().join("node.key")).unwrap();
    for _ in 0..2 {
        let error = open(temp.path()).err().unwrap();
        assert!(
            matches!(error.kind(), OpenErrorKind::KeyMissing { .. }),
            "{error}"
        );
    }
    let options = Options {
        restored: Some(RestoredAction::NewIdentity),
        ..Options::default()
    };
    let store = Store::open(temp.path(), options).unwrap();
    assert_ne!(store.signing_key().verifying_key(), first);
}

const CHILD_DIR: &str = "P2PANDA_STORE_TEST_DIR";

/// The process that the tests below run. Run as a test of its own, it does nothing.
#[test]
fn child_that_says_what_stands_in_the_way() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else {
        return;
    };
    match open(&dir) {
        Ok(_) => println!("\nfound nothing"),
        Err(error) => println!("\nfound {:?}", obstacle(&error)),
    }
}

/// Runs a shell with the directory as `$1` and returns what its child finds; `None` if the shell
/// could not even start it.
fn found(dir: &Path, shell: &[&str], script: &str) -> Option<String> {
    let (program, args) = shell.split_first()?;
    let script = format!("{script}; shift; exec \"$@\"");
    let ran = Command::new(program)
        .args(args)
        .args(["sh", "-c", &script, "sh"])
        .arg(dir)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "obstacles::child_that_says_what_stands_in_the_way",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let found = said.lines().find_map(|line| line.strip_prefix("found "));
    if found.is_none() {
        println!("not found: {}{said}", String::from_utf8_lossy(&ran.stderr));
    }
    found.map(str::to_owned)
}

#[cfg(unix)]
#[test]
fn too_few_file_descriptors_are_never_called_anything_else() {
    let temp = tempfile::tempdir().unwrap();
    open(temp.path()).unwrap().close().unwrap();
    let found: Vec<String> = (4..20)
        .filter_map(|files| found(temp.path(), &["env"], &format!("ulimit -n {files}")))
        .collect();
    let too_many = format!("{:?}", Some(StoreErrorKind::TooManyFiles));
    assert!(found.contains(&too_many), "{found:?}");
    assert!(found.contains(&"nothing".to_owned()), "{found:?}");
    assert!(
        found
            .iter()
            .all(|found| *found == too_many || found == "nothing"),
        "{found:?}"
    );
}

/// A shell with a file system namespace of its own.
const NAMESPACE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_file_system_is_called_read_only() {
    let temp = tempfile::tempdir().unwrap();
    open(temp.path()).unwrap().close().unwrap();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" || exit 99";
    match found(temp.path(), &NAMESPACE, script) {
        Some(found) => assert_eq!(found, format!("{:?}", Some(StoreErrorKind::ReadOnly))),
        None => println!("skipped: nothing can be mounted here"),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_called_full() {
    let temp = tempfile::tempdir().unwrap();
    // Enough for the first files, for some of the database, and for nothing.
    for room_kib in [0, 4, 16, 64] {
        let script = format!(
            "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 99; \
            head -c $(((1024 - {room_kib}) * 1024)) /dev/zero > \"$1/filler\""
        );
        match found(temp.path(), &NAMESPACE, &script) {
            Some(found) => assert_eq!(
                found,
                format!("{:?}", Some(StoreErrorKind::Full)),
                "{room_kib} KiB"
            ),
            None => println!("skipped: nothing can be mounted here"),
        }
    }
}
