//! A second device: linked by a code and six digits.

use std::process::Stdio;

use serde_json::Value;

use super::daemons::Daemon;
use super::world::*;

/// A device that shows a code, one that has taken it, and the digits that both show.
fn linking(world: &World) -> (Running, Running, Value) {
    let mut link = world.at("old", &["device", "link", "--json"]);
    let old = Running::start(link.stdin(Stdio::piped()));
    let code: Value = serde_json::from_str(&old.line()).unwrap();
    assert_eq!(code["code"].as_str().unwrap().len(), 26);
    let ticket = code["ticket"].as_str().unwrap();
    let mut accept = world.at("new", &["device", "accept", ticket, "--json"]);
    let new = Running::start(&mut accept);
    let digits = new.line();
    assert_eq!(old.line(), digits);
    (old, new, serde_json::from_str(&digits).unwrap())
}

#[test]
fn a_second_device_is_linked_by_a_ticket_and_a_yes() {
    let world = World::new();
    let made = world.at("old", &["space", "create", "Crew"]).output();
    assert!(made.unwrap().status.success());
    let (mut old, new, digits) = linking(&world);
    assert_eq!(digits["digits"].as_str().unwrap().len(), 6);
    old.type_line("yes");
    let joined: Value = serde_json::from_str(&new.line()).unwrap();
    assert_eq!(joined["done"], "accept");
    let linked: Value = serde_json::from_str(&old.line()).unwrap();
    assert_eq!(
        (&linked["done"], &linked["device"]),
        (&"link".into(), &joined["device"])
    );
    drop(old.stdin.take());
    // The first one to end may leave the other one with something that is not sent: it does not wait then.
    let mut codes = Vec::new();
    for mut one in [old, new] {
        let code = one.child.wait().unwrap().code();
        let said: Vec<String> = one.err.iter().collect();
        let mut gone = said.iter();
        let is_told = gone.any(|line| line.contains("the other device has gone"));
        assert!(matches!(code, Some(0 | 3)), "{said:?}");
        assert_eq!(code == Some(3), is_told, "{said:?}");
        codes.push(code);
    }
    assert!(
        codes.contains(&Some(0)),
        "one had everything sent: {codes:?}"
    );
    for home in ["old", "new"] {
        let output = world.at(home, &["device", "ls"]).output().unwrap();
        let devices = stdout(&output);
        assert_eq!(devices.lines().count(), 2, "{home}: {devices}");
        assert!(devices.contains(joined["device"].as_str().unwrap()));
    }
}

#[test]
fn a_device_that_nobody_confirms_is_not_linked() {
    let world = World::new();
    let (mut old, new, _) = linking(&world);
    old.type_line("no");
    assert_eq!(old.end().code(), Some(2));
    assert_eq!(new.end().code(), Some(2));
    let output = world.at("old", &["device", "ls"]).output().unwrap();
    assert!(stdout(&output).lines().count() <= 1);
}

#[test]
fn a_second_device_is_linked_and_revoked_by_a_node_that_runs() {
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let run = |args: &[&str]| world.plain("server", args).output().unwrap();
    let made = run(&["space", "create", "Crew", "--json"]);
    let made: Value = serde_json::from_str(stdout(&made).trim()).unwrap();
    let mut link = world.plain("server", &["device", "link", "--json"]);
    let mut old = Running::start(link.stdin(Stdio::piped()));
    let code: Value = serde_json::from_str(&old.line()).unwrap();
    let ticket = code["ticket"].as_str().unwrap();
    let mut accept = world.at("new", &["device", "accept", ticket, "--json"]);
    let new = Running::start(&mut accept);
    assert_eq!(old.line(), new.line(), "both show the same digits");
    old.type_line("yes");
    let joined: Value = serde_json::from_str(&new.line()).unwrap();
    let linked: Value = serde_json::from_str(&old.line()).unwrap();
    assert_eq!(linked["device"], joined["device"]);
    assert_eq!(new.end().code(), Some(0));
    // The node that runs goes on with what the other one has not heard.
    assert!(matches!(old.interrupt().code(), Some(0 | 3 | 130)));
    let device = joined["device"].as_str().unwrap();
    let listed = stdout(&run(&["device", "ls"]));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let topic = made["space"].as_str().unwrap();
    let members = stdout(&run(&["space", "members", topic]));
    let lines: Vec<&str> = members.lines().collect();
    assert!(lines[0].starts_with("person "), "{members}");
    assert!(
        lines[1..].iter().all(|line| line.starts_with("  ")),
        "{members}"
    );
    assert!(members.contains(&format!("  {device} owner")), "{members}");
    let revoked = run(&["device", "revoke", device, "--wait", "0"]);
    assert!(matches!(revoked.status.code(), Some(0 | 3)));
    let members = stdout(&run(&["space", "members", topic]));
    assert!(!members.contains(device), "{members}");
    // What the node says is the same without it.
    let by_node = stdout(&run(&["device", "ls"]));
    daemon.running.signal("-TERM");
    assert_eq!(daemon.running.end().code(), Some(0));
    assert_eq!(stdout(&run(&["device", "ls"])), by_node);
    assert_eq!(stdout(&run(&["space", "members", topic])), members);
}

