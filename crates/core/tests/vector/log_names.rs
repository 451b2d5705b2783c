//! log_names.json

use bytes::Bytes;
use p2panda_core::{
    Dependency, Draft, Hash, Header, Label, LogId, LogName, NodeExtensions, Operation, SigningKey,
    Timestamp, Topic, VerifyingKey,
};
use serde_json::Value;

use crate::file::{Entry, array, entries, hex, optional};

#[test]
fn every_vector_of_logs_with_a_name() {
    for Entry {
        name,
        inputs,
        expected,
    } in entries("log_names.json")
    {
        let topic = Topic::from_bytes(array(&inputs["topic"]));
        let log = inputs["log"].as_str();
        let log = log.map(|log| LogName::of(log).unwrap());
        let hash = log.map(|log| log.as_bytes().to_vec());
        assert_eq!(hash, optional(&expected["name_hash"]), "{name}");
        let id = log.map_or_else(|| topic.log_id(), |log| topic.named_log_id(&log));
        assert_eq!(id.as_bytes()[..], hex(&expected["log_id"]), "{name}");
        assert!(topic.has_log(&id, log.as_ref()), "{name}");
        let key = SigningKey::from_bytes(&array(&inputs["signing_key"]));
        let author = key.verifying_key();
        let label = log.map_or(author.into(), |_| id.label(&author));
        assert_eq!(label.as_bytes()[..], hex(&expected["label"]), "{name}");

        let timestamp = Timestamp::from_micros(inputs["timestamp"].as_u64().unwrap());
        let extensions = NodeExtensions {
            prune: inputs["prune_flag"].as_bool().unwrap(),
            deps: dependencies(&inputs["dependencies"]),
            name: log,
            ..NodeExtensions::new(id, timestamp)
        };
        let encoded = extensions.encode();
        assert_eq!(encoded, hex(&expected["extensions_cbor"]), "{name}");
        let body = optional(&inputs["body"]);
        let draft = Draft {
            seq: inputs["seq_num"].as_u64().unwrap() as u32,
            backlink: optional(&inputs["backlink"]).map(|_| hash_of(&inputs["backlink"])),
            body: body.as_deref(),
            extensions: Some(&encoded),
        };
        let made = Operation::create(&key, draft).unwrap();
        let bytes = Bytes::from(hex(&expected["header_bytes"]));
        assert_eq!(made.header.as_bytes(), &bytes, "{name}");

        let header = Header::decode(bytes).unwrap();
        assert_eq!(header.id(), hash_of(&expected["operation_id"]), "{name}");
        assert_eq!(header.node_extensions(), Ok(extensions), "{name}");
        assert_eq!(Label::from(header.label()), label, "{name}");
    }
}

fn hash_of(value: &Value) -> Hash {
    Hash::from_bytes(array(value))
}

fn dependencies(value: &Value) -> Vec<Dependency> {
    let listed = value.as_array().unwrap().iter();
    let dependency = |value: &Value| Dependency {
        author: VerifyingKey::from_bytes(array(&value["author"])).unwrap(),
        log: optional(&value["log_id"]).map(|_| LogId::from_bytes(array(&value["log_id"]))),
        seq: value["seq_num"].as_u64().unwrap() as u32,
        id: hash_of(&value["operation_id"]),
    };
    listed.map(dependency).collect()
}
