//! A person comes back by its recovery file (`docs/protocol/recovery.md`).

use std::path::Path;
use std::sync::Arc;

use p2panda_core::limits::RECOVERY_REMINDER;
use p2panda_core::{NetworkId, Operation, SigningKey, Timestamp, VerifyingKey};
use p2panda_engine::{
    Command, EngineEvent, Incoming, LocalError, PersonCommand, PersonLook, RecoveryCommand,
    RecoveryContent, Reply, Role, Settings, Source, SpaceChange, SpaceCommand, SpaceError,
};

use crate::space_lives::kill_child;
use crate::spaces::{Asked, Peer, SECOND_US, TOPIC, asked, change, create, exchange};
use crate::teams;

const CHILD: &str = "recovery::child_that_restores_and_exports_until_it_is_killed";
const CHILD_DIR: &str = "P2PANDA_ENGINE_RECOVERY_DIR";
/// Environment variable with the number of kills; a hundred by hand.
const KILLS: &str = "P2PANDA_RECOVERY_KILLS";
const NETWORK: NetworkId = NetworkId::from_bytes([3; 32]);

fn recovery<T: Send + 'static>(command: impl FnOnce(Reply<T>) -> RecoveryCommand) -> Asked<T> {
    asked(|reply| Command::Space(SpaceCommand::Recovery(command(reply))))
}

impl Peer {
    fn my_person(&mut self) -> PersonLook {
        self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Person(PersonCommand::Look { reply }))
        }))
    }

    fn begin(&mut self, key: &SigningKey) -> Vec<VerifyingKey> {
        let key = key.verifying_key();
        let begun = self.ask(recovery(|reply| RecoveryCommand::Begin { key, reply }));
        begun.unwrap()
    }

    fn content(&mut self, key: &SigningKey) -> Vec<u8> {
        let content = self.ask(recovery(|reply| RecoveryCommand::Content {
            key: Box::new(key.clone()),
            network: NETWORK,
            reply,
        }));
        content.unwrap().encode().to_vec()
    }

    fn written(
        &mut self,
        key: &SigningKey,
        earlier: Vec<VerifyingKey>,
        is_last: bool,
    ) -> Result<usize, SpaceError> {
        let key = key.verifying_key();
        self.ask(recovery(|reply| RecoveryCommand::Written {
            key,
            earlier,
            is_last,
            reply,
        }))
    }

    /// Exports a file, as a node writes it.
    pub fn export(&mut self, seed: u8) -> Vec<u8> {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let earlier = self.begin(&key);
        let file = self.content(&key);
        match self.written(&key, earlier, false).unwrap() {
            0 => file,
            _ => {
                let file = self.content(&key);
                self.written(&key, Vec::new(), true).unwrap();
                file
            }
        }
    }

    pub fn restore(&mut self, file: &[u8], revoke_others: bool) -> Result<(), SpaceError> {
        let content = Arc::new(RecoveryContent::decode(file).unwrap());
        self.ask(recovery(|reply| RecoveryCommand::Restore {
            content,
            revoke_others,
            reply,
        }))
    }

    /// Returns `true` if the space of the tests waits for something.
    pub fn waits(&mut self) -> bool {
        let pending = self.my_person().pending;
        pending.iter().any(|(topic, _)| *topic == TOPIC)
    }

    fn role_of_device(&mut self, who: &VerifyingKey) -> Option<Role> {
        let members = self.members().into_iter();
        let mut roles = members.filter(|(member, _)| member == who);
        roles.next().map(|(_, role)| role)
    }

    fn takes_all(&mut self, operations: &[Operation]) {
        let operations = operations.iter().cloned().map(Incoming::Valid);
        self.process(Command::Ingest {
            topic: TOPIC,
            source: Source::Import { id: 0 },
            operations: operations.collect(),
            reply: None,
        });
    }
}

/// An owner with a space that it is alone in.
fn owner(seed: u8) -> Peer {
    let mut peer = Peer::new(seed);
    peer.ask(create()).unwrap();
    peer.publish("before").unwrap();
    peer
}

/// Until a peer has nothing left to do.
fn settled(peer: &mut Peer) {
    for _ in 0..4 {
        peer.wait();
    }
}

