//! Hears and announces on one interface, with one family of addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use p2panda_core::limits::{MDNS_PACKET_BYTES_MAX, MDNS_PACKETS_PER_SECOND, MDNS_RETRY_WAIT};
use p2panda_protocol::book::{Inserted, Source};
use p2panda_protocol::mdns::{self, Announcement, Cadence, Input, Output, Packet};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::lan::Announced;
use super::socket::Place;
use crate::random;
use crate::shared::Shared;

/// Opens the socket of a place again whenever it failed, until this task is ended.
pub(super) async fn run(
    shared: Arc<Shared>,
    place: Place,
    mut announced: watch::Receiver<Announced>,
) {
    loop {
        let failed = match (place.open(), random::seed()) {
            (Ok(socket), Some(seed)) => {
                let now = shared.clock.now();
                let mut segment = Segment {
                    shared: &shared,
                    place: &place,
                    socket,
                    cadence: Cadence::new(seed, now),
                    tokens: Tokens::full(),
                    failed: None,
                    wake: Instant::now(),
                };
                segment.serve(&mut announced).await
            }
            (Ok(_), None) => io::ErrorKind::Other.into(),
            (Err(error), _) => error,
        };
        let interface = &place.name;
        tracing::info!(interface, error = %failed, "no multicast on an interface for now");
        shared.lan.is(place.key(), Some(failed.kind()), 0);
        sleep(MDNS_RETRY_WAIT).await;
    }
}

struct Segment<'a> {
    shared: &'a Shared,
    place: &'a Place,
    socket: UdpSocket,
    cadence: Cadence,
    tokens: Tokens,
    /// Reason why the last packet was not sent.
    failed: Option<io::ErrorKind>,
    wake: Instant,
}

impl Segment<'_> {
    /// Until the socket cannot be read any more.
    async fn serve(&mut self, announced: &mut watch::Receiver<Announced>) -> io::Error {
        let mut bytes = [0; MDNS_PACKET_BYTES_MAX + 1];
        let mut reset = self.shared.signals.resets();
        announced.mark_changed();
        loop {
            let input = tokio::select! {
                received = self.socket.recv_from(&mut bytes) => match received {
                    Ok((len, source)) => match self.heard(bytes.get(..len), source) {
                        Some(input) => input,
                        None => continue,
                    },
                    Err(error) => return error,
                },
                () = sleep_until(self.wake) => Input::Tick,
                Ok(()) = reset.changed() => Input::Anew,
                Ok(()) = announced.changed() => Input::Own {
                    announced: announced.borrow_and_update().is_some(),
                },
            };
            self.cadence.handle(input, self.shared.clock.now());
            self.follow(announced).await;
            let nodes = self.cadence.nodes();
            self.shared.lan.is(self.place.key(), self.failed, nodes);
        }
    }

    /// Does what the machine wants.
    async fn follow(&mut self, announced: &watch::Receiver<Announced>) {
        while let Some(output) = self.cadence.poll() {
            match output {
                Output::Wake(at) => self.wake = self.shared.clock.instant(at),
                Output::Ask => self.send(&mdns::query()).await,
                Output::Announce => {
                    let packet = announced.borrow().clone();
                    if let Some(packet) = packet {
                        self.send(&packet).await;
                    }
                }
            }
        }
    }

    async fn send(&mut self, packet: &[u8]) {
        let sent = self.socket.send_to(packet, self.place.group()).await;
        self.failed = sent.as_ref().err().map(io::Error::kind);
        if let Err(error) = sent {
            let interface = &self.place.name;
            tracing::debug!(interface, %error, "a packet of multicast DNS was not sent");
            self.cadence.handle(Input::Unsent, self.shared.clock.now());
        }
    }

    fn heard(&mut self, packet: Option<&[u8]>, source: SocketAddr) -> Option<Input> {
        let on_segment = self.place.segment.has_responder(source);
        if !on_segment || !self.tokens.take(Instant::now()) {
            return None;
        }
        match Packet::read(packet?) {
            Ok(Packet::Query) => Some(Input::Query),
            Ok(Packet::Announcement(found)) => self.found(&found),
            Ok(Packet::Other) => None,
            Err(error) => {
                tracing::trace!(%source, %error, "a packet of multicast DNS was refused");
                None
            }
        }
    }

    fn found(&self, found: &Announcement) -> Option<Input> {
        let node = found.node;
        if node == self.shared.local {
            return None;
        }
        match self
            .shared
            .take_record(node, found.record(), Source::Announced)
        {
            Ok(Inserted::New | Inserted::Newer) => self.shared.signals.walk(),
            Ok(Inserted::Kept) => {}
            Err(error) => {
                tracing::debug!(%node, %error, "an announcement on the local network was refused");
                return None;
            }
        }
        Some(Input::Heard(node))
    }
}

/// Number of packets that may still be examined.
struct Tokens {
    left: u32,
    since: Instant,
}

impl Tokens {
    fn full() -> Self {
        Self {
            left: MDNS_PACKETS_PER_SECOND,
            since: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            (self.left, self.since) = (MDNS_PACKETS_PER_SECOND, now);
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}
