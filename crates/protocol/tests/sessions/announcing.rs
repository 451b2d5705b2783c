//! Promises of operations that cross once (`docs/protocol/link.md#9`).

use p2panda_core::{SigningKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::session::Input;
use p2panda_protocol::sync::{Announced, Entries, Event, Message, Pair, Prefer, Protocol, Sources};

use crate::crowd::{Crowd, DELAY_US};
use crate::world::{LINK, World, frame, in_log, operation};

const SEEDS: u64 = 5;

/// Time in which an announced entry may still come.
fn one_round_trip_ms() -> u64 {
    2 * DELAY_US / 1_000
}

fn announced(author: &SigningKey, first: u32, last: u32) -> Announced {
    let author = author.verifying_key();
    Announced {
        entries: Entries {
            author,
            first,
            last,
        },
        check: [0; 8],
    }
}

#[test]
fn settled_nodes_get_each_operation_once() {
    for seed in 0..SEEDS {
        let mut crowd = Crowd::meshed(seed, 16, 5, LINK);
        for node in 0..16 {
            crowd.publish(node, b"first");
            crowd.run(200);
        }
        crowd.settle();
        let before = crowd.received();
        for round in 0..8 {
            for node in 0..16 {
                crowd.publish(node, &[round]);
                crowd.run(10);
            }
        }
        crowd.settle();
        crowd.assert_equal();
        let needed = 8 * 16 * 15;
        let received = crowd.received() - before;
        assert!(
            received <= needed * 102 / 100,
            "{seed}: {received} of {needed}"
        );
    }
}

#[test]
fn the_first_operation_of_an_author_comes_about_once_too() {
    for seed in 0..SEEDS {
        let mut crowd = Crowd::meshed(seed, 16, 5, LINK);
        for node in 0..16 {
            crowd.publish(node, b"first");
        }
        crowd.settle();
        crowd.assert_equal();
        let (received, needed) = (crowd.received(), 16 * 15);
        assert!(
            received <= needed * 13 / 10,
            "{seed}: {received} of {needed}"
        );
    }
}

#[test]
fn it_takes_about_as_long_as_when_everybody_sends_everything() {
    for seed in 0..SEEDS {
        let median = |protocol| {
            let mut crowd = Crowd::meshed(seed, 8, 5, protocol);
            let mut places = Vec::new();
            for round in 0..8 {
                for node in 0..8 {
                    places.push(crowd.publish(node, &[round]));
                    crowd.run(50);
                }
            }
            crowd.settle();
            crowd.assert_equal();
            let latencies = crowd.latencies(&places);
            latencies[latencies.len() / 2]
        };
        let (once, flooded) = (median(LINK), median(Protocol::DigestSync));
        assert!(once * 10 <= flooded * 13, "{seed}: {once} ms, {flooded} ms");
    }
}

#[test]
fn one_peer_alone_is_sent_everything_whole() {
    let mut world = World::speaking(2, Some(LINK));
    let id = world.dial(0);
    world.settle();
    let before = [0, 1].map(|place| world.side(place, id).sent.len());
    for _ in 0..20 {
        world.peers[0].publish(b"whole");
        world.peers[1].publish(b"and back");
        world.settle();
    }
    world.assert_equal();
    for (place, before) in before.into_iter().enumerate() {
        let sent = world.side(place, id).sent.split_off(before);
        assert_eq!(sent.len(), 20);
        assert!(sent.iter().all(|frame| frame[4] == 1), "Live");
    }
}

#[test]
fn an_ended_session_costs_a_wait_and_a_round_trip() {
    for seed in 0..SEEDS {
        let mut crowd = Crowd::meshed(seed, 8, 3, LINK);
        for round in 0..5 {
            for node in 0..8 {
                crowd.publish(node, &[round]);
                crowd.run(100);
            }
        }
        crowd.settle();
        let mut places = Vec::new();
        for (round, id) in crowd
            .links
            .keys()
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
            .enumerate()
        {
            let nodes = crowd.link(id).ends.each_ref().map(|end| end.node);
            // While both are on their way.
            places.push(crowd.publish(nodes[0], b"on its way"));
            crowd.run(DELAY_US / 2_000);
            crowd.cut(id);
            crowd.run(1_000 + round as u64);
            crowd.dial(nodes[0], nodes[1]);
            crowd.run(1_000);
        }
        crowd.settle();
        crowd.assert_equal();
        let worst = *crowd.latencies(&places).last().unwrap();
        assert!(worst <= 1_000, "{seed}: {worst} ms");
    }
}

#[test]
fn a_silent_source_delays_by_the_wait_and_a_round_trip() {
    // 0 publishes; 3 gets it by 1 or by 2.
    let mut crowd = Crowd::new(1, 4, LINK);
    for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3), (1, 2)] {
        crowd.dial(from, to);
        crowd.settle();
    }
    crowd.publish(0, b"settled");
    crowd.settle();
    let received = crowd.received();
    crowd.publish(0, b"once");
    crowd.settle();
    assert_eq!(crowd.received() - received, 3);
    let source = crowd.between(1, 3).unwrap();
    crowd.link(source).silent = true;
    let place = crowd.publish(0, b"around");
    crowd.settle();
    crowd.assert_equal();
    let late = *crowd.latencies(&[place]).last().unwrap();
    let hold = limits::ANNOUNCE_HOLD + limits::OFFER_WAIT;
    let most = hold.as_millis() as u64 + 3 * one_round_trip_ms();
    assert!(late <= most, "{late} ms");
    // From then on the other one is the source.
    let places: Vec<_> = (0..5)
        .map(|_| {
            crowd.run(2_000);
            crowd.publish(0, b"as before")
        })
        .collect();
    crowd.settle();
    let late = *crowd.latencies(&places).last().unwrap();
    assert!(late <= 2 * one_round_trip_ms(), "{late} ms");
}

