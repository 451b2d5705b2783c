//! Records in one message and in several.

use bytes::Bytes;
use p2panda_core::{HybridTimestamp, VerifyingKey, limits};
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Failure, Input, Output, Told};
use p2panda_protocol::record::{Address, TransportInfo};

use crate::world::{Alone, Pair, at, key, messages, overlays, record, sent};

fn nodes(more: bool, records: &[(VerifyingKey, TransportInfo)]) -> Message {
    let records = records.to_vec();
    Message::Nodes {
        more,
        records,
        members: vec![],
    }
}

fn sorted(mut records: Records) -> Records {
    records.sort_by_key(|(node, _)| *node.as_bytes());
    records
}

#[test]
fn records_that_fit_no_single_frame_come_together() {
    let records: Records = (0..200).map(|number| record(number, 35)).collect();
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let (bytes, _) = sent(alone.give(Input::Nodes(records.clone().into())));
    let frames = messages(bytes.clone());
    assert!(frames.len() > 1);
    for (place, message) in frames.iter().enumerate() {
        let Message::Nodes { more, .. } = message else {
            panic!("{message:?}");
        };
        assert_eq!(*more, place + 1 < frames.len());
    }

    let mut other = Alone::met(overlays([1]), &overlays([1]));
    other.give(Input::Ask);
    let mut told = Vec::new();
    for part in bytes.chunks(1_000) {
        told.extend(other.give(Input::Bytes(Bytes::copy_from_slice(part))));
    }
    assert_eq!(told.pop(), Some(Output::Answered));
    let Some(Output::Nodes(Told { records: came, .. })) = told.pop() else {
        panic!("no records");
    };
    assert_eq!(sorted(came), sorted(records));
    assert_eq!(told, []);
}

#[test]
fn a_whole_address_book_is_cut_to_what_a_peer_takes() {
    let many: Records = (0..2_000).map(|number| record(number, 30)).collect();
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let (bytes, _) = sent(alone.give(Input::Nodes(many.clone().into())));
    assert!(bytes.len() <= limits::DISCOVERY_BYTES_SENT_MAX + 100);
    let mut other = Alone::met(overlays([1]), &overlays([1]));
    let told = other.give(Input::Bytes(bytes));
    let [Output::Nodes(Told { records: came, .. })] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!((200..=limits::DISCOVERY_RECORDS_SENT_MAX).contains(&came.len()));
    assert_eq!(sorted(came.clone()), sorted(many[..came.len()].to_vec()));
}

#[test]
fn the_limit_of_records_in_all_frames_holds() {
    let bare = record(1, 0);
    for (more, failure) in [(0, None), (1, Some(Failure::TooMuch))] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        let mut left = limits::DISCOVERY_RECORDS_MAX + more;
        let mut ended = None;
        while left > 0 {
            // Different nodes, so that no writer takes two for one.
            let some = left.min(400);
            left -= some;
            let records: Records = (0..some as u32)
                .map(|number| (key(number).verifying_key(), bare.1.clone()))
                .collect();
            ended = alone.failure(&[nodes(left > 0, &records)]);
        }
        assert_eq!(ended, failure);
    }
}

#[test]
fn the_limit_of_addresses_in_all_frames_holds() {
    let full = record(1, limits::RECORD_ADDRESSES_MAX as u16);
    let per_frame = 64;
    let count = limits::DISCOVERY_ADDRESSES_MAX / limits::RECORD_ADDRESSES_MAX;
    for (last, failure) in [(record(2, 0), None), (record(2, 1), Some(Failure::TooMuch))] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        let records: Records = (0..per_frame)
            .map(|number| (key(number).verifying_key(), full.1.clone()))
            .collect();
        for _ in 0..count / per_frame as usize {
            assert_eq!(alone.failure(&[nodes(true, &records)]), None);
        }
        assert_eq!(alone.failure(&[nodes(false, &[last])]), failure);
    }
}

