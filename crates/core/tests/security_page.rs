//! Every test that the page on security names is there, and runs.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Names in backquotes that could be those of tests: words with two underscores or more.
fn named(page: &str) -> Vec<&str> {
    let is_name = |word: &&str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.chars().all(is_plain) && word.matches('_').count() >= 2
    };
    page.split('`').skip(1).step_by(2).filter(is_name).collect()
}

fn sources(dir: &Path, all: &mut String) {
    let entries = std::fs::read_dir(dir).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_page_on_security_names_is_there_and_runs() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/guide/security.md")).unwrap();
    let mut all = String::new();
    sources(&root.join("crates"), &mut all);
    let names = named(&page);
    assert!(names.len() > 20, "the page is not where it was");
    for name in names {
        let (before, _) = all
            .split_once(&format!("fn {name}("))
            .unwrap_or_else(|| panic!("there is no test {name}"));
        // The attributes of a function stand between it and the end of what is before it.
        let attributes = before.rsplit_once('}').map_or(before, |(_, after)| after);
        let is_test = attributes.contains("test]") || attributes.contains("test(");
        assert!(
            is_test && !attributes.contains("ignore"),
            "{name} does not run"
        );
    }
}
