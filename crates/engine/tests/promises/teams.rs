//! Spaces that follow a team over several transactions, also after a crash (`docs/protocol/spaces.md#19`).

use p2panda_core::limits::PERSON_STEP_MAX;
use p2panda_core::{SigningKey, Topic, VerifyingKey};
use p2panda_engine::{
    Command, GroupId, Member, Reply, Role, Settings, SpaceChange, SpaceCommand, SpaceError,
    TeamCommand, TeamLook,
};

use crate::spaces::{Asked, Peer, asked};

/// More than follow in two transactions.
const SPACES: usize = 2 * PERSON_STEP_MAX + 2;

fn topics() -> impl Iterator<Item = Topic> {
    (0..SPACES).map(|number| Topic::from_bytes([10 + number as u8; 32]))
}

fn team<T: Send + 'static>(command: impl FnOnce(Reply<T>) -> TeamCommand) -> Asked<T> {
    asked(|reply| Command::Space(SpaceCommand::Team(command(reply))))
}

fn list() -> Asked<Vec<TeamLook>> {
    team(|reply| TeamCommand::List { reply })
}

fn change(id: GroupId, member: VerifyingKey, role: Option<Role>) -> Asked<Result<(), SpaceError>> {
    let (team_id, member) = (id, Member::Individual(member));
    team(|reply| TeamCommand::Change {
        team: team_id,
        member,
        role,
        reply,
    })
}

impl Peer {
    fn space_with(&mut self, topic: Topic, id: GroupId) {
        let (settings, name) = (Settings::with_history(), None);
        let created: Result<(), SpaceError> = self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Create {
                topic,
                settings,
                name,
                reply,
            })
        }));
        created.unwrap();
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

    /// Who has which role in each space.
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
    let made: Result<GroupId, SpaceError> = peer.ask(team(|reply| {
        let name = "crew".to_owned();
        TeamCommand::Create { name, reply }
    }));
    let id = made.unwrap();
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