#[test]
fn who_lost_everything_reads_and_writes_again() {
    let mut lost = owner(1);
    let file = lost.export(90);
    lost.publish("after the file").unwrap();
    let kept = lost.operations();
    let mut new = Peer::new(2);
    new.restore(&file, true).unwrap();
    assert!(new.waits(), "the space is not here yet");
    new.crash();
    new.takes_all(&kept);
    settled(&mut new);
    assert_eq!(new.shown(), ["before", "after the file"]);
    assert!(!new.waits());
    let recovery = SigningKey::from_bytes(&[90; 32]).verifying_key();
    let me = new.id();
    assert_eq!(new.role_of_device(&me), Some(Role::Owner));
    assert_eq!(new.role_of_device(&lost.id()), None);
    assert_eq!(new.role_of_device(&recovery), Some(Role::Owner));
    new.publish("I am back").unwrap();
    // A thief with the old device reads nothing more.
    exchange(&mut [&mut new, &mut lost]);
    assert!(!lost.shown().contains(&"I am back".to_owned()));
    assert!(lost.publish("still me").is_err());
    // The file of the new device is another one, and takes the place of the old one.
    let newer = new.export(91);
    let mut third = Peer::new(3);
    third.restore(&newer, false).unwrap();
    third.takes_all(&new.operations());
    settled(&mut third);
    assert_eq!(third.shown(), ["before", "after the file", "I am back"]);
    assert_eq!(new.role_of_device(&recovery), None);
}

#[test]
fn what_a_member_wrote_since_comes_when_it_is_there() {
    let mut lost = owner(1);
    let mut friend = Peer::following(4, &mut lost);
    let id = friend.id();
    lost.ask(change(SpaceChange::Add(id, Role::Owner))).unwrap();
    exchange(&mut [&mut lost, &mut friend]);
    let file = lost.export(90);
    exchange(&mut [&mut lost, &mut friend]);
    friend.ask(change(SpaceChange::Rotate)).unwrap();
    friend.publish("under a newer secret").unwrap();
    let mut new = Peer::new(2);
    new.restore(&file, false).unwrap();
    new.takes_all(&friend.operations());
    settled(&mut new);
    assert_eq!(new.shown(), ["before"]);
    new.publish("I am back").unwrap();
    exchange(&mut [&mut new, &mut friend]);
    assert_eq!(new.shown().len(), 3);
    assert!(friend.shown().contains(&"I am back".to_owned()));
    assert_eq!(friend.members(), new.members());
}

/// The recovery key manages the teams that its person manages, and so does the device that it restores.
#[test]
fn a_restored_device_manages_the_teams_of_its_person() {
    let mut lost = owner(1);
    let mut friend = Peer::following(4, &mut lost);
    let add = SpaceChange::Add(friend.id(), Role::Editor);
    lost.ask(change(add)).unwrap();
    let team = lost.make_team();
    lost.put_into(TOPIC, team);
    let file = lost.export(90);
    exchange(&mut [&mut lost, &mut friend]);
    let mut new = Peer::new(2);
    new.restore(&file, true).unwrap();
    assert_eq!(new.ask(teams::list()), [], "it knows no team yet");
    new.crash();
    new.takes_all(&friend.operations());
    settled(&mut new);
    let look = new.ask(teams::list()).remove(0);
    assert!(look.is_manager);
    assert_eq!(look.pending, []);
    let me = new.id();
    let id = SigningKey::from_bytes(&[92; 32]).verifying_key();
    let added = teams::change(team, id, Some(Role::Reader));
    new.ask(added).unwrap();
    exchange(&mut [&mut new, &mut friend]);
    for peer in [&mut new, &mut friend] {
        assert_eq!(peer.role_of_device(&id), Some(Role::Reader));
        let look = peer.ask(teams::list()).remove(0);
        let is_in = |key| look.devices.iter().any(|(device, _)| *device == key);
        assert!(is_in(me) && !is_in(lost.id()), "a revoked device is out");
    }
}

#[test]
fn a_file_restored_twice_makes_two_devices_and_no_fork() {
    let mut lost = owner(1);
    let file = lost.export(90);
    let kept = lost.operations();
    let mut both = [2, 3].map(|seed| {
        let mut new = Peer::new(seed);
        new.restore(&file, false).unwrap();
        new.takes_all(&kept);
        settled(&mut new);
        new.publish("of a restored one").unwrap();
        new
    });
    let [one, two] = &mut both;
    exchange(&mut [one, two, &mut lost]);
    for peer in [one, two, &mut lost] {
        assert_eq!(peer.shown().len(), 3);
        assert_eq!(peer.members().len(), 4, "and the key of the file");
    }
}

#[test]
fn only_a_node_without_spaces_restores_a_file() {
    let mut lost = owner(1);
    let file = lost.export(90);
    let mut other = owner(2);
    assert_eq!(other.restore(&file, false), Err(SpaceError::NotEmpty));
    let mut new = Peer::new(3);
    new.restore(&file, false).unwrap();
    assert_eq!(new.restore(&file, false), Err(SpaceError::NotEmpty));
}

