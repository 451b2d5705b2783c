//! Encrypted spaces: engines that hand each other their operations.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use bytes::Bytes;
use p2panda_core::{Operation, Timestamp, Topic, VerifyingKey};
use p2panda_engine::{
    Command, Engine, Fault, Incoming, NewMessage, Now, Options, PublishError, Reply, Role,
    Settings, Source, SpaceChange, SpaceCommand, SpaceError, SpaceLook,
};
use p2panda_store::{Change, Content, PageLimits};
use tempfile::TempDir;

use crate::node::copy_files;

pub const TOPIC: Topic = Topic::from_bytes([9; 32]);
const ALL: PageLimits = PageLimits {
    rows: usize::MAX,
    bytes: usize::MAX,
};
pub const SECOND_US: u64 = 1_000_000;

/// A command, and what gives its answer.
pub type Asked<T> = (Command, Box<dyn FnOnce() -> T>);

pub fn asked<T: Send + 'static>(command: impl FnOnce(Reply<T>) -> Command) -> Asked<T> {
    let (sender, receiver) = channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    (
        command(reply),
        Box::new(move || receiver.try_recv().expect("it is answered")),
    )
}

pub fn create() -> Asked<Result<(), SpaceError>> {
    create_as(Settings::with_history())
}

pub fn create_as(settings: Settings) -> Asked<Result<(), SpaceError>> {
    asked(|reply| {
        Command::Space(SpaceCommand::Create {
            topic: TOPIC,
            settings,
            name: None,
            own_key: false,
            reply,
        })
    })
}

pub fn change(change: SpaceChange) -> Asked<Result<(), SpaceError>> {
    asked(|reply| {
        Command::Space(SpaceCommand::Change {
            topic: TOPIC,
            change,
            reply,
        })
    })
}

pub struct Peer {
    pub engine: Option<Engine>,
    dir: PathBuf,
    /// None: somebody else's.
    _temp: Option<TempDir>,
    pub now: Now,
}

impl Peer {
    pub fn new(seed: u8) -> Peer {
        let temp = tempfile::tempdir().unwrap();
        let mut peer = Peer::open(temp.path(), Some(seed));
        peer._temp = Some(temp);
        peer
    }

    /// In a directory that is there before and after, with random numbers of the operating system.
    pub fn at(dir: &Path) -> Peer {
        Peer::open(dir, None)
    }

    fn open(dir: &Path, seed: Option<u8>) -> Peer {
        let now = Now {
            wall: Timestamp::from_micros(1_800_000_000 * SECOND_US),
            elapsed_us: u64::from(seed.unwrap_or_default()),
        };
        Peer {
            engine: Some(open(dir, now, seed)),
            dir: dir.to_owned(),
            _temp: None,
            now,
        }
    }

    /// A follower, whose keys reach the other.
    pub fn following(seed: u8, other: &mut Peer) -> Peer {
        let mut peer = Peer::new(seed);
        peer.follow();
        other.hear(&peer);
        peer
    }

    pub fn follow(&mut self) {
        let followed: Result<bool, SpaceError> = self.ask(asked(|reply| {
            Command::Space(SpaceCommand::Follow {
                topic: TOPIC,
                id: None,
                own_key: false,
                reply,
            })
        }));
        followed.unwrap();
    }

    pub fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    pub fn id(&self) -> VerifyingKey {
        self.engine.as_ref().unwrap().signing_key().verifying_key()
    }

    /// Killed, and started again.
    pub fn crash(&mut self) {
        self.engine = None;
        self.now.elapsed_us = 0;
        self.engine = Some(open(&self.dir, self.now, Some(77)));
    }

    /// Closed, and opened with the plaintext of messages sealed, or not.
    pub fn reopen(&mut self, seal_messages: bool) {
        if let Some(engine) = self.engine.take() {
            engine.close().unwrap();
        }
        self.now.elapsed_us = 0;
        let options = Options {
            seed: Some([78; 32]),
            seal_messages,
            ..Options::default()
        };
        self.engine = Some(Engine::open(&self.dir, options, self.now).unwrap());
    }

