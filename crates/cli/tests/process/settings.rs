//! Settings from the file and the environment, and commands that help to write them.

use super::world::*;

#[test]
fn a_new_configuration_is_private_and_replaces_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let run = |args: &[&str]| world.panda(args).output().unwrap();
    let made = run(&["config", "init"]);
    let path = world.path("config/panda/config.toml");
    assert_eq!(stdout(&made).trim(), path.to_str().unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        stdout(&run(&["config", "check"])),
        format!("{} is valid\n", path.display())
    );

    let refused = run(&["config", "init"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--force"), "{}", stderr(&refused));
    std::fs::write(&path, "[network]\nlisen = []\n").unwrap();
    // Every command that opens a node says so.
    for args in [&["config", "check"][..], &["id"], &["node", "run"]] {
        let refused = run(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        let line = format!(
            "panda: {}:2: unknown key network.lisen; did you mean network.listen?\n",
            path.display()
        );
        assert_eq!(stderr(&refused), line);
    }
    assert_eq!(run(&["config", "init", "--force"]).status.code(), Some(0));
    assert_eq!(run(&["config", "check"]).status.code(), Some(0));
    let missing = run(&["config", "check", "--config", "no-such-file"]);
    assert_eq!(missing.status.code(), Some(10), "{}", stderr(&missing));
}

#[test]
fn config_check_says_what_a_start_says_about_named_files() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let file = |name: &str, text: &str, mode| {
        let path = world.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let line = "alice read 0123456789abcdef\n";
    let readable = file("readable", line, 0o644);
    let private = file("private", line, 0o600);
    let empty = file("empty", "\n", 0o600);
    let config = world.path("panda.toml");
    let args = |command: [&'static str; 2]| {
        let [one, two] = command;
        [one, two, "--config", config.to_str().unwrap()]
    };
    let last = |said: &str| said.lines().last().unwrap().to_owned();
    for (text, code, says) in [
        (
            format!("[node]\nat_rest = \"file:{private}\"\n"),
            8,
            "damaged",
        ),
        (format!("[node]\nkey = \"{readable}\"\n"), 2, "chmod 600"),
        (
            format!("[node]\nkey = \"{private}\"\n"),
            2,
            "64 hexadecimal",
        ),
        (
            "[node]\nat_rest = \"passphrase:/nowhere\"\n".to_owned(),
            10,
            "/nowhere",
        ),
        (
            format!("[node]\nat_rest = \"passphrase:{readable}\"\n"),
            2,
            "chmod 600",
        ),
        (
            format!("[node]\nat_rest_before = \"passphrase:{empty}\"\n"),
            2,
            "1 to 1024",
        ),
        (
            format!("[access]\ntokens = \"{readable}\"\n"),
            2,
            "chmod 600",
        ),
        (
            "[access]\ntokens = \"/nowhere\"\n".to_owned(),
            10,
            "/nowhere",
        ),
    ] {
        std::fs::write(&config, &text).unwrap();
        let checked = world.panda(&args(["config", "check"])).output().unwrap();
        assert_eq!(checked.status.code(), Some(code), "{text}");
        assert!(stderr(&checked).contains(says), "{}", stderr(&checked));
        let started = world.panda(&args(["node", "run"])).output().unwrap();
        assert_eq!(last(&stderr(&started)), last(&stderr(&checked)), "{text}");
        assert_eq!(started.status.code(), Some(code), "{text}");
    }
    let missing = world.path("made-later");
    let text = format!(
        "[access]\ntokens = \"{private}\"\n[node]\nat_rest = \"file:{}\"\n",
        missing.display()
    );
    std::fs::write(&config, text).unwrap();
    let checked = world.panda(&args(["config", "check"])).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    assert!(!missing.exists() && !world.path("data").join("node.key").exists());
}

#[test]
fn a_chat_whose_origin_has_no_access_is_named() {
    let world = World::new();
    let dir = world.path("dist");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("index.html"), "<!doctype html>").unwrap();
    let config = world.path("panda.toml");
    let check = |access: &str| {
        let dir = dir.display();
        let demo = format!("demo = [\"127.0.0.1:8000\"]\ndemo_dir = \"{dir}\"\n");
        std::fs::write(&config, format!("[rpc]\n{demo}[access]\n{access}")).unwrap();
        let args = ["config", "check", "--config", config.to_str().unwrap()];
        let checked = world.panda(&args).output().unwrap();
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        stderr(&checked)
    };
    let said = check("");
    let adds = "add its origin \"http://127.0.0.1:8000\" to access.origins";
    assert!(said.contains(adds), "{said}");
    for origin in ["http://127.0.0.1:8000", "HTTP://localhost:8000/"] {
        let said = check(&format!("origins = [\"{origin}\"]\n"));
        assert!(!said.contains("origin"), "{said}");
    }
}

#[test]
fn the_home_may_come_from_the_environment_and_show_says_so() {
    let world = World::new();
    let home = world.path("elsewhere");
    let run = |args: &[&str]| {
        let mut command = world.panda(args);
        command.env("PANDA_NODE_HOME", &home).output().unwrap()
    };
    assert_eq!(run(&["id"]).status.code(), Some(0));
    assert!(home.join("node.key").exists() && !world.path("data").exists());
    assert_eq!(run(&["topic", "ls"]).status.code(), Some(0));
    let shown = stdout(&run(&["config", "show", "--origin"]));
    let line = format!(
        "node.home = {:?}  # PANDA_NODE_HOME",
        home.to_str().unwrap()
    );
    assert!(shown.lines().any(|shown| shown == line), "{shown}");
    assert!(
        shown.contains("network.mdns = \"off\"  # command line"),
        "{shown}"
    );
    assert!(
        shown.contains("node.role = \"personal\"  # default"),
        "{shown}"
    );
    let lines = stdout(&run(&["config", "show", "--json"]));
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["key"].is_string() && !line["value"].is_null(),
            "{line}"
        );
    }
}

#[test]
fn schema_completions_and_manual_pages_cover_every_command() {
    let world = World::new();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(PANDA);
        command.args(args).output().unwrap()
    };
    let schema = stdout(&run(&["config", "schema"]));
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["network"].is_object(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("invite"), "{shell}");
    }
    let dir = world.path("man");
    let written = run(&["man", "--dir", dir.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    for page in ["panda.1", "panda-topic-invite.1", "panda-node-run.1"] {
        assert!(dir.join(page).exists(), "{page}");
    }
    assert!(stdout(&run(&["man", "topic", "invite"])).contains("ticket"));
    assert_eq!(run(&["man", "topic", "fly"]).status.code(), Some(2));
}
