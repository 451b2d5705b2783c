//! Secrets that are drawn before their change, and healing within bounds
//! (`docs/protocol/streams.md#7`).

use p2panda_encryption::{Context, Sealing};
use p2panda_groups::Member;
use p2panda_spaces::{Ahead, Planned, Role, Settings};

use crate::native_world::{Node, heal_all, nodes, sync};

fn draw(node: &mut Node, planned: &Planned, at_once: usize) -> Option<Ahead> {
    let space = node.s();
    let context = Context::new(&mut node.keys, &mut node.registry, node.now);
    let drawn = (planned, at_once);
    node.spaces
        .draw_ahead(space, drawn, &context, &mut node.rng)
}

fn sealed(mut ahead: Ahead) -> Ahead {
    let work = ahead.take();
    ahead.put(work.into_iter().map(|work: Sealing| work.seal().unwrap()));
    ahead
}

fn fits(node: &mut Node, ahead: &Ahead, planned: &Planned) -> bool {
    let context = Context::new(&mut node.keys, &mut node.registry, node.now);
    node.spaces.fits_ahead(ahead, planned, &context)
}

/// A space of four, of whom two own it.
fn four() -> [Node; 4] {
    let [mut a, mut b, mut c, mut d] = nodes();
    let (owner, editor) = (Role::Owner, Role::Editor);
    let others = [
        (b.member(), owner),
        (c.member(), editor),
        (d.member(), editor),
    ];
    a.create(Settings::with_history(), &others);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    [a, b, c, d]
}

#[test]
fn a_removal_uses_the_secret_that_was_drawn_for_it() {
    let [mut a, mut b, mut c, mut d] = four();
    let planned = Planned::Remove(vec![c.member()]);
    assert!(
        draw(&mut a, &planned, 2).is_none(),
        "two are no more than two"
    );
    let ahead = draw(&mut a, &planned, 1).unwrap();
    assert!(!fits(&mut a, &ahead, &planned), "nothing is sealed yet");
    let ahead = sealed(ahead);
    assert!(fits(&mut a, &ahead, &planned));
    assert!(
        !fits(&mut a, &ahead, &Planned::Rotate),
        "it is for another change"
    );
    let gone = c.member();
    a.try_do(|spaces, s, desk| {
        spaces.go_by(ahead);
        spaces.remove(s, gone, desk)
    })
    .unwrap();
    assert!(!a.spaces.forget_ahead(), "it is used");
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(b.reads("later") && d.reads("later") && !c.reads("later"));
    assert_eq!(b.members(), a.members());
}

#[test]
fn what_was_drawn_before_another_change_is_not_used() {
    let [mut a, mut b, mut c, mut d] = four();
    let planned = Planned::Remove(vec![c.member()]);
    let ahead = sealed(draw(&mut a, &planned, 0).unwrap());
    b.set_role(d.member(), Role::Reader);
    sync(&mut [&mut a, &mut b]);
    assert!(!fits(&mut a, &ahead, &planned));
    let gone = c.member();
    a.try_do(|spaces, s, desk| {
        spaces.go_by(ahead);
        spaces.remove(s, gone, desk)
    })
    .unwrap();
    assert!(a.spaces.forget_ahead(), "it is not used");
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(b.reads("later") && d.reads("later") && !c.reads("later"));
}

