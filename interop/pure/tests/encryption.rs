//! Members of this project and of release 0.7.1 in one encrypted group.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use p2panda_interop_pure::dice::{below, cases, chance, generator, pick};
use p2panda_interop_pure::{Kind, World, data, message};

use Kind::{Ours, Published};

type MakeWorld = fn(&[Kind], u64) -> World;

const SCHEMES: [(&str, MakeWorld); 2] = [("data", data::world), ("message", message::world)];

/// Everybody sends, and everybody reads all of it.
fn everybody_reads_everybody(world: &mut World, round: &str) {
    // Ours says so where it cannot know that only members hold a secret (10.4.3, 11.6.1).
    for who in world.members() {
        if world.parties[who].needs_update() {
            world.publish(who, |party| party.update()).unwrap();
            world.settle();
        }
    }
    for who in world.members() {
        let text = format!("{round}, from {who}");
        if let Err(refused) = world.send(who, text.as_bytes()) {
            panic!(
                "{round}: {who} cannot send: {refused:?}; failures: {:?}",
                world.failed
            );
        }
    }
    world.settle();
    world.check_texts();
    assert!(world.failed.is_empty(), "{round}: {:?}", world.failed);
}

#[test]
fn both_read_each_other_through_a_whole_life() {
    for (scheme, make) in SCHEMES {
        for (case, creator) in [Ours, Published].into_iter().enumerate() {
            let kinds = [creator, Ours, Published, Published, Ours, Ours, Published];
            let mut world = make(&kinds, case as u64);
            let first = world.ids(0..5);
            world.publish(0, |party| party.create(&first)).unwrap();
            world.settle();
            assert_eq!(world.members(), [0, 1, 2, 3, 4], "{scheme}");
            everybody_reads_everybody(&mut world, "created");
            // One of each adds one of each.
            for (adder, added) in [(1, 6), (2, 5)] {
                let id = world.ids(added..added + 1)[0];
                world.publish(adder, |party| party.add(id)).unwrap();
                world.settle();
                everybody_reads_everybody(&mut world, &format!("{adder} added {added}"));
            }
            for updater in [5, 6, 1, 2] {
                world.publish(updater, |party| party.update()).unwrap();
                world.settle();
                everybody_reads_everybody(&mut world, &format!("{updater} updated"));
            }
            for (remover, removed) in [(1, 3), (2, 4), (5, 6), (2, 1)] {
                let id = world.ids(removed..removed + 1)[0];
                world.publish(remover, |party| party.remove(id)).unwrap();
                world.settle();
                everybody_reads_everybody(&mut world, &format!("{remover} removed {removed}"));
            }
            assert_eq!(world.members(), [0, 2, 5], "{scheme}");
        }
    }
}

#[test]
fn random_lives_end_with_everybody_reading_everybody() {
    for (scheme, make) in SCHEMES {
        for seed in cases(20) {
            println!("{scheme} seed {seed}");
            life(make, scheme, seed);
        }
    }
}

/// Changes one after the other, by anybody, with texts between them that arrive in any mixture.
fn life(make: MakeWorld, scheme: &str, seed: u64) {
    let mut rng = generator("life", seed);
    let count = 3 + below(&mut rng, 5);
    let kinds: Vec<_> = (0..count)
        .map(|_| {
            if chance(&mut rng, 50) {
                Ours
            } else {
                Published
            }
        })
        .collect();
    let mut world = make(&kinds, seed);
    let inside = 1 + below(&mut rng, count);
    println!("  {kinds:?}, the first {inside} inside");
    let first = world.ids(0..inside);
    world.publish(0, |party| party.create(&first)).unwrap();
    world.settle();
    for round in 0..8 {
        let members = world.members();
        for n in 0..below(&mut rng, 12) {
            let who = pick(&mut rng, &members).unwrap();
            let text = format!("{round}.{n} from {who}");
            world.send(who, text.as_bytes()).unwrap();
            let reader = below(&mut rng, count);
            let some = below(&mut rng, 6);
            world.deliver(reader, some);
        }
        world.settle();
        world.check_texts();
        let who = pick(&mut rng, &members).unwrap();
        let target = below(&mut rng, count);
        let id = world.ids(target..target + 1)[0];
        let inside = members.contains(&target);
        println!("  {who} changes the group, {target} in question");
        // Nobody comes back: 0.7.1 keeps a returning member's old chain (11.3.3).
        if !inside && !world.is_out(target) {
            world.publish(who, |party| party.add(id)).unwrap();
        } else if inside && target != who && members.len() > 2 && chance(&mut rng, 40) {
            world.publish(who, |party| party.remove(id)).unwrap();
        } else {
            world.publish(who, |party| party.update()).unwrap();
        }
        world.settle();
        everybody_reads_everybody(&mut world, &format!("{scheme} seed {seed} round {round}"));
    }
}

#[test]
fn an_update_heals_a_group_changed_by_both_at_once() {
    for (scheme, make) in SCHEMES {
        for (case, healer) in [0, 1].into_iter().enumerate() {
            let mut world = make(
                &[Ours, Published, Ours, Published, Published, Ours],
                case as u64,
            );
            let first = world.ids(0..4);
            world.publish(0, |party| party.create(&first)).unwrap();
            world.settle();
            everybody_reads_everybody(&mut world, "created");
            let newcomers = world.ids(4..6);
            let gone = world.ids(3..4)[0];
            type Step<'a> = (usize, &'a dyn Fn(&mut World, usize));
            let update = |world: &mut World, who: usize| {
                world.publish(who, |party| party.update()).unwrap();
            };
            let add = |newcomer: usize| {
                let id = newcomers[newcomer];
                move |world: &mut World, who: usize| {
                    world.publish(who, |party| party.add(id)).unwrap();
                }
            };
            let remove = |world: &mut World, who: usize| {
                world.publish(who, |party| party.remove(gone)).unwrap();
            };
            let (add_first, add_second) = (add(0), add(1));
            let pairs: [[Step<'_>; 2]; 4] = [
                [(0, &update), (1, &update)],
                [(0, &add_first), (1, &update)],
                [(0, &update), (1, &add_second)],
                [(0, &update), (1, &remove)],
            ];
            for (n, pair) in pairs.into_iter().enumerate() {
                for (who, step) in pair {
                    step(&mut world, who);
                }
                world.settle();
                world.publish(healer, |party| party.update()).unwrap();
                world.settle();
                everybody_reads_everybody(&mut world, &format!("{scheme} pair {n}"));
            }
            assert_eq!(world.members(), [0, 1, 2, 4, 5]);
        }
    }
}

#[test]
fn a_late_member_reads_old_data_of_both() {
    for (case, adder) in [0, 1].into_iter().enumerate() {
        let mut world = data::world(&[Ours, Published, Ours, Published], case as u64);
        world.with_history = true;
        let first = world.ids(0..2);
        world.publish(0, |party| party.create(&first)).unwrap();
        world.settle();
        for who in [0, 1] {
            world.publish(who, |party| party.send(b"old")).unwrap();
            world.publish(who, |party| party.update()).unwrap();
            world.settle();
        }
        for newcomer in [2, 3] {
            let id = world.ids(newcomer..newcomer + 1)[0];
            world.publish(adder, |party| party.add(id)).unwrap();
            world.settle();
        }
        assert!(world.failed.is_empty(), "{:?}", world.failed);
        for who in 0..4 {
            assert_eq!(
                world.opened(who),
                usize::from(who < 2) + 2 * usize::from(who > 1)
            );
        }
    }
}
