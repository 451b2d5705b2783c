//! Encrypted spaces: made, joined by an invite, read by members alone.

use serde_json::Value;

use super::daemons::Daemon;
use super::faces::did;
use super::world::*;

impl World {
    /// Returns the output of a command that succeeds.
    fn ok(&self, home: &str, args: &[&str]) -> String {
        let output = self.at(home, args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            stderr(&output)
        );
        stdout(&output).trim().to_owned()
    }

    fn json(&self, home: &str, args: &[&str]) -> Vec<Value> {
        let lines = self.ok(home, &[args, &["--json"]].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Somebody that reads a space and stays online, and where it is.
    fn watch(&self, home: &str, space: &str, more: &[&str]) -> (Running, String) {
        let args = [&["space", "watch", space, "--from", "start"], more].concat();
        let running = Running::start(&mut self.at(home, &args));
        let addr = running.addr();
        (running, addr)
    }
}

#[test]
fn a_space_with_an_own_key_shows_that_key_instead_of_the_id() {
    let world = World::new();
    let id = world.ok("owner", &["id"]);
    let space = world.ok("owner", &["space", "create", "--own-key"]);
    let listed = world.json("owner", &["space", "ls"]);
    let key = listed[0]["own_key"].as_str().unwrap();
    assert_ne!(key, id);
    let shown = world.ok("owner", &["space", "show", &space]);
    assert!(shown.contains(&format!("own key {key}")), "{shown}");
    let members = world.json("owner", &["space", "members", &space]);
    assert_eq!(members[0]["member"], key);
    let invite = ["space", "invite", &space, "--json"];
    let invited = world.at("owner", &invite).output().unwrap();
    let made: Value = serde_json::from_str(&stdout(&invited)).unwrap();
    let names_this = !made["contacts"].as_array().unwrap().is_empty();
    let told = stderr(&invited);
    assert_eq!(told.contains("next to its own key"), names_this, "{told}");
    // Who follows it is told the key to give to the owner.
    let join = ["space", "join", &space, "--own-key", "--wait", "0"];
    let joined = world.at("other", &join).output().unwrap();
    let listed = world.json("other", &["space", "ls"]);
    let key = listed[0]["own_key"].as_str().unwrap();
    assert!(stderr(&joined).contains(key), "{}", stderr(&joined));
}

#[test]
fn a_publish_with_an_own_key_waits_until_a_peer_was_sent_it() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "--own-key"]);
    let publish = |more: &[&str]| {
        let args = [&["pub", &space], more].concat();
        run_with_input(&mut world.at("owner", &args), "hello\n")
    };
    let alone = publish(&["--wait", "0"]);
    assert_eq!(alone.status.code(), Some(3), "{}", stderr(&alone));
    let keeper = Running::start(&mut world.at("keeper", &["sub", &space]));
    // No peer is asked whether it has stored it.
    let sent = publish(&["--bootstrap", &keeper.addr(), "--wait", "50"]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    assert!(stdout(&sent).contains("stored by 0 peers, sent to 1"));
}

