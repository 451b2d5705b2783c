//! Promises of groups with the hybrid suite (`docs/protocol/encryption-hybrid.md`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{Draft, Event, Failure, Group, Members, Need, Payload, Prepared};
use p2panda_encryption::two_party::TwoPartyCiphertext;
use p2panda_encryption::xwing::XWingSecret;
use p2panda_encryption::{
    BundleError, Content, HybridBundle, Lifetime, Limit, Member, Message, OperationError,
    OperationId, Registry, RegistryError, Suite, SuiteConfig, Wire, message,
};
use world::*;

const NOW: u64 = START + 2;
const GROUP: [u8; 32] = [7; 32];

struct Device {
    person: Person,
    group: Group,
}

impl Device {
    fn commit(&mut self, draft: Draft, rng: &mut ChaCha20Rng) -> (OperationId, Message<Payload>) {
        let prepared: Prepared = draft.seal().unwrap();
        let id = operation(rng);
        let message = Message {
            id,
            sender: self.person.id,
            dependencies: prepared.dependencies().to_vec(),
            payload: Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = self.person.context(NOW);
        self.group.commit(prepared, id, &mut context).unwrap();
        (id, message)
    }

    fn take(&mut self, message: Message<Payload>) -> Event {
        self.group.receive(message).unwrap();
        self.group.poll(&mut self.person.context(NOW)).unwrap()
    }
}

fn config(hybrid_every: u32) -> SuiteConfig {
    let mut config = SuiteConfig::new(GROUP);
    config.hybrid_every = hybrid_every;
    config
}

/// People whose groups have hybrid channels.
fn devices(count: usize, hybrid_every: u32, rng: &mut ChaCha20Rng) -> Vec<Device> {
    let mut people = people(count, 0, rng);
    speak(&mut people, Some(config(hybrid_every)), 0, 1);
    let device = |person: Person| Device {
        group: Group::new(person.id, Members::default()).with_suites(config(hybrid_every)),
        person,
    };
    people.into_iter().map(device).collect()
}

fn others(devices: &[Device]) -> Vec<Member> {
    devices[1..].iter().map(|device| device.person.id).collect()
}

/// Bytes of control and direct messages, and the kinds of the latter.
fn weigh(message: &Message<Payload>) -> (usize, Vec<TwoPartyCiphertext>) {
    let Payload::Control { control, directs } = &message.payload else {
        panic!("a control message");
    };
    let bytes = directs.iter().map(|direct| direct.encode().len());
    let kinds = directs.iter().map(|direct| match &direct.content {
        Content::TwoParty { ciphertext } => ciphertext.ciphertext.clone(),
        _ => panic!("a secret"),
    });
    (
        control.encode().len() + bytes.sum::<usize>(),
        kinds.collect(),
    )
}

fn is_hybrid(kind: &TwoPartyCiphertext) -> bool {
    !matches!(kind, TwoPartyCiphertext::Chained { .. })
}

#[test]
fn rotations_of_128_members_keep_to_their_bytes() {
    let mut rng = life_rng("bytes", 0);
    for (every, bytes_max) in [(1, 320_000), (16, 60_000)] {
        let mut devices = devices(128, every, &mut rng);
        let members = others(&devices);
        let alice = &mut devices[0];
        let context = alice.person.context(NOW);
        let create = alice.group.create(&members, &context, &mut rng).unwrap();
        let (_, create) = alice.commit(create, &mut rng);
        assert!(weigh(&create).1.iter().all(is_hybrid));
        let (mut bytes, mut hybrid) = (0, 0);
        for _ in 0..16 {
            let context = alice.person.context(NOW);
            let update = alice.group.update(&context, &mut rng).unwrap();
            let (_, update) = alice.commit(update, &mut rng);
            let (weight, kinds) = weigh(&update);
            bytes += weight;
            hybrid += usize::from(kinds.iter().all(is_hybrid));
        }
        assert_eq!(hybrid, 16 / every as usize);
        assert!(bytes / 16 <= bytes_max, "{bytes}");
        let context = alice.person.context(NOW);
        let remove = alice.group.remove(members[0], &context, &mut rng).unwrap();
        let (_, remove) = alice.commit(remove, &mut rng);
        assert!(
            weigh(&remove).1.iter().all(is_hybrid),
            "a removal is hybrid"
        );
    }
}

/// The seeds that the channels of a group keep, as its rows have them: a map from own indices.
fn seeds(group: &mut Group) -> Vec<Vec<u8>> {
    let rows = group.changes().into_iter().filter_map(|row| row.value);
    let seeds = rows.filter(|value| value.starts_with(&[0x82, 0xa1, 1, 0x58, 32]));
    seeds.map(|value| value[5..37].to_vec()).collect()
}

#[test]
fn one_operation_announces_the_same_key_to_everybody() {
    let mut rng = life_rng("announced", 0);
    let mut devices = devices(4, 1, &mut rng);
    let members = others(&devices);
    let alice = &mut devices[0];
    let context = alice.person.context(NOW);
    let create = alice.group.create(&members, &context, &mut rng).unwrap();
    alice.commit(create, &mut rng);
    let seeds = seeds(&mut alice.group);
    assert_eq!(seeds.len(), 3);
    assert!(seeds.iter().all(|seed| *seed == seeds[0]));
}

#[test]
fn a_member_without_a_hybrid_bundle_is_left_out_and_named() {
    let mut rng = life_rng("left out", 0);
    let mut devices = devices(3, 4, &mut rng);
    let members = others(&devices);
    // Bob shows classic bundles only.
    let stranger = people(1, 0, &mut rng).remove(0);
    let bundle = stranger.keys.long_term_bundle(START).unwrap();
    let alice = &mut devices[0];
    let registry = &mut alice.person.registry;
    registry.add_long_term(stranger.id, bundle, START).unwrap();
    assert!(!registry.speaks_hybrid(&stranger.id) && registry.speaks_hybrid(&members[0]));
    let everybody = [members, vec![stranger.id]].concat();
    let context = alice.person.context(NOW);
    let create = alice.group.create(&everybody, &context, &mut rng).unwrap();
    let left_out: Vec<_> = create.left_out().iter().map(|left| left.member).collect();
    assert_eq!(left_out, [stranger.id]);
    let (_, create) = alice.commit(create, &mut rng);
    assert_eq!(weigh(&create).1.len(), 2);
    assert!(alice.group.is_post_quantum());
}

/// Withholding or expiry of hybrid bundles brings nobody down to the classic suite.
#[test]
fn a_member_that_spoke_the_suite_is_never_downgraded() {
    let mut rng = life_rng("remembered", 0);
    let mut devices = devices(2, 4, &mut rng);
    let bob = others(&devices)[0];
    let late = START + 1_500_000;
    let lifetime = Lifetime::starting(late, 1_000_000);
    devices[1].person.keys.rotate_prekey(lifetime, &mut rng);
    let classic = devices[1].person.keys.long_term_bundle(late).unwrap();
    let alice = &mut devices[0];
    let registry = &mut alice.person.registry;
    registry.add_long_term(bob, classic, late).unwrap();
    registry.remove_expired(late);
    let mut store = Store::default();
    store.write(registry.changes());
    *registry = Registry::load(store.rows()).unwrap();
    assert!(registry.speaks_hybrid(&bob));
    assert!(registry.long_term(&bob, late).unwrap().is_some());
    let expired = registry.hybrid(&bob, late).unwrap_err();
    assert_eq!(expired, RegistryError::KeyBundlesExpired);
    let context = alice.person.context(late);
    let create = alice.group.create(&[bob], &context, &mut rng).unwrap();
    let left_out: Vec<_> = create.left_out().iter().map(|left| left.member).collect();
    assert_eq!(left_out, [bob]);
}

#[test]
fn a_group_takes_nothing_of_the_other_suite() {
    let mut rng = life_rng("other suite", 0);
    let mut devices = devices(3, 4, &mut rng);
    let members = others(&devices);
    let [alice, bob, carol] = &mut devices[..] else {
        panic!("three");
    };
    carol.group = Group::new(carol.person.id, Members::default());
    assert!(!carol.group.is_post_quantum());
    let context = alice.person.context(NOW);
    let create = alice.group.create(&members, &context, &mut rng).unwrap();
    let (_, create) = alice.commit(create, &mut rng);
    assert!(matches!(carol.take(create), Event::Failed { .. }));

    let mut classic = Group::new(alice.person.id, Members::default());
    std::mem::swap(&mut alice.group, &mut classic);
    let context = alice.person.context(NOW);
    let create = alice.group.create(&members, &context, &mut rng).unwrap();
    let (_, create) = alice.commit(create, &mut rng);
    let suites = weigh(&create).1;
    assert!(suites.iter().all(|kind| kind.suite() == Suite::Classic));
    let before = bob.group.members().is_ok();
    let Event::Failed { failure, .. } = bob.take(create) else {
        panic!("a downgrade");
    };
    assert!(matches!(failure, Failure::Process(_)) && failure.needs() != Some(Need::Room));
    assert!(!before && bob.group.members().is_err());
    // A group that has begun stays as it is.
    let group = std::mem::replace(&mut alice.group, classic);
    assert!(!group.with_suites(config(1)).is_post_quantum());
}

#[test]
fn a_group_of_another_name_opens_nothing() {
    let mut rng = life_rng("other group", 0);
    let mut devices = devices(2, 4, &mut rng);
    let members = others(&devices);
    let bob = devices[1].person.id;
    let elsewhere = SuiteConfig::new([8; 32]);
    devices[1].group = Group::new(bob, Members::default()).with_suites(elsewhere);
    let alice = &mut devices[0];
    let context = alice.person.context(NOW);
    let create = alice.group.create(&members, &context, &mut rng).unwrap();
    let (_, create) = alice.commit(create, &mut rng);
    assert!(matches!(devices[1].take(create), Event::Failed { .. }));
}

#[test]
fn where_headers_are_bounded_there_is_no_hybrid_group() {
    let mut rng = life_rng("bounded", 0);
    let mut devices = devices(2, 4, &mut rng);
    let members = others(&devices);
    let alice = &mut devices[0];
    let mut context = alice.person.context(NOW);
    context.elements_max = Some(p2panda_encryption::HEADER_ELEMENTS_0_7_1);
    let refused = alice.group.create(&members, &context, &mut rng);
    let refused = refused.unwrap_err();
    assert!(matches!(
        refused,
        OperationError::Deliver(p2panda_encryption::DeliverError::Limit(Limit::HeaderString))
    ));
    let mut members_only = message::Group::new(
        alice.person.id,
        message::Views::default(),
        message::Config::default(),
    );
    members_only = members_only.with_suites(config(1));
    assert!(members_only.is_post_quantum());
}

#[test]
fn no_part_of_a_hybrid_bundle_can_be_exchanged() {
    let mut rng = life_rng("bundle", 0);
    let both = devices(2, 4, &mut rng);
    let [one, two] = [0, 1].map(|owner: usize| {
        let bundle = both[owner].person.keys.hybrid_bundle(NOW).unwrap();
        bundle.clone()
    });
    assert_eq!(one.verify(NOW), Ok(()));
    assert_eq!(HybridBundle::decode(&one.encode()).unwrap(), one);
    let mut later = one.signed_prekey;
    later.lifetime.not_after += 1;
    let altered = [
        HybridBundle {
            xwing: XWingSecret::random(&mut rng).public_key(),
            ..one.clone()
        },
        HybridBundle {
            signed_prekey: two.signed_prekey,
            ..one.clone()
        },
        HybridBundle {
            signed_prekey: later,
            ..one.clone()
        },
        HybridBundle {
            identity_key: two.identity_key,
            ..one.clone()
        },
        HybridBundle {
            suites: vec![2],
            ..one.clone()
        },
        HybridBundle {
            signature: two.signature,
            ..one.clone()
        },
    ];
    for bundle in altered {
        assert!(matches!(bundle.verify(NOW), Err(BundleError::Signature(_))));
    }
    let without = HybridBundle {
        suites: vec![1],
        ..one.clone()
    };
    assert_eq!(without.verify(NOW), Err(BundleError::Suites));
    assert_eq!(
        one.verify(START + 2_000_000),
        Err(BundleError::InvalidLifetime)
    );
    // A classic signature over the pre-key is none over the bundle.
    let classic = both[0].person.keys.long_term_bundle(NOW).unwrap();
    let borrowed = HybridBundle {
        signature: classic.prekey_signature,
        ..one
    };
    assert!(borrowed.verify(NOW).is_err());
}

/// A pre-key that opened a first message is removed some time after the next one was drawn. What comes
/// later in the channel still opens.
#[test]
fn a_used_pre_key_is_removed_after_the_next_one() {
    let mut rng = life_rng("used", 0);
    let mut devices = devices(2, 4, &mut rng);
    let members = others(&devices);
    let (drawn, kept_s) = (START + 1, 1_000);
    let [alice, bob] = &mut devices[..] else {
        panic!("two")
    };
    let later = drawn + kept_s;
    assert!(
        !bob.person.keys.is_newest_used(later, kept_s),
        "nothing came"
    );
    let context = alice.person.context(NOW);
    let create = alice.group.create(&members, &context, &mut rng).unwrap();
    let (_, create) = alice.commit(create, &mut rng);
    bob.take(create);
    let keys = &mut bob.person.keys;
    assert!(!keys.is_newest_used(later - 1, kept_s));
    assert!(keys.is_newest_used(later, kept_s));
    assert!(
        !keys.remove_used(later + kept_s, kept_s),
        "it is the newest"
    );
    let rows = keys.changes().into_iter();
    let rows: Vec<_> = rows.filter_map(|row| Some((row.key, row.value?))).collect();
    let stored = rows.iter().map(|(key, value)| (key, &**value));
    assert_eq!(p2panda_encryption::OwnKeys::load(stored).unwrap(), *keys);

    keys.rotate_hybrid_prekey(Lifetime::starting(later, 1_000_000), &mut rng);
    assert!(!keys.is_newest_used(later + kept_s, kept_s));
    assert!(!keys.has_used(later + kept_s - 1, kept_s));
    assert!(!keys.remove_used(later + kept_s - 1, kept_s));
    assert!(keys.has_used(later + kept_s, kept_s));
    assert!(keys.remove_used(later + kept_s, kept_s));
    assert!(!keys.remove_used(later + kept_s, kept_s), "it is removed");
    let context = alice.person.context(NOW);
    let update = alice.group.update(&context, &mut rng).unwrap();
    let (_, update) = alice.commit(update, &mut rng);
    assert!(matches!(bob.take(update), Event::Changed { .. }));
    // The same first message from somebody else, or again, finds no pre-key.
    let context = alice.person.context(NOW);
    alice.group.restart(members[0]);
    let update = alice.group.update(&context, &mut rng).unwrap();
    let (_, update) = alice.commit(update, &mut rng);
    assert!(matches!(bob.take(update), Event::Failed { .. }));
}
