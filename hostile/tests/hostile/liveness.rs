//! Honest peers hear each other, no matter what others hold back.

use p2panda_hostile::{Behaviour, Margin};

use crate::{holds, plan, run};

#[tokio::test]
async fn a_liar_about_the_own_log_holds_publishes_for_a_moment_only() {
    holds(plan(Behaviour::LiarOwnLog, 1, 12)).await;
}

#[tokio::test]
async fn wrong_signatures_delay_nobody() {
    holds(plan(Behaviour::InvalidFlood, 4, 8)).await;
}

/// Mostly waits, so it takes no room from others.
#[tokio::test]
async fn a_dripping_session_does_not_hide_honest_messages() {
    let broken = run(plan(Behaviour::Drip, 1, 42))
        .await
        .broken(Margin::Tenfold);
    assert!(broken.is_empty(), "{broken:?}");
}

/// Mostly waits, so it takes no room from others.
#[tokio::test]
async fn two_silent_sessions_do_not_keep_each_other_alive() {
    let broken = run(plan(Behaviour::SilentPair, 1, 70))
        .await
        .broken(Margin::Tenfold);
    assert!(broken.is_empty(), "{broken:?}");
}
