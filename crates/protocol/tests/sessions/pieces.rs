//! Promises of large operations, which cross a link in pieces (`docs/protocol/link.md#11`).

use bytes::Bytes;
use p2panda_core::{Refusal, SigningKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::Input;
use p2panda_protocol::sync::{Protocol, SessionId};

use crate::world::{LINK, World, frame, operation};

const LARGE: usize = 300_000;

/// A live session, in which peer 0 has sent nothing yet.
fn live(protocol: Protocol) -> (World, SessionId) {
    let mut world = World::speaking(1, Some(protocol));
    let id = world.dial(0);
    world.settle();
    world.side(0, id).sent.clear();
    (world, id)
}

fn other() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// Decodes what was sent in one row, as messages.
fn messages(sent: &[Bytes]) -> Vec<Message> {
    let mut rest = Bytes::from(sent.concat());
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = rest.split_to(4);
        let length = u32::from_be_bytes(length[..].try_into().unwrap());
        messages.push(Message::decode(rest.split_to(length as usize)).unwrap());
    }
    messages
}

/// The places of pieces, and those of operations that are whole, among the messages.
fn places(messages: &[Message]) -> (Vec<usize>, Vec<usize>) {
    let of = |wanted: fn(&Message) -> bool| {
        let all = messages.iter().enumerate();
        all.filter(|(_, one)| wanted(one))
            .map(|(place, _)| place)
            .collect()
    };
    (
        of(|one| matches!(one, Message::Piece(_))),
        of(|one| matches!(one, Message::Live { .. } | Message::Operation { .. })),
    )
}

fn bytes(message: &Message) -> Input {
    Input::Bytes(frame(message))
}

fn code(world: &mut World, id: SessionId) -> Option<CloseCode> {
    world.side(0, id).end.map(|end| end.code)
}

/// The payload of an operation.
fn payload(message: &Message) -> Bytes {
    frame(message).slice(4..)
}

fn live_message(body: &[u8]) -> Message {
    let entry = operation(&other(), None, body);
    Message::Live {
        header: entry.header.as_bytes().clone(),
        body: entry.body,
    }
}

#[test]
fn a_small_operation_leaves_before_a_large_one_ends() {
    let (mut world, id) = live(LINK);
    world.peers[0].publish(&[1; LARGE]);
    world.peers[0].publish(b"behind it in the log");
    world.run_until_quiet(0, id);
    for _ in 0..3 {
        assert!(world.side(0, id).session.has_pieces());
        world.input(0, id, Input::Room);
    }
    let small = operation(&other(), None, b"small");
    world.peers[0].store(small.clone());
    let arrival = world.peers[0].arrival;
    world.input(0, id, Input::Arrived(arrival));
    world.settle();
    world.assert_equal();

    let sent = messages(&world.side(0, id).sent);
    let (pieces, whole) = places(&sent);
    let body = |place: &usize| match &sent[*place] {
        Message::Live { body, .. } => body.clone().unwrap(),
        _ => panic!("not an operation"),
    };
    let bodies: Vec<Bytes> = whole.iter().map(body).collect();
    assert_eq!(bodies, [&b"small"[..], b"behind it in the log"]);
    assert!(whole[0] < pieces[20], "{} {pieces:?}", whole[0]);
    assert!(whole[1] > pieces[pieces.len() - 1]);
    assert!(pieces.len() >= LARGE / limits::LINK_PIECE_BYTES);
}

#[test]
fn short_logs_pass_a_large_operation_in_catch_up() {
    let mut world = World::speaking(1, Some(LINK));
    world.peers[0].publish(&[1; LARGE]);
    world.peers[0].store(operation(&other(), None, b"small"));
    let id = world.dial(0);
    world.settle();
    world.assert_equal();
    let sent = messages(&world.side(0, id).sent[2..]);
    let (pieces, whole) = places(&sent);
    assert!(whole[0] < pieces[20]);
    let done = sent.iter().position(|one| *one == Message::Done).unwrap();
    assert!(done > pieces[pieces.len() - 1]);
    assert_eq!(world.sent_operations(0), 2);
}

#[test]
fn several_large_operations_come_one_after_the_other() {
    for seed in 0..20 {
        let mut world = World::speaking(seed, Some(LINK));
        let id = world.dial(0);
        if seed % 2 == 0 {
            world.settle();
        }
        let keys = [3, 4, 5].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        for key in &keys {
            let first = operation(key, None, &[1; LARGE]);
            let second = operation(key, Some(&first), b"small");
            let third = operation(key, Some(&second), &[2; LARGE / 2]);
            [first, second, third]
                .into_iter()
                .for_each(|entry| world.peers[0].store(entry));
        }
        world.peers[1].publish(&[3; LARGE]);
        for peer in 0..2 {
            let arrival = world.peers[peer].arrival;
            world
                .side(peer, id)
                .answers
                .push_back(Input::Arrived(arrival));
        }
        world.settle();
        world.assert_equal();
        assert_eq!(world.sent_operations(0), 9, "{seed}");
    }
}

