//! The exact bounds of what a peer may say, and what it makes this side hold.

use bytes::Bytes;
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Control, Failure, Input, Output, Side, Tag};
use p2panda_protocol::time::Time;

use crate::world::{
    Alone, Pair, at, dialler_tag, drain, hello, interest, messages, overlay, overlays, record,
    sent, start, stray,
};

/// An Interest in this many overlays, in frames.
fn interests(count: usize) -> Vec<Message> {
    let tags: Vec<Tag> = (0..count as u32).map(stray).collect();
    let chunks: Vec<_> = tags.chunks(limits::LINK_TAGS_PER_FRAME_MAX).collect();
    let last = chunks.len() - 1;
    let frame = |(place, chunk): (usize, &&[Tag])| interest(place < last, chunk.to_vec(), vec![]);
    chunks.iter().enumerate().map(frame).collect()
}

#[test]
fn the_limit_of_tags_holds() {
    let said = |count| [vec![hello()], interests(count)].concat();
    let mut alone = Alone::new(overlays([1]));
    assert_eq!(alone.failure(&said(limits::LINK_TAGS_MAX)), None);
    let held = alone.control.held_bytes();
    assert!(
        (16 * limits::LINK_TAGS_MAX..3_000_000).contains(&held),
        "{held}"
    );
    // The same again is no more, and one may take the place of another.
    let again = interest(false, vec![stray(0), stray(1)], vec![stray(0)]);
    assert_eq!(alone.failure(&[again]), None);
    assert_eq!(
        alone.failure(&[interest(false, vec![stray(0)], vec![])]),
        None
    );
    let one_more = interest(false, vec![stray(u32::MAX)], vec![]);
    assert_eq!(alone.failure(&[one_more]), Some(Failure::TooMuch));

    let mut alone = Alone::new(overlays([1]));
    let failure = alone.failure(&said(limits::LINK_TAGS_MAX + 1));
    assert_eq!(failure, Some(Failure::TooMuch));
    assert_eq!(Failure::TooMuch.close_code(), CloseCode::Limit);
}

#[test]
fn the_limit_of_changes_per_minute_holds() {
    let mut alone = Alone::met(overlays([1]), &overlays([]));
    let many = limits::LINK_TAGS_PER_FRAME_MAX / 2;
    let tags: Vec<Tag> = (0..many as u32).map(stray).collect();
    let change = interest(false, tags.clone(), tags);
    for minute in 0..2 {
        alone.now = at(minute * 60);
        for _ in 0..limits::LINK_CHANGES_PER_MINUTE_MAX / (2 * many) {
            assert_eq!(alone.failure(std::slice::from_ref(&change)), None);
        }
        // Empty ones count as well.
        for _ in 0..limits::LINK_CHANGES_PER_MINUTE_MAX % (2 * many) {
            assert_eq!(alone.failure(&[interest(false, vec![], vec![])]), None);
        }
    }
    let failure = alone.failure(&[interest(false, vec![], vec![])]);
    assert_eq!(failure, Some(Failure::TooMuch));
}

#[test]
fn the_limit_of_skipped_messages_holds() {
    let gossip = |bytes: usize| Message::Gossip {
        overlay: stray(1),
        message: Bytes::from(vec![7; bytes]),
    };
    for nothing in [Message::Skipped, gossip(1)] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        for minute in 0..2 {
            alone.now = at(minute * 60);
            for _ in 0..limits::LINK_IGNORED_PER_MINUTE_MAX {
                assert_eq!(alone.failure(std::slice::from_ref(&nothing)), None);
            }
        }
        assert_eq!(alone.failure(&[nothing]), Some(Failure::TooMuch));
    }
    // A large one counts for several.
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    for _ in 0..limits::LINK_IGNORED_PER_MINUTE_MAX / 2 {
        let large = gossip(limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT);
        assert_eq!(alone.failure(&[large]), None);
    }
    assert_eq!(alone.failure(&[gossip(1)]), Some(Failure::TooMuch));
}

