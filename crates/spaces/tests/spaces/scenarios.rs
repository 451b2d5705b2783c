//! The recorded scenarios of 0.7.1 (`docs/protocol/spaces.md#14`).

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
use p2panda_spaces::{Event, Message, ProcessError, Role, SpaceId, Spaces, SpacesArgs, Verdict};
use serde_json::Value;

use crate::file::{array, bytes, read, text};

/// A device of a scenario.
struct Peer {
    name: String,
    id: VerifyingKey,
    spaces: Spaces,
    keys: OwnKeys,
    registry: Registry,
    now: u64,
    shown: BTreeMap<Hash, Vec<u8>>,
    refused: BTreeSet<Hash>,
}

impl Peer {
    fn new(value: &Value, now: u64) -> Peer {
        let seed = value["rng_seed_byte"].as_u64().unwrap() as u8;
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut signing = [0; 32];
        rng.fill_bytes(&mut signing);
        assert_eq!(signing, array(text(value, "signing_key")));
        let identity = SecretKey::random(&mut rng);
        let mut keys = OwnKeys::new(identity);
        // The reference draws everything else from a generator that it seeds from this one.
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let mut rng = ChaCha20Rng::from_seed(seed);
        keys.rotate_prekey(Lifetime::starting(now, 90 * 24 * 3600), &mut rng);
        let id = VerifyingKey::from_bytes(array(text(value, "verifying_key"))).unwrap();
        Peer {
            name: text(value, "name").to_string(),
            id,
            spaces: Spaces::new(id),
            keys,
            registry: Registry::new(),
            now,
            shown: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Takes a message, and before it what it names: the recording has no causal order.
    fn process(&mut self, message: &Message, all: &BTreeMap<String, Message>) {
        loop {
            let mut context = Context::new(&mut self.keys, &mut self.registry, self.now);
            let missing = match self.spaces.process(message, &mut context) {
                Ok(events) => return self.take(events),
                Err(ProcessError::Missing(missing)) => missing,
                // An operation on an unknown group.
                Err(ProcessError::Group(_)) => return,
                Err(error) => panic!("{}: {error}", self.name),
            };
            for id in missing {
                let named = all.values().find(|message| message.id == id);
                let Some(named) = named else {
                    return;
                };
                self.process(named, all);
            }
        }
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Opened { message, data, .. } => {
                    self.shown.insert(message, data.to_vec());
                }
                Event::Refused { message, .. } | Event::Withdrawn { message, .. } => {
                    self.refused.insert(message);
                }
                Event::Verdict {
                    message, verdict, ..
                } => assert_ne!(verdict, Verdict::Unauthorised, "{message}"),
                _ => {}
            }
        }
    }
}

fn messages(scenario: &Value, peers: &[Peer]) -> BTreeMap<String, Message> {
    let messages = scenario["messages"].as_array().unwrap().iter();
    let author = |name: &str| {
        peers
            .iter()
            .find(|peer| peer.name == name)
            .map(|peer| peer.id)
    };
    let message = |value: &Value| {
        let message = Message {
            id: Hash::from_bytes(array(text(value, "id"))),
            author: author(text(value, "author")).unwrap(),
            args: SpacesArgs::decode(&bytes(text(value, "args_cbor"))).unwrap(),
        };
        (text(value, "label").to_string(), message)
    };
    messages.map(message).collect()
}

/// The time at which the bundles of a scenario are valid.
fn time(scenario: &Value) -> u64 {
    let messages = scenario["messages"].as_array().unwrap().iter();
    let bundles = messages.filter_map(|message| {
        let lifetime = &message["args"]["KeyBundle"]["key_bundle"]["signed_prekey"][1];
        lifetime["not_before"].as_u64()
    });
    bundles
        .max()
        .map_or(1_795_233_075, |not_before| not_before + 3600)
}

/// Runs a scenario with the devices that make no secrets of their own.
fn run(scenario: &Value) -> BTreeMap<String, Peer> {
    let now = time(scenario);
    let peers = scenario["peers"].as_array().unwrap().iter();
    let peers: Vec<Peer> = peers.map(|value| Peer::new(value, now)).collect();
    let messages = messages(scenario, &peers);
    let points = |peer: &Peer| {
        let mut own = messages
            .values()
            .filter(|message| message.author == peer.id);
        own.any(|message| matches!(message.args, SpacesArgs::Membership(_)))
    };
    let mut peers: BTreeMap<String, Peer> = peers
        .into_iter()
        .filter(|peer| !points(peer))
        .map(|peer| (peer.name.clone(), peer))
        .collect();
    for step in scenario["steps"].as_array().unwrap() {
        if let Some(published) = step["published"].as_array() {
            let Some(peer) = peers.get_mut(text(step, "peer")) else {
                continue;
            };
            for label in published {
                peer.process(&messages[label.as_str().unwrap()], &messages);
            }
        } else if let (Some(label), Some(peer)) = (step["message"].as_str(), step["peer"].as_str())
        {
            let Some(peer) = peers.get_mut(peer) else {
                continue;
            };
            let message = &messages[label];
            peer.process(message, &messages);
            if !is_defect(scenario) {
                check_events(scenario, step, peer, message);
            }
        } else if step["check"].is_string() {
            check_members(scenario, step, &peers);
        }
    }
    peers
}

