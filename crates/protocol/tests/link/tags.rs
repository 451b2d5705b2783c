//! Information that the tags of a link reveal (docs/protocol/link.md#2).

use std::collections::BTreeSet;

use bytes::Bytes;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Control, Input, Output, Secret, Side, Tag};
use p2panda_protocol::time::Time;

use crate::world::{
    Alone, SECRET, dialler_tag, drain, interest, messages, overlay, overlays, sent, start,
};

/// The tags of the first Interest of a side that is in this many overlays.
fn first_tags(side: Side, count: u32) -> Vec<Tag> {
    let mut control = Control::new(start(side, overlays(0..count)), Time::ZERO);
    let mut tags = Vec::new();
    for message in messages(sent(drain(&mut control)).0) {
        if let Message::Interest { begun, ended, .. } = message {
            assert_eq!(ended, []);
            tags.extend(begun);
        }
    }
    tags
}

#[test]
fn padding_hides_how_many_overlays_there_are() {
    for (count, padded) in [
        (0, 8),
        (1, 8),
        (8, 8),
        (9, 16),
        (1_000, 1_024),
        (4_097, 8_192),
        (32_768, 32_768),
        // From here on there would be no room for more.
        (32_769, 32_769),
    ] {
        let tags = first_tags(Side::Dialler, count);
        let different: BTreeSet<_> = tags.iter().collect();
        assert_eq!((tags.len(), different.len()), (padded, padded), "{count}");
        // The real ones are among them, at places that say nothing.
        let secret = Secret::new(SECRET);
        let real = |number| different.contains(&secret.tag(&overlay(number), Side::Dialler));
        assert!((0..count).all(real));
        assert!(tags.is_sorted());
    }
}

#[test]
fn reflected_tags_have_nothing_in_common() {
    for side in [Side::Dialler, Side::Acceptor] {
        let mut control = Control::new(start(side, overlays(0..20)), Time::ZERO);
        let echo = sent(drain(&mut control)).0;
        control.handle(Input::Bytes(echo), Time::ZERO);
        control.handle(Input::Begin(overlay(50)), Time::ZERO);
        let echo = sent(drain(&mut control)).0;
        control.handle(Input::Bytes(echo), Time::ZERO);
        let (_, outputs) = sent(drain(&mut control));
        assert!(control.common().is_empty());
        assert!(
            !outputs
                .iter()
                .any(|output| matches!(output, Output::Common(_) | Output::Close(..)))
        );
    }
}

#[test]
fn a_node_between_two_links_learns_and_pretends_nothing() {
    // The one in the middle accepted a connection of A and dialled B: each has a secret of its own.
    let mut a = Control::new(start(Side::Dialler, overlays(0..20)), Time::ZERO);
    let mut other = start(Side::Acceptor, overlays(0..20));
    other.secret = Secret::new([0x77; 32]);
    let mut b = Control::new(other, Time::ZERO);
    for _ in 0..3 {
        let [of_a, of_b] = [&mut a, &mut b].map(|control| sent(drain(control)));
        for (_, told) in [&of_a, &of_b] {
            let nothing = |output: &Output| match output {
                Output::Met(common) | Output::WantNodes(common) => common.is_empty(),
                Output::Common(_) | Output::Gossip(..) | Output::Close(..) => false,
                _ => true,
            };
            assert!(told.iter().all(nothing));
        }
        for (control, bytes) in [(&mut b, of_a.0), (&mut a, of_b.0)] {
            if !bytes.is_empty() {
                control.handle(Input::Bytes(bytes), Time::ZERO);
            }
        }
        for control in [&mut a, &mut b] {
            control.handle(Input::Begin(overlay(50)), Time::ZERO);
        }
    }
    assert!(a.common().is_empty() && b.common().is_empty());
}

#[test]
fn a_tag_depends_on_secret_overlay_and_side_and_a_proof_too() {
    let topic = |byte| p2panda_core::Topic::from_bytes([byte; 32]);
    let mut tags = BTreeSet::new();
    let mut proofs = BTreeSet::new();
    for secret in [1, 2].map(|byte| Secret::new([byte; 32])) {
        for side in [Side::Dialler, Side::Acceptor] {
            for number in [1, 2] {
                assert!(tags.insert(secret.tag(&overlay(number), side)));
                assert!(proofs.insert(secret.proof(&topic(number as u8), side)));
            }
        }
    }
    assert_eq!(format!("{:?}", Secret::new([1; 32])), "Secret");
}

#[test]
fn repeated_or_unknown_tags_change_nothing() {
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1]));
    let (one, two) = (dialler_tag(&overlay(1)), dialler_tag(&overlay(2)));
    assert_eq!(
        alone.receive(&[interest(false, vec![one, one], vec![two])]),
        []
    );
    // Those that begin come first, then those that end.
    let both = interest(false, vec![two], vec![two, one, one]);
    let told = alone.receive(&[both]);
    let [one, two] = [1, 2].map(overlay);
    let expected = [
        Output::Common(two),
        Output::Parted(two),
        Output::Parted(one),
    ];
    assert_eq!(told, expected);
}

#[test]
fn gossip_for_what_is_not_common_is_ignored() {
    let secret = Secret::new(SECRET);
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1, 3]));
    let said = |number, side| Message::Gossip {
        overlay: secret.tag(&overlay(number), side),
        message: Bytes::from_static(b"x"),
    };
    for (number, side) in [(2, Side::Dialler), (3, Side::Dialler), (1, Side::Acceptor)] {
        assert_eq!(alone.receive(&[said(number, side)]), []);
    }
    let came = Output::Gossip(overlay(1), Bytes::from_static(b"x"));
    assert_eq!(alone.receive(&[said(1, Side::Dialler)]), [came]);
    assert_eq!(alone.give(Input::Gossip(overlay(2), Bytes::new())), []);
}

#[test]
fn a_first_interest_of_many_frames_is_met_once_and_whole() {
    let mut dialler = Control::new(start(Side::Dialler, overlays(0..30_000)), Time::ZERO);
    let (bytes, _) = sent(drain(&mut dialler));
    assert!(messages(bytes.clone()).len() > 8);
    let mut alone = Alone::new(overlays(29_990..30_010));
    let mut told = Vec::new();
    for part in bytes.chunks(1_300) {
        told.extend(alone.give(Input::Bytes(Bytes::copy_from_slice(part))));
    }
    let common = overlays(29_990..30_000);
    let met: Vec<_> = told
        .iter()
        .filter(|output| matches!(output, Output::Met(_)))
        .collect();
    assert_eq!(met, [&Output::Met(common.clone())]);
    assert_eq!(alone.control.common(), &common);
    let single = |output: &Output| matches!(output, Output::Common(_) | Output::Close(..));
    assert!(!told.iter().any(single));
}
