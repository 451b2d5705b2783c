//! Random lives of a space between our own nodes, with loss, reordering, restarts, couriers and one
//! hostile member: what holds at the end (`docs/protocol/spaces.md#8`).

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, GroupId, Member};
use p2panda_spaces::{Content, Event, Health, Log, Role, Scheme, Settings, Verdict};

use crate::native_world::{Node, Op, deliver, ops};

struct Life {
    rng: ChaCha20Rng,
    nodes: Vec<Node>,
    hostile: usize,
    /// The group of the first two nodes.
    person: GroupId,
    written: u64,
    history: bool,
    scheme: Scheme,
    /// The persons of the nodes, where they link and revoke devices.
    persons: Option<Vec<Option<GroupId>>>,
    revoked: usize,
    /// Where the hostile member lists keys of others as devices of its person.
    claims: Option<Claims>,
    /// A team in the space, where there is one.
    team: Option<GroupId>,
    team_changes: usize,
    /// Keys that had secrets at some time.
    came: BTreeSet<VerifyingKey>,
    /// What was known where a key was given secrets for the first time.
    before: BTreeMap<VerifyingKey, BTreeSet<Hash>>,
}

#[derive(Default)]
struct Claims {
    count: usize,
    /// Since the first claim, a device of the hostile member's person owned the space.
    owned: bool,
}

impl Life {
    fn new(seed: u64) -> Life {
        Life::of(seed, Scheme::Data)
    }

    fn of(seed: u64, scheme: Scheme) -> Life {
        let mut rng = ChaCha20Rng::from_seed(*Hash::digest(&seed.to_le_bytes()).as_bytes());
        let count = 3 + rng.next_u32() as usize % 4;
        let mut nodes: Vec<Node> = (1..=count as u8).map(Node::new).collect();
        nodes.iter_mut().for_each(Node::announce);
        let hostile = 1 + rng.next_u32() as usize % (count - 1);
        let history = !rng.next_u32().is_multiple_of(4) && scheme == Scheme::Data;
        let mut life = Life {
            rng,
            nodes,
            hostile,
            person: Node::new(99).id.into(),
            written: 0,
            history,
            scheme,
            persons: None,
            revoked: 0,
            claims: None,
            team: None,
            team_changes: 0,
            came: BTreeSet::new(),
            before: BTreeMap::new(),
        };
        life.sync_all();
        life.begin();
        life.note_came(None);
        life.sync_all();
        life
    }

