//! Rows of spaces and keys, sealed before they are stored (`docs/protocol/at-rest.md`).

mod keychain;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, thread};

use bytes::Bytes;
use p2panda_core::{Hash, SigningKey, VerifyingKey};
use p2panda_encryption::passphrase::{Cost, Passphrase};
use p2panda_encryption::{Row, aead};
use p2panda_store::{
    OpenError, OpenErrorKind, Plaintexts, SealedRow, Store, StoreError, StoreErrorKind, Tx,
    WrappedKey, check_secret_file, secret_file,
};
use rand_core::Rng;
use zeroize::Zeroizing;

pub use keychain::{Keychain, KeychainError};

/// Source of the secret that opens what is sealed in the database (`docs/protocol/at-rest.md#2`).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum AtRest {
    /// The node's signing key: anyone who has the whole directory opens it.
    #[default]
    KeyFile,
    /// A file of its own, which should not lie in the data directory and not be backed up with it.
    File(PathBuf),
    /// Such a file in a directory, named after the node.
    FileIn(PathBuf),
    /// The keychain of the system, or another one.
    Keychain(Arc<dyn Keychain>),
    /// A passphrase (Argon2id): each open takes 64 MiB of memory for a moment, and part of a second.
    Passphrase(Passphrase),
    /// Of several sources, the one that opens the sealed rows. While nothing is sealed: the first
    /// one, without keychains that do not answer ([`Keychain::answers`]).
    FirstOf(Vec<AtRest>),
}

/// The version of a wrapped key.
const VERSION: u8 = 1;

const SECRET_CONTEXT: &str = "p2panda at rest secret v1";
const WRAP_CONTEXT: &str = "p2panda at rest wrap v1";
const NAMES_CONTEXT: &str = "p2panda at rest names v1";
const ROWS_CONTEXT: &str = "p2panda at rest rows v1";
const PLAIN_CONTEXT: &str = "p2panda at rest plaintext v1";
const NONCES_CONTEXT: &str = "p2panda at rest nonces v1";

/// Keys seal once, so that the nonce need not differ.
const NONCE: [u8; 24] = [0; 24];

/// Rows for which starting a thread is worth it.
const OPENED_BY_A_THREAD: usize = 1_024;

type Key = Zeroizing<[u8; 32]>;

/// Seals and opens the rows of one node.
pub(crate) struct Sealer {
    node: VerifyingKey,
    source: u8,
    secret: Key,
    /// Salt of the secret, and of the next wrapped key.
    salt: [u8; 32],
    /// The key of all rows, before there are any.
    drawn: Option<Key>,
    /// Once there are rows.
    keys: Option<Keys>,
    /// The keys were drawn in the transaction that runs.
    fresh: bool,
}

struct Keys {
    stored: WrappedKey,
    names: Key,
    rows: Key,
    plaintexts: Arc<MessageKeys>,
}

/// The keys of the plaintext of messages.
struct MessageKeys {
    plain: Key,
    nonces: Key,
}

impl fmt::Debug for MessageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageKeys").finish_non_exhaustive()
    }
}

impl Plaintexts for MessageKeys {
    fn seal(&self, id: &Hash, plaintext: &[u8]) -> Vec<u8> {
        // It follows from what is sealed: another plaintext never has the same one.
        let mut hasher = blake3::Hasher::new_keyed(&self.nonces);
        hasher.update(id.as_bytes()).update(plaintext);
        let mut nonce = [0; 24];
        hasher.finalize_xof().fill(&mut nonce);
        let sealed = aead::seal_x(&self.plain, &nonce, id.as_bytes(), plaintext);
        let sealed = sealed.expect("a message is below 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    fn open(&self, id: &Hash, sealed: &[u8]) -> Option<Bytes> {
        let (nonce, sealed) = sealed.split_first_chunk::<24>()?;
        let opened = aead::open_x(&self.plain, nonce, id.as_bytes(), sealed).ok()?;
        Some(Bytes::copy_from_slice(&opened))
    }
}

/// A data key that is stored in a directory, wrapped.
struct Found<'a> {
    dir: &'a Path,
    wrapped: Vec<u8>,
}

/// A row that was opened: its key, and what is stored there.
pub(crate) type Opened = (Vec<u8>, Zeroizing<Vec<u8>>);