#[test]
fn each_change_that_makes_a_secret_is_foreseen() {
    let [mut a, b, c, d] = four();
    let person = a.try_act(|spaces, desk| {
        let devices = [(c.member(), Role::Editor), (d.member(), Role::Editor)];
        spaces.create_group(&devices, desk)
    });
    let (person, _) = person.unwrap();
    a.add(Member::Group(person), Role::Editor);
    // Both are members by themselves as well: the first goes only with the last of its memberships.
    for (planned, is_made) in [
        (Planned::Rotate, true),
        (Planned::Heal, false),
        (Planned::Remove(vec![c.member()]), false),
        (
            Planned::Remove(vec![c.member(), Member::Group(person)]),
            true,
        ),
        (Planned::SetRole(b.member(), Role::Reader), false),
        (Planned::SetRole(b.member(), Role::Courier), true),
    ] {
        let ahead = draw(&mut a, &planned, 0);
        assert_eq!(ahead.is_some(), is_made, "{planned:?}");
        let Some(ahead) = ahead.map(sealed) else {
            continue;
        };
        assert!(fits(&mut a, &ahead, &planned), "{planned:?}");
        let deed = planned.clone();
        a.try_do(|spaces, s, desk| {
            spaces.go_by(ahead);
            match deed {
                Planned::Rotate => spaces.rotate(s, desk),
                Planned::Remove(members) => spaces.remove_all(s, &members, desk),
                Planned::SetRole(member, role) => spaces.set_role(s, member, role, desk),
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
        assert!(!a.spaces.forget_ahead(), "{planned:?} used it");
    }
}

/// Returns `true` if a deed uses what was drawn for healing.
fn uses(node: &mut Node, deed: impl FnOnce(&mut Node, Ahead)) -> bool {
    let ahead = draw(node, &Planned::Heal, 1).map(sealed).unwrap();
    deed(node, ahead);
    !node.spaces.forget_ahead()
}

/// Four nodes, and a fifth whose keys they know.
fn four_and_another() -> ([Node; 4], Node) {
    let [mut a, mut b, mut c, mut d] = four();
    let mut other = Node::new(9);
    other.announce();
    sync(&mut [&mut a, &mut b, &mut c, &mut d, &mut other]);
    ([a, b, c, d], other)
}

#[test]
fn a_revoked_device_is_foreseen_where_its_person_owns_the_space() {
    let ([mut a, mut b, mut c, mut d], lost) = four_and_another();
    let person = a.person();
    a.try_link(person, lost.id).unwrap();
    a.follow(person);
    assert!(draw(&mut a, &Planned::Heal, 1).is_none(), "nobody goes");
    a.try_revoke(person, lost.id).unwrap();
    let is_used = uses(&mut a, |a, ahead| {
        a.try_do(|spaces, s, desk| {
            spaces.go_by(ahead);
            spaces.follow_person(s, person, desk)
        })
        .unwrap();
    });
    assert!(is_used);
    assert_eq!((a.pending(person), a.role(lost.id)), (vec![], None));
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(b.reads("later") && c.reads("later"));
}

#[test]
fn a_revoked_device_is_foreseen_where_its_person_is_a_member() {
    let ([mut a, mut b, mut c, mut d], lost) = four_and_another();
    let person = c.person();
    c.follow(person);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    heal_all(&mut [&mut a, &mut b, &mut c, &mut d]);
    c.try_link(person, lost.id).unwrap();
    c.follow(person);
    assert!(c.role(lost.id).is_some());
    c.try_revoke(person, lost.id).unwrap();
    let is_used = uses(&mut c, |c, ahead| {
        c.try_do(|spaces, s, desk| {
            spaces.go_by(ahead);
            spaces.follow_person(s, person, desk)
        })
        .unwrap();
    });
    assert!(is_used);
    assert_eq!((c.pending(person), c.role(lost.id)), (vec![], None));
}

#[test]
fn a_person_that_is_removed_is_foreseen_with_all_devices() {
    let ([mut a, mut b, mut c, mut d], second) = four_and_another();
    let person = c.person();
    c.try_link(person, second.id).unwrap();
    c.follow(person);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    heal_all(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(a.role(second.id).is_some());
    let planned = Planned::Remove(vec![c.member()]);
    let ahead = sealed(draw(&mut a, &planned, 1).unwrap());
    let gone = c.id;
    a.try_do(|spaces, s, desk| {
        spaces.go_by(ahead);
        spaces.remove_members(s, &[gone], desk)
    })
    .unwrap();
    assert!(!a.spaces.forget_ahead(), "it is used");
    assert_eq!((a.role(gone), a.role(second.id)), (None, None));
}

#[test]
fn a_removal_from_a_team_is_foreseen() {
    let ([mut a, mut b, mut c, mut d], other) = four_and_another();
    let team = a.team();
    a.change_team(team, other.member(), Some(Role::Reader))
        .unwrap();
    a.use_team(team, Role::Editor).unwrap();
    assert!(draw(&mut a, &Planned::Heal, 1).is_none(), "nobody goes");
    a.change_team(team, other.member(), None).unwrap();
    let is_used = uses(&mut a, |a, ahead| {
        a.try_do(|spaces, s, desk| {
            spaces.go_by(ahead);
            spaces.follow_team(s, team, None, desk)
        })
        .unwrap();
    });
    assert!(is_used);
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert!(b.reads("later") && a.role(other.id).is_none());
}

#[test]
fn healing_stops_where_there_is_no_room() {
    let [mut alone, mut b, mut c, mut d] = [1, 2, 3, 4].map(Node::new);
    alone.announce();
    alone.create(Settings::with_history(), &[]);
    // Nobody's keys are known yet.
    let others = [b.member(), c.member(), d.member()];
    for other in others {
        alone.add(other, Role::Reader);
    }
    for other in [&mut b, &mut c, &mut d] {
        other.announce();
    }
    sync(&mut [&mut alone, &mut b, &mut c, &mut d]);
    let lacking = |node: &mut Node| node.health().unwrap().lacking.len();
    assert_eq!(lacking(&mut alone), 3);
    for left in [2, 1, 0] {
        alone.room = 1;
        alone.heal();
        assert_eq!(lacking(&mut alone), left);
    }
}

/// In the message scheme an addition begins an epoch: at once, or when what was drawn for it is ready.
#[test]
fn an_epoch_for_many_begins_with_what_was_drawn_for_it() {
    let [mut a, mut b, mut c, mut d] = nodes();
    let mut e = Node::new(9);
    e.announce();
    let others = [(b.member(), Role::Owner), (c.member(), Role::Editor)];
    a.create(Settings::with_a_key_per_message(), &others);
    sync(&mut [&mut a, &mut b, &mut c, &mut d, &mut e]);
    a.spaces.begin_epochs_at_once(3);
    a.add(d.member(), Role::Editor);
    assert!(!a.spaces.take_deferred(), "three are no more than three");
    assert!(a.is_healthy());
    assert!(draw(&mut a, &Planned::Heal, 0).is_none());
    a.add(e.member(), Role::Editor);
    assert!(a.spaces.take_deferred() && !a.is_healthy());
    // Healing alone leaves it.
    let ahead = sealed(draw(&mut a, &Planned::Heal, 3).unwrap());
    a.heal();
    assert!(a.spaces.take_deferred() && !a.is_healthy());
    assert!(fits(&mut a, &ahead, &Planned::Heal));
    a.try_do(|spaces, s, desk| {
        spaces.go_by(ahead);
        spaces.heal(s, desk)
    })
    .unwrap();
    assert!(!a.spaces.forget_ahead() && !a.spaces.take_deferred());
    assert!(a.is_healthy());
    a.publish("for all");
    sync(&mut [&mut a, &mut b, &mut c, &mut d, &mut e]);
    for node in [&b, &c, &d, &e] {
        assert!(node.reads("for all"));
    }
}
