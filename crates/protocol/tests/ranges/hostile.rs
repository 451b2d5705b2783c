//! Hostile peers.

use bytes::{Bytes, BytesMut};
use p2panda_core::limits::{
    RANGE_LIST_MAX, RANGES_ASKED_MAX, RANGES_WORK_MIN, RANGES_WORK_PER_LOG,
};
use p2panda_core::{HeadId, LogHead, Prefix};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::ranges::{
    Ask, Asked, Behind, Fingerprint, Has, Known, Message, Open, Output, RangesError, Reconcile,
    Role, Split, Told,
};
use p2panda_protocol::wire::WireError;

use crate::world::{Node, Random, author, head, log, near, payload, start};

const OTHER: Fingerprint = Fingerprint([1; 16]);

fn node(logs: u64) -> Node {
    Node::new(1, (0..logs).map(|n| (author(n), log(), head(3, 0))))
}

fn bytes(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&log(), &mut out);
    payload(&out.freeze())
}

fn open(asked: Vec<Asked>) -> Message {
    Message::Open(Open {
        version: 1,
        whole: OTHER,
        yours: None,
        asked,
    })
}

fn ask(asked: Vec<Asked>) -> Message {
    Message::Ask(Ask {
        behind: Vec::new(),
        asked,
    })
}

fn split(bits: u8) -> Has {
    Has::Many(Split {
        path: Prefix::WHOLE,
        bits,
        parts: vec![Some(OTHER); 1 << bits],
    })
}

fn asked(range: Prefix, has: Has) -> Asked {
    let has = Some(has);
    Asked { range, has }
}

fn of(n: u64) -> LogHead {
    LogHead {
        author: author(n),
        log: log(),
        seq: 0,
        id: HeadId::from_bytes([5; 16]),
    }
}

fn sorted(logs: impl Iterator<Item = u64>) -> Vec<LogHead> {
    let mut heads: Vec<LogHead> = logs.map(of).collect();
    heads.sort_by_key(|head| head.author);
    heads
}

/// A machine that has heard that the peer has something else.
fn opened(node: &mut Node, role: Role) -> Reconcile {
    let peer = Node::new(2, []);
    let mut machine = Reconcile::new(&start(role, node, &peer), &mut node.heads);
    machine
        .handle(bytes(&open(vec![])), &mut node.heads)
        .unwrap();
    machine
}

fn responder(node: &mut Node) -> Reconcile {
    opened(node, Role::Responder)
}

fn sent(machine: &mut Reconcile) -> usize {
    let outputs = std::iter::from_fn(|| machine.poll());
    let frames = outputs.map(|output| match output {
        Output::Send(frame) => payload(&frame).len(),
        _ => 0,
    });
    frames.sum()
}

#[test]
fn a_peer_that_echoes_is_not_taken_for_equal() {
    for role in [Role::Responder, Role::Initiator { eager: false }] {
        let mut node = node(100);
        let peer = Node::new(2, []);
        let mut machine = Reconcile::new(&start(role, &node, &peer), &mut node.heads);
        let Some(Output::Send(frame)) = machine.poll() else {
            panic!("a session begins with a message");
        };
        machine.handle(payload(&frame), &mut node.heads).unwrap();
        let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll()).collect();
        assert!(!outputs.contains(&Output::Done { equal: true }));
    }
}

#[test]
fn a_message_of_another_session_is_not_equal() {
    let (mut one, mut two) = (node(100), Node::new(2, []));
    two.heads = one.heads.clone();
    let mut earlier = start(Role::Responder, &two, &one);
    earlier.binding = [1; 32];
    let mut earlier = Reconcile::new(&earlier, &mut two.heads);
    let Some(Output::Send(replayed)) = earlier.poll() else {
        panic!("a session begins with a message");
    };
    let initiator = start(Role::Initiator { eager: false }, &one, &two);
    let mut machine = Reconcile::new(&initiator, &mut one.heads);
    machine.handle(payload(&replayed), &mut one.heads).unwrap();
    assert!(
        std::iter::from_fn(|| machine.poll()).all(|output| output != Output::Done { equal: true })
    );
}