impl AtRest {
    /// Checks the file of an [`AtRest::File`], without changing it. Where it is missing, the first open
    /// makes it, unless something is sealed already.
    ///
    /// # Errors
    /// What an open would say about the file.
    pub fn check_file(&self) -> Result<(), OpenError> {
        match self {
            AtRest::File(path) => check_secret_file(path),
            _ => Ok(()),
        }
    }

    /// Number of the source in a wrapped key; `FirstOf` has none.
    fn code(&self) -> Option<u8> {
        match self {
            AtRest::KeyFile => Some(0),
            AtRest::File(_) | AtRest::FileIn(_) => Some(1),
            AtRest::Keychain(_) => Some(2),
            AtRest::Passphrase(_) => Some(3),
            AtRest::FirstOf(_) => None,
        }
    }

    /// Returns the source itself, or the sources of `FirstOf`. These are not nested.
    fn each(&self) -> &[AtRest] {
        match self {
            AtRest::FirstOf(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// Returns the source with this number.
    fn with_code(&self, code: u8) -> Option<&AtRest> {
        let mut each = self.each().iter();
        each.find(|one| one.code() == Some(code))
    }

    /// Returns the source that seals from now on.
    fn chosen(&self) -> &AtRest {
        let answers = |one: &&AtRest| match one {
            AtRest::Keychain(keychain) => keychain.answers().is_ok(),
            AtRest::FirstOf(_) => false,
            _ => true,
        };
        match self {
            AtRest::FirstOf(all) => all.iter().find(answers).unwrap_or(&AtRest::KeyFile),
            one => one,
        }
    }

    /// With a passphrase it follows from the salt of the wrapped key.
    fn secret(&self, key: &SigningKey, salt: &[u8; 32], may_make: bool) -> Result<Key, OpenError> {
        let given = match self {
            AtRest::KeyFile | AtRest::FirstOf(_) => key.to_bytes(),
            AtRest::File(path) => secret_file(path, may_make)?,
            AtRest::FileIn(dir) => {
                secret_file(&dir.join(key.verifying_key().to_string()), may_make)?
            }
            AtRest::Keychain(keychain) => {
                keychain::secret(keychain.as_ref(), &key.verifying_key(), may_make)?
            }
            AtRest::Passphrase(passphrase) => {
                let key = passphrase.key(salt, Cost::OURS);
                let key = key.map_err(|_| OpenError::new(OpenErrorKind::NoMemory))?;
                Zeroizing::new(*key.as_bytes())
            }
        };
        Ok(derive(SECRET_CONTEXT, given.as_slice()))
    }
}

/// Name of a source in the configuration, by its number in a wrapped key.
pub fn source_name(code: u8) -> Option<&'static str> {
    let names = ["key-file", "file", "keychain", "passphrase"];
    names.get(usize::from(code)).copied()
}

fn name_of(code: u8) -> &'static str {
    match code {
        0 => "the key file",
        1 => "a secret in a file of its own",
        2 => "a secret in the keychain",
        3 => "a passphrase",
        _ => "a secret that this version does not know",
    }
}

impl Found<'_> {
    /// Opens the data key with a source, without creating its secret.
    fn opened(&self, by: &AtRest, key: &SigningKey) -> Result<(Sealer, Key), OpenError> {
        let code = source_of(&self.wrapped);
        let dir = self.dir.into();
        let Some(source) = by.with_code(code) else {
            let by = name_of(code);
            return Err(OpenError::new(OpenErrorKind::SealedElsewhere { dir, by }));
        };
        let salt = salt_of(&self.wrapped).unwrap_or_default();
        let sealer = Sealer::by(source, key, salt, false)?;
        match unwrapped(&sealer.secret, &sealer.node, &self.wrapped) {
            Some(data_key) => Ok((sealer, data_key)),
            None => Err(OpenError::new(match source {
                AtRest::Passphrase(_) => OpenErrorKind::WrongPassphrase { dir },
                _ => OpenErrorKind::SealedDamaged { dir },
            })),
        }
    }
}

