//! Targets of spaces with a key for each message.

use std::cell::RefCell;
use std::collections::BTreeSet;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::{Hash, Signature, SigningKey, VerifyingKey};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
use p2panda_groups::Member;
use p2panda_spaces::{
    Content, Desk, Log, Outgoing, Received, Role, Sealed, Settings, Signer, SpaceId, Spaces, fuzzed,
};

const NOW: u64 = 1_790_000_000;
const TEXTS: [&[u8]; 3] = [b"one", b"two", b"three"];
const WORKS: &str = "nothing stands against it";

/// Checks that what a body or a structure decodes to has one encoding, which decodes again.
pub fn decoders(input: &[u8]) {
    if let Ok(first) = fuzzed::body(input) {
        let again = fuzzed::body(&first).expect("own output decodes");
        assert_eq!(again, first);
    }
    if let Ok(first) = fuzzed::structure(input) {
        let again = fuzzed::structure(&first).expect("own output decodes");
        assert_eq!(again, first);
    }
}

/// Operations of a space, altered, at a member. The first byte of each command chooses an operation,
/// the others alter one byte. A message opens once, and only as it was sealed.
pub fn machine(input: &[u8]) {
    thread_local! {
        static WORLD: RefCell<World> = RefCell::new(World::new());
    }
    WORLD.with_borrow_mut(|world| world.run(input));
}

struct Device {
    key: SigningKey,
    id: VerifyingKey,
    spaces: Spaces,
    keys: OwnKeys,
    registry: Registry,
    rng: ChaCha20Rng,
}

impl Device {
    fn new(seed: u8) -> Device {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let key = SigningKey::from_bytes(&[seed; 32]);
        let id = key.verifying_key();
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        keys.rotate_hybrid_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
        Device {
            key,
            id,
            spaces: Spaces::new(id),
            keys,
            registry: Registry::new(),
            rng,
        }
    }

    fn knows(&mut self, other: &Device) {
        let bundle = Spaces::bundle_body(&other.keys, NOW).expect("a pre-key");
        let mut context = Context::new(&mut self.keys, &mut self.registry, NOW);
        let seen = self
            .spaces
            .glance(None, &other.id, &bundle, &mut context)
            .is_ok();
        assert!(seen);
    }
}

struct Op {
    id: Hash,
    log: Log,
    seq: u64,
    dependencies: Vec<Hash>,
    body: Vec<u8>,
}

impl Op {
    fn next(outgoing: Outgoing, ops: &[Op]) -> Op {
        let own = ops.iter().filter(|op| op.log == outgoing.log);
        let seq = own.count() as u64;
        let id = Hash::digest(&[&outgoing.body[..], &seq.to_be_bytes()].concat());
        Op {
            id,
            log: outgoing.log,
            seq,
            dependencies: outgoing.dependencies,
            body: outgoing.body,
        }
    }

    fn received<'a>(&'a self, author: VerifyingKey, body: &'a [u8]) -> Received<'a> {
        Received {
            id: self.id,
            author,
            seq: self.seq,
            dependencies: &self.dependencies,
            body,
        }
    }
}

struct Pen<'p> {
    key: &'p SigningKey,
    ops: &'p mut Vec<Op>,
}

impl Signer for Pen<'_> {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        self.key.sign(bytes)
    }

    fn publish(&mut self, outgoing: Outgoing) -> Hash {
        let op = Op::next(outgoing, self.ops);
        let id = op.id;
        self.ops.push(op);
        id
    }

    fn height(&self, _: &SpaceId, _: &VerifyingKey) -> u64 {
        0
    }
}

struct World {
    author: VerifyingKey,
    space: SpaceId,
    ops: Vec<Op>,
}