    fn begin(&mut self) {
        let owners = [
            (self.nodes[0].member(), Role::Owner),
            (self.nodes[1].member(), Role::Editor),
        ];
        let made = self.nodes[0].try_act(|spaces, desk| spaces.create_group(&owners, desk));
        self.person = made.unwrap().0;
        let mut members = vec![(Member::Group(self.person), Role::Editor)];
        for at in 1..self.nodes.len() {
            let role = Role::ALL[self.below(4)];
            if self.chance(70) {
                members.push((self.nodes[at].member(), role));
            }
        }
        let settings = match (self.scheme, self.history) {
            (Scheme::Message, _) => Settings::with_a_key_per_message(),
            (_, true) => Settings::with_history(),
            (_, false) => Settings::from_joining_on(),
        };
        let space = self.nodes[0].create(settings, &members);
        // As an invite would say.
        for node in &mut self.nodes {
            node.space = Some(space);
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn step(&mut self) {
        let at = self.below(self.nodes.len());
        let mut known = Some(self.known(at));
        match self.below(20) {
            0..6 => self.write(at),
            6 | 7 => self.change(at),
            8 if self.persons.is_none() => self.change_person(at),
            8 | 13 if self.persons.is_some() => self.change_devices(at),
            9 => {
                let _ = self.nodes[at].try_do(|spaces, s, desk| spaces.heal(s, desk));
            }
            10 => self.nodes[at].restart(),
            11 => self.forge(),
            14 | 15 if self.team.is_some() => self.change_team(at),
            16 if self.team.is_some() && self.chance(30) => self.use_team(at),
            17 if self.claims.is_some() => self.claim(),
            12 => self.ask(at),
            _ => {
                known = None;
                self.deliver_some(at);
            }
        }
        self.note_owners();
        self.note_came(known.map(|known| (at, known)));
    }

    /// The content that a node has processed.
    fn known(&self, at: usize) -> BTreeSet<Hash> {
        let node = &self.nodes[at];
        let content = node.topic.ops.values().filter(|op| op.log == Log::Content);
        let known = content.filter(|op| node.done.contains(&op.id));
        known.map(|op| op.id).collect()
    }

    /// Notes who has secrets for the first time, and what its adder knew if somebody did that just now.
    fn note_came(&mut self, adder: Option<(usize, BTreeSet<Hash>)>) {
        for (at, node) in self.nodes.iter().enumerate() {
            let readers = node.members().into_iter();
            let readers = readers.filter(|(_, role)| role.has_secrets());
            for (key, _) in readers {
                if self.came.insert(key)
                    && let Some((_, known)) = adder.as_ref().filter(|(adder, _)| *adder == at)
                {
                    self.before.insert(key, known.clone());
                }
            }
        }
    }

    fn write(&mut self, at: usize) {
        self.written += 1;
        let text = format!("{} by {at}", self.written);
        if self.nodes[at].try_publish(&text).is_err() {
            let _ = self.nodes[at].try_do(|spaces, s, desk| spaces.heal(s, desk));
            let _ = self.nodes[at].try_publish(&text);
        }
    }

    fn change(&mut self, at: usize) {
        let other = self.below(self.nodes.len());
        let member = self.nodes[other].member();
        let role = Role::ALL[self.below(4)];
        let what = self.below(4);
        let _ = self.nodes[at].try_do(|spaces, s, desk| match what {
            0 => spaces.remove(s, member, desk),
            1 => spaces.set_role(s, member, role, desk),
            _ => spaces.add(s, member, role, desk),
        });
    }

    fn change_person(&mut self, at: usize) {
        let other = self.below(self.nodes.len());
        let member = self.nodes[other].member();
        let access = Access::ALL[self.below(4)];
        let action = match self.below(2) {
            0 => Action::Add { member, access },
            _ => Action::Remove { member },
        };
        let person = self.person;
        let _ = self.nodes[at].try_do(|spaces, _, desk| spaces.change_group(person, action, desk));
    }

    /// A person links one of the nodes, or revokes it.
    fn change_devices(&mut self, at: usize) {
        let other = self.below(self.nodes.len());
        let Some(persons) = &mut self.persons else {
            return;
        };
        let device = self.nodes[other].id;
        let person = *persons[at].get_or_insert_with(|| self.nodes[at].person());
        let links = !self.nodes[at].spaces.devices(&person).contains(&device);
        let done = match links {
            true if persons[other].is_none() => self.nodes[at].try_link(person, device),
            true => return,
            false => self.nodes[at].try_revoke(person, device),
        };
        if done.is_ok() && links {
            persons[other] = Some(person);
            let card = self.nodes[at].spaces.card(person).unwrap();
            self.nodes[other].spaces.take_card(&card).unwrap();
        }
        self.revoked += usize::from(done.is_ok() && !links);
        if done.is_ok() && self.team.is_some() {
            let _ = self.nodes[at].try_act(|spaces, desk| spaces.tend_own_teams(person, desk));
        }
        // As the list of what is to be done would, later and again.
        if self.chance(80) {
            self.follow(at);
        }
    }

    /// The hostile member lists the key of somebody else as a device of its person.
    fn claim(&mut self) {
        let (hostile, other) = (self.hostile, self.below(self.nodes.len()));
        let member = self.nodes[other].member();
        let (Some(persons), Some(claims)) = (&mut self.persons, &mut self.claims) else {
            return;
        };
        let node = &mut self.nodes[hostile];
        let person = *persons[hostile].get_or_insert_with(|| node.person());
        if persons[other] == Some(person) {
            return;
        }
        let access = Access::Manage;
        let add = Action::Add { member, access };
        let done = node.try_act(|spaces, desk| spaces.change_group(person, add, desk));
        claims.count += usize::from(done.is_ok());
        self.follow(hostile);
    }

    /// An owner can vouch for a key that its person lists, by making it a direct member.
    fn note_owners(&mut self) {
        let (Some(persons), Some(claims)) = (&self.persons, &mut self.claims) else {
            return;
        };
        let person = persons[self.hostile];
        if person.is_some() && claims.count > 0 {
            let devices = (0..self.nodes.len()).filter(|at| persons[*at] == person);
            let mut devices = devices.map(|at| &self.nodes[at]);
            claims.owned |= devices.any(|node| node.members().get(&node.id) == Some(&Role::Owner));
        }
    }

    /// Nobody is a device of the hostile member's person by its claim alone. Returns `true` if that
    /// could be checked.
    fn check_claims(&self) -> bool {
        let (Some(persons), Some(claims)) = (&self.persons, &self.claims) else {
            return false;
        };
        let person = persons[self.hostile];
        if person.is_none() || claims.count == 0 || claims.owned {
            return false;
        }
        let is_other = |at: &usize| persons[*at] != person;
        for reader in self.readers().into_iter().filter(is_other) {
            let node = &self.nodes[reader];
            for other in (0..self.nodes.len()).filter(is_other) {
                let of = node.spaces.person_of(&node.s(), &self.nodes[other].id);
                assert_ne!(of, person, "{other} as {reader} sees it");
            }
        }
        true
    }

    /// A team of the first two nodes and some of the others.
    fn begin_team(&mut self) {
        let team = self.nodes[0].team();
        self.team = Some(team);
        for at in 1..self.nodes.len() {
            let role = if at == 1 {
                Role::Owner
            } else {
                Role::ALL[self.below(4)]
            };
            if at == 1 || self.chance(50) {
                let member = self.nodes[at].member();
                self.nodes[0].change_team(team, member, Some(role)).unwrap();
            }
        }
        self.nodes[0].use_team(team, Role::Editor).unwrap();
        self.note_came(None);
        self.sync_all();
    }

    /// Somebody changes the team, and the space follows as the list of what is to be done would.
    fn change_team(&mut self, at: usize) {
        let other = self.below(self.nodes.len());
        let role = Role::ALL[self.below(4)];
        let (goes, key) = (self.chance(40), self.nodes[other].id);
        let Some(team) = self.team else {
            return;
        };
        let spaces = &self.nodes[at].spaces;
        let (member, role) = match goes {
            true => (spaces.member_of_team(&team, &key), None),
            false => {
                let person = spaces.person_known(&key).map(Member::Group);
                (person.unwrap_or(Member::Individual(key)), Some(role))
            }
        };
        let done = self.nodes[at].change_team(team, member, role);
        self.team_changes += usize::from(done.is_ok());
        if self.chance(80) {
            self.follow(at);
        }
    }

    fn use_team(&mut self, at: usize) {
        let (ends, role) = (self.chance(50), Role::ALL[self.below(4)]);
        let Some(team) = self.team else {
            return;
        };
        let _ = self.nodes[at].try_do(|spaces, s, desk| match ends {
            true => spaces.remove_team(s, team, desk),
            false => spaces.add_team(s, team, role, desk),
        });
    }

    fn follow(&mut self, at: usize) {
        if let Some(team) = self.team {
            let name = Some("crew");
            let _ =
                self.nodes[at].try_do(|spaces, s, desk| spaces.follow_team(s, team, name, desk));
        }
        let person = self.persons.as_ref().and_then(|persons| persons[at]);
        if let Some(person) = person {
            let _ = self.nodes[at].try_do(|spaces, s, desk| spaces.follow_person(s, person, desk));
        }
    }

    /// Somebody who lacks a structure key says so.
    fn ask(&mut self, at: usize) {
        if !self.nodes[at].locked.is_empty() || self.chance(10) {
            let _ = self.nodes[at].try_do(|spaces, s, desk| spaces.ask(s, desk));
        }
    }

    /// The hostile member signs what others sealed, and garbage, with any past.
    fn forge(&mut self) {
        let hostile = self.hostile;
        let has = ops(&self.nodes[hostile]);
        let stolen = has[self.below(has.len())].clone();
        let done: Vec<Hash> = has
            .iter()
            .filter(|op| op.log == Log::Control && self.nodes[hostile].done.contains(&op.id))
            .map(|op| op.id)
            .collect();
        let own = self.nodes[hostile].spaces.ids().next();
        let in_space = |id: &&Hash| {
            let members = own.and_then(|s| self.nodes[hostile].spaces.members_at(&s, id));
            members.is_some()
        };
        let named: Vec<Hash> = done.iter().filter(in_space).copied().collect();
        if named.is_empty() {
            return;
        }
        let count = 1 + self.below(2);
        let dependencies: BTreeSet<Hash> =
            (0..count).map(|_| named[self.below(named.len())]).collect();
        let mut body = stolen.body;
        if self.chance(30) {
            let at = self.below(body.len());
            body[at] ^= 1;
        }
        let dependencies = dependencies.into_iter().collect();
        self.nodes[hostile].forge(stolen.log, dependencies, body);
        self.nodes[hostile].pump();
    }

    /// Some of what another one has.
    fn deliver_some(&mut self, to: usize) {
        let from = self.below(self.nodes.len());
        let percent = 20 + self.below(81);
        let mut has = ops(&self.nodes[from]);
        has.retain(|_| self.rng.next_u32() as usize % 100 < percent);
        for at in (1..has.len()).rev() {
            let other = self.rng.next_u32() as usize % (at + 1);
            has.swap(at, other);
        }
        deliver_all(&mut self.nodes[to], has);
    }

    fn sync_all(&mut self) {
        let all: Vec<Op> = self.nodes.iter().flat_map(ops).collect();
        for node in &mut self.nodes {
            deliver(node, &all);
        }
        self.note_owners();
    }

    fn honest(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|at| *at != self.hostile)
            .collect()
    }

    /// One that knows as much as anybody: who was removed is not told of everything.
    fn reference(&self) -> &Node {
        let honest = self.honest().into_iter().map(|at| &self.nodes[at]);
        honest.max_by_key(|node| node.done.len()).unwrap()
    }

    fn readers(&self) -> Vec<usize> {
        let members = self.reference().members();
        let reads = |at: &usize| {
            let node = &self.nodes[*at];
            let role = members.get(&node.id).copied();
            role.is_some_and(Role::has_secrets)
        };
        self.honest().into_iter().filter(reads).collect()
    }

    fn end(&mut self) {
        self.sync_all();
        // Persons that introduce themselves are admitted, and devices that join by that heal, too.
        let rounds = match (&self.persons, self.scheme) {
            (Some(_), _) if self.team.is_some() => 8,
            (Some(_), _) => 6,
            // A member that could not open a root begins an epoch in the round after that.
            (None, Scheme::Message) => 3,
            (None, _) => 2,
        };
        for _ in 0..rounds {
            for at in self.honest() {
                if !self.nodes[at].members().is_empty() {
                    let known = self.known(at);
                    self.follow(at);
                    self.nodes[at].heal();
                    self.note_came(Some((at, known)));
                }
                self.sync_all();
                self.note_came(None);
            }
        }
        let readers = self.readers();
        for at in &readers {
            assert!(!self.is_locked(*at), "{at} lacks structure");
            let hostile = self.nodes[self.hostile].id;
            let health = self.nodes[*at].health();
            let is_good = health.as_ref().is_none_or(Health::is_good);
            assert!(
                is_good,
                "{at} is not healthy: {health:?}, hostile {hostile}"
            );
        }
        self.check_convergence();
        let mut last = Vec::new();
        for at in &readers {
            let role = self.nodes[*at].members().get(&self.nodes[*at].id).copied();
            if role.is_some_and(Role::may_write) {
                last.push(self.nodes[*at].publish(&format!("last by {at}")));
            }
        }
        self.sync_all();
        self.check_reading(&last);
    }

    /// Returns `true` if something of an honest member does not open.
    fn is_locked(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let hostile = self.nodes[self.hostile].id;
        let mut locked = node.locked.iter().map(|id| &node.topic.ops[id]);
        locked.any(|op| op.author != hostile)
    }

    fn check_convergence(&self) {
        let readers = self.readers();
        let Some(first) = readers.first().map(|at| &self.nodes[*at]) else {
            return;
        };
        for at in &readers {
            let node = &self.nodes[*at];
            assert_eq!(node.members(), first.members(), "members of {at}");
            for op in node.topic.ops.values().filter(|op| op.log == Log::Content) {
                let (own, other) = (node.verdict(&op.id), first.verdict(&op.id));
                assert_eq!(own, other, "verdict of {at}");
                let shown = node.shown.contains_key(&op.id);
                assert!(!shown || own == Some(Verdict::Stands), "{at} shows it");
            }
            if self.history {
                let shown = |node: &Node| node.shown.keys().copied().collect::<BTreeSet<_>>();
                assert_eq!(shown(node), shown(first), "what {at} reads");
            }
        }
    }

    /// Without history nobody has read what was known where it was added for the first time.
    fn check_newcomers(&self) {
        for node in self.nodes.iter().filter(|_| !self.history) {
            let before = self.before.get(&node.id).into_iter().flatten();
            for id in before {
                let read = node.kept.get(id);
                assert_eq!(read, None, "a newcomer reads what was before");
            }
        }
    }

    fn check_reading(&self, last: &[Hash]) {
        self.check_newcomers();
        let members = self.reference().members();
        for (at, node) in self.nodes.iter().enumerate() {
            let role = members.get(&node.id);
            let may_read = role.is_some_and(|role| role.has_secrets());
            for id in last {
                let reads = node.shown.contains_key(id);
                assert!(may_read || !reads, "{at} reads too much");
                assert!(
                    !may_read || reads || at == self.hostile,
                    "{at} does not read"
                );
            }
        }
    }
}

/// Again and again, until no log goes on.
fn deliver_all(node: &mut Node, mut has: Vec<Op>) {
    loop {
        let before = has.len();
        has.retain(|op| !node.arrive(op));
        if has.len() == before {
            break;
        }
    }
    node.pump();
}

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
    set.unwrap_or(default)
}

