//! Messages that a peer can send by `docs/protocol/ranges.md`.

use bytes::{Bytes, BytesMut};
use p2panda_core::limits::RANGES_FRAME_BYTES_MAX;
use p2panda_core::log::Head;
use p2panda_core::{Hash, Heads, LogId, Prefix, VerifyingKey};
use p2panda_protocol::ranges::{
    Ask, Asked, Behind, Fingerprint, Has, Known, Message, Open, Output, Reconcile, Role, Split,
    Start, Told,
};

const LOGS: u64 = 200;
/// Bytes of the length of a payload.
const LENGTH_BYTES: usize = 2;

fn log() -> LogId {
    LogId::from_bytes([7; 32])
}

fn author(n: u64) -> VerifyingKey {
    VerifyingKey::from_bytes_unchecked(*Hash::digest(&n.to_be_bytes()).as_bytes())
}

fn heads() -> Heads {
    let head = |n: u64| Head {
        seq: n as u32 % 9,
        id: Hash::digest(&n.to_be_bytes()),
    };
    (0..LOGS).map(|n| (author(n), log(), head(n))).collect()
}

/// Checks that what is read is written and read again as the same.
pub fn decoder(input: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(input), &log()) else {
        return;
    };
    assert_eq!(Message::decode(payload(&message), &log()), Ok(message));
}

/// Neither side breaks, holds much or sends a frame above the limit, no matter what comes; and no
/// log is found twice. The first byte chooses the side, then come payloads with their lengths.
pub fn machine(input: &[u8]) {
    let Some((side, mut rest)) = input.split_first() else {
        return;
    };
    let mut heads = heads();
    let start = Start {
        role: match side % 3 {
            0 => Role::Responder,
            eager => Role::Initiator { eager: eager == 1 },
        },
        binding: [9; 32],
        local: author(1),
        remote: author(2),
        log: log(),
    };
    let mut machine = Reconcile::new(&start, &mut heads);
    let mut found = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (payload, behind) = behind.split_at(length);
        rest = behind;
        let result = machine.handle(Bytes::copy_from_slice(payload), &mut heads);
        assert!(machine.held_bytes() < 4 * RANGES_FRAME_BYTES_MAX);
        while let Some(output) = machine.poll() {
            assert!(result.is_ok());
            match output {
                Output::Send(frame) => assert!(frame.len() <= 4 + RANGES_FRAME_BYTES_MAX),
                Output::Lacks(ranges) => found += ranges.len() as u64,
                _ => {}
            }
        }
        assert!(found <= LOGS);
        if result.is_err() {
            return;
        }
    }
}

fn payload(message: &Message) -> Bytes {
    let mut frame = BytesMut::new();
    message.encode(&log(), &mut frame);
    frame.freeze().slice(4..)
}

fn messages() -> Vec<Message> {
    let fingerprint = Fingerprint([1; 16]);
    let split = |bits: u8| {
        Has::Many(Split {
            path: Prefix::WHOLE,
            bits,
            parts: vec![Some(fingerprint); 1 << bits],
        })
    };
    let few = Has::Few(heads().within(&Prefix::WHOLE).take(5).collect());
    let asked = |has| {
        let range = Prefix::WHOLE;
        vec![Asked { range, has }]
    };
    let open = |asked| {
        Message::Open(Open {
            version: 1,
            whole: fingerprint,
            yours: Some(3),
            asked,
        })
    };
    let ask = |asked| {
        let behind = Behind {
            author: author(3),
            log: log(),
            known: Known::Nothing,
        };
        Message::Ask(Ask {
            behind: vec![behind],
            asked,
        })
    };
    vec![
        open(vec![]),
        open(asked(Some(split(2)))),
        ask(asked(Some(split(3)))),
        ask(asked(Some(few.clone()))),
        ask(asked(None)),
        Message::Tell(vec![Told::Has(split(1)); 32]),
        Message::Tell(vec![Told::Has(few)]),
        Message::Tell(vec![Told::Equal, Told::Behind(vec![(1, Known::Nothing)])]),
        Message::Done,
    ]
}

/// Inputs to start from.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let payloads: Vec<Vec<u8>> = messages().iter().map(|one| payload(one).to_vec()).collect();
    let framed = |payload: &Vec<u8>| [&(payload.len() as u16).to_be_bytes()[..], payload].concat();
    let talk = |side: u8, places: &[usize]| {
        let framed = places.iter().map(|at| framed(&payloads[*at]));
        [vec![side], framed.collect::<Vec<_>>().concat()].concat()
    };
    let talks = vec![
        talk(0, &[1, 2, 3, 4, 8]),
        talk(0, &[0, 3, 2, 4, 4, 8]),
        talk(1, &[0, 5, 5, 6, 7]),
        talk(2, &[0, 5, 6]),
    ];
    vec![("ranges_decoder", payloads), ("ranges_machine", talks)]
}
