//! Links, on which everything between two nodes runs, bear what strangers do on them.

use p2panda_hostile::{Behaviour, Place, Plan};

use crate::{holds, plan};

/// Four identities, or this many, at one address that is also the node's.
fn from_one_address(behaviour: Behaviour, identities: usize) -> Plan {
    Plan {
        place: Place::One,
        ..plan(behaviour, identities, 7)
    }
}

#[tokio::test]
async fn links_that_say_little_delay_nobody_and_end() {
    holds(plan(Behaviour::SilentLinks, 8, 13)).await;
}

#[tokio::test]
async fn interest_that_never_rests_delays_nobody() {
    holds(from_one_address(Behaviour::InterestFlood, 4)).await;
}

#[tokio::test]
async fn questions_for_records_without_end_delay_nobody() {
    holds(plan(Behaviour::AskFlood, 4, 7)).await;
}

#[tokio::test]
async fn records_that_nobody_asked_for_stay_within_the_budget() {
    holds(from_one_address(Behaviour::NodesFlood, 4)).await;
}

#[tokio::test]
async fn gossip_over_links_stays_within_the_budget() {
    holds(plan(Behaviour::LinkGossip, 4, 7)).await;
}

#[tokio::test]
async fn a_link_after_its_farewell_ends_on_any_input() {
    holds(plan(Behaviour::Farewells, 4, 7)).await;
}

#[tokio::test]
async fn messages_that_nobody_knows_delay_nobody() {
    holds(from_one_address(Behaviour::UnknownTags, 4)).await;
}

#[tokio::test]
async fn streams_that_never_open_a_session_delay_nobody() {
    holds(plan(Behaviour::UnopenedStreams, 4, 7)).await;
}

#[tokio::test]
async fn proofs_that_prove_nothing_delay_nobody() {
    holds(from_one_address(Behaviour::WrongProofs, 8)).await;
}

#[tokio::test]
async fn ranges_that_are_never_equal_delay_nobody() {
    holds(plan(Behaviour::EndlessRanges, 4, 7)).await;
}

#[tokio::test]
async fn announcements_of_what_there_is_not_delay_nobody() {
    holds(plan(Behaviour::Announcements, 4, 7)).await;
}

#[tokio::test]
async fn receipts_of_what_there_is_not_delay_nobody() {
    holds(plan(Behaviour::Receipts, 4, 7)).await;
}

#[tokio::test]
async fn blocked_logs_without_end_stay_within_the_budget() {
    holds(plan(Behaviour::BlockedLogs, 4, 7)).await;
}

#[tokio::test]
async fn operations_in_pieces_that_never_end_stay_within_the_budget() {
    holds(plan(Behaviour::UnfinishedPieces, 8, 8)).await;
}

#[tokio::test]
async fn pieces_out_of_place_delay_nobody() {
    holds(plan(Behaviour::MisplacedPieces, 4, 7)).await;
}

#[tokio::test]
async fn headers_in_pieces_above_every_limit_stay_within_the_budget() {
    holds(plan(Behaviour::OversizedPieces, 1, 8)).await;
}
