//! Check that the peer of a session is still there, when it shows up next to the session.

use iroh::endpoint::Connection;
use p2panda_core::limits;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::budget::Window;

/// Looks at a connection when asked to.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Time until which an answer is waited for, and the number of datagrams that had come before.
    running: Option<(Instant, u64)>,
}

impl Probe {
    /// Resolves when the peer was asked for and gave no sign in time. May be cancelled at any point.
    pub(super) async fn silent(
        &mut self,
        asked: &Notify,
        connection: &Connection,
        window: &Window,
    ) {
        loop {
            let Some((until, before)) = self.running else {
                asked.notified().await;
                window.touch();
                let until = Instant::now() + wait(connection);
                self.running = Some((until, received(connection)));
                continue;
            };
            sleep_until(until).await;
            self.running = None;
            if received(connection) == before {
                return;
            }
        }
    }
}

fn received(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams
}

/// Time for the question and its answer, and to repeat it if it is lost.
fn wait(connection: &Connection) -> std::time::Duration {
    let rtt = connection.paths().iter().map(|path| path.rtt()).max();
    limits::PROBE_TIMEOUT + rtt.unwrap_or_default() * limits::PROBE_ROUND_TRIPS
}
