//! Spaces when things go wrong: kills, owners against each other, a hostile member, keys that age.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use p2panda_core::log::Head;
use p2panda_core::{
    Dependency, Draft, Hash, LogName, NodeExtensions, Operation, SigningKey, Timestamp,
    VerifyingKey,
};
use p2panda_engine::{
    Command, EngineEvent, Incoming, PublishError, Role, Source, SpaceChange, SpaceNews,
};
use p2panda_store::{RejectReason, TopicStatus};

use crate::spaces::{Peer, SECOND_US, TOPIC, change, create, exchange};

const CHILD: &str = "space_lives::child_that_adds_and_removes_until_it_is_killed";
const CHILD_DIR: &str = "P2PANDA_ENGINE_SPACE_DIR";

impl Peer {
    fn change(&mut self, deed: SpaceChange) {
        self.ask(change(deed)).unwrap();
    }

    fn role_of(&mut self, who: &VerifyingKey) -> Option<Role> {
        let members = self.members().into_iter();
        let mut roles = members.filter(|(member, _)| member == who);
        roles.next().map(|(_, role)| role)
    }

    fn takes(&mut self, operations: Vec<Operation>) {
        self.process(Command::Ingest {
            topic: TOPIC,
            source: Source::Import { id: 0 },
            operations: operations.into_iter().map(Incoming::Valid).collect(),
            reply: None,
        });
    }

    /// Returns the shown content, no matter what came first.
    fn shown_sorted(&self) -> Vec<String> {
        let mut shown = self.shown();
        shown.sort_unstable();
        shown
    }
}

/// An owner and a member to be, in directories that outlast processes.
fn two(dir: &Path) -> [Peer; 2] {
    ["owner", "member"].map(|name| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Peer::at(&dir)
    })
}

/// The process that the next test kills. Run as a test of its own, it does nothing.
#[test]
fn child_that_adds_and_removes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let [mut owner, mut member] = two(dir.as_ref());
    for round in 0..1_000_000 {
        println!("\nround {round}");
        match owner.role_of(&member.id()) {
            None => owner.change(SpaceChange::Add(member.id(), Role::Editor)),
            Some(_) if round % 3 == 0 => owner.change(SpaceChange::Rotate),
            Some(_) => owner.change(SpaceChange::Remove(member.id())),
        }
        owner.publish("of the owner").unwrap();
        // The welcome, or that it is out.
        member.hear(&owner);
        member.wait();
        match member.publish("of the member") {
            Ok(()) | Err(PublishError::Sealed) => {}
            Err(error) => panic!("{error}"),
        }
        owner.hear(&member);
        owner.wait();
    }
}

#[test]
fn a_space_goes_on_after_kills_at_a_hundred_points() {
    let temp = tempfile::tempdir().unwrap();
    let [mut owner, mut member] = two(temp.path());
    owner.ask(create()).unwrap();
    member.follow();
    owner.hear(&member);
    drop((owner, member));
    for kill in 0..100 {
        kill_child((CHILD, CHILD_DIR), temp.path(), kill, 43);
        let [mut owner, mut member] = two(temp.path());
        exchange(&mut [&mut owner, &mut member]);
        let members = owner.members();
        assert!(owner.look().unwrap().is_healed(), "kill {kill}");
        assert_eq!(owner.role_of(&owner.id()), Some(Role::Owner));
        owner.publish("goes on").unwrap();
        exchange(&mut [&mut owner, &mut member]);
        if members.len() == 2 {
            assert_eq!(member.members(), members, "kill {kill}");
            assert_eq!(member.shown_sorted(), owner.shown_sorted(), "kill {kill}");
            member.publish("goes on").unwrap();
        }
    }
}

