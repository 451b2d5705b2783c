//! Targets of `p2panda-spaces`.

use std::cell::RefCell;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::{Hash, Signature, SigningKey, Topic, VerifyingKey};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
use p2panda_groups::Member;
use p2panda_spaces::{
    Desk, DeviceChange, Message, Outgoing, PersonCard, RecoveryContent, Role, Sealed, Signer,
    SpaceId, Spaces, SpacesArgs,
};

const NOW: u64 = 1_790_000_000;

/// A message, a card or the content of a recovery file that decodes has one encoding, which decodes
/// again; nothing is taken from a card but what is about its person.
pub fn decoder(input: &[u8]) {
    card(input);
    if let Ok(content) = RecoveryContent::decode(input) {
        let first = content.encode();
        let again = RecoveryContent::decode(&first).expect("own output decodes");
        assert_eq!(again.encode(), first);
    }
    let Ok(args) = SpacesArgs::decode(input) else {
        return;
    };
    let first = args.encode();
    let again = SpacesArgs::decode(&first).expect("own output decodes");
    assert_eq!(again, args);
    assert_eq!(again.encode(), first);
}

fn card(input: &[u8]) {
    let Ok(card) = PersonCard::decode(input) else {
        return;
    };
    let first = card.encode();
    assert_eq!(
        PersonCard::decode(&first).expect("own output decodes"),
        card
    );
    let mut spaces = Spaces::new(SigningKey::from_bytes(&[8; 32]).verifying_key());
    if spaces.take_card(&card).is_ok() && !card.operations.is_empty() {
        let again = spaces.card(card.person).expect("it is known");
        assert!(again.operations.len() <= card.operations.len());
        assert!(
            again
                .operations
                .iter()
                .all(|one| card.operations.contains(one))
        );
    }
}

/// Signs for itself, and publishes nothing.
struct Pen(SigningKey);

impl Signer for Pen {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        self.0.sign(bytes)
    }

    fn publish(&mut self, _: Outgoing) -> Hash {
        Hash::digest(b"")
    }

    fn height(&self, _: &SpaceId, _: &VerifyingKey) -> u64 {
        0
    }
}

/// Cards of a person with two devices, one of them revoked.
fn cards() -> Vec<Vec<u8>> {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let mut device = Device::new(7, &mut rng);
    let mut pen = Pen(SigningKey::from_bytes(&[7; 32]));
    let mut context = Context::new(&mut device.keys, &mut device.registry, NOW);
    let mut desk = Desk {
        context: &mut context,
        rng: &mut rng,
        forge: Sealed(&mut pen),
    };
    let (person, _) = device
        .spaces
        .create_person(&[], &mut desk)
        .expect("a person");
    let second = SigningKey::from_bytes(&[9; 32]);
    let added = device
        .spaces
        .add_device(person, second.verifying_key(), &mut desk);
    added.expect("a second device");
    let mut card = device.spaces.card(person).expect("a card");
    let about = (Topic::from_bytes([1; 32]), SpaceId::from_bytes([2; 32]));
    card.spaces = vec![about; 3];
    let linked = card.encode().to_vec();
    let revoke = DeviceChange::Revoke(device.id);
    let revoked = device.spaces.sign_device_change(&second, person, revoke);
    revoked.expect("a revocation");
    let mut card = device.spaces.card(person).expect("a card");
    card.of_devices = Some(about);
    vec![linked, card.encode().to_vec()]
}

/// Messages of a space, altered, at a member. The first byte of each command chooses a message,
/// the second an author, the others alter one byte.
pub fn machine(input: &[u8]) {
    thread_local! {
        static WORLD: RefCell<World> = RefCell::new(World::new());
    }
    WORLD.with_borrow_mut(|world| world.run(input));
}

struct Device {
    id: VerifyingKey,
    spaces: Spaces,
    keys: OwnKeys,
    registry: Registry,
}

impl Device {
    fn new(seed: u8, rng: &mut ChaCha20Rng) -> Device {
        let id = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        let mut keys = OwnKeys::new(SecretKey::random(rng));
        keys.rotate_prekey(Lifetime::starting(NOW, 1_000), rng);
        let (spaces, registry) = (Spaces::new(id), Registry::new());
        Device {
            id,
            spaces,
            keys,
            registry,
        }
    }
}

