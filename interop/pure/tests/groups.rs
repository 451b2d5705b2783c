//! The published group rules and ours, side by side on the same operations.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeSet, HashSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng;
use p2panda_core::{Hash, SigningKey, VerifyingKey};
use p2panda_groups::{
    Access, Action, Arguments, GroupId, Groups, Member, Operation, Processed, Rules,
};
use p2panda_interop_pure::dice::{below, cases, chance, generator, pick, shuffle};
use p2panda_interop_pure::groups::{Answer, Crdt, State, from_published, to_published};
use p2panda_interop_pure::{from_published_id, to_published_key};
use published_auth::GroupsExtensionArgs;
use published_core::cbor::{decode_cbor, encode_cbor};

const OPERATIONS: usize = 16;
const ORDERS: usize = 4;

#[test]
fn reference_rules_equal_release_0_7_1() {
    let (mut operations, mut rejected, mut concurrent) = (0, 0, 0);
    for seed in cases(40) {
        println!("seed {seed}");
        let mut graph = Graph::new(seed);
        while graph.accepted.len() < OPERATIONS {
            let operation = graph.next();
            if !graph.process(&operation) {
                rejected += 1;
            }
        }
        operations += OPERATIONS;
        concurrent += usize::from(graph.branched);
        for _ in 0..ORDERS {
            graph.replay();
        }
    }
    println!("{operations} operations, {rejected} rejected by both, {concurrent} branched graphs");
}

/// A graph in the making, in both implementations.
struct Graph {
    seed: u64,
    rng: ChaCha20Rng,
    people: Vec<VerifyingKey>,
    groups: Vec<GroupId>,
    accepted: Vec<Operation>,
    branched: bool,
    published: State,
    ours: Groups,
}

impl Graph {
    fn new(seed: u64) -> Graph {
        let mut rng = generator("groups", seed);
        let mut key = || SigningKey::generate(&mut rng).verifying_key();
        let people = (0..5).map(|_| key()).collect();
        let groups = (0..3).map(|_| key().into()).collect();
        Graph {
            seed,
            rng,
            people,
            groups,
            accepted: Vec::new(),
            branched: false,
            published: Crdt::init(),
            ours: Groups::new(Rules::Reference),
        }
    }

    fn next(&mut self) -> Operation {
        let rng = &mut self.rng;
        let (dependencies, known) = match self.accepted.len() {
            0 => (Vec::new(), 0),
            len if chance(rng, 60) => (heads(&self.accepted), len),
            // Somebody who has not heard of everything.
            len => {
                let known = 1 + below(rng, len);
                (heads(&self.accepted[..known]), known)
            }
        };
        let is_create =
            |operation: &&Operation| matches!(operation.arguments.action, Action::Create { .. });
        let creates = self.accepted[..known].iter().filter(is_create);
        let made: BTreeSet<_> = creates.map(|operation| operation.arguments.group).collect();
        let absent = self.groups.iter().position(|group| !made.contains(group));
        let place = match absent {
            Some(place) if made.is_empty() || chance(rng, 12) => place,
            _ => {
                let made: Vec<_> = made.iter().copied().collect();
                let group = pick(rng, &made).unwrap();
                self.groups
                    .iter()
                    .position(|other| *other == group)
                    .unwrap()
            }
        };
        let group = self.groups[place];
        let author = pick(rng, &self.people[..3]).unwrap();
        let access = |rng: &mut ChaCha20Rng| {
            let manage = chance(rng, 45);
            if manage {
                Access::Manage
            } else {
                pick(rng, &Access::ALL).unwrap()
            }
        };
        let action = if !made.contains(&group) {
            let count = below(rng, 4);
            let others = self.people[..count].iter();
            let mut members = vec![(Member::Individual(author), Access::Manage)];
            members.extend(others.map(|key| (Member::Individual(*key), access(rng))));
            Action::Create {
                initial_members: members,
            }
        } else {
            // Groups only contain later ones: 0.7.1 does not return from a query of a cycle.
            let nested = &self.groups[place + 1..];
            let member = match pick(rng, nested).filter(|group| made.contains(group)) {
                Some(group) if chance(rng, 20) => Member::Group(group),
                _ => Member::Individual(pick(rng, &self.people).unwrap()),
            };
            let access = access(rng);
            match below(rng, 10) {
                0..4 => Action::Add { member, access },
                4..7 => Action::Remove { member },
                7..9 => Action::Demote { member, access },
                _ => Action::Promote { member, access },
            }
        };
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        let arguments = Arguments {
            group,
            dependencies,
            action,
            nonce: None,
        };
        Operation {
            id: Hash::from_bytes(id),
            author,
            arguments,
        }
    }

    /// Hands the operation to both; says whether they took it.
    fn process(&mut self, operation: &Operation) -> bool {
        let ours = self.ours.process(operation);
        let state = std::mem::take(&mut self.published);
        let published = Crdt::process(state, &to_published(operation));
        let verdicts = (ours.is_ok(), published.is_ok());
        let Ok(state) = published else {
            assert_eq!(verdicts, (false, false), "seed {}: {ours:?}", self.seed);
            // The refusal consumed the state.
            self.published = play(&self.accepted);
            return false;
        };
        assert_eq!(verdicts, (true, true), "seed {}: {ours:?}", self.seed);
        self.published = state;
        self.accepted.push(operation.clone());
        self.branched |= self.ours.heads().len() > 1;
        self.compare();
        true
    }

