//! Reading within the budget of what peers make us hold (`docs/protocol/network.md#11`).

use std::future::poll_fn;
use std::pin::pin;
use std::task::ready;

use bytes::Bytes;
use iroh::endpoint::{Connection, ReadError, RecvStream};
use p2panda_core::budget::{Budget, Charge, Intake};
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use tokio::time::{Instant, sleep};

use crate::connections::Connections;
use crate::credit::Credit;
use crate::signals::Signals;

/// A chunk of a stream is what was in a packet.
const CHUNK_BYTES: usize = 1024;

/// Additional window of a session with much to receive.
const MORE_BYTES: usize = limits::SESSION_WINDOW_BYTES - limits::CONNECTION_WINDOW_BYTES;

/// Closes those that make no progress over their share.
pub(crate) async fn run(budget: Budget, connections: Connections, signals: Signals) {
    let start = Instant::now();
    let (mut wait, mut used_bytes) = (limits::BUDGET_TICK, 0);
    loop {
        let status = budget.status();
        let is_same = used_bytes == status.used_bytes;
        used_bytes = status.used_bytes;
        let much_bytes = status.bytes / limits::BUDGET_PEER_PART;
        wait = match used_bytes < much_bytes {
            // Nothing moves: it may rest longer each time.
            true if is_same => (wait * 2).clamp(limits::BUDGET_REST, limits::BUDGET_REST_MAX),
            true => limits::BUDGET_REST,
            false => limits::BUDGET_TICK,
        };
        tokio::select! {
            () = sleep(wait) => {}
            // It cannot wait as long as one that rests.
            () = poll_fn(|context| budget.poll_used(context, much_bytes)), if wait > limits::BUDGET_TICK => {
                wait = limits::BUDGET_TICK;
            }
            () = signals.stopped() => return,
        }
        for peer in budget.tick(start.elapsed()) {
            tracing::debug!(%peer, "what the peer makes us hold does not move");
            connections.close_all(&peer, CloseCode::Limit);
        }
        connections.release_broadcasts();
    }
}

/// Reads what there is room for; waits for room, and for bytes. May be cancelled.
///
/// `in_frame`: a frame was begun and is not whole.
pub(crate) async fn read(
    connection: &Connection,
    recv: &mut RecvStream,
    chunks: &mut [Bytes],
    intake: &Intake,
    in_frame: bool,
) -> Result<Option<usize>, ReadError> {
    let reading = poll_fn(|context| {
        // Asked again whenever there are bytes: others may have used the room up meanwhile.
        let room = ready!(intake.poll_room(context, in_frame));
        let count = (room / CHUNK_BYTES).clamp(1, chunks.len());
        let (chunks, _) = chunks.split_at_mut(count);
        pin!(recv.read_many_chunks(chunks)).poll(context)
    });
    tokio::select! {
        biased;
        read = reading => read,
        // A session that waits for room does not look at its stream.
        error = connection.closed() => Err(ReadError::ConnectionLost(error)),
    }
}

/// Bytes that a session may be sent before it reads: few at first, more while it has much to
/// receive and the budget allows it.
#[derive(Debug)]
pub(crate) struct Window {
    connection: Connection,
    credit: Credit,
    wide: Option<Charge>,
    narrowing: bool,
    read_bytes: u64,
}

impl Window {
    /// The little that every session has.
    pub(crate) fn new(connection: Connection, credit: Credit) -> Self {
        Self {
            connection,
            credit,
            wide: None,
            narrowing: false,
            read_bytes: 0,
        }
    }

    /// Counts what was read. `much`: the session is in catch-up or inside of a large frame.
    pub(crate) fn read(&mut self, intake: &Intake, bytes: usize, much: bool) {
        if self.narrowing {
            return self.narrow(bytes);
        }
        self.read_bytes = match much {
            true => self.read_bytes.saturating_add(bytes as u64),
            false => 0,
        };
        match &self.wide {
            None if self.read_bytes >= limits::SESSION_BURST_BYTES => {
                // Not asked again before as much was read again.
                self.read_bytes = 0;
                self.wide = intake.account().try_window(MORE_BYTES);
                if self.wide.is_some() {
                    self.credit.widen(&self.connection, MORE_BYTES);
                }
            }
            Some(_) if !much => {
                self.credit.narrow(&self.connection, MORE_BYTES);
                self.narrowing = true;
            }
            _ => {}
        }
    }

    /// Returns the credit of the connection.
    pub(crate) fn credit(&self) -> &Credit {
        &self.credit
    }

    /// Has the connection send something that the peer acknowledges.
    pub(crate) fn touch(&self) {
        self.credit.touch(&self.connection);
    }

    /// Narrows the window. Granted bytes stay granted until they were sent, and are held until
    /// then.
    fn narrow(&mut self, bytes: usize) {
        if let Some(charge) = &mut self.wide {
            charge.shrink(bytes);
        }
        if self.wide.as_ref().is_none_or(|charge| charge.bytes() == 0) {
            (self.wide, self.narrowing, self.read_bytes) = (None, false, 0);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.wide.is_some() && !self.narrowing {
            self.credit.narrow(&self.connection, MORE_BYTES);
        }
    }
}
