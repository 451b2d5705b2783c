//! Sealing of the plaintext of messages, with keys that the store does not know
//! (`docs/protocol/at-rest.md#5`).

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use p2panda_core::Hash;

/// Seals plaintext and opens it.
pub trait Plaintexts: fmt::Debug + Send + Sync {
    /// Seals the plaintext of the operation with this id.
    fn seal(&self, id: &Hash, plaintext: &[u8]) -> Vec<u8>;

    /// Opens it; `None`: it is damaged, or of another operation.
    fn open(&self, id: &Hash, sealed: &[u8]) -> Option<Bytes>;
}

/// Shared by a database and its readers: seals and opens plaintext.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealing(pub(crate) Arc<OnceLock<Set>>);

#[derive(Debug)]
pub(crate) struct Set {
    pub by: Arc<dyn Plaintexts>,
    /// `true` if new plaintext is sealed.
    pub seals: bool,
}

impl Sealing {
    /// Opens the sealed plaintext of a row. `None` if it cannot be opened here.
    pub(crate) fn open(&self, id: &Hash, sealed: &[u8]) -> Option<Bytes> {
        self.0.get()?.by.open(id, sealed)
    }

    /// Returns the value to store, and its code in the column `opened_by`.
    pub(crate) fn stored<'p>(&self, header: &[u8], plaintext: Option<&'p [u8]>) -> Stored<'p> {
        match (self.0.get().filter(|set| set.seals), plaintext) {
            (Some(set), Some(plaintext)) => Stored {
                bytes: Some(set.by.seal(&Hash::digest(header), plaintext).into()),
                code: Some(SEALED),
            },
            (_, plaintext) => Stored {
                bytes: plaintext.map(Cow::Borrowed),
                code: None,
            },
        }
    }
}

/// The columns `opened` and `opened_by`.
pub(crate) struct Stored<'p> {
    pub bytes: Option<Cow<'p, [u8]>>,
    pub code: Option<i64>,
}

/// The column `opened_by` where `opened` is sealed. It is NULL where it is not.
const SEALED: i64 = 1;