    /// Closed, and rewritten as a whole.
    pub fn compact(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close().unwrap();
        }
        p2panda_store::compact(&self.dir).unwrap();
    }

    /// What a thief has of it: its files as they are, opened again.
    pub fn stolen(&self) -> Peer {
        let temp = tempfile::tempdir().unwrap();
        copy_files(&self.dir, temp.path());
        let mut thief = Peer::open(temp.path(), Some(79));
        thief.now.wall = self.now.wall;
        thief._temp = Some(temp);
        thief
    }

    /// Returns `true` if some file has these bytes.
    pub fn is_in_files(&self, part: &str) -> bool {
        let files = std::fs::read_dir(&self.dir).unwrap();
        let mut contents = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        contents.any(|bytes| {
            let mut windows = bytes.windows(part.len());
            windows.any(|window| window == part.as_bytes())
        })
    }

    pub fn ask<T>(&mut self, (command, answer): Asked<T>) -> T {
        self.process(command);
        answer()
    }

    pub fn process(&mut self, command: Command) {
        let now = self.now;
        self.engine().process(vec![command], now).unwrap();
        self.settle();
    }

    /// Does what is due at once.
    pub fn settle(&mut self) {
        let now = self.now;
        while self
            .engine()
            .next_wake()
            .is_some_and(|at| at <= now.elapsed_us)
        {
            self.engine().tick(now).unwrap();
        }
    }

    /// Time goes by, in which spaces are healed.
    pub fn wait(&mut self) {
        self.now.elapsed_us += 3 * SECOND_US;
        self.now.wall = Timestamp::from_micros(self.now.wall.as_micros() + 3 * SECOND_US);
        self.settle();
    }

    pub fn publish(&mut self, text: &str) -> Result<(), PublishError> {
        let message = NewMessage::new(Bytes::copy_from_slice(text.as_bytes()));
        let topic = TOPIC;
        let published: Result<_, _> = self.ask(asked(|reply| Command::Publish {
            topic,
            message,
            reply,
        }));
        published.map(|_| ())
    }

    /// Everything that is stored.
    pub fn operations(&self) -> Vec<Operation> {
        operations_in(self.engine.as_ref().unwrap(), TOPIC)
    }

    /// Takes what another one has.
    pub fn hear(&mut self, other: &Peer) {
        let operations = other.operations().into_iter();
        self.process(Command::Ingest {
            topic: TOPIC,
            source: Source::Import { id: 0 },
            operations: operations.map(Incoming::Valid).collect(),
            reply: None,
        });
    }

    /// Returns the content that the feed shows.
    pub fn shown(&self) -> Vec<String> {
        let reader = self.engine.as_ref().unwrap().readers().open().unwrap();
        let page = reader.feed_page(&TOPIC, 0, ALL, None).unwrap();
        let entries = page.entries.into_iter();
        let opened = entries.filter_map(|entry| match entry.content {
            Content::Opened(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Content::Body(_) => panic!("something sealed is shown"),
            _ => None,
        });
        opened.collect()
    }

    /// Returns what the feed says about operations instead of content.
    pub fn changes(&self) -> Vec<Change> {
        let reader = self.engine.as_ref().unwrap().readers().open().unwrap();
        let page = reader.feed_page(&TOPIC, 0, ALL, None).unwrap();
        let entries = page.entries.into_iter();
        let changes = entries.filter_map(|entry| match entry.content {
            Content::Change(change) if change != Change::Members => Some(change),
            _ => None,
        });
        changes.collect()
    }

    /// Returns `true` if a text can be found in the files of the database.
    pub fn holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(&self.dir).unwrap();
        let bytes = files.filter_map(|file| std::fs::read(file.unwrap().path()).ok());
        let mut bytes = bytes.collect::<Vec<_>>().into_iter();
        bytes.any(|bytes| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    }

    pub fn look(&mut self) -> Option<SpaceLook> {
        self.ask(asked(|reply| {
            let (topic, at) = (TOPIC, None);
            Command::Space(SpaceCommand::Look { topic, at, reply })
        }))
    }

    pub fn members(&mut self) -> Vec<(VerifyingKey, Role)> {
        self.look().map_or_else(Vec::new, |look| look.members)
    }

    pub fn sealed(&self) -> u64 {
        let reader = self.engine.as_ref().unwrap().readers().open().unwrap();
        reader.status(&TOPIC).unwrap().sealed
    }
}

/// Everything that an engine has stored of a topic.
pub fn operations_in(engine: &Engine, topic: Topic) -> Vec<Operation> {
    let reader = engine.readers().open().unwrap();
    let page = reader.arrivals_page(&topic, 0, ALL).unwrap();
    let operations = page.entries.into_iter();
    operations
        .map(|entry| Operation {
            header: entry.header,
            body: entry.body,
        })
        .collect()
}

