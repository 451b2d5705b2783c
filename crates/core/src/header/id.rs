//! The id of an operation, computed when somebody asks for it: anyone who reads the body only, as
//! views and consumers do, does not pay for the hash.

use crate::Hash;

/// An id that is known, or is computed once.
#[cfg(feature = "std")]
#[derive(Clone, Debug, Default)]
pub(super) struct Id(std::sync::OnceLock<Hash>);

#[cfg(feature = "std")]
impl Id {
    pub(super) fn known(id: Hash) -> Id {
        Id(id.into())
    }

    /// The hash of these bytes, which are always the same.
    pub(super) fn of(&self, bytes: &[u8]) -> Hash {
        *self.0.get_or_init(|| Hash::digest(bytes))
    }
}

/// The same where there are no threads to share it with: it is computed each time unless it is known.
#[cfg(not(feature = "std"))]
#[derive(Clone, Debug, Default)]
pub(super) struct Id(Option<Hash>);

#[cfg(not(feature = "std"))]
impl Id {
    pub(super) fn known(id: Hash) -> Id {
        Id(Some(id))
    }

    pub(super) fn of(&self, bytes: &[u8]) -> Hash {
        self.0.unwrap_or_else(|| Hash::digest(bytes))
    }
}