#[test]
fn an_invited_member_reads_and_writes_until_removed() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "Berlin crew"]);
    assert_eq!(
        world.ok("owner", &["space", "ls"]),
        format!("{space} owner Berlin crew")
    );
    let publish = ["space", "publish", &space, "--wait", "0"];
    let published = run_with_input(&mut world.at("owner", &publish), "before\n");
    assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    let nobody = "published 1; stored by 0 peers, sent to 0\n";
    assert_eq!(stdout(&published), nobody);

    let id = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let contact = format!("{id}@127.0.0.1:9");
    let invite = ["space", "invite", &space, "--contact", &contact];
    let made = &world.json("owner", &invite)[0];
    let (ticket, name) = (
        made["ticket"].as_str().unwrap(),
        made["invite"].as_str().unwrap(),
    );
    assert!(ticket.starts_with("panda:"));
    let invites = world.ok("owner", &["space", "invites", &space]);
    assert_eq!(invites, format!("{name} editor 1 left, for 168 h"));

    let (owner, addr) = world.watch("owner", &space, &[]);
    assert_eq!(owner.line(), "before");
    let join = ["space", "join", ticket, "--bootstrap", &addr];
    let joined = world.ok("new", &join);
    assert!(joined.starts_with(&format!("{space} editor")), "{joined}");
    let newcomer = world.ok("new", &["id"]);
    let publish = ["space", "publish", &space, "--bootstrap", &addr];
    let published = run_with_input(&mut world.at("new", &publish), "hello\n");
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    let stored = "published 1; stored by 1 peer, sent to 1\n";
    assert_eq!(stdout(&published), stored);
    assert_eq!(owner.line(), "hello");
    assert_eq!(owner.interrupt().code(), Some(0));

    let invites = world.ok("owner", &["space", "invites", &space]);
    assert_eq!(invites, format!("{name} editor used up; came: {newcomer}"));
    let why = world.ok("owner", &["space", "why", &space, &newcomer]);
    assert!(
        why.ends_with(&format!("added it as editor, by the invite {name}")),
        "{why}"
    );
    let members = world.json("new", &["space", "members", &space]);
    let role_of = |id: &str| {
        let found = members.iter().find(|line| line["member"] == id);
        found.map(|line| line["role"].as_str().unwrap().to_owned())
    };
    assert_eq!(role_of(&newcomer).as_deref(), Some("editor"));
    assert_eq!(members.len(), 2);

    // Nobody was there, and yet it counts here at once.
    let remove = ["space", "remove", &space, &newcomer, "--wait", "0"];
    let removed = world.at("owner", &remove).output().unwrap();
    assert_eq!(removed.status.code(), Some(3), "{}", stderr(&removed));
    let members = world.ok("owner", &["space", "members", &space]);
    assert_eq!(members.lines().count(), 1, "{members}");
    let publish = ["space", "publish", &space, "--wait", "0"];
    run_with_input(&mut world.at("owner", &publish), "without it\n");
    let (owner, addr) = world.watch("owner", &space, &[]);
    assert_eq!(owner.lines(3), ["before", "hello", "without it"]);
    let sync = world.ok("new", &["sync", &space, "--bootstrap", &addr]);
    assert!(sync.contains("up to date"), "{sync}");
    let (reader, _) = world.watch("new", &space, &["--bootstrap", &addr]);
    assert_eq!(reader.lines(2), ["before", "hello"]);
    assert_eq!(reader.interrupt().code(), Some(0));
    drop(owner);
    let publish = ["space", "publish", &space, "--wait", "0"];
    let refused = run_with_input(&mut world.at("new", &publish), "me too\n");
    assert_eq!(refused.status.code(), Some(6), "{}", stderr(&refused));
}

#[test]
fn an_owner_adds_a_node_that_follows_and_gives_it_another_role() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create"]);
    let follow = ["space", "join", &space, "--wait", "0"];
    let follows = world.at("other", &follow).output().unwrap();
    assert_eq!(follows.status.code(), Some(3));
    assert_eq!(stdout(&follows), format!("{space} follows\n"));
    let other = world.ok("other", &["id"]);
    assert!(stderr(&follows).contains(&format!("panda space add {space} {other}")));
    let add = [
        "space", "add", &space, &other, "--role", "reader", "--wait", "0", "--json",
    ];
    let added = world.at("owner", &add).output().unwrap();
    let line: Value = serde_json::from_str(&stdout(&added)).unwrap();
    assert_eq!(
        (&line["done"], &line["role"]),
        (&"add".into(), &"reader".into())
    );
    let role = ["space", "role", &space, &other, "owner", "--wait", "0"];
    assert_eq!(world.at("owner", &role).status().unwrap().code(), Some(3));
    let rotate = ["space", "rotate", &space, "--wait", "0"];
    assert_eq!(world.at("owner", &rotate).status().unwrap().code(), Some(3));
    let members = world.ok("owner", &["space", "members", &space]);
    assert!(members.contains(&format!("{other} owner")), "{members}");
    // The keys of the new owner have not come: without the first one nobody could hand it the secrets.
    let leave = ["space", "leave", &space, "--wait", "0"];
    let refused = world.at("owner", &leave).output().unwrap();
    assert_eq!(refused.status.code(), Some(6));
    assert!(stderr(&refused).contains(&format!(
        "no owner that remains has the secrets of the space, as far as this node knows ({other})"
    )));
    let listed = world.ok("owner", &["space", "ls"]);
    assert!(listed.contains("owner"), "{listed}");
}