fn open(dir: &Path, now: Now, seed: Option<u8>) -> Engine {
    let options = Options {
        seed: seed.map(|seed| [seed; 32]),
        ..Options::default()
    };
    Engine::open(dir, options, now).unwrap()
}

/// Until nobody has anything new for anybody.
pub fn exchange(peers: &mut [&mut Peer]) {
    loop {
        let before: usize = peers.iter().map(|peer| peer.operations().len()).sum();
        for one in 0..peers.len() {
            for other in 0..peers.len() {
                if let Ok([one, other]) = peers.get_disjoint_mut([one, other]) {
                    one.hear(other);
                }
            }
        }
        for peer in &mut *peers {
            peer.wait();
        }
        let after: usize = peers.iter().map(|peer| peer.operations().len()).sum();
        if before == after {
            return;
        }
    }
}

pub fn sorted(mut members: Vec<(VerifyingKey, Role)>) -> Vec<(VerifyingKey, Role)> {
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

#[test]
fn members_read_each_other_and_a_newcomer_reads_what_was_before() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    alice.publish("before").unwrap();
    assert_eq!(alice.shown(), ["before"]);
    let mut bob = Peer::following(2, &mut alice);
    bob.hear(&alice);
    assert_eq!((bob.shown(), bob.members()), (Vec::new(), Vec::new()));
    assert_eq!(bob.publish("no"), Err(PublishError::Sealed));
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Editor)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.shown(), ["before"]);
    bob.publish("hello").unwrap();
    alice.hear(&bob);
    assert_eq!(alice.shown(), ["before", "hello"]);
    let members = sorted(vec![(alice.id(), Role::Owner), (bob.id(), Role::Editor)]);
    assert_eq!(alice.members(), members);
    assert_eq!(bob.members(), members);
    // All of it is there after a crash.
    alice.crash();
    bob.crash();
    assert_eq!(alice.members(), members);
    alice.publish("again").unwrap();
    bob.hear(&alice);
    assert_eq!(bob.shown(), ["before", "hello", "again"]);
}

#[test]
fn a_member_with_late_keys_is_welcomed_by_itself() {
    let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
    alice.ask(create()).unwrap();
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Reader)))
        .unwrap();
    alice.publish("hello").unwrap();
    bob.follow();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.shown(), ["hello"]);
    assert!(alice.look().unwrap().is_healed());
    assert_eq!(
        bob.publish("no"),
        Err(PublishError::Sealed),
        "a reader reads"
    );
}

#[test]
fn a_removed_member_opens_nothing_and_is_not_shown() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let mut carol = Peer::following(3, &mut alice);
    for member in [bob.id(), carol.id()] {
        alice
            .ask(change(SpaceChange::Add(member, Role::Editor)))
            .unwrap();
    }
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    alice.publish("for all").unwrap();
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(carol.shown(), ["for all"]);
    alice.ask(change(SpaceChange::Remove(carol.id()))).unwrap();
    // It has not heard of that yet: those who have show nothing of it.
    carol.publish("too late").unwrap();
    alice.publish("for two").unwrap();
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(alice.shown(), ["for all", "for two"]);
    assert_eq!(bob.shown(), ["for all", "for two"]);
    assert_eq!(
        (carol.shown(), carol.sealed()),
        (vec!["for all".to_owned()], 1)
    );
    assert_eq!(carol.publish("still"), Err(PublishError::Sealed));
    for peer in [&alice, &bob] {
        assert_eq!(
            peer.operations().len(),
            carol.operations().len(),
            "all is kept"
        );
    }
    assert_eq!(alice.members().len(), 2);
}

#[test]
fn what_was_shown_is_taken_back_where_the_removal_comes_later() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let mut carol = Peer::following(3, &mut alice);
    for member in [bob.id(), carol.id()] {
        alice
            .ask(change(SpaceChange::Add(member, Role::Editor)))
            .unwrap();
    }
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    alice.ask(change(SpaceChange::Remove(carol.id()))).unwrap();
    carol.publish("at the same time").unwrap();
    bob.hear(&carol);
    assert_eq!(bob.shown(), ["at the same time"]);
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(bob.shown(), alice.shown());
    assert!(bob.shown().is_empty());
}