/// Number of lives unless `LIVES` says otherwise.
const LIVES: u64 = 1_000;

fn live(seed: u64, steps: u64) -> Life {
    live_as(Life::new(seed), steps)
}

fn live_as(mut life: Life, steps: u64) -> Life {
    for _ in 0..steps {
        life.step();
    }
    life.end();
    life
}

/// A courier that left was out for itself alone, and a reader for all others later.
#[test]
fn a_life_in_which_members_disagreed_once_converges() {
    for steps in [184, 200, 300] {
        live(9_084, steps);
    }
}

#[test]
fn random_native_lives_converge_keep_secrets_and_heal() {
    let first = number("FIRST_LIFE", 0);
    let (mut refused, mut withdrawn, mut shown, mut ranges) = (0, 0, 0, 0);
    for seed in first..first + number("LIVES", LIVES) {
        println!("life {seed}");
        let life = live(seed, number("STEPS", 40));
        for at in life.honest() {
            let node = &life.nodes[at];
            let count = |is: fn(&Event) -> bool| node.events.iter().filter(|e| is(e)).count();
            refused += count(|e| matches!(e, Event::Refused { .. })) + node.refused.len();
            ranges += count(|e| matches!(e, Event::Range { .. }));
            shown += node.shown.len();
            let content = node.topic.ops.values().filter(|op| op.log == Log::Content);
            let is_withdrawn = |op: &&Op| node.verdict(&op.id) == Some(Verdict::Withdrawn);
            withdrawn += content.filter(is_withdrawn).count();
        }
    }
    // One life says nothing.
    if number("LIVES", LIVES) >= 100 {
        assert!(
            refused > 50 && withdrawn > 20 && shown > 1_000 && ranges > 10,
            "{refused} {withdrawn} {shown} {ranges}"
        );
    }
}

