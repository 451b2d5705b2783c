//! The order and the deadlines of a peer's messages.

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Control, Failure, Farewell, Input, Output, Side};
use p2panda_protocol::time::Time;

use crate::world::{Alone, drain, hello, interest, overlays, record, start, stray};

fn empty_interest(more: bool) -> Message {
    interest(more, Vec::new(), Vec::new())
}

fn nodes(more: bool) -> Message {
    let records = Records::new();
    Message::Nodes {
        more,
        records,
        members: vec![],
    }
}

fn gossip() -> Message {
    Message::Gossip {
        overlay: stray(1),
        message: Bytes::from_static(b"hello"),
    }
}

/// One of each but Hello and Interest.
fn others() -> [Message; 4] {
    let farewell = Message::Farewell(Farewell::Stopping);
    [Message::Ask, nodes(false), gossip(), farewell]
}

#[test]
fn nothing_comes_before_hello() {
    for message in others()
        .into_iter()
        .chain([empty_interest(false), Message::Skipped])
    {
        let failure = Alone::new(overlays([1])).failure(&[message]);
        assert_eq!(failure, Some(Failure::Unexpected));
    }
}

#[test]
fn a_second_hello_ends_the_link_wherever_it_stands() {
    for between in [
        vec![],
        vec![empty_interest(true)],
        vec![empty_interest(false)],
        vec![empty_interest(false), nodes(true)],
    ] {
        let said = [vec![hello()], between, vec![hello()]].concat();
        let failure = Alone::new(overlays([1])).failure(&said);
        assert_eq!(failure, Some(Failure::Unexpected));
    }
}

#[test]
fn the_first_interest_follows_hello() {
    for message in others() {
        let failure = Alone::new(overlays([1])).failure(&[hello(), message]);
        assert_eq!(failure, Some(Failure::Unexpected));
    }
}

#[test]
fn nothing_comes_between_the_frames_of_one_message() {
    for message in others() {
        for before in [vec![], vec![empty_interest(false)]] {
            let said = [
                vec![hello()],
                before,
                vec![empty_interest(true), message.clone()],
            ];
            let failure = Alone::new(overlays([1])).failure(&said.concat());
            assert_eq!(failure, Some(Failure::Unexpected));
        }
    }
    let [ask, _, gossip, farewell] = others();
    for message in [ask, gossip, farewell, empty_interest(false)] {
        let said = [hello(), empty_interest(false), nodes(true), message];
        let failure = Alone::new(overlays([1])).failure(&said);
        assert_eq!(failure, Some(Failure::Unexpected));
    }
}

#[test]
fn later_messages_are_skipped_anywhere_after_hello() {
    let said = [
        hello(),
        empty_interest(true),
        empty_interest(false),
        nodes(true),
        nodes(false),
        Message::Ask,
    ];
    let plain = Alone::new(overlays([1])).receive(&said);
    let mixed = said
        .iter()
        .flat_map(|message| [message.clone(), Message::Skipped]);
    let mixed: Vec<Message> = mixed.collect();
    assert_eq!(Alone::new(overlays([1])).receive(&mixed), plain);
    assert!(plain.contains(&Output::Nodes(Records::new().into())));
}

#[test]
fn a_second_farewell_ends_the_link() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let farewell = Message::Farewell(Farewell::Replaced);
    assert_eq!(alone.failure(std::slice::from_ref(&farewell)), None);
    assert_eq!(alone.failure(&[farewell]), Some(Failure::Unexpected));
}

#[test]
fn a_peer_without_hello_is_closed_at_the_deadline() {
    let said = [
        vec![],
        vec![hello()],
        vec![hello(), empty_interest(true)],
        vec![hello(), empty_interest(true), Message::Skipped],
    ];
    for (round_trip, deadline) in [
        (Duration::ZERO, limits::LINK_HELLO_TIMEOUT),
        (Duration::from_millis(500), limits::LINK_HELLO_TIMEOUT),
        (Duration::from_millis(2_500), Duration::from_secs(50)),
        (Duration::MAX, limits::PATIENCE_MAX),
    ] {
        for said in &said {
            let mut start = start(Side::Acceptor, overlays([1]));
            start.round_trip = round_trip;
            let began = Time::from_micros(77);
            let deadline = began + deadline;
            let control = Control::new(start, began);
            let mut alone = Alone {
                control,
                now: began,
            };
            let asked_for = drain(&mut alone.control);
            assert!(asked_for.contains(&Output::Wake(deadline)));
            assert_eq!(alone.failure(said), None);
            alone.now = Time::from_micros(deadline.as_micros() - 1);
            assert_eq!(alone.give(Input::Tick), []);
            alone.now = deadline;
            let close = Output::Close(CloseCode::Timeout, Failure::Timeout);
            assert_eq!(alone.give(Input::Tick), [close]);
        }
    }
}

#[test]
fn a_peer_that_introduced_itself_may_stay_silent() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    alone.now = Time::from_micros(u64::MAX);
    assert_eq!(alone.give(Input::Tick), []);
}

#[test]
fn nothing_happens_and_nothing_is_held_after_the_end() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    let records = vec![record(1, 9)];
    let said = [
        Message::Nodes {
            more: true,
            records,
            members: vec![],
        },
        Message::Ask,
    ];
    let close = Output::Close(CloseCode::Violation, Failure::Unexpected);
    assert_eq!(alone.receive(&said), [close]);
    assert_eq!(alone.control.held_bytes(), 0);
    for input in [
        Input::Tick,
        Input::Bytes(Bytes::from_static(&[0, 0, 0, 1, 2])),
        Input::Lost,
        Input::Ask,
        Input::Begin(crate::world::overlay(5)),
        Input::Farewell(Farewell::Stopping),
    ] {
        assert_eq!(alone.give(input), []);
    }
}

#[test]
fn the_end_of_the_stream_ends_the_link() {
    for met in [false, true] {
        let mut alone = match met {
            true => Alone::met(overlays([1]), &overlays([1])),
            false => Alone::new(overlays([1])),
        };
        let close = Output::Close(CloseCode::Failed, Failure::Ended);
        assert_eq!(alone.give(Input::Lost), [close]);
    }
}
