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

/// What a session holds, read from the layout that is stored.
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
        for _ in 0..60 {
            let who = below(&mut rng, 2);
            match below(&mut rng, 10) {
                0..4 => send(&mut ends, who, &mut rng),
                4..9 => receive(&mut ends[who]),
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
