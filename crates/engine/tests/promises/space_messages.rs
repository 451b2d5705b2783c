//! Spaces with a key for each message: plaintext is stored with the erasure of its key, and is kept for
//! a time (`docs/protocol/spaces-message.md#7`).

use p2panda_core::Timestamp;
use p2panda_core::limits::{PRE_KEY_USED_KEPT_S, SPACE_EXPIRY_INTERVAL, SPACE_PLAINTEXT_KEPT};
use p2panda_engine::{Command, Fault, Incoming, NewMessage, Role, Settings, Source, SpaceChange};
use p2panda_store::Change;

use crate::spaces::{Peer, TOPIC, asked, change, create_as, exchange};

/// An owner and an editor.
fn pair() -> [Peer; 2] {
    pair_as(Settings::with_a_key_per_message())
}

fn pair_as(settings: Settings) -> [Peer; 2] {
    let mut alice = Peer::new(1);
    alice.ask(create_as(settings)).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Editor)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    [alice, bob]
}

impl Peer {
    /// Time goes by at once: all that is due in it is done at its end.
    pub fn goes_by(&mut self, time: std::time::Duration) {
        let us = time.as_micros() as u64;
        self.now.elapsed_us += us;
        self.now.wall = Timestamp::from_micros(self.now.wall.as_micros() + us);
        self.settle();
    }
}

#[test]
fn what_was_opened_once_is_read_again_from_what_is_stored() {
    let [mut alice, mut bob] = pair();
    alice.publish("one").unwrap();
    bob.publish("two").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    for peer in [&mut alice, &mut bob] {
        let mut shown = peer.shown();
        shown.sort();
        assert_eq!(shown, ["one", "two"]);
        peer.crash();
        assert_eq!(peer.shown().len(), 2);
    }
    alice.publish("three").unwrap();
    bob.publish("four").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!((alice.shown().len(), bob.shown().len()), (4, 4));
    let needle = b"three";
    for operation in bob.operations() {
        let body = operation.body.unwrap();
        assert!(!body.windows(needle.len()).any(|part| part == needle));
    }
}

/// The state of a phone has the plaintext of what was opened, and keys of what was not.
#[test]
fn a_stolen_phone_opens_what_was_not_opened_yet() {
    let [mut alice, mut bob] = pair();
    alice.publish("opened before").unwrap();
    bob.hear(&alice);
    alice.publish("not opened yet").unwrap();
    let mut thief = bob.stolen();
    assert_eq!(thief.shown(), ["opened before"]);
    thief.hear(&alice);
    assert_eq!(thief.shown(), ["opened before", "not opened yet"]);
    alice.ask(change(SpaceChange::Remove(bob.id()))).unwrap();
    alice.publish("after the removal").unwrap();
    thief.hear(&alice);
    assert_eq!(thief.shown(), ["opened before", "not opened yet"]);
}

#[test]
fn several_messages_of_one_batch_have_keys_of_their_own() {
    let [mut alice, mut bob] = pair();
    let now = alice.now;
    let publish = |text: &'static str| {
        let message = NewMessage::new(text.as_bytes());
        let (command, answer) = asked(|reply| Command::Publish {
            topic: TOPIC,
            message,
            reply,
        });
        (command, answer)
    };
    let (commands, answers): (Vec<_>, Vec<_>) = ["a", "b", "c"].map(publish).into_iter().unzip();
    alice.engine().process(commands, now).unwrap();
    for answer in answers {
        answer().unwrap();
    }
    bob.hear(&alice);
    assert_eq!(alice.shown(), ["a", "b", "c"]);
    assert_eq!(bob.shown(), ["a", "b", "c"]);
}

/// A transaction that does not reach the disk leaves keys and plaintext unchanged.
#[test]
fn a_fault_at_any_point_leaves_the_key_or_the_plaintext() {
    let [mut alice, mut bob] = pair();
    let mut faults = 0;
    for after in 0.. {
        let now = alice.now;
        alice.engine().set_fault(Some(Fault::Full { after }));
        let message = NewMessage::new("by alice".as_bytes());
        let (command, answer) = asked(|reply| Command::Publish {
            topic: TOPIC,
            message,
            reply,
        });
        let failed = alice.engine().process(vec![command], now).is_err();
        alice.engine().set_fault(None);
        if !failed {
            answer().unwrap();
            break;
        }
        faults += 1;
        if after % 3 == 0 {
            alice.crash();
        }
        assert!(alice.shown().is_empty());
    }
    assert!(faults > 2, "{faults}");
    assert_eq!(alice.shown(), ["by alice"]);
    let operations = alice.operations();
    for after in 0.. {
        let now = bob.now;
        bob.engine().set_fault(Some(Fault::Full { after }));
        let operations = operations.clone().into_iter();
        let ingest = Command::Ingest {
            topic: TOPIC,
            source: Source::Import { id: 0 },
            operations: operations.map(Incoming::Valid).collect(),
            reply: None,
        };
        let failed = bob.engine().process(vec![ingest], now).is_err();
        bob.engine().set_fault(None);
        if !failed {
            break;
        }
        if after % 3 == 0 {
            bob.crash();
        }
        assert!(bob.shown().is_empty());
    }
    assert_eq!(bob.shown(), ["by alice"]);
    bob.crash();
    bob.publish("by bob").unwrap();
    alice.hear(&bob);
    assert_eq!(alice.shown(), ["by alice", "by bob"]);
}

