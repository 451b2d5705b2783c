//! Traces of messages.

use serde_json::Value;

use super::world::*;

#[test]
fn trace_says_where_a_message_is_and_who_has_seen_it() {
    let world = World::new();
    world.publish("home", "one\ntwo\n", &["--wait", "0"]);
    let mut sub = world.at("home", &["sub", &world.topic, "--json", "--count", "1"]);
    let printed = stdout(&sub.output().unwrap());
    let message: Value = serde_json::from_str(printed.trim()).unwrap();
    let id = message["id"].as_str().unwrap();
    let plain = stdout(&world.at("home", &["trace", id]).output().unwrap());
    assert!(plain.starts_with(&format!("{id}: stored, and in the feed at offset ")));
    assert!(plain.contains(&format!("topic {}", world.topic)), "{plain}");
    assert!(plain.contains("place 0 of the log"), "{plain}");
    let json = world.at("home", &["trace", "--json", id]).output().unwrap();
    let json: Value = serde_json::from_str(stdout(&json).trim()).unwrap();
    assert_eq!(json["state"], "in_feed");
    assert_eq!(json["offset"], message["offset"]);
    assert_eq!(json["consumers"][0]["acknowledged"], true);
}

#[test]
fn unknown_ids_have_an_exit_code_and_malformed_ones_a_hint() {
    let world = World::new();
    world.publish("home", "one\n", &["--wait", "0"]);
    let unknown = world
        .at("home", &["trace", &"0".repeat(64)])
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(23));
    assert!(stderr(&unknown).starts_with("panda: no operation with this id is here: 0000"));
    let malformed = world.at("home", &["trace", "12"]).output().unwrap();
    assert_eq!(malformed.status.code(), Some(2));
    assert!(stderr(&malformed).contains("64 hexadecimal digits"));
}
