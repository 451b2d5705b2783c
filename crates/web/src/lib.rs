//! Parts of p2panda that a page needs, for WebAssembly (`docs/protocol/operations.md`,
//! `docs/protocol/spaces.md`).
//!
//! The modules [`draft`], [`received`], [`place`], [`order`] and [`spaces`] are plain Rust. [`facade`] and
//! `spaces::facade` are what JavaScript sees of them, each a module of WebAssembly of its own (features
//! `operations` and `spaces`). There are no signing keys here: the page's key is held by WebCrypto and signs
//! the bytes that these modules make.

pub mod draft;
#[cfg(feature = "operations")]
pub mod facade;
mod js;
#[cfg(feature = "operations")]
pub mod order;
#[cfg(feature = "operations")]
pub mod passphrase;
#[cfg(feature = "operations")]
pub mod place;
#[cfg(feature = "operations")]
pub mod received;
#[cfg(feature = "spaces")]
pub mod spaces;
#[cfg(feature = "operations")]
mod value;
