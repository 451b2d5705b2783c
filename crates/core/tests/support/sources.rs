//! The sources of the workspace, for tests that read them.

use std::path::{Path, PathBuf};

/// A source file without its tests and comments.
pub struct Source {
    /// Below `crates/`, with slashes.
    pub name: String,
    pub code: String,
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of all crates of the workspace, those of tests aside.
pub fn sources() -> Vec<Source> {
    let crates = crates();
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .filter(|dir| dir.is_dir())
        .collect();
    let mut sources = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&crates).unwrap().to_str().unwrap();
            let name = name.replace('\\', "/");
            if path.is_dir() {
                dirs.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let code = without_tests(&std::fs::read_to_string(&path).unwrap());
                sources.push(Source { name, code });
            }
        }
    }
    assert!(sources.len() > 100, "the sources are not where they were");
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    sources
}

/// Tests are last in a file: their module ends the code.
pub fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut is_behind_cfg = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if is_behind_cfg && trimmed.starts_with("mod ") && trimmed.ends_with('{') {
            break;
        }
        is_behind_cfg = trimmed == "#[cfg(test)]";
        let commented = trimmed.starts_with("//");
        code.push_str(if commented { "" } else { line });
        code.push('\n');
    }
    code
}

/// Identifiers, keywords and numbers, in order.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}
