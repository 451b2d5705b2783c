//! Other nodes as a side reports them: their records, and their common overlays
//! (docs/protocol/link.md#3).

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use p2panda_core::{VerifyingKey, limits};

use super::control::Failure;
use super::secret::Tag;
use crate::discovery::message::{Records, fit};
use crate::overlay::Overlay;
use crate::record::TransportInfo;

/// Bytes of one frame, so that a record at its limit, or an overlay with all nodes, still fits.
const FRAME_BYTES: usize = limits::LINK_FRAME_BYTES_MAX - limits::RECORD_BYTES_MAX - 64;
/// A tag and the number of nodes behind it.
const MEMBERS_BYTES: usize = 18;
/// Of a node behind a tag, at most as many as are told.
const PLACE_BYTES: usize = 2;

/// Statements of one side about nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Their records, most wanted first; not verified where they were received.
    pub records: Records,
    /// Nodes of these that are known to be in a common overlay.
    pub members: BTreeMap<Overlay, BTreeSet<VerifyingKey>>,
}

/// Only that they are there.
impl From<Records> for Told {
    fn from(records: Records) -> Told {
        let members = BTreeMap::new();
        Told { records, members }
    }
}

/// The nodes of an overlay as they stand in a message: by the tag of the sender's side, and by the
/// places of their records in all frames.
pub type Members = Vec<(Tag, Vec<u32>)>;

/// One frame.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) records: Records,
    pub(super) members: Members,
}

/// As frames, at least one. What does not fit the limits of a receiver is left out.
pub(super) fn parts(told: Told, tag: impl Fn(&Overlay) -> Tag) -> Vec<Part> {
    let records: BTreeMap<VerifyingKey, TransportInfo> = fit(told.records).into_iter().collect();
    let (mut parts, mut places) = (Parts::default(), BTreeMap::new());
    for (place, (node, record)) in (0..).zip(records) {
        places.insert(node, place);
        parts.scratch.clear();
        record.encode(&mut parts.scratch);
        let bytes = 33 + parts.scratch.len();
        parts.with(bytes).records.push((node, record));
    }
    let mut left = limits::LINK_MEMBERS_SENT_MAX;
    for (overlay, nodes) in &told.members {
        let places: Vec<u32> = nodes
            .iter()
            .filter_map(|node| places.get(node).copied())
            .take(left)
            .collect();
        if !places.is_empty() {
            left -= places.len();
            let bytes = MEMBERS_BYTES + places.len() * PLACE_BYTES;
            parts.with(bytes).members.push((tag(overlay), places));
        }
    }
    parts.all
}

#[derive(Debug)]
struct Parts {
    all: Vec<Part>,
    bytes: usize,
    scratch: BytesMut,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            all: vec![Part::default()],
            bytes: 0,
            scratch: BytesMut::new(),
        }
    }
}

impl Parts {
    /// The frame with room for that many bytes more.
    fn with(&mut self, bytes: usize) -> &mut Part {
        self.bytes += bytes;
        if self.bytes > FRAME_BYTES {
            self.bytes = bytes;
            self.all.push(Part::default());
        }
        self.all.last_mut().expect("there is a first one")
    }
}

/// Parts that came in several messages.
#[derive(Debug, Default)]
pub(super) struct Come {
    records: Records,
    members: Members,
    addresses: usize,
    /// Nodes in overlays; an overlay counts as one at least.
    places: usize,
    /// As they came.
    bytes: usize,
    /// As the records are held.
    held: usize,
}

impl Come {
    pub(super) fn take(
        &mut self,
        records: Records,
        members: Members,
        bytes: usize,
    ) -> Result<(), Failure> {
        for (_, record) in &records {
            self.addresses += record.addresses().count();
            self.held += size_of::<VerifyingKey>() + record.bytes();
        }
        self.bytes += bytes;
        self.records.extend(records);
        for (_, places) in &members {
            self.places += places.len().max(1);
            let is_told = |place: &u32| (*place as usize) < self.records.len();
            if !places.iter().all(is_told) {
                return Err(Failure::Nobody);
            }
        }
        self.members.extend(members);
        let is_within = self.records.len() <= limits::DISCOVERY_RECORDS_MAX
            && self.addresses <= limits::DISCOVERY_ADDRESSES_MAX
            && self.places <= limits::LINK_MEMBERS_MAX
            && self.bytes <= limits::DISCOVERY_BYTES_MAX;
        is_within.then_some(()).ok_or(Failure::TooMuch)
    }

    pub(super) fn held_bytes(&self) -> usize {
        let spare = self.records.capacity() - self.records.len();
        self.held
            + spare * size_of::<(VerifyingKey, TransportInfo)>()
            + self.members.capacity() * size_of::<(Tag, Vec<u32>)>()
            + self.places * size_of::<u32>()
    }

    /// All of it. Overlays that are not common are left out.
    pub(super) fn whole(self, common: impl Fn(&Tag) -> Option<Overlay>) -> Told {
        let mut told = Told::from(self.records);
        for (tag, places) in self.members {
            let Some(overlay) = common(&tag) else {
                continue;
            };
            let records = places.iter().map(|place| told.records.get(*place as usize));
            let nodes = records.flatten().map(|(node, _)| *node);
            told.members.entry(overlay).or_default().extend(nodes);
        }
        told
    }
}