#[test]
fn invalid_space_commands_fail_in_one_line() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "crew"]);
    let owner = world.ok("owner", &["id"]);
    let cases: [(&[&str], i32, &str); 10] = [
        (
            &["space", "rotate", &space, "--every", "0"],
            2,
            "expected whole days from 1 to 3650",
        ),
        (
            &["space", "rotate", &space, "--every", "1", "--never"],
            2,
            "--never",
        ),
        (
            &["space", "suite", &space, "3"],
            6,
            "this version supports suite 2",
        ),
        (
            &["space", "create", "--suite", "1"],
            6,
            "a space cannot require suite 1",
        ),
        (&["space", "members", &world.topic], 23, "follows no space"),
        (
            &["space", "leave", &space],
            6,
            "make another member an owner first",
        ),
        (
            &["space", "role", &space, &owner, "king"],
            2,
            "courier, reader, editor or owner",
        ),
        (
            &["space", "remove", &space, "abc"],
            2,
            "64 hexadecimal digits",
        ),
        (
            &["space", "invite", &space, "--uses", "none"],
            2,
            "expected",
        ),
        (&["space", "join", "panda:aa"], 2, "ticket"),
    ];
    for (args, code, says) in cases {
        let refused = world.at("owner", args).output().unwrap();
        let line = stderr(&refused);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {line}");
        assert!(line.contains(says), "{args:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    let why = world.ok("owner", &["space", "why", &space, &owner]);
    assert_eq!(why, format!("{owner} is owner: {owner} created the space"));
}

#[test]
fn spaces_say_the_same_with_and_without_a_node() {
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let make = did(&world, &["space", "create", "Berlin crew"]);
    assert_eq!((make.1, make.2.as_str()), (Some(0), ""));
    let (space, topic) = (make.0.trim(), world.topic.as_str());
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let contact = format!("{other}@127.0.0.1:9");
    let invite = ["space", "invite", space, "--contact", &contact, "--json"];
    let invited: Value = serde_json::from_str(&did(&world, &invite).0).unwrap();
    let invite = invited["invite"].as_str().unwrap();
    let own = did(&world, &["id"]).0;
    let changes: Vec<Vec<&str>> = vec![
        vec![
            "space", "add", space, other, "--role", "reader", "--wait", "0", "--json",
        ],
        vec![
            "space", "role", space, other, "editor", "--wait", "0", "--json",
        ],
        vec!["space", "revoke", space, invite, "--wait", "0", "--json"],
        vec!["space", "rotate", space, "--wait", "0", "--json"],
        vec!["space", "suite", space, "2", "--wait", "0", "--json"],
        vec![
            "space", "rotate", space, "--every", "30", "--wait", "0", "--json",
        ],
        vec!["space", "publish", space, "--wait", "0"],
        vec!["space", "publish", space, "--wait", "0", "--json"],
        vec!["space", "remove", space, other, "--wait", "0", "--json"],
        vec!["space", "remove", space, own.trim(), "--wait", "0"],
        vec!["space", "leave", space, "--wait", "0"],
        vec!["space", "add", topic, other, "--wait", "0"],
        vec!["space", "publish", topic, "--wait", "0"],
        vec!["space", "invite", topic],
    ];
    let reads: Vec<Vec<&str>> = vec![
        vec!["space", "ls"],
        vec!["space", "ls", "--json"],
        vec!["space", "members", space],
        vec!["space", "members", space, "--json"],
        vec!["space", "members", topic],
        vec!["space", "show", space],
        vec!["space", "show", topic],
        vec!["space", "invites", space],
        vec!["space", "invites", space, "--json"],
        vec!["space", "why", space, own.trim()],
        vec!["space", "why", space, other],
        vec!["space", "why", topic, other],
    ];
    let changed: Vec<_> = changes.iter().map(|args| did(&world, args)).collect();
    let read: Vec<_> = reads.iter().map(|args| did(&world, args)).collect();
    assert_eq!(daemon.running.interrupt().code(), Some(0));
    for (args, by_node) in reads.iter().zip(read) {
        assert_eq!(did(&world, args), by_node, "{args:?}");
    }
    for (args, by_node) in changes.iter().zip(changed) {
        assert_eq!(did(&world, args), by_node, "{args:?}");
    }
    let follows = ["space", "join", topic, "--wait", "0"];
    let alone = did(&world, &follows);
    assert_eq!(
        alone,
        (format!("{topic} follows\n"), Some(3), String::new())
    );
    let daemon = Daemon::start(&world, "");
    assert_eq!(did(&world, &follows), alone);
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn a_space_is_shown_with_its_suite_and_rotation() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "crew"]);
    let shown = world.ok("owner", &["space", "show", &space]);
    let (first, rest) = shown.split_once('\n').unwrap();
    assert_eq!(first, format!("space {space} owner crew"));
    let left = rest.lines().nth(3).unwrap();
    assert!(left.starts_with("secrets left 9"), "{left}");
    let expected = [
        "scheme data",
        "suite 2, all members have keys for it",
        "rotation by age: never",
        left,
        "members 1",
    ];
    assert_eq!(rest.lines().collect::<Vec<_>>(), expected);
    let set = |more: &[&str]| {
        let args = [&["space", "rotate", &space, "--wait", "0", "--json"], more].concat();
        let done = world.at("owner", &args).output().unwrap();
        assert_eq!(done.status.code(), Some(3), "{}", stderr(&done));
        let line: Value = serde_json::from_str(&stdout(&done)).unwrap();
        line["days"].as_u64()
    };
    assert_eq!(set(&["--every", "30"]), Some(30));
    let shown = world.ok("owner", &["space", "show", &space]);
    let rotation = "rotation by age: every 30 d, next in 720 h";
    assert!(shown.lines().any(|line| line == rotation), "{shown}");
    let shown = &world.json("owner", &["space", "show", &space])[0];
    assert_eq!(
        (&shown["rotation_days"], &shown["suite"], &shown["members"]),
        (&30.into(), &2.into(), &1.into())
    );
    assert_eq!(set(&["--never"]), Some(0));
    let shown = world.ok("owner", &["space", "show", &space]);
    assert!(shown.contains("rotation by age: never"), "{shown}");
}