    fn compare(&self) {
        let heads: BTreeSet<_> = self.ours.heads().into_iter().collect();
        let theirs = self.published.heads();
        let theirs: BTreeSet<_> = theirs.iter().map(from_published_id).collect();
        assert_eq!(heads, theirs, "seed {}", self.seed);
        for group in &self.groups {
            let exists = self.published.has_group(to_published_key(group.as_key()));
            assert_eq!(self.ours.now().has(group), exists, "seed {}", self.seed);
            if exists {
                let ours = Answer::ours(&self.ours, group);
                let theirs = Answer::published(&self.published, group);
                let n = self.accepted.len();
                assert_eq!(
                    ours, theirs,
                    "seed {}, after operation {n}, {group}",
                    self.seed
                );
            }
        }
    }

    /// The same operations in another order, on our side.
    fn replay(&mut self) {
        let mut waiting = self.accepted.clone();
        shuffle(&mut self.rng, &mut waiting);
        self.ours = Groups::new(Rules::Reference);
        while !waiting.is_empty() {
            waiting.retain(|operation| {
                let mut dependencies = operation.arguments.dependencies.iter();
                if !dependencies.all(|id| self.ours.contains(id)) {
                    return true;
                }
                let processed = self.ours.process(operation).unwrap();
                assert!(matches!(processed, Processed::Admitted(_)));
                false
            });
        }
        self.compare();
    }
}

fn heads(operations: &[Operation]) -> Vec<Hash> {
    let seen: HashSet<_> = operations
        .iter()
        .flat_map(|o| &o.arguments.dependencies)
        .collect();
    let heads = operations.iter().map(|operation| &operation.id);
    heads.filter(|id| !seen.contains(id)).copied().collect()
}

fn play(operations: &[Operation]) -> State {
    let process = |state, operation: &Operation| Crdt::process(state, &to_published(operation));
    let played = operations.iter().try_fold(Crdt::init(), process);
    played.unwrap_or_else(|error| panic!("accepted before: {error}"))
}

#[test]
fn operations_have_the_same_bytes_on_both_sides() {
    let mut graph = Graph::new(1_000_000);
    while graph.accepted.len() < 100 {
        let operation = graph.next();
        let bytes = operation.encode();
        let theirs = to_published(&operation);
        assert_eq!(encode_cbor(&theirs).unwrap(), bytes);
        assert_eq!(from_published(&theirs), operation);
        let bytes = operation.arguments.encode();
        let theirs: GroupsExtensionArgs = decode_cbor(&bytes[..]).unwrap();
        let again = encode_cbor(&theirs).unwrap();
        assert_eq!(again, bytes);
        assert_eq!(Arguments::decode(&again), Ok(operation.arguments.clone()));
        if graph.ours.process(&operation).is_ok() {
            graph.accepted.push(operation);
        }
    }
}

/// `docs/protocol/groups.md#11`, 11.3.
mod nonce {
    use p2panda_core::{Draft, Header, Operation as SignedOperation};
    use p2panda_groups::bound_group_id;
    use published_auth::GroupsOperation;
    use published_core::traits::Provenance;

    use super::*;

    const NONCE: [u8; 32] = [7; 32];

    fn create() -> (SigningKey, Arguments) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let author = key.verifying_key();
        let initial_members = vec![(Member::Individual(author), Access::Manage)];
        let arguments = Arguments {
            group: bound_group_id(&author, &NONCE),
            dependencies: Vec::new(),
            action: Action::Create { initial_members },
            nonce: Some(NONCE),
        };
        (key, arguments)
    }

    fn signed(key: &SigningKey, arguments: &Arguments) -> Header {
        let extensions = arguments.encode();
        let draft = Draft {
            extensions: Some(&extensions),
            ..Draft::default()
        };
        SignedOperation::create(key, draft).unwrap().header
    }

    type PublishedHeader = published_core::Header<GroupsExtensionArgs>;

    #[test]
    fn release_0_7_1_ignores_the_nonce_of_a_create() {
        let (key, arguments) = create();
        let header = signed(&key, &arguments);
        assert_eq!(
            Arguments::decode(header.extensions().unwrap()),
            Ok(arguments.clone())
        );
        let theirs = PublishedHeader::decode(header.as_bytes()).unwrap();
        assert!(theirs.verify());
        assert_eq!(from_published_id(&theirs.hash()), header.id());
        let without = Arguments {
            nonce: None,
            ..arguments
        };
        let read: GroupsExtensionArgs = decode_cbor(&without.encode()[..]).unwrap();
        assert_eq!(theirs.extensions, read);
    }

    #[test]
    fn a_group_with_a_bound_id_has_the_same_members_on_both_sides() {
        let (key, arguments) = create();
        let header = signed(&key, &arguments);
        let group = arguments.group;
        let create = Operation {
            id: header.id(),
            author: key.verifying_key(),
            arguments,
        };
        let reader = SigningKey::from_bytes(&[4; 32]).verifying_key();
        let add = Operation {
            id: Hash::digest(b"add"),
            author: key.verifying_key(),
            arguments: Arguments {
                group,
                dependencies: vec![create.id],
                action: Action::Add {
                    member: Member::Individual(reader),
                    access: Access::Read,
                },
                nonce: None,
            },
        };
        let theirs = PublishedHeader::decode(header.as_bytes()).unwrap();
        let published = GroupsOperation {
            id: theirs.hash(),
            author: theirs.verifying_key,
            dependencies: theirs.extensions.dependencies,
            group_id: theirs.extensions.group_id,
            action: theirs.extensions.action,
        };
        let state = Crdt::process(Crdt::init(), &published).unwrap();
        let state = Crdt::process(state, &to_published(&add)).unwrap();
        let mut groups = Groups::new(Rules::Hardened);
        groups.process(&create).unwrap();
        groups.process(&add).unwrap();
        assert!(groups.is_bound(&group));
        assert_eq!(
            Answer::ours(&groups, &group),
            Answer::published(&state, &group)
        );
    }
}
