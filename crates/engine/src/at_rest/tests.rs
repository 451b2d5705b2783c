#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_store::{Durability, Fault, Options};

use super::*;

fn row(key: &str, value: &str) -> Row {
    Row {
        key: key.into(),
        value: Some(Zeroizing::new(value.into())),
    }
}

fn gone(key: &str) -> Row {
    let (key, value) = (key.into(), None);
    Row { key, value }
}

struct Home {
    temp: tempfile::TempDir,
    rng: ChaCha20Rng,
}

impl Home {
    fn new() -> Home {
        Home {
            temp: tempfile::tempdir().unwrap(),
            rng: ChaCha20Rng::from_seed([7; 32]),
        }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("node")
    }

    fn store(&self) -> Store {
        Store::open(&self.dir(), Options::default()).unwrap()
    }

    fn open(&self, sources: (&AtRest, Option<&AtRest>)) -> Result<(Store, Sealer), OpenError> {
        let mut store = self.store();
        let sealer = Sealer::open(&self.dir(), &mut store, sources)?;
        Ok((store, sealer))
    }

    fn write(&mut self, store: &mut Store, sealer: &mut Sealer, rows: &[Row]) -> bool {
        let mut tx = store.begin(Durability::Full).unwrap();
        let forgets = sealer.store(&mut tx, rows, &mut self.rng).unwrap();
        tx.commit().unwrap();
        sealer.settle();
        forgets
    }
}

fn rows(store: &mut Store, sealer: &Sealer) -> BTreeMap<String, String> {
    let tx = store.begin(Durability::Normal).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let rows = sealer.load(&tx).unwrap().into_iter();
    rows.map(|(key, value)| (text(&key), text(&value)))
        .collect()
}