#[test]
fn a_thief_that_revoked_the_recovery_key_first_wins() {
    let mut stolen = owner(1);
    let file = stolen.export(90);
    let device = SigningKey::from_bytes(&[90; 32]).verifying_key();
    let revoked: Result<(), SpaceError> = stolen.ask(asked(|reply| {
        Command::Space(SpaceCommand::Person(PersonCommand::Revoke {
            device,
            reply,
        }))
    }));
    revoked.unwrap();
    let mut new = Peer::new(2);
    new.restore(&file, true).unwrap();
    new.takes_all(&stolen.operations());
    settled(&mut new);
    assert!(new.waits(), "it says that it waits");
    assert_eq!(new.shown(), ["before"]);
    let me = new.id();
    assert_eq!(new.role_of_device(&me), None);
    assert!(new.publish("let me in").is_err());
}

#[test]
fn a_file_is_renewed_after_thirty_days_and_the_node_says_so() {
    let mut peer = owner(1);
    peer.export(90);
    let look = peer.my_person();
    assert!(look.exported.is_some() && !look.is_renewal_due);
    assert_eq!(look.recovery.len(), 1);
    let later = peer.now.wall.as_micros() + RECOVERY_REMINDER.as_micros() as u64;
    peer.now.wall = Timestamp::from_micros(later - SECOND_US);
    assert!(!peer.my_person().is_renewal_due);
    peer.now.wall = Timestamp::from_micros(later);
    assert!(peer.my_person().is_renewal_due);
    peer.crash();
    let now = peer.now;
    let told = peer.engine().tick(now).unwrap();
    let due = told.events.iter().any(|event| {
        matches!(event, EngineEvent::RecoveryDue { written } if Some(*written) == look.exported)
    });
    assert!(due);
    peer.export(91);
    assert!(!peer.my_person().is_renewal_due);
    assert_eq!(
        peer.my_person().recovery.len(),
        1,
        "the earlier one is revoked"
    );
}

#[test]
fn an_export_does_not_remind_of_the_file_that_it_writes() {
    let mut peer = owner(1);
    peer.export(90);
    let key = SigningKey::from_bytes(&[91; 32]);
    let earlier = peer.begin(&key);
    let (command, answer) = recovery(|reply| RecoveryCommand::Written {
        key: key.verifying_key(),
        earlier,
        is_last: false,
        reply,
    });
    let is_due = |event: &EngineEvent| matches!(event, EngineEvent::RecoveryDue { .. });
    let now = peer.now;
    let told = peer.engine().process(vec![command], now).unwrap();
    assert_eq!(answer(), Ok(1));
    assert!(!told.events.iter().any(is_due));
    // It ends before the file is written again.
    peer.crash();
    let now = peer.now;
    let told = peer.engine().tick(now).unwrap();
    assert!(told.events.iter().any(is_due));
}

#[test]
fn an_unfinished_export_leaves_nothing_but_a_key() {
    let mut peer = owner(1);
    let first = peer.export(90);
    peer.begin(&SigningKey::from_bytes(&[91; 32]));
    peer.crash();
    // The first file still works.
    let mut new = Peer::new(2);
    new.restore(&first, false).unwrap();
    new.takes_all(&peer.operations());
    settled(&mut new);
    assert!(!new.waits());
    peer.export(92);
    let recovery = peer.my_person().recovery;
    assert_eq!(
        recovery,
        [SigningKey::from_bytes(&[92; 32]).verifying_key()]
    );
}

#[test]
fn an_export_whose_key_was_revoked_meanwhile_revokes_nothing() {
    let mut peer = owner(1);
    peer.export(90);
    let [first, key] = [90, 91].map(|seed| SigningKey::from_bytes(&[seed; 32]));
    let earlier = peer.begin(&key);
    assert_eq!(earlier, [first.verifying_key()]);
    let device = key.verifying_key();
    let revoked: Result<(), SpaceError> = peer.ask(asked(|reply| {
        Command::Space(SpaceCommand::Person(PersonCommand::Revoke {
            device,
            reply,
        }))
    }));
    revoked.unwrap();
    let refused = peer.written(&key, earlier, false);
    assert_eq!(refused, Err(SpaceError::RecoveryKeyRevoked));
    assert_eq!(peer.my_person().recovery, [first.verifying_key()]);
}

