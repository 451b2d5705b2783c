//! Ordered maps and sets. They are those of `alloc`, except on WebAssembly: there each pair of key and
//! value type would bring code of its own for the nodes of a B-tree, 40 % of the module of a page
//! (`docs/performance/browser.md`). Sorted vectors with the same names and the same behaviour take their place.

#[cfg(not(target_family = "wasm"))]
pub use alloc::collections::{BTreeMap, BTreeSet, btree_map};

#[cfg(any(test, target_family = "wasm"))]
mod compact;
#[cfg(any(test, target_family = "wasm"))]
mod compact_set;
#[cfg(test)]
mod tests;

#[cfg(target_family = "wasm")]
pub use compact::BTreeMap;
#[cfg(target_family = "wasm")]
pub use compact_set::BTreeSet;

/// Names of `alloc::collections::btree_map`.
#[cfg(target_family = "wasm")]
pub mod btree_map {
    pub use super::compact::Entry;
}
