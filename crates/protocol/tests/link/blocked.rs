//! Logs that a quota blocks: who is told of them, and how much (docs/protocol/link.md#12).

use std::sync::Arc;
use std::time::Duration;

use p2panda_core::limits;
use p2panda_protocol::link::message::{Message, VERSION_MIN};
use p2panda_protocol::link::{
    AuthorLog, Block, BlockChange, Blocks, Failure, Input, Instance, Output, Quota, Secret, Side,
};

use crate::world::{
    Alone, SECRET, dialler_tag, frame, hello, interest, key, messages, overlay, overlays, sent,
    stray,
};

const AUTHOR: Block = Block {
    height: 7,
    quota: Quota::Author,
};

fn log(number: u32) -> AuthorLog {
    AuthorLog {
        author: key(number).verifying_key(),
        label: None,
    }
}

fn blocks(numbers: impl IntoIterator<Item = u32>) -> Input {
    let blocks: Blocks = numbers
        .into_iter()
        .map(|number| (log(number), AUTHOR))
        .collect();
    Input::Blocked(overlay(1), Arc::new(blocks))
}

/// Makes a message of the acceptor.
fn tells(entries: Vec<BlockChange>) -> Message {
    let overlay = Secret::new(SECRET).tag(&overlay(1), Side::Acceptor);
    Message::Blocked { overlay, entries }
}

fn hears(entries: Vec<BlockChange>) -> Message {
    let overlay = dialler_tag(&overlay(1));
    Message::Blocked { overlay, entries }
}

/// The messages about blocked logs.
fn said(outputs: Vec<Output>) -> Vec<Message> {
    let mut said = messages(sent(outputs).0);
    said.retain(|message| matches!(message, Message::Blocked { .. }));
    said
}

/// The peer knows the topic of the first overlay.
fn proved() -> Alone {
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1, 2]));
    assert_eq!(said(alone.give(Input::Proved(overlay(1)))), []);
    alone
}

/// The moment for the next message.
fn wait(alone: &mut Alone) -> Vec<Message> {
    alone.now = alone.now + limits::LINK_BLOCKED_INTERVAL;
    said(alone.give(Input::Tick))
}

#[test]
fn a_peer_is_told_what_is_blocked_and_then_what_changes() {
    let mut alone = proved();
    let outputs = alone.give(blocks([5, 6]));
    let both = vec![(log(5), Some(AUTHOR)), (log(6), Some(AUTHOR))];
    assert_eq!(said(outputs), [tells(both)]);
    // Nothing new, then one that ended and one that moved.
    assert_eq!(wait(&mut alone), []);
    assert_eq!(said(alone.give(blocks([5, 6]))), []);
    let moved = Block {
        height: 9,
        quota: Quota::All,
    };
    let now: Blocks = [(log(6), moved)].into();
    assert_eq!(wait(&mut alone), []);
    let outputs = alone.give(Input::Blocked(overlay(1), Arc::new(now)));
    let changes = vec![(log(5), None), (log(6), Some(moved))];
    assert_eq!(said(outputs), [tells(changes)]);
    assert_eq!(wait(&mut alone), []);
    let none = vec![(log(6), None)];
    assert_eq!(said(alone.give(blocks([]))), [tells(none)]);
}

#[test]
fn an_older_peer_is_told_nothing() {
    let mut alone = Alone::new(overlays([1]));
    let old = Message::Hello {
        version: VERSION_MIN,
        instance: Instance::from_bytes([3; 16]),
        record: None,
    };
    let tags = vec![dialler_tag(&overlay(1))];
    alone.receive(&[old, interest(false, tags, Vec::new())]);
    for input in [Input::Proved(overlay(1)), blocks([5])] {
        assert_eq!(said(alone.give(input)), []);
    }
    alone.now = alone.now + Duration::from_secs(3_600);
    assert_eq!(said(alone.give(Input::Tick)), []);
}

#[test]
fn a_peer_that_did_not_prove_to_know_the_topic_is_told_nothing() {
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1, 2]));
    assert_eq!(said(alone.give(blocks([5]))), []);
    assert_eq!(said(alone.give(Input::Proved(overlay(2)))), []);
    assert_eq!(wait(&mut alone), []);
    let told = tells(vec![(log(5), Some(AUTHOR))]);
    assert_eq!(said(alone.give(Input::Proved(overlay(1)))), [told]);
}

#[test]
fn only_for_a_common_overlay_and_again_when_it_is_common_again() {
    let mut alone = Alone::new(overlays([1]));
    alone.give(Input::Proved(overlay(1)));
    assert_eq!(said(alone.give(blocks([5]))), []);
    let tags = vec![dialler_tag(&overlay(1))];
    let met = [hello(), interest(false, tags.clone(), vec![])];
    let frames: Vec<u8> = met.iter().flat_map(frame).collect();
    let told = tells(vec![(log(5), Some(AUTHOR))]);
    let outputs = alone.give(Input::Bytes(frames.into()));
    assert_eq!(said(outputs), std::slice::from_ref(&told));
    alone.receive(&[interest(false, vec![], tags.clone())]);
    assert_eq!(wait(&mut alone), []);
    let again = frame(&interest(false, tags, vec![]));
    assert_eq!(said(alone.give(Input::Bytes(again))), [told]);
    // What this side left says nothing any more.
    alone.give(Input::End(overlay(1)));
    alone.give(Input::Begin(overlay(1)));
    assert_eq!(wait(&mut alone), []);
}

