#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use p2panda::SigningKey;
use p2panda_core::{Draft, Header};

use super::*;

const AUTHORITY: &str = "127.0.0.1:7780";
const NOW: Duration = Duration::from_secs(1_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn node() -> VerifyingKey {
    key(9).verifying_key()
}

fn gate(unknown_keys: Unknown) -> Gate {
    let read = Scopes::parse("read").unwrap();
    let access = Access {
        grants: vec![
            Grant::token("alice", "SECRET", read.clone()),
            Grant::key("bob", key(1).verifying_key(), read),
        ],
        unknown_keys,
        hosts: vec!["node.example".into()],
        origins: vec!["https://app.example".into()],
        metrics_open: false,
    };
    let invites = Invites::open(tempfile::tempdir().unwrap().path()).unwrap();
    Gate::new(node(), access, Quotas::default(), invites)
}

fn proof(of: &SigningKey, node: &VerifyingKey, authority: &str, expires: u64) -> KeyProof {
    let text = challenge_text(node, authority, &[5; 32], &[6; 32], expires);
    KeyProof {
        key: of.verifying_key(),
        nonce: vec![5; 32].into(),
        expires,
        signature: of.sign(text.as_bytes()).as_bytes().to_vec().into(),
        invite: None,
    }
}

fn verdict(gate: &Gate, proof: &KeyProof) -> Result<Arc<Who>, RpcError> {
    gate.proof(proof, &[6; 32], AUTHORITY, NOW)
}

#[test]
fn scopes_are_read_as_they_are_written() {
    let all = Scopes::all();
    assert_eq!(Scopes::parse(&all.texts().join(", ")).unwrap(), all);
    assert_eq!(Scopes::parse("read,write"), Err("write".into()));
    assert_eq!(Scopes::parse("").unwrap(), Scopes::default());
}

#[tokio::test]
async fn events_of_spaces_and_devices_are_for_their_scopes() {
    let topic = Topic::from_bytes([5; 32]);
    let news = p2panda::SpaceNews::Joined;
    let events = [
        Event::Space { topic, news },
        Event::RecoveryDue { written: 1 },
        Event::TopicUntold { topic },
    ];
    for (scopes, of_spaces, of_devices) in [
        ("read", false, false),
        ("read,publish-as-node,relay,space:admin", false, false),
        ("read,space:read", true, false),
        ("read,admin", false, true),
        ("read,space:read,admin", true, true),
    ] {
        let who = Who {
            scopes: Scopes::parse(scopes).unwrap(),
            ..Who::local()
        };
        let hears = who.hears();
        let told: Vec<bool> = events.iter().map(|event| hears.takes(event)).collect();
        assert_eq!(told, [of_spaces, of_devices, true], "{scopes}");
    }
}

#[tokio::test]
async fn a_token_is_one_or_it_is_nothing() {
    let gate = gate(Unknown::Closed);
    assert_eq!(gate.token("SECRET").unwrap().name, "alice");
    for wrong in ["", "SECRE", "SECRETS", "secret"] {
        assert_eq!(gate.token(wrong).unwrap_err().kind(), Code::Unauthenticated);
    }
    assert!(!format!("{:?}", gate.access()).contains("SECRET"));
}

#[tokio::test]
async fn a_proof_is_for_one_node_address_nonce_and_minute() {
    let gate = gate(Unknown::Closed);
    let bob = key(1);
    assert_eq!(
        verdict(&gate, &proof(&bob, &node(), AUTHORITY, 1_060))
            .unwrap()
            .name,
        "bob"
    );
    verdict(&gate, &proof(&bob, &node(), AUTHORITY, 1_000)).unwrap();
    let other_node = key(8).verifying_key();
    let wrong = [
        proof(&bob, &other_node, AUTHORITY, 1_060),
        // Relayed: the client spoke to another address than this node was spoken to.
        proof(&bob, &node(), "evil.example:7780", 1_060),
        proof(&bob, &node(), AUTHORITY, 1_061),
        proof(&bob, &node(), AUTHORITY, 999),
        proof(&key(2), &node(), AUTHORITY, 1_060),
    ];
    for wrong in wrong {
        assert_eq!(
            verdict(&gate, &wrong).unwrap_err().kind(),
            Code::Unauthenticated
        );
    }
    let right = proof(&bob, &node(), AUTHORITY, 1_060);
    assert!(gate.proof(&right, &[7; 32], AUTHORITY, NOW).is_err());
}

#[tokio::test]
async fn a_header_is_no_proof_and_a_proof_is_no_header() {
    let gate = gate(Unknown::Closed);
    let bob = key(1);
    let header = Header::sign(&bob, Draft::default()).unwrap();
    let mut forged = proof(&bob, &node(), AUTHORITY, 1_060);
    forged.signature = header.signature().as_bytes().to_vec().into();
    assert!(verdict(&gate, &forged).is_err());
    // Headers are CBOR arrays, and begin with 80 to 9f.
    let text = challenge_text(&node(), AUTHORITY, &[5; 32], &[6; 32], 1_060);
    assert!(!(0x80..=0x9f).contains(&text.as_bytes()[0]));
    assert!((0x80..=0x9f).contains(&header.signing_bytes()[0]));
}

#[tokio::test]
async fn unnamed_keys_may_do_nothing_or_relay_named_topics() {
    let carol = proof(&key(3), &node(), AUTHORITY, 1_060);
    assert!(verdict(&gate(Unknown::Closed), &carol).is_err());
    let topics = BTreeSet::from([Topic::from_bytes([1; 32])]);
    let open = gate(Unknown::Open {
        topics: topics.clone(),
    });
    let who = verdict(&open, &carol).unwrap();
    assert_eq!(who.topics, Some(topics));
    who.check(Need::Read).unwrap();
    who.check(Need::Relay).unwrap();
    assert_eq!(
        who.check(Need::Publish).unwrap_err().kind(),
        Code::Forbidden
    );
    assert_eq!(who.check(Need::Admin).unwrap_err().kind(), Code::Forbidden);
}

#[tokio::test]
async fn with_rooms_a_key_sees_what_it_has_named_and_nothing_else() {
    let carol = proof(&key(3), &node(), AUTHORITY, 1_060);
    let who = verdict(&gate(Unknown::Rooms { topics_max: 1 }), &carol).unwrap();
    let topic = Topic::from_bytes([1; 32]);
    assert!(!who.may_see(&topic));
    who.rooms.as_ref().unwrap().named.lock().insert(topic);
    assert!(who.may_see(&topic));
    assert!(!who.may_see(&Topic::from_bytes([2; 32])));
    assert_eq!(
        who.check(Need::Publish).unwrap_err().kind(),
        Code::Forbidden
    );
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_good_once_and_for_a_minute() {
    let gate = gate(Unknown::Closed);
    let who = gate.token("SECRET").unwrap();
    let ticket = gate.issue(Arc::clone(&who)).unwrap();
    assert_eq!(gate.ticket(&ticket).unwrap().name, "alice");
    assert!(gate.ticket(&ticket).is_err());
    let late = gate.issue(Arc::clone(&who)).unwrap();
    tokio::time::advance(RPC_PROOF_WAIT + Duration::from_millis(1)).await;
    assert!(gate.ticket(&late).is_err());
    for _ in 0..RPC_TICKETS_MAX {
        gate.issue(Arc::clone(&who)).unwrap();
    }
    assert_eq!(gate.issue(who).unwrap_err().kind(), Code::Quota);
}

#[tokio::test]
async fn foreign_hosts_and_unlisted_origins_are_refused() {
    let gate = gate(Unknown::Closed);
    for host in [
        "localhost",
        "LOCALHOST:7780",
        "127.0.0.1:7780",
        "[::1]:7780",
        "node.example.",
    ] {
        gate.check_origin(host, None).unwrap();
    }
    for host in [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "node.example.evil",
    ] {
        assert_eq!(
            gate.check_origin(host, None).unwrap_err().kind(),
            Code::Forbidden,
            "{host}"
        );
    }
    gate.check_origin("localhost", Some("https://app.example"))
        .unwrap();
    // Its own page, also behind a proxy that ends TLS.
    for own in ["http://localhost:7780", "https://localhost:7780"] {
        gate.check_origin("localhost:7780", Some(own)).unwrap();
    }
    for origin in [
        "null",
        "http://app.example",
        "https://app.example:1",
        "http://localhost:1",
        "file://localhost",
        "localhost",
    ] {
        assert!(
            gate.check_origin("localhost", Some(origin)).is_err(),
            "{origin}"
        );
    }
}
