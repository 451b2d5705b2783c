//! Two honest sides agree, no matter what the order of things and the cuts of the streams.

use p2panda_protocol::link::{Farewell, Input};
use p2panda_protocol::overlay::Overlay;

use crate::world::{Pair, Rng, overlay, overlays, record};

const OVERLAYS: usize = 24;

/// Begins, ends, questions and gossip of both sides, with streams cut anywhere. Returns what each side
/// passed on as gossip while the overlay was common to it.
fn shuffle(pair: &mut Pair, rng: &mut Rng) -> [Vec<(Overlay, u32)>; 2] {
    let mut gossip = [Vec::new(), Vec::new()];
    for step in 0..300u32 {
        let from = rng.below(2);
        let overlay = overlay(rng.below(OVERLAYS) as u32);
        match rng.below(13) {
            0 => pair.0[from].begin(overlay),
            1 => pair.0[from].end(overlay),
            5 if rng.below(4) == 0 => {
                let count = rng.below(OVERLAYS);
                let all = overlays((0..count).map(|_| rng.below(OVERLAYS) as u32));
                pair.0[from].all(all);
            }
            2 if pair.0[from].asks < 25 => pair.0[from].ask(),
            3 => {
                let count = rng.below(3) as u32;
                pair.0[from].answer(|| (0..count).map(|number| record(number, 3)).collect());
            }
            4 => {
                if pair.0[from].control.common().contains(&overlay) {
                    gossip[from].push((overlay, step));
                }
                let message = step.to_be_bytes().to_vec().into();
                pair.0[from].give(Input::Gossip(overlay, message));
            }
            _ => {
                let most = [1, 5, 40, 2_000][rng.below(4)];
                let bytes = 1 + rng.below(most);
                pair.pass(from, bytes);
            }
        }
    }
    gossip
}

#[test]
fn both_sides_agree_in_any_order_and_with_cuts() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let [dialler, acceptor] = [0, 1].map(|_| {
            let count = rng.below(OVERLAYS);
            overlays((0..count).map(|_| rng.below(OVERLAYS) as u32))
        });
        let mut pair = Pair::new(dialler, acceptor);
        shuffle(&mut pair, &mut rng);
        pair.settle();
        let [dialler, acceptor] = &pair.0;
        let expected = &dialler.own & &acceptor.own;
        for node in [dialler, acceptor] {
            assert_eq!(node.closed, None, "seed {seed}");
            assert!(node.met);
            assert_eq!(node.control.common(), &expected, "seed {seed}");
            assert_eq!(node.told, expected, "seed {seed}");
        }
    }
}

#[test]
fn every_question_is_answered_and_so_is_the_first_interest() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut pair = Pair::new(overlays(0..6), overlays(3..9));
        shuffle(&mut pair, &mut rng);
        pair.settle();
        for node in &pair.0 {
            assert_eq!(node.closed, None, "seed {seed}");
            assert_eq!(node.asks, node.answers, "seed {seed}");
            assert!(!node.records.is_empty());
        }
    }
}

#[test]
fn gossip_comes_in_order_and_only_for_common_overlays() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut pair = Pair::new(overlays(0..16), overlays(8..24));
        let sent = shuffle(&mut pair, &mut rng);
        pair.settle();
        for from in [0, 1] {
            // That each was common where it came is asserted there (`Node::drain`). What is missing
            // went to a side that had left the overlay meanwhile.
            let mut sent = sent[from].iter();
            for came in &pair.0[1 - from].gossip {
                assert!(sent.any(|message| message == came), "seed {seed}");
            }
        }
    }
}

#[test]
fn gossip_of_a_common_overlay_is_never_lost() {
    let mut pair = Pair::new(overlays([1]), overlays([1]));
    pair.settle();
    for number in 0..100u32 {
        for node in &mut pair.0 {
            node.give(Input::Gossip(
                overlay(1),
                number.to_be_bytes().to_vec().into(),
            ));
        }
    }
    pair.settle();
    let all: Vec<_> = (0..100).map(|number| (overlay(1), number)).collect();
    assert!(pair.0.iter().all(|node| node.gossip == all));
}

#[test]
fn an_early_question_is_answered_for_what_is_common_then() {
    let mut pair = Pair::new(overlays([1]), overlays([1, 2]));
    pair.pass(0, usize::MAX);
    // The acceptor owes its first Nodes, and takes its time.
    assert_eq!(pair.0[1].wanted.front(), Some(&overlays([1])));
    pair.0[0].begin(overlay(2));
    pair.0[0].ask();
    pair.pass(0, usize::MAX);
    pair.0[1].answer(|| vec![record(1, 1)]);
    assert_eq!(pair.0[1].wanted.front(), Some(&overlays([1, 2])));
    pair.settle();
    assert_eq!(pair.0[0].records.len(), 2);
    assert_eq!((pair.0[0].asks, pair.0[0].answers), (1, 1));
}

#[test]
fn a_farewell_is_sent_once_and_last() {
    let mut pair = Pair::new(overlays([1]), overlays([1]));
    pair.settle();
    pair.0[0].give(Input::Gossip(overlay(1), vec![0, 0, 0, 1].into()));
    pair.0[0].give(Input::Farewell(Farewell::Unneeded));
    pair.0[0].give(Input::Farewell(Farewell::Stopping));
    pair.settle();
    assert_eq!(pair.0[1].gossip, [(overlay(1), 1)]);
    assert_eq!(pair.0[1].farewells, [Farewell::Unneeded]);
    assert_eq!(pair.0[1].closed, None);
}