#[test]
fn without_links_it_crosses_whole_and_uncopied() {
    for protocol in [Protocol::LogSync, Protocol::DigestSync] {
        let (mut world, id) = live(protocol);
        world.peers[0].publish(&[1; LARGE]);
        world.settle();
        world.assert_equal();
        let sent = world.side(0, id).sent.clone();
        let (pieces, whole) = places(&messages(&sent));
        assert_eq!((pieces.len(), whole.len()), (0, 1));
        let body = world.peers[0].entries[0].body.clone().unwrap();
        assert!(sent.iter().any(|one| one.as_ptr() == body.as_ptr()));
    }
}

#[test]
fn pieces_are_slices_of_the_body_and_small() {
    let (mut world, id) = live(LINK);
    world.peers[0].publish(&[1; LARGE]);
    world.settle();
    let body = world.peers[0].entries[0].body.clone().unwrap();
    let memory = body.as_ptr_range();
    let sent = &world.side(0, id).sent;
    let is_slice = |one: &&Bytes| memory.contains(&one.as_ptr());
    let slices: usize = sent.iter().filter(is_slice).map(Bytes::len).sum();
    assert_eq!(slices, LARGE);
    assert!(sent.iter().all(|one| one.len() <= limits::LINK_PIECE_BYTES));
}

#[test]
fn an_operation_cut_off_midway_leaves_nothing_behind() {
    let (mut world, id) = live(LINK);
    world.input(0, id, bytes(&Message::Large(LARGE as u32)));
    for _ in 0..20 {
        world.input(0, id, bytes(&Message::Piece(vec![1; 4_000].into())));
        world.run_until_quiet(0, id);
    }
    let side = world.side(0, id);
    assert!(side.session.is_in_frame());
    let held = side.session.passing_bytes();
    assert!((80_000..=160_000).contains(&held), "{held}");
    world.input(0, id, Input::Lost);
    let side = world.side(0, id);
    assert_eq!(side.session.passing_bytes(), 0);
    assert!(side.refused.is_empty());
}

#[test]
fn a_peer_that_breaks_the_order_of_pieces_is_refused() {
    let whole = payload(&live_message(&[1; 10_000]));
    let large = Message::Large(whole.len() as u32);
    let piece = |from: usize, to: usize| Message::Piece(whole.slice(from..to));
    let other = payload(&Message::Close);
    let cases = [
        vec![piece(0, 10)],
        vec![Message::Large(0)],
        vec![Message::Large(u32::MAX)],
        vec![large.clone(), large.clone()],
        vec![large.clone(), Message::Piece(Bytes::new())],
        vec![Message::Large(20), piece(0, 21)],
        vec![Message::Large(1), Message::Piece(other)],
        vec![large.clone(), piece(0, whole.len()), piece(0, 1)],
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let (mut world, id) = live(LINK);
        for message in &case {
            assert_eq!(code(&mut world, id), None, "{number}");
            world.input(0, id, bytes(message));
            world.run_until_quiet(0, id);
        }
        assert_eq!(code(&mut world, id), Some(CloseCode::Violation), "{number}");
    }
    for protocol in [Protocol::LogSync, Protocol::DigestSync] {
        let (mut world, id) = live(protocol);
        world.input(0, id, bytes(&large));
        assert_eq!(code(&mut world, id), Some(CloseCode::Violation));
    }
}

#[test]
fn a_stalled_operation_is_ended_despite_other_messages() {
    let (mut world, id) = live(LINK);
    world.input(0, id, bytes(&Message::Large(LARGE as u32)));
    let mut seconds = 0;
    while code(&mut world, id).is_none() {
        world.now = world.now.after(1_000);
        seconds += 1;
        world.input(0, id, bytes(&live_message(&[1; 1_000])));
        world.input(0, id, Input::Tick);
        world.run_until_quiet(0, id);
    }
    assert_eq!(seconds, 30);
    assert_eq!(code(&mut world, id), Some(CloseCode::Timeout));
}

#[test]
fn an_operation_above_the_limit_passes_without_being_kept() {
    let (mut world, id) = live(LINK);
    let most = limits::OPERATION_BYTES_MAX_DEFAULT;
    let whole = payload(&live_message(&vec![1; most]));
    world.input(0, id, bytes(&Message::Large(whole.len() as u32)));
    for piece in whole.chunks(60_000) {
        let piece = Bytes::copy_from_slice(piece);
        world.input(0, id, bytes(&Message::Piece(piece)));
        world.run_until_quiet(0, id);
        assert!(world.side(0, id).session.passing_bytes() < 300_000);
    }
    assert!(!world.side(0, id).session.is_in_frame());
    let refusals: Vec<_> = world.side(0, id).refused.iter().collect();
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].refusal, Refusal::TooLarge);
    world.input(0, id, bytes(&live_message(b"small")));
    world.run_until_quiet(0, id);
    assert_eq!(world.peers[0].entries.len(), 1);
}

#[test]
fn a_session_that_is_left_says_so_without_waiting_for_the_rest() {
    let (mut world, id) = live(LINK);
    world.peers[0].publish(&[1; LARGE]);
    world.run_until_quiet(0, id);
    world.input(0, id, Input::Room);
    world.input(0, id, Input::Stop);
    assert!(!world.side(0, id).session.has_pieces());
    let sent = messages(&world.side(0, id).sent);
    assert_eq!(sent.last(), Some(&Message::Close));
    world.settle();
    assert!(world.side(0, id).end.unwrap().ok);
    assert!(world.side(1, id).end.unwrap().ok);
}
