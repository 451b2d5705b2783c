//! Secrets are gone from memory before it is given back, as far as an allocator can see.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unsafe_code
)]

#[path = "support/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use p2panda_core::cbor::Kind;
use p2panda_encryption::two_party::Session;

use p2panda_encryption::{
    Bundle, Change, Message, Reader, Row, Secret, SecretKey, SuiteConfig, Wire, data, message,
};
use world::*;

/// Looks for secrets in every block that is given back.
struct Watch;

const SECRETS_MAX: usize = 64;
/// The first 16 bytes of each secret to look for.
static SECRETS: Mutex<[[u8; 16]; SECRETS_MAX]> = Mutex::new([[0; 16]; SECRETS_MAX]);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static WATCHING: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicUsize = AtomicUsize::new(0);
/// One test at a time, since all share the allocator.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call goes on to the system's allocator unchanged; blocks are only read.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Fresh blocks are cleared, so that nothing is found that was there before. Block sizes
        // are rounded by the system's allocator, so old content is never read beyond the layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WATCHING.load(Ordering::Relaxed) {
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            look(bytes);
        }
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watch = Watch;

fn look(bytes: &[u8]) {
    let count = COUNT.load(Ordering::Relaxed);
    let Ok(secrets) = SECRETS.try_lock() else {
        return;
    };
    for window in bytes.windows(16) {
        if secrets[..count].iter().any(|secret| secret == window) {
            FOUND.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn watch_for(secret: &[u8]) {
    let index = COUNT.load(Ordering::Relaxed);
    SECRETS.lock().unwrap()[index].copy_from_slice(&secret[8..24]);
    COUNT.store(index + 1, Ordering::Relaxed);
}

/// Counts the secrets that were in memory that was given back meanwhile.
fn leaks(run: impl FnOnce()) -> usize {
    FOUND.store(0, Ordering::Relaxed);
    WATCHING.store(true, Ordering::Relaxed);
    run();
    WATCHING.store(false, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    FOUND.load(Ordering::Relaxed)
}

#[test]
fn the_watch_sees_what_is_not_erased() {
    let _turn = TURN.lock().unwrap();
    let secret = [0x5c; 32];
    watch_for(&secret);
    assert!(leaks(|| drop(std::hint::black_box(Box::new(secret)))) > 0);
}

#[test]
fn keys_and_encodings_are_erased() {
    let _turn = TURN.lock().unwrap();
    let mut rng = life_rng("zeroisation", 0);
    let secret = Secret::random(&mut rng);
    let key = SecretKey::random(&mut rng);
    watch_for(&secret.encode()[2..]);
    watch_for(&key.encode()[2..]);
    let found = leaks(|| {
        for _ in 0..4 {
            let again = Secret::decode(&secret.encode()).unwrap();
            assert_eq!(again, secret);
        }
        drop(secret);
        drop(key);
    });
    assert_eq!(found, 0);
}

#[test]
fn a_two_party_session_erases_what_it_used() {
    let _turn = TURN.lock().unwrap();
    let mut rng = life_rng("zeroisation", 1);
    let mut both = people(2, 0, &mut rng);
    let bundle = both[1].keys.long_term_bundle(START).unwrap();
    let plaintext = [0x77; 40];
    for person in &both {
        // The identity secret of the stored form stands after the word.
        let stored = person.keys.encode();
        let word = b"identity_secret";
        let at = stored.windows(word.len()).position(|w| w == word).unwrap();
        watch_for(&stored[at + word.len() + 2..][..32]);
    }
    watch_for(&plaintext);
    let found = leaks(|| {
        let mut alice = Session::to_send(Bundle::LongTerm(bundle));
        let mut bob = Session::to_receive();
        for _ in 0..20 {
            let message = alice
                .send(&both[0].keys, &plaintext, START, &mut rng)
                .unwrap();
            let received = bob.receive(&mut both[1].keys, None, &message).unwrap();
            drop(received);
            let message = bob
                .send(&both[1].keys, &plaintext, START, &mut rng)
                .unwrap();
            drop(alice.receive(&mut both[0].keys, None, &message).unwrap());
            drop(Session::decode(&bob.encode()).unwrap());
        }
    });
    assert_eq!(found, 0);
    assert_eq!(leaks(|| drop(both)), 0);
}

#[test]
fn a_data_group_erases_its_secrets() {
    let _turn = TURN.lock().unwrap();
    let mut rng = life_rng("zeroisation", 2);
    let mut people = people(3, 0, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let mut group: data::Group = data::Group::new(ids[0], data::Members::default());
    let (author, others) = people.split_first_mut().unwrap();
    let draft = group
        .create(&ids, &author.context(START + 1), &mut rng)
        .unwrap();
    let prepared = draft.seal().unwrap();
    group
        .commit(
            prepared,
            operation(&mut rng),
            &mut author.context(START + 1),
        )
        .unwrap();
    let first = group.secrets().latest().unwrap().encode()[3..35].to_vec();
    watch_for(&first);
    let found = leaks(|| {
        for _ in 0..20 {
            let context = author.context(START + 1);
            let prepared = group.update(&context, &mut rng).unwrap().seal().unwrap();
            let id = operation(&mut rng);
            group
                .commit(prepared, id, &mut author.context(START + 1))
                .unwrap();
        }
        group = data::Group::decode(&group.encode()).unwrap();
        group.keep_newest(1);
        drop(group);
    });
    assert_eq!(found, 0);
    drop(first);
    let _ = others;
}

/// The secrets of hybrid channels, as rows have them.
fn channel_secrets(rows: &[Row]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for row in rows {
        let Some(value) = &row.value else {
            continue;
        };
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE).unwrap();
        match row.key[0] {
            // What the peer made for us, and the chain key of what we encrypt to.
            2 => {
                r.array().unwrap();
                (0..4).for_each(|_| r.skip().unwrap());
                r.array().unwrap();
                r.skip().unwrap();
                take_secret(&mut r, &mut found);
                if r.peek().unwrap() == Kind::Array {
                    r.array().unwrap();
                    (0..3).for_each(|_| take_secret(&mut r, &mut found));
                }
            }
            // Own keys by place, each with its chain key.
            3 => {
                for _ in 0..r.map().unwrap() {
                    r.skip().unwrap();
                    r.array().unwrap();
                    (0..2).for_each(|_| take_secret(&mut r, &mut found));
                }
            }
            // Own X-Wing seeds by index.
            12 => {
                r.array().unwrap();
                for _ in 0..r.map().unwrap() {
                    r.skip().unwrap();
                    take_secret(&mut r, &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

fn take_secret(r: &mut Reader<'_>, found: &mut Vec<Vec<u8>>) {
    match r.peek().unwrap() {
        Kind::Bytes => found.push(r.bytes().unwrap().to_vec()),
        _ => r.skip().unwrap(),
    }
}

#[test]
fn hybrid_sessions_erase_what_they_used() {
    let _turn = TURN.lock().unwrap();
    let mut rng = life_rng("zeroisation", 5);
    let mut both = people(2, 0, &mut rng);
    let mut config = SuiteConfig::new([7; 32]);
    config.hybrid_every = 2;
    speak(&mut both, Some(config), 0, 5);
    let ids = [both[0].id, both[1].id];
    let mut groups: Vec<data::Group> = ids
        .iter()
        .map(|id| data::Group::new(*id, data::Members::default()).with_suites(config))
        .collect();
    let mut seen = 0;
    for round in 0..12 {
        let rows: Vec<Row> = groups.iter_mut().flat_map(data::Group::changes).collect();
        let secrets = channel_secrets(&rows);
        drop(rows);
        let watched = secrets.iter().take(SECRETS_MAX);
        watched.for_each(|secret| watch_for(secret));
        seen += secrets.len();
        let author = round % 2;
        let found = leaks(|| {
            let context = both[author].context(START + 2);
            let draft = match round {
                0 => groups[0].create(&ids, &context, &mut rng),
                _ => groups[author].update(&context, &mut rng),
            };
            let prepared = draft.unwrap().seal().unwrap();
            let message = Message {
                id: operation(&mut rng),
                sender: ids[author],
                dependencies: prepared.dependencies().to_vec(),
                payload: data::Payload::Control {
                    control: prepared.control().clone(),
                    directs: prepared.directs().cloned().collect(),
                },
            };
            let mut context = both[author].context(START + 2);
            let committed = groups[author].commit(prepared, message.id, &mut context);
            committed.unwrap();
            groups[1 - author].receive(message).unwrap();
            let event = groups[1 - author].poll(&mut both[1 - author].context(START + 2));
            assert!(!matches!(event, None | Some(data::Event::Failed { .. })));
            drop(data::Group::<data::Members>::decode(&groups[author].encode()).unwrap());
        });
        assert_eq!(found, 0, "round {round}");
    }
    assert!(seen > 50, "{seen}");
    let rows: Vec<Row> = groups.iter_mut().flat_map(data::Group::changes).collect();
    let secrets = channel_secrets(&rows);
    assert!(secrets.len() > 8);
    let watched = secrets.iter().take(SECRETS_MAX);
    watched.for_each(|secret| watch_for(secret));
    assert_eq!(leaks(|| drop((rows, groups, both))), 0);
}

/// The chains and member secrets of the layout that is stored.
fn chains(layout: &[u8]) -> Vec<Vec<u8>> {
    let mut r = Reader::checked(layout, p2panda_core::cbor::VALUE).unwrap();
    let mut found = Vec::new();
    for _ in 0..r.map().unwrap() {
        let field = r.text().unwrap();
        if field != "ratchet" && field != "member_secrets" {
            r.skip().unwrap();
            continue;
        }
        for _ in 0..r.map().unwrap() {
            r.skip().unwrap();
            found.push(r.bytes().unwrap().to_vec());
        }
    }
    found
}

#[test]
fn a_message_group_erases_its_chains() {
    let _turn = TURN.lock().unwrap();
    let mut rng = life_rng("zeroisation", 4);
    let mut people = people(3, 1, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let me = &mut people[0];
    let mut agreement = message::Agreement::new(ids[0], message::Views::default());
    let draft = agreement.create(&ids, &me.context(START + 1), &mut rng);
    let prepared = draft.unwrap().seal().unwrap();
    let id = operation(&mut rng);
    let mut context = me.context(START + 1);
    agreement
        .apply(prepared, id, &mut context, &mut rng)
        .unwrap();
    for _ in 0..10 {
        let secrets = chains(&agreement.encode_layout(&me.keys, &me.registry));
        assert!(secrets.len() > 1);
        secrets.iter().take(8).for_each(|secret| watch_for(secret));
        let found = leaks(|| {
            let context = me.context(START + 1);
            let draft = agreement.seed(Change::Update.into(), &ids, &context, &mut rng);
            let prepared = draft.unwrap().seal().unwrap();
            let id = operation(&mut rng);
            let mut context = me.context(START + 1);
            let applied = agreement.apply(prepared, id, &mut context, &mut rng);
            drop(applied.unwrap().unwrap());
            agreement = message::Agreement::decode(&agreement.encode()).unwrap();
        });
        assert_eq!(found, 0);
    }
}

#[test]
fn a_message_ratchet_erases_its_keys() {
    let _turn = TURN.lock().unwrap();
    let mut rng = life_rng("zeroisation", 3);
    let secret = Secret::random(&mut rng);
    watch_for(&secret.encode()[2..]);
    let again = Secret::decode(&secret.encode()).unwrap();
    let found = leaks(|| {
        let mut sender = message::Ratchet::new(secret);
        let mut receiver = message::DecryptionRatchet::new(again);
        let mut late = Vec::new();
        for index in 0..50 {
            let (generation, sealed) = sender.seal(b"panda").unwrap();
            if index % 3 == 0 {
                receiver.open(generation, &sealed, 100, 100).unwrap();
            } else {
                late.push((generation, sealed));
            }
        }
        for (generation, sealed) in late {
            receiver.open(generation, &sealed, 100, 100).unwrap();
        }
        drop(message::DecryptionRatchet::decode(&receiver.encode()).unwrap());
    });
    assert_eq!(found, 0);
}
