//! Encrypted spaces: made, joined by an invite, read by members alone.

use serde_json::Value;

use super::world::*;

impl World {
    /// What a command prints that succeeds.
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
    assert_eq!(stdout(&published), "published 1, sent to nobody yet\n");

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
    assert_eq!(stdout(&published), "published 1, sent\n");
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
    // The keys of the new owner have not come, and the first one leaves all the same.
    let leave = ["space", "leave", &space, "--wait", "0"];
    assert_eq!(world.at("owner", &leave).status().unwrap().code(), Some(3));
    assert_eq!(
        world.ok("owner", &["space", "ls"]),
        format!("{space} follows")
    );
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let world = World::new();
    let space = world.ok("owner", &["space", "create", "crew"]);
    let owner = world.ok("owner", &["id"]);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["space", "members", &world.topic], 23, "follows no space"),
        (
            &["space", "leave", &space],
            6,
            "the last owner would be gone",
        ),
        (
            &["space", "role", &space, &owner, "king"],
            2,
            "courier, reader, editor or owner",
        ),
        (&["space", "remove", &space, "abc"], 2, "expected"),
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
fn the_space_demo_shows_that_each_reads_what_it_may() {
    let world = World::new();
    let demo = world.panda(&["demo", "--encrypted"]).output().unwrap();
    assert_eq!(demo.status.code(), Some(0), "{}", stderr(&demo));
    let table = stdout(&demo);
    let row = |text: &str| {
        let line = table.lines().find(|line| line.starts_with(text));
        let cells = line.unwrap_or_default().split_whitespace().rev().take(5);
        let mut cells: Vec<&str> = cells.collect();
        cells.reverse();
        cells.join(" ")
    };
    assert_eq!(row("before anybody came"), "yes yes yes yes -");
    assert_eq!(row("Ada writes for two"), "yes yes yes - -");
    assert_eq!(row("Cai is the only one left"), "- - yes - -");
    assert!(table.contains("Each has read exactly that."), "{table}");
    assert!(is_empty(&world.path("tmp")));
}