/// Runs a test of this binary in a process and kills it somewhere in its work: after a line, and some
/// turns of a loop, at most 2 to the power of `64 - shift`.
pub(crate) fn kill_child((test, variable): (&str, &str), dir: &Path, kill: u64, shift: u32) {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let rounds = lines.map_while(Result::ok);
    let mut rounds = rounds.filter(|line| line.starts_with("round "));
    for _ in 0..=kill % 3 {
        rounds.next().unwrap();
    }
    // A multiplier of a linear congruential generator spreads the points.
    let turns = kill.wrapping_mul(6_364_136_223_846_793_005) >> shift;
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A space of the first one, with the others as owners.
fn owners<const N: usize>() -> [Peer; N] {
    let mut peers: [Peer; N] = std::array::from_fn(|at| Peer::new(at as u8 + 1));
    let (first, others) = peers.split_first_mut().unwrap();
    first.ask(create()).unwrap();
    for other in others.iter_mut() {
        other.follow();
        first.hear(other);
        first.change(SpaceChange::Add(other.id(), Role::Owner));
    }
    exchange(&mut peers.iter_mut().collect::<Vec<_>>());
    peers
}

#[test]
fn after_concurrent_removals_only_the_others_read_on() {
    let [mut a, mut b, mut c, mut d] = owners();
    a.change(SpaceChange::Remove(c.id()));
    b.change(SpaceChange::Remove(d.id()));
    exchange(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert_eq!(a.members(), b.members());
    assert_eq!(a.members().len(), 2);
    a.publish("of a").unwrap();
    b.publish("of b").unwrap();
    exchange(&mut [&mut a, &mut b, &mut c, &mut d]);
    for peer in [&a, &b] {
        assert_eq!(peer.shown_sorted(), ["of a", "of b"]);
    }
    for peer in [&mut c, &mut d] {
        assert!(peer.shown().is_empty());
        assert!(peer.publish("still").is_err());
    }
}

#[test]
fn what_a_removed_owner_overturns_is_an_event() {
    let [mut a, mut b, mut c] = owners();
    let dave = SigningKey::from_bytes(&[80; 32]).verifying_key();
    let (id_a, id_b) = (a.id(), b.id());
    a.change(SpaceChange::Remove(id_b));
    a.change(SpaceChange::Add(dave, Role::Reader));
    // It has not heard of that, or does as if it had not.
    b.change(SpaceChange::Remove(id_a));
    c.hear(&a);
    assert_eq!(c.role_of(&dave), Some(Role::Reader));
    let ingest = Command::Ingest {
        topic: TOPIC,
        source: Source::Import { id: 0 },
        operations: b.operations().into_iter().map(Incoming::Valid).collect(),
        reply: None,
    };
    let now = c.now;
    let told = c.engine().process(vec![ingest], now).unwrap().events;
    let is_it = |event: &EngineEvent| {
        let EngineEvent::Space { news, .. } = event else {
            return false;
        };
        matches!(news, SpaceNews::Overturned { count, .. } if *count > 0)
    };
    assert!(told.iter().any(is_it), "{told:?}");
    assert_eq!(c.role_of(&dave), None);
    assert_eq!(c.members(), [(c.id(), Role::Owner)]);
}

#[test]
fn two_owners_who_remove_each_other_are_both_out() {
    let [mut a, mut b, mut c] = owners();
    let (id_a, id_b) = (a.id(), b.id());
    a.change(SpaceChange::Remove(id_b));
    b.change(SpaceChange::Remove(id_a));
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.members(), [(c.id(), Role::Owner)]);
    c.publish("alone").unwrap();
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.shown(), ["alone"]);
    for peer in [&mut a, &mut b] {
        assert!(peer.shown().is_empty());
        assert!(peer.publish("still").is_err());
    }
}

/// A stolen phone acts as the owner that it was.
#[test]
fn an_owner_that_removes_the_others_first_is_left_alone() {
    let [mut stolen, mut a, mut b] = owners();
    let (id, of_a, of_b) = (stolen.id(), a.id(), b.id());
    stolen.change(SpaceChange::RemoveAll(vec![of_a, of_b]));
    exchange(&mut [&mut stolen, &mut a, &mut b]);
    for peer in [&mut a, &mut b] {
        assert!(peer.publish("too late").is_err());
        assert!(peer.ask(change(SpaceChange::Remove(id))).is_err());
        assert!(
            peer.ask(change(SpaceChange::Add(of_a, Role::Owner)))
                .is_err()
        );
    }
    stolen.publish("alone").unwrap();
    exchange(&mut [&mut stolen, &mut a, &mut b]);
    assert_eq!(stolen.members(), [(id, Role::Owner)]);
    assert_eq!(stolen.shown(), ["alone"]);
    assert!(a.shown().is_empty() && b.shown().is_empty());
}

