//! The views against a plain list of who knows whom.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::{Hash, SigningKey};

use super::*;

/// Content of [`Views`], which keeps it by exception, written out: the members with those who know
/// of them.
#[derive(Clone, Default)]
struct Plain {
    members: BTreeMap<Member, BTreeSet<Member>>,
    removals: Vec<PlainRemoval>,
    adds: BTreeMap<OperationId, Member>,
    /// Members at some time. Others are not counted, no matter what they acknowledge.
    seen: BTreeSet<Member>,
    /// Lessons of a member that was there already when it acknowledges an add: members, removals
    /// that are heard of, and removals whose member is known.
    lessons: BTreeMap<OperationId, PlainLesson>,
}

type PlainLesson = (
    BTreeSet<Member>,
    BTreeSet<OperationId>,
    BTreeSet<OperationId>,
);

#[derive(Clone)]
struct PlainRemoval {
    operation: OperationId,
    member: Member,
    known_by: BTreeSet<Member>,
    acks: BTreeSet<Member>,
}

impl Plain {
    fn create(&mut self, members: &[Member]) {
        let everybody: BTreeSet<_> = members.iter().copied().collect();
        self.members = everybody.iter().map(|m| (*m, everybody.clone())).collect();
        self.seen.extend(&everybody);
    }

    fn welcome(&mut self, theirs: Plain) {
        let gone = |views: &Plain, other: &Plain, member: &Member| {
            // Left by a removal that the other side has not heard of, and did not come back.
            !views.members.contains_key(member)
                && views.removals.iter().any(|removal| {
                    removal.member == *member && other.removal(&removal.operation).is_none()
                })
        };
        let stale = |views: &Plain, other: &Plain, member: &Member| {
            // Came back after a removal that this side has not heard of.
            other.members.contains_key(member)
                && other.removals.iter().any(|removal| {
                    removal.member == *member && views.removal(&removal.operation).is_none()
                })
        };
        let mut members: BTreeMap<Member, BTreeSet<Member>> = BTreeMap::new();
        for (views, other) in [(&*self, &theirs), (&theirs, &*self)] {
            for (member, acks) in &views.members {
                let here = stale(views, other, member);
                let there = stale(other, views, member);
                if gone(other, views, member) || here && !there {
                    continue;
                }
                match members.entry(*member) {
                    Entry::Vacant(entry) => {
                        entry.insert(acks.clone());
                    }
                    Entry::Occupied(mut entry) if here => {
                        entry.get_mut().retain(|member| acks.contains(member));
                    }
                    Entry::Occupied(mut entry) => entry.get_mut().extend(acks),
                }
            }
        }
        self.members = members;
        // What one side has seen acknowledged is learned.
        let is_open = |id: &OperationId, other: &Plain| {
            !other.adds.contains_key(id) || other.lessons.contains_key(id)
        };
        let new = theirs.lessons.iter().filter(|(id, _)| is_open(id, self));
        let new: Vec<_> = new.map(|(id, lesson)| (*id, lesson.clone())).collect();
        self.lessons.retain(|id, _| is_open(id, &theirs));
        for (id, (members, heard, counted)) in new {
            let lesson = self.lessons.entry(id).or_default();
            lesson.0.extend(members);
            lesson.1.extend(heard);
            lesson.2.extend(counted);
        }
        for removal in theirs.removals {
            match self
                .removals
                .iter_mut()
                .find(|r| r.operation == removal.operation)
            {
                Some(known) => {
                    known.known_by.extend(removal.known_by);
                    known.acks.extend(removal.acks);
                }
                None => self.removals.push(removal),
            }
        }
        self.adds.extend(theirs.adds);
        self.seen.extend(theirs.seen);
    }