struct World {
    log: Vec<Message>,
    authors: [VerifyingKey; 3],
}

impl World {
    fn new() -> World {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut alice = Device::new(1, &mut rng);
        let bob = bob();
        let claire = Device::new(3, &mut rng);
        for other in [&bob, &claire] {
            let bundle = other.keys.long_term_bundle(NOW).expect("a pre-key");
            let added = alice.registry.add_long_term(other.id, bundle, NOW);
            added.expect("a valid bundle");
        }
        let mut log = Vec::new();
        let author = alice.id;
        let forge = |args: &SpacesArgs| {
            let id = Hash::digest(&args.encode());
            let args = args.clone();
            log.push(Message { id, author, args });
            id
        };
        let mut context = Context::new(&mut alice.keys, &mut alice.registry, NOW);
        let mut desk = Desk {
            context: &mut context,
            rng: &mut rng,
            forge,
        };
        let space = SpaceId::from_bytes([1; 32]);
        let [to_bob, to_claire] = [bob.id, claire.id].map(Member::Individual);
        let spaces = &mut alice.spaces;
        let works = "nothing stands against it";
        spaces.publish_keys(&mut desk).expect(works);
        let members = [(to_bob, Role::Editor)];
        spaces
            .create_space(space, &members, &mut desk)
            .expect(works);
        spaces.publish(space, b"hello", &mut desk).expect(works);
        spaces
            .add(space, to_claire, Role::Reader, &mut desk)
            .expect(works);
        spaces
            .set_role(space, to_claire, Role::Editor, &mut desk)
            .expect(works);
        spaces.remove(space, to_claire, &mut desk).expect(works);
        spaces.publish(space, b"without", &mut desk).expect(works);
        spaces.rotate(space, &mut desk).expect(works);
        let authors = [alice.id, bob.id, claire.id];
        World { log, authors }
    }

    fn run(&mut self, input: &[u8]) {
        let mut bob = bob();
        for (at, command) in input.chunks(5).enumerate().take(64) {
            let [choice, author, place, high, change] =
                std::array::from_fn(|at| command.get(at).copied().unwrap_or_default());
            let message = &self.log[usize::from(choice) % self.log.len()];
            let mut bytes = message.args.encode();
            let place = usize::from(u16::from_be_bytes([high, place])) % bytes.len();
            bytes[place] ^= change;
            let Ok(args) = SpacesArgs::decode(&bytes) else {
                continue;
            };
            let is_as_it_was = args == message.args && author == 0;
            let id = match is_as_it_was {
                true => message.id,
                false => Hash::digest(&[&bytes, &[at as u8][..]].concat()),
            };
            let author = self.authors[usize::from(author) % self.authors.len()];
            let message = Message { id, author, args };
            let mut context = Context::new(&mut bob.keys, &mut bob.registry, NOW);
            let _ = bob.spaces.process(&message, &mut context);
        }
        let mut rows = bob.spaces.changes();
        let rows = rows.drain(..).filter_map(|row| Some((row.key, row.value?)));
        let rows: Vec<_> = rows.collect();
        let loaded = Spaces::load(bob.id, rows.iter().map(|(key, value)| (key, &**value)));
        let mut loaded = loaded.expect("own rows load");
        for space in bob.spaces.ids() {
            assert_eq!(bob.spaces.members(&space), loaded.members(&space));
        }
        assert!(loaded.changes().is_empty());
    }
}

fn bob() -> Device {
    Device::new(2, &mut ChaCha20Rng::from_seed([2; 32]))
}

/// Inputs to start from, by target.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let world = World::new();
    let decoder = world.log.iter().map(|message| message.args.encode());
    let count = world.log.len() as u8;
    let in_order = (0..count).flat_map(|choice| [choice, 0, 0, 0, 0]);
    let altered = (0..count).flat_map(|choice| [choice, 0, 0, 0, 0, choice, 2, 60, 0, 1]);
    vec![
        ("spaces_decoder", decoder.chain(cards()).collect()),
        (
            "spaces_machine",
            vec![in_order.collect(), altered.collect()],
        ),
    ]
}