#[test]
fn under_churn_nothing_is_lost_and_little_comes_twice() {
    for seed in 0..SEEDS {
        let mut crowd = Crowd::meshed(seed, 12, 5, LINK);
        let before = crowd.received();
        let mut published = 0;
        for round in 0..30 {
            let ids: Vec<_> = crowd.links.keys().copied().collect();
            let id = ids[crowd.rng.below(ids.len())];
            let nodes = crowd.link(id).ends.each_ref().map(|end| end.node);
            if crowd.link(id).ends.iter().all(|end| !end.over) {
                match round % 3 {
                    0 => crowd.link(id).silent = true,
                    _ => crowd.cut(id),
                }
            }
            for _ in 0..10 {
                let node = crowd.rng.below(12);
                crowd.publish(node, &[round]);
                published += 1;
                crowd.run(50);
            }
            if crowd.link(id).silent {
                crowd.cut(id);
                crowd.run(1);
                crowd.dial(nodes[0], nodes[1]);
            }
        }
        crowd.settle();
        crowd.assert_equal();
        let (received, needed) = (crowd.received() - before, published * 11);
        assert!(
            received * 10 <= needed * 13,
            "{seed}: {received} of {needed}"
        );
    }
}

#[test]
fn an_announcer_that_sends_nothing_stops_nothing() {
    // 3 has sessions with 1 and 2; 1 claims to have everything, and its operations are lost.
    let mut crowd = Crowd::new(1, 4, LINK);
    for (from, to) in [(1, 3), (0, 2), (2, 3)] {
        crowd.dial(from, to);
        crowd.settle();
    }
    let author = crowd.key(0);
    let liar = crowd.between(1, 3).unwrap();
    crowd.link(liar).silent = true;
    let mut places = Vec::new();
    for seq in 0..40 {
        let claim = Message::Announce(vec![announced(&author, seq, seq + 100)]);
        crowd.inject(liar, 1, frame(&claim));
        crowd.run(300);
        places.push(crowd.publish(0, b"true"));
        crowd.run(300);
    }
    crowd.settle();
    let [other, victim] = [0, 3].map(|node| crowd.nodes[node].store.content());
    assert!(other == victim);
    let mut late = places.iter().map(|place| {
        let [published, came] = [0, 3].map(|node| crowd.nodes[node].stored[place]);
        came.ms_since(published)
    });
    let worst = late.clone().max().unwrap();
    assert!(worst <= 4_000, "{worst} ms");
    assert!(late.all(|ms| ms <= 4_000));
}

