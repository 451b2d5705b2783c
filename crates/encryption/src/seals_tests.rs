//! No key is used with one nonce twice, no matter what happens and who continues from a backup.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/support/mending_data.rs"]
mod mending_data;
#[path = "../tests/support/mending_message.rs"]
mod mending_message;
#[path = "../tests/support/world.rs"]
mod world;

use crate::aead::watch::seals;

#[test]
fn data_lives_with_backups_use_no_key_and_nonce_twice() {
    let sealed = seals(|| mending_data::live(world::lives(100), world::steps(60)));
    assert!(sealed > 1_000);
}

#[test]
fn message_lives_with_backups_use_no_key_and_nonce_twice() {
    let sealed = seals(|| mending_message::live(world::lives(100), world::steps(60)));
    assert!(sealed > 1_000);
}
