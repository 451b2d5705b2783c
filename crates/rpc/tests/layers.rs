//! The allowed dependencies between the layers of this crate, read from its sources.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// The sources of a module and of those below it, tests aside.
fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![src.join(format!("{module}.rs"))];
    if let Ok(folder) = std::fs::read_dir(src.join(module)) {
        paths.extend(folder.map(|entry| entry.unwrap().path()));
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().filter(|line| !line.trim().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        (path, code)
    };
    paths.into_iter().map(read).collect()
}

fn assert_unknown(module: &str, words: &[&str]) {
    for (path, code) in sources(module) {
        for word in words {
            let path = path.display();
            assert!(!code.contains(word), "{path} must not know {word}");
        }
    }
}

#[test]
fn the_wire_knows_neither_node_nor_server_nor_transport() {
    let words = [
        "p2panda::",
        "tokio",
        "serde_json",
        "server",
        "mapping",
        "lines",
    ];
    assert_unknown("wire", &words);
    assert!(sources("wire").len() > 5);
}

#[test]
fn the_server_knows_no_transport() {
    let words = ["serde", "tokio::io", "crate::lines", "String::from_utf8"];
    assert_unknown("server", &words);
    assert_unknown("mapping", &words);
    assert!(sources("server").len() > 5);
}

#[test]
fn the_api_and_the_client_know_neither_node_nor_daemon() {
    assert_unknown(
        "api",
        &[
            "p2panda::",
            "tokio::",
            "crate::daemon",
            "crate::client",
            "mapping",
        ],
    );
    assert_unknown("client", &["p2panda::", "crate::daemon", "mapping"]);
    assert!(sources("api").len() > 10);
}
