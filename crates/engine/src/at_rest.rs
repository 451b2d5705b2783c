//! Rows of spaces and keys, sealed before they are stored (`docs/protocol/at-rest.md`).

use std::path::{Path, PathBuf};

use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_encryption::{Row, aead};
use p2panda_store::{
    OpenError, OpenErrorKind, SealedRow, Store, StoreError, StoreErrorKind, Tx, WrappedKey,
    secret_file,
};
use rand_core::Rng;
use zeroize::Zeroizing;

/// Where the secret comes from that opens what is sealed in the database
/// (`docs/protocol/at-rest.md#2`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtRest {
    /// The node's signing key: anyone who has the whole directory opens it.
    #[default]
    KeyFile,
    /// A file of its own, which should not lie in the data directory and not be backed up with it.
    File(PathBuf),
}

/// The version of a wrapped key.
const VERSION: u8 = 1;

const SECRET_CONTEXT: &str = "p2panda at rest secret v1";
const WRAP_CONTEXT: &str = "p2panda at rest wrap v1";
const NAMES_CONTEXT: &str = "p2panda at rest names v1";
const ROWS_CONTEXT: &str = "p2panda at rest rows v1";

/// Keys seal once, so that the nonce need not differ.
const NONCE: [u8; 24] = [0; 24];

type Key = Zeroizing<[u8; 32]>;

/// Seals and opens the rows of one node.
pub(crate) struct Sealer {
    node: VerifyingKey,
    source: u8,
    secret: Key,
    /// Once there are rows.
    keys: Option<Keys>,
    /// The keys were drawn in the transaction that runs.
    fresh: bool,
}

struct Keys {
    stored: WrappedKey,
    names: Key,
    rows: Key,
}

/// A row that was opened: its key, and what is stored there.
pub(crate) type Opened = (Vec<u8>, Zeroizing<Vec<u8>>);

impl AtRest {
    fn code(&self) -> u8 {
        match self {
            AtRest::KeyFile => 0,
            AtRest::File(_) => 1,
        }
    }

    fn secret(&self, key: &SigningKey, may_make: bool) -> Result<Key, OpenError> {
        match self {
            AtRest::KeyFile => Ok(derive(SECRET_CONTEXT, key.to_bytes().as_slice())),
            AtRest::File(path) => {
                let secret = secret_file(path, may_make)?;
                Ok(derive(SECRET_CONTEXT, secret.as_slice()))
            }
        }
    }
}

fn name_of(code: u8) -> &'static str {
    match code {
        0 => "the key file",
        1 => "a secret in a file of its own",
        _ => "a secret that this version does not know",
    }
}

impl Sealer {
    /// For a node without rows, whose secret is its signing key.
    pub fn new(key: &SigningKey) -> Sealer {
        Sealer {
            node: key.verifying_key(),
            source: AtRest::KeyFile.code(),
            secret: derive(SECRET_CONTEXT, key.to_bytes().as_slice()),
            keys: None,
            fresh: false,
        }
    }

    /// Finds the keys of a directory, without making any. With `before`, what was wrapped by a
    /// secret from there is wrapped again.
    pub fn open(
        dir: &Path,
        store: &mut Store,
        (at_rest, before): (&AtRest, Option<&AtRest>),
    ) -> Result<Sealer, OpenError> {
        let signing_key = store.signing_key().clone();
        let node = signing_key.verifying_key();
        let mut tx = store.begin(p2panda_store::Durability::Full)?;
        let found = tx.wrapped_key(&node)?;
        let source = at_rest.code();
        let is_here = found.as_ref().is_none_or(|(_, w)| source_of(w) == source);
        let mut sealer = Sealer {
            node,
            source,
            secret: at_rest.secret(&signing_key, found.is_none() || before.is_some())?,
            keys: None,
            fresh: false,
        };
        let Some((stored, wrapped)) = found else {
            return Ok(sealer);
        };
        let damaged = || OpenError::new(OpenErrorKind::SealedDamaged { dir: dir.into() });
        let secret = match before.filter(|_| !is_here) {
            _ if is_here => sealer.secret.clone(),
            Some(before) if before.code() == source_of(&wrapped) => {
                before.secret(&signing_key, false)?
            }
            _ => {
                let by = name_of(source_of(&wrapped));
                let dir = dir.into();
                return Err(OpenError::new(OpenErrorKind::SealedElsewhere { dir, by }));
            }
        };
        let key = unwrapped(&secret, &node, &wrapped).ok_or_else(damaged)?;
        if !is_here {
            let salt = p2panda_store::draw_secret()?;
            let wrapped = sealer.wrap(&key, &salt);
            tx.put_wrapped_key(&node, &wrapped)?;
        }
        tx.commit()?;
        sealer.keys = Some(Keys::of(stored, &key));
        Ok(sealer)
    }