impl World {
    fn new() -> World {
        let (mut alice, bob) = (Device::new(1), Device::new(2));
        alice.knows(&bob);
        let mut ops = Vec::new();
        let settings = Settings::with_a_key_per_message();
        let members = [(Member::Individual(bob.id), Role::Editor)];
        let mut space = None;
        for text in TEXTS {
            let mut context = Context::new(&mut alice.keys, &mut alice.registry, NOW);
            let mut pen = Pen {
                key: &alice.key,
                ops: &mut ops,
            };
            let mut desk = Desk {
                context: &mut context,
                rng: &mut alice.rng,
                forge: Sealed(&mut pen),
            };
            let spaces = &mut alice.spaces;
            let id = match space {
                Some(id) => {
                    spaces.rotate(id, &mut desk).expect(WORKS);
                    id
                }
                None => {
                    let made = spaces.create_sealed(settings, &members, &mut desk);
                    made.expect(WORKS).0
                }
            };
            space = Some(id);
            let sealed = alice.spaces.seal_message(id, text, &mut alice.rng);
            let op = Op::next(sealed.expect(WORKS), &ops);
            let received = op.received(alice.id, &op.body);
            let own = alice.spaces.receive_content(id, &received);
            assert!(matches!(own, Ok(Content::Opened { .. })));
            ops.push(op);
        }
        World {
            author: alice.id,
            space: space.expect("it was made"),
            ops,
        }
    }

    fn run(&self, input: &[u8]) {
        let mut bob = Device::new(2);
        bob.knows(&Device::new(1));
        let mut opened = BTreeSet::new();
        for command in input.chunks(4).take(64) {
            let [choice, place, high, change] =
                std::array::from_fn(|at| command.get(at).copied().unwrap_or_default());
            let op = &self.ops[usize::from(choice) % self.ops.len()];
            let mut body = op.body.clone();
            let place = usize::from(u16::from_be_bytes([high, place])) % body.len();
            body[place] ^= change;
            let received = op.received(self.author, &body);
            if op.log == Log::Control {
                let mut context = Context::new(&mut bob.keys, &mut bob.registry, NOW);
                let space = Some(self.space);
                let _ = bob.spaces.glance(space, &self.author, &body, &mut context);
                let _ = bob
                    .spaces
                    .receive_control(self.space, &received, &mut context);
                continue;
            }
            let content = bob.spaces.receive_content(self.space, &received);
            if let Ok(Content::Opened { data, .. }) = content {
                assert_eq!(change, 0, "an altered message opens");
                assert!(TEXTS.contains(&&data[..]));
                assert!(opened.insert(op.id), "a message opens twice");
            }
        }
        let rows = bob.spaces.changes().into_iter();
        let rows: Vec<_> = rows.filter_map(|row| Some((row.key, row.value?))).collect();
        let loaded = Spaces::load(bob.id, rows.iter().map(|(key, value)| (key, &**value)));
        assert!(loaded.expect("own rows load").changes().is_empty());
    }
}

/// Sealed content of a control message with these notes and nothing else.
fn noting(notes: &[u8], count: u8) -> Vec<u8> {
    // Lists and options that are empty, and `asks`: false.
    let empty = [0x89, 0x80, 0x80, 0xf6, 0x80, 0x80, 0x80, 0xf4, 0xf6];
    [&empty[..], &[0x80 | count], notes].concat()
}

/// Notes 5 to 8: introduces, leaves, is in a space, is in it no longer.
fn notes() -> Vec<Vec<u8>> {
    let person = SigningKey::from_bytes(&[5; 32]).verifying_key();
    let bytes = |bytes: &[u8]| [&[0x58, 0x20][..], bytes].concat();
    let introduces = [vec![0x82, 5], bytes(person.as_bytes())].concat();
    let leaves = vec![0x81, 6];
    let told = |kind: u8| [vec![0x83, kind], bytes(&[1; 32]), bytes(&[2; 32])].concat();
    let all = [introduces, leaves, told(7), told(8)];
    let each = all.iter().map(|note| noting(note, 1));
    each.chain([noting(&all.concat(), 4)]).collect()
}

/// Inputs to start from, by target.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let world = World::new();
    for note in notes() {
        let again = fuzzed::structure(&note).expect("a seed decodes");
        assert_eq!(again[..], note[..]);
    }
    let bodies = world.ops.iter().map(|op| op.body.clone());
    let count = world.ops.len() as u8;
    let in_order = (0..count).flat_map(|choice| [choice, 0, 0, 0]);
    let altered = (0..count).flat_map(|choice| [choice, 60, 0, 1, choice, 0, 0, 0]);
    let backwards = (0..count).flat_map(|at| [count - 1 - at, 0, 0, 0]);
    let machine = vec![in_order.collect(), altered.collect(), backwards.collect()];
    vec![
        ("spaces_bodies", bodies.chain(notes()).collect()),
        ("spaces_messages", machine),
    ]
}