/// A file with a passphrase that its owner alone may read.
fn passphrase(world: &World, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = world.path(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!("passphrase:{}", path.display())
}

#[test]
fn a_passphrase_in_a_file_opens_what_is_sealed() {
    let world = World::new();
    let right = passphrase(&world, "right", "correct horse");
    let wrong = passphrase(&world, "wrong", "correct horsf");
    let run = |args: &[&str], settings: &[(&str, &str)]| {
        let settings = settings.iter().copied();
        world.at("home", args).envs(settings).output().unwrap()
    };
    let by = |source| [("PANDA_NODE_AT_REST", source)];
    let made = run(&["space", "create", "Crew"], &by(right.as_str()));
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let ls = ["space", "ls"];
    let opened = run(&ls, &by(&right));
    assert!(
        stdout(&opened).contains("owner Crew"),
        "{}",
        stderr(&opened)
    );
    let refused = run(&ls, &by(&wrong));
    assert!(stderr(&refused).contains("the passphrase does not open"));
    let refused = run(&ls, &[]);
    assert!(stderr(&refused).contains("are opened by a passphrase; name what opens it"));
    assert_eq!(refused.status.code(), Some(25));
    let moved = [
        ("PANDA_NODE_AT_REST", "key-file"),
        ("PANDA_NODE_AT_REST_BEFORE", right.as_str()),
    ];
    assert_eq!(run(&ls, &moved).status.code(), Some(0));
    assert!(stdout(&run(&ls, &[])).contains("owner Crew"));
}

#[test]
fn a_person_comes_back_by_a_recovery_file() {
    let world = World::new();
    let made = world.at("old", &["space", "create", "Crew"]).output();
    assert!(made.unwrap().status.success());
    let file = world.path("person.recovery").display().to_string();
    passphrase(&world, "right", "correct horse");
    let [right, wrong] = ["right", "wrong"].map(|name| world.path(name).display().to_string());
    let export = [
        "device",
        "export",
        &file,
        "--passphrase-file",
        &right,
        "--wait",
        "0",
        "--json",
    ];
    let output = world.at("old", &export).output().unwrap();
    // Nobody else has it.
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&line["done"], &line["spaces"]),
        (&"export".into(), &1.into())
    );
    let output = world.at("old", &export).output().unwrap();
    assert!(stderr(&output).contains("already exists"));
    let listed = stdout(&world.at("old", &["device", "ls"]).output().unwrap());
    assert!(listed.contains(" recovery"), "{listed}");

    passphrase(&world, "wrong", "correct horsf");
    let restore = |passphrase: &str, more: &[&str]| {
        let args = ["device", "restore", &file, "--passphrase-file", passphrase];
        world.at("new", &[&args, more].concat()).output().unwrap()
    };
    let refused = restore(&wrong, &[]);
    assert_eq!(
        stderr(&refused),
        "panda: the passphrase is not that of the recovery file\n"
    );
    assert_eq!(refused.status.code(), Some(6));
    // It is looked for before the passphrase is.
    let missing = ["device", "restore", "no-such-file"];
    let refused = world.at("new", &missing).output().unwrap();
    let said = stderr(&refused);
    assert!(said.starts_with("panda: no-such-file: "), "{said}");
    let ls = stdout(&world.at("old", &["space", "ls"]).output().unwrap());
    let topic = ls.split_whitespace().next().unwrap().to_owned();
    let holder = Running::start(&mut world.at("old", &["sub", &topic]));
    let addr = holder.addr();
    let restored = restore(&right, &["--json", "--wait", "50", "--bootstrap", &addr]);
    assert_eq!(restored.status.code(), Some(0), "{}", stderr(&restored));
    let line: Value = serde_json::from_str(&stdout(&restored)).unwrap();
    assert_eq!(line["done"], "restore");
    let spaces = stdout(&world.at("new", &["space", "ls"]).output().unwrap());
    assert!(spaces.contains("owner Crew"), "{spaces}");
    drop(holder);
    let again = restore(&right, &[]);
    assert!(
        stderr(&again).contains("follows spaces"),
        "{}",
        stderr(&again)
    );
    let listed = stdout(&world.at("new", &["device", "ls"]).output().unwrap());
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[test]
fn a_recovery_file_is_written_by_a_node_that_runs() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let daemon = Daemon::start(&world, "");
    let run = |args: &[&str]| world.plain("server", args).output().unwrap();
    let made = stdout(&run(&["space", "create", "Crew", "--json"]));
    let made: Value = serde_json::from_str(made.trim()).unwrap();
    passphrase(&world, "right", "correct horse");
    let right = world.path("right").display().to_string();
    // The second export replaces what the first one wrote.
    for name in ["first", "second"] {
        let file = world.path(name).display().to_string();
        let by = ["--passphrase-file", &right, "--wait", "0", "--json"];
        let output = run(&[&["device", "export", &file][..], &by].concat());
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{}",
            stderr(&output)
        );
        let line: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let said = (&line["done"], &line["spaces"]);
        assert_eq!(said, (&"export".into(), &1.into()));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let listed = stdout(&run(&["device", "ls"]));
    assert_eq!(listed.matches(" recovery").count(), 1, "{listed}");
    // The same key is marked among the members of the space.
    let of_key = listed.lines().find(|line| line.contains(" recovery"));
    let key = of_key.unwrap().split_whitespace().next().unwrap();
    let members = ["space", "members", made["space"].as_str().unwrap()];
    let members = stdout(&run(&members));
    let marked = |line: &&str| line.contains(", recovery key");
    let marked: Vec<&str> = members.lines().filter(marked).collect();
    assert_eq!(marked.len(), 1, "{members}");
    assert!(marked[0].contains(key), "{members}");
    daemon.running.signal("-TERM");
    assert_eq!(daemon.running.end().code(), Some(0));
    let second = world.path("second").display().to_string();
    let restore = ["device", "restore", &second, "--passphrase-file", &right];
    let output = world
        .at("new", &[&restore[..], &["--wait", "0"]].concat())
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

