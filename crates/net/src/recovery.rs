//! Notices that the machine slept or its network changed, and tries everything again at once.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::JumpWatch;
use crate::event::NetEvent;
use crate::shared::Shared;

/// Compares the clocks until the network is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut check = interval(shared.timings.clock_check);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = JumpWatch::start();
    loop {
        tokio::select! {
            _ = check.tick() => {}
            () = shared.signals.stopped() => return,
        }
        if watch.jumped(Instant::now(), SystemTime::now()) {
            recover(&shared).await;
        }
    }
}

/// Has the endpoint look at its addresses, and everyone else try again without waiting.
pub(crate) async fn recover(shared: &Shared) {
    tracing::info!("the machine slept or the network changed; everything is tried again");
    shared.endpoint.network_change().await;
    shared.book.lock().start_anew();
    shared.signals.reset();
    shared.signals.tell(NetEvent::Recovering);
}
