//! The plaintext of messages, sealed where it is stored.

use p2panda_core::limits::PLAINTEXTS_STEP_ROWS_MAX;
use p2panda_engine::{Role, SpaceChange};

use crate::spaces::{Peer, change, create, exchange};

/// Lets the time pass in which the write-ahead log is emptied.
fn settle(peer: &mut Peer) {
    for _ in 0..20 {
        peer.wait();
    }
}

#[test]
fn sealed_plaintext_is_in_no_file_and_is_read_as_before() {
    let mut alice = Peer::new(1);
    alice.reopen(true);
    alice.ask(create()).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    alice
        .ask(change(SpaceChange::Add(bob.id(), Role::Editor)))
        .unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    alice.publish("from alice, in private").unwrap();
    bob.publish("from bob, in private").unwrap();
    exchange(&mut [&mut alice, &mut bob]);
    let all = alice.shown();
    assert_eq!(all.len(), 2);
    assert!(!alice.is_in_files("in private"));
    // The other one did not ask for it.
    assert!(bob.is_in_files("in private"));
    // After a kill without the option they are still opened, and after one with it.
    alice.crash();
    assert_eq!(alice.shown(), all);
    alice.reopen(true);
    settle(&mut alice);
    assert_eq!(alice.shown(), all);
    assert!(!alice.is_in_files("in private"));
}

#[test]
fn what_is_stored_is_sealed_and_opened_when_the_option_changes() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let count = PLAINTEXTS_STEP_ROWS_MAX + 5;
    for _ in 0..count {
        alice.publish("written in private").unwrap();
    }
    assert!(alice.is_in_files("written in private"));
    alice.reopen(true);
    assert_eq!(alice.shown().len(), count);
    // A kill in the middle: the rest follows.
    let now = alice.now;
    alice.engine().tick(now).unwrap();
    alice.engine = None;
    alice.reopen(true);
    settle(&mut alice);
    assert_eq!(alice.shown(), vec!["written in private"; count]);
    // Remains of rows that the database moved go with that.
    alice.compact();
    assert!(!alice.is_in_files("written in private"));
    alice.reopen(false);
    settle(&mut alice);
    assert_eq!(alice.shown(), vec!["written in private"; count]);
    assert!(alice.is_in_files("written in private"));
}