#[test]
fn an_export_that_keeps_the_earlier_file_has_two_keys() {
    let mut peer = owner(1);
    let file = peer.export(90);
    let key = SigningKey::from_bytes(&[91; 32]);
    peer.begin(&key);
    assert_eq!(peer.written(&key, Vec::new(), false), Ok(0));
    assert_eq!(peer.my_person().recovery.len(), 2);
    let mut new = Peer::new(2);
    new.restore(&file, false).unwrap();
    new.takes_all(&peer.operations());
    settled(&mut new);
    assert!(!new.waits());
}

#[test]
fn a_content_of_somebody_else_is_refused() {
    let mut lost = owner(1);
    let file = lost.export(90);
    let mut content = RecoveryContent::decode(&file).unwrap();
    content.key = SigningKey::from_bytes(&[91; 32]);
    let file = content.encode().to_vec();
    let mut new = Peer::new(2);
    let refused = new.restore(&file, false);
    assert_eq!(refused, Err(SpaceError::Space(LocalError::NoDevice)));
}

/// The process that the next test kills. Run as a test of its own, it does nothing.
#[test]
fn child_that_restores_and_exports_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let file = std::fs::read(dir.join("file")).unwrap();
    let mut keeper = Peer::at(&dir.join("keeper"));
    let mut peer = Peer::at(&dir.join("new"));
    println!("\nround 0");
    if peer.my_person().id.is_none() {
        peer.restore(&file, true).unwrap();
    }
    println!("\nround 1");
    peer.hear(&keeper);
    peer.wait();
    println!("\nround 2");
    keeper.hear(&peer);
    for round in 3..1_000_000_u32 {
        println!("\nround {round}");
        let seed = [(round % 200) as u8; 16];
        let mut bytes = [0; 32];
        getrandom(&mut bytes, &seed);
        let key = SigningKey::from_bytes(&bytes);
        let earlier = peer.begin(&key);
        let content = peer.content(&key);
        std::fs::write(dir.join("written"), &content).unwrap();
        std::fs::rename(dir.join("written"), dir.join("file")).unwrap();
        if peer.written(&key, earlier, false).unwrap() > 0 {
            peer.settle();
            let content = peer.content(&key);
            std::fs::write(dir.join("written"), &content).unwrap();
            std::fs::rename(dir.join("written"), dir.join("file")).unwrap();
            peer.written(&key, Vec::new(), true).unwrap();
        }
        keeper.hear(&peer);
    }
}

/// Another key in each round and process.
fn getrandom(bytes: &mut [u8; 32], seed: &[u8]) {
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let mixed = [&now.to_le_bytes()[..], seed].concat();
    *bytes = *p2panda_core::Hash::digest(&mixed).as_bytes();
}

#[test]
fn a_restore_goes_on_after_kills_at_any_point() {
    let kills = std::env::var(KILLS)
        .ok()
        .and_then(|kills| kills.parse().ok());
    for kill in 0..kills.unwrap_or(16) {
        let temp = tempfile::tempdir().unwrap();
        for name in ["lost", "keeper", "new"] {
            std::fs::create_dir(temp.path().join(name)).unwrap();
        }
        let mut lost = Peer::at(&temp.path().join("lost"));
        let settings = Settings::with_history();
        let made: Result<(), SpaceError> = lost.ask(asked(|reply| {
            Command::Space(SpaceCommand::Create {
                topic: TOPIC,
                settings,
                name: None,
                own_key: false,
                reply,
            })
        }));
        made.unwrap();
        lost.publish("before").unwrap();
        std::fs::write(temp.path().join("file"), lost.export(90)).unwrap();
        let mut keeper = Peer::at(&temp.path().join("keeper"));
        keeper.hear(&lost);
        drop(keeper);
        kill_child((CHILD, CHILD_DIR), temp.path(), kill, 41);
        let mut keeper = Peer::at(&temp.path().join("keeper"));
        let mut new = Peer::at(&temp.path().join("new"));
        let file = std::fs::read(temp.path().join("file")).unwrap();
        if new.my_person().id.is_none() {
            new.restore(&file, true).unwrap();
        }
        new.hear(&keeper);
        settled(&mut new);
        assert!(!new.waits(), "kill {kill}");
        assert_eq!(new.shown(), ["before"], "kill {kill}");
        let (me, id) = (new.id(), lost.id());
        assert_eq!(new.role_of_device(&me), Some(Role::Owner), "kill {kill}");
        assert_eq!(new.role_of_device(&id), None, "kill {kill}");
        new.publish("goes on").unwrap();
        keeper.hear(&new);
        // The file that is there lets one more device in.
        let mut third = Peer::new(7);
        third.restore(&file, false).unwrap();
        third.takes_all(&keeper.operations());
        settled(&mut third);
        assert!(!third.waits(), "kill {kill}");
        third.publish("too").unwrap();
    }
}