#[test]
fn a_watch_by_a_node_that_is_no_member_says_so_once() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "crew"]);
    let publish = ["space", "publish", &space, "--wait", "0"];
    run_with_input(&mut world.at("owner", &publish), "one\ntwo\n");
    let (owner, addr) = world.watch("owner", &space, &[]);
    let (keeper, _) = world.watch("keeper", &space, &["--bootstrap", &addr, "--count", "1"]);
    let told = loop {
        let line = keeper.err.recv_timeout(PATIENCE).unwrap();
        assert!(!line.contains("neither text nor bytes"), "{line}");
        if line.contains("no member of the space") {
            break line;
        }
    };
    assert!(told.contains("panda space join"), "{told}");
    assert_eq!(keeper.interrupt().code(), Some(0));
    assert_eq!(owner.interrupt().code(), Some(0));
}

/// What is stored by no peer is not done, however small the change is.
#[test]
fn changes_of_a_space_wait_until_a_peer_has_stored_them() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "crew"]);
    let keeper = Running::start(&mut world.at("keeper", &["sub", &space]));
    let addr = keeper.addr();
    let publish = [
        "space",
        "publish",
        &space,
        "--json",
        "--bootstrap",
        &addr,
        "--wait",
        "50",
    ];
    let published = run_with_input(&mut world.at("owner", &publish), "hello\n");
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    let line: Value = serde_json::from_str(&stdout(&published)).unwrap();
    assert_eq!(
        (&line["published"], &line["stored"]),
        (&1.into(), &1.into())
    );
    let operations = |home: &str| {
        let status = world.json(home, &["status"]);
        let of_space = status.iter().find(|line| line["topic"] == *space);
        of_space.unwrap()["operations"].as_u64().unwrap()
    };
    let rotate = ["space", "rotate", &space, "--bootstrap", &addr];
    world.ok("owner", &rotate);
    assert_eq!(keeper.interrupt().code(), Some(0));
    assert_eq!(operations("keeper"), operations("owner"));
}

