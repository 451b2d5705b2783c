//! Scopes that each method needs, from outside.

use std::collections::BTreeMap;

use p2panda_rpc::api::{self, Code};
use p2panda_rpc::daemon::{Grant, Scopes};
use serde_json::{Value, json};

use crate::support::ROOT;
use crate::world::{TOPIC, World, failed};

/// All methods, by what they need.
const NEEDS: [(&str, &[&str]); 9] = [
    ("nothing", &["hello", "auth.challenge"]),
    (
        "credential",
        &["auth.ticket", "messages.credit", "subscription.end"],
    ),
    (
        "admin",
        &[
            "access.invite",
            "access.invites",
            "access.revoke",
            "node.shutdown",
            "peer.add",
            "topic.reveal",
            "topic.keep",
            "topic.leave",
            "view.delete",
            "view.accept-loss",
            "device.list",
            "device.link",
            "device.accept",
            "device.wait",
            "device.confirm",
            "device.refuse",
            "device.revoke",
            "device.export",
            "device.export_stored",
            "device.restore",
        ],
    ),
    (
        "read",
        &[
            "node.status",
            "node.metrics",
            "peer.list",
            "topic.list",
            "topic.alias",
            "topic.status",
            "topic.delivered",
            "topic.peers",
            "topic.rejected",
            "topic.forks",
            "trace",
            "operations.subscribe",
            "messages.read",
            "messages.subscribe",
            "consumer.fetch",
            "consumer.ack",
            "consumer.nak",
            "consumer.term",
            "consumer.progress",
            "consumer.ack-at",
            "consumer.nak-at",
            "consumer.term-at",
            "consumer.list",
            "consumer.show",
            "consumer.seek",
            "consumer.pause",
            "consumer.resume",
            "consumer.delete",
            "dead.list",
            "dead.redrive",
            "dead.drop",
            "view.list",
            "ephemeral.subscribe",
            "events.subscribe",
        ],
    ),
    (
        "publish-as-node",
        &["publish", "publish.batch", "upload", "ephemeral.publish"],
    ),
    (
        "relay",
        &["log.next", "operation.submit", "ephemeral.submit"],
    ),
    (
        "space:admin",
        &[
            "space.create",
            "space.join",
            "space.invite",
            "space.revoke",
            "space.add",
            "space.role",
            "space.remove",
            "space.leave",
            "space.rename",
            "space.raise-suite",
            "space.rotate",
            "space.rotate-every",
            "space.heal",
            "team.create",
            "team.add",
            "team.remove",
        ],
    ),
    (
        "space:read",
        &[
            "space.list",
            "space.invites",
            "space.members",
            "space.why",
            "space.lacking",
            "space.subscribe",
            "space.events",
            "team.list",
        ],
    ),
    ("publish-as-node, space:read", &["space.publish"]),
];

const SCOPES: [&str; 6] = [
    "read",
    "publish-as-node",
    "relay",
    "space:read",
    "space:admin",
    "admin",
];

/// A node with a token for each of these sets of scopes, which is the number of the set.
async fn with_tokens(sets: &[String]) -> World {
    World::with(|config| {
        for (number, set) in sets.iter().enumerate() {
            let scopes = Scopes::parse(set).unwrap();
            let token = format!("token-{number}");
            let grant = Grant::token(format!("set{number}"), &token, scopes);
            config.access.grants.push(grant);
        }
    })
    .await
}

#[test]
fn the_document_names_what_each_method_needs() {
    let document = api::document();
    let methods = document["methods"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = methods
        .iter()
        .map(|method| (text(&method["name"]), text(&method["x-need"])));
    let named: BTreeMap<String, String> = named.collect();
    let expected = NEEDS.iter().flat_map(|(need, methods)| {
        let pair = |method: &&str| ((*method).to_owned(), (*need).to_owned());
        methods.iter().map(pair).collect::<Vec<_>>()
    });
    let expected: BTreeMap<String, String> = expected.collect();
    assert_eq!(named, expected);
}

/// With no scope, each one alone, all others, and two that are needed together.
#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_for_its_scopes_and_no_others() {
    let mut sets: Vec<Vec<&str>> = vec![Vec::new(), vec!["publish-as-node", "space:read"]];
    for scope in SCOPES {
        sets.push(vec![scope]);
        sets.push(SCOPES.into_iter().filter(|other| *other != scope).collect());
    }
    let texts: Vec<String> = sets.iter().map(|set| set.join(",")).collect();
    let world = with_tokens(&texts).await;
    // What is no parameter of any method: who may call one is told so.
    let params = json!({"x": 1});
    for (number, set) in sets.iter().enumerate() {
        let client = world.client(&format!("token-{number}")).await;
        for (need, methods) in NEEDS {
            let mut needed = need.split(", ");
            let may = matches!(need, "nothing" | "credential")
                || needed.all(|scope| set.contains(&scope));
            let expected = match may {
                true => Code::InvalidParams,
                false => Code::Forbidden,
            };
            for method in methods {
                let code = failed(client.call_raw(method, &params).await);
                assert_eq!(code, expected, "{method} with {set:?}");
            }
        }
    }
    world.end().await;
}

/// Methods that take any topic, with what else they need in that of a space which the node follows.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_topic_of_a_space_methods_need_its_scope_too() {
    let topic = TOPIC.to_string();
    let of = json!({"topic": topic});
    let all = json!({"topics": [topic]});
    let content = json!({"text": "x"});
    let message = json!({"content": content});
    let one = json!({"topic": topic, "message": message});
    let several = json!({"topic": topic, "messages": [message]});
    let ephemeral = json!({"topic": topic, "content": content});
    // Base64 of what is no message.
    let signed = json!({"topic": topic, "message": "AAAA"});
    let (read, publish) = ("read", "publish-as-node");
    let table: [(&str, &Value, &str, &str); 8] = [
        ("publish", &one, publish, "space:read"),
        ("publish.batch", &several, publish, "space:read"),
        ("ephemeral.publish", &ephemeral, publish, "space:read"),
        ("space.publish", &one, publish, "space:read"),
        (
            "ephemeral.submit",
            &signed,
            "relay",
            "publish-as-node,space:read",
        ),
        ("messages.read", &of, read, "space:read"),
        ("messages.subscribe", &all, read, "space:read"),
        ("ephemeral.subscribe", &of, read, "space:read"),
    ];
    let sets = table.iter().flat_map(|(_, _, own, also)| {
        let is_other = |scope: &&str| also.split(',').all(|one| one != *scope);
        let others: Vec<&str> = SCOPES.into_iter().filter(is_other).collect();
        [others.join(","), format!("{own},{also}")]
    });
    let sets: Vec<String> = sets.collect();
    let world = with_tokens(&sets).await;
    let spaces = world.node.spaces();
    let settings = p2panda::Settings::with_history();
    spaces.create_in(TOPIC, "", settings).await.unwrap();
    let root = world.client(ROOT).await;
    let keep = json!({"topic": topic, "keep": true});
    root.call_raw("topic.keep", &keep).await.unwrap();
    for (at, (method, params, _, _)) in table.iter().enumerate() {
        let without = world.client(&format!("token-{}", 2 * at)).await;
        let refused = failed(without.call_raw(method, params).await);
        assert_eq!(refused, Code::Forbidden, "{method} without");
        let with = world.client(&format!("token-{}", 2 * at + 1)).await;
        let done = with.call_raw(method, params).await;
        match *method {
            "ephemeral.submit" => assert_eq!(failed(done), Code::Invalid),
            _ => drop(done.unwrap()),
        }
    }
    world.end().await;
}
