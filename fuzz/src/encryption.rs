//! Targets of `p2panda-encryption`.

use std::cell::RefCell;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::{Hash, SigningKey};
use p2panda_encryption::two_party::{Session, TwoPartyMessage};
use p2panda_encryption::{
    Bundle, Context, DirectMessage, HybridBundle, Lifetime, LongTermBundle, Member, Message,
    OneTimeBundle, OwnKeys, Registry, SecretKey, Wire, data, hpke, message, x3dh,
};

const NOW: u64 = 1_790_000_000;

/// Every wire decoder and stored state, chosen by the first byte.
pub fn decoders(input: &[u8]) {
    let Some((selector, bytes)) = input.split_first() else {
        return;
    };
    match selector % 18 {
        0 => stable::<TwoPartyMessage>(bytes),
        1 => stable::<DirectMessage>(bytes),
        2 => stable::<data::Control>(bytes),
        3 => stable::<message::Control>(bytes),
        4 => stable::<data::SecretBundle>(bytes),
        5 => stable::<LongTermBundle>(bytes),
        6 => stable::<OneTimeBundle>(bytes),
        7 => stable::<x3dh::X3dhCiphertext>(bytes),
        8 => stable::<hpke::HpkeCiphertext>(bytes),
        9 => stable::<data::Members>(bytes),
        10 => stable::<message::Views>(bytes),
        11 => stable::<data::Payload>(bytes),
        12 => stable::<message::Payload>(bytes),
        13 => stable::<Session>(bytes),
        14 => stable::<OwnKeys>(bytes),
        16 => stable::<HybridBundle>(bytes),
        17 => stable::<x3dh::HybridFirst>(bytes),
        _ => stable::<Registry>(bytes),
    }
}

/// Checks that what decodes has one encoding, which decodes again.
fn stable<T: Wire>(bytes: &[u8]) {
    let Ok(value) = T::decode(bytes) else {
        return;
    };
    let first = value.encode();
    let again = T::decode(&first).expect("own output decodes");
    assert_eq!(*again.encode(), *first);
}

/// Messages of a 2SM conversation, altered: the first byte chooses one, the others alter it.
pub fn two_party(input: &[u8]) {
    thread_local! {
        static TALK: RefCell<Talk> = RefCell::new(Talk::new());
    }
    TALK.with_borrow_mut(|talk| talk.receive(input));
}

struct Talk {
    keys: Vec<u8>,
    session: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

impl Talk {
    fn new() -> Talk {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        keys.rotate_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
        let theirs = OwnKeys::new(SecretKey::random(&mut rng));
        let bundle = Bundle::LongTerm(keys.long_term_bundle(NOW).expect("a pre-key"));
        let mut alice = Session::to_send(bundle);
        let mut bob = Session::to_receive();
        let mut messages = Vec::new();
        for index in 0..4_u8 {
            let sent = alice.send(&theirs, &[index; 40], NOW, &mut rng);
            let sent = sent.expect("a bundle");
            messages.push(sent.encode().to_vec());
            if index == 0 {
                bob.receive(&mut keys, None, &sent)
                    .expect("the first message");
                bob.send(&keys, b"reply", NOW, &mut rng).expect("a key");
            }
        }
        Talk {
            keys: keys.encode().to_vec(),
            session: bob.encode().to_vec(),
            messages,
        }
    }

    fn receive(&mut self, input: &[u8]) {
        let Some((choice, changes)) = input.split_first() else {
            return;
        };
        let bytes = match self.messages.get(usize::from(*choice)) {
            Some(message) => altered(message, changes),
            None => changes.to_vec(),
        };
        let Ok(message) = TwoPartyMessage::decode(&bytes) else {
            return;
        };
        let mut keys = OwnKeys::decode(&self.keys).expect("own output");
        let mut session = Session::decode(&self.session).expect("own output");
        if session.receive(&mut keys, None, &message).is_err() {
            assert_eq!(*session.encode(), self.session);
            assert_eq!(*keys.encode(), self.keys);
        }
    }
}

/// Messages of a data group and of a message group in any order, altered or not.
pub fn group(input: &[u8]) {
    thread_local! {
        static WORLD: RefCell<World> = RefCell::new(World::new());
    }
    WORLD.with_borrow_mut(|world| world.receive(input));
}

/// The second of three members, and what the others sent to it.
struct World {
    keys: Vec<u8>,
    registry: Vec<u8>,
    data: (Vec<u8>, Vec<Message<data::Payload>>),
    message: (Vec<u8>, Vec<Message<message::Payload>>),
}

struct Person {
    id: Member,
    keys: OwnKeys,
    registry: Registry,
}

impl Person {
    fn context(&mut self) -> Context<'_> {
        Context::new(&mut self.keys, &mut self.registry, NOW)
    }
}

