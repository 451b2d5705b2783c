//! What each fuzz target does with its input. A target panics only where a promise is broken.

#![forbid(unsafe_code)]

pub mod encryption;
