//! Lives of data groups against recorded states and payloads.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use p2panda_core::ordered::BTreeMap;

use crate::vectors::{self, *};
use serde_json::Value;

use super::*;
use crate::data::Reason;
use crate::data::agreement::Output;
use crate::data::secret::GroupSecret;
use crate::direct::{DirectError, DirectMessage};
use crate::own_keys::OwnKeys;
use crate::registry::Registry;
use crate::sessions::Context;
use crate::wire::Wire;

const FILE: &str = "encryption-data-scheme.json";

struct Replica {
    group: Group,
    keys: OwnKeys,
    registry: Registry,
}

impl Replica {
    fn layout(&self) -> String {
        hex(&self
            .group
            .agreement
            .encode_layout(&self.keys, &self.registry))
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Group, &mut Context<'_>) -> T) -> T {
        let mut context = Context::new(&mut self.keys, &mut self.registry, NOW);
        act(&mut self.group, &mut context)
    }
}

/// The recorded members, each before the group begins.
struct Life {
    names: BTreeMap<String, Member>,
    replicas: BTreeMap<String, Replica>,
    messages: BTreeMap<u64, Message<Payload>>,
}

impl Life {
    fn new(file: &Value, registry: &Registry) -> Life {
        let mut names = BTreeMap::new();
        let mut replicas = BTreeMap::new();
        for entry in vectors::list(&file["members"]) {
            let (name, id) = (text(&entry["name"]).to_owned(), member(&entry["id"]));
            names.insert(name.clone(), id);
            let replica = Replica {
                group: Group::new(id, Members::default()),
                keys: OwnKeys::decode(&bytes(&entry["key_manager_cbor"])).unwrap(),
                registry: registry.clone(),
            };
            replicas.insert(name, replica);
        }
        Life {
            names,
            replicas,
            messages: BTreeMap::new(),
        }
    }

    fn id(&self, name: &Value) -> Member {
        self.names[text(name)]
    }

    fn name(&self, id: &Member) -> &str {
        let found = self.names.iter().find(|(_, known)| *known == id);
        found.unwrap().0
    }

    fn operate(&mut self, step: &Value) {
        let recorded: Vec<_> = vectors::list(&step["direct_messages"])
            .iter()
            .map(|direct| DirectMessage::decode(&bytes(&direct["cbor"])).unwrap())
            .collect();
        for (direct, entry) in recorded.iter().zip(vectors::list(&step["direct_messages"])) {
            assert_eq!(hex(&direct.encode()), text(&entry["cbor"]));
            assert_eq!(self.name(&direct.recipient), text(&entry["to"]));
        }
        let order: Vec<_> = recorded.iter().map(|direct| direct.recipient).collect();
        let target = step["target"].as_str().map(|name| self.names[name]);
        let mut rng = rng(&step["rng_seed"]);
        let control = Control::decode(&bytes(&step["control_message_cbor"])).unwrap();
        assert_eq!(hex(&control.encode()), text(&step["control_message_cbor"]));
        let operation = operation(&step["operation_id"]);
        let sender = self.id(&step["by"]);
        let replica = self.replicas.get_mut(text(&step["by"])).unwrap();
        assert_eq!(replica.layout(), text(&step["state_before"]));

        let dependencies = replica.with(|group, context| {
            let draft = if let ("add", Some(target)) = (text(&step["do"]), target) {
                // The recorded adders do not ask for an eligible secret.
                let mut draft = group
                    .agreement
                    .add(target, &group.bundle, context, &mut rng)
                    .unwrap();
                draft.dependencies = group.orderer.heads();
                draft
            } else {
                let secret = GroupSecret::decode(&bytes(&step["new_secret"]["cbor"])).unwrap();
                let agreement = &group.agreement;
                let mut draft = match &control {
                    Control::Create { initial_members } => {
                        let secret = secret.duplicate();
                        agreement.create(initial_members, secret, context, &mut rng)
                    }
                    _ => agreement.rotate(control.clone(), &order, secret, context, &mut rng),
                }
                .unwrap();
                draft.dependencies = group.orderer.heads();
                draft
            };
            let prepared = draft.seal().unwrap();
            assert_eq!(*prepared.control(), control);
            let ours: Vec<_> = prepared.directs().cloned().collect();
            assert_eq!(ours.len(), recorded.len());
            for (ours, recorded) in ours.iter().zip(&recorded) {
                assert_eq!(ours.recipient, recorded.recipient);
                assert_eq!(ours.content.kind(), recorded.content.kind());
                if group.bundle.len() <= 1 && hex(&ours.encode()).contains(&hex(b"ephemeral_key")) {
                    assert_eq!(ours, recorded, "first messages are deterministic");
                }
            }
            let dependencies = prepared.dependencies().to_vec();
            group.commit(prepared, operation, context).unwrap();
            dependencies
        });
        assert_eq!(replica.layout(), text(&step["state_after"]));
        check_bundle(&replica.group.bundle, &step["bundle_after"]);
        let message = Message {
            id: operation,
            sender,
            dependencies,
            payload: Payload::Control {
                control,
                directs: recorded,
            },
        };
        self.messages.insert(number(&step["message"]), message);
    }

