//! A node in the foreground, as a service manager starts it.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};

use super::world::*;

/// Records what a node sends to the service manager, in order. It always listens.
struct Manager(Receiver<String>);

impl Manager {
    fn new(world: &World) -> Manager {
        let socket = UnixDatagram::bind(world.path("notify")).unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Manager(said)
    }

    /// Waits until a line is said, and skips others.
    fn hears(&self, line: &str) {
        let said = || self.0.recv_timeout(PATIENCE).expect(line);
        while !said().lines().any(|one| one == line) {}
    }
}

/// Waits until a line on standard error contains a text.
pub(super) fn notes(running: &Running, text: &str) {
    while !running
        .err
        .recv_timeout(PATIENCE)
        .expect(text)
        .contains(text)
    {}
}

fn service(world: &World, config: &str) -> Running {
    std::fs::write(world.path("panda.toml"), config).unwrap();
    let file = world.path("panda.toml");
    let mut command = world.at(
        "server",
        &["node", "run", "--config", file.to_str().unwrap()],
    );
    command.env("NOTIFY_SOCKET", world.path("notify"));
    command
        .env("WATCHDOG_USEC", "300000")
        .env_remove("WATCHDOG_PID");
    Running::start(&mut command)
}

fn ready(server: &Running, topics: &str) -> String {
    assert!(server.line().starts_with("node "));
    assert!(server.line().starts_with("home "));
    let addr = server.line();
    let addr = addr
        .strip_prefix("reachable at ")
        .expect("an address")
        .to_owned();
    assert!(server.line().starts_with("answers commands at "));
    assert_eq!(server.line(), format!("ready; stores and serves {topics}"));
    addr
}

#[test]
fn a_running_node_serves_its_topics_and_shuts_down_cleanly() {
    let world = World::new();
    let manager = Manager::new(&world);
    let server = service(&world, &format!("[topics]\nkeep = [\"{}\"]\n", world.topic));
    let addr = ready(&server, "1 topic");
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");

    let published = world.publish("writer", "kept\n", &["--bootstrap", &addr]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    server.signal("-TERM");
    manager.hears("STOPPING=1");
    assert_eq!(server.end().code(), Some(0));

    let args = ["sub", &world.topic, "--from", "start", "--count", "1"];
    assert_eq!(
        stdout(&world.at("server", &args).output().unwrap()),
        "kept\n"
    );
}

#[test]
fn a_reload_brings_topics_and_a_wrong_file_changes_nothing() {
    let world = World::new();
    let manager = Manager::new(&world);
    let server = service(&world, "");
    let addr = ready(&server, "0 topics");
    manager.hears("READY=1");

    let file = world.path("panda.toml");
    std::fs::write(&file, "[topics]\nkep = []\n").unwrap();
    server.signal("-HUP");
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    notes(
        &server,
        "panda.toml:2: unknown key topics.kep; did you mean topics.keep?; the configuration stays",
    );

    let config = format!(
        "[network]\nbudget_mib = 99\n[topics]\nkeep = [\"{}\"]\n",
        world.topic
    );
    std::fs::write(&file, config).unwrap();
    server.signal("-HUP");
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    notes(&server, "configuration read: 1 topics more, 0 fewer");
    notes(&server, "network.budget_mib changes with the next start");
    // It still does not hold.
    server.signal("-HUP");
    notes(&server, "configuration read: 0 topics more, 0 fewer");
    notes(&server, "network.budget_mib changes with the next start");
    let published = world.publish("writer", "kept\n", &["--bootstrap", &addr]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));

    std::fs::write(&file, "").unwrap();
    server.signal("-HUP");
    notes(&server, "configuration read: 0 topics more, 1 fewer");
    let published = world.publish("other", "alone\n", &["--bootstrap", &addr, "--wait", "0.5"]);
    assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    server.signal("-TERM");
    // What was put back is what holds.
    let rest: Vec<String> = server.err.iter().collect();
    let rest = rest.join("\n");
    assert!(!rest.contains("next start"), "{rest}");
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn topics_kept_by_command_survive_the_configuration() {
    let world = World::new();
    let kept = world
        .at("server", &["topic", "keep", &world.topic])
        .output()
        .unwrap();
    assert_eq!(kept.status.code(), Some(0), "{}", stderr(&kept));
    let manager = Manager::new(&world);
    let server = service(&world, &format!("[topics]\nkeep = [\"{}\"]\n", world.topic));
    let addr = ready(&server, "1 topic");
    std::fs::write(world.path("panda.toml"), "").unwrap();
    server.signal("-HUP");
    notes(&server, "configuration read: 0 topics more, 0 fewer");
    let published = world.publish("writer", "kept\n", &["--bootstrap", &addr]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(server.interrupt().code(), Some(0));
    manager.hears("STOPPING=1");
}

/// A service manager with as many messages as its queue takes, which nobody reads.
fn deaf_manager(world: &World) -> UnixDatagram {
    let manager = UnixDatagram::bind(world.path("notify")).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"x", world.path("notify")).is_ok() {}
    manager
}

#[test]
fn the_second_interrupt_ends_a_node_at_once_and_loses_nothing() {
    let world = World::new();
    // The orderly end waits for it, so that the second signal comes during the end.
    let manager = deaf_manager(&world);
    let mut server = service(&world, &format!("[topics]\nkeep = [\"{}\"]\n", world.topic));
    let addr = ready(&server, "1 topic");
    let published = world.publish("writer", "kept\n", &["--bootstrap", &addr]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    // Signals that come together count as one: more follow until one is the second.
    let status = loop {
        server.signal("-INT");
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(130));
    let args = ["sub", &world.topic, "--from", "start", "--count", "1"];
    let read = world.at("server", &args).output().unwrap();
    assert_eq!(stdout(&read), "kept\n", "{}", stderr(&read));
    drop(manager);
}

#[test]
fn a_service_manager_that_does_not_listen_holds_up_nothing() {
    let world = World::new();
    let manager = deaf_manager(&world);
    let server = service(&world, &format!("[topics]\nkeep = [\"{}\"]\n", world.topic));
    let addr = ready(&server, "1 topic");
    notes(&server, "the service manager does not listen");
    let published = world.publish("writer", "kept\n", &["--bootstrap", &addr]);
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(server.interrupt().code(), Some(0));
    drop(manager);
}
