#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::VecDeque;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::SigningKey;

use super::*;
use crate::Member;
use crate::bundle::Lifetime;
use crate::secret::Secret;
use crate::suite::Link;
use crate::vectors::{bytes, hex, list, load, rng, text};
use crate::wire::Wire;
use crate::x3dh::HybridFirst;
use crate::xwing::XWingSecret;

const NOW: u64 = 1_790_000_000;

/// One end of a channel, and the messages on their way to it.
struct End {
    id: Member,
    keys: OwnKeys,
    session: Session,
    inbox: VecDeque<(TwoPartyMessage, Vec<u8>)>,
}

fn ends(rng: &mut ChaCha20Rng) -> [End; 2] {
    [1, 2].map(|seed| {
        let mut keys = OwnKeys::new(SecretKey::random(rng));
        keys.rotate_hybrid_prekey(Lifetime::starting(NOW, 1_000), rng);
        End {
            id: SigningKey::from_bytes(&[seed; 32]).verifying_key(),
            keys,
            session: Session::to_receive(),
            inbox: VecDeque::new(),
        }
    })
}

fn link(ends: &[End; 2], from: usize) -> Link {
    Link {
        group: [9; 32],
        sender: ends[from].id,
        recipient: ends[1 - from].id,
    }
}

/// Seals as the sender does, by hybrid_every.
fn seal(
    ends: &mut [End; 2],
    from: usize,
    every: u32,
    plaintext: &[u8],
    rng: &mut ChaCha20Rng,
) -> TwoPartyMessage {
    let mut announced = None;
    let hybrid = OverHybrid {
        announced: &mut announced,
        link: link(ends, from),
        every,
        is_forced: false,
    };
    let (one, two) = ends.split_at_mut(1);
    let (sender, receiver) = match from {
        0 => (&mut one[0], &two[0]),
        _ => (&mut two[0], &one[0]),
    };
    let bundle = receiver.keys.hybrid_bundle(NOW + 1).unwrap();
    let opening = Opening::Hybrid {
        bundle,
        onetime: None,
    };
    let over = Over {
        anew: sender.session.begins_anew(&opening, NOW + 1),
        opening: Some(opening),
        hybrid: Some(hybrid),
    };
    let sealing = sender
        .session
        .prepare(over, &sender.keys, plaintext, NOW + 1, rng);
    let (sent, message) = sealing.unwrap().seal().unwrap();
    sender.session.apply_sent(sent);
    assert_eq!(TwoPartyMessage::decode(&message.encode()).unwrap(), message);
    message
}

fn open(
    ends: &mut [End; 2],
    to: usize,
    message: &TwoPartyMessage,
) -> Result<Zeroizing<Vec<u8>>, ReceiveError> {
    let link = link(ends, 1 - to);
    let End { keys, session, .. } = &mut ends[to];
    let mut opened = session.open(keys, None, message, Some(link))?;
    let plaintext = std::mem::take(&mut opened.plaintext);
    session.apply_opened(keys, opened);
    Ok(plaintext)
}

#[test]
fn in_random_hybrid_conversations_every_message_opens_once() {
    for seed in 0..40 {
        println!("conversation {seed}");
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut ends = ends(&mut rng);
        let every = 1 + u32::from(seed) % 4;
        let mut kinds = [0; 3];
        for _ in 0..80 {
            let who = rng.next_u32() as usize % 2;
            match rng.next_u32() % 20 {
                0..8 => {
                    let mut text = vec![0; 32];
                    rng.fill_bytes(&mut text);
                    let message = seal(&mut ends, who, every, &text, &mut rng);
                    kinds[match message.ciphertext {
                        TwoPartyCiphertext::First(_) => 0,
                        TwoPartyCiphertext::Hybrid { .. } => 1,
                        _ => 2,
                    }] += 1;
                    assert_eq!(message.ciphertext.suite(), Suite::Hybrid);
                    ends[1 - who].inbox.push_back((message, text));
                }
                8..17 => {
                    let Some((message, text)) = ends[who].inbox.pop_front() else {
                        continue;
                    };
                    assert_eq!(*open(&mut ends, who, &message).unwrap(), text);
                    let before = ends[who].session.encode();
                    assert!(open(&mut ends, who, &message).is_err(), "a repeat");
                    assert_eq!(ends[who].session.encode(), before);
                }
                17 if seed % 2 == 1 => ends[who].session.restart_later(),
                _ => {
                    let stored = ends[who].session.encode();
                    let again = Session::decode(&stored).unwrap();
                    assert_eq!(again, ends[who].session);
                    ends[who].session = again;
                }
            }
        }
        assert!(kinds[0] > 0 && kinds[1] > 0 && (kinds[2] > 0) == (every > 1));
    }
}