#[test]
fn what_is_withdrawn_is_shown_again_from_what_is_stored() {
    let [mut alice, mut bob] = pair();
    let mut carol = Peer::following(3, &mut alice);
    alice
        .ask(change(SpaceChange::Add(carol.id(), Role::Editor)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob, &mut carol]);
    alice.ask(change(SpaceChange::Remove(carol.id()))).unwrap();
    carol.publish("at the same time").unwrap();
    bob.hear(&carol);
    assert_eq!(bob.shown(), ["at the same time"]);
    exchange(&mut [&mut alice, &mut bob]);
    alice.hear(&carol);
    assert!(bob.shown().is_empty() && alice.shown().is_empty());
    bob.crash();
    alice
        .ask(change(SpaceChange::Add(carol.id(), Role::Editor)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.shown(), ["at the same time"], "it was kept");
    assert_eq!(alice.shown(), ["at the same time"], "its key was kept");
}

#[test]
fn plaintext_is_kept_for_a_time_and_then_gone_from_the_files() {
    let [mut alice, mut bob] = pair();
    alice.publish("a text that nobody else writes").unwrap();
    bob.hear(&alice);
    bob.goes_by(SPACE_PLAINTEXT_KEPT);
    alice.now = bob.now;
    alice.publish("a later one").unwrap();
    bob.hear(&alice);
    assert!(bob.holds("a text that nobody else writes"));
    assert_eq!(bob.shown().len(), 2, "not before its time");
    bob.goes_by(SPACE_EXPIRY_INTERVAL * 2);
    assert_eq!(bob.shown(), ["a later one"]);
    assert_eq!(bob.changes(), [Change::Expired]);
    bob.goes_by(p2panda_core::limits::FORGET_WAIT);
    assert!(!bob.holds("a text that nobody else writes"));
    bob.crash();
    bob.goes_by(SPACE_EXPIRY_INTERVAL);
    assert_eq!(bob.shown(), ["a later one"]);
    bob.goes_by(SPACE_PLAINTEXT_KEPT * 2);
    assert!(
        bob.shown().is_empty(),
        "also the last one, if nothing comes"
    );
    // What is sealed stays, for others.
    assert!(bob.operations().len() >= alice.operations().len());
}

#[test]
fn plaintext_of_the_data_scheme_stays() {
    let mut alice = Peer::new(1);
    alice.ask(create_as(Settings::with_history())).unwrap();
    alice.publish("kept").unwrap();
    alice.goes_by(SPACE_PLAINTEXT_KEPT * 3);
    assert_eq!(alice.shown(), ["kept"]);
}

/// A pre-key under which a root came is good for a week, not for twelve
/// (`docs/protocol/spaces-message.md#8`).
#[test]
fn a_pre_key_that_opened_a_root_is_replaced_in_a_week() {
    use std::time::Duration;
    let hour = Duration::from_secs(3_600);
    let week = Duration::from_secs(PRE_KEY_USED_KEPT_S);
    for (settings, renewed) in [
        (Settings::with_a_key_per_message(), 1),
        (Settings::with_history(), 0),
    ] {
        let [mut alice, mut bob] = pair_as(settings);
        let before = bob.operations().len();
        bob.goes_by(week - hour);
        assert_eq!(bob.operations().len(), before);
        bob.goes_by(hour * 2);
        assert_eq!(bob.operations().len(), before + renewed);
        // Once, since nobody has used the new one.
        bob.goes_by(week + hour);
        assert_eq!(bob.operations().len(), before + renewed);
        alice.now = bob.now;
        exchange(&mut [&mut alice, &mut bob]);
        bob.crash();
        alice.publish("from alice").unwrap();
        bob.publish("from bob").unwrap();
        exchange(&mut [&mut alice, &mut bob]);
        for peer in [&alice, &bob] {
            assert_eq!(peer.shown().len(), 2);
        }
    }
}

/// A recovery file holds no key of a message (`docs/protocol/recovery.md#6`).
#[test]
fn a_restored_device_reads_what_is_written_after_it_came() {
    let [mut alice, mut bob] = pair();
    alice.publish("before the file").unwrap();
    let file = alice.export(90);
    alice.publish("after the file").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.shown().len(), 2);
    let mut new = Peer::new(7);
    new.restore(&file, false).unwrap();
    new.crash();
    exchange(&mut [&mut bob, &mut new]);
    assert!(!new.waits());
    assert!(new.shown().is_empty(), "nothing of it opens");
    assert_eq!(new.sealed(), 0, "and nothing waits to be opened");
    new.publish("I am back").unwrap();
    exchange(&mut [&mut bob, &mut new]);
    bob.publish("welcome back").unwrap();
    exchange(&mut [&mut bob, &mut new]);
    let mut shown = new.shown();
    shown.sort();
    assert_eq!(shown, ["I am back", "welcome back"]);
    assert_eq!(bob.shown().len(), 4);
    new.crash();
    assert_eq!(new.shown().len(), 2);
}
