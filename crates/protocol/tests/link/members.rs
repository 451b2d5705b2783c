//! The nodes in common overlays.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Failure, Input, Tag, Told};
use p2panda_protocol::overlay::Overlay;

use crate::world::{Alone, Pair, dialler_tag, messages, overlay, overlays, record, stray};

fn nodes(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<VerifyingKey> {
    numbers
        .into_iter()
        .map(|number| record(number, 0).0)
        .collect()
}

/// Records of these nodes, and which of them are in which overlay.
fn told(numbers: std::ops::Range<u32>, members: BTreeMap<Overlay, BTreeSet<VerifyingKey>>) -> Told {
    let records = numbers.map(|number| record(number, 1)).collect();
    Told { records, members }
}

fn said(members: Vec<(Tag, Vec<u32>)>) -> Message {
    Message::Nodes {
        more: false,
        records: vec![record(5, 1), record(6, 1)],
        members,
    }
}

#[test]
fn a_side_tells_members_of_common_overlays_only() {
    let mut pair = Pair::new(overlays([1, 2, 3]), overlays([1, 2, 4]));
    pair.settle();
    let members = BTreeMap::from([
        (overlay(1), nodes([5, 6])),
        (overlay(2), nodes([6])),
        // Not common.
        (overlay(3), nodes([5, 6])),
    ]);
    pair.0[0].give(Input::Tell(told(5..7, members.clone())));
    let written: Bytes = pair.0[0].written.iter().copied().collect();
    let written = messages(written);
    let [Message::Nodes { members: tags, .. }] = written.as_slice() else {
        panic!("{written:?}");
    };
    let tags: BTreeSet<Tag> = tags.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [1, 2].map(|one| dialler_tag(&overlay(one))).into());
    pair.settle();
    let mut expected = members;
    expected.remove(&overlay(3));
    assert_eq!(pair.0[1].members, expected);
}

#[test]
fn members_without_record_or_overlay_are_left_out() {
    let mut pair = Pair::new(overlays([1, 2]), overlays([1, 2]));
    pair.settle();
    let members = BTreeMap::from([(overlay(1), nodes([5, 99])), (overlay(2), nodes([5]))]);
    pair.0[0].give(Input::Tell(told(5..6, members)));
    pair.0[1].end(overlay(2));
    pair.settle();
    assert_eq!(
        pair.0[1].members,
        BTreeMap::from([(overlay(1), nodes([5]))])
    );
    // Of an overlay that is none of its own it makes nothing, either.
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    assert_eq!(alone.failure(&[said(vec![(stray(1), vec![0])])]), None);
}

#[test]
fn members_in_several_frames_come_together() {
    let all = 0..600;
    let mut pair = Pair::new(overlays(all.clone()), overlays(all.clone()));
    pair.settle();
    let members = all.map(|one| (overlay(one), nodes(1_000..1_100))).collect();
    pair.0[0].give(Input::Tell(told(1_000..1_100, members)));
    let written: Bytes = pair.0[0].written.iter().copied().collect();
    assert!(messages(written).len() > 1);
    pair.settle();
    assert_eq!(pair.0[1].closed, None);
    let count: usize = pair.0[1].members.values().map(BTreeSet::len).sum();
    assert_eq!(count, limits::LINK_MEMBERS_SENT_MAX);
}

#[test]
fn naming_a_node_without_a_record_ends_the_link() {
    let tag = dialler_tag(&overlay(1));
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    assert_eq!(alone.failure(&[said(vec![(tag, vec![1])])]), None);
    // Records of a message before do not count.
    let failure = alone.failure(&[said(vec![(tag, vec![0, 2])])]);
    assert_eq!(failure, Some(Failure::Nobody));
    assert_eq!(Failure::Nobody.close_code(), CloseCode::Violation);
}

#[test]
fn the_limit_of_members_in_all_frames_holds() {
    let tag = dialler_tag(&overlay(1));
    let part = |more, count| Message::Nodes {
        more,
        records: vec![record(5, 1)],
        members: vec![(tag, vec![0; count])],
    };
    let half = limits::LINK_MEMBERS_MAX / 2;
    // An overlay with nobody counts as well.
    for (last, failure) in [(half - 1, None), (half, Some(Failure::TooMuch))] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        let empty = Message::Nodes {
            more: false,
            records: vec![],
            members: vec![(stray(1), vec![])],
        };
        assert_eq!(alone.failure(&[part(true, half)]), None);
        assert!(alone.control.held_bytes() >= half * size_of::<u32>());
        assert_eq!(alone.failure(&[part(true, last), empty]), failure);
    }
}
