//! Rotation by age: secrets of spaces are replaced by an owner when they are as old as was asked for
//! (`docs/protocol/spaces.md#8`).

use std::time::Duration;

use p2panda_core::Timestamp;
use p2panda_core::limits::{
    SPACE_HEALS_PER_HOUR_MAX, SPACE_ROTATION_INTERVAL, SPACE_ROTATION_WAIT,
};
use p2panda_engine::{
    Command, EngineEvent, Fault, Incoming, Role, Settings, Source, SpaceChange, SpaceCommand,
    SpaceError, SpaceNews,
};

use crate::drafts::{absent, comes};
use crate::spaces::{Peer, TOPIC, asked, change, create_as, exchange};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Peer {
    fn rotates_every(&mut self, days: u32) -> Result<(), SpaceError> {
        self.ask(change(SpaceChange::RotateEvery(days)))
    }

    /// Returns the number of secrets that the space can still have.
    fn left(&mut self) -> usize {
        self.look().unwrap().secrets_left
    }

    /// What the state of the space says: days, and when the next rotation is due, in seconds from now.
    fn rotation(&mut self) -> (Option<u32>, Option<i64>) {
        let now = (self.now.wall.as_micros() / 1_000_000) as i64;
        let look = self.look().unwrap();
        let all: Vec<_> = self.ask(asked(|reply| Command::Space(SpaceCommand::List { reply })));
        assert_eq!(all[0].1.rotation_days, look.rotation_days);
        let at = look.rotates_at.map(|at| at as i64 - now);
        (look.rotation_days, at)
    }

    /// Time goes by without anything that is due being done.
    fn idles(&mut self, time: Duration) {
        let us = time.as_micros() as u64;
        self.now.elapsed_us += us;
        self.now.wall = Timestamp::from_micros(self.now.wall.as_micros() + us);
    }
}

/// The longest time from when a secret is too old until an owner has replaced it.
fn patience() -> Duration {
    SPACE_ROTATION_INTERVAL + SPACE_ROTATION_WAIT + MINUTE
}

/// Time goes by minute by minute at all, which hear each other when there is something new.
fn pass(peers: &mut [&mut Peer], time: Duration) {
    for _ in 0..time.as_secs() / MINUTE.as_secs() {
        for at in 0..peers.len() {
            let before = peers[at].operations().len();
            peers[at].goes_by(MINUTE);
            if peers[at].operations().len() > before {
                exchange(peers);
            }
        }
    }
}

/// A space of two owners and an editor.
fn space_as(settings: Settings) -> [Peer; 3] {
    let mut alice = Peer::new(1);
    alice.ask(create_as(settings)).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let mut carol = Peer::following(3, &mut alice);
    for (member, role) in [(bob.id(), Role::Owner), (carol.id(), Role::Editor)] {
        alice.ask(change(SpaceChange::Add(member, role))).unwrap();
    }
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    [alice, bob, carol]
}

fn alone() -> Peer {
    let mut alice = Peer::new(1);
    alice.ask(create_as(Settings::with_history())).unwrap();
    alice
}

#[test]
fn one_of_several_owners_replaces_an_old_secret() {
    for settings in [Settings::with_history(), Settings::with_a_key_per_message()] {
        let [mut alice, mut bob, mut carol] = space_as(settings);
        alice.rotates_every(2).unwrap();
        exchange(&mut [&mut alice, &mut bob, &mut carol]);
        let before = alice.left();
        for peer in [&mut alice, &mut bob, &mut carol] {
            peer.goes_by(DAY);
            assert_eq!(peer.rotation().0, Some(2));
        }
        exchange(&mut [&mut alice, &mut bob, &mut carol]);
        assert_eq!(alice.left(), before, "the secret is not old enough");
        for peer in [&mut alice, &mut bob, &mut carol] {
            peer.goes_by(DAY);
        }
        pass(&mut [&mut alice, &mut bob, &mut carol], patience());
        for peer in [&mut alice, &mut bob, &mut carol] {
            assert_eq!(peer.left(), before - 1, "one owner made one secret");
            let (_, due_s) = peer.rotation();
            assert!(due_s.unwrap() > 0, "the next one is due later");
        }
        carol.publish("under the new secret").unwrap();
        exchange(&mut [&mut alice, &mut bob, &mut carol]);
        for peer in [&alice, &bob, &carol] {
            assert_eq!(peer.shown(), ["under the new secret"]);
        }
    }
}

#[test]
fn nothing_is_rotated_by_age_unless_asked_for() {
    let mut alice = alone();
    let before = alice.left();
    assert_eq!(alice.rotation(), (None, None));
    for _ in 0..20 {
        alice.goes_by(DAY);
    }
    assert_eq!(alice.left(), before);
    // It is asked for, and the secret is too old at once; then it is asked for no longer.
    alice.rotates_every(20).unwrap();
    assert_eq!(alice.rotation().0, Some(20));
    alice.rotates_every(0).unwrap();
    assert_eq!(alice.rotation(), (None, None));
    for _ in 0..20 {
        alice.goes_by(DAY);
    }
    assert_eq!(alice.left(), before);
}

