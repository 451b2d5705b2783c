//! The bytes on the wire, as iroh-gossip 0.101 has them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{Hash, limits};
use p2panda_protocol::gossip::{
    Input, Message, MessageError, Named, Priority, Scope, decode_header, encode_addresses,
    encode_header,
};
use p2panda_protocol::overlay::Overlay;

use crate::network::{Network, key};

fn named(number: usize, addresses: Option<&'static [u8]>) -> Named {
    Named {
        node: key(number),
        addresses: addresses.map(Bytes::from_static),
    }
}

/// Every message and its payload, put together by the rules of postcard.
fn all() -> Vec<(Message, Vec<u8>)> {
    let node = |number| key(number).as_bytes().to_vec();
    let content = Bytes::from_static(b"abc");
    let id = *Hash::digest(&content).as_bytes();
    let payload = |scope| Message::Payload {
        id,
        content: content.clone(),
        scope,
    };
    vec![
        (Message::Join(None), vec![0, 0, 0]),
        (
            Message::Join(Some(Bytes::from_static(b"xy"))),
            vec![0, 0, 1, 2, b'x', b'y'],
        ),
        (
            Message::ForwardJoin {
                joined: named(1, Some(b"z")),
                hops: 6,
            },
            [&[0, 1][..], &node(1), &[1, 1, b'z', 6]].concat(),
        ),
        (
            Message::Shuffle {
                origin: key(1),
                nodes: vec![named(2, None), named(3, Some(b""))],
                hops: 300,
            },
            [
                &[0, 2][..],
                &node(1),
                &[2],
                &node(2),
                &[0],
                &node(3),
                &[1, 0, 0xac, 2],
            ]
            .concat(),
        ),
        (
            Message::ShuffleReply(vec![named(2, None)]),
            [&[0, 3, 1][..], &node(2), &[0]].concat(),
        ),
        (
            Message::Neighbour {
                priority: Priority::High,
                addresses: None,
            },
            vec![0, 4, 0, 0],
        ),
        (
            Message::Neighbour {
                priority: Priority::Low,
                addresses: None,
            },
            vec![0, 4, 1, 0],
        ),
        (Message::Disconnect { alive: true }, vec![0, 5, 1, 0]),
        (
            payload(Scope::Everyone(7)),
            [&[1, 0][..], &id, &[3], b"abc", &[0, 7]].concat(),
        ),
        (
            payload(Scope::Neighbours),
            [&[1, 0][..], &id, &[3], b"abc", &[1]].concat(),
        ),
        (Message::Prune, vec![1, 1]),
        (
            Message::Graft {
                id: Some(id),
                hops: 2,
            },
            [&[1, 2, 1][..], &id, &[2]].concat(),
        ),
        (Message::Graft { id: None, hops: 2 }, vec![1, 2, 0, 2]),
        (
            Message::Announce(vec![(id, 128)]),
            [&[1, 3, 1][..], &id, &[0x80, 1]].concat(),
        ),
    ]
}

#[test]
fn every_message_has_its_bytes_and_comes_back() {
    for (message, payload) in all() {
        let frame = message.encode();
        let length = (payload.len() as u32).to_be_bytes();
        assert_eq!(frame, [&length[..], &payload].concat(), "{message:?}");
        assert_eq!(Message::decode(payload.into()).unwrap(), message);
    }
}

#[test]
fn a_message_that_is_cut_or_goes_on_is_none() {
    for (message, payload) in all() {
        for len in 0..payload.len() {
            let cut = Bytes::copy_from_slice(&payload[..len]);
            assert!(Message::decode(cut).is_err(), "{message:?} cut at {len}");
        }
        let longer = [&payload[..], &[0]].concat();
        assert!(Message::decode(longer.into()).is_err(), "{message:?}");
    }
}

#[test]
fn what_others_could_not_read_is_not_passed_on() {
    let spoofed = [&[1, 0][..], &[5; 32], &[3], b"abc", &[0, 7]].concat();
    assert_eq!(Message::decode(spoofed.into()), Err(MessageError::Id));
    let mut no_point = [2; 32];
    while p2panda_core::VerifyingKey::from_bytes(no_point).is_ok() {
        no_point[0] += 1;
    }
    let no_key = [&[0, 3, 1][..], &no_point, &[0]].concat();
    assert_eq!(Message::decode(no_key.into()), Err(MessageError::Key));
}

#[test]
fn nodes_and_their_addresses_are_bounded() {
    let nodes = |count: usize| Message::ShuffleReply(vec![named(1, None); count]);
    let payload = |message: Message| message.encode().slice(4..);
    let most = nodes(limits::GOSSIP_NODES_MAX);
    assert_eq!(Message::decode(payload(most.clone())).unwrap(), most);
    let more = payload(nodes(limits::GOSSIP_NODES_MAX + 1));
    assert_eq!(Message::decode(more), Err(MessageError::Nodes));
    let join = |bytes: usize| Message::Join(Some(vec![1; bytes].into()));
    let longest = join(limits::GOSSIP_ADDRESSES_BYTES_MAX);
    assert_eq!(Message::decode(payload(longest.clone())).unwrap(), longest);
    let longer = payload(join(limits::GOSSIP_ADDRESSES_BYTES_MAX + 1));
    assert_eq!(Message::decode(longer).unwrap(), Message::Join(None));
}

#[test]
fn a_stream_begins_with_its_overlay() {
    let overlay = Overlay::from_bytes([9; 32]);
    let header = encode_header(&overlay);
    assert_eq!(header, [&[0, 0, 0, 32][..], &[9; 32]].concat());
    assert_eq!(decode_header(header.slice(4..)).unwrap(), overlay);
    assert!(decode_header(header.slice(5..)).is_err());
}

#[test]
fn addresses_are_told_in_the_form_of_iroh_gossip() {
    let sockets: [SocketAddr; 2] = ["[::1]:300".parse().unwrap(), "1.2.3.4:5".parse().unwrap()];
    let v6 = [&[1][..], &[0; 15], &[1, 0xac, 2]].concat();
    let expected = [&[1, 2, b'r', b'/', 2, 0, 1, 2, 3, 4, 5][..], &v6].concat();
    assert_eq!(encode_addresses(Some("r/"), &sockets), expected);
    assert_eq!(encode_addresses(None, &[]), &[0, 0][..]);
}

#[test]
fn a_member_stays_within_its_bounds_on_any_input() {
    const NEIGHBOURS_MAX: usize = 8;
    let all = all();
    for seed in 0..5 {
        let mut network = Network::new(seed, NEIGHBOURS_MAX);
        network.add(key(0), &[]);
        let mut read = 0;
        for _ in 0..20_000 {
            let from = key(1 + network.draws.below(40) as usize);
            let (_, payload) = &all[network.draws.below(all.len() as u64) as usize];
            let mut payload = payload.clone();
            for _ in 0..network.draws.below(3) {
                let place = network.draws.below(payload.len() as u64) as usize;
                payload[place] = network.draws.below(256) as u8;
            }
            let Ok(message) = Message::decode(payload.into()) else {
                continue;
            };
            read += 1;
            let input = Input::Received {
                from,
                message,
                round_trip: Duration::ZERO,
            };
            network.handle(key(0), input);
            let wait_ms = network.draws.below(20);
            network.run_ms(wait_ms);
        }
        assert!(read > 5_000, "seed {seed}: {read} messages");
        let member = network.member(&key(0));
        assert!(member.neighbours().count() <= NEIGHBOURS_MAX);
        assert!(member.lacking() <= limits::GOSSIP_NEIGHBOURS_WANTED);
    }
}