#[test]
fn a_hostile_member_stops_nobody_and_speaks_for_nobody() {
    let [mut a, mut b, mut c] = owners();
    // It continues where its logs end, with its own key and what others had signed.
    let mut control = hostile(&c, "control");
    let mut content = hostile(&c, "content");
    a.publish("said by a").unwrap();
    exchange(&mut [&mut a, &mut b]);
    let of_others = a.operations().into_iter();
    let of_others: Vec<Operation> = of_others
        .filter(|op| op.header.author() != c.id())
        .collect();
    let mut forged = Vec::new();
    for (at, operation) in of_others.iter().enumerate() {
        let body = operation.body.clone().unwrap();
        let deps: Vec<Dependency> = operation.header.node_extensions().unwrap().deps;
        forged.push(control.signs(&body, deps.clone()));
        forged.push(content.signs(&body, deps));
        // Garbage, with the beginning of each kind of body.
        for kind in 0..5 {
            let garbage = [&[0x84, 1, kind][..], &body[body.len() / 2..], &[at as u8]].concat();
            forged.push(control.signs(&garbage, Vec::new()));
            forged.push(content.signs(&garbage, Vec::new()));
        }
    }
    let count = forged.len();
    a.takes(forged);
    let before = a.members();
    assert_eq!(before.len(), 3, "nothing of it changes members");
    a.publish("goes on").unwrap();
    exchange(&mut [&mut a, &mut b]);
    assert!(count > 50);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.shown(), ["said by a", "goes on"]);
        assert_eq!(peer.members(), before);
    }
    // Nor does it stop its own removal.
    a.change(SpaceChange::Remove(c.id()));
    b.hear(&a);
    b.publish("without it").unwrap();
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(a.shown(), ["said by a", "goes on", "without it"]);
    c.hear(&a);
    c.wait();
    assert!(!c.shown().contains(&"without it".to_owned()));
}

/// Signs with the key of a member, behind the end of its log.
struct Hostile {
    key: SigningKey,
    name: LogName,
    head: Option<Head>,
}

impl Hostile {
    fn signs(&mut self, body: &[u8], deps: Vec<Dependency>) -> Operation {
        let log_id = TOPIC.named_log_id(&self.name);
        let extensions = NodeExtensions {
            deps,
            name: Some(self.name),
            ..NodeExtensions::new(log_id, Timestamp::from_micros(1))
        };
        let draft = Draft {
            seq: self.head.map_or(0, |head| head.seq + 1),
            backlink: self.head.map(|head| head.id),
            body: Some(body),
            extensions: Some(&extensions.encode()),
        };
        let operation = Operation::create(&self.key, draft).unwrap();
        self.head = Some(Head::of(&operation.header));
        operation
    }
}

fn hostile(member: &Peer, log: &str) -> Hostile {
    let name = LogName::of(log).unwrap();
    let operations = member.operations().into_iter();
    let own = operations.filter(|operation| {
        let extensions = operation.header.node_extensions().unwrap();
        operation.header.author() == member.id() && extensions.name == Some(name)
    });
    let last = own.max_by_key(|operation| operation.header.seq());
    Hostile {
        key: member.signing_key(),
        name,
        head: last.map(|last| Head::of(&last.header)),
    }
}

fn status(peer: &Peer) -> TopicStatus {
    let reader = peer.engine.as_ref().unwrap().readers().open().unwrap();
    reader.status(&TOPIC).unwrap()
}

