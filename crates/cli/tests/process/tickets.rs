//! One string that lets another person into a topic.

use std::process::{Command, Stdio};

use super::world::*;

/// A ticket of the topic with one contact.
fn ticket(world: &World, addr: &str) -> String {
    let args = ["topic", "invite", &world.topic, "--contact", addr];
    let invited = world.at("inviter", &args).output().unwrap();
    assert_eq!(invited.status.code(), Some(0), "{}", stderr(&invited));
    let ticket = stdout(&invited);
    assert_eq!(ticket.lines().count(), 1, "{ticket}");
    assert!(ticket.starts_with("panda:"), "{ticket}");
    ticket.trim().to_owned()
}

/// `panda` on another machine, where nothing but the ticket is known: not even the network.
fn stranger(world: &World, home: &str, args: &[&str]) -> Command {
    let mut command = Command::new(PANDA);
    command
        .args(args)
        .args(["--no-mdns", "--listen", "127.0.0.1:0", "--home"])
        .arg(world.path(home))
        .env("XDG_STATE_HOME", world.path("state"))
        // Not the keychain of the person who runs the tests.
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .env("XDG_DATA_HOME", world.path("data"))
        .env("XDG_CONFIG_HOME", world.path("config"))
        .stdin(Stdio::null());
    command
}

#[test]
fn a_ticket_is_all_that_another_machine_needs() {
    let world = World::new();
    world.publish("server", "before\n", &["--wait", "0"]);
    let (server, addr) = world.subscriber("server", &[]);
    let ticket = ticket(&world, &addr);

    let joined = stranger(&world, "new", &["join", &ticket])
        .output()
        .unwrap();
    assert_eq!(joined.status.code(), Some(0), "{}", stderr(&joined));
    assert_eq!(
        stdout(&joined),
        format!("{} up to date with 1 peer\n", world.topic)
    );
    let kept = stranger(&world, "new", &["topic", "keep"])
        .output()
        .unwrap();
    assert_eq!(stdout(&kept), format!("{}\n", world.topic));

    let mut publish = stranger(&world, "new", &["pub", &ticket.to_uppercase()]);
    let published = run_with_input(&mut publish, "from the newcomer\n");
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(server.lines(2), ["before", "from the newcomer"]);

    let args = ["sub", &ticket, "--from", "start", "--count", "2"];
    let read = stranger(&world, "third", &args).output().unwrap();
    assert_eq!(stdout(&read), "before\nfrom the newcomer\n");
    assert_eq!(server.interrupt().code(), Some(0));
}

#[test]
fn foreign_and_damaged_tickets_are_refused_in_words() {
    let world = World::new();
    let id = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let ticket = ticket(&world, &format!("{id}@127.0.0.1:9"));
    let other = "7".repeat(64);
    let args = ["join", &ticket, "--network", &other];
    let refused = stranger(&world, "new", &args).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let line = stderr(&refused);
    assert!(
        line.contains(&world.network) && line.contains(&other),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");

    let end = ticket.chars().last().unwrap();
    let wrong = ticket.strip_suffix(end).unwrap();
    for wrong in [format!("{wrong}q"), format!("{wrong}a"), wrong.to_owned()] {
        if wrong == ticket {
            continue;
        }
        let refused = stranger(&world, "new", &["sub", &wrong]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let line = stderr(&refused);
        assert!(line.contains("the ticket"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    assert!(!world.path("new").exists());
}

#[test]
fn an_invite_says_where_this_node_is_and_that_its_port_changes() {
    let world = World::new();
    let invited = world
        .at("home", &["topic", "invite", &world.topic, "--json"])
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(&stdout(&invited)).unwrap();
    let id = stdout(&world.at("home", &["id"]).output().unwrap());
    assert_eq!(line["topic"], world.topic);
    assert_eq!(line["network"], world.network);
    let contact = line["contacts"][0].as_str().unwrap();
    assert!(
        contact.starts_with(&format!("{}@127.0.0.1:", id.trim())),
        "{contact}"
    );
    assert!(
        stderr(&invited).contains("the port changes"),
        "{}",
        stderr(&invited)
    );

    let args = [
        "topic",
        "invite",
        &world.topic,
        "--qr",
        "--contact",
        contact,
    ];
    let invited = world.at("home", &args).output().unwrap();
    let squares = stdout(&invited);
    assert!(
        squares.lines().count() > 15 && squares.contains('█'),
        "{squares}"
    );
    assert_eq!(stderr(&invited), "");
}
