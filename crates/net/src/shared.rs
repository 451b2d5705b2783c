//! State that all parts of a node's network share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iroh::Endpoint;
use iroh::endpoint::ConnectError;
use p2panda_core::budget::Budget;
use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_protocol::book::{Inserted, Source};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{RecordError, TransportInfo};
use p2panda_protocol::sync::Limits;
use tokio::sync::{mpsc, watch};

use crate::admission::{Admissions, Visitors};
use crate::alpns::Alpns;
use crate::blocked::Blocked;
use crate::book::AddressBook;
use crate::clock::Clock;
use crate::config::Timings;
use crate::connections::Connections;
use crate::contact::{self, Contacts};
use crate::event::{Contact, NetEvent};
use crate::gossip::Gossip;
use crate::ground::Survey;
use crate::host::Resolver;
use crate::knock::Knocker;
use crate::leaving::Leaving;
use crate::links::Links;
use crate::lookup::BookLookup;
use crate::mdns::lan::Lan;
use crate::overlays::Overlays;
use crate::paths::Paths;
use crate::receipts::Receipts;
use crate::refusals::Refusals;
use crate::request::Request;
use crate::revisits::Revisits;
use crate::sessions::Sessions;
use crate::signals::Signals;
use crate::unread::Skipped;

/// The state that every task of the network holds on to.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: VerifyingKey,
    pub(crate) key: SigningKey,
    pub(crate) alpns: Alpns,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) timings: Timings,
    pub(crate) paths: Paths,
    pub(crate) gossip_message_bytes_max: usize,
    pub(crate) clock: Clock,
    pub(crate) endpoint: Endpoint,
    pub(crate) connections: Connections,
    pub(crate) gossip: Gossip,
    pub(crate) lookup: BookLookup,
    pub(crate) book: AddressBook,
    pub(crate) survey: Survey,
    pub(crate) knocker: Knocker,
    pub(crate) lan: Lan,
    /// The own record as it was signed last.
    pub(crate) own: watch::Sender<Option<TransportInfo>>,
    pub(crate) signals: Signals,
    pub(crate) announce_addresses: bool,
    /// Sync sessions that a topic looks for.
    pub(crate) sessions_sought: usize,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) admissions: Admissions,
    pub(crate) visitors: Visitors,
    pub(crate) revisits: Revisits,
    pub(crate) overlays: Overlays,
    pub(crate) links: Links,
    pub(crate) receipts: Receipts,
    pub(crate) blocked: Blocked,
    pub(crate) leaving: Leaving,
    pub(crate) sessions: Sessions,
    pub(crate) contacts: Contacts,
    pub(crate) refusals: Refusals,
    pub(crate) resolver: Resolver,
    pub(crate) skipped: Arc<Skipped>,
}

impl Shared {
    /// The catch-up of a sync session with a peer was completed.
    pub(crate) fn proved(&self, peer: &VerifyingKey) {
        let was_proven = self.connections.is_proven(peer);
        self.book.proved(peer);
        self.connections.proved(peer);
        if !was_proven {
            // Overlays that it comes to later ask for themselves.
            self.gossip.proved(peer);
        }
    }

    /// A peer was reached, by any protocol: overlays that lack it try again at once.
    pub(crate) fn reached(&self, peer: &VerifyingKey) {
        self.gossip.reached(peer, || {
            let overlays = {
                let book = self.book.lock();
                let node = book.get(peer);
                node.map(|node| node.overlays().clone()).unwrap_or_default()
            };
            self.of_use(overlays)
        });
    }

    /// Those of some overlays in which neighbours are of use.
    fn of_use(&self, mut overlays: BTreeSet<Overlay>) -> BTreeSet<Overlay> {
        overlays.retain(|overlay| {
            self.overlays.topic(overlay).is_none() || self.is_published_in(overlay)
        });
        overlays
    }

    /// Reports a change of what is common with a peer on a link: overlays that began, and those
    /// that ended.
    pub(crate) fn common_changed(&self, peer: VerifyingKey, changes: BTreeMap<Overlay, bool>) {
        let begun: BTreeSet<Overlay> = changes
            .iter()
            .filter_map(|(overlay, is_common)| is_common.then_some(*overlay))
            .collect();
        self.book.common_changed(peer, changes);
        if !begun.is_empty() {
            self.contacts.note(peer, Contact::Reached);
            self.gossip.reached(&peer, || self.of_use(begun));
        }
    }

    /// A peer speaks no links: the overlays that it is in are of use.
    pub(crate) fn without_links(&self, peer: VerifyingKey) {
        if self.links.without(peer) {
            self.book.look_again(peer);
        }
    }

    /// Returns `true` if a peer that speaks no links is known in an overlay. Without one, nodes
    /// that sync a topic learn of each other over links, and need no neighbours in its overlay.
    pub(crate) fn is_published_in(&self, overlay: &Overlay) -> bool {
        if self.alpns.link.is_none() {
            return true;
        }
        let interested = self.book.interested(overlay);
        interested.iter().any(|peer| self.links.is_without(peer))
    }

    /// The overlays that are common with a peer, as the two have just told each other. Answers
    /// whether somebody's interest changed.
    pub(crate) fn met(&self, peer: VerifyingKey, common: BTreeSet<Overlay>) -> bool {
        let contact = match common.is_empty() {
            true => Contact::NoCommonTopic,
            false => Contact::Reached,
        };
        self.contacts.note(peer, contact);
        let changed = self.book.met(peer, common);
        self.reached(&peer);
        changed
    }

    /// A dial failed with this error, or was given up. A connection that is open says more.
    pub(crate) fn dial_failed(&self, peer: &VerifyingKey, error: Option<&ConnectError>) {
        if !self.connections.is_open(peer) {
            let contact = error.map_or(Contact::Dead, contact::of_dial);
            self.contacts.note(*peer, contact);
        }
    }

    /// Takes a record into the book.
    ///
    /// Connections to addresses that the node itself has given up are closed: it restarted or
    /// moved, and until they time out iroh would send every new dial there as well. Of a node that
    /// has copies, another one may be there.
    pub(crate) fn take_record(
        &self,
        node: VerifyingKey,
        record: TransportInfo,
        source: Source,
    ) -> Result<Inserted, RecordError> {
        let taken = self.book.insert(node, record, source)?;
        if let Some(by) = taken.clock {
            tracing::warn!(peer = %node, ?by, "the peer's clock is far from ours");
            self.signals.tell(NetEvent::ClockDiffers { peer: node, by });
        }
        if taken.inserted != Inserted::Kept {
            self.signals.tell(NetEvent::PeerFound { node });
            self.book.shown(&node);
            let has_copies = || self.links.has_copies(&node, self.clock.now());
            if !taken.given_up.is_empty() && !has_copies() {
                self.connections.close_to(&node, &taken.given_up);
            }
        }
        Ok(taken.inserted)
    }
}