/// A node that has no room for what a peer announced forgets it: what only that peer has still comes.
#[test]
fn announcements_forgotten_for_room_come_all_the_same() {
    let mut crowd = Crowd::new(1, 4, LINK);
    for (from, to) in [(1, 3), (0, 2), (2, 3)] {
        crowd.dial(from, to);
        crowd.settle();
    }
    let liar = crowd.between(1, 3).unwrap();
    for number in 0..40 {
        let claims = (0..100).map(|seed| {
            let mut secret = [number; 32];
            secret[0] = seed;
            announced(&SigningKey::from_bytes(&secret), 0, 0)
        });
        crowd.inject(liar, 1, frame(&Message::Announce(claims.collect())));
        crowd.run(10);
        let session = &mut crowd.link(liar).ends[1].session;
        let held = session.held_bytes();
        let announced = session.announced_bytes();
        assert!(announced > 0 && announced <= held);
        session.forget_announced();
        assert_eq!(session.announced_bytes(), 0);
        assert!(session.held_bytes() <= held - announced);
        crowd.publish(0, b"true");
    }
    crowd.settle();
    let [other, victim] = [0, 3].map(|node| crowd.nodes[node].store.content());
    assert!(other == victim);
}

#[test]
fn what_a_peer_announces_of_another_branch_is_fetched() {
    let mut crowd = Crowd::new(1, 3, LINK);
    for (from, to) in [(0, 1), (1, 2)] {
        crowd.dial(from, to);
        crowd.settle();
    }
    let author = SigningKey::from_bytes(&[77; 32]);
    let [one, other] = [b"one", b"two"].map(|body| operation(&author, None, body));
    crowd.nodes[0].store.store(one);
    crowd.nodes[0].store.publish(b"and more");
    let id = crowd.between(0, 1).unwrap();
    let arrival = crowd.nodes[0].store.arrival;
    crowd.inject_input(id, 0, Input::Arrived(arrival));
    crowd.settle();
    let fork = crowd.between(1, 2).unwrap();
    let claim = Announced {
        check: *other.header.id().as_bytes().first_chunk().unwrap(),
        ..announced(&author, 0, 0)
    };
    let end = crowd.link(fork).ends.iter().position(|end| end.node == 1);
    let end = end.unwrap();
    crowd.inject(fork, end, frame(&Message::Announce(vec![claim])));
    crowd.settle();
    let fetch = frame(&Message::Fetch(vec![claim.entries]));
    assert!(crowd.link(fork).ends[end].sent.contains(&fetch));
}

#[test]
fn what_need_not_be_waited_for_is_fetched_at_once() {
    // 2 gets the rest from 0; 1 announces an entry of somebody, and one of its own.
    let mut crowd = Crowd::new(1, 3, LINK);
    for (from, to) in [(0, 2), (1, 2)] {
        crowd.dial(from, to);
        crowd.settle();
    }
    let id = crowd.between(1, 2).unwrap();
    let own = announced(&crowd.key(1), 0, 0);
    for claim in [announced(&SigningKey::from_bytes(&[77; 32]), 0, 0), own] {
        crowd.inject(id, 1, frame(&Message::Announce(vec![claim])));
    }
    crowd.run(1);
    let fetch = frame(&Message::Fetch(vec![own.entries]));
    assert_eq!(crowd.link(id).ends[1].sent.last(), Some(&fetch));
}

/// The peer wants nothing whole any more.
fn prefer_nothing() -> Input {
    Input::Bytes(frame(&Message::Prefer(Prefer {
        rest: Some(false),
        ..Prefer::default()
    })))
}

#[test]
fn own_entries_of_logs_with_a_name_are_sent_whole() {
    let mut world = World::speaking(1, Some(LINK));
    let id = world.dial(0);
    world.settle();
    world.input(0, id, prefer_nothing());
    world.settle();
    world.side(0, id).sent.clear();
    let own = in_log(&world.peers[0].key.clone(), "notes", None);
    world.peers[0].arrive(own);
    world.settle();
    world.assert_equal();
    let sent = &world.side(0, id).sent;
    assert!(sent.len() == 1 && sent[0][4] == 1, "Live: {sent:?}");
}

