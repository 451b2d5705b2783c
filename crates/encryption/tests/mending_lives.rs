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
fn in_long_data_lives_everybody_reads_everybody() {
    mending_data::live(lives(20), steps(600));
}

#[test]
fn in_random_message_lives_everybody_reads_everybody_in_the_end() {
    mending_message::live(lives(200), steps(60));
}

#[test]
fn in_long_message_lives_everybody_reads_everybody() {
    mending_message::live(lives(20), steps(600));
}

/// One life for each way in which a member stayed deaf or silent.
#[test]
fn message_lives_that_did_not_mend_once_do() {
    let (spent_one_time_key, all_restored, unknown_identity) = ((121, 0), (130, 20), (225, 20));
    let (lost_seed, no_chain_yet, own_seed_lost) = ((9, 60), (198, 60), (2_459, 60));
    let (deaf_to_the_adder, restored_before_it_joined) = ((3_495, 60), (1_545, 60));
    let (never_joined, restored_alone, never_welcomed) = ((3, 600), (249, 200), (13_675, 60));
    for (seed, steps) in [
        spent_one_time_key,
        all_restored,
        unknown_identity,
        lost_seed,
        no_chain_yet,
        own_seed_lost,
        deaf_to_the_adder,
        restored_before_it_joined,
        never_joined,
        restored_alone,
        never_welcomed,
    ] {
        mending_message::live_once(seed, steps);
    }
}
