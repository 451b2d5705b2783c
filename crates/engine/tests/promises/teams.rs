//! Spaces that follow a team over several transactions, also after a crash (`docs/protocol/spaces.md#19`).

use std::collections::BTreeSet;
use std::path::Path;

use p2panda_core::limits::PERSON_STEP_MAX;
use p2panda_core::{SigningKey, Topic, VerifyingKey};
use p2panda_engine::{
    Command, GroupId, Member, Reply, Role, SpaceChange, SpaceCommand, SpaceError, TeamCommand,
    TeamLook,
};

use crate::space_lives::kill_child;
use crate::spaces::{self, Asked, Peer, asked};

const CHILD: &str = "teams::child_that_changes_teams_until_it_is_killed";
const CHILD_DIR: &str = "P2PANDA_ENGINE_TEAM_DIR";

/// Number of times that the process is killed.
const KILLS: u64 = 24;

/// More than follow in two transactions.
const SPACES: usize = 2 * PERSON_STEP_MAX + 2;

fn topics() -> impl Iterator<Item = Topic> {
    (0..SPACES).map(|number| Topic::from_bytes([10 + number as u8; 32]))
}

fn team<T: Send + 'static>(command: impl FnOnce(Reply<T>) -> TeamCommand) -> Asked<T> {
    asked(|reply| Command::Space(SpaceCommand::Team(command(reply))))
}

pub fn list() -> Asked<Vec<TeamLook>> {
    team(|reply| TeamCommand::List { reply })
}

pub fn change(
    id: GroupId,
    member: VerifyingKey,
    role: Option<Role>,
) -> Asked<Result<(), SpaceError>> {
    let (team_id, member) = (id, Member::Individual(member));
    team(|reply| TeamCommand::Change {
        team: team_id,
        member,
        role,
        reply,
    })
}

impl Peer {
    pub fn make_team(&mut self) -> GroupId {
        let made: Result<GroupId, SpaceError> = self.ask(team(|reply| {
            let name = "crew".to_owned();
            TeamCommand::Create { name, reply }
        }));
        made.unwrap()
    }

    fn space_with(&mut self, topic: Topic, id: GroupId) {
        self.create_in(topic);
        self.put_into(topic, id);
    }

    pub fn put_into(&mut self, topic: Topic, id: GroupId) {
        let change = SpaceChange::AddGroup(id, Role::Editor);
        let added: Result<(), SpaceError> = self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Change {
                topic,
                change,
                reply,
            })
        }));
        added.unwrap();
    }

    /// Returns the roles of a member in each space.
    fn roles_of(&mut self, member: VerifyingKey) -> Vec<Option<Role>> {
        let roles = topics().map(|topic| {
            let look = self.look_at(topic);
            assert_eq!(look.teams[0].name.as_deref(), Some("crew"));
            let mut members = look.members.into_iter();
            let of = members.find(|(key, _)| *key == member);
            of.map(|(_, role)| role)
        });
        roles.collect()
    }

    /// One transaction, and nothing that is due after it.
    fn at_once<T>(&mut self, (command, answer): Asked<T>) -> T {
        let now = self.now;
        self.engine().process(vec![command], now).unwrap();
        answer()
    }
}

#[test]
fn each_space_follows_a_team_also_after_a_crash() {
    let mut peer = Peer::new(1);
    let id = peer.make_team();
    topics().for_each(|topic| peer.space_with(topic, id));
    let member = SigningKey::from_bytes(&[90; 32]).verifying_key();
    for (role, expected) in [(Some(Role::Reader), Some(Role::Reader)), (None, None)] {
        peer.at_once(change(id, member, role)).unwrap();
        let look = peer.at_once(list()).remove(0);
        assert_eq!((look.spaces.len(), look.is_manager), (SPACES, true));
        let left = look.pending.len();
        assert!(left > 0 && left < SPACES, "{left} are left");
        peer.crash();
        peer.settle();
        assert_eq!(peer.ask(list()).remove(0).pending, []);
        assert_eq!(peer.roles_of(member), vec![expected; SPACES]);
    }
}

/// Spaces with a team that follow in more than one transaction.
fn topics_of_crew() -> impl Iterator<Item = Topic> {
    topics().take(PERSON_STEP_MAX + 2)
}

/// Alice in a directory, with spaces that a team is in, and a person with two devices in the team.
fn crew_in(dir: &Path) {
    let mut alice = Peer::at(dir);
    alice.ask(spaces::create()).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let add = SpaceChange::Add(bob.id(), Role::Editor);
    alice.ask(spaces::change(add)).unwrap();
    bob.hear(&alice);
    let device = SigningKey::from_bytes(&[91; 32]).verifying_key();
    bob.link(device).unwrap();
    // Bob's device says there of which person it is.
    alice.hear(&bob);
    let crew = alice.make_team();
    topics_of_crew().for_each(|topic| alice.space_with(topic, crew));
    alice
        .ask(change(crew, bob.id(), Some(Role::Reader)))
        .unwrap();
    let look = alice.ask(list()).remove(0);
    let is_group = |member: &Member| matches!(member, Member::Group(_));
    assert!(look.members.iter().any(|(member, _)| is_group(member)));
    assert_eq!(look.devices.len(), 3);
}

/// The process that the next test kills. Run as a test of its own, it does nothing.
#[test]
fn child_that_changes_teams_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let mut peer = Peer::at(dir.as_ref());
    let me = peer.id();
    let others = peer.members().into_iter().map(|(key, _)| key);
    let bob = others.filter(|key| *key != me).min().unwrap();
    for round in 0..1_000_000 {
        println!("\nround {round}");
        let teams = peer.ask(list());
        if round % 3 == 2 {
            let team = peer.make_team();
            let topic = topics_of_crew().nth(teams.len() % PERSON_STEP_MAX);
            peer.put_into(topic.unwrap(), team);
            continue;
        }
        let crew = teams.iter().max_by_key(|team| team.spaces.len()).unwrap();
        let is_in = crew.devices.len() > 1;
        let role = (!is_in).then_some(Role::Reader);
        peer.ask(change(crew.id, bob, role)).unwrap();
    }
}

#[test]
fn every_space_follows_its_teams_after_kills() {
    let temp = tempfile::tempdir().unwrap();
    crew_in(temp.path());
    for kill in 0..KILLS {
        kill_child((CHILD, CHILD_DIR), temp.path(), kill, 41);
        let mut peer = Peer::at(temp.path());
        peer.settle();
        let me = peer.id();
        let teams = peer.ask(list());
        assert!(teams.iter().all(|team| team.pending.is_empty()), "{kill}");
        for topic in topics_of_crew() {
            let look = peer.look_at(topic);
            assert!(look.pending_teams.is_empty() && !look.behind, "{kill}");
            assert_eq!(look.lacking, [], "kill {kill}");
            let there = teams.iter().filter(|team| team.spaces.contains(&topic));
            let devices = there.flat_map(|team| team.devices.iter().map(|(key, _)| *key));
            let expected: BTreeSet<VerifyingKey> = devices.chain([me]).collect();
            let members = look.members.into_iter().map(|(key, _)| key);
            assert!(members.eq(expected), "kill {kill}");
        }
    }
}