#[test]
fn the_author_is_the_source_of_its_logs_with_a_name() {
    // 2 gets the rest from 0; 1 publishes.
    let mut crowd = Crowd::new(1, 3, LINK);
    for (from, to) in [(0, 2), (1, 2), (0, 1)] {
        crowd.dial(from, to);
        crowd.settle();
    }
    let key = crowd.key(1);
    let mut past = None;
    for round in 0..6 {
        let before = crowd.received();
        let next = in_log(&key, "notes", past.as_ref());
        past = Some(next.clone());
        crowd.store_elsewhere(1, next);
        crowd.settle();
        crowd.assert_equal();
        // The first one may come twice: until then it is not known whose log it is.
        assert!(round == 0 || crowd.received() - before == 2, "{round}");
    }
}

#[test]
fn what_a_peer_only_heard_of_an_own_key_is_not_sent() {
    let mut world = World::speaking(1, Some(LINK));
    let own_key = SigningKey::from_bytes(&[77; 32]);
    let sources = Sources::default();
    sources.sign_as(own_key.verifying_key());
    let [local, remote] = [0, 1].map(|place| world.peers[place].key.verifying_key());
    world.peers[0].pair = Pair::among(local, remote, sources);
    let id = world.dial(0);
    world.settle();
    world.input(0, id, prefer_nothing());
    world.settle();
    // What it is told does not arrive.
    world.side(0, id).mute = true;
    world.peers[0].arrive(operation(&own_key, None, b"mine"));
    world.settle();
    let arrival = world.peers[0].arrival;
    let sent = Event::Sent { arrival };
    assert!(!world.side(0, id).events.contains(&sent));
    let entries = announced(&own_key, 0, 0).entries;
    let fetch = frame(&Message::Fetch(vec![entries]));
    world.input(0, id, Input::Bytes(fetch));
    world.settle();
    assert!(world.side(0, id).events.contains(&sent));
}

fn refused(protocol: Protocol, live: bool, message: &Message) -> Option<CloseCode> {
    let mut world = World::speaking(1, Some(protocol));
    let id = world.dial(0);
    if live {
        world.settle();
    }
    world.input(0, id, Input::Bytes(frame(message)));
    world.settle();
    world.side(0, id).end.map(|end| end.code)
}

#[test]
fn announcements_are_spoken_live_on_links_only() {
    let author = SigningKey::from_bytes(&[9; 32]);
    let entries = announced(&author, 0, 3).entries;
    let prefer = Prefer {
        rest: Some(false),
        ..Prefer::default()
    };
    let messages = [
        Message::Announce(vec![announced(&author, 0, 3)]),
        Message::Fetch(vec![entries]),
        Message::Prefer(prefer),
    ];
    for message in &messages {
        let violation = Some(CloseCode::Violation);
        assert_eq!(refused(LINK, true, message), None, "{message:?}");
        for (protocol, live) in [
            (LINK, false),
            (Protocol::DigestSync, true),
            (Protocol::LogSync, true),
        ] {
            assert_eq!(refused(protocol, live, message), violation, "{message:?}");
        }
    }
    let many = limits::ANNOUNCED_MAX as u32;
    let announce = |last| Message::Announce(vec![announced(&author, 0, last)]);
    assert_eq!(refused(LINK, true, &announce(many - 1)), None);
    let limit = Some(CloseCode::Limit);
    assert_eq!(refused(LINK, true, &announce(many)), limit);
    assert_eq!(refused(LINK, true, &announce(u32::MAX)), limit);
    let prefer = |count: usize| {
        let key = |seed: usize| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            SigningKey::from_bytes(&bytes).verifying_key()
        };
        Message::Prefer(Prefer {
            rest: None,
            begin: (0..count).map(key).collect(),
            end: Vec::new(),
        })
    };
    let most = limits::PREFERRED_AUTHORS_MAX;
    assert_eq!(refused(LINK, true, &prefer(most)), None);
    assert_eq!(refused(LINK, true, &prefer(most + 1)), limit);
}
