//! Admission of connections, streams and sessions (`docs/protocol/network.md#11`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use iroh::endpoint::{Connection, VarInt};
use p2panda_core::budget::{Charge, Prefix, Standing};
use p2panda_core::{Topic, VerifyingKey, limits};
use p2panda_protocol::discovery::Admission;
use p2panda_protocol::time::Time;
use parking_lot::Mutex;

use crate::flag::Flag;

/// Purpose for which a connection was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Any,
    Handshake(Prefix),
    Sync(VerifyingKey),
    SyncOn(VerifyingKey, Topic),
    Link(VerifyingKey),
    StreamOn(VerifyingKey, Topic),
}

impl Purpose {
    fn max(&self) -> usize {
        match self {
            Purpose::Any => limits::CONNECTIONS_MAX,
            Purpose::Handshake(_) => limits::HANDSHAKES_PER_PREFIX_MAX,
            Purpose::Sync(_) => limits::SESSIONS_PER_PEER_MAX,
            Purpose::SyncOn(..) => limits::SESSIONS_PER_TOPIC_MAX,
            Purpose::Link(_) => limits::LINKS_PER_PEER_MAX,
            Purpose::StreamOn(..) => limits::LINK_STREAMS_PER_TOPIC_MAX,
        }
    }
}

/// Counts what was admitted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admissions {
    counts: Arc<Mutex<HashMap<Purpose, usize>>>,
}

/// An admitted connection, stream or session; dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct Admitted {
    admissions: Admissions,
    purposes: Vec<Purpose>,
    charge: Option<Charge>,
}

impl Admissions {
    /// Admits a TLS handshake. `None`: too many come from that prefix.
    pub(crate) fn handshake(&self, prefix: Prefix) -> Option<Admitted> {
        let mut admitted = Admitted {
            admissions: self.clone(),
            purposes: Vec::new(),
            charge: None,
        };
        admitted
            .also(Purpose::Handshake(prefix))
            .then_some(admitted)
    }

    /// Returns how many are admitted for a purpose.
    pub(crate) fn count(&self, purpose: &Purpose) -> usize {
        let counts = self.counts.lock();
        counts.get(purpose).copied().unwrap_or_default()
    }

    pub(crate) fn admit(&self, purpose: Purpose) -> Option<Admitted> {
        let mut admitted = self.enter()?;
        admitted.also(purpose).then_some(admitted)
    }

    /// Admits a session on an admitted link, which takes no place of a connection. What it
    /// costs is counted with everything else that the peer makes this node hold.
    pub(crate) fn session(
        &self,
        peer: VerifyingKey,
        topic: Topic,
        charge: impl FnOnce() -> Option<Charge>,
    ) -> Option<Admitted> {
        let mut admitted = self.stream(peer, topic)?;
        admitted.charge = Some(charge()?);
        Some(admitted)
    }

    fn stream(&self, peer: VerifyingKey, topic: Topic) -> Option<Admitted> {
        let mut admitted = Admitted {
            admissions: self.clone(),
            purposes: Vec::with_capacity(1),
            charge: None,
        };
        let purpose = Purpose::StreamOn(peer, topic);
        admitted.also(purpose).then_some(admitted)
    }

    /// Admits for a purpose that is counted elsewhere.
    pub(crate) fn enter(&self) -> Option<Admitted> {
        let mut admitted = Admitted {
            admissions: self.clone(),
            purposes: Vec::new(),
            charge: None,
        };
        admitted.also(Purpose::Any).then_some(admitted)
    }
}

impl Admitted {
    /// Counts for another purpose as well, if there is room.
    pub(crate) fn also(&mut self, purpose: Purpose) -> bool {
        let mut counts = self.admissions.counts.lock();
        let count = counts.entry(purpose.clone()).or_default();
        if *count >= purpose.max() {
            return false;
        }
        *count += 1;
        self.purposes.push(purpose);
        true
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admissions.counts.lock();
        for purpose in &self.purposes {
            let count = counts.entry(purpose.clone()).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(purpose);
            }
        }
    }
}

/// Discovery sessions that peers dialled.
#[derive(Debug, Default)]
pub(crate) struct Visitors(Mutex<VisitorsInner>);

#[derive(Debug, Default)]
struct VisitorsInner {
    admission: Admission,
    /// Raised when a session has to end, by its number.
    ends: HashMap<u64, Arc<Flag>>,
}

impl Visitors {
    /// Lets a peer in for a session, if it may have one now. It may replace another one.
    pub(crate) fn admit(
        &self,
        peer: VerifyingKey,
        standing: Standing,
        now: Time,
    ) -> Option<Visitor<'_>> {
        let mut inner = self.0.lock();
        let admitted = inner.admission.admit(peer, standing, now)?;
        let displaced = Arc::new(Flag::default());
        let other = admitted.instead_of;
        if let Some(other) = other.and_then(|other| inner.ends.remove(&other)) {
            other.raise();
        }
        inner.ends.insert(admitted.number, displaced.clone());
        drop(inner);
        // Made only when admitted: dropping it gives the place back.
        Some(Visitor {
            visitors: self,
            number: admitted.number,
            displaced,
        })
    }
}

