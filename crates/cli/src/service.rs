//! Messages to the service manager that started the node (`sd_notify`), if one did.

use std::time::Duration;

use p2panda::Node;

use crate::output::note;

/// A part of the time after which the service manager gives a node up that says nothing.
const BEATS: u32 = 3;

/// Maximum wait for the service manager to receive a message.
const LISTEN_WAIT: Duration = Duration::from_secs(1);

/// Message of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It can be used.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It ends.
    Stopping,
    /// It is alive.
    Alive,
}

/// Tells the service manager. Without one it does nothing; one that does not listen holds up nothing.
pub async fn say(what: Say) {
    let told = tokio::task::spawn_blocking(move || tell(what));
    match tokio::time::timeout(LISTEN_WAIT, told).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => note(&format!("the service manager cannot be notified: {error}")),
        _ => note("the service manager does not listen"),
    }
}

#[cfg(target_os = "linux")]
fn tell(what: Say) -> std::io::Result<()> {
    use sd_notify::NotifyState;

    match what {
        Say::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Say::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Say::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        // The time tells one reload from another.
        Say::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
    }
}

/// Elsewhere there is none.
#[cfg(not(target_os = "linux"))]
fn tell(_: Say) -> std::io::Result<()> {
    Ok(())
}

/// Returns the time that the service manager waits for a sign of life.
fn patience() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return sd_notify::watchdog_enabled();
    #[cfg(not(target_os = "linux"))]
    None
}

/// Says that the node is alive, for as long as its store can be read. Never ends.
pub async fn watch(node: &Node) {
    let Some(patience) = patience() else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval(patience / BEATS);
    loop {
        beat.tick().await;
        if node.kept_topics(None).await.is_ok() {
            say(Say::Alive).await;
        }
    }
}