    fn deliver(&mut self, step: &Value) {
        let message = self.messages[&number(&step["message"])].clone();
        let operation = message.id;
        let replica = self.replicas.get_mut(text(&step["to"])).unwrap();
        let me = replica.group.agreement.my_id();
        let event = replica.with(|group, context| {
            // The recorded joiners were not given what happened before.
            for earlier in message.dependencies.clone() {
                group.give_up(earlier);
            }
            group.receive(message).unwrap();
            let event = group.poll(context).unwrap();
            assert_eq!(group.poll(context), None);
            event
        });
        let members: BTreeSet<_> = replica.group.agreement.members().members();
        match event {
            Event::Joined { .. } | Event::Changed { .. } => assert!(members.contains(&me)),
            other => {
                assert_eq!(other, Event::RemovedOurselves { operation });
                assert!(!members.contains(&me));
            }
        }
        assert_eq!(replica.layout(), text(&step["state_after"]));
        check_bundle(&replica.group.bundle, &step["bundle_after"]);
        let recorded: BTreeSet<_> = vectors::list(&step["members"])
            .iter()
            .map(|name| self.names[text(name)])
            .collect();
        assert_eq!(members, recorded);
    }

    /// Returns who opens a recorded payload now.
    fn readers(&self, step: &Value) -> BTreeMap<String, bool> {
        let id = SecretId::from_bytes(array(&step["group_secret_id"]));
        let nonce = array(&step["nonce"]);
        let ciphertext = bytes(&step["ciphertext"]);
        let opens = |replica: &Replica| match replica.group.open(&id, &nonce, &ciphertext) {
            Ok(plaintext) => {
                assert_eq!(hex(&plaintext), text(&step["plaintext"]));
                true
            }
            Err(failure) => {
                assert_eq!(failure, Failure::UnknownGroupSecret(id));
                false
            }
        };
        let replicas = self.replicas.iter();
        replicas.map(|(name, r)| (name.clone(), opens(r))).collect()
    }
}

fn check_bundle(bundle: &SecretBundle, recorded: &Value) {
    let latest = bundle.latest().map(|secret| secret.id().to_string());
    assert_eq!(latest.as_deref(), recorded["latest"].as_str());
    let ours: BTreeMap<_, _> = bundle
        .iter()
        .map(|(id, secret)| (id.to_string(), hex(&secret.encode())))
        .collect();
    let recorded: BTreeMap<_, _> = vectors::list(&recorded["secrets"])
        .iter()
        .map(|s| (text(&s["id"]).to_owned(), text(&s["cbor"]).to_owned()))
        .collect();
    assert_eq!(ours, recorded);
}

fn readers(recorded: &Value) -> BTreeMap<String, bool> {
    let recorded = recorded.as_object().unwrap().iter();
    recorded
        .map(|(name, verdict)| (name.clone(), verdict == "decrypts"))
        .collect()
}

/// The registry that every recorded member starts with.
fn registry(first_step: &Value) -> Registry {
    let layout = bytes(&first_step["state_before"]);
    Agreement::<Members>::decode_layout(&layout).unwrap().2
}

#[test]
fn vector_life() {
    let file = load(FILE);
    let steps = vectors::list(&file["life"]);
    let mut life = Life::new(&file, &registry(&steps[0]));
    for step in steps {
        match text(&step["do"]) {
            "deliver" => life.deliver(step),
            "encrypt" => {
                let replica = &life.replicas[text(&step["by"])];
                let sent = replica
                    .group
                    .send(&bytes(&step["plaintext"]), &mut rng(&step["rng_seed"]));
                let expected = Payload::Application(Encrypted {
                    secret: SecretId::from_bytes(array(&step["group_secret_id"])),
                    nonce: array(&step["nonce"]),
                    ciphertext: bytes(&step["ciphertext"]),
                });
                assert_eq!(sent.unwrap().payload, expected);
                assert_eq!(life.readers(step), readers(&step["at_this_moment"]));
            }
            "remove_secret" => {
                let replica = life.replicas.get_mut(text(&step["by"])).unwrap();
                let id = SecretId::from_bytes(array(&step["id"]));
                assert_eq!(replica.group.forget(|known, _| *known != id), [id]);
                assert_eq!(replica.group.bundle.get(&id), None);
            }
            _ => life.operate(step),
        }
    }
}

#[test]
fn vector_concurrency_asks_for_a_new_secret() {
    let file = load(FILE);
    for (index, case) in vectors::list(&file["concurrency"]).iter().enumerate() {
        let steps = vectors::list(&case["steps"]);
        let mut life = Life::new(&file, &registry(&steps[0]));
        for step in steps {
            match text(&step["do"]) {
                "deliver" => life.deliver(step),
                "encrypt" => {
                    assert_eq!(life.readers(step), readers(&step["at_this_moment"]));
                    assert_eq!(life.readers(step), readers(&case["observed_at_the_end"]));
                    let used = SecretId::from_bytes(array(&step["group_secret_id"]));
                    judge(&life, index, used);
                }
                _ => life.operate(step),
            }
        }
    }
}