#[test]
fn a_secret_that_is_too_old_already_is_replaced_soon() {
    let mut alice = alone();
    let before = alice.left();
    alice.goes_by(DAY * 3);
    alice.rotates_every(1).unwrap();
    assert_eq!(alice.left(), before, "after a random time");
    alice.goes_by(SPACE_ROTATION_WAIT);
    assert_eq!(alice.left(), before - 1);
    alice.goes_by(SPACE_ROTATION_WAIT);
    assert_eq!(alice.left(), before - 1, "it is a new one");
}

#[test]
fn an_editor_rotates_nothing_by_age() {
    let [mut alice, mut bob, mut carol] = space_as(Settings::with_history());
    assert!(carol.rotates_every(1).is_err());
    alice.rotates_every(1).unwrap();
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    let before = carol.left();
    carol.goes_by(DAY);
    carol.goes_by(SPACE_ROTATION_WAIT);
    carol.goes_by(SPACE_ROTATION_INTERVAL);
    carol.goes_by(SPACE_ROTATION_WAIT);
    assert_eq!(carol.left(), before);
}

#[test]
fn rotation_by_age_continues_after_a_crash() {
    let mut alice = alone();
    alice.rotates_every(1).unwrap();
    let before = alice.left();
    alice.idles(DAY);
    // It is due, and waits for its random time.
    alice.crash();
    alice.settle();
    assert_eq!(alice.rotation().0, Some(1));
    alice.crash();
    alice.settle();
    assert_eq!(alice.left(), before);
    alice.goes_by(SPACE_ROTATION_WAIT);
    assert_eq!(alice.left(), before - 1);
    alice.crash();
    alice.settle();
    alice.goes_by(SPACE_ROTATION_WAIT);
    assert_eq!(alice.left(), before - 1, "once");
}

#[test]
fn a_storage_fault_takes_a_rotation_by_age_back() {
    let mut alice = alone();
    alice.rotates_every(1).unwrap();
    alice.goes_by(DAY);
    let before = alice.left();
    let mut faults = 0;
    for after in 0.. {
        // After a fault everything is read again, and waits for another random time.
        alice.settle();
        alice.idles(SPACE_ROTATION_WAIT);
        let now = alice.now;
        let engine = alice.engine();
        engine.set_fault(Some(Fault::Full { after }));
        let mut failed = false;
        while !failed && engine.next_wake().is_some_and(|at| at <= now.elapsed_us) {
            failed = engine.tick(now).is_err();
        }
        engine.set_fault(None);
        if !failed {
            break;
        }
        faults += 1;
        assert_eq!(alice.left(), before);
    }
    assert!(faults > 2, "{faults}");
    assert_eq!(alice.left(), before - 1);
    alice.publish("under the new secret").unwrap();
    assert_eq!(alice.shown(), ["under the new secret"]);
}

#[test]
fn owners_are_told_who_asks_and_what_was_rotated() {
    let [mut alice, mut bob, _] = space_as(Settings::with_history());
    alice.rotates_every(1).unwrap();
    let news = |committed: Vec<EngineEvent>| {
        let of_spaces = committed.into_iter().filter_map(|event| match event {
            EngineEvent::Space { news, .. } => Some(news),
            _ => None,
        });
        of_spaces.collect::<Vec<_>>()
    };
    let now = bob.now;
    let operations = alice.operations().into_iter();
    let heard = Command::Ingest {
        topic: TOPIC,
        source: Source::Import { id: 0 },
        operations: operations.map(Incoming::Valid).collect(),
        reply: None,
    };
    let told = bob.engine().process(vec![heard], now).unwrap();
    let by = alice.id();
    assert!(news(told.events).contains(&SpaceNews::Rotation { by, days: 1 }));
    bob.settle();
    bob.goes_by(DAY);
    bob.idles(SPACE_ROTATION_WAIT);
    let now = bob.now;
    let told = bob.engine().tick(now).unwrap();
    assert!(news(told.events).contains(&SpaceNews::RotatedByAge { days: 1 }));
}

#[test]
fn rotation_by_age_waits_while_the_hour_has_no_room() {
    const HEALS: u8 = SPACE_HEALS_PER_HOUR_MAX as u8;
    const WAIT: Duration = Duration::from_secs(3);
    let mut alice = alone();
    let members: Vec<_> = (0..HEALS).map(absent).collect();
    for (member, _) in &members {
        let add = SpaceChange::Add(*member, Role::Reader);
        alice.ask(change(add)).unwrap();
    }
    alice.rotates_every(1).unwrap();
    // It is planned for the next hour, which healing uses up.
    alice.goes_by(DAY);
    let before = alice.left();
    for (_, keys) in members {
        comes(&mut alice, keys);
        alice.goes_by(WAIT);
    }
    alice.goes_by(SPACE_ROTATION_WAIT - WAIT * u32::from(HEALS));
    assert_eq!(alice.left(), before, "there is no room in this hour");
    alice.goes_by(MINUTE);
    assert_eq!(alice.left(), before - 1);
}