#[test]
fn a_running_node_admits_and_is_admitted() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "crew"]);
    let (owner, addr) = world.watch("owner", &space, &[]);
    let daemon = Daemon::start(&world, "");
    assert_eq!(owner.interrupt().code(), Some(0));
    let (id, _) = addr.split_once('@').unwrap();
    let contact = format!("{id}@127.0.0.1:9");
    let invite = ["space", "invite", &space, "--contact", &contact, "--json"];
    let invited: Value = serde_json::from_str(&world.ok("owner", &invite)).unwrap();
    let ticket = invited["ticket"].as_str().unwrap();
    let (owner, addr) = world.watch("owner", &space, &[]);
    let join = ["space", "join", ticket, "--bootstrap", &addr];
    let joined = world.plain("server", &join).output().unwrap();
    assert_eq!(joined.status.code(), Some(0), "{}", stderr(&joined));
    assert!(stdout(&joined).starts_with(&format!("{space} editor")));
    let mut watch = world.plain("server", &["space", "watch", &space]);
    let reader = Running::start(&mut watch);
    let mut publish = world.plain("server", &["space", "publish", &space]);
    let published = run_with_input(&mut publish, "hello\n");
    assert_eq!(
        stdout(&published),
        "published 1; stored by 1 peer, sent to 1\n",
        "{}",
        stderr(&published)
    );
    assert_eq!(owner.line(), "hello");
    assert_eq!(reader.line(), "hello");
    assert_eq!(reader.interrupt().code(), Some(0));
    assert_eq!(owner.interrupt().code(), Some(0));
    assert_eq!(daemon.running.interrupt().code(), Some(0));
}

#[test]
fn the_space_demo_shows_that_each_reads_what_it_may() {
    let world = World::new();
    let demo = world.panda(&["demo", "--encrypted"]).output().unwrap();
    assert_eq!(demo.status.code(), Some(0), "{}", stderr(&demo));
    let table = stdout(&demo);
    // Ada, Ben, Cai, Dee, Eve, the second devices of Ada and Ben, the one that Ben restored, and two in a
    // team.
    let rows = [
        (
            "before anybody came",
            "yes yes yes yes - yes yes yes yes yes",
        ),
        ("Fay without Gus", "yes yes yes yes - yes yes yes yes -"),
        ("Ben writes while Ada", "yes yes yes yes - yes yes yes - -"),
        ("Ada writes for two", "yes yes yes - - yes yes yes - -"),
        ("Ben2 without Ada2", "yes yes yes - - - yes yes - -"),
        ("Ben3 came from a file", "yes yes yes - - - yes yes - -"),
        ("Cai is the only one left", "- - yes - - - - - - -"),
    ];
    for (message, readers) in rows {
        assert_eq!(readers_of(&table, message, 10), readers, "{message}");
    }
    assert!(table.contains("Each has read exactly that."), "{table}");
    assert!(is_empty(&world.path("tmp")));
}

