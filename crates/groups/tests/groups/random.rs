//! Random graphs from a seed.

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, GroupId, Member, Operation, bound_group_id};

use crate::oracle::Oracle;
use crate::scenario::{group, id, key};

/// A small generator, so that a seed means the same everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) as usize) % end
    }

    /// True in this many of a hundred throws.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A graph in the making; the oracle decides what may be depended on.
pub struct Maker {
    dice: Dice,
    people: Vec<VerifyingKey>,
    groups: Vec<GroupId>,
    bound: Option<(VerifyingKey, GroupId)>,
    /// May use what hardening rules forbid.
    abuse: bool,
    accepted: Vec<(Hash, Vec<Hash>)>,
    next: u64,
}

const NONCE: [u8; 32] = [5; 32];

impl Maker {
    pub fn new(seed: u64) -> Maker {
        let mut dice = Dice::new(seed);
        for _ in 0..8 {
            dice.below(2);
        }
        let people: Vec<_> = ["A", "B", "C", "D"].map(key).into();
        // The last group has the id of a person: some rules compare bare ids.
        let names = ["1", "2", "D"];
        let count = [1, 1, 2, 3][dice.below(4)];
        let mut groups: Vec<_> = names[..count].iter().map(|name| group(name)).collect();
        let abuse = dice.percent(40);
        let bound =
            (abuse && dice.percent(60)).then(|| (people[0], bound_group_id(&people[0], &NONCE)));
        groups.extend(bound.map(|(_, group)| group));
        // Ids in an order that has nothing to do with the graph's.
        let next = dice.below(1 << 20) as u64;
        Maker {
            dice,
            people,
            groups,
            bound,
            abuse,
            accepted: Vec::new(),
            next,
        }
    }

    /// The next operation. Its dependencies were accepted.
    pub fn operation(&mut self) -> Operation {
        self.next = self
            .next
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1)
            & ((1 << 53) - 1);
        let first = self.accepted.len() < self.groups.len();
        let dependencies = self.dependencies();
        let author = if first {
            self.people[0]
        } else {
            *self.dice.pick(&self.people.clone())
        };
        let at = if first {
            self.accepted.len()
        } else {
            self.dice.below(self.groups.len())
        };
        let group = self.groups[at];
        let action = if first || self.abuse && self.dice.percent(6) {
            self.create(author)
        } else {
            self.change(author)
        };
        let owns = self.bound == Some((author, group));
        let nonce = (owns && self.dice.percent(70)).then_some(NONCE);
        Operation {
            id: id(self.next),
            author,
            arguments: Arguments {
                group,
                dependencies,
                action,
                nonce,
            },
        }
    }

    pub fn accept(&mut self, operation: &Operation) {
        self.accepted
            .push((operation.id, operation.arguments.dependencies.clone()));
    }

    /// Heads of everything, of a random part, or any set at all with redundant ones.
    fn dependencies(&mut self) -> Vec<Hash> {
        let count = self.accepted.len();
        let known = match self.dice.below(10) {
            0..=4 => count,
            5..=8 => count.saturating_sub(self.dice.below(5)),
            _ => self.dice.below(count + 1),
        };
        let mut chosen: Vec<Hash> = Vec::new();
        if self.dice.percent(45) && count > 0 {
            for _ in 0..1 + self.dice.below(2) {
                chosen.push(self.accepted[self.dice.below(count)].0);
            }
            return chosen;
        }
        let seen = &self.accepted[..known];
        let has_successor = |id: &Hash| seen.iter().any(|(_, deps)| deps.contains(id));
        chosen.extend(
            seen.iter()
                .map(|(id, _)| *id)
                .filter(|id| !has_successor(id)),
        );
        chosen
    }

    fn create(&mut self, author: VerifyingKey) -> Action {
        let mut initial_members = vec![(Member::Individual(author), Access::Manage)];
        for person in self.people.clone() {
            if self.dice.percent(55) {
                initial_members.push((Member::Individual(person), Access::Manage));
            }
        }
        for _ in 0..self.dice.below(3) {
            let access = self.access();
            initial_members.push((self.member(), access));
        }
        Action::Create { initial_members }
    }

    fn change(&mut self, author: VerifyingKey) -> Action {
        let member = match self.dice.percent(8) {
            true => Member::Individual(author),
            false => self.member(),
        };
        let access = self.access();
        match self.dice.below(10) {
            0..=3 => Action::Add { member, access },
            4..=6 => Action::Remove { member },
            7 => Action::Promote { member, access },
            _ => Action::Demote { member, access },
        }
    }

    fn member(&mut self) -> Member {
        if self.dice.percent(18) {
            Member::Group(*self.dice.pick(&self.groups.clone()))
        } else {
            Member::Individual(*self.dice.pick(&self.people.clone()))
        }
    }

    fn access(&mut self) -> Access {
        match self.dice.below(8) {
            0 => Access::Pull,
            1 | 2 => Access::Read,
            3 => Access::Write,
            _ => Access::Manage,
        }
    }
}

/// A random graph of this many operations, with what the oracle says of each, and some more that
/// it rejects.
pub fn graph(seed: u64, size: usize, oracle: &mut Oracle) -> Vec<(Operation, Result<(), String>)> {
    let mut maker = Maker::new(seed);
    let mut made = Vec::new();
    for _ in 0..50 * size {
        let operation = maker.operation();
        let outcome = oracle.process(&operation);
        if outcome.is_ok() && !maker.abuse && oracle.last_is_abuse() {
            oracle.undo_last();
            continue;
        }
        if outcome.is_ok() {
            maker.accept(&operation);
        } else if maker.dice.percent(80) {
            continue;
        }
        made.push((operation, outcome));
        if oracle.ops.len() == size {
            break;
        }
    }
    made
}

/// A random order that respects dependencies.
pub fn shuffled<T>(made: &[(Operation, T)], dice: &mut Dice) -> Vec<usize> {
    let mut left: Vec<usize> = (0..made.len()).collect();
    let mut done: Vec<Hash> = Vec::new();
    let mut order = Vec::new();
    while !left.is_empty() {
        let ready = |at: &usize| {
            made[*at]
                .0
                .arguments
                .dependencies
                .iter()
                .all(|dep| done.contains(dep))
        };
        let ready: Vec<usize> = left.iter().copied().filter(ready).collect();
        // Long runs from one end make other bubbles than single steps do.
        let at = match dice.below(4) {
            0 => ready[0],
            1 => ready[ready.len() - 1],
            _ => *dice.pick(&ready),
        };
        left.retain(|other| *other != at);
        done.push(made[at].0.id);
        order.push(at);
    }
    order
}
