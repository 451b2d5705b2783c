//! Stories in the form of our own nodes (`docs/protocol/spaces.md#9`).

use p2panda_core::VerifyingKey;
use p2panda_core::limits::DEPENDENCIES_MAX;
use p2panda_groups::{Action, Member};
use p2panda_spaces::{Event, LocalError, Log, Refusal, Role, Settings, Spaces, Verdict};

use crate::native_world::{NOW, Node, Op, deliver, heal_all, nodes, ops, sync};

fn with_history() -> Settings {
    Settings::with_history()
}

/// Counts how often the node was told that something does not open.
fn failures(node: &Node) -> usize {
    let failed = |event: &&Event| matches!(event, Event::Failed { .. });
    node.events.iter().filter(failed).count()
}

#[test]
fn newcomers_read_the_past_and_the_removed_nothing_later() {
    let [mut a, mut b, mut c] = nodes();
    let bob = (b.member(), Role::Editor);
    let s = a.create(with_history(), &[bob]);
    a.publish("first");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(b.space, Some(s));
    assert!(b.reads("first"));
    assert_eq!(b.members(), a.members());
    assert!(c.members().is_empty() && c.space.is_none());

    b.publish("second");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.add(c.member(), Role::Reader);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("first") && c.reads("second"), "{:?}", c.shown);
    assert_eq!(c.members(), a.members());
    assert!(c.try_publish("by a reader").is_err());

    a.remove(b.member());
    a.publish("third");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("third") && !b.reads("third"));
    assert!(b.events.iter().any(|e| matches!(e, Event::Ejected { .. })));
    assert_eq!(failures(&b), 0, "that it was sent no secret is no failure");
    assert_eq!(b.members(), a.members(), "the removed member can judge it");
    assert!([&mut a, &mut c].into_iter().all(Node::is_healthy));
}

#[test]
fn without_history_a_newcomer_judges_and_does_not_read() {
    let [mut a, mut b, mut c, mut d] = nodes();
    a.create(Settings::from_joining_on(), &[(b.member(), Role::Editor)]);
    a.publish("old");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    a.add(d.member(), Role::Editor);
    a.remove(d.member());
    a.publish("after a removal");
    a.add(c.member(), Role::Editor);
    a.publish("new");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(c.reads("new") && !c.reads("after a removal") && !c.reads("old"));
    assert!(b.reads("new") && b.reads("after a removal") && b.reads("old"));
    assert_eq!(c.members(), a.members());
    assert_eq!(c.locked.len(), 0, "all structure is open");
    // It cannot tell who has the secret that it was given.
    assert!(c.try_publish("too early").is_err());
    c.heal();
    c.publish("by the newcomer");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.reads("by the newcomer") && b.reads("by the newcomer"));
}

#[test]
fn after_concurrent_removals_neither_reads_on() {
    let [mut a, mut b, mut c, mut d] = nodes();
    let (carol, dave) = (c.member(), d.member());
    let owner = (b.member(), Role::Owner);
    let others = [owner, (carol, Role::Editor), (dave, Role::Editor)];
    a.create(with_history(), &others);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    a.remove(carol);
    b.remove(dave);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    heal_all(&mut [&mut a, &mut b]);
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(b.reads("later") && !c.reads("later") && !d.reads("later"));
    assert_eq!(a.members().len(), 2);
    assert_eq!(a.members(), b.members());
}

#[test]
fn several_removals_are_one_message_and_one_new_secret() {
    let [mut a, mut b, mut c, mut d] = nodes();
    let others = [&b, &c, &d].map(|node| (node.member(), Role::Editor));
    a.create(Settings::with_history(), &others);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    let control = |node: &Node| ops(node).iter().filter(|op| op.log == Log::Control).count();
    let before = control(&a);
    let gone = [c.member(), d.member()];
    a.try_do(|spaces, s, desk| spaces.remove_all(s, &gone, desk))
        .unwrap();
    assert_eq!(control(&a), before + 1);
    assert!(a.is_healthy());
    a.publish("for two");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert_eq!(b.members(), a.members());
    assert_eq!(a.members().len(), 2);
    assert!(b.reads("for two") && !c.reads("for two") && !d.reads("for two"));
    // Who cannot be removed keeps nobody else in.
    let all = [b.member(), a.member()];
    let failed = a.try_do(|spaces, s, desk| spaces.remove_all(s, &all, desk));
    assert_eq!(failed, Err(LocalError::LastOwner));
    sync(&mut [&mut a, &mut b]);
    assert_eq!(a.members().len(), 2, "it is said before anything is signed");
}

