//! Own keys: a node signs in a space with a key that occurs nowhere else (`docs/protocol/spaces.md#20`).

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use bytes::Bytes;
use p2panda_core::{Operation, SigningKey, Timestamp, Topic, VerifyingKey};
use p2panda_engine::{
    Command, Engine, Fault, Incoming, Invite, NewMessage, Now, Options, PublishError, Published,
    RestoredAction, Role, Settings, Source, SpaceChange, SpaceCommand, SpaceError, SpaceState,
};

use crate::node::copy_files;
use crate::spaces::{
    Asked, Peer, SECOND_US, TOPIC, asked, change, create, exchange, operations_in, sorted,
};

pub const OTHER: Topic = Topic::from_bytes([10; 32]);
const WEEK_S: u64 = 7 * 24 * 60 * 60;

fn create_own(topic: Topic) -> Asked<Result<(), SpaceError>> {
    create_with(topic, true)
}

pub fn create_with(topic: Topic, own_key: bool) -> Asked<Result<(), SpaceError>> {
    asked(|reply| {
        Command::Space(SpaceCommand::Create {
            topic,
            settings: Settings::with_history(),
            name: None,
            own_key,
            reply,
        })
    })
}

fn join_own(invite: &Invite) -> Asked<Result<(), SpaceError>> {
    join_with(invite, true)
}

pub fn join_with(invite: &Invite, own_key: bool) -> Asked<Result<(), SpaceError>> {
    let invite = Box::new(invite.clone());
    asked(|reply| {
        Command::Space(SpaceCommand::Join {
            topic: TOPIC,
            invite,
            own_key,
            reply,
        })
    })
}

fn follow_own(topic: Topic) -> Asked<Result<bool, SpaceError>> {
    follow_with(topic, true)
}

pub fn follow_with(topic: Topic, own_key: bool) -> Asked<Result<bool, SpaceError>> {
    asked(|reply| {
        Command::Space(SpaceCommand::Follow {
            topic,
            id: None,
            own_key,
            reply,
        })
    })
}

pub fn publish_in(topic: Topic, text: &str) -> Asked<Result<Published, PublishError>> {
    let message = NewMessage::new(Bytes::copy_from_slice(text.as_bytes()));
    asked(|reply| Command::Publish {
        topic,
        message,
        reply,
    })
}

impl Peer {
    pub fn own_key_in(&mut self, topic: Topic) -> Option<VerifyingKey> {
        let all: Vec<(Topic, SpaceState)> =
            self.ask(asked(|reply| Command::Space(SpaceCommand::List { reply })));
        let found = all.into_iter().find(|(known, _)| *known == topic);
        found.and_then(|(_, state)| state.own_key)
    }

    pub fn stored_in(&self, topic: Topic) -> Vec<Operation> {
        operations_in(self.engine.as_ref().unwrap(), topic)
    }

    pub fn offers(&mut self, role: Role) -> Invite {
        let expires_at = self.now.wall.as_micros() / SECOND_US + WEEK_S;
        let offered: Result<Invite, SpaceError> = self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Offer {
                topic: TOPIC,
                role,
                uses: 1,
                expires_at,
                reply,
            })
        }));
        offered.unwrap()
    }
}

pub fn authors(operations: &[Operation]) -> BTreeSet<VerifyingKey> {
    let all = operations.iter();
    all.map(|operation| operation.header.author()).collect()
}

/// Returns `true` if the bytes of a key are in an operation.
fn names(operations: &[Operation], key: &VerifyingKey) -> bool {
    let has_key = |bytes: &[u8]| bytes.windows(32).any(|window| window == key.as_bytes());
    operations.iter().any(|operation| {
        let body = operation.body.as_ref();
        has_key(operation.header.as_bytes()) || body.is_some_and(|body| has_key(body))
    })
}

/// Returns `true` if bodies of both have 32 bytes in common, such as a key.
fn share_bytes(some: &[Operation], others: &[Operation]) -> bool {
    let bodies = |of: &[Operation]| {
        let bodies = of.iter().filter_map(|operation| operation.body.clone());
        bodies.collect::<Vec<_>>()
    };
    let (some, others) = (bodies(some), bodies(others));
    let known: HashSet<&[u8]> = some.iter().flat_map(|body| body.windows(32)).collect();
    let mut windows = others.iter().flat_map(|body| body.windows(32));
    windows.any(|window| known.contains(window))
}