/// A newer file takes its key away, so no owner admits the device.
#[test]
fn a_replaced_recovery_file_does_not_say_that_it_is_admitted() {
    let world = World::new();
    let created = world.at("old", &["space", "create", "Crew"]).output();
    let space = stdout(&created.unwrap()).trim().to_owned();
    passphrase(&world, "right", "correct horse");
    let right = world.path("right").display().to_string();
    let first = world.path("first").display().to_string();
    for name in ["first", "second"] {
        let file = world.path(name).display().to_string();
        let by = ["--passphrase-file", &right, "--wait", "0"];
        let export = [&["device", "export", &file][..], &by].concat();
        let output = world.at("old", &export).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    }
    let holder = Running::start(&mut world.at("old", &["sub", &space]));
    let addr = holder.addr();
    let restore = ["device", "restore", &first, "--passphrase-file", &right];
    let more = ["--wait", "20", "--bootstrap", &addr];
    let output = world.at("new", &[&restore[..], &more].concat()).output();
    let output = output.unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(!said.contains("have admitted it;"), "{said}");
}

#[test]
fn a_passphrase_is_not_asked_for_without_a_terminal() {
    let world = World::new();
    let export = ["device", "export", "person.recovery"];
    let output = world.at("home", &export).output().unwrap();
    assert!(
        stderr(&output).contains("no terminal"),
        "{}",
        stderr(&output)
    );
    assert_eq!(output.status.code(), Some(2));
}
