//! Invites into spaces: who asks by one is admitted by an owner that is there (`docs/protocol/spaces.md#16`).

use p2panda_core::{Timestamp, VerifyingKey};
use p2panda_engine::{
    Command, Incoming, Invite, InviteState, Role, Source, SpaceChange, SpaceCommand, SpaceError,
    SpaceState,
};

use crate::spaces::{Peer, SECOND_US, TOPIC, asked, change, create, exchange, sorted};

const WEEK_S: u64 = 7 * 24 * 60 * 60;

impl Peer {
    fn seconds(&self) -> u64 {
        self.now.wall.as_micros() / SECOND_US
    }

    fn offer(&mut self, role: Role, uses: u64) -> Invite {
        let (topic, expires_at) = (TOPIC, self.seconds() + WEEK_S);
        let offered: Result<Invite, SpaceError> = self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Offer {
                topic,
                role,
                uses,
                expires_at,
                reply,
            })
        }));
        offered.unwrap()
    }

    fn try_join(&mut self, invite: &Invite) -> Result<(), SpaceError> {
        let (topic, invite) = (TOPIC, Box::new(invite.clone()));
        self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Join {
                topic,
                invite,
                own_key: false,
                reply,
            })
        }))
    }

    fn state(&mut self) -> SpaceState {
        let all: Vec<_> = self.ask(asked(|reply| Command::Space(SpaceCommand::List { reply })));
        all.into_iter().next().unwrap().1
    }

    fn invites(&mut self) -> Vec<InviteState> {
        self.ask(asked(|reply| {
            let topic = TOPIC;
            Command::Space(SpaceCommand::Invites { topic, reply })
        }))
    }

    fn revoke(&mut self, invite: &Invite) {
        let id = invite.key.verifying_key();
        self.ask(change(SpaceChange::Revoke(id))).unwrap();
    }

    fn is_member(&mut self, who: &VerifyingKey) -> bool {
        self.members().iter().any(|(member, _)| member == who)
    }
}

/// Somebody that joins by an invite, of which others have heard by now.
fn joining(seed: u8, invite: &Invite, others: &mut [&mut Peer]) -> Peer {
    let mut peer = Peer::new(seed);
    peer.try_join(invite).unwrap();
    for other in &mut *others {
        peer.hear(other);
    }
    for other in &mut *others {
        other.hear(&peer);
    }
    peer
}

#[test]
fn an_invited_node_is_let_in_without_meeting_the_owner() {
    let (mut alice, mut courier, mut bob) = (Peer::new(1), Peer::new(4), Peer::new(2));
    alice.ask(create()).unwrap();
    alice.publish("before").unwrap();
    let mut carol = Peer::following(3, &mut alice);
    let of_carol = change(SpaceChange::Add(carol.id(), Role::Reader));
    alice.ask(of_carol).unwrap();
    let invite = alice.offer(Role::Editor, 1);
    courier.hear(&alice);
    bob.try_join(&invite).unwrap();
    assert!(bob.state().is_joining);
    for _ in 0..2 {
        bob.hear(&courier);
        courier.hear(&bob);
        alice.hear(&courier);
        alice.wait();
        courier.hear(&alice);
    }
    bob.hear(&courier);
    assert_eq!(bob.shown(), ["before"]);
    let state = bob.state();
    assert_eq!((state.is_joining, state.role), (false, Some(Role::Editor)));
    bob.publish("hello").unwrap();
    courier.hear(&bob);
    alice.hear(&courier);
    assert_eq!(alice.shown(), ["before", "hello"]);
    // Who came by which invite is seen by all members.
    let id = bob.id();
    carol.hear(&courier);
    for peer in [&mut alice, &mut bob, &mut carol] {
        let invites = peer.invites();
        assert_eq!(invites.len(), 1);
        assert_eq!(invites[0].offer.invite, invite.key.verifying_key());
        let came: Vec<_> = invites[0].admitted.iter().map(|(_, who)| *who).collect();
        assert_eq!(came, [id]);
    }
    assert!(courier.members().is_empty());
}