#[test]
fn a_member_added_during_a_removal_reads_both_sides() {
    let [mut a, mut b, mut c, mut d] = nodes();
    let carol = c.member();
    a.create(
        with_history(),
        &[(b.member(), Role::Owner), (carol, Role::Editor)],
    );
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    a.remove(carol);
    a.publish("under the new secret");
    b.add(d.member(), Role::Editor);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(d.members().len() > 2 && !d.reads("under the new secret"));
    heal_all(&mut [&mut a, &mut b, &mut d]);
    assert!(d.reads("under the new secret"));
    assert!(d.locked.is_empty());
    assert_eq!(d.members(), a.members());
}

/// A is removed by B, and writes before it and concurrently.
fn beside_a_removal() -> ([Node; 3], [p2panda_core::Hash; 2]) {
    let [mut a, mut b, mut c] = nodes();
    let others = [(b.member(), Role::Owner), (c.member(), Role::Editor)];
    a.create(with_history(), &others);
    let seen = a.publish("seen by the remover");
    sync(&mut [&mut a, &mut b, &mut c]);
    b.remove(a.member());
    let beside = a.publish("beside the removal");
    ([a, b, c], [seen, beside])
}

#[test]
fn a_message_concurrent_with_a_removal_is_withdrawn() {
    let ([a, b, mut c], [seen, beside]) = beside_a_removal();
    deliver(&mut c, &ops(&b));
    assert!(c.reads("seen by the remover"));
    deliver(&mut c, &ops(&a));
    assert!(!c.reads("beside the removal"), "it never was shown");
    let first = (c.verdict(&seen), c.verdict(&beside));

    let ([a, b, mut c], [seen, beside]) = beside_a_removal();
    deliver(&mut c, &ops(&a));
    assert!(c.reads("beside the removal"));
    deliver(&mut c, &ops(&b));
    assert!(c.reads("seen by the remover"));
    assert!(!c.reads("beside the removal"), "it is taken back");
    assert_eq!((c.verdict(&seen), c.verdict(&beside)), first);
    assert_eq!(first, (Some(Verdict::Stands), Some(Verdict::Withdrawn)));
}

#[test]
fn what_a_remover_had_seen_stands_after_its_own_removal() {
    let [mut a, mut b, mut c] = nodes();
    let others = [(b.member(), Role::Owner), (c.member(), Role::Owner)];
    a.create(with_history(), &others);
    let seen = a.publish("seen by the remover");
    sync(&mut [&mut a, &mut b, &mut c]);
    b.remove(a.member());
    sync(&mut [&mut b, &mut c]);
    c.remove(b.member());
    sync(&mut [&mut b, &mut c]);
    assert_eq!(c.members().len(), 1);
    for node in [&b, &c] {
        assert_eq!(node.verdict(&seen), Some(Verdict::Stands));
    }
    assert!(c.reads("seen by the remover"));
}

#[test]
fn a_member_that_may_write_again_has_all_its_messages_count() {
    let ([mut a, mut b, mut c], [_, beside]) = beside_a_removal();
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.verdict(&beside), Some(Verdict::Withdrawn));
    b.add(a.member(), Role::Editor);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.verdict(&beside), Some(Verdict::Stands));
    assert!(c.reads("beside the removal") && b.reads("beside the removal"));
}

#[test]
fn roles_change_across_the_levels_with_and_without_secrets() {
    let [mut a, mut b] = nodes();
    a.create(with_history(), &[(b.member(), Role::Courier)]);
    a.publish("for readers");
    sync(&mut [&mut a, &mut b]);
    assert!(b.space.is_none(), "couriers are not told of the space");
    a.set_role(b.member(), Role::Editor);
    sync(&mut [&mut a, &mut b]);
    assert!(b.reads("for readers"));
    b.publish("by an editor");
    a.set_role(b.member(), Role::Reader);
    sync(&mut [&mut a, &mut b]);
    assert!(!a.reads("by an editor"), "the owner had not seen it");
    assert!(b.try_publish("by a reader").is_err());
    a.set_role(b.member(), Role::Courier);
    a.publish("not for couriers");
    sync(&mut [&mut a, &mut b]);
    assert!(!b.reads("not for couriers"));
}