#[test]
fn an_own_key_and_the_node_key_share_no_operation() {
    let third = Topic::from_bytes([11; 32]);
    let mut alice = Peer::new(1);
    alice.ask(create_own(TOPIC)).unwrap();
    // Bundles of the same second have the same times.
    alice.wait();
    alice.ask(create_own(OTHER)).unwrap();
    alice.wait();
    alice.create_in(third);
    let topics = [TOPIC, OTHER, third];
    for topic in topics {
        alice.ask(publish_in(topic, "hi")).unwrap();
    }
    let keys = topics.map(|topic| alice.own_key_in(topic).unwrap_or(alice.id()));
    assert_eq!(BTreeSet::from(keys).len(), 3);
    assert_eq!(keys[2], alice.id());
    let stored = topics.map(|topic| alice.stored_in(topic));
    for (own, operations) in keys.iter().zip(&stored) {
        // Key bundle, create, message.
        assert!(operations.len() >= 3);
        assert_eq!(authors(operations), BTreeSet::from([*own]));
        for other in keys.iter().filter(|other| *other != own) {
            assert!(!names(operations, other));
        }
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert!(!share_bytes(&stored[one], &stored[other]));
    }
}

#[test]
fn a_space_with_an_own_key_goes_on_after_a_restart() {
    let mut alice = Peer::new(1);
    alice.ask(create_own(TOPIC)).unwrap();
    alice.publish("one").unwrap();
    let key = alice.own_key_in(TOPIC).unwrap();
    alice.crash();
    assert_eq!(alice.own_key_in(TOPIC), Some(key));
    alice.publish("two").unwrap();
    alice.reopen(false);
    alice.publish("three").unwrap();
    assert_eq!(alice.shown(), ["one", "two", "three"]);
    assert_eq!(authors(&alice.operations()), BTreeSet::from([key]));
    assert_eq!(alice.members(), [(key, Role::Owner)]);
    let places = alice.operations().into_iter().map(|operation| {
        let name = operation.header.node_extensions().unwrap().name;
        (name.map(|name| *name.as_bytes()), operation.header.seq())
    });
    let places: Vec<_> = places.collect();
    let distinct: BTreeSet<_> = places.iter().collect();
    assert_eq!(distinct.len(), places.len(), "no place is taken twice");
}

#[test]
fn members_with_own_keys_join_change_role_and_go() {
    let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
    alice.ask(create_own(TOPIC)).unwrap();
    alice.publish("before").unwrap();
    let invite = alice.offers(Role::Editor);
    bob.ask(join_own(&invite)).unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    let [of_alice, of_bob] = [&mut alice, &mut bob].map(|peer| peer.own_key_in(TOPIC).unwrap());
    let both = sorted(vec![(of_alice, Role::Owner), (of_bob, Role::Editor)]);
    assert_eq!((alice.members(), bob.members()), (both.clone(), both));
    bob.publish("hi").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.shown(), ["before", "hi"]);
    assert_eq!(bob.shown(), ["before", "hi"]);

    alice
        .ask(change(SpaceChange::SetRole(of_bob, Role::Reader)))
        .unwrap();
    alice.ask(change(SpaceChange::Rotate)).unwrap();
    alice.publish("for a reader").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.shown().last().unwrap(), "for a reader");
    assert_eq!(bob.publish("no"), Err(PublishError::Sealed));
    alice.ask(change(SpaceChange::Remove(of_bob))).unwrap();
    alice.publish("alone").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.shown().last().unwrap(), "alone");
    assert_eq!(bob.shown().last().unwrap(), "for a reader");
    let all = alice.operations();
    assert_eq!(authors(&all), BTreeSet::from([of_alice, of_bob]));
    assert!(!names(&all, &alice.id()) && !names(&all, &bob.id()));
}