fn people(rng: &mut ChaCha20Rng) -> Vec<Person> {
    let mut people: Vec<Person> = (0..3)
        .map(|_| {
            let mut keys = OwnKeys::new(SecretKey::random(rng));
            keys.rotate_prekey(Lifetime::starting(NOW, 1_000), rng);
            Person {
                id: SigningKey::generate(rng).verifying_key(),
                keys,
                registry: Registry::new(),
            }
        })
        .collect();
    for owner in 0..people.len() {
        let id = people[owner].id;
        let long = people[owner].keys.long_term_bundle(NOW).expect("a pre-key");
        for reader in 0..people.len() {
            let one = people[owner].keys.one_time_bundle(NOW, rng);
            let registry = &mut people[reader].registry;
            registry
                .add_long_term(id, long, NOW)
                .expect("a good bundle");
            let one = one.expect("a pre-key");
            registry.add_one_time(id, one, NOW).expect("a good bundle");
        }
    }
    people
}

fn operation(rng: &mut ChaCha20Rng) -> Hash {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    Hash::from_bytes(bytes)
}

impl World {
    fn new() -> World {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let mut people = people(&mut rng);
        let (keys, registry) = (people[1].keys.encode(), people[1].registry.encode());
        let data = data_messages(&mut people, &mut rng);
        let message = message_messages(&mut people, &mut rng);
        let me = people[1].id;
        let empty = data::Group::new(me, data::Members::default());
        let empty_message =
            message::Group::new(me, message::Views::default(), message::Config::default());
        World {
            keys: keys.to_vec(),
            registry: registry.to_vec(),
            data: (empty.encode().to_vec(), data),
            message: (empty_message.encode().to_vec(), message),
        }
    }

    /// Three bytes per step: which message, and two that alter it if they are not zero.
    fn receive(&mut self, input: &[u8]) {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut keys = OwnKeys::decode(&self.keys).expect("own output");
        let mut registry = Registry::decode(&self.registry).expect("own output");
        let mut context = Context::new(&mut keys, &mut registry, NOW);
        let mut data: data::Group = data::Group::decode(&self.data.0).expect("own output");
        let mut messages: message::Group =
            message::Group::decode(&self.message.0).expect("own output");
        for step in input.chunks_exact(3).take(64) {
            let choice = usize::from(step[0] / 2);
            if step[0] % 2 == 0 {
                let message = self.data.1.get(choice);
                let Some(message) = message.and_then(|one| with_altered(one, &step[1..])) else {
                    continue;
                };
                let before = data.encode();
                if data.receive(message).is_err() {
                    assert_eq!(*data.encode(), *before);
                }
                while data.poll(&mut context).is_some() {}
            } else {
                let message = self.message.1.get(choice);
                let Some(message) = message.and_then(|one| with_altered(one, &step[1..])) else {
                    continue;
                };
                let before = messages.encode();
                if messages.receive(message).is_err() {
                    assert_eq!(*messages.encode(), *before);
                }
                while messages.poll(&mut context, &mut rng).is_some() {
                    messages.published(operation(&mut rng));
                }
            }
        }
        let stored = data.encode();
        let again = data::Group::<data::Members>::decode(&stored).expect("own output");
        assert_eq!(*again.encode(), *stored);
        let stored = messages.encode();
        let again = message::Group::<message::Views>::decode(&stored).expect("own output");
        assert_eq!(*again.encode(), *stored);
    }
}