#[test]
fn a_hybrid_message_opens_in_its_group_pair_and_direction_only() {
    let mut rng = ChaCha20Rng::from_seed([50; 32]);
    for every in [1, 100] {
        let mut ends = ends(&mut rng);
        let first = seal(&mut ends, 0, every, b"first", &mut rng);
        let later = seal(&mut ends, 0, every, b"later", &mut rng);
        for message in [first, later] {
            let right = link(&ends, 0);
            let wrong = [
                Link {
                    group: [8; 32],
                    ..right
                },
                Link {
                    sender: right.recipient,
                    ..right
                },
                Link {
                    recipient: right.sender,
                    ..right
                },
            ];
            let End { keys, session, .. } = &ends[1];
            for wrong in wrong {
                assert!(session.open(keys, None, &message, Some(wrong)).is_err());
            }
            let without = session.open(keys, None, &message, None);
            assert_eq!(without.err(), Some(ReceiveError::Unconfigured));
            open(&mut ends, 1, &message).unwrap();
        }
    }
}

#[test]
fn labels_and_parts_of_hybrid_messages_cannot_be_exchanged() {
    let mut rng = ChaCha20Rng::from_seed([51; 32]);
    let mut ends = ends(&mut rng);
    let first = seal(&mut ends, 0, 2, b"first", &mut rng);
    open(&mut ends, 1, &first).unwrap();
    let reply = seal(&mut ends, 1, 1, b"hybrid", &mut rng);
    let mut relabelled = reply.clone();
    relabelled.key_used = KeyUsed::ReceivedKey;
    assert!(open(&mut ends, 0, &relabelled).is_err());
    relabelled.key_used = KeyUsed::PreKey;
    assert!(open(&mut ends, 0, &relabelled).is_err());
    let mut relabelled = reply.clone();
    let TwoPartyCiphertext::Hybrid { xwing_used, .. } = &mut relabelled.ciphertext else {
        panic!("a hybrid message");
    };
    *xwing_used = KeyUsed::ReceivedKey;
    assert!(open(&mut ends, 0, &relabelled).is_err());

    let TwoPartyCiphertext::First(part) = &first.ciphertext else {
        panic!("a first message");
    };
    let other = ends[1].keys.identity_key().to_owned();
    let altered = [
        HybridFirst {
            identity_key: other,
            ..part.clone()
        },
        HybridFirst {
            ephemeral_key: other,
            ..part.clone()
        },
        HybridFirst {
            kem_output: {
                let mut kem_output = part.kem_output.clone();
                kem_output[5] ^= 1;
                kem_output
            },
            ..part.clone()
        },
    ];
    for altered in altered {
        let message = TwoPartyMessage {
            key_used: KeyUsed::PreKey,
            ciphertext: TwoPartyCiphertext::First(altered),
        };
        ends[1].session = Session::to_receive();
        let before = ends[1].session.encode();
        assert!(open(&mut ends, 1, &message).is_err());
        assert_eq!(ends[1].session.encode(), before);
    }
}

