//! The layout of the workspace: which crate may depend on which (ARCHITECTURE.md).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Dependencies that each crate may have within the workspace, outside of its tests.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("p2panda-core", &[]),
    ("p2panda-ciphers", &[]),
    ("p2panda-groups", &["p2panda-core"]),
    ("p2panda-encryption", &["p2panda-ciphers", "p2panda-core"]),
    (
        "p2panda-spaces",
        &["p2panda-core", "p2panda-groups", "p2panda-encryption"],
    ),
    ("p2panda-protocol", &["p2panda-core"]),
    ("p2panda-store", &["p2panda-core"]),
    (
        "p2panda-engine",
        &[
            "p2panda-core",
            "p2panda-groups",
            "p2panda-encryption",
            "p2panda-spaces",
            "p2panda-store",
        ],
    ),
    ("p2panda-net", &["p2panda-core", "p2panda-protocol"]),
    (
        "p2panda",
        &[
            "p2panda-core",
            "p2panda-protocol",
            "p2panda-store",
            "p2panda-engine",
            "p2panda-net",
        ],
    ),
    ("p2panda-rpc", &["p2panda", "p2panda-core"]),
    (
        "p2panda-web",
        &[
            "p2panda-core",
            "p2panda-groups",
            "p2panda-encryption",
            "p2panda-spaces",
        ],
    ),
    ("p2panda-cli", &["p2panda", "p2panda-rpc"]),
    (
        "p2panda-sim",
        &[
            "p2panda-core",
            "p2panda-protocol",
            "p2panda-store",
            "p2panda-engine",
        ],
    ),
];

/// Crates that do no input, output, waiting or drawing of their own.
const PURE: [&str; 7] = [
    "p2panda-web",
    "p2panda-ciphers",
    "p2panda-core",
    "p2panda-groups",
    "p2panda-encryption",
    "p2panda-spaces",
    "p2panda-protocol",
];

/// Dependencies that a pure crate must not have.
const IMPURE: [&str; 7] = [
    "tokio",
    "iroh",
    "iroh-gossip",
    "rusqlite",
    "getrandom",
    "tempfile",
    "futures-lite",
];

/// Crates without an asynchronous runtime.
const BLOCKING: [&str; 2] = ["p2panda-store", "p2panda-engine"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Package name and the dependencies outside of its tests, by manifest.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let crates = std::fs::read_dir(workspace().join("crates")).unwrap();
    let mut dirs: Vec<PathBuf> = crates.map(|entry| entry.unwrap().path()).collect();
    dirs.push(workspace().join("sim"));
    let manifests = dirs.into_iter().map(|dir| dir.join("Cargo.toml"));
    manifests
        .filter(|path| path.exists())
        .map(|path| parse(&std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn parse(manifest: &str) -> (String, BTreeSet<String>) {
    let (mut name, mut section) = (String::new(), String::new());
    let mut dependencies = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            let of_table = section.strip_prefix("dependencies.");
            dependencies.extend(of_table.map(str::to_owned));
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let key = key.trim().split('.').next().unwrap().to_owned();
        match section.as_str() {
            "package" if key == "name" => name = value.trim().trim_matches('"').to_owned(),
            "dependencies" | "build-dependencies" => drop(dependencies.insert(key)),
            _ => {}
        }
    }
    (name, dependencies)
}

#[test]
fn no_dependency_points_the_wrong_way() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let manifests = manifests();
    assert!(
        manifests.len() >= 8,
        "the manifests are not where they were"
    );
    for (name, dependencies) in &manifests {
        let rule = allowed.get(name.as_str());
        let rule = rule.unwrap_or_else(|| panic!("{name} has no rule: give it one here"));
        let ours = dependencies
            .iter()
            .filter(|dependency| manifests.contains_key(*dependency));
        for dependency in ours {
            assert!(
                rule.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn pure_crates_depend_on_no_runtime_socket_file_or_generator() {
    let manifests = manifests();
    for name in PURE.iter().filter(|name| manifests.contains_key(**name)) {
        for impure in IMPURE {
            assert!(
                !manifests[*name].contains(impure),
                "{name} must not depend on {impure}"
            );
        }
    }
    for name in BLOCKING {
        assert!(!manifests[name].contains("tokio"), "{name} is blocking");
    }
}

#[test]
fn only_net_depends_on_iroh() {
    for (name, dependencies) in manifests() {
        let iroh = dependencies.iter().find(|name| name.starts_with("iroh"));
        assert!(
            iroh.is_none() || name == "p2panda-net",
            "{name} must not depend on iroh"
        );
    }
}
