//! Lives of message groups against recorded secrets, states and messages.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/vectors.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};

use p2panda_encryption::data::{self, GroupSecret, SecretBundle};
use p2panda_encryption::message::{
    Agreement, Control, DecryptionRatchet, Membership, MembershipError, ProcessError, Ratchet,
    RatchetError, Views,
};
use p2panda_encryption::two_party::TwoPartyMessage;
use p2panda_encryption::{
    Change, Content, Context, DecodeError, DirectError, DirectMessage, Member, OperationId,
    OwnKeys, Reader, Registry, Secret, Wire, Writer,
};
use serde_json::Value;
use vectors::*;

const FILE: &str = "encryption-message-scheme.json";
const INVALID: &str = "encryption-invalid.json";

/// Our membership, which takes the recorded adder's instead of the recorded welcome's, because
/// that is in a foreign form.
#[derive(Clone, Default)]
struct Recorded {
    views: Views,
    adder: Option<Views>,
}

impl Wire for Recorded {
    fn write(&self, w: &mut Writer) {
        self.views.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Recorded, DecodeError> {
        let (views, adder) = (Views::read(r)?, None);
        Ok(Recorded { views, adder })
    }
}

impl Membership for Recorded {
    fn create(&mut self, members: &[Member]) -> Result<(), MembershipError> {
        self.views.create(members)
    }

    fn welcome(&mut self, _: &[u8]) -> Result<(), MembershipError> {
        let adder = self.adder.take().expect("the adder's membership was given");
        self.views.welcome(&adder.history())
    }

    fn add(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        self.views.add(adder, added, operation)
    }

    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        self.views.remove(remover, removed, operation)
    }

    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError> {
        self.views.ack(acker, operation)
    }

    fn added_by(&self, operation: &OperationId) -> Option<Member> {
        self.views.added_by(operation)
    }

    fn removed_by(&self, operation: &OperationId) -> Option<Member> {
        self.views.removed_by(operation)
    }

    fn members(&self) -> BTreeSet<Member> {
        self.views.members()
    }

    fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        self.views.view(viewer)
    }

    fn history(&self) -> Vec<u8> {
        self.views.history()
    }
}

struct Replica {
    agreement: Agreement<Recorded>,
    keys: OwnKeys,
    registry: Registry,
    ratchet: Option<Ratchet>,
    decryption: BTreeMap<Member, DecryptionRatchet>,
}

impl Replica {
    fn layout(&self) -> String {
        hex(&self.agreement.encode_layout(&self.keys, &self.registry))
    }
}

/// The recorded layout without what is compared otherwise.
fn projection(state: &Value) -> String {
    let (agreement, keys, registry) =
        Agreement::decode_layout(&bytes(state), Recorded::default()).unwrap();
    hex(&agreement.encode_layout(&keys, &registry))
}

#[derive(Clone)]
struct Published {
    operation: OperationId,
    sender: Member,
    control: Control,
    directs: Vec<DirectMessage>,
    /// The sender's membership before an add.
    views: Views,
}

struct Life {
    names: BTreeMap<String, Member>,
    replicas: BTreeMap<String, Replica>,
    messages: BTreeMap<u64, Published>,
}

fn directs(values: &Value) -> Vec<DirectMessage> {
    let decode = |value: &Value| {
        let direct = DirectMessage::decode(&bytes(&value["cbor"])).unwrap();
        assert_eq!(hex(&direct.encode()), text(&value["cbor"]));
        direct
    };
    list(values).iter().map(decode).collect()
}

fn same_secret(ours: Option<&Secret>, recorded: &Value) {
    let ours = ours.map(|secret| hex(&secret.encode()[2..]));
    assert_eq!(ours.as_deref(), recorded.as_str());
}

