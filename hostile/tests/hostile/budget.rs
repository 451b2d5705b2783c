//! Memory, disk, publishes and newcomers, no matter what peers send.

use p2panda_core::limits;
use p2panda_hostile::Behaviour;

use crate::{holds, plan};

#[tokio::test]
async fn streams_that_nobody_accepts_stay_within_the_budget() {
    holds(plan(Behaviour::StreamsNobodyAccepts, 8, 8)).await;
}

#[tokio::test]
async fn the_largest_haves_stay_within_the_budget() {
    holds(plan(Behaviour::LargestHave, 1, 10)).await;
}

#[tokio::test]
async fn the_largest_haves_of_many_stay_within_the_budget() {
    holds(plan(Behaviour::LargestHave, 8, 10)).await;
}

#[tokio::test]
async fn headers_that_cannot_be_read_delay_nobody() {
    holds(plan(Behaviour::UndecodableHeaders, 1, 8)).await;
}

#[tokio::test]
async fn nothing_of_a_header_above_its_limit_is_kept() {
    holds(plan(Behaviour::OversizedHeaders, 1, 8)).await;
}

#[tokio::test]
async fn a_smaller_budget_holds_as_well() {
    let mut plan = plan(Behaviour::LargestHave, 8, 8);
    plan.budget_bytes = limits::BUDGET_OPERATIONS_MIN * limits::OPERATION_BYTES_MAX_DEFAULT;
    holds(plan).await;
}

#[tokio::test]
async fn frames_that_never_end_stay_within_the_budget() {
    holds(plan(Behaviour::UnfinishedFrames, 8, 8)).await;
}

#[tokio::test]
async fn the_address_book_is_bounded_in_bytes() {
    holds(plan(Behaviour::FatRecords, 8, 10)).await;
}

#[tokio::test]
async fn a_record_does_not_make_the_node_a_reflector() {
    holds(plan(Behaviour::ReflectorRecord, 1, 12)).await;
}

#[tokio::test]
async fn fresh_authors_are_slowed_and_come_after_those_known_for_long() {
    holds(plan(Behaviour::FreshAuthors, 1, 12)).await;
}

#[tokio::test]
async fn one_session_does_not_take_the_early_buffer_from_others() {
    holds(plan(Behaviour::EarlyFlood, 1, 10)).await;
}

#[tokio::test]
async fn gossip_payload_stays_within_the_budget() {
    holds(plan(Behaviour::GossipPayload, 4, 8)).await;
}

#[tokio::test]
async fn connections_that_do_nothing_delay_nobody() {
    holds(plan(Behaviour::ManyConnections, 8, 8)).await;
}

#[tokio::test]
async fn slow_handshakes_delay_nobody() {
    holds(plan(Behaviour::SlowHandshake, 8, 8)).await;
}
