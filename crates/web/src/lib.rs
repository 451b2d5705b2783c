//! What a page needs of p2panda, for WebAssembly (`docs/protocol/operations.md`).
//!
//! The modules [`draft`], [`received`], [`place`] and [`order`] are plain Rust. [`facade`] is what
//! JavaScript sees of them. There are no keys here: the page's key is held by WebCrypto and signs the
//! bytes that [`draft`] makes.

pub mod draft;
pub mod facade;
mod js;
pub mod order;
pub mod place;
pub mod received;
mod value;