/// The same with a key for each message: what is kept is shown, and nothing opens twice.
#[test]
fn random_lives_with_a_key_per_message_converge_and_heal() {
    let first = number("FIRST_LIFE", 0);
    let (mut shown, mut gone) = (0, 0);
    for seed in first..first + number("LIVES", LIVES / 20) {
        println!("life {seed}");
        let mut life = Life::of(seed, Scheme::Message);
        if seed % 3 == 0 {
            life.persons = Some(vec![None; life.nodes.len()]);
        }
        let mut life = live_as(life, number("STEPS", 40));
        for at in life.honest() {
            let node = &mut life.nodes[at];
            let Some(space) = node.space else { continue };
            (shown, gone) = (shown + node.shown.len(), gone + node.gone.len());
            for id in node.kept.keys().copied().collect::<Vec<_>>() {
                let op = node.topic.ops[&id].clone();
                let again = node
                    .spaces
                    .open_message(&space, &op.author, op.seq, &op.body);
                let is_open = matches!(again, Ok(Content::Opened { .. }));
                assert!(!is_open, "{at} opens {id} again");
            }
        }
    }
    if number("LIVES", LIVES) >= 100 {
        assert!(shown > 200 && gone > 5, "{shown} {gone}");
    }
}

/// Nodes link each other as devices and revoke each other, at random times.
#[test]
fn random_lives_of_persons_converge_keep_secrets_and_heal() {
    let first = number("FIRST_LIFE", 0);
    let (mut linked, mut revoked) = (0, 0);
    for seed in first..first + number("LIVES", LIVES / 4) {
        println!("life {seed}");
        let mut life = Life::new(seed);
        life.persons = Some(vec![None; life.nodes.len()]);
        let life = live_as(life, number("STEPS", 60));
        let reference = life.reference();
        let persons = reference.spaces.persons(&reference.s());
        let several = persons.iter().filter(|person| person.devices.len() > 1);
        linked += several.filter(|person| person.person.is_some()).count();
        revoked += life.revoked;
    }
    if number("LIVES", LIVES) >= 100 {
        assert!(linked > 20 && revoked > 5, "{linked} {revoked}");
    }
}