#[test]
fn the_space_demo_with_own_keys_names_no_node() {
    let world = World::new();
    let args = ["demo", "--encrypted", "--own-keys"];
    let demo = world.panda(&args).output().unwrap();
    assert_eq!(demo.status.code(), Some(0), "{}", stderr(&demo));
    assert!(stderr(&demo).contains("no second devices, no recovery file, no team"));
    let table = stdout(&demo);
    // Ada, Ben, Cai, Dee, Eve, and the two that are members for a while.
    let rows = [
        ("before anybody came", "yes yes yes yes - yes yes"),
        ("Gus came by his key", "yes yes yes yes - yes yes"),
        ("Fay without Gus", "yes yes yes yes - yes -"),
        ("Ben writes while Ada", "yes yes yes yes - - -"),
        ("Ada writes for two", "yes yes yes - - - -"),
        ("Cai is the only one left", "- - yes - - - -"),
    ];
    for (message, readers) in rows {
        assert_eq!(readers_of(&table, message, 7), readers, "{message}");
    }
    assert!(table.contains("Each operation of the space is by an own key."));
    assert!(is_empty(&world.path("tmp")));
}

/// Who has read a message, of so many nodes, as the table of the demo says.
fn readers_of(table: &str, message: &str, nodes: usize) -> String {
    let line = table.lines().find(|line| line.starts_with(message));
    let cells = line.unwrap_or_default().split_whitespace().rev();
    let mut cells: Vec<&str> = cells.take(nodes).collect();
    cells.reverse();
    cells.join(" ")
}

#[test]
fn the_list_says_where_each_message_has_its_own_key() {
    let world = World::new();
    let create = ["space", "create", "--scheme", "message", "Brief"];
    let space = world.ok("owner", &create);
    assert_eq!(
        world.ok("owner", &["space", "ls"]),
        format!("{space} owner (message) Brief")
    );
    let listed = world.json("owner", &["space", "ls"]);
    assert_eq!(listed[0]["scheme"], "message");
}

#[test]
fn a_team_is_added_to_a_space_like_a_node() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "Ward"]);
    let team = world.ok("owner", &["team", "create", "night shift"]);
    let member = world.ok("other", &["id"]);
    let add = ["team", "add", &team, &member, "--role", "reader"];
    assert_eq!(world.ok("owner", &add), "");
    // Nobody is there who could be sent it.
    let add = ["space", "add", &space, &team, "--wait", "0"];
    let added = world.at("owner", &add).output().unwrap();
    assert_eq!(added.status.code(), Some(3), "{}", stderr(&added));
    let members = world.ok("owner", &["space", "members", &space]);
    assert!(members.contains(&format!("{member} reader")), "{members}");
    assert!(
        members.contains(&format!("team {team} editor")),
        "{members}"
    );
    let listed = &world.json("owner", &["team", "ls"])[0];
    assert_eq!(listed["name"], "night shift");
    assert_eq!(listed["spaces"][0], space.as_str());
    let why = world.ok("owner", &["space", "why", &space, &member]);
    assert!(why.contains(&format!("by the team {team}")), "{why}");
    let remove = ["team", "remove", &team, &member, "--wait", "0"];
    let removed = world.at("owner", &remove).output().unwrap();
    assert_eq!(removed.status.code(), Some(3), "{}", stderr(&removed));
    let members = world.ok("owner", &["space", "members", &space]);
    assert!(!members.contains(&member), "{members}");
    // What is not here is named, with the command that lists what is.
    let commands: [(&[&str], &str); 5] = [
        (&["team", "remove", &member, &member], "`panda team ls`"),
        (&remove, "`panda team ls`"),
        (
            &["space", "remove", &space, &member],
            "`panda space members`",
        ),
        (
            &["space", "revoke", &space, &member],
            "`panda space invites`",
        ),
        (&["device", "revoke", &member], "`panda device ls`"),
    ];
    for (command, list) in commands {
        let unknown = world.at("owner", command).output().unwrap();
        let said = stderr(&unknown);
        assert_eq!(unknown.status.code(), Some(23), "{command:?}: {said}");
        assert!(said.contains(list), "{command:?}: {said}");
    }
}
