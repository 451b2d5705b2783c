//! Spaces without history: who comes reads nothing of before (`docs/protocol/spaces.md#9`).

use p2panda_core::limits::SPACE_SECRETS_RESERVED_MAX;
use p2panda_encryption::{Context, Sealing};
use p2panda_groups::Member;
use p2panda_spaces::{Ahead, Log, Planned, Role, Settings};

use crate::native_invites::{admit_all, offer, request};
use crate::native_world::{Node, deliver, heal_all, nodes, ops, sync};
use crate::persons::link;

/// An owner and an editor who have written something.
fn pair<const N: usize>() -> [Node; N] {
    let mut all = nodes();
    let [a, b, ..] = &mut all[..] else {
        panic!("two at least");
    };
    a.create(Settings::from_joining_on(), &[(b.member(), Role::Editor)]);
    sync(&mut [a, b]);
    a.publish("old");
    b.publish("old, by another one");
    sync(&mut all.iter_mut().collect::<Vec<_>>());
    all
}

fn secrets(node: &Node) -> usize {
    10_000 - node.spaces.secrets_left(&node.s())
}

/// Control messages in all logs.
fn controls(node: &Node) -> usize {
    ops(node).iter().filter(|op| op.log == Log::Control).count()
}

/// The newcomer reads only what both write from now on, and they have read everything.
fn reads_from_now_on(all: &mut [&mut Node], newcomer: usize) {
    let texts = ["new", "new, by another one"];
    for (at, text) in texts.into_iter().enumerate() {
        all[at].publish(text);
    }
    sync(all);
    let reads = |node: &Node, text: &str| node.reads(text);
    for text in texts {
        assert!(all.iter().all(|node| reads(node, text)), "{text}");
    }
    assert!(reads(all[0], "old") && reads(all[1], "old"));
    let node = &mut all[newcomer];
    let mut shown: Vec<&str> = node.shown.values().map(String::as_str).collect();
    shown.sort_unstable();
    assert_eq!(shown, texts);
    assert!(node.locked.is_empty(), "structure is open");
    for node in all {
        assert!(node.is_healthy());
    }
}

#[test]
fn a_newcomer_without_history_reads_nothing_from_before() {
    let [mut a, mut b, mut c] = pair();
    let (had, said) = (secrets(&a), controls(&a));
    a.add(c.member(), Role::Editor);
    assert_eq!(secrets(&a), had + 1);
    assert_eq!(controls(&a), said + 2, "a rotation and a welcome");
    b.publish("by one who does not know");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.reads("by one who does not know") && !c.reads("by one who does not know"));
    b.restart();
    reads_from_now_on(&mut [&mut a, &mut b, &mut c], 2);
    c.publish("by the newcomer");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.reads("by the newcomer") && b.reads("by the newcomer"));
}

#[test]
fn a_member_added_again_does_not_read_what_was_between() {
    let [mut a, mut b, mut c] = pair();
    a.add(c.member(), Role::Editor);
    a.publish("while it was in");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.remove(c.member());
    a.publish("between");
    sync(&mut [&mut a, &mut b, &mut c]);
    b.publish("between, by another one");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.add(c.member(), Role::Editor);
    a.publish("after");
    sync(&mut [&mut a, &mut b, &mut c]);
    heal_all(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("while it was in") && c.reads("after"));
    assert!(!c.reads("between") && !c.reads("between, by another one"));
    assert!(b.reads("between") && b.reads("after"));
}

#[test]
fn newcomers_by_invite_read_nothing_from_before() {
    let [mut a, mut b, mut c, mut d] = pair();
    let invite = offer(&mut a, Role::Editor, 2);
    for node in [&mut c, &mut d] {
        request(node, &invite);
    }
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    let had = secrets(&a);
    a.spaces.add_together(true);
    assert_eq!(admit_all(&mut a), [Ok(()), Ok(())]);
    a.spaces.add_together(false);
    assert_eq!(secrets(&a), had + 1, "both share one");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    reads_from_now_on(&mut [&mut a, &mut b, &mut c, &mut d], 2);
    assert!(!d.reads("old") && !d.reads("old, by another one"));
}

