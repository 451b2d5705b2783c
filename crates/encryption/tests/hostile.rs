//! A failure leaves every state as it was, byte for byte, and the honest message still opens.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{self, GroupSecret, Members};
use p2panda_encryption::message::{self, Views};
use p2panda_encryption::{
    Context, DirectMessage, Member, OperationId, OwnKeys, Registry, Secret, Wire,
};
use world::*;

/// The receiver of a group's first message.
struct Victim {
    keys: Vec<u8>,
    registry: Vec<u8>,
    agreement: Vec<u8>,
}

impl Victim {
    /// Gives a message to a copy of the victim. Tells whether it was taken.
    fn takes<A: Wire, E>(
        &self,
        process: impl FnOnce(&mut A, &mut Context<'_>) -> Result<(), E>,
    ) -> bool {
        let mut keys = OwnKeys::decode(&self.keys).unwrap();
        let mut registry = Registry::decode(&self.registry).unwrap();
        let mut agreement = A::decode(&self.agreement).unwrap();
        let mut context = Context::new(&mut keys, &mut registry, START + 1);
        if process(&mut agreement, &mut context).is_ok() {
            return true;
        }
        assert_eq!(*keys.encode(), self.keys);
        assert_eq!(*registry.encode(), self.registry);
        assert_eq!(*agreement.encode(), self.agreement);
        false
    }
}

fn victim(person: &Person, agreement: &impl Wire) -> Victim {
    Victim {
        keys: person.keys.encode().to_vec(),
        registry: person.registry.encode().to_vec(),
        agreement: agreement.encode().to_vec(),
    }
}

/// The message with one byte altered, for every byte, as far as it still decodes.
fn altered(direct: &DirectMessage) -> impl Iterator<Item = DirectMessage> {
    let bytes = direct.encode().to_vec();
    let honest = direct.clone();
    let alter = move |position: usize| {
        let mut bytes = bytes.clone();
        bytes[position] ^= 1;
        DirectMessage::decode(&bytes).ok()
    };
    (0..direct.encode().len())
        .filter_map(alter)
        .filter(move |direct| *direct != honest)
}

/// Alters a message in all ways, attributes it to others, repeats it, and leaves it out.
fn attack(
    senders: [Member; 2],
    direct: &DirectMessage,
    takes: impl Fn(Member, Option<&DirectMessage>) -> bool,
) {
    let mut tried = 0;
    for direct in altered(direct) {
        assert!(!takes(senders[0], Some(&direct)), "{direct:?}");
        tried += 1;
    }
    assert!(tried > 100);
    assert!(!takes(senders[1], Some(direct)), "of a foreign sender");
    assert!(takes(senders[0], Some(direct)));
}

fn scene(seed: u64) -> (ChaCha20Rng, Vec<Person>, Vec<Member>, OperationId) {
    let mut rng = life_rng("hostile", seed);
    let people = people(3, 2, &mut rng);
    let ids = people.iter().map(|person| person.id).collect();
    let id = operation(&mut rng);
    (rng, people, ids, id)
}

#[test]
fn what_fails_in_the_data_scheme_changes_nothing() {
    let (mut rng, mut people, ids, id) = scene(0);
    let author: data::Agreement<Members> = data::Agreement::new(ids[0], Members::default());
    let secret = GroupSecret::new(Secret::random(&mut rng), START);
    let context = people[0].context(START + 1);
    let draft = author.create(&ids, secret, &context, &mut rng).unwrap();
    let prepared = draft.seal().unwrap();
    let direct = prepared.directs().find(|d| d.recipient == ids[1]).unwrap();
    let fresh: data::Agreement<Members> = data::Agreement::new(ids[1], Members::default());
    let victim = victim(&people[1], &fresh);
    attack([ids[0], ids[2]], direct, |sender, direct| {
        victim.takes(|agreement: &mut data::Agreement<Members>, context| {
            let control = prepared.control();
            let processed = agreement.process(id, sender, control, direct, context);
            processed.map(drop)
        })
    });
}

#[test]
fn what_fails_in_the_message_scheme_changes_nothing() {
    let (mut rng, mut people, ids, id) = scene(1);
    let author: message::Agreement<Views> = message::Agreement::new(ids[0], Views::default());
    let context = people[0].context(START + 1);
    let draft = author.create(&ids, &context, &mut rng).unwrap();
    let prepared = draft.seal().unwrap();
    let direct = prepared.directs().find(|d| d.recipient == ids[1]).unwrap();
    let fresh: message::Agreement<Views> = message::Agreement::new(ids[1], Views::default());
    let victim = victim(&people[1], &fresh);
    attack([ids[0], ids[2]], direct, |sender, direct| {
        victim.takes(|agreement: &mut message::Agreement<Views>, context| {
            let control = prepared.control();
            let rng = &mut life_rng("hostile answer", 0);
            let processed = agreement.process(id, sender, control, direct, context, rng);
            processed.map(drop)
        })
    });
}