impl Sealer {
    /// For a node without rows, whose secret is its signing key.
    pub fn new(key: &SigningKey) -> Sealer {
        Sealer {
            node: key.verifying_key(),
            source: 0,
            secret: derive(SECRET_CONTEXT, key.to_bytes().as_slice()),
            salt: [0; 32],
            drawn: None,
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
        let key = store.signing_key().clone();
        let mut tx = store.begin(p2panda_store::Durability::Full)?;
        let Some((stored, wrapped)) = tx.wrapped_key(&key.verifying_key())? else {
            return Sealer::by(at_rest.chosen(), &key, *p2panda_store::draw_secret()?, true);
        };
        let found = Found { dir, wrapped };
        let here = found.opened(at_rest, &key);
        let (sealer, data_key) = match (here, before) {
            (Ok(here), _) => here,
            (Err(error), None) => return Err(error),
            (Err(_), Some(before)) => {
                let (_, data_key) = found.opened(before, &key)?;
                let salt = *p2panda_store::draw_secret()?;
                let sealer = Sealer::by(at_rest.chosen(), &key, salt, true)?;
                let wrapped = sealer.wrap(&data_key, &sealer.salt);
                tx.put_wrapped_key(&sealer.node, &wrapped)?;
                (sealer, data_key)
            }
        };
        tx.commit()?;
        let keys = Some(Keys::of(stored, &data_key));
        Ok(Sealer { keys, ..sealer })
    }

    /// State before there are keys.
    fn by(
        source: &AtRest,
        key: &SigningKey,
        salt: [u8; 32],
        may_make: bool,
    ) -> Result<Sealer, OpenError> {
        Ok(Sealer {
            source: source.code().unwrap_or_default(),
            secret: source.secret(key, &salt, may_make)?,
            salt,
            ..Sealer::new(key)
        })
    }

    /// All rows.
    pub fn load(&self, tx: &Tx<'_>) -> Result<Vec<Opened>, StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(Vec::new());
        };
        let rows = tx.sealed_rows(keys.stored)?;
        let opened = keys.open_all(&rows);
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
        self.draw(tx, rng)?;
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

    /// Makes the keys, unless they are there.
    pub fn draw(&mut self, tx: &mut Tx<'_>, rng: &mut impl Rng) -> Result<(), StoreError> {
        if self.keys.is_some() {
            return Ok(());
        }
        // Once drawn it stays, so that nothing else is ever wrapped with this salt.
        let key = self.drawn.get_or_insert_with(|| {
            let mut key = Key::default();
            rng.fill_bytes(key.as_mut_slice());
            key
        });
        let key = key.clone();
        let wrapped = self.wrap(&key, &self.salt);
        let stored = tx.put_wrapped_key(&self.node, &wrapped)?;
        self.keys = Some(Keys::of(stored, &key));
        self.fresh = true;
        Ok(())
    }

    /// Returns what seals and opens the plaintext of messages, once there are keys.
    pub fn plaintexts(&self) -> Option<Arc<dyn Plaintexts>> {
        let keys = self.keys.as_ref()?;
        Some(Arc::clone(&keys.plaintexts) as Arc<dyn Plaintexts>)
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

fn salt_of(wrapped: &[u8]) -> Option<[u8; 32]> {
    wrapped.get(2..)?.first_chunk().copied()
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
            plaintexts: Arc::new(MessageKeys {
                plain: derive(PLAIN_CONTEXT, key.as_slice()),
                nonces: derive(NONCES_CONTEXT, key.as_slice()),
            }),
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

    /// Opens rows, many of them on all processors; none if one of them is damaged.
    fn open_all(&self, rows: &[SealedRow]) -> Option<Vec<Opened>> {
        let open = |rows: &[SealedRow]| -> Option<Vec<Opened>> {
            rows.iter().map(|row| self.open(row)).collect()
        };
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let each = rows.len().div_ceil(processors).max(OPENED_BY_A_THREAD);
        let (own, others) = rows.split_at(rows.len().min(each));
        thread::scope(|scope| {
            let spawn = |rows| {
                let spawned = thread::Builder::new().spawn_scoped(scope, move || open(rows));
                spawned.map_err(|_| rows)
            };
            let spawned: Vec<_> = others.chunks(each).map(spawn).collect();
            let mut opened = open(own)?;
            for part in spawned {
                opened.extend(match part {
                    Ok(part) => part.join().ok()??,
                    // No thread could be started.
                    Err(rows) => open(rows)?,
                });
            }
            Some(opened)
        })
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
#[path = "at_rest/tests.rs"]
mod tests;