#[test]
fn a_promoted_courier_reads_nothing_from_before() {
    let [mut a, mut b, mut c] = pair();
    a.add(c.member(), Role::Courier);
    a.publish("for readers");
    sync(&mut [&mut a, &mut b, &mut c]);
    let had = secrets(&a);
    a.set_role(c.member(), Role::Reader);
    a.set_role(c.member(), Role::Editor);
    assert_eq!(secrets(&a), had + 1, "once it reads");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(!c.reads("for readers"));
    reads_from_now_on(&mut [&mut a, &mut b, &mut c], 2);
}

#[test]
fn a_linked_device_reads_from_linking_on() {
    let [mut a, mut b, mut c] = pair();
    let person = b.person();
    b.follow(person);
    sync(&mut [&mut a, &mut b]);
    heal_all(&mut [&mut a, &mut b]);
    link(&mut b, &mut c, person);
    sync(&mut [&mut a, &mut b, &mut c]);
    heal_all(&mut [&mut a, &mut b, &mut c]);
    c.follow(person);
    sync(&mut [&mut a, &mut b, &mut c]);
    reads_from_now_on(&mut [&mut a, &mut b, &mut c], 2);
}

#[test]
fn a_member_by_a_team_reads_nothing_from_before() {
    let [mut a, mut b, mut c] = pair();
    let team = a.team();
    a.use_team(team, Role::Editor).unwrap();
    a.change_team(team, c.member(), Some(Role::Editor)).unwrap();
    a.follow_team(team);
    sync(&mut [&mut a, &mut b, &mut c]);
    reads_from_now_on(&mut [&mut a, &mut b, &mut c], 2);
}

#[test]
fn a_group_that_comes_at_once_makes_one_secret() {
    let [mut a, mut b, mut c, mut d] = pair();
    let made = a.try_act(|spaces, desk| {
        let devices = [(c.member(), Role::Editor), (d.member(), Role::Editor)];
        spaces.create_group(&devices, desk)
    });
    let had = secrets(&a);
    a.add(Member::Group(made.unwrap().0), Role::Editor);
    assert_eq!(secrets(&a), had + 1);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    reads_from_now_on(&mut [&mut a, &mut b, &mut c, &mut d], 3);
    assert!(!c.reads("old"));
}

#[test]
fn who_could_not_be_reached_reads_what_it_missed() {
    let [mut a, mut b] = pair();
    let [mut late, mut other] = [Node::new(8), Node::new(9)];
    other.announce();
    sync(&mut [&mut a, &mut b, &mut other]);
    // It has no keys yet, and reads from its addition on when it has.
    a.add(late.member(), Role::Reader);
    a.publish("while it cannot be reached");
    a.add(other.member(), Role::Editor);
    a.publish("for the other one too");
    late.announce();
    sync(&mut [&mut a, &mut b, &mut other, &mut late]);
    b.heal();
    sync(&mut [&mut a, &mut b, &mut other, &mut late]);
    assert!(late.reads("while it cannot be reached") && late.reads("for the other one too"));
    assert!(!late.reads("old"));
    assert!(other.reads("for the other one too") && !other.reads("while it cannot be reached"));
}

/// Adds somebody as earlier versions did.
fn add_without_secret(node: &mut Node, member: Member) {
    node.spaces.add_together(true);
    node.try_do(|spaces, s, desk| spaces.rotate(s, desk))
        .unwrap();
    node.publish("under the secret that is handed out");
    node.add(member, Role::Editor);
    node.spaces.add_together(false);
}

#[test]
fn an_addition_without_a_new_secret_is_accepted() {
    let [mut a, mut b, mut c] = pair();
    add_without_secret(&mut a, c.member());
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(b.members(), a.members());
    assert!(c.reads("under the secret that is handed out") && !c.reads("old"));
    heal_all(&mut [&mut a, &mut b, &mut c]);
    for node in [&mut a, &mut b, &mut c] {
        assert!(node.is_healthy());
    }
}