#[test]
fn an_owner_adds_a_follower_by_its_own_key() {
    let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
    alice.ask(create()).unwrap();
    assert_eq!(bob.ask(follow_own(TOPIC)), Ok(true));
    let of_bob = bob.own_key_in(TOPIC).unwrap();
    alice.hear(&bob);
    alice
        .ask(change(SpaceChange::Add(of_bob, Role::Editor)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    bob.publish("hi").unwrap();
    alice.hear(&bob);
    assert_eq!(alice.shown(), ["hi"]);
    assert_eq!(alice.own_key_in(TOPIC), None);
    assert!(!names(&alice.operations(), &bob.id()));
}

#[test]
fn a_node_is_one_author_in_a_topic() {
    let mut alice = Peer::new(1);
    alice.follow();
    assert_eq!(alice.ask(follow_own(TOPIC)), Err(SpaceError::NodeKey));
    // What it said in clear is signed with the node key.
    alice.ask(publish_in(OTHER, "\x62hi")).unwrap();
    assert_eq!(alice.ask(create_own(OTHER)), Err(SpaceError::NodeKey));
    assert_eq!(alice.own_key_in(TOPIC), None);
    alice.crash();
    assert_eq!(alice.ask(create_own(OTHER)), Err(SpaceError::NodeKey));
    // An own key stays, with any later call.
    let mut bob = Peer::new(2);
    bob.ask(follow_own(TOPIC)).unwrap();
    let key = bob.own_key_in(TOPIC);
    bob.follow();
    assert_eq!(bob.ask(follow_own(TOPIC)), Ok(false));
    assert!(key.is_some() && bob.own_key_in(TOPIC) == key);
}

#[test]
fn a_space_with_an_own_key_is_not_of_the_person() {
    let mut alice = Peer::new(1);
    alice.ask(create_own(TOPIC)).unwrap();
    alice.create_in(OTHER);
    let device = SigningKey::from_bytes(&[99; 32]).verifying_key();
    alice.link(device).unwrap();
    alice.wait();
    let own = alice.own_key_in(TOPIC).unwrap();
    assert_eq!(alice.look_at(TOPIC).members, [(own, Role::Owner)]);
    assert!(alice.look_at(TOPIC).pending.is_empty());
    let members = alice.look_at(OTHER).members;
    assert!(members.iter().any(|(key, _)| *key == device));
    // Nor one that is created when the person is there, nor one in which the node id is a member as well.
    let third = Topic::from_bytes([11; 32]);
    alice.ask(create_own(third)).unwrap();
    let owner = alice.own_key_in(third).unwrap();
    assert_eq!(alice.look_at(third).members, [(owner, Role::Owner)]);
    let add = SpaceChange::Add(alice.id(), Role::Reader);
    alice.ask(change(add)).unwrap();
    alice.wait();
    let look = alice.look_at(TOPIC);
    let expected = sorted(vec![(own, Role::Owner), (alice.id(), Role::Reader)]);
    assert_eq!(look.members, expected);
    assert!(look.pending.is_empty() && !names(&alice.stored_in(TOPIC), &alice.id()));
}

#[test]
fn a_storage_fault_leaves_no_operation_without_its_key() {
    let mut alice = Peer::new(1);
    let mut faults = 0;
    for after in 0.. {
        let now = alice.now;
        alice.engine().set_fault(Some(Fault::Full { after }));
        let (command, answer) = create_own(TOPIC);
        let failed = alice.engine().process(vec![command], now).is_err();
        alice.engine().set_fault(None);
        if !failed {
            answer().unwrap();
            break;
        }
        faults += 1;
        if after % 7 == 0 {
            alice.crash();
        }
        assert!(alice.operations().is_empty());
        assert_eq!(alice.own_key_in(TOPIC), None);
    }
    assert!(faults > 5, "{faults}");
    let key = alice.own_key_in(TOPIC).unwrap();
    assert_eq!(authors(&alice.operations()), BTreeSet::from([key]));
    alice.crash();
    alice.publish("hi").unwrap();
    assert_eq!(authors(&alice.operations()), BTreeSet::from([key]));
    assert_eq!(alice.shown(), ["hi"]);
}

const NOW: Now = Now {
    wall: Timestamp::from_micros(1_800_000_000 * SECOND_US),
    elapsed_us: 1,
};

fn guarded(dir: &Path, state: &Path, restored: Option<RestoredAction>) -> Engine {
    let options = Options {
        guard_dir: Some(state.join("p2panda")),
        restored,
        ..Options::default()
    };
    Engine::open(dir, options, NOW).unwrap()
}

fn ask<T>(engine: &mut Engine, (command, answer): Asked<T>) -> T {
    engine.process(vec![command], NOW).unwrap();
    answer()
}

#[test]
fn an_older_copy_forks_no_log_of_an_own_key() {
    let [dir, copy, state] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut engine = guarded(dir.path(), state.path(), None);
    ask(&mut engine, create_own(TOPIC)).unwrap();
    ask(&mut engine, publish_in(TOPIC, "one")).unwrap();
    engine.close().unwrap();
    copy_files(dir.path(), copy.path());
    let mut engine = guarded(dir.path(), state.path(), None);
    assert!(engine.restored().is_none(), "it is the newest copy");
    let newest = ask(&mut engine, publish_in(TOPIC, "two")).unwrap();
    let operations = operations_in(&engine, TOPIC);
    engine.close().unwrap();

    let pull = Some(RestoredAction::PullOwnLog);
    let mut engine = guarded(copy.path(), state.path(), pull);
    assert!(!engine.restored().unwrap().ahead.is_empty());
    let refused = ask(&mut engine, publish_in(TOPIC, "fork"));
    assert_eq!(refused, Err(PublishError::PullingOwnLog));
    let back = Command::Ingest {
        topic: TOPIC,
        source: Source::Import { id: 0 },
        operations: operations.into_iter().map(Incoming::Valid).collect(),
        reply: None,
    };
    engine.process(vec![back], NOW).unwrap();
    assert!(engine.restored().is_none());
    let next = ask(&mut engine, publish_in(TOPIC, "three")).unwrap();
    assert_eq!(next.seq, newest.seq + 1);
}
