//! The home directory: its users, its content, and the errors when it cannot be used.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::world::*;

#[test]
fn a_home_in_use_is_one_line_with_two_remedies() {
    let world = World::new();
    let (holder, _) = world.subscriber("home", &[]);
    let refused = world.at("home", &["id"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let line = stderr(&refused);
    assert_eq!(line.lines().count(), 1, "{line}");
    let pid = holder.child.id().to_string();
    for part in [pid.as_str(), "--home DIR", "--temp"] {
        assert!(line.contains(part), "{part} is missing in: {line}");
    }

    let args = ["pub", &world.topic, "--temp", "--wait", "0"];
    let beside = run_with_input(&mut world.panda(&args), "a line\n");
    assert_eq!(beside.status.code(), Some(3), "{}", stderr(&beside));
    assert_eq!(holder.interrupt().code(), Some(0));
}

#[test]
fn a_throw_away_identity_leaves_nothing_behind() {
    let world = World::new();
    let args = ["pub", &world.topic, "--temp", "--wait", "0"];
    let published = run_with_input(&mut world.panda(&args), "a line\n");
    assert_eq!(published.status.code(), Some(3), "{}", stderr(&published));
    assert!(is_empty(&world.path("tmp")));
    assert!(!world.path("data").exists() && !world.path("state").exists());
}

#[test]
fn the_default_home_is_in_the_xdg_data_directory() {
    let world = World::new();
    let first = stdout(&world.panda(&["id"]).output().unwrap());
    assert_eq!(first.trim().len(), 64);
    assert!(world.path("data/panda").is_dir());
    assert_eq!(stdout(&world.panda(&["id"]).output().unwrap()), first);
    let addr = stdout(&world.panda(&["id", "--addr"]).output().unwrap());
    assert!(
        addr.starts_with(&format!("{}@127.0.0.1:", first.trim())),
        "{addr}"
    );
}

#[test]
fn a_readable_home_gets_a_warning_and_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let home = world.path("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();

    let told = stderr(&without_umask(&world.at("home", &["id"])));
    assert_eq!(told.lines().count(), 1, "{told}");
    let way_out = format!("chmod 700 {}", home.display());
    assert!(
        told.contains("other users") && told.contains(&way_out),
        "{told}"
    );
    let state = world.path("state/p2panda");
    let secrets = state.join("at-rest");
    let files = [&home, &state, &secrets].map(|dir| std::fs::read_dir(dir).unwrap());
    for file in files.into_iter().flatten() {
        let path = file.unwrap().path();
        let private = if path == secrets { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), private, "{}", path.display());
    }

    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(stderr(&without_umask(&world.at("home", &["id"]))), "");
    assert_eq!(stderr(&without_umask(&world.at("new", &["id"]))), "");
    assert_eq!((mode(&world.path("new")), mode(&state)), (0o700, 0o700));
}

/// Runs a command with a umask that takes no mode bit away.
fn without_umask(command: &Command) -> Output {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

#[test]
fn an_old_copy_refuses_to_publish_until_told_how() {
    let world = World::new();
    world.publish("home", "one\n", &["--wait", "0"]);
    let copy = |from: &str, to: &str| {
        let status = Command::new("cp")
            .arg("-r")
            .args([world.path(from), world.path(to)])
            .status();
        assert!(status.unwrap().success());
    };
    copy("home", "backup");
    world.publish("home", "two\n", &["--wait", "0"]);
    std::fs::remove_dir_all(world.path("home")).unwrap();
    copy("backup", "home");

    let refused = world.publish("home", "other two\n", &["--wait", "0"]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    let line = stderr(&refused);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("--restored pull-own-log") && line.contains("new-identity"),
        "{line}"
    );
    let more = ["--wait", "0", "--restored", "new-identity"];
    assert_eq!(
        world.publish("home", "other two\n", &more).status.code(),
        Some(3)
    );
}

#[test]
fn compact_leaves_a_directory_without_a_database_alone() {
    let world = World::new();
    for home in ["empty", "missing"] {
        if home == "empty" {
            std::fs::create_dir(world.path(home)).unwrap();
        }
        let output = world.at(home, &["compact"]).output().unwrap();
        assert_eq!(output.status.code(), Some(23), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("holds no database"), "{said}");
    }
    assert_eq!(std::fs::read_dir(world.path("empty")).unwrap().count(), 0);
    assert!(!world.path("missing").exists());
}

#[test]
fn compact_and_at_rest_refuse_a_node_by_its_name() {
    let world = World::new();
    for args in [&["compact"][..], &["node", "at-rest"]] {
        let args = [args, &["--node", "/run/panda.sock"]].concat();
        let refused = world.at("home", &args).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(stderr(&refused).contains("leave out --node"), "{args:?}");
    }
}

#[test]
fn compact_prints_both_sizes_and_is_refused_while_a_node_runs() {
    let world = World::new();
    world.publish("home", "one\ntwo\n", &["--wait", "0"]);
    let output = world.at("home", &["compact"]).output().unwrap();
    let line = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(
        line.contains("MiB before, ") && line.ends_with("MiB after\n"),
        "{line}"
    );
    let (running, _) = world.subscriber("home", &["--from", "start"]);
    let refused = world.at("home", &["compact"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("in use by") && text.contains("stop it first"),
        "{text}"
    );
    drop(running);
}

#[test]
fn a_removed_home_ends_its_subscriber_with_the_reason() {
    let world = World::new();
    let (subscriber, addr) = world.subscriber("reader", &[]);
    let first = world.publish("writer", "one\n", &["--bootstrap", &addr]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert_eq!(subscriber.line(), "one");
    std::fs::remove_dir_all(world.path("reader")).unwrap();
    // What it is sent now it cannot keep, and nobody is told that it was reached.
    world.publish("writer", "two\n", &["--bootstrap", &addr, "--wait", "1"]);
    let said = subscriber
        .err
        .iter()
        .find(|line| line.starts_with("panda: "));
    let said = said.expect("the reason on standard error");
    assert!(said.contains("was removed"), "{said}");
    assert_eq!(subscriber.end().code(), Some(14));
}

#[test]
fn a_locked_database_is_waited_for_and_reported() {
    let world = World::new();
    let (subscriber, addr) = world.subscriber("reader", &[]);
    let path = world.path("reader").join("p2panda.sqlite");
    let other = rusqlite::Connection::open(path).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writer = world.at("writer", &["chat", &world.topic, "--bootstrap", &addr]);
    let mut writer = Running::start(writer.stdin(Stdio::piped()));
    writer.type_line("through");
    let mut said = subscriber.err.iter();
    assert!(said.any(|line| line.starts_with("waiting: another process")));
    drop(other);
    assert_eq!(subscriber.line(), "through");
    assert!(said.any(|line| line == "stored; going on"));
    assert_eq!(subscriber.interrupt().code(), Some(0));
}

#[test]
fn a_lost_key_becomes_a_new_identity_on_request_only() {
    let world = World::new();
    let id = |more: &[&str]| {
        world
            .at("home", &[&["id"], more].concat())
            .output()
            .unwrap()
    };
    let first = stdout(&id(&[]));
    std::fs::remove_file(world.path("home").join("node.key")).unwrap();
    let refused = id(&[]);
    assert_eq!(refused.status.code(), Some(19));
    let said = stderr(&refused);
    assert!(
        said.contains("node.key") && said.contains("--restored new-identity"),
        "{said}"
    );
    let anew = id(&["--restored", "new-identity"]);
    assert_eq!(anew.status.code(), Some(0), "{}", stderr(&anew));
    assert_ne!(stdout(&anew), first);
    assert_eq!(stdout(&id(&[])), stdout(&anew));
}

#[test]
fn only_dead_throw_away_identities_are_swept() {
    let world = World::new();
    let tmp = world.path("tmp");
    let count = || std::fs::read_dir(&tmp).unwrap().count();
    let start = || {
        let running = Running::start(&mut world.panda(&["sub", &world.topic, "--temp"]));
        running.addr();
        running
    };
    let (mut killed, runs) = (start(), start());
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(count(), 2);
    let third = start();
    assert_eq!(count(), 2);
    assert_eq!(runs.interrupt().code(), Some(0));
    assert_eq!(third.interrupt().code(), Some(0));
    assert!(is_empty(&tmp));
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let world = World::new();
    let file = world.path("file");
    std::fs::write(&file, "").unwrap();
    let mut command = world.at("home", &["id"]);
    let refused = command.env("XDG_STATE_HOME", &file).output().unwrap();
    assert_eq!(refused.status.code(), Some(20), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("state directory") && said.contains("XDG_STATE_HOME"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn a_kept_topic_is_fetched_by_commands_about_others() {
    let world = World::new();
    let kept = stdout(&Command::new(PANDA).args(["topic", "new"]).output().unwrap());
    let kept = kept.trim();
    let list = |args: &[&str]| {
        let output = world
            .at("keeper", &[&["topic", "keep"], args].concat())
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(list(&[]), "");
    assert_eq!(list(&[kept]), "");
    assert_eq!(list(&[]), format!("{kept}\n"));
    assert_eq!(list(&["--json"]), format!("{{\"topic\":\"{kept}\"}}\n"));
    // There is nothing of it yet, and it is one of the topics of the directory all the same.
    let shown = |args: &[&str]| stdout(&world.at("keeper", args).output().unwrap());
    assert_eq!(shown(&["topic", "ls"]), format!("{kept}\n"));
    assert!(shown(&["status"]).contains(kept));

    let (keeper, addr) = world.subscriber("keeper", &[]);
    let args = ["pub", kept, "-", "--bootstrap", &addr, "--wait", "60"];
    let published = run_with_input(&mut world.at("author", &args), "for later\n");
    assert_eq!(published.status.code(), Some(0), "{}", stderr(&published));
    assert_eq!(keeper.interrupt().code(), Some(0));
    let shown = world.at("keeper", &["sub", kept, "--count", "1"]).output();
    assert_eq!(stdout(&shown.unwrap()), "for later\n");

    assert_eq!(list(&[kept, "--end"]), "");
    assert_eq!(list(&[]), "");
}