/// Checks what each member may encrypt under after the last delivery.
fn judge(life: &Life, index: usize, recorded: SecretId) {
    for (name, replica) in &life.replicas {
        let group = &replica.group;
        let Ok(members) = group.members() else {
            continue;
        };
        let latest = group.latest_eligible();
        assert_ne!(
            latest,
            Some(recorded),
            "{name} would encrypt under a tainted secret"
        );
        match (index, latest) {
            (2, latest) => {
                assert_eq!(latest, None);
                assert_eq!(group.rekey(), Rekey::Required(Reason::Tainted));
                let sent = group.send(b"panda", &mut rng(&Value::from("00".repeat(32))));
                assert_eq!(sent, Err(OperationError::NoEligibleSecret));
            }
            // The older secret is still held by exactly the members.
            (_, latest) => {
                let latest = latest.unwrap();
                let present = group.holdings.present(&members);
                assert!(group.holdings.is_eligible(&latest, &present));
                // A newer one that a member lacks is handed to it, otherwise there is a new one.
                let lacking = group.holdings.lacking(&group.bundle, &members);
                let expected = match lacking.is_empty() {
                    true => Rekey::Advised(Reason::Unmerged),
                    false => Rekey::None,
                };
                assert_eq!(group.rekey(), expected, "{name}");
            }
        }
    }
}

#[test]
fn vector_latest_rule() {
    for case in vectors::list(&load(FILE)["latest_rule"]) {
        let secrets = vectors::list(&case["secrets"]);
        let bundle = SecretBundle::decode(&bytes(&case["bundle_cbor_one_possible_order"]));
        let bundle = bundle.unwrap();
        assert_eq!(bundle.len(), secrets.len());
        for secret in secrets {
            let id = SecretId::from_bytes(array(&secret["id"]));
            let known = bundle.get(&id).unwrap();
            assert_eq!(known.timestamp(), number(&secret["timestamp"]));
            assert_eq!(hex(&known.encode()), text(&secret["cbor"]));
            assert_eq!(known.id(), id);
        }
        let latest = bundle.latest().map(|secret| secret.id().to_string());
        assert_eq!(latest.as_deref(), case["latest"].as_str());
        assert_eq!(SecretBundle::decode(&bundle.encode()).unwrap(), bundle);
    }
}

#[test]
fn vector_control_messages() {
    for case in vectors::list(&load(FILE)["control_messages"]) {
        let control = Control::decode(&bytes(&case["cbor"])).unwrap();
        assert_eq!(hex(&control.encode()), text(&case["cbor"]));
        let kind = match control {
            Control::Create { .. } => "create",
            Control::Update => "update",
            Control::Remove { .. } => "remove",
            Control::Add { .. } => "add",
        };
        assert_eq!(kind, text(&case["kind"]));
    }
}

#[test]
fn vector_process_errors() {
    for case in vectors::list(&load(FILE)["process_errors"]) {
        let name = text(&case["case"]);
        let layout = bytes(&case["state"]);
        let (mut agreement, mut keys, mut registry) =
            Agreement::<Members>::decode_layout(&layout).unwrap();
        assert_eq!(
            hex(&agreement.encode_layout(&keys, &registry)),
            hex(&layout)
        );
        let control = Control::decode(&bytes(&case["control_message_cbor"])).unwrap();
        let direct = case["direct_message_cbor"].as_str();
        let direct = direct.map(|hex| DirectMessage::decode(&unhex(hex)).unwrap());
        let mut context = Context::new(&mut keys, &mut registry, NOW);
        let sender = member(&case["sender"]);
        let id = operation(&case["operation_id"]);
        let mut result = agreement.process(id, sender, &control, direct.as_ref(), &mut context);
        if result == Err(ProcessError::SenderNotAMember) {
            // The sender is wrong in two ways; look past the first.
            let initial_members = vec![sender, agreement.my_id()];
            let control = Control::Create { initial_members };
            result = agreement.process(id, sender, &control, direct.as_ref(), &mut context);
        }
        let recorded = text(&case["result"]);
        if recorded.starts_with("accepted") && !overridden(FILE, "process_errors", name) {
            assert_eq!(result.unwrap(), Output::Nothing, "{name}");
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(
            hex(&agreement.encode_layout(&keys, &registry)),
            hex(&layout)
        );
        let ProcessError::Direct(error) = error else {
            panic!("{name}: {error}");
        };
        match error {
            DirectError::NotOurs(_) => assert!(recorded.contains("recipient")),
            DirectError::Missing(_) => assert!(recorded.contains("nothing")),
            DirectError::Unexpected { .. } => assert!(recorded.contains("of type")),
            other => {
                let mismatch = crate::two_party::ReceiveError::IdentityMismatch;
                assert_eq!(other, DirectError::TwoParty(mismatch), "{name}");
            }
        }
    }
}
