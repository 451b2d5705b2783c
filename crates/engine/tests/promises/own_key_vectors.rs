//! `vectors/spaces-own-keys.json`: with which key a node signs in a topic.

use std::collections::BTreeSet;

use p2panda_core::VerifyingKey;
use p2panda_engine::{Invite, Role, SpaceError};
use serde_json::Value;

use crate::own_keys::{OTHER, authors, create_with, follow_with, join_with, publish_in};
use crate::spaces::{Peer, TOPIC, create};

/// A message in clear, as applications write them.
const CLEAR: &str = "\x62hi";

/// A node, another one, and an invite into a space in the topic.
struct World {
    node: Peer,
    other: Peer,
    invite: Invite,
}

impl World {
    fn new() -> World {
        let mut owner = Peer::new(1);
        owner.ask(create()).unwrap();
        World {
            node: Peer::new(2),
            other: Peer::new(3),
            invite: owner.offers(Role::Editor),
        }
    }

    /// Makes a call; returns how it ended.
    fn call(&mut self, step: &Value) -> Result<(), SpaceError> {
        let (node, other) = (&mut self.node, &mut self.other);
        let own_key = step["own_key"].as_bool().unwrap();
        match step["call"].as_str().unwrap() {
            "create" => return node.ask(create_with(TOPIC, own_key)),
            "follow" => return node.ask(follow_with(TOPIC, own_key)).map(drop),
            "join" => return node.ask(join_with(&self.invite, own_key)),
            "publish" => {
                node.ask(publish_in(TOPIC, CLEAR)).unwrap();
            }
            "publish_elsewhere" => {
                node.ask(publish_in(OTHER, CLEAR)).unwrap();
            }
            "others_publish" => {
                other.ask(publish_in(TOPIC, CLEAR)).unwrap();
                node.hear(other);
            }
            _ => node.crash(),
        }
        Ok(())
    }

    /// The key with which the node signs in the topic, which is the only one with which it has.
    fn signs_with(&mut self) -> VerifyingKey {
        let key = self.node.own_key_in(TOPIC).unwrap_or(self.node.id());
        let mut signed = authors(&self.node.stored_in(TOPIC));
        signed.remove(&self.other.id());
        assert_eq!(signed, BTreeSet::from([key]));
        key
    }
}

#[test]
fn a_node_signs_with_the_key_that_the_vector_names() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(path.join("../../vectors/spaces-own-keys.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let name = &vector["name"];
        let (mut world, mut own) = (World::new(), None);
        for step in vector["steps"].as_array().unwrap() {
            let outcome = step["outcome"].as_str();
            let expected = match outcome {
                Some("NodeKey") => Err(SpaceError::NodeKey),
                _ => Ok(()),
            };
            assert_eq!(world.call(step), expected, "{name}");
            match outcome {
                Some("own") => {
                    let key = world.signs_with();
                    assert!(key != world.node.id(), "{name}");
                    assert_eq!(*own.get_or_insert(key), key, "{name}");
                }
                Some("node") => assert_eq!(world.signs_with(), world.node.id(), "{name}"),
                _ => assert_eq!(world.node.own_key_in(TOPIC), own, "{name}"),
            }
        }
    }
}