#[test]
fn an_honest_side_tells_no_more_than_a_peer_remembers() {
    let max = limits::LINK_TAGS_MAX as u32;
    for (first, later) in [
        (max / 4 + 1, max),
        (max / 2, max),
        (max / 2 + 1, max),
        (max + 5, 0),
    ] {
        let mut control = Control::new(start(Side::Dialler, overlays(0..first)), Time::ZERO);
        for number in 0..later {
            control.handle(Input::Begin(overlay(1_000_000 + number)), Time::ZERO);
        }
        let (bytes, _) = sent(drain(&mut control));
        let mut alone = Alone::new(overlays([0, first, 2_000_000]));
        alone.give(Input::Bytes(bytes));
        assert!(alone.control.common().contains(&overlay(0)), "{first}");
        // What was left out is nothing that it has in common with anybody.
        control.handle(Input::End(overlay(max + 4)), Time::ZERO);
        control.handle(Input::End(overlay(0)), Time::ZERO);
        control.handle(Input::Begin(overlay(2_000_000)), Time::ZERO);
        let (bytes, _) = sent(drain(&mut control));
        alone.give(Input::Bytes(bytes));
        let common = alone.control.common();
        assert!(common.contains(&overlay(2_000_000)), "{first}");
        assert!(!common.contains(&overlay(0)));
    }
}

#[test]
fn the_limit_of_questions_per_minute_holds() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    alone.give(Input::Nodes(vec![].into()));
    for minute in 0..2 {
        alone.now = at(1_000 + minute * 60);
        for _ in 0..limits::LINK_ASKS_PER_MINUTE_MAX {
            let wanted = Output::WantNodes(overlays([1]));
            assert_eq!(alone.receive(&[Message::Ask]), [wanted]);
            alone.give(Input::Nodes(vec![record(1, 1)].into()));
        }
    }
    assert_eq!(alone.failure(&[Message::Ask]), Some(Failure::TooMuch));
}

#[test]
fn questions_without_an_answer_in_between_cost_one_answer_more() {
    let mut alone = Alone::met(overlays([1]), &overlays([1]));
    for _ in 0..limits::LINK_ASKS_PER_MINUTE_MAX {
        assert_eq!(alone.receive(&[Message::Ask]), []);
    }
    let answered = sent(alone.give(Input::Nodes(vec![record(1, 1)].into())));
    assert_eq!(messages(answered.0).len(), 1);
    assert_eq!(answered.1, [Output::WantNodes(overlays([1]))]);
    let answered = sent(alone.give(Input::Nodes(vec![record(1, 1)].into())));
    assert_eq!(messages(answered.0).len(), 1);
    assert_eq!(answered.1, []);
    assert_eq!(alone.give(Input::Nodes(vec![record(1, 1)].into())), []);
}

#[test]
fn a_frame_at_the_limit_is_taken_and_one_past_it_ends_the_link() {
    for (more, failure) in [(0, None), (1, Some(Failure::Oversize))] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        let len = limits::LINK_FRAME_BYTES_MAX + more;
        // Of a later version: nothing but its length counts.
        let frame = [&(len as u32).to_be_bytes()[..], &vec![17; len]].concat();
        let mut outputs = Vec::new();
        for part in frame.chunks(1_000) {
            outputs.extend(alone.give(Input::Bytes(Bytes::copy_from_slice(part))));
            assert!(alone.control.held_bytes() <= 2 * limits::LINK_FRAME_BYTES_MAX + 1_000);
        }
        let close = failure.map(|failure| Output::Close(CloseCode::Limit, failure));
        assert_eq!(outputs.pop(), close);
    }
}

#[test]
fn the_limit_of_gossip_bytes_holds() {
    let max = limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT;
    let mut pair = Pair::new(overlays([1]), overlays([1]));
    pair.settle();
    pair.0[0].give(Input::Gossip(overlay(1), vec![1; max + 1].into()));
    assert!(pair.0[0].written.is_empty());
    pair.0[0].give(Input::Gossip(overlay(1), vec![1; max].into()));
    assert!(pair.0[0].written.len() > max);

    for (len, fits) in [(max, true), (max + 1, false)] {
        let mut alone = Alone::met(overlays([1]), &overlays([1]));
        let message = Message::Gossip {
            overlay: dialler_tag(&overlay(1)),
            message: vec![1; len].into(),
        };
        let outputs = alone.receive(&[message]);
        match outputs.as_slice() {
            [Output::Gossip(_, message)] => assert!(fits && message.len() == len),
            [Output::Close(CloseCode::Limit, _)] => assert!(!fits),
            other => panic!("{other:?}"),
        }
    }
}
