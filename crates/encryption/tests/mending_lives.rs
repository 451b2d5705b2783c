//! Random lives in a world that is not kind, for both schemes. `LIVES`, `FIRST_LIFE` and `STEPS`
//! choose them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/mending_data.rs"]
mod mending_data;
#[path = "support/mending_message.rs"]
mod mending_message;
#[path = "support/world.rs"]
mod world;

use world::*;

#[test]
fn in_random_data_lives_everybody_reads_everybody_in_the_end() {
    mending_data::live(lives(200), steps(60));
}

#[test]
fn in_long_random_data_lives_everybody_reads_everybody_in_the_end() {
    mending_data::live(lives(20), steps(600));
}

#[test]
fn in_random_message_lives_nobody_reads_too_much_and_most_mend() {
    mending_message::live(lives(100), steps(60));
}