/// Anyone who has all X25519 secrets of a channel and what travelled, but no state, opens nothing.
#[test]
fn x25519_secrets_alone_open_nothing() {
    let mut rng = ChaCha20Rng::from_seed([52; 32]);
    let mut ends = ends(&mut rng);
    let first = seal(&mut ends, 0, 3, b"first", &mut rng);
    open(&mut ends, 1, &first).unwrap();
    for round in 0..6 {
        let message = seal(&mut ends, 0, 3, b"later", &mut rng);
        let link = link(&ends, 0);
        let End { keys, session, .. } = &mut ends[1];
        let received = session.our_received_secret_key.as_mut().unwrap();
        let chain = received.chain.replace(Secret::zeros());
        assert!(
            session.open(keys, None, &message, Some(link)).is_err(),
            "{round}"
        );
        let received = session.our_received_secret_key.as_mut().unwrap();
        received.chain = chain;
        let zeros = XWingSecret::from_seed(Secret::zeros());
        let seed = received.seed.replace(zeros);
        let is_hybrid = matches!(message.ciphertext, TwoPartyCiphertext::Hybrid { .. });
        let opened = session.open(keys, None, &message, Some(link));
        assert_eq!(opened.is_err(), is_hybrid, "{round}");
        let received = session.our_received_secret_key.as_mut().unwrap();
        received.seed = seed;
        open(&mut ends, 1, &message).unwrap();
    }
}

/// Reads with what was copied from one end.
struct Thief {
    session: Session,
    keys: OwnKeys,
}

impl Thief {
    fn of(end: &End) -> Thief {
        Thief {
            session: Session::decode(&end.session.encode()).unwrap(),
            keys: OwnKeys::decode(&end.keys.encode()).unwrap(),
        }
    }

    fn reads(&mut self, ends: &[End; 2], to: usize, message: &TwoPartyMessage) -> bool {
        let link = link(ends, 1 - to);
        let opened = self.session.open(&self.keys, None, message, Some(link));
        let Ok(opened) = opened else {
            return false;
        };
        self.session.apply_opened(&mut self.keys, opened);
        true
    }
}

/// Checks what follows a theft, for one mixture of chained and hybrid messages on each side.
#[test]
fn one_answer_ends_a_theft_also_where_messages_are_chained() {
    let mut rng = ChaCha20Rng::from_seed([55; 32]);
    for mixture in 0..32_u32 {
        let every = |at: u32| 1 + 99 * (mixture >> at & 1);
        let mut ends = ends(&mut rng);
        for (from, at) in [(0, 0), (1, 1), (0, 2), (1, 3)] {
            let message = seal(&mut ends, from, every(at), b"before", &mut rng);
            open(&mut ends, 1 - from, &message).unwrap();
        }
        let mut thief = Thief::of(&ends[1]);
        let message = seal(&mut ends, 0, every(4), b"known", &mut rng);
        assert!(thief.reads(&ends, 1, &message), "{mixture}");
        open(&mut ends, 1, &message).unwrap();
        // The victim answers, and the peer has heard it.
        let answer = seal(&mut ends, 1, every(0), b"answer", &mut rng);
        open(&mut ends, 0, &answer).unwrap();
        for at in 0..5 {
            let message = seal(&mut ends, 0, every(at), b"healed", &mut rng);
            assert!(!thief.reads(&ends, 1, &message), "{mixture}");
            open(&mut ends, 1, &message).unwrap();
        }
    }
}

/// The chain key is known to both ends. What keeps out anyone who steals from one and later from
/// the other is the X25519 secret, as in the classic suite.
#[test]
fn thefts_from_both_ends_do_not_add_up() {
    let mut rng = ChaCha20Rng::from_seed([56; 32]);
    for every in [1, 100] {
        let mut ends = ends(&mut rng);
        for from in [0, 1, 0] {
            let message = seal(&mut ends, from, 1, b"before", &mut rng);
            open(&mut ends, 1 - from, &message).unwrap();
        }
        let mut thief = Thief::of(&ends[1]);
        let answer = seal(&mut ends, 1, 100, b"answer", &mut rng);
        open(&mut ends, 0, &answer).unwrap();
        let chain = &ends[0].session.their_verifying_key.as_ref().unwrap().chain;
        let stolen = chain.as_ref().unwrap().duplicate();
        let key = OwnKey {
            secret: SecretKey::random(&mut rng),
            chain: Some(stolen),
        };
        let index = ends[1].session.next_index() - 1;
        thief.session.our_secret_keys.insert(index, key);
        let message = seal(&mut ends, 0, every, b"healed", &mut rng);
        assert_eq!(message.key_used, KeyUsed::OwnKey(index));
        assert!(!thief.reads(&ends, 1, &message));
        open(&mut ends, 1, &message).unwrap();
    }
}