fn is_defect(scenario: &Value) -> bool {
    text(scenario, "name").starts_with("defect-")
}

/// Checks that what the recording opened is shown, unless a rule of ours forbids it.
fn check_events(scenario: &Value, step: &Value, peer: &Peer, message: &Message) {
    let opened = step["events"].as_array().into_iter().flatten();
    let opened = opened.filter_map(|event| event["Application"]["data"].as_array());
    for data in opened {
        let data: Vec<u8> = data
            .iter()
            .map(|byte| byte.as_u64().unwrap() as u8)
            .collect();
        let is_shown = peer.shown.values().any(|shown| *shown == data);
        let name = text(scenario, "name");
        assert!(
            is_shown || peer.refused.contains(&message.id),
            "{name}: {} does not show {}",
            peer.name,
            String::from_utf8_lossy(&data),
        );
    }
}

fn check_members(scenario: &Value, step: &Value, peers: &BTreeMap<String, Peer>) {
    if is_defect(scenario) {
        return;
    }
    let space = SpaceId::from_bytes(array(text(scenario, "space_id")));
    let all = scenario["peers"].as_array().unwrap();
    let named = |id: &VerifyingKey| {
        let known = all
            .iter()
            .find(|p| text(p, "verifying_key") == id.to_string());
        known.map(|peer| text(peer, "name").to_string()).unwrap()
    };
    for (name, peer) in peers {
        let Some(expected) = step["result"][name]["members"].as_array() else {
            continue;
        };
        let role = |level: &str| Role::from(level.parse::<p2panda_groups::Access>().unwrap());
        let expected: BTreeMap<String, Role> = expected
            .iter()
            .map(|pair| {
                let (name, level) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
                (name.to_string(), role(level))
            })
            .collect();
        let members = peer.spaces.members(&space).into_iter();
        let members: BTreeMap<String, Role> = members.map(|(id, r)| (named(&id), r)).collect();
        assert_eq!(members, expected, "{}: {name}", text(scenario, "name"));
    }
}

fn scenarios() -> Vec<Value> {
    read("spaces-scenarios.json")["scenarios"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn the_devices_of_every_scenario_see_what_was_recorded() {
    let mut shown = 0;
    for scenario in scenarios() {
        let peers = run(&scenario);
        shown += peers.values().map(|peer| peer.shown.len()).sum::<usize>();
    }
    // One of these is what 0.7.1 sealed to a removed device (D15).
    assert_eq!(shown, 14);
}

/// A scenario with a defect of 0.7.1, one of its devices, and the rule that decides; what the
/// device shows and what it refuses.
type Ruled = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// Every device of these is in the space in the end, also where 0.7.1 ends the process.
const RULED: [Ruled; 10] = [
    ("defect-pull-member", "bob", "5.6", &[], &[]),
    (
        "defect-group-created-after-space",
        "bob",
        "5.6",
        &["m04"],
        &[],
    ),
    ("defect-history-add-of-recipient", "bob", "5.6", &[], &[]),
    ("defect-add-during-remove", "dave", "8.3", &[], &[]),
    ("defect-space-id-collision", "bob", "5.3", &[], &["m01"]),
    ("defect-unimplemented-messages", "bob", "5.9", &[], &[]),
    ("defect-unrelated-add-of-recipient", "bob", "5.6", &[], &[]),
    (
        "defect-stranger-injection",
        "bob",
        "5.8",
        &["m02"],
        &["m03", "m04"],
    ),
    (
        "defect-pointer-preemption",
        "bob",
        "5.2",
        &["m03"],
        &["m02"],
    ),
    (
        "defect-queued-undecryptable-blocks-welcome",
        "dave",
        "5.8",
        &["m07"],
        &[],
    ),
];

#[test]
fn scenarios_with_defects_end_by_the_rules_of_the_page() {
    for (name, peer, rule, shown, refused) in RULED {
        let mut all = scenarios().into_iter();
        let scenario = all.find(|scenario| text(scenario, "name") == name).unwrap();
        let peer = &run(&scenario)[peer];
        let label = |id: &Hash| {
            let messages = scenario["messages"].as_array().unwrap().iter();
            let mut named = messages.filter(|m| text(m, "id") == id.to_string());
            text(named.next().unwrap(), "label").to_string()
        };
        let labels = |ids: Vec<&Hash>| -> BTreeSet<String> { ids.into_iter().map(label).collect() };
        let expected = |labels: &[&str]| -> BTreeSet<String> {
            labels.iter().map(|label| label.to_string()).collect()
        };
        let told = format!("{name} by rule {rule}");
        assert_eq!(
            labels(peer.shown.keys().collect()),
            expected(shown),
            "{told}"
        );
        assert_eq!(
            labels(peer.refused.iter().collect()),
            expected(refused),
            "{told}"
        );
        let space = SpaceId::from_bytes(array(text(&scenario, "space_id")));
        let members = peer.spaces.members(&space);
        assert!(members.iter().any(|(id, _)| *id == peer.id), "{told}");
    }
}
