//! Ways to open the keys and spaces of a home directory.

use std::process::Output;

use super::world::*;

impl World {
    /// Opens a home directory, after the change if there is one.
    fn at_rest(&self, home: &str, change: &[&str]) -> Output {
        let args = [&["node", "at-rest"], change].concat();
        self.at(home, &args).output().unwrap()
    }

    fn sealed_by(&self, home: &str) -> String {
        let output = self.at_rest(home, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    fn has_crew(&self, home: &str) -> bool {
        let listed = self.at(home, &["space", "ls"]).output().unwrap();
        stdout(&listed).contains("owner Crew")
    }
}

#[test]
fn without_a_keychain_the_secret_is_outside_of_the_home() {
    let world = World::new();
    let made = world.at("home", &["space", "create", "Crew"]).output();
    assert_eq!(made.unwrap().status.code(), Some(0));
    assert_eq!(world.sealed_by("home"), "file");
    let secrets = world.path("state/p2panda/at-rest");
    let names: Vec<_> = std::fs::read_dir(&secrets).unwrap().collect();
    assert_eq!(names.len(), 1);
    // The whole home alone does not open it.
    let away = world.path("away");
    std::fs::rename(&secrets, &away).unwrap();
    let refused = world.at("home", &["space", "ls"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(25));
    let said = stderr(&refused);
    assert!(said.contains("does not exist"), "{said}");
    assert!(!secrets.exists(), "nothing takes its place");
    std::fs::rename(&away, &secrets).unwrap();
    assert!(world.has_crew("home"));
}

#[test]
fn a_home_keeps_its_source_until_it_is_changed() {
    let world = World::new();
    assert_eq!(world.at_rest("none", &[]).status.code(), Some(23));
    let mut made = world.at("home", &["space", "create", "Crew"]);
    let made = made.env("PANDA_NODE_AT_REST", "key-file").output();
    assert_eq!(made.unwrap().status.code(), Some(0));
    assert!(world.has_crew("home"));
    assert_eq!(world.sealed_by("home"), "key-file");

    let refused = world.at_rest("home", &["keychain"]);
    assert_eq!(refused.status.code(), Some(25), "{}", stderr(&refused));
    assert_eq!(world.sealed_by("home"), "key-file");
    let refused = world.at_rest("home", &["elsewhere"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));

    let elsewhere = format!("file:{}", world.path("secret").display());
    for (to, source) in [("file", "file"), ("key-file", "key-file")] {
        let changed = world.at_rest("home", &[to]);
        assert_eq!(stdout(&changed).trim(), source, "{}", stderr(&changed));
        assert!(world.has_crew("home"));
    }
    let changed = world.at_rest("home", &[&elsewhere]);
    assert_eq!(stdout(&changed).trim(), "file", "{}", stderr(&changed));
    // The configuration has to name a place that is not the usual one.
    assert!(!world.has_crew("home"));
    let mut listed = world.at("home", &["space", "ls"]);
    let listed = listed.env("PANDA_NODE_AT_REST", &elsewhere).output();
    assert!(stdout(&listed.unwrap()).contains("owner Crew"));
}