    /// All rows.
    pub fn load(&self, tx: &Tx<'_>) -> Result<Vec<Opened>, StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(Vec::new());
        };
        let rows = tx.sealed_rows(keys.stored)?.into_iter();
        let opened = rows.map(|row| keys.open(&row));
        let opened: Option<Vec<Opened>> = opened.collect();
        opened.ok_or_else(|| StoreError::new(StoreErrorKind::Damaged))
    }

    /// Stores rows; whether something was forgotten by it, which must not stay readable in the files.
    pub fn store(
        &mut self,
        tx: &mut Tx<'_>,
        rows: &[Row],
        rng: &mut impl Rng,
    ) -> Result<bool, StoreError> {
        if rows.is_empty() {
            return Ok(false);
        }
        if self.keys.is_none() {
            let (mut key, mut salt) = (Key::default(), [0; 32]);
            rng.fill_bytes(key.as_mut_slice());
            rng.fill_bytes(&mut salt);
            let stored = tx.put_wrapped_key(&self.node, &self.wrap(&key, &salt))?;
            self.keys = Some(Keys::of(stored, &key));
            self.fresh = true;
        }
        let Some(keys) = &self.keys else {
            return Ok(false);
        };
        let mut forgets = false;
        for row in rows {
            let name = keys.name(&row.key);
            forgets |= match &row.value {
                Some(value) => {
                    let mut salt = [0; 32];
                    rng.fill_bytes(&mut salt);
                    tx.put_sealed(keys.stored, &keys.seal(name, salt, &row.key, value))?
                }
                None => tx.forget_sealed(keys.stored, &name)?,
            };
        }
        Ok(forgets)
    }

    /// The transaction is committed.
    pub fn settle(&mut self) {
        self.fresh = false;
    }

    /// The transaction was taken back.
    pub fn take_back(&mut self) {
        if self.fresh {
            self.keys = None;
        }
        self.fresh = false;
    }

    fn wrap(&self, key: &Key, salt: &[u8; 32]) -> Vec<u8> {
        let wrap = wrap_key(&self.secret, salt);
        let aad = [&[VERSION, self.source][..], self.node.as_bytes()].concat();
        let sealed = aead::seal_x(&wrap, &NONCE, &aad, key.as_slice());
        let sealed = sealed.expect("32 bytes are not too long");
        [&[VERSION, self.source][..], salt, &sealed].concat()
    }
}

fn source_of(wrapped: &[u8]) -> u8 {
    wrapped.get(1).copied().unwrap_or(u8::MAX)
}

fn unwrapped(secret: &Key, node: &VerifyingKey, wrapped: &[u8]) -> Option<Key> {
    let (begin, rest) = wrapped.split_first_chunk::<2>()?;
    let (salt, sealed) = rest.split_first_chunk::<32>()?;
    if begin.first() != Some(&VERSION) {
        return None;
    }
    let aad = [&begin[..], node.as_bytes()].concat();
    let opened = aead::open_x(&wrap_key(secret, salt), &NONCE, &aad, sealed).ok()?;
    Some(Zeroizing::new(<[u8; 32]>::try_from(&opened[..]).ok()?))
}

fn wrap_key(secret: &Key, salt: &[u8; 32]) -> Key {
    let material = Zeroizing::new([secret.as_slice(), salt].concat());
    derive(WRAP_CONTEXT, &material)
}

fn derive(context: &str, material: &[u8]) -> Key {
    Zeroizing::new(blake3::derive_key(context, material))
}

impl Keys {
    fn of(stored: WrappedKey, key: &Key) -> Keys {
        Keys {
            stored,
            names: derive(NAMES_CONTEXT, key.as_slice()),
            rows: derive(ROWS_CONTEXT, key.as_slice()),
        }
    }

    fn name(&self, row_key: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.names, row_key).as_bytes()
    }

    fn row_key(&self, salt: &[u8; 32]) -> Key {
        Zeroizing::new(*blake3::keyed_hash(&self.rows, salt).as_bytes())
    }

    fn seal(&self, name: [u8; 32], salt: [u8; 32], key: &[u8], value: &[u8]) -> SealedRow {
        let length = u32::try_from(key.len()).expect("keys of rows are short");
        let plain = Zeroizing::new([&length.to_be_bytes()[..], key, value].concat());
        let sealed = aead::seal_x(&self.row_key(&salt), &NONCE, &name, &plain);
        SealedRow::new(name, salt, sealed.expect("a row is below 256 GiB"))
    }

    fn open(&self, row: &SealedRow) -> Option<Opened> {
        let row_key = self.row_key(&row.salt);
        let plain = aead::open_x(&row_key, &NONCE, &row.name, &row.value).ok()?;
        let (length, rest) = plain.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (key, value) = rest.split_at_checked(length)?;
        (self.name(key) == row.name).then(|| (key.to_vec(), Zeroizing::new(value.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use std::collections::BTreeMap;
    use std::fs;

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

    /// What becomes of a directory with two rows into which somebody writes.
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
}