#[test]
fn the_limit_of_address_bytes_is_that_of_discovery() {
    let relay = |number: u32| Address::Relay(format!("{number:03}{}", "a".repeat(480)));
    let timestamp = HybridTimestamp::new(1, 0);
    let addresses = (0..4).map(relay).collect();
    let long = TransportInfo::sign(&key(1), timestamp, addresses).unwrap();
    let records: Records = (0..30)
        .map(|number| (key(number).verifying_key(), long.clone()))
        .collect();
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let mut sent = 0;
    loop {
        let message = nodes(true, &records);
        let bytes = crate::world::frame(&message).len() - 4;
        let failure = alone.failure(&[message]);
        sent += bytes;
        assert!(alone.control.held_bytes() < 2 * limits::DISCOVERY_BYTES_MAX);
        if sent <= limits::DISCOVERY_BYTES_MAX {
            assert_eq!(failure, None);
            assert!(alone.control.held_bytes() > sent);
        } else {
            assert_eq!(failure, Some(Failure::TooMuch));
            break;
        }
    }
}

#[test]
fn the_limit_of_unasked_records_per_minute_holds() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let message = || nodes(false, &[record(1, 1)]);
    for minute in 0..2 {
        alone.now = at(100 + minute * 60);
        for _ in 0..limits::LINK_NODES_PER_MINUTE_MAX {
            // In two frames they count once.
            assert_eq!(alone.failure(&[nodes(true, &[]), message()]), None);
        }
        // One that was asked for does not count.
        alone.give(Input::Ask);
        let told = alone.receive(&[message()]);
        assert_eq!(told.last(), Some(&Output::Answered));
    }
    assert_eq!(alone.failure(&[message()]), Some(Failure::TooMuch));
}

#[test]
fn a_side_asks_once_until_it_is_answered() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    for _ in 0..3 {
        let asked = sent(alone.give(Input::Ask)).0;
        assert_eq!(messages(asked), [Message::Ask]);
        assert_eq!(alone.give(Input::Ask), []);
        let told = alone.receive(&[nodes(false, &[])]);
        assert_eq!(told, [Output::Nodes(vec![].into()), Output::Answered]);
    }
}

#[test]
fn a_new_record_of_the_own_node_is_told() {
    let mut pair = Pair::new(overlays([1]), overlays([1]));
    pair.settle();
    let (_, info) = record(1, 5);
    pair.0[0].give(Input::Record(info.clone()));
    pair.settle();
    let expected = vec![(key(1).verifying_key(), info)];
    assert_eq!(pair.0[1].records.last(), Some(&expected));
}

#[test]
fn the_own_record_is_said_once_and_again_when_it_has_changed() {
    let own = |stamp: u64| {
        let timestamp = HybridTimestamp::new(stamp, 0);
        let info = TransportInfo::sign(&key(2), timestamp, [].into()).unwrap();
        (key(2).verifying_key(), info)
    };
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let told = |alone: &mut Alone, input| {
        let messages = messages(sent(alone.give(input)).0);
        let told = messages.into_iter().map(|message| match message {
            Message::Nodes { records, .. } => records,
            other => panic!("{other:?}"),
        });
        told.collect::<Vec<Records>>().concat()
    };
    // In its Hello the acceptor said the record of its key.
    let (said, other) = (record(2, 2), record(5, 1));
    let both = Input::Nodes(vec![said.clone(), other.clone()].into());
    assert_eq!(told(&mut alone, both), std::slice::from_ref(&other));
    let later = own(9);
    let changed = Input::Record(later.1.clone());
    assert_eq!(told(&mut alone, changed), std::slice::from_ref(&later));
    alone.receive(&[Message::Ask]);
    let both = Input::Nodes(vec![later, other.clone()].into());
    assert_eq!(told(&mut alone, both), [other]);
}

#[test]
fn two_sides_that_know_nobody_else_say_little() {
    let mut pair = Pair::new(overlays([1]), overlays([1]));
    for step in 0..8 {
        pair.pass(step % 2, usize::MAX);
        let own = record(step as u32 % 2 + 1, 2);
        pair.0[step % 2].answer(|| vec![own]);
    }
    let [dialler, acceptor] = &pair.0;
    assert!(dialler.met && acceptor.met && dialler.records == [vec![]]);
    let said = dialler.said_bytes + acceptor.said_bytes;
    assert!(said <= 650, "{said}");
}
