//! Receipts: who gets them, and when (docs/protocol/link.md#10).

use p2panda_core::{Label, limits};
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Failure, Input, Level, Output, ReceiptLog, Secret, Side, Tag};
use p2panda_protocol::overlay::Overlay;
use serde_json::Value;

use crate::world::{
    Alone, SECRET, at, dialler_tag, interest, messages, overlay, overlays, sent, stray,
};

fn level(height: u32) -> Level {
    let check = [height as u8; 8];
    Level { height, check }
}

fn acceptor_tag(overlay: &Overlay) -> Tag {
    Secret::new(SECRET).tag(overlay, Side::Acceptor)
}

/// The first log of a topic.
fn first(number: u32) -> ReceiptLog {
    ReceiptLog::first(overlay(number))
}

/// One with a name.
fn named(number: u32, name: u32) -> ReceiptLog {
    let mut label = [7; 32];
    label[..4].copy_from_slice(&name.to_be_bytes());
    let label = Some(Label::from_bytes(label));
    ReceiptLog {
        label,
        ..first(number)
    }
}

fn confirm(number: u32, height: u32) -> Message {
    confirm_of(first(number), height)
}

fn confirm_of(log: ReceiptLog, height: u32) -> Message {
    Message::Confirm {
        overlay: dialler_tag(&log.overlay),
        label: log.label,
        height,
    }
}

fn stored(number: u32, height: u32) -> Message {
    stored_of(first(number), height)
}

fn stored_of(log: ReceiptLog, height: u32) -> Message {
    Message::Stored {
        overlay: dialler_tag(&log.overlay),
        label: log.label,
        level: level(height),
    }
}

/// Makes the message of the side that asks.
fn asks(number: u32, height: u32) -> Message {
    asks_of(first(number), height)
}

fn asks_of(log: ReceiptLog, height: u32) -> Message {
    Message::Confirm {
        overlay: acceptor_tag(&log.overlay),
        label: log.label,
        height,
    }
}

/// Makes the message of the side that is asked.
fn tells(log: ReceiptLog, height: u32) -> Message {
    Message::Stored {
        overlay: acceptor_tag(&log.overlay),
        label: log.label,
        level: level(height),
    }
}

fn wants(number: u32, above: Option<u32>) -> Output {
    let log = first(number);
    Output::WantStored { log, above }
}

fn said(outputs: Vec<Output>) -> Vec<Message> {
    let (bytes, rest) = sent(outputs);
    assert_eq!(rest, []);
    messages(bytes)
}

#[test]
fn a_log_is_told_to_be_stored_as_the_vectors_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/receipts.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let number = |value: &Value| value.as_u64().map(|number| number as u32);
    for exchange in file["exchanges"].as_array().unwrap() {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        for step in exchange["steps"].as_array().unwrap() {
            let give = &step["give"];
            let outputs = match number(&give["confirm"]) {
                Some(height) => alone.receive(&[confirm(1, height)]),
                None => {
                    let found = number(&give["found"]).map(level);
                    alone.give(Input::Stored(first(1), found))
                }
            };
            let outputs = outputs.into_iter().map(|output| match output {
                Output::Send(bytes) => match &messages(bytes)[..] {
                    [stored @ Message::Stored { level, .. }] => {
                        assert_eq!(*stored, tells(first(1), level.height));
                        serde_json::json!({ "stored": level.height })
                    }
                    other => panic!("not due: {other:?}"),
                },
                Output::WantStored { above, .. } => serde_json::json!({ "want": above }),
                other => panic!("not due: {other:?}"),
            });
            let outputs: Vec<Value> = outputs.collect();
            assert_eq!(Value::from(outputs), step["out"], "{}", exchange["name"]);
        }
    }
}

#[test]
fn a_peer_is_asked_each_time_the_overlay_becomes_common() {
    let mut alone = Alone::new(overlays([1, 2]));
    assert_eq!(alone.give(Input::Confirm(first(1), 3)), []);
    let tags = vec![dialler_tag(&overlay(1))];
    let hello = [crate::world::hello(), interest(false, tags.clone(), vec![])];
    let frames: Vec<u8> = hello.iter().flat_map(crate::world::frame).collect();
    let (bytes, _) = sent(alone.give(Input::Bytes(frames.into())));
    assert_eq!(messages(bytes), [asks(1, 3)]);
    assert_eq!(said(alone.give(Input::Confirm(first(1), 5))), [asks(1, 5)]);
    assert_eq!(alone.give(Input::Confirm(first(2), 5)), []);

    let parted = interest(false, vec![], tags.clone());
    assert_eq!(alone.receive(&[parted]), [Output::Parted(overlay(1))]);
    assert_eq!(alone.give(Input::Confirm(first(1), 6)), []);
    let again = crate::world::frame(&interest(false, tags, vec![]));
    let (bytes, _) = sent(alone.give(Input::Bytes(again)));
    assert_eq!(messages(bytes), [asks(1, 6)]);
}

