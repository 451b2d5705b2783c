//! What a node had still to do in a space when it was killed is done after its start
//! (`docs/protocol/streams.md 7.13`).

use p2panda_engine::{Command, Role, Settings, SpaceChange, SpaceCommand};

use crate::spaces::{Peer, asked, change, create, create_as, exchange};

/// Takes what the others have; then all are killed and started again, before anything is healed.
fn meet_and_crash(peers: &mut [&mut Peer]) {
    for one in 0..peers.len() {
        for other in 0..peers.len() {
            if let Ok([one, other]) = peers.get_disjoint_mut([one, other]) {
                one.hear(other);
            }
        }
    }
    for peer in peers {
        peer.crash();
    }
}

fn add(owner: &mut Peer, member: &Peer, role: Role) {
    let added = SpaceChange::Add(member.id(), role);
    owner.ask(change(added)).unwrap();
}

/// Two owners, and an editor of each.
fn two_owners(settings: Settings) -> [Peer; 4] {
    let mut alice = Peer::new(1);
    alice.ask(create_as(settings)).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let mut erin = Peer::following(3, &mut alice);
    let mut frank = Peer::following(4, &mut alice);
    add(&mut alice, &bob, Role::Owner);
    add(&mut alice, &erin, Role::Editor);
    add(&mut alice, &frank, Role::Editor);
    exchange(&mut [&mut alice, &mut bob, &mut erin, &mut frank]);
    [alice, bob, erin, frank]
}

#[test]
fn a_newcomer_is_handed_a_secret_that_an_owner_made_meanwhile() {
    for settings in [Settings::with_history(), Settings::from_joining_on()] {
        let [mut alice, mut bob, _, _] = two_owners(settings);
        let mut gina = Peer::following(5, &mut alice);
        bob.hear(&gina);
        add(&mut alice, &gina, Role::Editor);
        bob.ask(change(SpaceChange::Rotate)).unwrap();
        bob.publish("under the new secret").unwrap();
        meet_and_crash(&mut [&mut alice, &mut bob, &mut gina]);
        exchange(&mut [&mut alice, &mut bob, &mut gina]);
        assert!(alice.look().unwrap().is_healed());
        bob.publish("later").unwrap();
        exchange(&mut [&mut alice, &mut bob, &mut gina]);
        assert!(gina.shown().contains(&"later".to_owned()));
        if settings == Settings::with_history() {
            assert_eq!(gina.shown(), ["under the new secret", "later"]);
        }
    }
}

#[test]
fn members_that_two_owners_added_apart_read_each_other() {
    for settings in [Settings::with_history(), Settings::with_a_key_per_message()] {
        let [mut alice, mut bob, mut erin, mut frank] = two_owners(settings);
        let mut gina = Peer::following(5, &mut alice);
        let mut hugo = Peer::following(6, &mut bob);
        alice.ask(change(SpaceChange::Remove(erin.id()))).unwrap();
        add(&mut alice, &gina, Role::Editor);
        bob.ask(change(SpaceChange::Remove(frank.id()))).unwrap();
        add(&mut bob, &hugo, Role::Editor);
        for _ in 0..2 {
            let mut all = [
                &mut alice, &mut bob, &mut erin, &mut frank, &mut gina, &mut hugo,
            ];
            meet_and_crash(&mut all);
        }
        let mut all = [
            &mut alice, &mut bob, &mut erin, &mut frank, &mut gina, &mut hugo,
        ];
        exchange(&mut all);
        for (peer, text) in [
            (&mut alice, "alice"),
            (&mut bob, "bob"),
            (&mut gina, "gina"),
            (&mut hugo, "hugo"),
        ] {
            peer.publish(text).unwrap();
        }
        let mut all = [
            &mut alice, &mut bob, &mut erin, &mut frank, &mut gina, &mut hugo,
        ];
        exchange(&mut all);
        for peer in [&mut alice, &mut bob, &mut gina, &mut hugo] {
            let mut shown = peer.shown();
            shown.sort_unstable();
            assert_eq!(shown, ["alice", "bob", "gina", "hugo"]);
            assert!(peer.look().unwrap().is_healed());
        }
        assert!(erin.shown().is_empty() && frank.shown().is_empty());
    }
}

#[test]
fn a_member_whose_keys_came_before_a_crash_is_welcomed() {
    let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
    alice.ask(create()).unwrap();
    add(&mut alice, &bob, Role::Reader);
    alice.publish("hello").unwrap();
    bob.follow();
    meet_and_crash(&mut [&mut alice, &mut bob]);
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.shown(), ["hello"]);
    assert!(alice.look().unwrap().is_healed());
}

#[test]
fn a_node_that_shuts_down_heals_without_a_wait() {
    for crashes in [false, true] {
        let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
        alice.ask(create()).unwrap();
        add(&mut alice, &bob, Role::Reader);
        alice.publish("hello").unwrap();
        bob.follow();
        alice.hear(&bob);
        if crashes {
            alice.crash();
        }
        bob.hear(&alice);
        assert!(bob.shown().is_empty());
        alice.ask(asked(|reply| {
            Command::Space(SpaceCommand::HealNow { reply })
        }));
        bob.hear(&alice);
        assert_eq!(bob.shown(), ["hello"]);
    }
}