#[test]
fn what_somebody_else_signed_does_not_open() {
    let [mut a, mut b, mut c] = nodes();
    a.create(with_history(), &[(b.member(), Role::Editor)]);
    a.publish("mine");
    sync(&mut [&mut a, &mut b, &mut c]);
    let has: Vec<Op> = ops(&a);
    let stolen = |log| {
        let mut own = has.iter().filter(|op| op.author == a.id && op.log == log);
        own.next_back().unwrap()
    };
    let stolen = [Log::Content, Log::Control].map(|log| stolen(log).clone());
    // A member and a stranger sign the bytes of others.
    for thief in [&mut b, &mut c] {
        for op in &stolen {
            thief.forge(op.log, op.dependencies.clone(), op.body.clone());
        }
    }
    let members = a.members();
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(a.members(), members);
    assert_eq!(a.shown.len(), 1);
    let refused = |e: &&Event| {
        let malformed = Refusal::Malformed;
        matches!(e, Event::Refused { refusal, .. } if *refusal == malformed)
    };
    assert_eq!(a.events.iter().filter(refused).count(), 2);
    assert_eq!(a.refused.len(), 2, "and two content messages");
    b.publish("goes on");
    sync(&mut [&mut a, &mut b]);
    assert!(a.reads("goes on"));
}

#[test]
fn an_operation_that_is_not_a_message_delays_nothing() {
    let [mut a, mut b] = nodes();
    a.create(with_history(), &[(b.member(), Role::Editor)]);
    sync(&mut [&mut a, &mut b]);
    for body in [
        &b""[..],
        b"\x80",
        b"\x83\x01\x02\x03",
        b"\x86\x01\x01\x80\x40\x40\x40",
    ] {
        b.forge(Log::Control, vec![], body.to_vec());
        b.forge(Log::Content, vec![], body.to_vec());
    }
    b.pump();
    b.publish("goes on");
    sync(&mut [&mut a, &mut b]);
    assert!(a.reads("goes on"));
    assert_eq!(a.refused.len(), 8);
}

#[test]
fn a_person_is_in_two_spaces_and_unrelated_groups_do_not_cross() {
    let [mut a, mut b, mut c, mut d] = nodes();
    let (alice, bob) = ((a.member(), Role::Owner), (b.member(), Role::Editor));
    let person = a.try_act(|spaces, desk| spaces.create_group(&[alice, bob], desk));
    let (person, _) = person.unwrap();
    let other = a.try_act(|spaces, desk| spaces.create_group(&[alice], desk));
    let (other, _) = other.unwrap();
    a.create(with_history(), &[(Member::Group(person), Role::Editor)]);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(b.members().contains_key(&b.id));
    let known = |node: &Node, group| node.spaces.groups().now().has(group);
    assert!(known(&b, &person) && !known(&b, &other));

    let member = c.member();
    let access = Role::Editor.into();
    let action = Action::Add { member, access };
    a.try_act(|spaces, desk| spaces.change_group(person, action, desk))
        .unwrap();
    assert!(!a.is_healthy(), "the space is behind");
    a.heal();
    a.publish("for all devices");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(c.reads("for all devices") && b.reads("for all devices"));

    let member = b.member();
    let action = Action::Remove { member };
    a.try_act(|spaces, desk| spaces.change_group(person, action, desk))
        .unwrap();
    assert!(
        a.try_publish("too early").is_err(),
        "nothing is sealed to it"
    );
    a.heal();
    a.publish("without the lost device");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(c.reads("without the lost device") && !b.reads("without the lost device"));
}

#[test]
fn a_member_that_asks_is_handed_everything_again() {
    let [mut a, mut b, mut c] = nodes();
    let others = [(b.member(), Role::Editor), (c.member(), Role::Editor)];
    a.create(with_history(), &others);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.is_healthy());
    b.try_do(|spaces, s, desk| spaces.ask(s, desk)).unwrap();
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(!a.is_healthy() && !c.is_healthy());
    c.heal();
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.is_healthy() && c.is_healthy(), "one welcome is enough");
    a.publish("goes on");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(b.reads("goes on") && c.reads("goes on"));
}

#[test]
fn more_last_messages_than_a_header_names_are_merged() {
    let mut all: Vec<Node> = (1..=DEPENDENCIES_MAX as u8 + 2).map(Node::new).collect();
    all.iter_mut().for_each(Node::announce);
    sync(&mut all.iter_mut().collect::<Vec<_>>());
    let editors: Vec<_> = all[1..]
        .iter()
        .map(|n| (n.member(), Role::Editor))
        .collect();
    all[0].create(with_history(), &editors);
    sync(&mut all.iter_mut().collect::<Vec<_>>());
    for node in &mut all[1..] {
        node.try_do(|spaces, s, desk| spaces.ask(s, desk)).unwrap();
    }
    sync(&mut all.iter_mut().collect::<Vec<_>>());
    assert!(all[0].try_publish("too early").is_err());
    all[0].heal();
    all[0].publish("merged");
    sync(&mut all.iter_mut().collect::<Vec<_>>());
    assert!(all.iter().all(|node| node.reads("merged")));
    let named = all[0].topic.ops.values().map(|op| op.dependencies.len());
    assert_eq!(named.max(), Some(DEPENDENCIES_MAX));
}

