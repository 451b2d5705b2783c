//! Random lives of a space with loss, reordering, restarts and one hostile member: what holds at
//! the end (`docs/protocol/spaces.md#8`).

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::Hash;
use p2panda_groups::{Access, Action, GroupId, Member};
use p2panda_spaces::{Message, Pointer, Role, SpacesArgs, Verdict};

use crate::world::{Device, S};

struct Life {
    rng: ChaCha20Rng,
    devices: Vec<Device>,
    hostile: usize,
    /// The group of the first two devices.
    person: GroupId,
    written: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = ChaCha20Rng::from_seed(*Hash::digest(&seed.to_be_bytes()).as_bytes());
        let count = 3 + rng.next_u32() as usize % 6;
        let mut devices: Vec<Device> = (1..=count as u8).map(Device::new).collect();
        for device in &mut devices {
            device
                .act(|spaces, desk| spaces.publish_keys(desk))
                .unwrap();
        }
        let hostile = 1 + rng.next_u32() as usize % (count - 1);
        let mut life = Life {
            rng,
            devices,
            hostile,
            person: Device::new(99).id.into(),
            written: 0,
        };
        life.sync_all();
        life.begin();
        life.sync_all();
        life
    }

    fn begin(&mut self) {
        let owners = [
            (self.devices[0].member(), Role::Owner),
            (self.devices[1].member(), Role::Editor),
        ];
        let mut person = None;
        self.devices[0].does(|spaces, desk| {
            let (id, events) = spaces.create_group(&owners, desk)?;
            person = Some(id);
            Ok(events)
        });
        self.person = person.unwrap();
        let mut members = vec![(Member::Group(self.person), Role::Editor)];
        for at in 1..self.devices.len() {
            let role = Role::ALL[self.below(4)];
            if self.chance(70) {
                members.push((self.devices[at].member(), role));
            }
        }
        self.devices[0].create(&members);
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn step(&mut self) {
        let at = self.below(self.devices.len());
        match self.below(20) {
            0..6 => self.write(at),
            6 | 7 => self.change(at),
            8 => self.change_person(at),
            9 => {
                let _ = self.devices[at].try_act(|spaces, desk| spaces.heal(S, desk));
            }
            10 => self.devices[at].restart(),
            11 => self.forge(),
            _ => self.deliver_some(at),
        }
    }

    fn write(&mut self, at: usize) {
        self.written += 1;
        let text = format!("{} by {at}", self.written);
        if self.devices[at].try_publish(&text).is_err() {
            let _ = self.devices[at].try_act(|spaces, desk| spaces.heal(S, desk));
            let _ = self.devices[at].try_publish(&text);
        }
    }

    fn change(&mut self, at: usize) {
        let other = self.below(self.devices.len());
        let member = self.devices[other].member();
        let role = Role::ALL[self.below(4)];
        let what = self.below(4);
        let _ = self.devices[at].try_act(|spaces, desk| match what {
            0 => spaces.remove(S, member, desk),
            1 => spaces.set_role(S, member, role, desk),
            _ => spaces.add(S, member, role, desk),
        });
    }

    fn change_person(&mut self, at: usize) {
        let other = self.below(self.devices.len());
        let member = self.devices[other].member();
        let access = Access::ALL[self.below(4)];
        let action = match self.below(2) {
            0 => Action::Add { member, access },
            _ => Action::Remove { member },
        };
        let person = self.person;
        let _ = self.devices[at].try_act(|spaces, desk| spaces.change_group(person, action, desk));
    }

    /// The hostile member signs what the library would not: data of others, and pointers to
    /// anything with any past.
    fn forge(&mut self) {
        let has = self.devices[self.hostile].has.clone();
        let pick = |life: &mut Life| has[life.below(has.len())].clone();
        let named: Vec<Hash> = has
            .iter()
            .filter(|message| message.args.space() == Some(S))
            .map(|message| message.id)
            .collect();
        if named.is_empty() {
            return;
        }
        let dependencies: Vec<Hash> = (0..1 + self.below(3))
            .map(|_| named[self.below(named.len())])
            .collect();
        let Some(group) = self.devices[self.hostile].spaces.group(&S) else {
            return;
        };
        let args = match pick(self).args {
            SpacesArgs::Application { encrypted, .. } => SpacesArgs::Application {
                space: S,
                encrypted,
                dependencies,
            },
            SpacesArgs::Membership(pointer) => SpacesArgs::Membership(Pointer {
                dependencies,
                ..pointer
            }),
            _ => {
                let auths = has.iter().filter(|m| matches!(m.args, SpacesArgs::Auth(_)));
                let auths: Vec<Hash> = auths.map(|message| message.id).collect();
                SpacesArgs::Membership(Pointer {
                    group,
                    space: S,
                    auth: auths[self.below(auths.len())],
                    directs: vec![],
                    dependencies,
                })
            }
        };
        self.devices[self.hostile].forge(args);
    }

    /// Some of what another one has.
    fn deliver_some(&mut self, to: usize) {
        let from = self.below(self.devices.len());
        let percent = 20 + self.below(81);
        let mut messages = self.devices[from].has.clone();
        messages.retain(|_| self.rng.next_u32() as usize % 100 < percent);
        for at in (1..messages.len()).rev() {
            let other = self.rng.next_u32() as usize % (at + 1);
            messages.swap(at, other);
        }
        self.hand_over(to, messages);
    }

    /// Each after what it names and after what its author signed before.
    fn hand_over(&mut self, to: usize, messages: Vec<Message>) {
        let mut before: BTreeMap<Hash, Hash> = BTreeMap::new();
        for device in &self.devices {
            let own = device
                .has
                .iter()
                .filter(|message| message.author == device.id);
            let own: Vec<Hash> = own.map(|message| message.id).collect();
            before.extend(own.windows(2).map(|pair| (pair[1], pair[0])));
        }
        let device = &mut self.devices[to];
        let mut has: BTreeSet<Hash> = device.has.iter().map(|message| message.id).collect();
        let mut waiting = messages;
        loop {
            let count = waiting.len();
            waiting.retain(|message| {
                let is_next = before.get(&message.id).is_none_or(|id| has.contains(id));
                if has.contains(&message.id) || !is_next {
                    return !has.contains(&message.id);
                }
                use p2panda_spaces::ProcessError::{Group, Missing};
                match device.try_process(message) {
                    Ok(()) => {}
                    Err(Missing(_)) => return true,
                    // It has no effect, and its author's log continues.
                    Err(Group(_)) => device.has.push(message.clone()),
                    Err(error) => panic!("{error}"),
                }
                has.insert(message.id);
                false
            });
            if waiting.len() == count {
                return;
            }
        }
    }

    fn sync_all(&mut self) {
        let all: Vec<Message> = self.devices.iter().flat_map(|d| d.has.clone()).collect();
        for to in 0..self.devices.len() {
            self.hand_over(to, all.clone());
        }
    }

    fn honest(&self) -> Vec<usize> {
        (0..self.devices.len())
            .filter(|at| *at != self.hostile)
            .collect()
    }

    fn readers(&self) -> Vec<usize> {
        let reads = |at: &usize| {
            let device = &self.devices[*at];
            let role = device.members().get(&device.id).copied();
            role.is_some_and(Role::has_secrets)
        };
        self.honest().into_iter().filter(reads).collect()
    }

    fn end(&mut self) {
        self.sync_all();
        for _ in 0..2 {
            for at in self.honest() {
                self.devices[at].heal_if_member();
                self.sync_all();
            }
        }
        self.check_convergence();
        let readers = self.readers();
        for at in &readers {
            assert!(self.devices[*at].is_healthy(), "{at} is not healthy");
        }
        let mut last = Vec::new();
        for at in &readers {
            let role = self.devices[*at].members()[&self.devices[*at].id];
            if role.may_write() {
                last.push(self.devices[*at].publish(&format!("last by {at}")));
            }
        }
        self.sync_all();
        self.check_reading(&last);
    }

    fn check_convergence(&self) {
        let honest = self.honest();
        let first = &self.devices[honest[0]];
        let messages: BTreeSet<Hash> = first.has.iter().map(|message| message.id).collect();
        for at in &honest {
            let has: BTreeSet<Hash> = self.devices[*at].has.iter().map(|m| m.id).collect();
            assert_eq!(has, messages, "messages of {at}");
        }
        for at in &honest {
            let device = &self.devices[*at];
            assert_eq!(device.members(), first.members(), "members of {at}");
            for id in &messages {
                let (own, other) = (device.spaces.verdict(&S, id), first.spaces.verdict(&S, id));
                assert_eq!(own, other, "verdict of {at}");
            }
            for shown in device.shown.keys() {
                let verdict = device.spaces.verdict(&S, shown);
                assert_eq!(verdict, Some(Verdict::Stands), "{at} shows it");
            }
        }
        let readers = self.readers();
        let read = |at: usize| self.devices[at].shown.keys().collect::<BTreeSet<_>>();
        for at in &readers {
            assert_eq!(
                read(*at),
                read(readers[0]),
                "{at} reads as much as {}",
                readers[0]
            );
        }
    }

    fn check_reading(&self, last: &[Hash]) {
        let members = self.devices[self.honest()[0]].members();
        for (at, device) in self.devices.iter().enumerate() {
            let role = members.get(&device.id);
            let may_read = role.is_some_and(|role| role.has_secrets());
            for id in last {
                let reads = device.shown.contains_key(id);
                assert!(may_read || !reads, "{at} reads too much");
                assert!(
                    !may_read || reads || at == self.hostile,
                    "{at} does not read"
                );
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
    set.unwrap_or(default)
}

/// A courier that was made an owner removed a member before the space had heard of its new role.
#[test]
fn a_life_in_which_a_courier_removes_a_member_converges() {
    let mut life = Life::new(15_483);
    for _ in 0..40 {
        life.step();
    }
    life.end();
}

#[test]
fn random_lives_converge_keep_secrets_and_heal() {
    let first = number("FIRST_LIFE", 0);
    let (mut refused, mut withdrawn, mut shown) = (0, 0, 0);
    for seed in first..first + number("LIVES", 1_000) {
        println!("life {seed}");
        let mut life = Life::new(seed);
        for _ in 0..number("STEPS", 40) {
            life.step();
        }
        life.end();
        let device = &life.devices[life.honest()[0]];
        refused += device.refusals();
        shown += device.shown.len();
        let verdict = |message: &&Message| device.spaces.verdict(&S, &message.id);
        let is_withdrawn = |message: &&Message| verdict(message) == Some(Verdict::Withdrawn);
        withdrawn += device.has.iter().filter(is_withdrawn).count();
    }
    // One life says nothing.
    if number("LIVES", 1_000) >= 60 {
        assert!(
            refused > 20 && withdrawn > 10 && shown > 100,
            "{refused} {withdrawn} {shown}"
        );
    }
}
