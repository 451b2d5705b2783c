//! Who is told that a log is stored, and when (docs/protocol/link.md#10).

use p2panda_core::limits;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Failure, Input, Level, Output, Secret, Side, Tag};
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

fn confirm(number: u32, height: u32) -> Message {
    let overlay = dialler_tag(&overlay(number));
    Message::Confirm { overlay, height }
}

fn stored(number: u32, height: u32) -> Message {
    let (overlay, level) = (dialler_tag(&overlay(number)), level(height));
    Message::Stored { overlay, level }
}

/// What the side says that asks.
fn asks(number: u32, height: u32) -> Message {
    let overlay = acceptor_tag(&overlay(number));
    Message::Confirm { overlay, height }
}

fn wants(number: u32, above: Option<u32>) -> Output {
    let overlay = overlay(number);
    Output::WantStored { overlay, above }
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
                    alone.give(Input::Stored(overlay(1), found))
                }
            };
            let outputs = outputs.into_iter().map(|output| match output {
                Output::Send(bytes) => match &messages(bytes)[..] {
                    [Message::Stored { overlay, level }] => {
                        assert_eq!(*overlay, acceptor_tag(&self::overlay(1)));
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
fn a_peer_is_asked_when_the_overlay_is_common_and_again_when_that_begins_anew() {
    let mut alone = Alone::new(overlays([1, 2]));
    assert_eq!(alone.give(Input::Confirm(overlay(1), 3)), []);
    let tags = vec![dialler_tag(&overlay(1))];
    let hello = [crate::world::hello(), interest(false, tags.clone(), vec![])];
    let frames: Vec<u8> = hello.iter().flat_map(crate::world::frame).collect();
    let (bytes, _) = sent(alone.give(Input::Bytes(frames.into())));
    assert_eq!(messages(bytes), [asks(1, 3)]);
    assert_eq!(
        said(alone.give(Input::Confirm(overlay(1), 5))),
        [asks(1, 5)]
    );
    assert_eq!(alone.give(Input::Confirm(overlay(2), 5)), []);

    let parted = interest(false, vec![], tags.clone());
    assert_eq!(alone.receive(&[parted]), [Output::Parted(overlay(1))]);
    assert_eq!(alone.give(Input::Confirm(overlay(1), 6)), []);
    let again = crate::world::frame(&interest(false, tags, vec![]));
    let (bytes, _) = sent(alone.give(Input::Bytes(again)));
    assert_eq!(messages(bytes), [asks(1, 6)]);
}

#[test]
fn only_who_was_asked_is_heard_and_only_for_what_is_common() {
    let mut alone = Alone::met(overlays([1, 2]), &overlays([1]));
    assert_eq!(alone.receive(&[stored(1, 3)]), []);
    alone.give(Input::Confirm(overlay(1), 3));
    alone.give(Input::Confirm(overlay(2), 3));
    let told = Output::Stored(overlay(1), level(3));
    assert_eq!(alone.receive(&[stored(1, 3), stored(2, 3)]), [told]);
    assert_eq!(alone.receive(&[confirm(2, 3)]), []);
    // A level that is found when the overlay is common no longer is told to nobody.
    assert_eq!(alone.receive(&[confirm(1, 3)]), [wants(1, None)]);
    let ended = interest(false, vec![], vec![dialler_tag(&overlay(1))]);
    alone.receive(&[ended]);
    assert_eq!(alone.give(Input::Stored(overlay(1), Some(level(3)))), []);
}

#[test]
fn as_many_questions_and_answers_in_a_minute_as_the_limit_are_taken_and_one_more_ends_the_link() {
    let max = limits::LINK_RECEIPTS_PER_MINUTE_MAX;
    for message in [confirm(1, 3), stored(1, 3)] {
        let mut alone = Alone::met(overlays([1, 2]), &overlays([1, 2]));
        alone.give(Input::Confirm(overlay(1), 3));
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