#[test]
fn ranges_out_of_order_or_overlapping_are_refused() {
    let part = |bits, number| Prefix::WHOLE.child(bits, number).unwrap();
    let list = |range| asked(range, Has::Few(vec![]));
    for ranges in [
        [part(2, 1), part(2, 0)],
        [part(2, 1), part(2, 1)],
        [part(2, 1), part(3, 2)],
        [part(3, 2), part(2, 1)],
        [Prefix::WHOLE, part(1, 1)],
    ] {
        let mut node = node(100);
        let mut machine = responder(&mut node);
        let message = bytes(&ask(ranges.map(list).to_vec()));
        let result = machine.handle(message, &mut node.heads);
        assert_eq!(result, Err(RangesError::Order), "{ranges:?}");
        assert_eq!(machine.poll(), None);
    }
}

#[test]
fn logs_out_of_order_or_outside_of_their_range_are_refused() {
    let mut reversed = sorted(0..5);
    reversed.reverse();
    let twice = vec![of(1), of(1)];
    for listed in [reversed, twice] {
        let mut node = node(100);
        let message = bytes(&ask(vec![asked(Prefix::WHOLE, Has::Few(listed))]));
        let result = responder(&mut node).handle(message, &mut node.heads);
        assert_eq!(result, Err(RangesError::Order));
    }
    let mut node = node(100);
    let high = author(1).as_bytes()[0] >> 7;
    let range = Prefix::WHOLE.child(1, 1 - high).unwrap();
    let message = bytes(&ask(vec![asked(range, Has::Few(vec![of(1)]))]));
    let result = responder(&mut node).handle(message, &mut node.heads);
    assert_eq!(result, Err(RangesError::Range));
}

