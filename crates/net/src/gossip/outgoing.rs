//! The queue of messages to a peer, on any carrier.

use std::collections::VecDeque;

use bytes::Bytes;
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::gossip::Kind;
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A bounded queue in front of a carrier: what is pushed here, the carrier takes out and sends.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: Mutex<Queue>,
    /// For the carrier: there is something to send, or it is to end.
    changed: Notify,
    /// For anyone who has more to send: there is room again.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The carrier sends what it took out last.
    sending: bool,
    closed: Option<CloseCode>,
}

#[derive(Debug)]
struct Frame {
    overlay: Overlay,
    bytes: Bytes,
    last: bool,
}

/// Frames of one overlay, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) overlay: Overlay,
    pub(super) frames: Vec<Bytes>,
    /// The stream ends with them.
    pub(super) last: bool,
}

/// Outcome of handing over a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It will be sent, if the connection lives.
    Taken,
    /// It is a broadcast, and too much waits already.
    Lost,
    /// Not even what keeps overlays together fits any more.
    Full,
}

impl Outgoing {
    /// Queues a frame. `spare_bytes`: what may wait beyond the bound for broadcasts.
    pub(super) fn push(
        &self,
        overlay: Overlay,
        bytes: Bytes,
        kind: Kind,
        spare_bytes: usize,
    ) -> Pushed {
        let mut queue = self.queue.lock();
        let room = match kind {
            Kind::Payload => limits::GOSSIP_QUEUE_BYTES_MAX,
            Kind::Ask | Kind::Control | Kind::Last => limits::GOSSIP_QUEUE_BYTES_MAX + spare_bytes,
        };
        if queue.closed.is_some() {
            return Pushed::Lost;
        }
        if queue.bytes + bytes.len() > room {
            return match kind {
                Kind::Payload => Pushed::Lost,
                _ => Pushed::Full,
            };
        }
        queue.bytes += bytes.len();
        queue.frames.push_back(Frame {
            overlay,
            bytes,
            last: kind == Kind::Last,
        });
        drop(queue);
        self.changed.notify_one();
        Pushed::Taken
    }

    /// Returns `true` if broadcasts fit.
    pub(super) fn has_room(&self) -> bool {
        self.queue.lock().bytes < limits::GOSSIP_QUEUE_BYTES_MAX / 2
    }

    /// Returns `true` if the carrier ends or has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.lock().closed.is_some()
    }

    /// Resolves when broadcasts fit again, or the carrier has ended.
    pub(super) async fn emptied(&self) {
        self.wait(|queue| queue.bytes < limits::GOSSIP_QUEUE_BYTES_MAX / 2)
            .await;
    }

    /// Resolves when everything was handed to the transport, or the carrier has ended.
    pub(super) async fn flushed(&self) {
        self.wait(|queue| queue.frames.is_empty() && !queue.sending)
            .await;
    }

    async fn wait(&self, is_so: impl Fn(&Queue) -> bool) {
        loop {
            let emptied = self.emptied.notified();
            {
                let queue = self.queue.lock();
                if queue.closed.is_some() || is_so(&queue) {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// The next frames to send; an error when the carrier is to end. May be cancelled.
    pub(super) async fn next(&self) -> Result<Batch, CloseCode> {
        loop {
            let changed = self.changed.notified();
            if let Some(next) = self.take() {
                return next;
            }
            changed.await;
        }
    }

    /// Returns what `next` would, if it is ready.
    pub(super) fn take(&self) -> Option<Result<Batch, CloseCode>> {
        let mut queue = self.queue.lock();
        if let Some(code) = queue.closed {
            return Some(Err(code));
        }
        queue.sending = false;
        let mut batch: Option<Batch> = None;
        let mut bytes = 0;
        while let Some(frame) = queue.frames.front() {
            let fits = match &batch {
                Some(batch) => {
                    let same = batch.overlay == frame.overlay && !batch.last;
                    same && bytes + frame.bytes.len() <= limits::GOSSIP_WRITE_BYTES_MAX
                }
                None => true,
            };
            if !fits {
                break;
            }
            let Some(frame) = queue.frames.pop_front() else {
                break;
            };
            bytes += frame.bytes.len();
            let batch = batch.get_or_insert_with(|| Batch {
                overlay: frame.overlay,
                frames: Vec::new(),
                last: false,
            });
            batch.frames.push(frame.bytes);
            batch.last = frame.last;
        }
        queue.bytes -= bytes;
        queue.sending = batch.is_some();
        if queue.frames.is_empty() {
            // Not the memory of the longest queue forever.
            queue.frames = VecDeque::new();
        }
        drop(queue);
        self.emptied.notify_waiters();
        batch.map(Ok)
    }

    /// Hands everything over to another carrier of the peer.
    pub(super) fn move_to(&self, other: &Outgoing) {
        let frames = std::mem::take(&mut self.queue.lock().frames);
        self.close(CloseCode::Done);
        let mut queue = other.queue.lock();
        if queue.closed.is_none() {
            queue.bytes += frames.iter().map(|frame| frame.bytes.len()).sum::<usize>();
            queue.frames.extend(frames);
        }
        drop(queue);
        other.changed.notify_one();
    }

    /// Ends the carrier.
    pub(super) fn close(&self, code: CloseCode) {
        let mut queue = self.queue.lock();
        queue.closed.get_or_insert(code);
        queue.frames = VecDeque::new();
        queue.bytes = 0;
        drop(queue);
        self.changed.notify_one();
        self.emptied.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OVERLAY: Overlay = Overlay::from_bytes([1; 32]);
    const OTHER: Overlay = Overlay::from_bytes([2; 32]);

    fn frame(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    #[tokio::test]
    async fn frames_of_an_overlay_go_together() {
        let outgoing = Outgoing::default();
        for (overlay, kind) in [
            (OVERLAY, Kind::Ask),
            (OVERLAY, Kind::Last),
            (OVERLAY, Kind::Control),
            (OTHER, Kind::Control),
        ] {
            assert_eq!(outgoing.push(overlay, frame(9), kind, 0), Pushed::Taken);
        }
        for (overlay, count, last) in [(OVERLAY, 2, true), (OVERLAY, 1, false), (OTHER, 1, false)] {
            let batch = outgoing.next().await.unwrap();
            assert_eq!(batch.overlay, overlay);
            assert_eq!((batch.frames.len(), batch.last), (count, last));
        }
    }

    #[tokio::test]
    async fn only_broadcasts_are_lost_at_the_bound() {
        let outgoing = Outgoing::default();
        let push = |kind, bytes| outgoing.push(OVERLAY, frame(bytes), kind, 100);
        let all = limits::GOSSIP_QUEUE_BYTES_MAX;
        assert_eq!(push(Kind::Payload, all), Pushed::Taken);
        assert_eq!(push(Kind::Payload, 1), Pushed::Lost);
        assert_eq!(push(Kind::Control, 100), Pushed::Taken);
        assert_eq!(push(Kind::Control, 1), Pushed::Full);
        assert!(!outgoing.has_room());
        while outgoing.next().await.unwrap().overlay == OVERLAY && !outgoing.has_room() {}
        outgoing.emptied().await;
        outgoing.close(CloseCode::Limit);
        assert_eq!(outgoing.next().await.unwrap_err(), CloseCode::Limit);
        outgoing.flushed().await;
    }
}