/// A topic has more logs than the two that carry its space. Anyone who knows it can write there.
#[test]
fn what_is_said_outside_of_a_space_is_shown_to_nobody() {
    let [mut a, mut b, c] = owners();
    a.publish("for members").unwrap();
    // By a member in a log of another name, after something that nobody has.
    let lost = Dependency {
        author: c.id(),
        log: None,
        seq: 9,
        id: Hash::digest(b"lost"),
    };
    a.takes(vec![hostile(&c, "other").signs(b"in clear", vec![lost])]);
    // By somebody who only knows the topic, in its first log.
    let mut stranger = Peer::new(9);
    stranger.publish("in clear").unwrap();
    a.hear(&stranger);
    b.hear(&a);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.shown(), ["for members"]);
        let status = status(peer);
        let outside = (RejectReason::NoSpaceMessage, 2);
        assert!(status.rejected.contains(&outside), "{status:?}");
        assert_eq!(status.waiting, 0);
        let mut authors = peer.operations().into_iter().map(|op| op.header.author());
        assert!(authors.any(|author| author == stranger.id()), "it is kept");
        peer.crash();
        assert_eq!(peer.shown(), ["for members"]);
    }
    // It can still be told of the space, and what it said stays outside.
    stranger.follow();
    a.hear(&stranger);
    a.change(SpaceChange::Add(stranger.id(), Role::Editor));
    exchange(&mut [&mut a, &mut b, &mut stranger]);
    assert_eq!(stranger.shown(), ["for members"]);
}

#[test]
fn keys_are_renewed_before_they_end_and_the_new_ones_let_in() {
    const WEEK_US: u64 = 7 * 24 * 60 * 60 * SECOND_US;
    let mut a = Peer::new(1);
    a.ask(create()).unwrap();
    let mut b = Peer::following(2, &mut a);
    a.hear(&b);
    let later = |peer: &mut Peer, weeks: u64| {
        // Each hour it looks; what it did not see is over at once.
        peer.sleeps(weeks * WEEK_US);
        peer.wait();
    };
    let before = b.operations().len();
    later(&mut b, 5);
    assert_eq!(b.operations().len(), before, "they are good for long");
    later(&mut b, 2);
    assert_eq!(b.operations().len(), before + 1);
    // The first ones are over by now at both.
    later(&mut a, 7);
    for peer in [&mut a, &mut b] {
        later(peer, 6);
    }
    exchange(&mut [&mut a, &mut b]);
    a.change(SpaceChange::Add(b.id(), Role::Editor));
    a.publish("with new keys").unwrap();
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(b.shown(), ["with new keys"]);
    b.crash();
    b.publish("after a restart").unwrap();
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(a.shown(), ["with new keys", "after a restart"]);
}

impl Peer {
    fn sleeps(&mut self, us: u64) {
        self.now.elapsed_us += us;
        let wall = self.now.wall.as_micros() + us;
        self.now.wall = Timestamp::from_micros(wall);
    }

    fn signing_key(&self) -> SigningKey {
        let engine = self.engine.as_ref().unwrap();
        engine.signing_key().clone()
    }
}

/// A control message under a key that nobody has.
fn under_a_strange_key() -> Vec<u8> {
    let parts: [&[u8]; 5] = [
        &[0x86, 1, 1, 0x80, 0x50],
        &[7; 16],
        &[0x58, 24],
        &[8; 24],
        &[0x41, 9],
    ];
    parts.concat()
}

#[test]
fn a_long_wait_for_a_members_key_is_reported_hourly() {
    let [mut a, mut b, c] = owners();
    let stranger = Hostile {
        key: SigningKey::from_bytes(&[99; 32]),
        name: LogName::of("control").unwrap(),
        head: None,
    };
    let later = |peer: &mut Peer, seconds: u64| {
        peer.sleeps(seconds * SECOND_US);
        peer.settle();
        peer.operations().len()
    };
    // Of somebody else that means nothing.
    for (mut author, asks) in [(stranger, 0), (hostile(&c, "control"), 1)] {
        a.takes(vec![author.signs(&under_a_strange_key(), Vec::new())]);
        let before = a.operations().len();
        assert_eq!(later(&mut a, 25), before, "it may come soon");
        assert_eq!(later(&mut a, 40), before + asks);
        assert_eq!(later(&mut a, 50 * 60), before + asks);
        assert_eq!(later(&mut a, 15 * 60), before + 2 * asks);
    }
    assert_eq!(a.members(), b.members());
}

#[test]
fn several_members_are_removed_with_one_new_secret() {
    let [mut a, mut b, mut c, mut d] = owners();
    let before = a.operations().len();
    a.change(SpaceChange::RemoveAll(vec![c.id(), d.id()]));
    assert_eq!(a.operations().len(), before + 1);
    a.publish("for two").unwrap();
    exchange(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert_eq!(b.shown(), ["for two"]);
    for peer in [&c, &d] {
        assert!(peer.shown().is_empty());
    }
}
