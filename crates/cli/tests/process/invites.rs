//! Invites to a node, and a node whose key the service manager keeps.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use super::daemons::Daemon;
use super::world::*;

const CONFIG: &str = "[rpc]\nlisten = [\"127.0.0.1:0\"]\n[access]\nunknown_keys = \"invite\"\n";

fn server(world: &World, args: &[&str]) -> Output {
    world.plain("server", args).output().unwrap()
}

#[test]
fn an_invite_lets_a_context_read_until_it_is_revoked() {
    let world = World::new();
    let daemon = Daemon::start(&world, CONFIG);
    let topic = world.topic.as_str();
    let args = [
        "node",
        "invite",
        topic,
        "--name",
        "friends",
        "--read-only",
        "--json",
    ];
    let made = server(&world, &args);
    let made: Value =
        serde_json::from_str(&stdout(&made)).unwrap_or_else(|_| panic!("{}", stderr(&made)));
    let invite = made["invite"].as_str().unwrap();
    let publish = world.plain("server", &["pub", topic, "--wait", "0"]);
    run_with_input(&mut { publish }, "for friends\n");

    let url = daemon.ready["rpc"][0].as_str().unwrap();
    let mut add = world.plain("friend", &["context", "add", "attic", url]);
    let damaged = add
        .env("PANDA_INVITE", format!("{invite}a"))
        .output()
        .unwrap();
    assert_eq!(damaged.status.code(), Some(2));
    assert!(
        stderr(&damaged).contains("copy it again"),
        "{}",
        stderr(&damaged)
    );
    let added = add.env("PANDA_INVITE", invite).output().unwrap();
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    let sub = [
        "sub", topic, "--from", "start", "--count", "1", "--node", "attic",
    ];
    let read = || world.plain("friend", &sub).output().unwrap();
    assert_eq!(stdout(&read()), "for friends\n");
    // The invite is used up, and the key is known.
    let again = read();
    assert_eq!(stdout(&again), "for friends\n", "{}", stderr(&again));

    let listed = stdout(&server(&world, &["node", "invites", "--json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["topics"][0], topic);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    let plain = stdout(&server(&world, &["node", "invites"]));
    assert!(
        plain.starts_with("friends  read  1 of 1, admits no more"),
        "{plain}"
    );
    assert_eq!(
        server(&world, &["node", "revoke", "friends"]).status.code(),
        Some(0)
    );
    assert_eq!(
        server(&world, &["node", "revoke", "friends"]).status.code(),
        Some(23)
    );
    assert_eq!(read().status.code(), Some(16));
}

#[test]
fn without_a_node_or_the_setting_there_are_no_invites() {
    let world = World::new();
    let args = ["node", "invite", &world.topic];
    assert_eq!(server(&world, &args).status.code(), Some(9));
    let _daemon = Daemon::start(&world, "");
    let refused = server(&world, &args);
    assert_eq!(refused.status.code(), Some(6));
    let said = stderr(&refused);
    assert!(said.contains("access.unknown_keys = \"invite\""), "{said}");
}

/// `panda id` with a key of the service manager.
fn with_key(world: &World, key: &str) -> Output {
    let dir = world.path("credentials");
    world
        .plain("server", &["id"])
        .env("CREDENTIALS_DIRECTORY", &dir)
        .env("PANDA_NODE_KEY", dir.join(key))
        .output()
        .unwrap()
}

#[test]
fn a_key_of_the_service_manager_stays_where_it_is() {
    let world = World::new();
    let (dir, home) = (world.path("credentials"), world.path("server"));
    std::fs::create_dir(&dir).unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        // As systemd does it for a user of its own.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
    };
    put("node.key", &"07".repeat(32));
    put("other", &"08".repeat(32));
    put("short", &"07".repeat(31));
    let id = stdout(&with_key(&world, "node.key"));
    assert_eq!(id.trim().len(), 64);
    let epoch = || std::fs::read_to_string(home.join("node.epoch")).unwrap();
    let first = epoch();
    assert!(first.starts_with(&format!("node {}", id.trim())), "{first}");
    assert!(!home.join("node.key").exists());
    // The next start goes on from the epoch of this one.
    assert_eq!(stdout(&with_key(&world, "node.key")), id);
    assert_ne!(epoch(), first);
    assert_eq!(
        std::fs::read_to_string(dir.join("node.key")).unwrap(),
        "07".repeat(32)
    );

    for (key, code, says) in [
        ("other", 6, "belongs to another signing key"),
        ("short", 2, "expected 64 hexadecimal digits"),
        ("missing", 10, "cannot be read"),
    ] {
        let refused = with_key(&world, key);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(code), "{key}: {said}");
        assert!(
            said.contains(says) && said.lines().count() == 1,
            "{key}: {said}"
        );
    }
    // An older epoch than that of the database: two copies.
    let now = epoch();
    std::fs::write(home.join("node.epoch"), &first).unwrap();
    let open = with_key(&world, "node.key");
    assert_eq!(
        open.status.code(),
        Some(0),
        "the one before: {}",
        stderr(&open)
    );
    std::fs::write(home.join("node.epoch"), &first).unwrap();
    assert_eq!(with_key(&world, "node.key").status.code(), Some(6));
    std::fs::write(home.join("node.epoch"), now).unwrap();
    // Without the setting, the key is missing.
    let without = server(&world, &["id"]);
    assert_eq!(without.status.code(), Some(19), "{}", stderr(&without));
    let checked = stdout(&server(&world, &["doctor"]));
    assert!(checked.contains("the key is kept elsewhere"), "{checked}");
}