#[test]
fn a_message_at_its_limits_is_taken() {
    let ranges = |count: u16| {
        let range = |n: u16| Prefix::new(16, &(n * 128).to_be_bytes()).unwrap();
        let list = |n| asked(range(n), Has::Few(vec![]));
        ask((0..count).map(list).collect())
    };
    let decode = |message: &Message| Message::decode(bytes(message), &log());
    let most = RANGES_ASKED_MAX as u16;
    assert!(decode(&ranges(most)).is_ok());
    assert_eq!(decode(&ranges(most + 1)), Err(RangesError::TooMany));
    let list = |count: usize| {
        let listed = sorted(0..count as u64);
        Message::Tell(vec![Told::Has(Has::Few(listed))])
    };
    assert!(decode(&list(RANGE_LIST_MAX)).is_ok());
    assert_eq!(decode(&list(RANGE_LIST_MAX + 1)), Err(RangesError::TooMany));
    // As many parts as answers: the next one is too many.
    let parts = |count: u8| {
        let range = |n| Prefix::WHOLE.child(4, n).unwrap();
        ask((0..count).map(|n| asked(range(n), split(5))).collect())
    };
    let most = (RANGES_ASKED_MAX / 32) as u8;
    assert!(decode(&parts(most)).is_ok());
    assert_eq!(decode(&parts(most + 1)), Err(RangesError::TooMany));
    let told = |bits| Message::Tell(vec![Told::Has(split(bits))]);
    assert!(decode(&told(5)).is_ok());
    assert_eq!(decode(&told(6)), Err(RangesError::TooMany));
    let announced = Bytes::from_static(&[2, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let refused = Err(RangesError::Wire(WireError::Eof));
    assert_eq!(Message::decode(announced, &log()), refused);
}

#[test]
fn messages_that_do_not_fit_are_refused() {
    let done = Message::Done;
    let tell = |told| Message::Tell(told);
    let behind = Told::Behind(vec![(16, Known::Nothing)]);
    let list = Told::Has(Has::Few(vec![]));
    let lists = |count| tell(vec![list.clone(); count]);
    for (role, message) in [
        (Role::Responder, tell(vec![])),
        (Role::Responder, open(vec![])),
        (Role::Initiator { eager: false }, ask(vec![])),
        (Role::Initiator { eager: false }, done.clone()),
        (Role::Initiator { eager: false }, open(vec![])),
        (Role::Initiator { eager: false }, tell(vec![])),
        (Role::Initiator { eager: false }, lists(15)),
        (Role::Initiator { eager: false }, lists(17)),
        (Role::Initiator { eager: false }, tell(vec![behind; 16])),
    ] {
        let mut node = node(100);
        let mut machine = opened(&mut node, role);
        let result = machine.handle(bytes(&message), &mut node.heads);
        assert_eq!(result, Err(RangesError::Unexpected), "{role:?} {message:?}");
        // Nothing is taken any more.
        let result = machine.handle(bytes(&done), &mut node.heads);
        assert_eq!(result, Err(RangesError::Unexpected));
    }
    // The same question, with an answer that fits.
    let mut node = node(100);
    let mut machine = opened(&mut node, Role::Initiator { eager: false });
    assert_eq!(machine.handle(bytes(&lists(16)), &mut node.heads), Ok(()));
    let mut node = self::node(100);
    let mut machine = Reconcile::new(
        &start(Role::Initiator { eager: false }, &node, &Node::new(2, [])),
        &mut node.heads,
    );
    let asks = open(vec![asked(Prefix::WHOLE, split(1))]);
    let result = machine.handle(bytes(&asks), &mut node.heads);
    assert_eq!(result, Err(RangesError::Unexpected));
}

#[test]
fn version_0_is_refused_and_later_ones_read_as_known() {
    let mut payload = bytes(&open(vec![])).to_vec();
    payload[1] = 2;
    payload.extend([1, 2, 3]);
    let mut node = node(3);
    let peer = Node::new(2, []);
    let initiator = start(Role::Initiator { eager: false }, &node, &peer);
    let mut machine = Reconcile::new(&initiator, &mut node.heads);
    machine
        .handle(payload.clone().into(), &mut node.heads)
        .unwrap();
    payload[1] = 1;
    let trailing = Err(RangesError::Wire(WireError::Trailing));
    assert_eq!(Message::decode(payload.clone().into(), &log()), trailing);
    payload[1] = 0;
    assert_eq!(
        Message::decode(payload.into(), &log()),
        Err(RangesError::Version)
    );
}

#[test]
fn a_log_is_found_lacking_once() {
    let mut node = node(1_000);
    let mut machine = responder(&mut node);
    let nothing = ask(vec![asked(Prefix::WHOLE, Has::Few(vec![]))]);
    let behind = Behind {
        author: author(1),
        log: log(),
        known: Known::Nothing,
    };
    let behind = Message::Ask(Ask {
        behind: vec![behind; 100],
        asked: vec![],
    });
    for message in [&nothing, &behind, &nothing, &behind] {
        machine.handle(bytes(message), &mut node.heads).unwrap();
    }
    let outputs = std::iter::from_fn(|| machine.poll());
    let found = outputs.map(|output| match output {
        Output::Lacks(ranges) => ranges.len(),
        _ => 0,
    });
    assert_eq!(found.sum::<usize>(), 1_000);
}

/// Returns the cost of questions without end for this side.
fn work(mut next: impl FnMut(u64) -> Message, logs: u64) -> (u64, usize) {
    let mut node = node(logs);
    let mut machine = responder(&mut node);
    let mut bytes_sent = 0;
    for count in 0.. {
        let result = machine.handle(bytes(&next(count)), &mut node.heads);
        bytes_sent += sent(&mut machine);
        assert!(machine.held_bytes() < 200 * logs as usize + 10_000);
        if let Err(error) = result {
            assert_eq!(error, RangesError::Work);
            assert_eq!(error.code(), CloseCode::Limit);
            return (count, bytes_sent);
        }
    }
    unreachable!()
}

#[test]
fn questions_without_end_are_ended() {
    let logs = 2_000;
    let work_max = RANGES_WORK_MIN + RANGES_WORK_PER_LOG * logs;
    let whole = |has| ask(vec![asked(Prefix::WHOLE, has)]);
    // A part may be listed for each that is checked.
    let sent_max = 52 * work_max as usize;
    for (name, (questions, bytes)) in [
        ("split", work(|_| whole(split(5)), logs)),
        ("nothing", work(|_| whole(Has::Few(vec![])), logs)),
        ("list", work(|_| whole(Has::Few(sorted(0..16))), logs)),
        (
            "bare",
            work(
                |_| {
                    ask(vec![Asked {
                        range: Prefix::WHOLE,
                        has: None,
                    }])
                },
                logs,
            ),
        ),
        ("empty", work(|_| ask(vec![]), logs)),
    ] {
        assert!(questions <= work_max, "{name}: {questions}");
        assert!(bytes <= sent_max, "{name}: {bytes}");
    }
}

#[test]
fn paths_without_end_are_ended() {
    let mut key = [*author(1).as_bytes(), *log().as_bytes()].concat();
    key[62] &= 0xf0;
    let path = Prefix::new(500, &key[..63]).unwrap();
    let long = Has::Many(Split {
        path,
        bits: 5,
        parts: vec![Some(OTHER); 32],
    });
    let (questions, _) = work(|_| ask(vec![asked(Prefix::WHOLE, long.clone())]), 2_000);
    assert!(questions <= 100, "{questions}");
}

#[test]
fn an_initiator_does_not_follow_endless_division() {
    let mut node = Node::new(1, (0..2_000).map(|n| (near(n), log(), head(3, 0))));
    let mut machine = opened(&mut node, Role::Initiator { eager: false });
    let mut sent = 0;
    for _ in 0..100_000 {
        let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll()).collect();
        let asks = outputs.iter().filter_map(|output| match output {
            Output::Send(frame) => Message::decode(payload(frame), &log()).ok(),
            _ => None,
        });
        let mut result = Ok(());
        for message in asks.collect::<Vec<_>>() {
            let asked = match message {
                Message::Ask(ask) => ask.asked,
                Message::Done => return,
                _ => continue,
            };
            sent += 1;
            let told = asked.iter().flat_map(|asked| match &asked.has {
                None => vec![Told::Has(split(5))],
                Some(Has::Few(_)) => vec![Told::Behind(vec![])],
                Some(Has::Many(split)) => {
                    let parts = split.parts.iter().flatten();
                    parts.map(|_| Told::Has(self::split(5))).collect()
                }
            });
            let told = Message::Tell(told.collect());
            result = result.and_then(|()| machine.handle(bytes(&told), &mut node.heads));
        }
        assert!(machine.held_bytes() < 4 << 20, "{}", machine.held_bytes());
        if result.is_err() {
            assert_eq!(result, Err(RangesError::Work));
            return;
        }
    }
    panic!("it goes on after {sent} questions");
}

#[test]
fn altered_messages_of_ranges_are_taken_or_end_the_machine() {
    let mut random = Random::new(3);
    let mut refused = 0;
    let honest = [
        open(vec![asked(Prefix::WHOLE, split(5))]),
        ask(vec![asked(Prefix::WHOLE, Has::Few(sorted(0..5)))]),
        Message::Tell(vec![
            Told::Equal,
            Told::Has(split(2)),
            Told::Behind(vec![(0, Known::Nothing)]),
        ]),
        Message::Done,
    ];
    for round in 0..20_000 {
        let mut bytes = bytes(&honest[round % 4]).to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        let mut node = node(20);
        let role = [Role::Responder, Role::Initiator { eager: false }][round / 4 % 2];
        let mut machine = opened(&mut node, role);
        if machine.handle(bytes.into(), &mut node.heads).is_ok() {
            continue;
        }
        refused += 1;
        // After an error nothing is sent, and no other message is taken.
        assert_eq!(machine.poll(), None, "round {round}");
        let done = self::bytes(&Message::Done);
        let next = machine.handle(done, &mut node.heads);
        assert_eq!(next, Err(RangesError::Unexpected), "round {round}");
    }
    assert!(refused > 5_000, "only {refused} were refused");
}