#[test]
fn many_blocked_logs_are_told_slowly_and_the_peers_own_first() {
    let max = limits::LINK_BLOCKED_LOGS_MAX as u32;
    let mut alone = proved();
    // The dialler of the world has the first key.
    let peer = 1;
    let first = said(alone.give(blocks((1..=max + 50).rev())));
    let [Message::Blocked { entries, .. }] = &first[..] else {
        panic!("one message: {first:?}");
    };
    assert_eq!(entries.len(), limits::LINK_BLOCKED_ENTRIES_MAX);
    assert_eq!(entries[0].0, log(peer));
    assert_eq!(said(alone.give(Input::Tick)), [], "not before its time");
    let mut told = entries.clone();
    for _ in 0..10 {
        let more = wait(&mut alone);
        assert!(more.len() <= 1);
        for message in more {
            let Message::Blocked { entries, .. } = message else {
                unreachable!()
            };
            assert!(entries.len() <= limits::LINK_BLOCKED_ENTRIES_MAX);
            told.extend(entries);
        }
    }
    assert_eq!(told.len(), max as usize);
    // One that is taken again makes room for another.
    let rest = (2..=max + 50).filter(|number| log(*number) != told[9].0);
    let mut changes = said(alone.give(blocks(rest)));
    changes.extend(wait(&mut alone));
    let entries = changes.into_iter().flat_map(|message| match message {
        Message::Blocked { entries, .. } => entries,
        _ => Vec::new(),
    });
    let entries: Vec<_> = entries.collect();
    let begun = entries.iter().filter(|(_, block)| block.is_some());
    assert_eq!((entries.len(), begun.count()), (4, 2));
}

#[test]
fn what_a_peer_blocks_is_told_once_until_it_changes() {
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1]));
    let begun = (log(5), Some(AUTHOR));
    let told = Output::Blocked(overlay(1), vec![begun]);
    let first = alone.receive(&[hears(vec![begun, (log(6), None)])]);
    assert_eq!(first, [told]);
    assert_eq!(alone.receive(&[hears(vec![begun])]), []);
    let ended = vec![(log(5), None)];
    let outputs = alone.receive(&[hears(ended.clone())]);
    assert_eq!(outputs, [Output::Blocked(overlay(1), ended.clone())]);
    // Of an overlay that is not common it says nothing, and what was said of one ends with it.
    let not_common = Message::Blocked {
        overlay: dialler_tag(&overlay(2)),
        entries: vec![begun],
    };
    assert_eq!(alone.receive(&[not_common, hears(vec![begun])]).len(), 1);
    let tags = vec![dialler_tag(&overlay(1))];
    let outputs = alone.receive(&[interest(false, vec![], tags)]);
    let parted = [
        Output::Blocked(overlay(1), ended),
        Output::Parted(overlay(1)),
    ];
    assert_eq!(outputs, parted);
}

#[test]
fn the_limits_of_blocked_logs_and_messages_end_the_link() {
    let max = limits::LINK_BLOCKED_LOGS_MAX as u32;
    let entries = |logs: std::ops::Range<u32>| {
        let logs: Vec<_> = logs.map(|number| (log(number), Some(AUTHOR))).collect();
        let parts = logs.chunks(limits::LINK_BLOCKED_ENTRIES_MAX);
        parts.map(|part| hears(part.to_vec())).collect::<Vec<_>>()
    };
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let before = alone.control.held_bytes();
    assert_eq!(alone.failure(&entries(0..max)), None);
    let held = alone.control.held_bytes();
    assert!(held >= before + max as usize * 100, "{held}: it is charged");
    assert_eq!(alone.failure(&entries(0..max)), None, "the same ones");
    assert_eq!(alone.control.held_bytes(), held);
    let failure = alone.failure(&entries(max..max + 1));
    assert_eq!(failure, Some(Failure::TooMuch));

    let per_minute = limits::LINK_BLOCKED_PER_MINUTE_MAX;
    for nothing in [hears(Vec::new()), hears(vec![(log(1), None)])] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        for _ in 0..2 {
            alone.now = alone.now + Duration::from_secs(60);
            let many = vec![nothing.clone(); per_minute];
            assert_eq!(alone.failure(&many), None);
        }
        assert_eq!(alone.failure(&[nothing]), Some(Failure::TooMuch));
    }
    // Those of other overlays count as well.
    let strays = Message::Blocked {
        overlay: stray(7),
        entries: Vec::new(),
    };
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    assert_eq!(alone.failure(&vec![strays.clone(); per_minute]), None);
    assert_eq!(alone.failure(&[strays]), Some(Failure::TooMuch));
}