#[test]
fn a_used_invite_lets_nobody_else_in_nor_the_same_one_twice() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let invite = alice.offer(Role::Reader, 1);
    let mut bob = joining(2, &invite, &mut [&mut alice]);
    exchange(&mut [&mut alice, &mut bob]);
    assert!(alice.is_member(&bob.id()));
    let mut carol = joining(3, &invite, &mut [&mut alice]);
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    assert!(!alice.is_member(&carol.id()) && carol.state().is_joining);
    // A removed member does not rejoin by the invite that admitted it.
    alice.ask(change(SpaceChange::Remove(bob.id()))).unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    bob.try_join(&invite).unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert!(!alice.is_member(&bob.id()) && bob.state().is_joining);
    alice.publish("alone").unwrap();
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    assert!(bob.shown().is_empty() && carol.shown().is_empty());
}

/// Its keys are gone, and no file or device brings them back.
#[test]
fn once_the_last_owner_is_lost_nobody_changes_members() {
    let mut owner = Peer::new(1);
    owner.ask(create()).unwrap();
    let mut editor = Peer::following(2, &mut owner);
    let mut reader = Peer::following(3, &mut owner);
    for (member, role) in [(editor.id(), Role::Editor), (reader.id(), Role::Reader)] {
        owner.ask(change(SpaceChange::Add(member, role))).unwrap();
    }
    let invite = owner.offer(Role::Reader, 9);
    exchange(&mut [&mut owner, &mut editor, &mut reader]);
    let (members, lost) = (owner.members(), owner.id());
    drop(owner);
    let mut newcomer = joining(4, &invite, &mut [&mut editor, &mut reader]);
    let (of_editor, of_reader) = (editor.id(), reader.id());
    for peer in [&mut editor, &mut reader] {
        for deed in [
            SpaceChange::Add(newcomer.id(), Role::Reader),
            SpaceChange::Remove(lost),
            SpaceChange::SetRole(of_editor, Role::Owner),
            SpaceChange::SetRole(of_reader, Role::Owner),
        ] {
            let refused = peer.ask(change(deed));
            assert!(matches!(refused, Err(SpaceError::Space(_))), "{refused:?}");
        }
    }
    editor.publish("goes on").unwrap();
    exchange(&mut [&mut editor, &mut reader, &mut newcomer]);
    assert_eq!(reader.shown(), ["goes on"]);
    for peer in [&mut editor, &mut reader] {
        assert_eq!(peer.members(), members);
    }
    assert!(newcomer.state().is_joining && newcomer.shown().is_empty());
}

#[test]
fn an_invite_ends_by_the_owners_clock_or_a_revocation() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let late = alice.offer(Role::Reader, 9);
    let mut bob = joining(2, &late, &mut []);
    bob.hear(&alice);
    // Its own clock does not matter.
    bob.now.wall = Timestamp::from_micros(bob.now.wall.as_micros() - 1_000 * SECOND_US);
    let later = alice.now.wall.as_micros() + (WEEK_S + 1) * SECOND_US;
    alice.now.wall = Timestamp::from_micros(later);
    exchange(&mut [&mut alice, &mut bob]);
    assert!(!alice.is_member(&bob.id()));

    let revoked = alice.offer(Role::Reader, 9);
    let good = alice.offer(Role::Reader, 9);
    alice.revoke(&revoked);
    let mut carol = joining(3, &revoked, &mut [&mut alice]);
    let mut dave = joining(5, &good, &mut [&mut alice]);
    exchange(&mut [&mut alice, &mut carol, &mut dave]);
    assert!(!alice.is_member(&carol.id()));
    assert!(alice.is_member(&dave.id()));
    // Anyone who came stays when its invite is revoked.
    alice.revoke(&good);
    exchange(&mut [&mut alice, &mut dave]);
    assert!(alice.is_member(&dave.id()));
    let revoked: Vec<_> = alice.invites().iter().map(|it| it.is_revoked).collect();
    assert_eq!(revoked.iter().filter(|revoked| **revoked).count(), 2);
}

#[test]
fn surplus_concurrent_admissions_are_removed() {
    surplus_is_removed(|_| {});
}

#[test]
fn surplus_admissions_are_removed_after_a_crash() {
    surplus_is_removed(|owner| owner.crash());
}