    fn add(&mut self, adder: Member, added: Member, operation: OperationId) {
        let adder_is_seen = self.seen.contains(&adder);
        let members = self.members.iter();
        let new = members.filter(|(_, acks)| acks.contains(&adder) && !acks.contains(&added));
        let members: BTreeSet<_> = new.map(|(member, _)| *member).collect();
        let open = || {
            let removals = self.removals.iter();
            removals.filter(|r| adder_is_seen && !r.acks.contains(&added))
        };
        let heard = open().filter(|r| r.acks.contains(&adder));
        let heard: BTreeSet<_> = heard.map(|removal| removal.operation).collect();
        let counted = open().filter(|r| !r.acks.contains(&adder) && r.known_by.contains(&adder));
        let counted: BTreeSet<_> = counted.map(|removal| removal.operation).collect();
        let lesson = (members, heard, counted);
        if self.members.contains_key(&added) {
            if lesson != PlainLesson::default() {
                self.lessons.insert(operation, lesson);
            }
        } else {
            self.learn(added, lesson);
        }
        self.seen.insert(added);
        let seen = &self.seen;
        self.members
            .entry(added)
            .or_default()
            .extend([adder, added].into_iter().filter(|m| seen.contains(m)));
        self.adds.insert(operation, added);
    }

    fn learn(&mut self, viewer: Member, (members, heard, counted): PlainLesson) {
        for member in members {
            self.know(member, viewer);
        }
        for removal in &mut self.removals {
            if heard.contains(&removal.operation) {
                removal.acks.insert(viewer);
            } else if counted.contains(&removal.operation) {
                removal.known_by.insert(viewer);
            }
        }
    }

    fn know(&mut self, member: Member, viewer: Member) {
        if let Some(acks) = self.members.get_mut(&member) {
            acks.insert(viewer);
            return;
        }
        for removal in self.removals.iter_mut().filter(|r| r.member == member) {
            removal.known_by.insert(viewer);
        }
    }

    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        let (known_by, mut acks) = match self.members.remove(&removed) {
            Some(known_by) => (known_by, BTreeSet::new()),
            // Somebody else removed the member at the same time.
            None => {
                let earlier = self.removals.iter().rev().find(|r| r.member == removed);
                let earlier = earlier.ok_or(MembershipError::UnknownMember)?;
                (earlier.known_by.clone(), earlier.acks.clone())
            }
        };
        acks.extend(self.seen.get(&remover));
        // Who hears of one removal knows that the member is gone, no matter who else removed it.
        let concurrent = self.removals.iter_mut().filter(|r| r.member == removed);
        for removal in concurrent {
            removal.acks.extend(self.seen.get(&remover));
        }
        self.removals.push(PlainRemoval {
            operation,
            member: removed,
            known_by,
            acks,
        });
        Ok(())
    }

    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError> {
        let seen = self.seen.contains(&acker);
        if let Some(added) = self.adds.get(operation).copied() {
            if seen {
                self.know(added, acker);
            }
            let lesson = (added == acker).then(|| self.lessons.remove(operation));
            if let Some(lesson) = lesson.flatten() {
                self.learn(acker, lesson);
            }
            return Ok(());
        }
        let removed = self.removal(operation).map(|removal| removal.member);
        let removed = removed.ok_or(MembershipError::UnknownOperation)?;
        if removed == acker {
            return Err(MembershipError::OwnRemoval);
        }
        let removals = self.removals.iter_mut().filter(|_| seen);
        for removal in removals.filter(|r| r.member == removed) {
            removal.acks.insert(acker);
        }
        Ok(())
    }

    fn members(&self) -> BTreeSet<Member> {
        self.members.keys().copied().collect()
    }

    fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        let members = self.members.iter();
        let known = members
            .filter(|(_, acks)| acks.contains(viewer))
            .map(|(member, _)| *member);
        let removals = self.removals.iter();
        let not_heard = removals
            .filter(|r| r.known_by.contains(viewer) && !r.acks.contains(viewer))
            .map(|removal| removal.member);
        known.chain(not_heard).collect()
    }

    fn removal(&self, operation: &OperationId) -> Option<&PlainRemoval> {
        self.removals.iter().find(|r| r.operation == *operation)
    }
}