fn expected(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    let rows = rows.iter();
    rows.map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

const DEFAULT: (&AtRest, Option<&AtRest>) = (&AtRest::KeyFile, None);

#[test]
fn rows_survive_a_restart_and_are_in_no_file_in_clear() {
    let mut home = Home::new();
    let (mut store, mut sealer) = home.open(DEFAULT).unwrap();
    let written = [row("name of a row", "secret of a row"), row("two", "2")];
    assert!(!home.write(&mut store, &mut sealer, &written));
    assert!(home.write(
        &mut store,
        &mut sealer,
        &[row("two", "3"), row("empty", "")]
    ));
    drop(store);
    for part in ["name of a row", "secret of a row"] {
        assert!(!is_in_files(&home.dir(), part.as_bytes()));
    }
    let (mut store, sealer) = home.open(DEFAULT).unwrap();
    let all = [
        ("name of a row", "secret of a row"),
        ("two", "3"),
        ("empty", ""),
    ];
    assert_eq!(rows(&mut store, &sealer), expected(&all));
}

/// Opens a directory with two rows after somebody wrote into it.
fn after(sql: &str) -> Result<(), OpenErrorKind> {
    let mut home = Home::new();
    let (mut store, mut sealer) = home.open(DEFAULT).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1"), row("b", "2")]);
    drop(store);
    let file = home.dir().join("p2panda.sqlite");
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let (mut store, sealer) = home.open(DEFAULT).map_err(|error| error.kind().clone())?;
    let tx = store.begin(Durability::Normal).unwrap();
    let loaded = sealer.load(&tx).map(drop);
    loaded.map_err(|error| OpenErrorKind::Database(*error.kind()))
}

#[test]
fn a_changed_or_exchanged_row_does_not_open() {
    assert_eq!(after("SELECT 1"), Ok(()));
    for sql in [
        "UPDATE sealed_row SET value = substr(value, 2)",
        "UPDATE sealed_row SET slot = 3 - slot",
        "UPDATE sealed_row SET name = zeroblob(32) WHERE slot = 1",
        "UPDATE sealed_salt SET salt = randomblob(32)",
    ] {
        let damaged = OpenErrorKind::Database(StoreErrorKind::Damaged);
        assert_eq!(after(sql), Err(damaged), "{sql}");
    }
    let sql = "UPDATE sealed_key SET wrapped = CAST(substr(wrapped, 1, 80) || x'0000' AS BLOB)";
    let damaged = after(sql).unwrap_err();
    assert!(matches!(damaged, OpenErrorKind::SealedDamaged { .. }));
}

#[test]
fn the_secret_lives_in_a_file_of_its_own_if_asked() {
    let mut home = Home::new();
    let path = home.temp.path().join("elsewhere");
    let file = AtRest::File(path.clone());
    let (mut store, mut sealer) = home.open((&file, None)).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1")]);
    drop(store);
    let Err(error) = home.open(DEFAULT) else {
        panic!("it opens without the secret");
    };
    let kind = error.kind();
    assert!(
        matches!(kind, OpenErrorKind::SealedElsewhere { .. }),
        "{kind:?}"
    );
    let (mut store, sealer) = home.open((&file, None)).unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
    drop(store);
    fs::rename(&path, path.with_extension("away")).unwrap();
    let Err(error) = home.open((&file, None)) else {
        panic!("it opens without the file");
    };
    assert!(matches!(error.kind(), OpenErrorKind::SecretMissing { .. }));
    assert!(!path.exists(), "no other secret takes its place");
}

#[test]
fn the_secret_moves_without_rewriting_rows() {
    let mut home = Home::new();
    let file = AtRest::File(home.temp.path().join("elsewhere"));
    let (mut store, mut sealer) = home.open(DEFAULT).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1")]);
    drop(store);
    for (to, from) in [(&file, &AtRest::KeyFile), (&AtRest::KeyFile, &file)] {
        assert!(home.open((to, None)).is_err());
        let (mut store, sealer) = home.open((to, Some(from))).unwrap();
        assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
        drop(store);
        // Asked for again it does nothing.
        home.open((to, Some(from))).unwrap();
        home.open((to, None)).unwrap();
        assert!(home.open((from, None)).is_err());
    }
}

#[test]
fn a_failed_transaction_leaves_all_old_or_all_new_rows() {
    let mut home = Home::new();
    let (mut store, mut sealer) = home.open(DEFAULT).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1"), row("b", "1")]);
    let old = expected(&[("a", "1"), ("b", "1")]);
    let changes = [row("a", "2"), gone("b"), row("c", "2")];
    let mut failures = 0;
    for after in 0.. {
        store.database().set_fault(Some(Fault::Full { after }));
        let done = (|| {
            let mut tx = store.begin(Durability::Full)?;
            sealer.store(&mut tx, &changes, &mut home.rng)?;
            tx.commit()
        })();
        store.database().set_fault(None);
        if done.is_ok() {
            break;
        }
        sealer.take_back();
        failures += 1;
        assert_eq!(rows(&mut store, &sealer), old);
    }
    assert!(failures > 8, "{failures}");
    assert_eq!(
        rows(&mut store, &sealer),
        expected(&[("a", "2"), ("c", "2")])
    );
}

#[test]
fn keys_of_a_failed_transaction_are_not_used() {
    let mut home = Home::new();
    let (mut store, mut sealer) = home.open(DEFAULT).unwrap();
    let mut tx = store.begin(Durability::Full).unwrap();
    let rows_of = [row("a", "1")];
    sealer.store(&mut tx, &rows_of, &mut home.rng).unwrap();
    drop(tx);
    sealer.take_back();
    home.write(&mut store, &mut sealer, &rows_of);
    drop(store);
    let (mut store, sealer) = home.open(DEFAULT).unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
}

fn is_in_files(dir: &Path, part: &[u8]) -> bool {
    let files = fs::read_dir(dir).unwrap();
    let mut contents = files.map(|file| fs::read(file.unwrap().path()).unwrap());
    contents.any(|bytes| bytes.windows(part.len()).any(|window| window == part))
}

/// A keychain in memory: what the one of the system does, which tests have not got.
#[derive(Debug, Default)]
struct Chain {
    items: Mutex<BTreeMap<String, Vec<u8>>>,
    is_locked: AtomicBool,
}

impl Keychain for Chain {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeychainError> {
        if self.is_locked.load(Ordering::Relaxed) {
            return Err(KeychainError::new("it is locked"));
        }
        let items = self.items.lock().unwrap();
        Ok(items.get(name).cloned().map(Zeroizing::new))
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeychainError> {
        let mut items = self.items.lock().unwrap();
        items.insert(name.to_owned(), secret.to_vec());
        Ok(())
    }
}

fn kind_of(opened: Result<(Store, Sealer), OpenError>) -> OpenErrorKind {
    opened.err().unwrap().kind().clone()
}

#[test]
fn the_secret_lives_in_the_keychain_if_asked() {
    let mut home = Home::new();
    let chain = Arc::new(Chain::default());
    let source = AtRest::Keychain(chain.clone());
    let (mut store, mut sealer) = home.open((&source, None)).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1")]);
    drop(store);
    let (mut store, sealer) = home.open((&source, None)).unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
    drop(store);
    let names: Vec<String> = chain.items.lock().unwrap().keys().cloned().collect();
    let key = home.store().signing_key().verifying_key();
    assert_eq!(names, [format!("p2panda at rest {key}")]);

    chain.is_locked.store(true, Ordering::Relaxed);
    let locked = kind_of(home.open((&source, None)));
    assert!(
        matches!(locked, OpenErrorKind::Keychain { .. }),
        "{locked:?}"
    );
    chain.is_locked.store(false, Ordering::Relaxed);
    let kept = std::mem::take(&mut *chain.items.lock().unwrap());
    let gone = kind_of(home.open((&source, None)));
    assert!(matches!(gone, OpenErrorKind::Keychain { .. }), "{gone:?}");
    assert!(
        chain.items.lock().unwrap().is_empty(),
        "no other secret takes its place"
    );
    *chain.items.lock().unwrap() = kept;
    // It can be moved away from there.
    let moved = home.open((&AtRest::KeyFile, Some(&source)));
    let (mut store, sealer) = moved.unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
}

#[test]
fn the_secret_follows_from_a_passphrase_if_asked() {
    let mut home = Home::new();
    let by = |text: &str| AtRest::Passphrase(Passphrase::new(text).unwrap());
    let source = by("correct horse");
    let (mut store, mut sealer) = home.open((&source, None)).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1")]);
    drop(store);
    let (mut store, sealer) = home.open((&source, None)).unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
    drop(store);
    let wrong = kind_of(home.open((&by("correct horsf"), None)));
    assert!(
        matches!(wrong, OpenErrorKind::WrongPassphrase { .. }),
        "{wrong:?}"
    );
    let elsewhere = kind_of(home.open(DEFAULT));
    assert!(matches!(
        elsewhere,
        OpenErrorKind::SealedElsewhere {
            by: "a passphrase",
            ..
        }
    ));
    assert!(!is_in_files(&home.dir(), b"correct horse"));
    // From the key file to a passphrase and back, without writing rows.
    let (mut store, sealer) = home.open((&AtRest::KeyFile, Some(&source))).unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
    drop(store);
    let other = by("battery staple");
    let wrong = kind_of(home.open((&source, None)));
    assert!(matches!(wrong, OpenErrorKind::SealedElsewhere { .. }));
    let (mut store, sealer) = home.open((&other, Some(&AtRest::KeyFile))).unwrap();
    assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
}

/// A keychain that keeps nothing, as where no person is.
#[derive(Debug)]
struct NoChain;

impl Keychain for NoChain {
    fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeychainError> {
        Err(KeychainError::new("there is none"))
    }

    fn set(&self, _: &str, _: &[u8]) -> Result<(), KeychainError> {
        Err(KeychainError::new("there is none"))
    }

    fn answers(&self) -> Result<(), KeychainError> {
        Err(KeychainError::new("there is none"))
    }
}

/// The keychain, else a file in a directory, and the key file for homes that it opens.
fn of_several(chain: Arc<dyn Keychain>, dir: &Path) -> AtRest {
    let file = AtRest::FileIn(dir.to_owned());
    AtRest::FirstOf(vec![AtRest::Keychain(chain), file, AtRest::KeyFile])
}

#[test]
fn of_several_the_first_that_answers_seals() {
    let dir = tempfile::tempdir().unwrap();
    for (is_there, code) in [(true, 2), (false, 1)] {
        let mut home = Home::new();
        let chain = Arc::new(Chain::default());
        let source = match is_there {
            true => of_several(chain.clone(), dir.path()),
            false => of_several(Arc::new(NoChain), dir.path()),
        };
        let (mut store, mut sealer) = home.open((&source, None)).unwrap();
        assert_eq!(sealer.source, code);
        home.write(&mut store, &mut sealer, &[row("a", "1")]);
        let node = sealer.node.to_string();
        drop(store);
        assert_eq!(dir.path().join(node).exists(), !is_there);
        assert_eq!(chain.items.lock().unwrap().len(), usize::from(is_there));
        let (mut store, sealer) = home.open((&source, None)).unwrap();
        assert_eq!(rows(&mut store, &sealer), expected(&[("a", "1")]));
    }
}

#[test]
fn what_sealed_before_goes_on_among_several() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::new();
    let (mut store, mut sealer) = home.open(DEFAULT).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1")]);
    drop(store);
    let chain = Arc::new(Chain::default());
    let several = of_several(chain.clone(), dir.path());
    let (mut store, sealer) = home.open((&several, None)).unwrap();
    assert_eq!((sealer.source, rows(&mut store, &sealer).len()), (0, 1));
    drop(store);
    assert!(chain.items.lock().unwrap().is_empty());
    // Once sealed by a keychain, nothing else takes its place while it is locked.
    let keychain = AtRest::Keychain(chain.clone());
    home.open((&keychain, Some(&several))).unwrap();
    chain.is_locked.store(true, Ordering::Relaxed);
    let locked = kind_of(home.open((&several, None)));
    assert!(
        matches!(locked, OpenErrorKind::Keychain { .. }),
        "{locked:?}"
    );
    chain.is_locked.store(false, Ordering::Relaxed);
    let (mut store, sealer) = home.open((&several, None)).unwrap();
    assert_eq!((sealer.source, rows(&mut store, &sealer).len()), (2, 1));
}

#[test]
fn a_source_changes_to_another_of_its_kind() {
    let mut home = Home::new();
    let at = |name: &str| AtRest::File(home.temp.path().join(name));
    let (first, second) = (at("first"), at("second"));
    let by = |text: &str| AtRest::Passphrase(Passphrase::new(text).unwrap());
    let (third, fourth) = (by("correct horse"), by("battery staple"));
    let (mut store, mut sealer) = home.open((&first, None)).unwrap();
    home.write(&mut store, &mut sealer, &[row("a", "1")]);
    drop(store);
    let mut before = &first;
    for next in [&second, &third, &fourth] {
        let (mut store, sealer) = home.open((next, Some(before))).unwrap();
        assert_eq!(rows(&mut store, &sealer).len(), 1);
        drop(store);
        assert!(home.open((before, None)).is_err());
        home.open((next, None)).unwrap();
        before = next;
    }
}

#[test]
fn a_keychain_that_forgets_at_once_seals_nothing() {
    #[derive(Debug)]
    struct Sieve;
    impl Keychain for Sieve {
        fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeychainError> {
            Ok(None)
        }
        fn set(&self, _: &str, _: &[u8]) -> Result<(), KeychainError> {
            Ok(())
        }
    }
    let home = Home::new();
    let found = kind_of(home.open((&AtRest::Keychain(Arc::new(Sieve)), None)));
    assert!(matches!(found, OpenErrorKind::Keychain { .. }), "{found:?}");
}