/// First messages are deterministic, later ones only in their label.
fn same_directs<'a>(ours: impl Iterator<Item = &'a DirectMessage>, recorded: &[DirectMessage]) {
    let ours: Vec<_> = ours.collect();
    assert_eq!(ours.len(), recorded.len());
    for (ours, recorded) in ours.iter().zip(recorded) {
        assert_eq!(ours.recipient, recorded.recipient);
        let message = |direct: &DirectMessage| match &direct.content {
            Content::Welcome { ciphertext, .. }
            | Content::TwoParty { ciphertext }
            | Content::Forward { ciphertext } => ciphertext.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(ours.content.kind(), recorded.content.kind());
        let (ours, recorded) = (message(ours), message(recorded));
        assert_eq!(ours.key_used, recorded.key_used);
        if hex(&ours.encode()).contains(&hex(b"ephemeral_key")) {
            assert_eq!(ours, recorded);
        }
    }
}

impl Life {
    fn new(members: &Value) -> Life {
        let (mut names, mut replicas) = (BTreeMap::new(), BTreeMap::new());
        for entry in list(members) {
            let (name, id) = (text(&entry["name"]).to_owned(), member(&entry["id"]));
            let keys = OwnKeys::decode(&bytes(&entry["key_manager_cbor"])).unwrap();
            let identity = hex(keys.identity_key().as_bytes());
            assert_eq!(identity, text(&entry["identity_key"]));
            names.insert(name.clone(), id);
            let replica = Replica {
                agreement: Agreement::new(id, Recorded::default()),
                keys,
                registry: Registry::decode(&bytes(&entry["key_registry_cbor"])).unwrap(),
                ratchet: None,
                decryption: BTreeMap::new(),
            };
            replicas.insert(name, replica);
        }
        Life {
            names,
            replicas,
            messages: BTreeMap::new(),
        }
    }

    fn step(&mut self, index: usize, step: &Value, life: bool) {
        match text(&step["do"]) {
            "send" => self.send(step),
            "deliver" => self.deliver(index, step, life),
            _ => self.operate(step),
        }
    }

    fn operate(&mut self, step: &Value) {
        let recorded = directs(&step["direct_messages"]);
        let control = Control::decode(&bytes(&step["control_message_cbor"])).unwrap();
        let order: Vec<_> = recorded.iter().map(|direct| direct.recipient).collect();
        let replica = self.replicas.get_mut(text(&step["by"])).unwrap();
        assert_eq!(replica.layout(), projection(&step["state_before"]));
        let views = replica.agreement.members().views.clone();
        let mut context = Context::new(&mut replica.keys, &mut replica.registry, NOW);
        let mut rng = rng(&step["rng_seed"]);
        let agreement = &mut replica.agreement;
        let draft = match &control {
            Control::Change(Change::Create { initial_members }) => {
                agreement.create(initial_members, &context, &mut rng)
            }
            Control::Change(Change::Add { added }) => agreement
                .add(*added, &context, &mut rng)
                .map(|draft| draft.expect("a chain")),
            _ => agreement.seed(control.clone(), &order, &context, &mut rng),
        };
        let prepared = draft.unwrap().seal().unwrap();
        assert_eq!(
            hex(&prepared.control().encode()),
            text(&step["control_message_cbor"])
        );
        same_directs(prepared.directs(), &recorded);
        let operation = operation(&step["operation_id"]);
        let processed = agreement
            .apply(prepared, operation, &mut context, &mut rng)
            .unwrap()
            .unwrap();
        same_secret(processed.my_update.as_ref(), &step["my_update_secret"]);
        replica.ratchet = processed.my_update.map(Ratchet::new);
        assert_eq!(replica.layout(), projection(&step["state_after"]));
        let published = Published {
            operation,
            sender: self.names[text(&step["by"])],
            control,
            directs: recorded,
            views,
        };
        self.messages.insert(number(&step["message"]), published);
    }

    fn deliver(&mut self, index: usize, step: &Value, life: bool) {
        let message = self.messages[&number(&step["message"])].clone();
        let me = self.names[text(&step["to"])];
        let replica = self.replicas.get_mut(text(&step["to"])).unwrap();
        replica.agreement.members_mut().adder = Some(message.views);
        let mut context = Context::new(&mut replica.keys, &mut replica.registry, NOW);
        let direct = message.directs.iter().find(|direct| direct.recipient == me);
        let processed = replica
            .agreement
            .process(
                message.operation,
                message.sender,
                &message.control,
                direct,
                &mut context,
                &mut rng(&step["rng_seed"]),
            )
            .unwrap();
        same_secret(
            processed.sender_update.as_ref(),
            &step["sender_update_secret"],
        );
        same_secret(processed.my_update.as_ref(), &step["my_update_secret"]);
        if let Some(secret) = processed.sender_update {
            let ratchet = DecryptionRatchet::new(secret);
            replica.decryption.insert(message.sender, ratchet);
        }
        if let Some(secret) = processed.my_update {
            replica.ratchet = Some(Ratchet::new(secret));
        }
        assert_eq!(
            replica.layout(),
            projection(&step["state_after"]),
            "step {index}"
        );
        for (viewer, view) in step["member_views"].as_object().unwrap() {
            let ours = replica.agreement.view(&self.names[viewer]);
            let name = |id: &Member| {
                let named = self.names.iter().find(|(_, known)| *known == id);
                named.unwrap().0.clone()
            };
            let ours: BTreeSet<_> = ours.iter().map(name).collect();
            let mut recorded: BTreeSet<_> = list(view)
                .iter()
                .map(|name| text(name).to_owned())
                .collect();
            if life && index == 29 && viewer == "charlie" {
                // Acknowledgements of removals are recorded (docs/protocol/encryption.md#11.3).
                recorded = ["alice", "charlie"].map(String::from).into();
            }
            assert_eq!(ours, recorded, "step {index}: view of {viewer}");
        }
        let answer = &step["answer"];
        assert_eq!(processed.answer.is_some(), answer.is_object());
        if let Some(ours) = processed.answer {
            let recorded = directs(&answer["direct_messages"]);
            assert_eq!(
                hex(&ours.control.encode()),
                text(&answer["control_message_cbor"])
            );
            same_directs(ours.directs.iter(), &recorded);
            let published = Published {
                operation: operation(&answer["operation_id"]),
                sender: me,
                control: ours.control,
                directs: recorded,
                views: Views::default(),
            };
            self.messages.insert(number(&answer["message"]), published);
        }
    }

    fn send(&mut self, step: &Value) {
        let sender = self.names[text(&step["by"])];
        let plaintext = bytes(&step["plaintext"]);
        let replica = self.replicas.get_mut(text(&step["by"])).unwrap();
        let ratchet = replica.ratchet.as_mut().unwrap();
        assert_eq!(hex(&ratchet.encode()), text(&step["ratchet_before"]));
        let (generation, ciphertext) = ratchet.seal(&plaintext).unwrap();
        assert_eq!(u64::from(generation), number(&step["generation"]));
        assert_eq!(hex(&ciphertext), text(&step["ciphertext"]));
        for (name, verdict) in step["receivers"].as_object().unwrap() {
            let replica = self.replicas.get_mut(name).unwrap();
            let ratchet = replica.decryption.get_mut(&sender);
            let opened = ratchet.map(|r| r.open(generation, &ciphertext, 1_000, 100));
            match text(verdict) {
                "decrypts" => assert_eq!(*opened.unwrap().unwrap(), plaintext),
                "no ratchet for this sender" => assert_eq!(opened, None),
                other => {
                    assert!(other.contains("re-use"), "{other}");
                    assert_eq!(opened.unwrap(), Err(RatchetError::SecretReuse));
                }
            }
        }
    }
}

#[test]
fn vector_life() {
    let file = load(FILE);
    let mut life = Life::new(&file["members"]);
    for (index, step) in list(&file["life"]).iter().enumerate() {
        life.step(index, step, true);
    }
}

#[test]
fn vector_concurrency() {
    for case in list(&load(FILE)["concurrency"]) {
        let mut life = Life::new(&case["members"]);
        for (index, step) in list(&case["steps"]).iter().enumerate() {
            life.step(index, step, false);
        }
    }
}

#[test]
fn vector_control_messages() {
    let file = load(FILE);
    for case in list(&file["control_messages"]) {
        let control = Control::decode(&bytes(&case["cbor"])).unwrap();
        assert_eq!(hex(&control.encode()), text(&case["cbor"]));
        let kind = match control {
            Control::Change(Change::Create { .. }) => "create",
            Control::Ack { .. } => "ack",
            Control::Change(Change::Update) => "update",
            Control::Change(Change::Remove { .. }) => "remove",
            Control::Change(Change::Add { .. }) => "add",
            Control::AddAck { .. } => "add_ack",
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, text(&case["kind"]));
    }
    let config = p2panda_encryption::message::Config::default();
    let default = &file["default_config"];
    assert_eq!(
        u64::from(config.forward_max),
        number(&default["maximum_forward_distance"])
    );
    assert_eq!(
        u64::from(config.late_max),
        number(&default["out_of_order_tolerance"])
    );
}

#[test]
fn vector_invalid_processing() {
    for case in list(&load(INVALID)["message_scheme_processing"]) {
        let name = text(&case["case"]);
        let state = bytes(&case["bob_state"]);
        let (mut agreement, mut keys, mut registry) =
            Agreement::decode_layout(&state, Recorded::default()).unwrap();
        let before = hex(&agreement.encode_layout(&keys, &registry));
        let control = Control::decode(&bytes(&case["control_message_cbor"])).unwrap();
        let direct = case["direct_message_cbor"].as_str();
        let direct = direct.map(|hex| DirectMessage::decode(&unhex(hex)).unwrap());
        let mut context = Context::new(&mut keys, &mut registry, NOW);
        let result = agreement.process(
            operation(&case["operation_id"]),
            member(&case["sender"]),
            &control,
            direct.as_ref(),
            &mut context,
            &mut rng(&Value::from("07".repeat(32))),
        );
        let listed = overridden(INVALID, "message_scheme_processing", name);
        if text(&case["reference"]).starts_with("accepts") && !listed {
            assert!(result.unwrap().answer.is_some(), "{name}");
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(
            hex(&agreement.encode_layout(&keys, &registry)),
            before,
            "{name}"
        );
        let expected = match name {
            "seed of 31 bytes" => matches!(error, ProcessError::InvalidKeySize),
            "sender is ourselves" => matches!(error, ProcessError::OwnMessage),
            "direct message for somebody else" => {
                matches!(error, ProcessError::Direct(DirectError::NotOurs(_)))
            }
            "forward instead of 2sm" => {
                matches!(error, ProcessError::Direct(DirectError::Unexpected { .. }))
            }
            "create by a sender that is not in the list" => {
                matches!(error, ProcessError::SenderNotAMember)
            }
            _ if listed => matches!(error, ProcessError::GroupNotYetEstablished),
            _ => matches!(error, ProcessError::Direct(DirectError::Missing(_))),
        };
        assert!(expected, "{name}: {error:?}");
    }
}

#[test]
fn vector_invalid_decoding() {
    for case in list(&load(INVALID)["decoding"]) {
        let (name, cbor) = (text(&case["case"]), bytes(&case["cbor"]));
        let again = match text(&case["type"]) {
            "TwoPartyMessage" => TwoPartyMessage::decode(&cbor).map(|v| v.encode()),
            "data ControlMessage" => data::Control::decode(&cbor).map(|v| v.encode()),
            "message ControlMessage" => Control::decode(&cbor).map(|v| v.encode()),
            "GroupSecret" => GroupSecret::decode(&cbor).map(|v| v.encode()),
            "SecretBundle" => SecretBundle::decode(&cbor).map(|v| v.encode()),
            other => panic!("{other}"),
        };
        let accepts = text(&case["reference"]) == "accepts";
        assert_eq!(again.is_ok(), accepts, "{name}: {again:?}");
        if overridden(INVALID, "decoding", name) {
            // A secret keeps the date it first came with.
            let bundle = SecretBundle::decode(&cbor).unwrap();
            let mut r = Reader::checked(&cbor, p2panda_core::cbor::VALUE).unwrap();
            r.array().unwrap();
            let first = GroupSecret::read(&mut r).unwrap();
            assert_eq!(bundle.len(), 1);
            assert_eq!(bundle.latest().unwrap().timestamp(), first.timestamp());
        }
    }
}