#[test]
fn only_an_asked_peer_is_heard_and_for_common_overlays() {
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1]));
    assert_eq!(alone.receive(&[stored(1, 3)]), []);
    alone.give(Input::Confirm(first(1), 3));
    alone.give(Input::Confirm(first(2), 3));
    let told = Output::Stored(first(1), level(3));
    assert_eq!(alone.receive(&[stored(1, 3), stored(2, 3)]), [told]);
    assert_eq!(alone.receive(&[confirm(2, 3)]), []);
    // A level that is found when the overlay is common no longer is told to nobody.
    assert_eq!(alone.receive(&[confirm(1, 3)]), [wants(1, None)]);
    let ended = interest(false, vec![], vec![dialler_tag(&overlay(1))]);
    alone.receive(&[ended]);
    assert_eq!(alone.give(Input::Stored(first(1), Some(level(3)))), []);
}

#[test]
fn the_limit_of_receipts_per_minute_holds() {
    let max = limits::LINK_RECEIPTS_PER_MINUTE_MAX;
    for message in [confirm(1, 3), stored(1, 3)] {
        let mut alone = Alone::met(overlays([1, 2]), &overlays([1, 2]));
        alone.give(Input::Confirm(first(1), 3));
        for minute in 0..2 {
            alone.now = at(minute * 60);
            let many = vec![message.clone(); max];
            assert_eq!(alone.failure(&many), None);
        }
        // Those of another overlay count by themselves.
        assert_eq!(alone.failure(&[confirm(2, 3)]), None);
        let failure = alone.failure(std::slice::from_ref(&message));
        assert_eq!(failure, Some(Failure::TooMuch));
    }
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let stray = Message::Confirm {
        overlay: stray(7),
        label: None,
        height: 1,
    };
    let many = vec![stray.clone(); limits::LINK_RECEIPTS_STRAY_PER_MINUTE_MAX - 1];
    assert_eq!(alone.failure(&many), None);
    assert_eq!(alone.failure(&[stored(1, 3)]), None);
    assert_eq!(alone.failure(&[stray]), Some(Failure::TooMuch));
}

#[test]
fn a_question_is_charged_until_the_overlay_is_common_no_longer() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let before = alone.control.held_bytes();
    alone.receive(&[confirm(1, 3)]);
    let held = alone.control.held_bytes();
    assert!(held > before);
    alone.receive(&[confirm(1, 4)]);
    assert_eq!(alone.control.held_bytes(), held);
    let ended = interest(false, vec![], vec![dialler_tag(&overlay(1))]);
    alone.receive(&[ended]);
    assert!(alone.control.held_bytes() <= before);
}

#[test]
fn each_log_of_a_topic_is_asked_for_and_told_by_itself() {
    let (one, two) = (named(1, 1), named(1, 2));
    let mut alone = Alone::new(overlays([1]));
    alone.give(Input::Confirm(first(1), 3));
    alone.give(Input::Confirm(one, 4));
    let tags = vec![dialler_tag(&overlay(1))];
    let hello = [crate::world::hello(), interest(false, tags, vec![])];
    let frames: Vec<u8> = hello.iter().flat_map(crate::world::frame).collect();
    let (bytes, _) = sent(alone.give(Input::Bytes(frames.into())));
    assert_eq!(messages(bytes), [asks(1, 3), asks_of(one, 4)]);
    let more = alone.give(Input::Confirm(two, 5));
    assert_eq!(said(more), [asks_of(two, 5)], "and no other one again");
    let answers = alone.receive(&[stored_of(two, 5), stored_of(named(1, 3), 6), stored(1, 1)]);
    let expected = [
        Output::Stored(two, level(5)),
        Output::Stored(first(1), level(1)),
    ];
    assert_eq!(answers, expected, "the third was not asked for");

    let wants = |log| Output::WantStored { log, above: None };
    let questions = alone.receive(&[confirm_of(two, 7), confirm_of(one, 9), confirm(1, 2)]);
    assert_eq!(questions, [wants(two), wants(one), wants(first(1))]);
    let found = alone.give(Input::Stored(one, Some(level(9))));
    assert_eq!(said(found), [tells(one, 9)]);
    let found = alone.give(Input::Stored(first(1), Some(level(2))));
    assert_eq!(said(found), [tells(first(1), 2)]);
    let ended = interest(false, vec![], vec![dialler_tag(&overlay(1))]);
    alone.receive(&[ended]);
    assert_eq!(alone.give(Input::Stored(two, Some(level(7)))), []);
}

#[test]
fn the_limit_of_named_logs_ends_the_link() {
    let max = limits::LINK_RECEIPT_LOGS_MAX as u32;
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1, 2]));
    for name in 0..max {
        assert_eq!(alone.receive(&[confirm_of(named(1, name), 3)]).len(), 1);
        assert_eq!(said(alone.give(Input::Confirm(named(1, name), 3))).len(), 1);
    }
    // The own side never asks for more, and what it asked for may be asked again.
    assert_eq!(alone.give(Input::Confirm(named(1, max), 3)), []);
    assert_eq!(said(alone.give(Input::Confirm(named(1, 7), 4))).len(), 1);
    let taken = [
        confirm_of(named(1, 7), 4),
        confirm(1, 4),
        confirm_of(named(2, max), 4),
    ];
    assert_eq!(alone.failure(&taken), None);
    let failure = alone.failure(&[confirm_of(named(1, max), 4)]);
    assert_eq!(failure, Some(Failure::TooMuch));
}