#[test]
fn seeds_are_deleted_once_the_peer_has_answered() {
    let mut rng = ChaCha20Rng::from_seed([53; 32]);
    let mut ends = ends(&mut rng);
    for (from, every) in [
        (0, 1),
        (0, 1),
        (0, 9),
        (1, 1),
        (0, 1),
        (1, 9),
        (0, 9),
        (1, 1),
    ] {
        let message = seal(&mut ends, from, every, b"panda", &mut rng);
        open(&mut ends, 1 - from, &message).unwrap();
        if let TwoPartyCiphertext::Hybrid { xwing_used, .. } = &message.ciphertext
            && let KeyUsed::OwnKey(index) = xwing_used
        {
            assert!(ends[1 - from].session.hybrid.seed(*index).is_none());
        }
    }
    let left = |end: &End| {
        (0..20)
            .filter(|i| end.session.hybrid.seed(*i).is_some())
            .count()
    };
    assert!(left(&ends[0]) <= 1 && left(&ends[1]) <= 1);
}

#[test]
fn each_operation_announces_one_key() {
    let mut rng = ChaCha20Rng::from_seed([57; 32]);
    let ends = ends(&mut rng);
    let bundle = ends[1].keys.hybrid_bundle(NOW + 1).unwrap();
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let mut announced = None;
        for _ in 0..2 {
            let over = Over {
                opening: Some(Opening::Hybrid {
                    bundle,
                    onetime: None,
                }),
                anew: false,
                hybrid: Some(OverHybrid {
                    announced: &mut announced,
                    link: link(&ends, 0),
                    every: 1,
                    is_forced: false,
                }),
            };
            let fresh = Session::to_receive();
            let sealing = fresh.prepare(over, &ends[0].keys, b"panda", NOW + 1, &mut rng);
            let (sent, message) = sealing.unwrap().seal().unwrap();
            let opened = ends[1]
                .session
                .open(&ends[1].keys, None, &message, Some(link(&ends, 0)));
            let seed = sent.seed.unwrap();
            assert_eq!(opened.unwrap().xwing.unwrap(), seed.public_key());
            seeds.push(seed);
        }
    }
    assert_eq!((&seeds[0], &seeds[2]), (&seeds[1], &seeds[3]));
    assert_ne!(seeds[0], seeds[2]);
}

/// A conversation whose randomness is given, message by message.
fn conversation(case: &serde_json::Value) -> Vec<(String, String)> {
    let mut rng = rng(&case["rng_seed"]);
    let mut ends = ends(&mut rng);
    let mut sent = Vec::new();
    for step in list(&case["steps"]) {
        let from = step["from"].as_u64().unwrap() as usize;
        let every = step["hybrid_every"].as_u64().unwrap() as u32;
        let message = seal(&mut ends, from, every, &bytes(&step["plaintext"]), &mut rng);
        let encoded = hex(&message.encode());
        let opened = open(&mut ends, 1 - from, &message).unwrap();
        sent.push((encoded, hex(&opened)));
    }
    sent
}

#[test]
fn vector_hybrid_conversation() {
    for case in list(&load("encryption-hybrid.json")["conversations"]) {
        let sent = conversation(case);
        for (step, (message, plaintext)) in list(&case["steps"]).iter().zip(sent) {
            if std::env::var("RECORD").is_ok() {
                println!("recorded {message}");
                continue;
            }
            assert_eq!(plaintext, text(&step["plaintext"]));
            assert_eq!(message, text(&step["message"]), "recorded");
        }
    }
}