/// An owner added its own person again and again, which lists a key that was removed from the space.
#[test]
fn a_life_in_which_an_owner_has_a_person_that_is_out_converges() {
    let mut life = Life::new(12_739);
    life.persons = Some(vec![None; life.nodes.len()]);
    life.claims = Some(Claims::default());
    live_as(life, 60);
}

/// The hostile member lists keys of others as devices of its person, and revokes some of them
/// (`docs/protocol/spaces.md#18`, 18.17).
#[test]
fn random_lives_in_which_keys_of_others_are_listed_converge() {
    let first = number("FIRST_LIFE", 0);
    let (mut listed, mut checked) = (0, 0);
    for seed in first..first + number("LIVES", LIVES / 5) {
        println!("life {seed}");
        let mut life = Life::new(seed);
        life.persons = Some(vec![None; life.nodes.len()]);
        life.claims = Some(Claims::default());
        let life = live_as(life, number("STEPS", 60));
        checked += usize::from(life.check_claims());
        listed += life.claims.map_or(0, |claims| claims.count);
    }
    if number("LIVES", LIVES) >= 100 {
        assert!(listed > 100 && checked > 20, "{listed} {checked}");
    }
}

/// A life with a team, in which every second one has persons whose devices change.
fn with_team(seed: u64) -> Life {
    let mut life = Life::new(seed);
    if seed.is_multiple_of(2) {
        life.persons = Some(vec![None; life.nodes.len()]);
    }
    life.begin_team();
    life
}

/// While it healed, a manager gave its own person the lower role of a device that was linked, or changed
/// a verdict twice.
#[test]
fn lives_in_which_a_manager_is_demoted_while_healing_converge() {
    for seed in [250, 660, 708] {
        live_as(with_team(seed), 60);
    }
}

/// A team in the space is changed, used and ended at random times, also by persons whose devices change.
#[test]
fn random_lives_with_a_team_converge_keep_secrets_and_heal() {
    let first = number("FIRST_LIFE", 0);
    let (mut changes, mut by_team, mut revoked) = (0, 0, 0);
    for seed in first..first + number("LIVES", LIVES / 10) {
        println!("life {seed}");
        let life = live_as(with_team(seed), number("STEPS", 60));
        let reference = life.reference();
        let persons = reference.spaces.persons(&reference.s());
        by_team += persons
            .iter()
            .filter(|person| !person.teams.is_empty())
            .count();
        changes += life.team_changes;
        revoked += life.revoked;
    }
    if number("LIVES", LIVES) >= 100 {
        assert!(
            changes > 100 && by_team > 50 && revoked > 2,
            "{changes} {by_team} {revoked}"
        );
    }
}
