//! Fuzz targets: what each does with its input. A target panics only where a promise is broken.

#![forbid(unsafe_code)]

pub mod encryption;
pub mod link;
pub mod mdns;
pub mod ranges;
#[cfg(feature = "node")]
pub mod rpc;
pub mod space_messages;
pub mod spaces;
pub mod ticket;

/// Inputs to start from, by target.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    [
        encryption::seeds(),
        mdns::seeds(),
        ranges::seeds(),
        link::seeds(),
        spaces::seeds(),
        space_messages::seeds(),
        ticket::seeds(),
    ]
    .concat()
}