#[test]
fn an_ephemeral_message_is_bound_to_its_author() {
    let [mut a, mut b, mut c] = nodes();
    let s = a.create(with_history(), &[(b.member(), Role::Editor)]);
    sync(&mut [&mut a, &mut b, &mut c]);
    let body = a.spaces.seal_ephemeral(s, b"typing", &mut a.rng).unwrap();
    let opened = b.spaces.open_ephemeral(&s, &a.id, &body).unwrap();
    assert_eq!(opened.as_slice(), b"typing");
    assert_eq!(b.spaces.open_ephemeral(&s, &b.id, &body), None);
    assert_eq!(c.spaces.open_ephemeral(&s, &a.id, &body), None);
}

#[test]
fn a_second_space_of_the_topic_takes_nobody_along() {
    let [mut a, mut b, mut c] = nodes();
    let s = a.create(with_history(), &[(c.member(), Role::Editor)]);
    b.create(with_history(), &[(c.member(), Role::Editor)]);
    deliver(&mut c, &ops(&a));
    deliver(&mut c, &ops(&b));
    assert_eq!(c.space, Some(s));
    assert!(c.members().contains_key(&a.id) && !c.members().contains_key(&b.id));
    c.publish("in the first");
    deliver(&mut a, &ops(&c));
    assert!(a.reads("in the first"));
    let mut d = Node::new(9);
    d.space = Some(s);
    deliver(&mut d, &ops(&b));
    assert!(d.members().is_empty());
    assert!(Spaces::load(d.id, std::iter::empty::<(&[u8], &[u8])>()).is_ok());
}

#[test]
fn a_courier_does_not_leave_by_a_message_that_all_others_refuse() {
    let [mut a, mut b] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Reader)]);
    sync(&mut [&mut a, &mut b]);
    let member = b.member();
    a.set_role(member, Role::Courier);
    sync(&mut [&mut a, &mut b]);
    let left = b.try_do(|spaces, s, desk| spaces.remove(s, member, desk));
    assert_eq!(left, Err(LocalError::Role(Some(Role::Courier))));
    sync(&mut [&mut a, &mut b]);
    a.set_role(member, Role::Reader);
    sync(&mut [&mut a, &mut b]);
    a.publish("back");
    sync(&mut [&mut a, &mut b]);
    assert_eq!(a.members(), b.members());
    assert!(b.reads("back"));
}

/// Its registry has another identity for the owner, so that nothing of it opens.
#[test]
fn a_member_whose_welcome_did_not_open_asks_once() {
    let [mut a, mut b] = nodes();
    let mut c = Node::new(30);
    let foreign = Node::new(31).keys.hybrid_bundle(NOW).unwrap().clone();
    c.registry.add_hybrid(a.id, foreign, NOW).unwrap();
    c.announce();
    sync(&mut [&mut a, &mut b, &mut c]);
    a.create(Settings::with_history(), &[(b.member(), Role::Editor)]);
    a.publish("first");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.add(c.member(), Role::Reader);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.members(), a.members(), "structure is open by its box");
    assert!(!c.reads("first"));
    assert_eq!(failures(&c), 1, "the welcome");
    let said = |node: &Node| node.topic.logs[&(node.id, Log::Control)].len();
    let before = said(&c);
    c.heal();
    c.heal();
    assert_eq!(said(&c), before + 1, "one message that asks");
    sync(&mut [&mut a, &mut b, &mut c]);
    b.heal();
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("first"));
}

#[test]
fn a_key_that_nobody_can_have_becomes_no_member() {
    let [mut a] = nodes();
    a.create(with_history(), &[]);
    for byte in [0, 0xff] {
        let key = VerifyingKey::from_bytes_unchecked([byte; 32]);
        let member = Member::Individual(key);
        let added = a.try_do(|spaces, s, desk| spaces.add(s, member, Role::Editor, desk));
        assert_eq!(added, Err(LocalError::UnusableKey));
    }
    assert_eq!(a.members().len(), 1);
}