#[test]
fn who_heals_hands_out_no_secret_of_before() {
    let [mut a, mut b] = pair();
    let mut c = Node::new(9);
    // The owner knows no keys of it, so that another member hands it the secrets.
    add_without_secret(&mut a, c.member());
    c.announce();
    sync(&mut [&mut a, &mut b]);
    deliver(&mut b, &ops(&c));
    let had = secrets(&b);
    b.heal();
    assert_eq!(secrets(&b), had + 1, "it makes a new one first");
    b.publish("later");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("later") && !c.reads("under the secret that is handed out"));
    assert!(a.reads("later"));
}

#[test]
fn what_others_sealed_beside_an_addition_stays_sealed() {
    let [mut a, mut b, mut c] = pair();
    a.add(c.member(), Role::Reader);
    b.try_do(|spaces, s, desk| spaces.rotate(s, desk)).unwrap();
    b.publish("beside");
    sync(&mut [&mut a, &mut b, &mut c]);
    heal_all(&mut [&mut a, &mut b, &mut c]);
    reads_from_now_on(&mut [&mut a, &mut b, &mut c], 2);
    assert!(a.reads("beside"));
}

#[test]
fn with_history_an_addition_makes_no_secret() {
    let [mut a, b] = nodes();
    a.create(Settings::with_history(), &[]);
    let had = secrets(&a);
    a.add(b.member(), Role::Editor);
    assert_eq!(secrets(&a), had);
}

fn draw(node: &mut Node, planned: &Planned, at_once: usize) -> Option<Ahead> {
    let space = node.s();
    let context = Context::new(&mut node.keys, &mut node.registry, node.now);
    let drawn = (planned, at_once);
    let mut ahead = node
        .spaces
        .draw_ahead(space, drawn, &context, &mut node.rng)?;
    let work = ahead.take();
    ahead.put(work.into_iter().map(|work: Sealing| work.seal().unwrap()));
    Some(ahead)
}

#[test]
fn an_addition_uses_the_secret_that_was_drawn_for_it() {
    let [mut a, mut b, mut c, mut d] = pair();
    a.add(d.member(), Role::Courier);
    for (member, role, planned) in [
        (c.member(), Role::Courier, false),
        (d.member(), Role::Reader, true),
        (c.member(), Role::Reader, true),
    ] {
        let plan = Planned::Add(member, role);
        let ahead = draw(&mut a, &plan, 0);
        assert_eq!(ahead.is_some(), planned);
        let Some(ahead) = ahead else {
            continue;
        };
        assert!(
            draw(&mut a, &plan, 9).is_none(),
            "nine are no more than nine"
        );
        let is_in = a.spaces.members(&a.s());
        let is_in = is_in
            .iter()
            .any(|(key, _)| Member::Individual(*key) == member);
        a.try_do(|spaces, s, desk| {
            spaces.go_by(ahead);
            match is_in {
                true => spaces.set_role(s, member, role, desk),
                false => spaces.add(s, member, role, desk),
            }
        })
        .unwrap();
        assert!(!a.spaces.forget_ahead(), "it is used");
    }
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    reads_from_now_on(&mut [&mut a, &mut b, &mut c, &mut d], 2);
    assert!(!d.reads("old"));
}

#[test]
fn without_history_the_last_secrets_are_for_removals() {
    let [mut a, b, c] = pair();
    let space = a.s();
    let had = secrets(&a);
    a.spaces
        .lower_secrets_max(&space, had + SPACE_SECRETS_RESERVED_MAX);
    let said = a.topic.ops.len();
    let added = a.try_do(|spaces, s, desk| spaces.add(s, c.member(), Role::Reader, desk));
    assert!(added.is_err(), "{added:?}");
    assert_eq!(a.topic.ops.len(), said, "nothing was signed");
    a.remove(b.member());
}
