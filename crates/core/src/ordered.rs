//! Ordered maps and sets: those of `alloc`, except on WebAssembly. There, each pair of key and
//! value type would compile its own B-tree nodes, 40 % of the module of a page
//! (`docs/performance/browser.md`). Sorted vectors with the same names and behaviour replace them.

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