fn data_messages(people: &mut [Person], rng: &mut ChaCha20Rng) -> Vec<Message<data::Payload>> {
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let mut group: data::Group = data::Group::new(ids[0], data::Members::default());
    let mut all = Vec::new();
    for step in 0..6 {
        let context = people[0].context();
        let draft = match step {
            0 => group.create(&ids[..2], &context, rng),
            2 => group.add(ids[2], 9, &context, rng).map(|(draft, _)| draft),
            4 => group.remove(ids[2], &context, rng),
            5 => group.remove(ids[1], &context, rng),
            _ => group.update(&context, rng),
        };
        let prepared = draft.expect("an operation").seal().expect("sealed");
        let message = Message {
            id: operation(rng),
            sender: ids[0],
            dependencies: prepared.dependencies().to_vec(),
            payload: data::Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = people[0].context();
        group
            .commit(prepared, message.id, &mut context)
            .expect("current");
        all.push(message);
        let sent = group.send(b"panda", rng).expect("a secret");
        let message = Message {
            id: operation(rng),
            sender: ids[0],
            dependencies: sent.dependencies,
            payload: sent.payload,
        };
        all.push(message);
    }
    all
}

fn message_messages(
    people: &mut [Person],
    rng: &mut ChaCha20Rng,
) -> Vec<Message<message::Payload>> {
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let config = message::Config::default();
    let mut group: message::Group = message::Group::new(ids[0], message::Views::default(), config);
    let mut all = Vec::new();
    for step in 0..6 {
        let context = people[0].context();
        let draft = match step {
            0 => group.create(&ids[..2], &context, rng),
            2 => group.add(ids[2], &context, rng),
            4 => group.remove(ids[2], &context, rng),
            5 => group.remove(ids[1], &context, rng),
            _ => group.update(&context, rng),
        };
        let prepared = draft.expect("an operation").seal().expect("sealed");
        let message = Message {
            id: operation(rng),
            sender: ids[0],
            dependencies: prepared.dependencies().to_vec(),
            payload: message::Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = people[0].context();
        let done = group.commit(prepared, message.id, &mut context, rng);
        done.expect("current");
        all.push(message);
        let sent = group.send(b"panda").expect("a ratchet");
        let message = Message {
            id: operation(rng),
            sender: ids[0],
            dependencies: sent.dependencies,
            payload: sent.payload,
        };
        group.published(message.id);
        all.push(message);
    }
    all
}

/// The message with its payload altered, if that still is one.
fn with_altered<P: Wire + Clone>(message: &Message<P>, changes: &[u8]) -> Option<Message<P>> {
    let payload = P::decode(&altered(&message.payload.encode(), changes)).ok()?;
    Some(Message {
        payload,
        ..message.clone()
    })
}

/// Each pair of bytes alters one byte: a position (scaled to the length) and what to add.
fn altered(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes.chunks_exact(2) {
        let position = usize::from(change[0]) * bytes.len() / 256;
        if let Some(byte) = bytes.get_mut(position) {
            *byte = byte.wrapping_add(change[1]);
        }
    }
    bytes
}

/// Inputs to start from: the honest messages.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let talk = Talk::new();
    let world = World::new();
    let mut decoders: Vec<Vec<u8>> = Vec::new();
    let mut add = |selector: u8, bytes: &[u8]| decoders.push([&[selector], bytes].concat());
    talk.messages.iter().for_each(|bytes| add(0, bytes));
    for one in &world.data.1 {
        add(11, &one.payload.encode());
    }
    for one in &world.message.1 {
        add(12, &one.payload.encode());
    }
    add(13, &talk.session);
    add(14, &world.keys);
    add(15, &world.registry);
    let mut rng = ChaCha20Rng::from_seed([16; 32]);
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    keys.rotate_hybrid_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
    let bundle = keys.hybrid_bundle(NOW).expect("a pre-key was made");
    add(16, &bundle.encode());
    let two_party = (0..4).map(|index| vec![index, 0, 0]).collect();
    let all: Vec<u8> = (0..24).flat_map(|choice| [choice, 0, 0]).collect();
    let backwards: Vec<u8> = (0..24).rev().flat_map(|choice| [choice, 0, 0]).collect();
    vec![
        ("encryption_decoders", decoders),
        ("encryption_two_party", two_party),
        ("encryption_group", vec![all, backwards]),
    ]
}
