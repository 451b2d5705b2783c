//! Devices are linked and revoked by a process that is killed, and where a space cannot follow
//! (`docs/protocol/spaces.md#18`).

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use p2panda_core::limits::{PERSON_RETRY_WAIT, PERSON_STEP_MAX};
use p2panda_core::{Hash, Phase, SigningKey, Topic, VerifyingKey};
use p2panda_engine::{
    Command, DeviceChange, Pending, PersonCommand, PersonLook, Reply, Role, Settings, SpaceCommand,
    SpaceError, SpaceLook,
};

use crate::space_lives::kill_child;
use crate::spaces::{Asked, Peer, asked};

const CHILD: &str = "person_kills::child_that_links_and_revokes_until_it_is_killed";
const CHILD_DIR: &str = "P2PANDA_ENGINE_PERSON_DIR";

/// More than follow in one transaction.
const SPACES: usize = PERSON_STEP_MAX + 2;

fn topics() -> impl Iterator<Item = Topic> {
    (0..SPACES).map(|number| Topic::from_bytes([10 + number as u8; 32]))
}

fn person<T: Send + 'static>(command: impl FnOnce(Reply<T>) -> PersonCommand) -> Asked<T> {
    asked(|reply| Command::Space(SpaceCommand::Person(command(reply))))
}

impl Peer {
    fn person(&mut self) -> PersonLook {
        self.ask(person(|reply| PersonCommand::Look { reply }))
    }

    pub fn link(&mut self, device: VerifyingKey) -> Result<(), SpaceError> {
        let bundle = Bytes::new();
        self.ask(person(|reply| PersonCommand::Add {
            device,
            bundle,
            reply,
        }))
    }

    fn revoke_device(&mut self, device: VerifyingKey) -> Result<(), SpaceError> {
        self.ask(person(|reply| PersonCommand::Revoke { device, reply }))
    }

    pub fn create_in(&mut self, topic: Topic) {
        let (settings, name) = (Settings::with_history(), None);
        let created: Result<(), SpaceError> = self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Create {
                topic,
                settings,
                name,
                own_key: false,
                reply,
            })
        }));
        created.unwrap();
    }

    /// A peer says that it has more of our log in a topic: we do not publish there for a while.
    fn cannot_publish(&mut self, topic: Topic, session: u64) {
        let peer = SigningKey::from_bytes(&[200; 32]).verifying_key();
        let own_seq = 1_000;
        self.process(Command::PeerHas {
            topic,
            session,
            peer,
            own_seq,
        });
    }

    fn has_member(&mut self, topic: Topic, device: VerifyingKey) -> bool {
        let members = self.look_at(topic).members;
        members.iter().any(|(key, _)| *key == device)
    }

    pub fn look_at(&mut self, topic: Topic) -> SpaceLook {
        let look: Option<SpaceLook> = self.ask(asked(|reply| {
            let at = None;
            Command::Space(SpaceCommand::Look { topic, at, reply })
        }));
        look.unwrap()
    }
}

fn new_device() -> VerifyingKey {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = Hash::digest(&now.as_nanos().to_le_bytes());
    SigningKey::from_bytes(seed.as_bytes()).verifying_key()
}

/// The process that the next test kills. Run as a test of its own, it does nothing.
#[test]
fn child_that_links_and_revokes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let mut peer = Peer::at(dir.as_ref());
    for round in 0..1_000_000 {
        println!("\nround {round}");
        let me = peer.id();
        let devices = peer.person().devices;
        let others: Vec<VerifyingKey> = devices.into_iter().filter(|it| *it != me).collect();
        match others.first() {
            Some(device) if others.len() > 2 || round % 2 == 1 => {
                peer.revoke_device(*device).unwrap()
            }
            _ => peer.link(new_device()).unwrap(),
        }
    }
}

#[test]
fn every_space_follows_after_kills_at_a_hundred_points() {
    // A person has so many operations and no more.
    for part in 0..4 {
        let temp = tempfile::tempdir().unwrap();
        let mut peer = Peer::at(temp.path());
        for topic in topics() {
            peer.create_in(topic);
        }
        drop(peer);
        for kill in part * 25..(part + 1) * 25 {
            kill_child((CHILD, CHILD_DIR), temp.path(), kill, 41);
            let mut peer = Peer::at(temp.path());
            peer.settle();
            let look = peer.person();
            assert_eq!(look.pending, [], "kill {kill}");
            let expected = match look.id {
                Some(_) => look.devices,
                None => vec![peer.id()],
            };
            // The space in which the devices tell each other of spaces is one of them.
            for topic in topics().chain(look.of_devices) {
                let members = peer.look_at(topic).members;
                let keys: Vec<VerifyingKey> = members.iter().map(|(key, _)| *key).collect();
                assert_eq!(keys, expected, "kill {kill}");
                assert!(members.iter().all(|(_, role)| *role == Role::Owner));
            }
        }
    }
}

#[test]
fn a_space_that_cannot_follow_holds_up_no_other() {
    let mut peer = Peer::new(1);
    let [first, stuck, last] = [1, 2, 3].map(|n| Topic::from_bytes([n; 32]));
    for topic in [first, stuck, last] {
        peer.create_in(topic);
    }
    let device = SigningKey::from_bytes(&[90; 32]).verifying_key();
    for (session, change) in [DeviceChange::Add(device), DeviceChange::Revoke(device)]
        .into_iter()
        .enumerate()
    {
        let session = session as u64;
        peer.cannot_publish(stuck, session);
        let is_in = match change {
            DeviceChange::Add(_) => {
                peer.link(device).unwrap();
                true
            }
            DeviceChange::Revoke(_) => {
                peer.revoke_device(device).unwrap();
                false
            }
        };
        let look = peer.person();
        let waits = (stuck, Pending::Change(change));
        assert!(look.pending.contains(&waits), "{:?}", look.pending);
        assert!(look.pending.iter().all(|(topic, _)| *topic == stuck));
        assert_eq!(peer.has_member(stuck, device), !is_in);
        for topic in [first, last].into_iter().chain(look.of_devices) {
            assert_eq!(peer.has_member(topic, device), is_in, "the others go on");
        }
        // The peer is gone, and no message of anybody comes: it is tried again.
        let (topic, phase) = (stuck, Phase::Ended);
        peer.process(Command::Session {
            topic,
            session,
            phase,
        });
        peer.now.elapsed_us += PERSON_RETRY_WAIT.as_micros() as u64;
        peer.settle();
        assert_eq!(peer.person().pending, []);
        assert_eq!(peer.has_member(stuck, device), is_in);
    }
}

#[test]
fn a_space_that_could_not_follow_does_after_a_restart() {
    let mut peer = Peer::new(1);
    let [first, stuck] = [1, 2].map(|n| Topic::from_bytes([n; 32]));
    for topic in [first, stuck] {
        peer.create_in(topic);
    }
    let device = SigningKey::from_bytes(&[90; 32]).verifying_key();
    peer.link(device).unwrap();
    peer.cannot_publish(stuck, 1);
    peer.revoke_device(device).unwrap();
    assert!(!peer.has_member(first, device) && peer.has_member(stuck, device));
    peer.crash();
    peer.settle();
    assert_eq!(peer.person().pending, []);
    assert!(!peer.has_member(stuck, device));
}