#[test]
fn a_node_without_keys_keeps_and_hands_on_what_it_got() {
    let (mut alice, mut courier) = (Peer::new(1), Peer::new(4));
    alice.ask(create()).unwrap();
    alice.publish("nobody else reads this").unwrap();
    courier.hear(&alice);
    let mut bob = Peer::following(2, &mut courier);
    alice.hear(&courier);
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Reader)))
        .unwrap();
    courier.hear(&alice);
    assert_eq!(
        courier.operations(),
        alice.operations_in_the_order_of(&courier)
    );
    bob.hear(&courier);
    bob.wait();
    assert_eq!(bob.shown(), ["nobody else reads this"]);
    for operation in courier.operations() {
        let body = operation.body.unwrap();
        let needle = b"nobody else reads this";
        assert!(!body.windows(needle.len()).any(|window| window == needle));
    }
}

impl Peer {
    fn operations_in_the_order_of(&self, other: &Peer) -> Vec<Operation> {
        let mine = self.operations();
        let others = other.operations().into_iter();
        let same = |header| mine.iter().find(|own| own.header == header).cloned();
        others.filter_map(|other| same(other.header)).collect()
    }
}

#[test]
fn the_suite_of_a_space_and_who_has_keys_for_it_are_shown() {
    let (mut alice, bob) = (Peer::new(1), Peer::new(2));
    alice.ask(create()).unwrap();
    let operations = alice.operations().len();
    // It requires as much already.
    for suite in [1, 2] {
        alice.ask(change(SpaceChange::RaiseSuite(suite))).unwrap();
    }
    let refused = alice.ask(change(SpaceChange::RaiseSuite(3))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a space cannot require suite 3: this version supports suite 2"
    );
    assert!(!refused.is_retryable());
    assert_eq!(alice.operations().len(), operations, "nothing is published");
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Editor)))
        .unwrap();
    let look = alice.look().unwrap();
    assert_eq!((look.suite, look.without_suite), (2, vec![bob.id()]));
    let mut bob = bob;
    bob.follow();
    exchange(&mut [&mut alice, &mut bob]);
    for peer in [&mut alice, &mut bob] {
        let look = peer.look().unwrap();
        assert_eq!((look.suite, look.without_suite), (2, Vec::new()));
        let all: Vec<_> = peer.ask(asked(|reply| Command::Space(SpaceCommand::List { reply })));
        assert_eq!(all[0].1.suite, Some(2));
    }
    let mut carol = Peer::new(3);
    let made = carol.ask(create_as(Settings::with_history().with_suite(3)));
    assert!(made.is_err());
    let all: Vec<_> = carol.ask(asked(|reply| Command::Space(SpaceCommand::List { reply })));
    assert!(all.is_empty(), "the topic is not followed for nothing");
}

/// Lists the changes in a space, one after the other, by the peer with this number.
fn deeds(ids: &[VerifyingKey]) -> Vec<SpaceChange> {
    vec![
        SpaceChange::Add(ids[1], Role::Editor),
        SpaceChange::Rotate,
        SpaceChange::Remove(ids[1]),
        SpaceChange::Add(ids[1], Role::Owner),
        SpaceChange::SetRole(ids[1], Role::Reader),
    ]
}

#[test]
fn a_storage_fault_takes_a_change_back_as_a_whole() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let ids = [alice.id(), bob.id()];
    for (number, deed) in deeds(&ids).into_iter().enumerate() {
        let (operations, members) = (alice.operations().len(), alice.members());
        for after in 0.. {
            let now = alice.now;
            alice.engine().set_fault(Some(Fault::Full { after }));
            let (command, answer) = change(deed.clone());
            let failed = alice.engine().process(vec![command], now).is_err();
            alice.engine().set_fault(None);
            if !failed {
                answer().unwrap();
                break;
            }
            if after % 7 == 0 {
                alice.crash();
            }
            assert_eq!(alice.operations().len(), operations);
            assert_eq!(alice.members(), members);
        }
        alice.publish(&format!("after {number}")).unwrap();
        exchange(&mut [&mut alice, &mut bob]);
    }
    let all: Vec<String> = (0..5).map(|number| format!("after {number}")).collect();
    assert_eq!(alice.shown(), all);
    // With its return it was given what was written while it was out, which it shows late.
    let mut shown = bob.shown();
    shown.sort_unstable();
    assert_eq!(shown, all);
}
