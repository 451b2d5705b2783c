//! Rotation by age: what owners ask for, as all members know it.

use p2panda_core::limits::SPACE_ROTATION_DAYS_MAX;
use p2panda_spaces::{Event, LocalError, Role, Settings};

use crate::native_world::{NOW, Node, nodes, sync};

const DAY_S: u64 = 24 * 60 * 60;

/// Two owners and an editor.
fn world() -> [Node; 3] {
    world_as(Settings::with_history())
}

fn world_as(settings: Settings) -> [Node; 3] {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Owner), (c.member(), Role::Editor)];
    a.create(settings, &members);
    sync(&mut [&mut a, &mut b, &mut c]);
    [a, b, c]
}

fn ask(node: &mut Node, days: u32) -> Result<(), LocalError> {
    node.try_do(|spaces, s, desk| {
        spaces.set_rotation(s, days, desk)?;
        Ok(Vec::new())
    })
}

fn asked(node: &Node) -> Option<u32> {
    node.spaces.rotation_days(&node.s())
}

#[test]
fn an_owner_asks_for_rotation_by_age_and_ends_it() {
    let [mut a, mut b, mut c] = world();
    assert_eq!([&a, &b, &c].map(asked), [None; 3]);
    ask(&mut a, 30).unwrap();
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&mut a, &mut b, &mut c] {
        assert_eq!(asked(node), Some(30));
        node.restart();
        assert_eq!(asked(node), Some(30), "after a restart");
    }
    let (space, author) = (a.s(), a.id);
    let told = Event::Rotation {
        space,
        author,
        days: 30,
    };
    for node in [&b, &c] {
        assert!(node.events.contains(&told));
    }
    // The later one counts, whether it is more or less.
    for (days, expected) in [(90, Some(90)), (7, Some(7)), (0, None)] {
        ask(&mut b, days).unwrap();
        sync(&mut [&mut a, &mut b, &mut c]);
        assert_eq!([&a, &b, &c].map(asked), [expected; 3]);
    }
}

#[test]
fn of_concurrent_wishes_the_fewest_days_count() {
    let [mut a, mut b, mut c] = world();
    for (of_a, of_b, expected) in [(30, 7, 7), (7, 30, 7), (0, 30, 30), (30, 0, 30)] {
        ask(&mut a, of_a).unwrap();
        ask(&mut b, of_b).unwrap();
        sync(&mut [&mut a, &mut b, &mut c]);
        assert_eq!([&a, &b, &c].map(asked), [Some(expected); 3]);
    }
}

#[test]
fn nobody_but_an_owner_asks_for_rotation_by_age() {
    let [mut a, mut b, mut c] = world();
    assert_eq!(ask(&mut c, 1), Err(LocalError::Role(Some(Role::Editor))));
    let too_many = SPACE_ROTATION_DAYS_MAX + 1;
    assert_eq!(ask(&mut a, too_many), Err(LocalError::TooManyDays));
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!([&a, &b, &c].map(asked), [None; 3]);
    ask(&mut a, SPACE_ROTATION_DAYS_MAX).unwrap();
    assert_eq!(asked(&a), Some(SPACE_ROTATION_DAYS_MAX));
}

#[test]
fn the_date_of_the_secret_in_use_is_that_of_its_rotation() {
    for settings in [Settings::with_history(), Settings::with_a_key_per_message()] {
        let [mut a, mut b, mut c] = world_as(settings);
        let of = |node: &Node| node.spaces.sealing_secret(&node.s()).unwrap();
        let (first, date) = of(&a);
        assert_eq!(date, NOW);
        assert!([&b, &c].iter().all(|node| of(node) == (first, NOW)));
        for node in [&mut a, &mut b, &mut c] {
            node.now += DAY_S;
        }
        b.try_do(|spaces, s, desk| spaces.rotate(s, desk)).unwrap();
        sync(&mut [&mut a, &mut b, &mut c]);
        let (second, date) = of(&a);
        assert_eq!(date, NOW + DAY_S);
        assert!(second != first);
        assert!([&b, &c].iter().all(|node| of(node) == (second, date)));
        c.publish("under the new one");
        sync(&mut [&mut a, &mut b, &mut c]);
        assert!(a.reads("under the new one") && b.reads("under the new one"));
    }
}