/// A discovery session that was admitted; dropping it makes room for the next one.
#[derive(Debug)]
pub(crate) struct Visitor<'a> {
    visitors: &'a Visitors,
    number: u64,
    displaced: Arc<Flag>,
}

impl Visitor<'_> {
    /// Resolves when another one has its place.
    pub(crate) async fn displaced(&self) {
        self.displaced.raised().await;
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let mut inner = self.visitors.0.lock();
        inner.admission.ended(self.number);
        inner.ends.remove(&self.number);
    }
}

/// Purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Gossip,
    Discovery,
    Sync,
    Link,
}

/// Returns the cost of a connection whose purpose is not known yet.
pub(crate) fn price(standing: Standing) -> usize {
    match standing {
        Standing::Proven => limits::CONNECTION_PROVEN_BYTES,
        Standing::Unproven(_) => limits::CONNECTION_BYTES,
    }
}

/// The transport begins with a few bidirectional streams and none of the other kind. What is set to
/// none here is not given again when a stream ends.
pub(crate) fn allow_streams(connection: &Connection, protocol: Protocol) {
    if protocol == Protocol::Link {
        let window = VarInt::from_u32(limits::LINK_WINDOW_BYTES as u32);
        connection.set_receive_window(window);
        return allow_link(connection, 0);
    }
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(0));
}

/// The transport tells the peer of more streams only once it allows an eighth more: a seventh on top
/// of those that gossip needs makes up for what the peer may not have been told of.
pub(crate) fn streams_to_allow(overlays: u32, max: u32) -> u32 {
    let needed = overlays
        .saturating_add(limits::GOSSIP_STREAMS_SPARE)
        .min(max);
    needed + needed / 7 + 1
}

/// A stream for each common overlay and a few more (`docs/protocol/link.md#4`).
pub(crate) fn allow_link(connection: &Connection, common: usize) {
    let common = u32::try_from(common).unwrap_or(u32::MAX);
    let needed = common.saturating_add(limits::LINK_STREAMS_SPARE);
    let allowed = needed.saturating_add(needed / 7 + 1);
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(allowed));
}

/// Returns the bytes that this many streams add to the window of a gossip connection.
pub(crate) fn gossip_bytes(streams: u32) -> usize {
    (streams as usize * limits::GOSSIP_STREAM_BYTES).min(limits::GOSSIP_STREAMS_BYTES_MAX)
}

pub(crate) fn allow_gossip(connection: &Connection, streams: u32) {
    let window = limits::CONNECTION_WINDOW_BYTES + gossip_bytes(streams);
    connection.set_receive_window(VarInt::from_u32(window as u32));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(streams));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use p2panda_core::SigningKey;

    #[test]
    fn a_place_that_was_given_back_can_be_taken_again() {
        let admissions = Admissions::default();
        let peer = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let topic = Topic::from_bytes([2; 32]);
        let mut inside = Vec::new();
        for _ in 0..limits::SESSIONS_PER_TOPIC_MAX {
            let mut admitted = admissions.admit(Purpose::Sync(peer)).unwrap();
            assert!(admitted.also(Purpose::SyncOn(peer, topic)));
            inside.push(admitted);
        }
        let mut refused = admissions.admit(Purpose::Sync(peer)).unwrap();
        assert!(!refused.also(Purpose::SyncOn(peer, topic)));
        inside.clear();
        assert!(refused.also(Purpose::SyncOn(peer, topic)));
        drop(refused);
        assert!(admissions.counts.lock().is_empty());
    }

    #[test]
    fn sessions_on_links_take_no_place_of_connections() {
        let admissions = Admissions::default();
        let peer = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let topic = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Topic::from_bytes(bytes)
        };
        let topics = 0..limits::CONNECTIONS_MAX + 1;
        let inside: Vec<_> = topics
            .map(|number| admissions.stream(peer, topic(number)).unwrap())
            .collect();
        assert!(admissions.admit(Purpose::Link(peer)).is_some());
        let more = || admissions.stream(peer, topic(0));
        let others: Vec<_> = (1..limits::LINK_STREAMS_PER_TOPIC_MAX)
            .map(|_| more().unwrap())
            .collect();
        assert!(more().is_none());
        drop((inside, others));
        assert!(admissions.counts.lock().is_empty());
    }

    #[test]
    fn a_peer_has_a_stream_for_every_overlay_it_is_told() {
        let max = limits::GOSSIP_STREAMS_UNPROVEN_MAX;
        let mut told = 0;
        for overlays in 0..2 * max {
            let allowed = streams_to_allow(overlays, max);
            // The transport waits until there is as much to tell.
            if allowed - told > allowed / 8 {
                told = allowed;
            }
            let needed = (overlays + limits::GOSSIP_STREAMS_SPARE).min(max);
            assert!(told >= needed, "{overlays} overlays");
        }
    }
}
