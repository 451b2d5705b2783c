//! Use of the topic streams of a link by a peer, and its limits (`docs/protocol/link.md#4`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use p2panda_core::limits::{
    LINK_BROKEN_STREAMS_MAX, LINK_BROKEN_STREAMS_TIME, LINK_OPENS_PER_OVERLAY_MAX,
    LINK_OPENS_SPARE_MAX,
};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// Sessions of a link that ended because the peer broke a rule or passed a limit. Clones share the
/// count.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokenSessions(Arc<AtomicUsize>);

impl BrokenSessions {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// The peer does more on a link than any peer needs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// Conduct of a peer on one link.
#[derive(Debug)]
pub(crate) struct Conduct {
    sessions: BrokenSessions,
    broken: Window,
    opens: Window,
    /// The most overlays that were common in the window of the opens.
    common: usize,
}

/// This many within a time that begins with the first one.
#[derive(Debug)]
struct Window {
    since: Instant,
    time: Duration,
    count: usize,
}

impl Window {
    fn new(time: Duration, now: Instant) -> Self {
        Self {
            since: now,
            time,
            count: 0,
        }
    }

    /// Returns `true` if it restarts.
    fn turn(&mut self, now: Instant) -> bool {
        let over = now.duration_since(self.since) >= self.time;
        if over {
            (self.since, self.count) = (now, 0);
        }
        over
    }
}

impl Conduct {
    pub(crate) fn new(sessions: BrokenSessions, now: Instant) -> Self {
        Self {
            sessions,
            broken: Window::new(LINK_BROKEN_STREAMS_TIME, now),
            opens: Window::new(MINUTE, now),
            common: 0,
        }
    }

    /// A stream began with something else than it has to.
    pub(crate) fn stream_broken(&mut self, now: Instant) -> Result<(), TooMuch> {
        self.count_broken(1, now)
    }

    /// The peer asks for a session, while this many overlays are common.
    pub(crate) fn opens(&mut self, common: usize, now: Instant) -> Result<(), TooMuch> {
        let broken = self.sessions.take();
        self.count_broken(broken, now)?;
        if self.opens.turn(now) {
            self.common = 0;
        }
        self.common = self.common.max(common);
        self.opens.count += 1;
        let allowed = LINK_OPENS_SPARE_MAX + LINK_OPENS_PER_OVERLAY_MAX * self.common;
        (self.opens.count <= allowed).then_some(()).ok_or(TooMuch)
    }

    fn count_broken(&mut self, count: usize, now: Instant) -> Result<(), TooMuch> {
        self.broken.turn(now);
        self.broken.count += count;
        let fits = self.broken.count <= LINK_BROKEN_STREAMS_MAX;
        fits.then_some(()).ok_or(TooMuch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct(now: Instant) -> (Conduct, BrokenSessions) {
        let sessions = BrokenSessions::default();
        (Conduct::new(sessions.clone(), now), sessions)
    }

    #[test]
    fn a_hundred_broken_streams_an_hour_are_borne() {
        let now = Instant::now();
        let (mut conduct, sessions) = conduct(now);
        for _ in 0..LINK_BROKEN_STREAMS_MAX - 1 {
            assert_eq!(conduct.stream_broken(now), Ok(()));
        }
        sessions.add();
        assert_eq!(conduct.opens(1, now), Ok(()));
        sessions.add();
        assert_eq!(conduct.opens(1, now), Err(TooMuch));
        let later = now + LINK_BROKEN_STREAMS_TIME;
        assert_eq!(conduct.opens(1, later), Ok(()));
    }

    #[test]
    fn sessions_in_a_minute_are_bounded_by_common_overlays() {
        let start = Instant::now();
        let (mut conduct, _) = conduct(start);
        for minute in 0..3 {
            let now = start + MINUTE * minute;
            let allowed = LINK_OPENS_SPARE_MAX + 10 * LINK_OPENS_PER_OVERLAY_MAX;
            // They count as common although the last ones were left meanwhile.
            for number in 0..allowed {
                let common = if number == 0 { 10 } else { 0 };
                assert_eq!(conduct.opens(common, now), Ok(()));
            }
            assert_eq!(conduct.opens(0, now), Err(TooMuch));
        }
    }
}