/// Two replicas of two people, each kept in both forms.
struct Pair {
    views: Views,
    plain: Plain,
}

#[test]
fn views_are_those_of_a_plain_list_in_random_lives() {
    for seed in 0..100u8 {
        let mut rng = ChaCha20Rng::from_seed(*Hash::digest(&[seed]).as_bytes());
        let people: Vec<_> = (0..6)
            .map(|_| SigningKey::generate(&mut rng).verifying_key())
            .collect();
        let first = &people[..1 + below(&mut rng, 6)];
        let mut pairs = [0, 1].map(|_| Pair {
            views: Views::default(),
            plain: Plain::default(),
        });
        pairs[0].views.create(first).unwrap();
        pairs[0].plain.create(first);
        let mut operations = Vec::new();
        for _ in 0..60 {
            let pair = below(&mut rng, 2);
            step(&mut pairs, pair, &people, &mut operations, &mut rng);
            for pair in &pairs {
                let plain: BTreeSet<_> = pair.plain.members();
                assert_eq!(pair.views.members(), plain, "seed {seed}");
                for viewer in &people {
                    let plain = pair.plain.view(viewer);
                    assert_eq!(pair.views.view(viewer), plain, "seed {seed}");
                }
            }
        }
        for pair in &pairs {
            let stored = pair.views.encode();
            assert_eq!(
                Views::decode(&stored).as_ref(),
                Ok(&pair.views),
                "seed {seed}"
            );
        }
    }
}

fn step(
    pairs: &mut [Pair; 2],
    pair: usize,
    people: &[Member],
    operations: &mut Vec<OperationId>,
    rng: &mut ChaCha20Rng,
) {
    let (actor, target) = (people[below(rng, 6)], people[below(rng, 6)]);
    let other = (
        pairs[1 - pair].views.history(),
        pairs[1 - pair].plain.clone(),
    );
    let Pair { views, plain } = &mut pairs[pair];
    // Sometimes an operation that the other replica has heard of.
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    let known = (!operations.is_empty()).then(|| operations[below(rng, operations.len())]);
    let fresh = known.filter(|id| plain.removal(id).is_none() && !plain.adds.contains_key(id));
    let operation = fresh.unwrap_or(Hash::from_bytes(bytes));
    match below(rng, 20) {
        0..5 => {
            views.add(actor, target, operation).unwrap();
            plain.add(actor, target, operation);
            operations.push(operation);
        }
        5..9 => {
            let done = views.remove(actor, target, operation);
            assert_eq!(done, plain.remove(actor, target, operation));
            operations.push(operation);
        }
        9..19 => {
            if let Some(known) = known {
                assert_eq!(views.ack(actor, &known), plain.ack(actor, &known));
            }
        }
        _ => {
            views.welcome(&other.0).unwrap();
            plain.welcome(other.1);
        }
    }
}

fn below(rng: &mut ChaCha20Rng, end: usize) -> usize {
    rng.next_u32() as usize % end
}

#[test]
fn a_history_grows_with_the_members_once_all_have_acknowledged() {
    let people: Vec<_> = (0..=100u8)
        .map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key())
        .collect();
    let mut views = Views::default();
    views.create(&people[..100]).unwrap();
    let operation = Hash::digest(b"add");
    views.add(people[0], people[100], operation).unwrap();
    for member in &people[..100] {
        views.ack(*member, &operation).unwrap();
    }
    assert!(views.history().len() < 101 * 36 + 100);
}

#[test]
fn strangers_that_acknowledge_leave_nothing_behind() {
    let people: Vec<_> = (0..=60u8)
        .map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key())
        .collect();
    let mut views = Views::default();
    views.create(&people[..2]).unwrap();
    let operation = Hash::digest(b"add");
    views.add(people[0], people[2], operation).unwrap();
    let before = views.clone();
    for stranger in &people[3..] {
        views.ack(*stranger, &operation).unwrap();
        assert!(views.view(stranger).is_empty());
    }
    assert_eq!(views, before);
}
