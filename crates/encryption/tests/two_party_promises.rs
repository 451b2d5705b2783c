//! Invariants of 2SM in random conversations; a failing one names its seed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::collections::VecDeque;

use chacha20::ChaCha20Rng;
use p2panda_core::cbor::VALUE;
use p2panda_encryption::two_party::{KeyUsed, Session, TwoPartyMessage};
use p2panda_encryption::{Bundle, PublicKey, Reader, SecretKey, Wire};
use world::*;

/// One end, and the messages on their way to it.
struct End {
    person: Person,
    session: Session,
    inbox: VecDeque<(TwoPartyMessage, Vec<u8>)>,
}

/// Content of a session, read from the layout that is stored.
struct Held {
    own: Vec<(u64, SecretKey)>,
    theirs: Option<PublicKey>,
    received: Option<SecretKey>,
}

fn held(session: &Session) -> Held {
    let layout = session.encode_layout();
    let mut r = Reader::checked(&layout, VALUE).unwrap();
    assert_eq!(r.map().unwrap(), 7);
    let key = |r: &mut Reader<'_>| SecretKey::from_bytes(r.bytes().unwrap().try_into().unwrap());
    r.text().unwrap();
    let own = (0..r.map().unwrap())
        .map(|_| (r.uint().unwrap(), key(&mut r)))
        .collect();
    // Indexes, label and bundle.
    for _ in 0..4 {
        r.text().unwrap();
        r.skip().unwrap();
    }
    r.text().unwrap();
    let theirs = r.bytes().ok().map(|bytes| bytes.try_into().unwrap());
    if theirs.is_none() {
        r.null().unwrap();
    }
    r.text().unwrap();
    let received = r.bytes().ok().map(|bytes| bytes.try_into().unwrap());
    Held {
        own,
        theirs: theirs.map(PublicKey::from_bytes),
        received: received.map(SecretKey::from_bytes),
    }
}

fn send(ends: &mut [End; 2], who: usize, rng: &mut ChaCha20Rng) {
    let text = operation(rng).as_bytes().to_vec();
    let end = &mut ends[who];
    let keys = &end.person.keys;
    let message = end.session.send(keys, &text, START, rng).unwrap();
    let held = held(&end.session);
    let fits = |secret: &SecretKey| Some(secret.public_key()) == held.theirs;
    assert!(!held.own.iter().any(|(_, secret)| fits(secret)));
    assert!(!held.received.as_ref().is_some_and(fits));
    ends[1 - who].inbox.push_back((message, text));
}

fn receive(end: &mut End) {
    let Some((message, text)) = end.inbox.pop_front() else {
        return;
    };
    let keys = &mut end.person.keys;
    let received = end.session.receive(keys, None, &message).unwrap();
    assert_eq!(*received.plaintext, text);
    if let KeyUsed::OwnKey(used) = message.key_used {
        let held = held(&end.session);
        assert!(held.own.iter().all(|(index, _)| *index > used));
    }
    let before = (end.session.encode(), keys.encode());
    assert!(end.session.receive(keys, None, &message).is_err());
    assert!((end.session.encode(), keys.encode()) == before);
}

#[test]
fn in_random_conversations_every_message_opens_once() {
    for seed in lives(50) {
        println!("conversation {seed}");
        let mut rng = life_rng("conversation", seed);
        let mut people = people(2, 1, &mut rng);
        let long = chance(&mut rng, 50);
        let bundles = [1, 0].map(|owner: usize| match long {
            true => Bundle::LongTerm(people[owner].keys.long_term_bundle(START).unwrap()),
            false => {
                let bundle = people[owner].keys.one_time_bundle(START, &mut rng);
                Bundle::OneTime(bundle.unwrap())
            }
        });
        let mut ends = bundles.map(|bundle| End {
            person: people.remove(0),
            session: Session::to_send(bundle),
            inbox: VecDeque::new(),
        });
        let restarts = chance(&mut rng, 50);
        for _ in 0..60 {
            let who = below(&mut rng, 2);
            match below(&mut rng, 20) {
                0..8 => send(&mut ends, who, &mut rng),
                8..17 => receive(&mut ends[who]),
                17 if restarts => {
                    let bundle = ends[1 - who].person.keys.long_term_bundle(START).unwrap();
                    ends[who].session.restart(Bundle::LongTerm(bundle));
                }
                _ => {
                    let stored = ends[who].session.encode();
                    ends[who].session = Session::decode(&stored).unwrap();
                }
            }
        }
        for end in &mut ends {
            while !end.inbox.is_empty() {
                receive(end);
            }
        }
    }
}

/// Bob's bundle, for a channel that begins (again).
fn long_term(bob: &Person) -> Bundle {
    Bundle::LongTerm(bob.keys.long_term_bundle(START).unwrap())
}

#[test]
fn the_last_generation_is_the_channel_in_any_order() {
    let mut rng = life_rng("generations", 0);
    let mut people = people(2, 0, &mut rng);
    let [alice, bob] = &mut people[..] else {
        panic!("two people");
    };
    let mut session = Session::to_send(long_term(bob));
    let firsts: Vec<_> = (0..3)
        .map(|round| {
            if round > 0 {
                session.restart(long_term(bob));
            }
            session
                .send(&alice.keys, b"first", START, &mut rng)
                .unwrap()
        })
        .collect();
    let mut last = Session::to_receive();
    last.receive(&mut bob.keys, None, &firsts[2]).unwrap();
    let channel = held(&last).theirs;
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut fresh = Session::to_receive();
        for index in order {
            let received = fresh.receive(&mut bob.keys, None, &firsts[index]).unwrap();
            assert_eq!(*received.plaintext, b"first");
            let again = fresh.receive(&mut bob.keys, None, &firsts[index]);
            assert!(again.is_err(), "a replay");
        }
        assert_eq!(held(&fresh).theirs, channel, "{order:?}");
        let reply = fresh.send(&bob.keys, b"reply", START, &mut rng).unwrap();
        let mut alice_now = Session::decode(&session.encode()).unwrap();
        alice_now.receive(&mut alice.keys, None, &reply).unwrap();
    }
}

#[test]
fn a_channel_that_lost_messages_restarts_both_ways() {
    let mut rng = life_rng("anew", 0);
    let mut people = people(2, 0, &mut rng);
    let [alice, bob] = &mut people[..] else {
        panic!("two people");
    };
    let mut one = Session::to_send(long_term(bob));
    let mut two = Session::to_receive();
    let lost = one.send(&alice.keys, b"lost", START, &mut rng).unwrap();
    drop(lost);
    let broken = one.send(&alice.keys, b"broken", START, &mut rng).unwrap();
    assert!(two.receive(&mut bob.keys, None, &broken).is_err());
    one.restart(long_term(bob));
    for round in 0..3 {
        let message = one.send(&alice.keys, b"to bob", START + round, &mut rng);
        let message = message.unwrap();
        assert_eq!(message.key_used == KeyUsed::PreKey, round == 0);
        two.receive(&mut bob.keys, None, &message).unwrap();
        let reply = two.send(&bob.keys, b"to alice", START + round, &mut rng);
        one.receive(&mut alice.keys, None, &reply.unwrap()).unwrap();
    }
}