/// `heard` is done to each owner once it has heard of both admissions.
fn surplus_is_removed(heard: impl Fn(&mut Peer)) {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Owner)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    let invite = alice.offer(Role::Editor, 1);
    bob.hear(&alice);
    // Each owner meets one of them, and neither owner the other one.
    let mut carol = joining(3, &invite, &mut [&mut alice]);
    carol.hear(&alice);
    let mut dave = Peer::new(5);
    dave.try_join(&invite).unwrap();
    dave.hear(&bob);
    bob.hear(&dave);
    bob.wait();
    alice.hear(&carol);
    alice.wait();
    assert!(alice.is_member(&carol.id()) && bob.is_member(&dave.id()));
    alice.hear(&bob);
    bob.hear(&alice);
    heard(&mut alice);
    heard(&mut bob);
    exchange(&mut [&mut alice, &mut bob, &mut carol, &mut dave]);
    let members = alice.members();
    assert_eq!(members.len(), 3, "one of the two had to go");
    assert_eq!(bob.members(), members);
    let stays = match alice.is_member(&carol.id()) {
        true => [&mut carol, &mut dave],
        false => [&mut dave, &mut carol],
    };
    let [stays, goes] = stays;
    alice.publish("later").unwrap();
    exchange(&mut [&mut alice, &mut bob, stays, goes]);
    assert_eq!(stays.shown(), ["later"]);
    assert!(goes.shown().is_empty());
    let came = &alice.invites()[0].admitted;
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].1, stays.id(), "the smaller operation id stays");
}

#[test]
fn a_request_outlasts_a_crash_of_the_owner_and_of_the_newcomer() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let invite = alice.offer(Role::Editor, 1);
    let mut bob = Peer::new(2);
    bob.try_join(&invite).unwrap();
    // It holds the invite, and no keys of an owner.
    bob.crash();
    assert!(bob.state().is_joining);
    bob.hear(&alice);
    bob.crash();
    let asked = bob.operations().len();
    // It is stored and not decided when the owner crashes.
    let operations = bob.operations().into_iter();
    let (source, reply) = (Source::Import { id: 0 }, None);
    let now = alice.now;
    let ingest = Command::Ingest {
        topic: TOPIC,
        source,
        operations: operations.map(Incoming::Valid).collect(),
        reply,
    };
    alice.engine().process(vec![ingest], now).unwrap();
    let undecided = alice.operations().len();
    alice.crash();
    alice.wait();
    assert!(alice.operations().len() > undecided);
    assert!(alice.is_member(&bob.id()));
    bob.wait();
    assert_eq!(bob.operations().len(), asked, "it asks once");
    bob.hear(&alice);
    let members = sorted(vec![(alice.id(), Role::Owner), (bob.id(), Role::Editor)]);
    assert_eq!(bob.members(), members);
}

#[test]
fn a_node_that_kept_the_topic_before_its_invite_joins() {
    let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
    alice.ask(create()).unwrap();
    alice.publish("before").unwrap();
    let invite = alice.offer(Role::Editor, 1);
    // It has all of it, as a courier, the keys of the owner among it.
    bob.hear(&alice);
    bob.try_join(&invite).unwrap();
    alice.hear(&bob);
    alice.wait();
    bob.hear(&alice);
    assert_eq!(bob.shown(), ["before"]);
}

#[test]
fn the_topic_of_one_space_takes_no_invite_into_another() {
    let (mut alice, mut bob, mut carol) = (Peer::new(1), Peer::new(2), Peer::new(3));
    for peer in [&mut alice, &mut bob] {
        peer.ask(create()).unwrap();
    }
    let (of_alice, of_bob) = (alice.offer(Role::Reader, 1), bob.offer(Role::Reader, 1));
    assert_eq!(alice.try_join(&of_bob), Err(SpaceError::Exists));
    carol.try_join(&of_alice).unwrap();
    assert_eq!(carol.try_join(&of_bob), Err(SpaceError::Exists));
    // A member that joins again stays what it is.
    alice.try_join(&of_alice).unwrap();
    let state = alice.state();
    assert_eq!((state.is_joining, state.role), (false, Some(Role::Owner)));
}
